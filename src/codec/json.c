/* SPDX-License-Identifier: Apache-2.0 */
/* JSON text into a tree. Messages and positions are the ones that operators' scripts know from upstream. */
#include <math.h>
#include <stdlib.h>

#include "base/utf8.h"
#include "base/xalloc.h"
#include "codec/val.h"

#define DEPTH_MAX 127

struct parser {
	const char *start, *at, *end;
	struct arena *a;
	int depth;
};

/* The position is told as of POS: lines from 1, and how many bytes of the line lie before it. */
static int fail_at(const struct parser *p, const char *pos, const char *what)
{
	size_t line = 1;
	const char *bol = p->start;
	pos = MIN(pos, p->end);
	for (const char *c = p->start; c < pos; c++)
		if (*c == '\n') {
			line++;
			bol = c + 1;
		}
	return err_set(E_INVAL, "%s at line %zu column %zu", what, line, (size_t)(pos - bol));
}

/* The byte that comes next is wrong (or missing). */
static int fail_next(const struct parser *p, const char *what)
{
	return fail_at(p, p->at + 1, what);
}

/* -1 at the end */
static int peek(const struct parser *p)
{
	return p->at < p->end ? (unsigned char)*p->at : -1;
}

static int skip_space(struct parser *p)
{
	while (p->at < p->end && (*p->at == ' ' || *p->at == '\n' || *p->at == '\t' || *p->at == '\r'))
		p->at++;
	return peek(p);
}

static int parse_word(struct parser *p, const char *word, struct val v, struct val *out)
{
	for (; *word != '\0'; word++, p->at++) {
		if (p->at == p->end)
			return fail_at(p, p->at, "EOF while parsing a value");
		if (*p->at != *word)
			return fail_next(p, "expected ident");
	}
	*out = v;
	return 0;
}

static int need_digits(struct parser *p)
{
	if (p->at == p->end)
		return fail_at(p, p->at, "EOF while parsing a value");
	if (!ascii_is_digit(*p->at))
		return fail_next(p, "invalid number");
	while (p->at < p->end && ascii_is_digit(*p->at))
		p->at++;
	return 0;
}

static int parse_float(struct parser *p, struct slice text, struct val *out)
{
	char small[64], *copy = text.len < sizeof small ? small : xmalloc(text.len + 1);
	memcpy(copy, text.ptr, text.len);
	copy[text.len] = '\0';
	double f = strtod(copy, NULL);
	if (copy != small)
		free(copy);
	if (isinf(f))
		return fail_at(p, p->at, "number out of range");
	*out = val_float(f);
	return 0;
}

/* Integers of 64 bits stay exact, whatever is larger becomes a float. */
static int number_value(struct parser *p, struct slice text, bool is_float, struct val *out)
{
	uint64_t u;
	int64_t i;
	if (!is_float && slice_eq_cstr(text, "-0"))
		is_float = true;
	if (!is_float && slice_to_i64(text, &i) == 0) {
		*out = val_int(i);
		return 0;
	}
	if (!is_float && slice_to_u64(text, &u) == 0) {
		*out = val_uint(u);
		return 0;
	}
	return parse_float(p, text, out);
}

static int parse_number(struct parser *p, struct val *out)
{
	const char *start = p->at;
	bool is_float = false;
	int rc;
	if (*p->at == '-')
		p->at++;
	if (peek(p) == '0') {
		p->at++;
		if (p->at < p->end && ascii_is_digit(*p->at))
			return fail_next(p, "invalid number");
	} else if ((rc = need_digits(p)) < 0) {
		return rc;
	}
	if (peek(p) == '.') {
		is_float = true;
		p->at++;
		if ((rc = need_digits(p)) < 0)
			return rc;
	}
	if (peek(p) == 'e' || peek(p) == 'E') {
		is_float = true;
		p->at++;
		if (peek(p) == '+' || peek(p) == '-')
			p->at++;
		if ((rc = need_digits(p)) < 0)
			return rc;
	}
	return number_value(p, slice_new(start, (size_t)(p->at - start)), is_float, out);
}

