/* SPDX-License-Identifier: Apache-2.0 */
/* Macros of RFC 7208 7. */
#include <inttypes.h>
#include "base/encode.h"
#include "mailauth/spf_int.h"

#define PARTS_MAX 128

struct macro {
	char letter;
	bool upper, reverse;
	unsigned digits;		/* 0: all */
	struct slice delims;
};

/* One "{…}" behind a "%"; its length, or 0 where it is none. */
static size_t read_macro(struct slice s, bool exp, struct macro *m)
{
	size_t i = 2, from;
	*m = (struct macro){ 0 };
	if (s.len < 3 || s.ptr[0] != '{')
		return 0;
	m->letter = ascii_lower(s.ptr[1]);
	m->upper = m->letter != s.ptr[1];
	if (m->letter == '\0' || strchr(exp ? "slodiphcrtv" : "slodiphv", m->letter) == NULL)
		return 0;
	for (from = i; i < s.len && ascii_is_digit(s.ptr[i]); i++)
		m->digits = MIN(m->digits * 10 + (unsigned)(s.ptr[i] - '0'), 1000u);
	if (i > from && m->digits == 0)
		return 0;
	if (i < s.len && ascii_lower(s.ptr[i]) == 'r') {
		m->reverse = true;
		i++;
	}
	for (from = i; i < s.len && s.ptr[i] != '\0' && strchr(".-+,/_=", s.ptr[i]) != NULL; i++)
		;
	m->delims = slice_sub(s, from, i - from);
	return i < s.len && s.ptr[i] == '}' ? i + 1 : 0;
}

/* The last label of a domain-spec: letters, digits, hyphens within, not only digits. */
static bool is_toplabel(struct slice s)
{
	bool other = false;
	if (slice_ends(s, SLICE(".")))
		s.len--;
	ptrdiff_t dot = slice_rchr(s, '.');
	if (dot < 0)
		return false;
	s = slice_sub(s, dot + 1, SIZE_MAX);
	if (s.len == 0 || s.ptr[0] == '-' || s.ptr[s.len - 1] == '-')
		return false;
	for (size_t i = 0; i < s.len; i++) {
		if (!ascii_is_alnum(s.ptr[i]) && s.ptr[i] != '-')
			return false;
		other |= !ascii_is_digit(s.ptr[i]);
	}
	return other;
}

bool spf_macro_valid(struct slice s, bool exp, bool spec)
{
	bool macro_end = false;
	if (spec && s.len == 0)
		return false;
	for (size_t i = 0; i < s.len;) {
		unsigned char c = s.ptr[i];
		struct macro m;
		size_t n;
		macro_end = false;
		if (c != '%') {
			if (c > 0x7e || (exp ? c < 0x20 : c < 0x21))
				return false;
			i++;
			continue;
		}
		if (i + 1 < s.len && s.ptr[i + 1] != '\0' && strchr("%_-", s.ptr[i + 1]) != NULL) {
			n = 1;
		} else {
			if ((n = read_macro(slice_sub(s, i + 1, SIZE_MAX), exp, &m)) == 0)
				return false;
		}
		macro_end = true;
		i += 1 + n;
	}
	return !spec || macro_end || is_toplabel(s);
}

static void put_ip(struct buf *b, const struct ipaddr *ip)
{
	static const char HEX[] = "0123456789ABCDEF";
	if (ip->family == 4) {
		ipaddr_put(b, ip);
		return;
	}
	for (int i = 0; i < 16; i++) {
		if (i > 0)
			buf_putc(b, '.');
		buf_putc(b, HEX[ip->bytes[i] >> 4]);
		buf_putc(b, '.');
		buf_putc(b, HEX[ip->bytes[i] & 15]);
	}
}

static int put_value(struct spf_ctx *c, char letter, struct slice domain, struct buf *b)
{
	ptrdiff_t at = slice_rchr(c->sender, '@');
	switch (letter) {
	case 's':
		buf_slice(b, c->sender);
		break;
	case 'l':
		buf_slice(b, slice_sub(c->sender, 0, at));
		break;
	case 'o':
		buf_slice(b, slice_sub(c->sender, at + 1, SIZE_MAX));
		break;
	case 'd':
		buf_slice(b, domain);
		break;
	case 'i':
		put_ip(b, &c->q->ip);
		break;
	case 'p':
		if (!c->has_p) {
			c->p = spf_validated_name(c, SLICE_NONE);
			c->has_p = true;
		}
		buf_slice(b, c->p.ptr != NULL ? c->p : SLICE("unknown"));
		break;
	case 'v':
		buf_cstr_put(b, c->q->ip.family == 4 ? "in-addr" : "ip6");
		break;
	case 'h':
		buf_slice(b, c->q->helo.ptr != NULL ? c->q->helo : domain);
		break;
	case 'c':
		ipaddr_put(b, &c->q->ip);
		break;
	case 'r':
		buf_slice(b, c->q->receiver.ptr != NULL ? c->q->receiver : SLICE("unknown"));
		break;
	default:
		buf_printf(b, "%" PRId64, c->q->now_s);
	}
	return c->canceled;
}

/* Cuts VALUE at the delimiters, turns the parts round, keeps the last ones, joins them with dots. */
static void put_transformed(struct buf *out, const struct macro *m, struct slice value)
{
	struct slice parts[PARTS_MAX], delims = m->delims.len ? m->delims : SLICE(".");
	size_t n = 0, from = 0;
	for (size_t i = 0; i <= value.len && n < PARTS_MAX; i++) {
		if (i < value.len && slice_chr(delims, value.ptr[i]) < 0)
			continue;
		parts[n++] = slice_sub(value, from, i - from);
		from = i + 1;
	}
	if (m->reverse)
		for (size_t i = 0; i < n / 2; i++) {
			struct slice t = parts[i];
			parts[i] = parts[n - 1 - i];
			parts[n - 1 - i] = t;
		}
	size_t first = m->digits > 0 && m->digits < n ? n - m->digits : 0;
	for (size_t i = first; i < n; i++) {
		if (i > first)
			buf_putc(out, '.');
		if (m->upper)
			percent_put(out, parts[i], "-._~");
		else
			buf_slice(out, parts[i]);
	}
}

int spf_macro_expand(struct spf_ctx *c, struct slice domain, struct slice spec, struct buf *out)
{
	for (size_t i = 0; i < spec.len; i++) {
		struct macro m;
		if (spec.ptr[i] != '%') {
			buf_putc(out, spec.ptr[i]);
			continue;
		}
		char next = i + 1 < spec.len ? spec.ptr[i + 1] : '%';
		if (next == '{') {
			struct buf value = { 0 };
			i += read_macro(slice_sub(spec, i + 1, SIZE_MAX), true, &m);
			int rc = put_value(c, m.letter, domain, &value);
			if (rc == 0)
				put_transformed(out, &m, buf_view(&value));
			buf_fini(&value);
			if (rc < 0)
				return rc;
			continue;
		}
		buf_cstr_put(out, next == '_' ? " " : next == '-' ? "%20" : "%");
		i++;
	}
	return 0;
}
