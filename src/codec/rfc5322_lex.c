/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens of header values: RFC 5322 3.2 with its obsolete forms, RFC 6532, RFC 2045. */
#include "base/utf8.h"
#include "codec/rfc5322_int.h"

struct scan scan_new(struct slice s, struct arena *a)
{
	/* an empty slice may have no pointer; comparisons below want one */
	const char *p = s.ptr ? s.ptr : "";
	return (struct scan){ .p = p, .end = p + s.len, .begin = p, .far = p, .a = a };
}

static bool miss(struct scan *s, const char *expected)
{
	if (s->p >= s->far) {
		s->far = s->p;
		s->expected = expected;
	}
	return false;
}

int scan_finish(struct scan *s, bool ok)
{
	unsigned line = 1;
	if (ok && s->p == s->end)
		return 0;
	if (ok && s->p >= s->far) {
		s->far = s->p;
		s->expected = NULL;
	}
	if (s->begin == s->end)
		return err_set(E_INVAL, "invalid header: Error expected \"%s\" but ran out of input, got empty input", s->expected ? s->expected : "text");
	for (const char *q = s->begin; q < s->far; q++)
		line += *q == '\n';
	if (s->expected == NULL)
		return err_set(E_INVAL, "invalid header: Error at line %u, unexpected text: `%.*s`", line, (int)MIN(s->end - s->far, 80), s->far);
	if (s->far == s->end)
		return err_set(E_INVAL, "invalid header: Error at line %u, expected \"%s\" but ran out of input", line, s->expected);
	return err_set(E_INVAL, "invalid header: Error at line %u, expected \"%s\" but found `%.*s`", line, s->expected,
		       (int)MIN(s->end - s->far, 80), s->far);
}

struct slice scan_take(struct scan *s, struct buf *b)
{
	struct slice t = arena_dup(s->a, buf_view(b));
	buf_clear(b);
	return t;
}

static void put(struct buf *out, const char *from, const char *to)
{
	if (out != NULL)
		buf_put(out, from, to - from);
}

static void undo(struct scan *s, const char *p, struct buf *out, size_t len)
{
	s->p = p;
	if (out != NULL)
		buf_truncate(out, len);
}

bool lex_char(struct scan *s, char c)
{
	static const char NAMES[] = "<\0>\0@\0,\0;\0:\0(\0)\0=\0/\0.\0[\0]\0*\0'\0?\0";
	if (s->p < s->end && *s->p == c) {
		s->p++;
		return true;
	}
	if (c == '"')
		return miss(s, "\\\"");
	for (const char *n = NAMES; *n; n += 2)
		if (*n == c)
			return miss(s, n);
	return miss(s, "text");
}

bool lex_utf8(struct scan *s, struct buf *out)
{
	uint32_t cp;
	if (s->p == s->end || (unsigned char)*s->p < 0x80)
		return false;
	size_t n = utf8_decode(slice_new(s->p, s->end - s->p), &cp);
	if (n == 0)
		return miss(s, "UTF-8");
	put(out, s->p, s->p + n);
	s->p += n;
	return true;
}

static bool is_wsp(char c)
{
	return c == ' ' || c == '\t';
}

/* Lines of white space, then white space on the last one. OUT gets it unfolded. */
bool lex_fws(struct scan *s, struct buf *out)
{
	const char *q = s->p, *line = s->p;
	size_t len = out != NULL ? out->len : 0;
	for (;;) {
		while (q < s->end && is_wsp(*q))
			q++;
		put(out, line, q);
		if (q < s->end && *q == '\n')
			q++;
		else if (q + 1 < s->end && q[0] == '\r' && q[1] == '\n')
			q += 2;
		else
			break;
		line = q;
	}
	if (q == line) {
		undo(s, s->p, out, len);
		return false;
	}
	s->p = q;
	return true;
}

static bool is_no_ws_ctl(unsigned char c)
{
	return (c >= 1 && c <= 8) || c == 0x0b || c == 0x0c || (c >= 0x0e && c <= 0x1f) || c == 0x7f;
}

static bool lex_quoted_pair(struct scan *s, struct buf *out)
{
	const char *start = s->p;
	if (s->p == s->end || *s->p != '\\')
		return false;
	s->p++;
	if (s->p < s->end) {
		unsigned char c = *s->p;
		if (c == 0 || c == '\t' || c == '\r' || c == '\n' || (c >= 0x20 && c <= 0x7e) || is_no_ws_ctl(c)) {
			put(out, s->p, s->p + 1);
			s->p++;
			return true;
		}
		if (lex_utf8(s, out))
			return true;
	}
	s->p = start;
	return miss(s, "quoted pair");
}

static bool is_ctext(unsigned char c)
{
	return (c >= 0x21 && c <= 0x27) || (c >= 0x2a && c <= 0x5b) || (c >= 0x5d && c <= 0x7e) || is_no_ws_ctl(c);
}

static bool lex_comment(struct scan *s)
{
	const char *start = s->p;
	unsigned depth = 0;
	do {
		lex_fws(s, NULL);
		if (s->p == s->end)
			break;
		if (*s->p == '(') {
			if (++depth > LEX_COMMENTS_MAX)
				break;
			s->p++;
		} else if (*s->p == ')') {
			depth--;
			s->p++;
		} else if (is_ctext(*s->p)) {
			s->p++;
		} else if (!lex_utf8(s, NULL) && !lex_quoted_pair(s, NULL)) {
			break;
		}
		if (depth == 0)
			return true;
	} while (s->p < s->end);
	miss(s, ")");
	s->p = start;
	return false;
}