static int parse_hex4(struct parser *p, uint32_t *out)
{
	uint32_t n = 0;
	if (p->end - p->at < 4) {
		p->at = p->end;
		return fail_at(p, p->at, "EOF while parsing a string");
	}
	bool ok = true;
	for (int i = 0; i < 4; i++) {
		char c = ascii_lower(*p->at++);
		ok = ok && (ascii_is_digit(c) || (c >= 'a' && c <= 'f'));
		n = n << 4 | (uint32_t)(ascii_is_digit(c) ? c - '0' : c - 'a' + 10);
	}
	if (!ok)
		return fail_at(p, p->at, "invalid escape");
	*out = n;
	return 0;
}

/* Behind "\u": one escape, or two that make a surrogate pair. */
static int parse_unicode(struct parser *p, struct buf *b)
{
	uint32_t cp, low;
	int rc = parse_hex4(p, &cp);
	if (rc < 0)
		return rc;
	if (cp >= 0xdc00 && cp <= 0xdfff)
		return fail_at(p, p->at, "lone leading surrogate in hex escape");
	if (cp >= 0xd800 && cp <= 0xdbff) {
		for (const char *c = "\\u"; *c != '\0'; c++, p->at++) {
			if (p->at == p->end)
				return fail_at(p, p->at, "EOF while parsing a string");
			if (*p->at != *c)
				return fail_next(p, "unexpected end of hex escape");
		}
		if ((rc = parse_hex4(p, &low)) < 0)
			return rc;
		if (low < 0xdc00 || low > 0xdfff)
			return fail_at(p, p->at, "lone leading surrogate in hex escape");
		cp = 0x10000 + ((cp - 0xd800) << 10) + (low - 0xdc00);
	}
	utf8_put(b, cp);
	return 0;
}

static int parse_escape(struct parser *p, struct buf *b)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	if (p->at == p->end)
		return fail_at(p, p->at, "EOF while parsing a string");
	char c = *p->at++;
	const char *found = c != '\0' ? strchr(from, c) : NULL;
	if (found != NULL) {
		buf_putc(b, to[found - from]);
		return 0;
	}
	return c == 'u' ? parse_unicode(p, b) : fail_at(p, p->at, "invalid escape");
}

static int check_text(const struct parser *p, const char *from, struct slice *out)
{
	*out = slice_new(from, (size_t)(p->at - from));
	return utf8_valid(*out) ? 0 : fail_at(p, p->at, "invalid unicode code point");
}

/* The rest of a string that has escapes; FROM is where its text began. */
static int parse_escaped(struct parser *p, const char *from, struct buf *b)
{
	struct slice part;
	int rc;
	for (;;) {
		while (p->at < p->end && *p->at != '"' && *p->at != '\\' && (unsigned char)*p->at >= 0x20)
			p->at++;
		if ((rc = check_text(p, from, &part)) < 0)
			return rc;
		buf_slice(b, part);
		if (p->at == p->end)
			return fail_at(p, p->at, "EOF while parsing a string");
		char c = *p->at++;
		if (c == '"')
			return 0;
		if (c != '\\')
			return fail_at(p, p->at, "control character (\\u0000-\\u001F) found while parsing a string");
		if ((rc = parse_escape(p, b)) < 0)
			return rc;
		from = p->at;
	}
}

/* p->at is behind the opening quote. */
static int parse_string(struct parser *p, struct slice *out)
{
	const char *from = p->at;
	int rc;
	while (p->at < p->end && *p->at != '"' && *p->at != '\\' && (unsigned char)*p->at >= 0x20)
		p->at++;
	if (p->at < p->end && *p->at == '"') {
		struct slice s;
		if ((rc = check_text(p, from, &s)) < 0)
			return rc;
		p->at++;
		*out = arena_dup(p->a, s);
		return 0;
	}
	struct buf b = { 0 };
	p->at = from;
	if ((rc = parse_escaped(p, from, &b)) == 0)
		*out = arena_dup(p->a, buf_view(&b));
	buf_fini(&b);
	return rc;
}

