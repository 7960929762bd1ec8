/* SPDX-License-Identifier: Apache-2.0 */
#include "mailauth/dkim_canon.h"

static bool is_wsp(char c)
{
	return c == ' ' || c == '\t';
}

/* Unfolded, runs of white space as one blank, none at the ends. */
static void put_relaxed_value(struct buf *out, struct slice v)
{
	bool space = false, any = false;
	buf_reserve(out, v.len);
	for (size_t i = 0; i < v.len; i++) {
		char c = v.ptr[i];
		if (c == '\r' || c == '\n')
			continue;
		if (is_wsp(c)) {
			space = any;
			continue;
		}
		if (space)
			buf_putc(out, ' ');
		buf_putc(out, c);
		space = false;
		any = true;
	}
}

static void put_relaxed(struct buf *out, struct slice name, struct slice value)
{
	for (size_t i = 0; i < name.len; i++)
		buf_putc(out, ascii_lower(name.ptr[i]));
	buf_putc(out, ':');
	put_relaxed_value(out, value);
}

void dkim_canon_header(struct buf *out, enum dkim_canon c, const struct mail_header *h)
{
	if (c == DKIM_RELAXED) {
		put_relaxed(out, h->name, h->value);
		buf_lit(out, "\r\n");
		return;
	}
	buf_slice(out, h->raw);
	if (!slice_ends(h->raw, SLICE("\r\n")))
		buf_lit(out, "\r\n");
}

void dkim_canon_field(struct buf *out, enum dkim_canon c, struct slice name, struct slice value)
{
	if (c == DKIM_RELAXED) {
		put_relaxed(out, name, value);
		return;
	}
	buf_slice(out, name);
	buf_lit(out, ": ");
	buf_slice(out, value);
}

struct limited {
	struct tls_hash *hash;
	uint64_t left;
};

static void update(struct limited *l, const char *ptr, size_t len)
{
	len = MIN((uint64_t)len, l->left);
	tls_hash_update(l->hash, ptr, len);
	l->left -= len;
}

/* The body without the empty lines at its end; relaxed: lines of white space are empty too. */
static struct slice without_empty_end(enum dkim_canon c, struct slice s)
{
	for (;;) {
		struct slice t = s;
		if (!slice_ends(t, SLICE("\r\n")))
			return s;
		t.len -= 2;
		size_t line = t.len;
		while (c == DKIM_RELAXED && line > 0 && is_wsp(t.ptr[line - 1]))
			line--;
		if (line > 0 && !(line >= 2 && t.ptr[line - 1] == '\n' && t.ptr[line - 2] == '\r'))
			return s;
		s.len = line;
		if (line == 0)
			return s;
	}
}

/* One line without its CRLF. Pieces go to the hash from where they stand; a 4 KB buffer would not be faster. */
static void relaxed_line(struct limited *l, struct slice s)
{
	while (s.len > 0 && is_wsp(s.ptr[s.len - 1]))
		s.len--;
	size_t from = 0;
	for (size_t i = 0; i < s.len; i++) {
		if (!is_wsp(s.ptr[i]) || (s.ptr[i] == ' ' && !is_wsp(s.ptr[i + 1])))
			continue;	/* a single blank stays as it is */
		update(l, s.ptr + from, i - from);
		update(l, " ", 1);
		while (is_wsp(s.ptr[i + 1]))
			i++;
		from = i + 1;
	}
	update(l, s.ptr + from, s.len - from);
	update(l, "\r\n", 2);
}

size_t dkim_body_hash(enum dkim_canon c, enum tls_md md, struct slice body, uint64_t limit, uint8_t out[TLS_MD_MAX])
{
	static _Thread_local struct tls_hash *hash;
	if (hash == NULL)
		hash = tls_hash_create(md);
	else
		tls_hash_reset(hash, md);
	struct limited l = { hash, limit };

	body = without_empty_end(c, body);
	if (c == DKIM_SIMPLE) {
		update(&l, body.ptr, body.len);
		if (!slice_ends(body, SLICE("\r\n")))
			update(&l, "\r\n", 2);
		return tls_hash_final(hash, out);
	}
	while (body.len > 0) {
		ptrdiff_t n = slice_find(body, SLICE("\r\n"));
		relaxed_line(&l, slice_sub(body, 0, n < 0 ? body.len : (size_t)n));
		body = slice_sub(body, n < 0 ? body.len : (size_t)n + 2, SIZE_MAX);
	}
	return tls_hash_final(hash, out);
}