bool lex_cfws(struct scan *s)
{
	bool any = lex_fws(s, NULL);
	while (s->p < s->end && *s->p == '(' && lex_comment(s)) {
		any = true;
		lex_fws(s, NULL);
	}
	return any;
}

bool mail_is_atext(unsigned char c)
{
	return ascii_is_alnum(c) || (c != 0 && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

static bool lex_atext(struct scan *s, struct buf *out)
{
	const char *start = s->p;
	for (;;) {
		const char *q = s->p;
		while (q < s->end && mail_is_atext(*q))
			q++;
		put(out, s->p, q);
		s->p = q;
		if (!lex_utf8(s, out))
			break;
	}
	return s->p > start || miss(s, "atom");
}

/* With comments around. */
static bool lex_atom(struct scan *s, struct buf *out)
{
	const char *start = s->p;
	lex_cfws(s);
	if (!lex_atext(s, out)) {
		s->p = start;
		return false;
	}
	lex_cfws(s);
	return true;
}

static bool is_qtext(unsigned char c)
{
	return c == 0x21 || (c >= 0x23 && c <= 0x5b) || (c >= 0x5d && c <= 0x7e) || is_no_ws_ctl(c);
}

bool lex_quoted(struct scan *s, struct buf *out)
{
	const char *start = s->p;
	size_t len = out ? out->len : 0;
	lex_cfws(s);
	if (!lex_char(s, '"')) {
		s->p = start;
		return false;
	}
	for (;;) {
		lex_fws(s, out);
		if (s->p < s->end && is_qtext(*s->p)) {
			put(out, s->p, s->p + 1);
			s->p++;
		} else if (!lex_utf8(s, out) && !lex_quoted_pair(s, out)) {
			break;
		}
	}
	if (!lex_char(s, '"')) {
		undo(s, start, out, len);
		return false;
	}
	lex_cfws(s);
	return true;
}

bool lex_word(struct scan *s, struct buf *out)
{
	return lex_atom(s, out) || lex_quoted(s, out);
}

/* ITEM *("." ITEM); the dot that no item follows is left. */
static bool dotted(struct scan *s, struct buf *out, bool (*item)(struct scan *, struct buf *))
{
	if (!item(s, out))
		return false;
	while (s->p < s->end && *s->p == '.') {
		const char *dot = s->p++;
		size_t len = out ? out->len : 0;
		put(out, ".", &"."[1]);
		if (!item(s, out)) {
			undo(s, dot, out, len);
			break;
		}
	}
	return true;
}

bool lex_dot_atom_text(struct scan *s, struct buf *out)
{
	return dotted(s, out, lex_atext);
}

bool lex_local_part(struct scan *s, struct buf *out)
{
	return dotted(s, out, lex_word);
}

static bool lex_literal(struct scan *s, struct buf *out)
{
	const char *start = s->p;
	size_t len = out ? out->len : 0;
	lex_cfws(s);
	if (!lex_char(s, '[')) {
		s->p = start;
		return false;
	}
	put(out, "[", &"["[1]);
	for (;;) {
		lex_fws(s, out);
		unsigned char c = s->p < s->end ? *s->p : 0;
		if ((c >= 0x21 && c <= 0x5a) || (c >= 0x5e && c <= 0x7e) || is_no_ws_ctl(c)) {
			put(out, s->p, s->p + 1);
			s->p++;
		} else if (!lex_utf8(s, out) && !lex_quoted_pair(s, out)) {
			break;
		}
	}
	if (!lex_char(s, ']')) {
		undo(s, start, out, len);
		return false;
	}
	put(out, "]", &"]"[1]);
	lex_cfws(s);
	return true;
}

bool lex_domain(struct scan *s, struct buf *out)
{
	return dotted(s, out, lex_atom) || lex_literal(s, out);	/* atoms for the obsolete form, with blanks and comments about its dots */
}

bool mail_is_token(unsigned char c)
{
	return c > 0x20 && c < 0x7f && strchr("()<>@,;:\\\"/[]?=", c) == NULL;
}

bool lex_token(struct scan *s, struct buf *out)
{
	const char *start = s->p;
	for (;;) {
		const char *q = s->p;
		while (q < s->end && mail_is_token(*q))
			q++;
		put(out, s->p, q);
		s->p = q;
		if (!lex_utf8(s, out))
			break;
	}
	return s->p > start || miss(s, "token");
}

bool lex_value(struct scan *s, struct buf *out)
{
	return lex_token(s, out) || lex_quoted(s, out);
}

bool lex_keyword(struct scan *s, struct buf *out)
{
	const char *start = s->p;
	while (s->p < s->end && (ascii_is_alnum(*s->p) || *s->p == '-'))
		s->p++;
	put(out, start, s->p);
	return s->p > start || miss(s, "keyword");
}

bool lex_u32(struct scan *s, uint32_t *out)
{
	const char *q = s->p;
	uint64_t n;
	while (q < s->end && ascii_is_digit(*q))
		q++;
	if (q == s->p || slice_to_u64(slice_new(s->p, q - s->p), &n) < 0 || n > UINT32_MAX)
		return miss(s, "number");
	s->p = q;
	*out = n;
	return true;
}