static int parse_value(struct parser *p, struct val *out);

static int parse_list(struct parser *p, struct val *out)
{
	struct val item;
	int rc, c = skip_space(p);
	*out = val_list();
	if (c == ']') {
		p->at++;
		return 0;
	}
	for (;;) {
		if (skip_space(p) == -1)
			return fail_at(p, p->at, "EOF while parsing a list");
		if ((rc = parse_value(p, &item)) < 0)
			return rc;
		val_push(p->a, out, item);
		c = skip_space(p);
		if (c == -1)
			return fail_at(p, p->at, "EOF while parsing a list");
		if (c != ',' && c != ']')
			return fail_next(p, "expected `,` or `]`");
		p->at++;
		if (c == ']')
			return 0;
		c = skip_space(p);
		if (c == ']')
			return fail_next(p, "trailing comma");
		if (c == -1)
			return fail_at(p, p->at, "EOF while parsing a value");
	}
}

/* "key": value */
static int parse_member(struct parser *p, struct val *obj)
{
	struct slice key;
	struct val item;
	int rc, c;
	p->at++;
	if ((rc = parse_string(p, &key)) < 0)
		return rc;
	c = skip_space(p);
	if (c == -1)
		return fail_at(p, p->at, "EOF while parsing an object");
	if (c != ':')
		return fail_next(p, "expected `:`");
	p->at++;
	if ((rc = parse_value(p, &item)) < 0)
		return rc;
	uint32_t before = obj->n;
	struct val *put = val_put(p->a, obj, key, item);
	put->given_twice = obj->n == before;
	return 0;
}

static int parse_object(struct parser *p, struct val *out)
{
	int rc, c = skip_space(p);
	*out = val_obj();
	if (c == -1)
		return fail_at(p, p->at, "EOF while parsing an object");
	if (c == '}') {
		p->at++;
		return 0;
	}
	for (;;) {
		if (c != '"')
			return fail_next(p, c == '}' ? "trailing comma" : c == -1 ? "EOF while parsing a value" : "key must be a string");
		if ((rc = parse_member(p, out)) < 0)
			return rc;
		c = skip_space(p);
		if (c == -1)
			return fail_at(p, p->at, "EOF while parsing an object");
		if (c != ',' && c != '}')
			return fail_next(p, "expected `,` or `}`");
		p->at++;
		if (c == '}')
			return 0;
		c = skip_space(p);
	}
}

static int parse_nested(struct parser *p, int (*parse)(struct parser *, struct val *), struct val *out)
{
	if (p->depth == DEPTH_MAX)
		return fail_next(p, "recursion limit exceeded");
	p->depth++;
	p->at++;
	int rc = parse(p, out);
	p->depth--;
	return rc;
}

static int parse_value(struct parser *p, struct val *out)
{
	int c = skip_space(p);
	switch (c) {
	case -1:
		return fail_at(p, p->at, "EOF while parsing a value");
	case 'n':
		return parse_word(p, "null", val_null(), out);
	case 't':
		return parse_word(p, "true", val_bool(true), out);
	case 'f':
		return parse_word(p, "false", val_bool(false), out);
	case '"':
		*out = (struct val){ .type = VAL_STR };
		p->at++;
		return parse_string(p, &out->s);
	case '[':
		return parse_nested(p, parse_list, out);
	case '{':
		return parse_nested(p, parse_object, out);
	default:
		if (c == '-' || ascii_is_digit((char)c))
			return parse_number(p, out);
		return fail_next(p, "expected value");
	}
}

int json_parse(struct slice text, struct arena *a, struct val *out)
{
	const char *start = text.ptr != NULL ? text.ptr : "";
	struct parser p = { .start = start, .at = start, .end = start + text.len, .a = a };
	struct val v;
	int rc = parse_value(&p, &v);
	if (rc < 0)
		return rc;
	if (skip_space(&p) != -1)
		return fail_next(&p, "trailing characters");
	*out = v;
	return 0;
}
