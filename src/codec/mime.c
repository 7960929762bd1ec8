/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and writing trees of parts. */
#include <stdatomic.h>
#include <stdlib.h>
#include "base/utf8.h"
#include "base/xalloc.h"
#include "codec/mime.h"

#define DOC_MAGIC OBJ_MAGIC('M', 'I', 'M', 'E')

struct mime_doc *mime_doc_create(void)
{
	struct mime_doc *d = xzalloc(sizeof *d);
	OBJ_INIT(d, DOC_MAGIC);
	d->refs = 1;
	d->arena = arena_create();
	d->root = arena_alloc(d->arena, sizeof *d->root);
	return d;
}

struct mime_doc *mime_doc_ref(struct mime_doc *d)
{
	OBJ_CHECK(d, DOC_MAGIC);
	atomic_fetch_add(&d->refs, 1);
	return d;
}

void mime_doc_unref(struct mime_doc **dp)
{
	struct mime_doc *d = *dp;
	*dp = NULL;
	if (d == NULL)
		return;
	OBJ_CHECK(d, DOC_MAGIC);
	if (atomic_fetch_sub(&d->refs, 1) != 1)
		return;
	OBJ_FINI(d, DOC_MAGIC);
	arena_destroy(&d->arena);
	free(d);
}

/* Room for one more element of SIZE in an array of N with capacity *CAP. */
static void *grow(struct arena *a, void *old, uint32_t n, uint32_t *cap, size_t size)
{
	if (n < *cap)
		return old;
	*cap = *cap ? *cap * 2 : 8;
	void *p = arena_alloc(a, *cap * size);
	if (n > 0)
		memcpy(p, old, n * size);
	return p;
}

static struct mail_header *add_header(struct mime_doc *d, struct mime_part *p)
{
	p->headers = grow(d->arena, p->headers, p->n_headers, &p->cap_headers, sizeof *p->headers);
	return &p->headers[p->n_headers++];
}

void mime_append_part(struct mime_doc *d, struct mime_part *to, struct mime_part *p)
{
	to->parts = grow(d->arena, to->parts, to->n_parts, &to->cap_parts, sizeof *to->parts);
	to->parts[to->n_parts++] = p;
}

/* --- reading ------------------------------------------------------------------------------------------------------------------ */

struct parse {
	struct mime_doc *doc;
	struct arena *scratch;		/* for parameters, dropped afterwards */
	uint32_t n_parts;
};

static int parse_part(struct parse *ps, struct slice bytes, unsigned depth, struct mime_part *p);

static bool has_lone_cr_or_lf(struct slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] == '\r') {
			if (i + 1 >= s.len || s.ptr[i + 1] != '\n')
				return true;
			i++;
		} else if (s.ptr[i] == '\n') {
			return true;
		}
	}
	return false;
}

/* Lines of over 76 octets, as RFC 2045 wants them wrapped. */
static bool has_long_line(struct slice s)
{
	size_t prev = 0;
	const char *lf;
	while ((lf = memchr(s.ptr + prev, '\n', s.len - prev)) != NULL) {
		size_t at = lf - s.ptr;
		if (at - prev > (prev == 0 ? 78 : 77))
			return true;
		prev = at + 1;
	}
	return false;
}

static unsigned check_bytes(struct slice bytes, unsigned conformance)
{
	if (!utf8_is_ascii(bytes))
		conformance |= MAIL_NEEDS_TRANSFER_ENCODING;
	if (bytes.len > 0 && has_long_line(bytes))
		conformance |= MAIL_LINE_TOO_LONG;
	conformance &= ~MAIL_NON_CANONICAL_LINE_ENDINGS;
	if (has_lone_cr_or_lf(bytes))
		conformance |= MAIL_NON_CANONICAL_LINE_ENDINGS;
	return conformance;
}

static unsigned check_top(const struct mime_part *p, struct arena *a)
{
	const struct mail_header *date = mime_header_find(p, "Date"), *id = mime_header_find(p, "Message-ID"), *version = mime_header_find(p, "Mime-Version");
	unsigned bad = 0;
	int64_t us;
	struct val v;
	if (date == NULL || mail_parse_date(date->value, &us) < 0)
		bad |= MAIL_MISSING_DATE_HEADER;
	if (id == NULL || mail_parse_message_id(id->value, a, &v) < 0)
		bad |= MAIL_MISSING_MESSAGE_ID_HEADER;
	if (version == NULL || mail_parse_kind(MAIL_UNSTRUCTURED, version->value, a, &v) < 0 || !slice_eq_cstr(v.s, "1.0"))
		bad |= MAIL_MISSING_MIME_VERSION;
	return bad;
}

/* A line that is "--BOUNDARY", white space behind it; *CLOSE: "--BOUNDARY--". TAIL is what follows "--BOUNDARY" in the text. */
static bool is_delimiter(struct slice tail, bool *close, size_t *line_len)
{
	size_t n = 0;
	*close = slice_starts(tail, SLICE("--"));
	if (*close)
		n = 2;
	while (n < tail.len && (tail.ptr[n] == ' ' || tail.ptr[n] == '\t'))
		n++;
	if (n < tail.len && tail.ptr[n] == '\r')
		n++;
	if (n < tail.len && tail.ptr[n] != '\n')
		return false;
	*line_len = n < tail.len ? n + 1 : n;
	return true;
}

/* The next delimiter line in BODY at or behind FROM: where it begins, and where what follows begins. SIZE_MAX: none. */
static size_t find_delimiter(struct slice body, struct slice mark, size_t from, bool *close, size_t *after)
{
	while (from < body.len) {
		ptrdiff_t at = slice_find(slice_sub(body, from, SIZE_MAX), mark);
		size_t line_len;
		if (at < 0)
			break;
		from += at;
		bool line_start = from == 0 || body.ptr[from - 1] == '\n';
		if (line_start && is_delimiter(slice_sub(body, from + mark.len, SIZE_MAX), close, &line_len)) {
			*after = from + mark.len + line_len;
			return from;
		}
		from++;
	}
	return SIZE_MAX;
}

static int parse_children(struct parse *ps, struct mime_part *p, struct slice boundary, unsigned depth)
{
	struct slice body = p->body, mark = arena_slicef(ps->scratch, "--%.*s", SLICE_ARG(boundary));
	bool close;
	size_t after, at = find_delimiter(body, mark, 0, &close, &after);

	if (at == SIZE_MAX || close)
		return 0;
	p->intro = slice_sub(body, 0, at);
	p->body = slice_sub(body, 0, 0);
	while (!close) {
		size_t from = after;
		at = find_delimiter(body, mark, from, &close, &after);
		struct slice bytes = slice_sub(body, from, at == SIZE_MAX ? SIZE_MAX : at - from);
		struct mime_part *child = arena_alloc(ps->doc->arena, sizeof *child);
		int rc = parse_part(ps, bytes, depth + 1, child);
		if (rc < 0)
			return rc;
		p->conformance |= child->conformance;
		mime_append_part(ps->doc, p, child);
		if (at == SIZE_MAX)
			return 0;
	}
	p->outro = slice_sub(body, after, SIZE_MAX);
	return 0;
}

static int parse_part(struct parse *ps, struct slice bytes, unsigned depth, struct mime_part *p)
{
	struct slice rest = bytes, boundary;
	struct mail_header h;
	struct mime_info info;
	int rc;

	if (depth > MIME_DEPTH_MAX)
		return err_set(E_LIMIT, "the message has over %d levels of parts", MIME_DEPTH_MAX);
	if (++ps->n_parts > MIME_PARTS_MAX)
		return err_set(E_LIMIT, "the message has over %d parts", MIME_PARTS_MAX);
	while ((rc = mail_header_next(&rest, &h)) > 0) {
		*add_header(ps->doc, p) = h;
		p->conformance |= h.conformance;
	}
	if (rc < 0) {
		err_prefix("invalid header");
		return rc;
	}
	p->body = rest;
	p->conformance = check_bytes(bytes, p->conformance | h.conformance);
	if (depth == 0)
		p->conformance |= check_top(p, ps->scratch);
	mime_info(p, ps->scratch, &info);
	if (info.invalid)
		p->conformance |= MAIL_INVALID_MIME_HEADERS;
	if (info.is_multipart && mime_params_get(&info.type, SLICE("boundary"), ps->scratch, &boundary))
		return parse_children(ps, p, boundary, depth);
	return 0;
}

int mime_parse(struct slice bytes, struct mime_doc **out)
{
	struct mime_doc *d = mime_doc_create();
	struct parse ps = { .doc = d, .scratch = arena_create() };
	int rc = parse_part(&ps, arena_dup(d->arena, bytes), 0, d->root);
	arena_destroy(&ps.scratch);
	if (rc < 0)
		mime_doc_unref(&d);
	else
		*out = d;
	return rc;
}

/* --- writing -------------------------------------------------------------------------------------------------------------------- */

void mail_header_put(struct buf *b, const struct mail_header *h)
{
	buf_slice(b, h->name);
	buf_slice(b, h->sep);
	buf_slice(b, h->value);
	buf_cstr_put(b, h->conformance & MAIL_NON_CANONICAL_LINE_ENDINGS ? "\n" : "\r\n");
}

static void put_part(struct buf *b, const struct mime_part *p, unsigned depth)
{
	const char *eol = p->conformance & MAIL_NON_CANONICAL_LINE_ENDINGS ? "\n" : "\r\n";
	struct slice boundary = SLICE_NONE;

	for (uint32_t i = 0; i < p->n_headers; i++)
		mail_header_put(b, &p->headers[i]);
	buf_cstr_put(b, eol);
	if (p->n_parts == 0) {
		buf_slice(b, p->intro);
		buf_slice(b, p->body);
		return;
	}
	struct arena *a = arena_create();
	struct mime_info info;
	mime_info(p, a, &info);
	/* a tree that was put together by hand may have lost its type */
	if (!info.has_type || !mime_params_get(&info.type, SLICE("boundary"), a, &boundary))
		boundary = SLICE("=_part");
	buf_slice(b, p->intro);
	for (uint32_t i = 0; i < p->n_parts; i++) {
		buf_printf(b, "--%.*s%s", SLICE_ARG(boundary), eol);
		if (depth < MIME_DEPTH_MAX * 2)
			put_part(b, p->parts[i], depth + 1);
		if (b->len > 0 && b->ptr[b->len - 1] != '\n')
			buf_cstr_put(b, eol);
	}
	buf_printf(b, "--%.*s--%s", SLICE_ARG(boundary), eol);
	buf_slice(b, p->outro);
	arena_destroy(&a);
}

void mime_put(struct buf *b, const struct mime_part *p)
{
	put_part(b, p, 0);
}

/* --- changing ------------------------------------------------------------------------------------------------------------------- */

static struct mime_part *copy_part(struct mime_doc *to, const struct mime_part *p, unsigned depth)
{
	struct mime_part *c = arena_alloc(to->arena, sizeof *c);
	*c = *p;
	c->cap_headers = p->n_headers;
	c->headers = arena_alloc(to->arena, (p->n_headers + 1) * sizeof *c->headers);
	for (uint32_t i = 0; i < p->n_headers; i++) {
		c->headers[i] = p->headers[i];
		c->headers[i].name = arena_dup(to->arena, p->headers[i].name);
		c->headers[i].sep = arena_dup(to->arena, p->headers[i].sep);
		c->headers[i].value = arena_dup(to->arena, p->headers[i].value);
		c->headers[i].raw = SLICE_NONE;
	}
	c->body = arena_dup(to->arena, p->body);
	c->intro = arena_dup(to->arena, p->intro);
	c->outro = arena_dup(to->arena, p->outro);
	c->n_parts = c->cap_parts = 0;
	c->parts = NULL;
	for (uint32_t i = 0; i < p->n_parts && depth < MIME_DEPTH_MAX * 2; i++)
		mime_append_part(to, c, copy_part(to, p->parts[i], depth + 1));
	return c;
}

struct mime_part *mime_copy(struct mime_doc *to, const struct mime_part *p)
{
	return copy_part(to, p, 0);
}

const struct mail_header *mime_header_find(const struct mime_part *p, const char *name)
{
	for (uint32_t i = 0; i < p->n_headers; i++)
		if (slice_eq_nocase(p->headers[i].name, slice_from_cstr(name)))
			return &p->headers[i];
	return NULL;
}

static struct mail_header new_header(struct mime_doc *d, struct slice name, struct slice value)
{
	return (struct mail_header){ .name = arena_dup(d->arena, name), .sep = SLICE(": "), .value = arena_dup(d->arena, value) };
}

void mime_header_append(struct mime_doc *d, struct mime_part *p, struct slice name, struct slice value)
{
	struct mail_header h = new_header(d, name, value);
	*add_header(d, p) = h;
}

void mime_header_prepend(struct mime_doc *d, struct mime_part *p, struct slice name, struct slice value)
{
	struct mail_header h = new_header(d, name, value);
	add_header(d, p);
	memmove(p->headers + 1, p->headers, (p->n_headers - 1) * sizeof *p->headers);
	p->headers[0] = h;
}

void mime_header_set(struct mime_doc *d, struct mime_part *p, struct slice name, struct slice value)
{
	for (uint32_t i = 0; i < p->n_headers; i++) {
		if (slice_eq_nocase(p->headers[i].name, name)) {
			p->headers[i].value = arena_dup(d->arena, value);
			p->headers[i].sep = SLICE(": ");
			return;
		}
	}
	mime_header_append(d, p, name, value);
}

void mime_header_remove(struct mime_part *p, struct slice name)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < p->n_headers; i++)
		if (!slice_eq_nocase(p->headers[i].name, name))
			p->headers[n++] = p->headers[i];
	p->n_headers = n;
}

bool mime_part_id(const struct mime_part *root, const struct mime_part *p, struct buf *out)
{
	if (root == p)
		return true;
	for (uint32_t i = 0; i < root->n_parts; i++) {
		size_t len = out->len;
		buf_printf(out, "%s%u", len ? "." : "", i);
		if (mime_part_id(root->parts[i], p, out))
			return true;
		buf_truncate(out, len);
	}
	return false;
}
