/* SPDX-License-Identifier: Apache-2.0 */
/* Scalars of TOML 1.1. */
#include <stdio.h>
#include <stdlib.h>

#include "base/timefmt.h"
#include "base/utf8.h"
#include "codec/toml_int.h"

static int digit_value(char c)
{
	if (ascii_is_digit(c))
		return c - '0';
	c = ascii_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : 99;
}

/* N hex digits behind "\x", "\u" or "\U". */
static int read_unicode(struct toml_reader *r, int n, struct buf *b)
{
	const char *from = r->at;
	uint32_t cp = 0;
	for (int i = 0; i < n; i++, r->at++) {
		int d = r->at < r->end ? digit_value(*r->at) : 99;
		if (d > 15)
			return toml_fail(r, from, r->at, "invalid escape: %d hexadecimal digits expected", n);
		cp = cp << 4 | (uint32_t)d;
	}
	if (cp > 0x10ffff || (cp >= 0xd800 && cp <= 0xdfff))
		return toml_fail(r, from, r->at, "invalid unicode scalar value");
	utf8_put(b, cp);
	return 0;
}

/* A backslash at the end of a line swallows all white space up to the next text. False: it is none. */
static bool skip_continuation(struct toml_reader *r)
{
	const char *p = r->at;
	while (p < r->end && (*p == ' ' || *p == '\t'))
		p++;
	if (p + 1 < r->end && p[0] == '\r' && p[1] == '\n')
		p++;
	if (p == r->end || *p != '\n')
		return false;
	while (p < r->end && (*p == ' ' || *p == '\t' || *p == '\n' || (*p == '\r' && p + 1 < r->end && p[1] == '\n')))
		p++;
	r->at = p;
	return true;
}

/* Behind the backslash. */
static int read_escape(struct toml_reader *r, bool multi, struct buf *b)
{
	static const char from[] = "btnfre\"\\", to[] = "\b\t\n\f\r\x1b\"\\";
	int c = toml_peek(r);
	const char *found = c > 0 ? strchr(from, c) : NULL;
	if (found != NULL) {
		buf_putc(b, to[found - from]);
		r->at++;
		return 0;
	}
	if (multi && skip_continuation(r))
		return 0;
	if (c != 'x' && c != 'u' && c != 'U')
		return toml_fail(r, r->at, r->at + 1, "missing escaped value, expected `b`, `e`, `f`, `n`, `r`, `\\`, `\"`, `x`, `u`, `U`");
	r->at++;
	return read_unicode(r, c == 'x' ? 2 : c == 'u' ? 4 : 8, b);
}

/* In a string of several lines a run of quotes may end with up to two that belong to it. True: closed. */
static bool close_multi(struct toml_reader *r, char quote, struct buf *b)
{
	int n = 0;
	while (n < 5 && r->at + n < r->end && r->at[n] == quote)
		n++;
	r->at += n;
	for (int i = n >= 3 ? 3 : 0; i < n; i++)
		buf_putc(b, quote);
	return n >= 3;
}

static int fail_unclosed(struct toml_reader *r, char quote, bool multi)
{
	const char *kind = quote == '"' ? "basic" : "literal", *mark = multi ? quote == '"' ? "\"\"\"" : "'''" : quote == '"' ? "\"" : "'";
	return toml_fail(r, r->at, r->at, "invalid %s%s string, expected `%s`", multi ? "multi-line " : "", kind, mark);
}

static int read_quoted(struct toml_reader *r, char quote, bool multi, struct buf *b)
{
	for (;;) {
		int c = toml_peek(r), rc;
		if (c == -1)
			return fail_unclosed(r, quote, multi);
		if (c == quote && !multi) {
			r->at++;
			return 0;
		}
		if (c == quote) {
			if (close_multi(r, quote, b))
				return 0;
		} else if (c == '\\' && quote == '"') {
			r->at++;
			if ((rc = read_escape(r, multi, b)) < 0)
				return rc;
		} else if (multi && (c == '\n' || (c == '\r' && r->at + 1 < r->end && r->at[1] == '\n'))) {
			buf_putc(b, '\n');
			r->at += c == '\r' ? 2 : 1;
		} else if (c == '\n') {
			return fail_unclosed(r, quote, multi);
		} else if (toml_is_control((char)c)) {
			return toml_fail(r, r->at, r->at + 1, "invalid %s string: control character 0x%02x", quote == '"' ? "basic" : "literal", c);
		} else {
			buf_putc(b, (char)c);
			r->at++;
		}
	}
}

int toml_read_string(struct toml_reader *r, bool key, struct slice *out)
{
	struct buf b = { 0 };
	const char *from = r->at;
	char quote = *r->at;
	bool multi = r->end - r->at >= 3 && r->at[1] == quote && r->at[2] == quote;
	if (multi && key)
		return toml_fail(r, from, from + 3, "invalid key: a string of several lines");
	r->at += multi ? 3 : 1;
	if (multi && slice_starts(toml_rest(r), SLICE("\r\n")))
		r->at += 2;
	else if (multi && toml_peek(r) == '\n')
		r->at++;
	int rc = read_quoted(r, quote, multi, &b);
	if (rc == 0)
		*out = arena_dup(r->a, buf_view(&b));
	buf_fini(&b);
	return rc;
}

/* Digits of BASE at *I with single underscores between; how many, or -1 with *I at what is wrong. */
static int take_digits(struct slice s, size_t *i, int base)
{
	int n = 0;
	for (;;) {
		if (*i < s.len && digit_value(s.ptr[*i]) < base) {
			n++;
			++*i;
		} else if (*i < s.len && s.ptr[*i] == '_' && n > 0 && *i + 1 < s.len && digit_value(s.ptr[*i + 1]) < base) {
			++*i;
		} else {
			return *i < s.len && s.ptr[*i] == '_' ? -1 : n;
		}
	}
}

static int fail_number(struct toml_reader *r, struct slice s, const char *what)
{
	return toml_fail(r, s.ptr, s.ptr + s.len, "invalid %s", what);
}

static int read_prefixed(struct toml_reader *r, struct slice s, struct val *out)
{
	int base = s.ptr[1] == 'x' ? 16 : s.ptr[1] == 'o' ? 8 : 2;
	size_t i = 2;
	uint64_t n = 0;
	if (take_digits(s, &i, base) <= 0 || i != s.len)
		return fail_number(r, s, base == 16 ? "hexadecimal integer" : base == 8 ? "octal integer" : "binary integer");
	for (i = 2; i < s.len; i++) {
		if (s.ptr[i] == '_')
			continue;
		if (__builtin_mul_overflow(n, (uint64_t)base, &n) || __builtin_add_overflow(n, (uint64_t)digit_value(s.ptr[i]), &n) || n > INT64_MAX)
			return fail_number(r, s, "integer: too large");
	}
	*out = val_int((int64_t)n);
	return 0;
}

/* Whether S is [sign] digits [. digits] [e [sign] digits]; with *IS_FLOAT. *AT is where that stops being so. */
static bool is_decimal(struct slice s, bool *is_float, size_t *at)
{
	size_t i = s.len > 0 && (s.ptr[0] == '+' || s.ptr[0] == '-');
	size_t first = i;
	int n = take_digits(s, &i, 10);
	*is_float = false;
	*at = i;
	if (n <= 0 || (n > 1 && s.ptr[first] == '0'))
		return false;
	if (i < s.len && s.ptr[i] == '.') {
		*is_float = true;
		i++;
		n = take_digits(s, &i, 10);
		*at = i;
		if (n <= 0)
			return false;
	}
	if (i < s.len && (s.ptr[i] == 'e' || s.ptr[i] == 'E')) {
		*is_float = true;
		i++;
		i += i < s.len && (s.ptr[i] == '+' || s.ptr[i] == '-');
		n = take_digits(s, &i, 10);
		*at = i;
		if (n <= 0)
			return false;
	}
	*at = i;
	return i == s.len;
}

static int read_decimal(struct toml_reader *r, struct slice s, struct val *out)
{
	bool is_float;
	size_t at;
	if (!is_decimal(s, &is_float, &at))
		return toml_fail(r, s.ptr + at, s.ptr + s.len, "invalid %s `%.*s`", is_float ? "float" : "integer", (int)MIN(s.len, (size_t)80), s.ptr);
	struct buf b = { 0 };
	for (size_t i = s.ptr[0] == '+'; i < s.len; i++)
		if (s.ptr[i] != '_')
			buf_putc(&b, s.ptr[i]);
	int rc = 0;
	int64_t n;
	if (is_float)
		*out = val_float(strtod(buf_cstr(&b), NULL));
	else if (slice_to_i64(buf_view(&b), &n) == 0)
		*out = val_int(n);
	else
		rc = fail_number(r, s, "integer: it does not fit 64 bits");
	buf_fini(&b);
	return rc;
}

/* A date, a time or both, read from the front of S. */
struct stamp {
	struct time_parts p;
	bool has_date, has_time, has_offset, utc;
	char fraction[10];	/* digits without trailing zeros */
};

static bool take_two(struct slice *s, int max, int *out)
{
	if (s->len < 2 || !ascii_is_digit(s->ptr[0]) || !ascii_is_digit(s->ptr[1]))
		return false;
	*out = (s->ptr[0] - '0') * 10 + s->ptr[1] - '0';
	*s = slice_sub(*s, 2, SIZE_MAX);
	return *out <= max;
}

static bool take_char(struct slice *s, char c)
{
	if (s->len == 0 || s->ptr[0] != c)
		return false;
	*s = slice_sub(*s, 1, SIZE_MAX);
	return true;
}

static bool take_date(struct slice *s, struct stamp *t)
{
	int century, year;
	if (!take_two(s, 99, &century) || !take_two(s, 99, &year) || !take_char(s, '-') || !take_two(s, 12, &t->p.month) || !take_char(s, '-') ||
	    !take_two(s, 31, &t->p.day))
		return false;
	t->p.year = century * 100 + year;
	t->has_date = true;
	return t->p.month >= 1 && t->p.day >= 1 && t->p.day <= time_days_in_month(t->p.year, t->p.month);
}

static bool take_time(struct slice *s, struct stamp *t)
{
	size_t n = 0, digits = 0;
	t->has_time = true;
	if (!take_two(s, 23, &t->p.hour) || !take_char(s, ':') || !take_two(s, 59, &t->p.minute))
		return false;
	if (!take_char(s, ':'))
		return true;	/* seconds may be missing since TOML 1.1 */
	if (!take_two(s, 60, &t->p.second))
		return false;
	if (!take_char(s, '.'))
		return true;
	for (; s->len > 0 && ascii_is_digit(s->ptr[0]); digits++) {
		if (n < 9)
			t->fraction[n++] = s->ptr[0];
		*s = slice_sub(*s, 1, SIZE_MAX);
	}
	while (n > 0 && t->fraction[n - 1] == '0')
		n--;
	t->fraction[n] = '\0';
	return digits > 0;
}

static bool take_offset(struct slice *s, struct stamp *t)
{
	int hours, minutes;
	if (s->len == 0)
		return true;
	t->has_offset = true;
	if (take_char(s, 'Z') || take_char(s, 'z')) {
		t->utc = true;
		return true;
	}
	bool west = s->ptr[0] == '-';
	if (!west && s->ptr[0] != '+')
		return false;
	*s = slice_sub(*s, 1, SIZE_MAX);
	if (!take_two(s, 23, &hours) || !take_char(s, ':') || !take_two(s, 59, &minutes))
		return false;
	t->p.offset_s = (hours * 60 + minutes) * (west ? -1 : 1);	/* in minutes here */
	return true;
}

/* The one spelling that all forms of a time are kept in. */
static void put_stamp(struct buf *b, const struct stamp *t)
{
	if (t->has_date)
		buf_printf(b, "%04d-%02d-%02d", t->p.year, t->p.month, t->p.day);
	if (t->has_date && t->has_time)
		buf_putc(b, 'T');
	if (t->has_time)
		buf_printf(b, "%02d:%02d:%02d%s%s", t->p.hour, t->p.minute, t->p.second, t->fraction[0] != '\0' ? "." : "", t->fraction);
	if (t->utc)
		buf_putc(b, 'Z');
	else if (t->has_offset)
		buf_printf(b, "%c%02d:%02d", t->p.offset_s < 0 ? '-' : '+', abs(t->p.offset_s) / 60, abs(t->p.offset_s) % 60);
}

static int read_stamp(struct toml_reader *r, struct slice s, struct val *out)
{
	struct stamp t = { 0 };
	struct slice rest = s;
	bool ok;
	if (s.len > 2 && s.ptr[2] == ':') {
		ok = take_time(&rest, &t) && rest.len == 0;
	} else {
		ok = take_date(&rest, &t);
		if (ok && rest.len > 0) {
			ok = take_char(&rest, 'T') || take_char(&rest, 't') || take_char(&rest, ' ');
			ok = ok && take_time(&rest, &t) && take_offset(&rest, &t) && rest.len == 0;
		}
	}
	if (!ok)
		return toml_fail(r, s.ptr, s.ptr + s.len, "invalid datetime");
	struct buf b = { 0 };
	put_stamp(&b, &t);
	*out = (struct val){ .type = VAL_TIME, .s = arena_dup(r->a, buf_view(&b)) };
	buf_fini(&b);
	return 0;
}

static bool starts_digits(struct slice s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (i >= s.len || !ascii_is_digit(s.ptr[i]))
			return false;
	return true;
}

static bool is_stamp(struct slice s)
{
	return (s.len > 4 && starts_digits(s, 4) && s.ptr[4] == '-') || (s.len > 2 && starts_digits(s, 2) && s.ptr[2] == ':');
}

static const struct {
	struct slice word;
	struct val v;
} WORDS[] = {
	{ SLICE_INIT("true"), { .type = VAL_BOOL, .b = true } }, { SLICE_INIT("false"), { .type = VAL_BOOL } },
	{ SLICE_INIT("inf"), { .type = VAL_FLOAT, .f = __builtin_inf() } }, { SLICE_INIT("+inf"), { .type = VAL_FLOAT, .f = __builtin_inf() } },
	{ SLICE_INIT("-inf"), { .type = VAL_FLOAT, .f = -__builtin_inf() } }, { SLICE_INIT("nan"), { .type = VAL_FLOAT, .f = __builtin_nan("") } },
	{ SLICE_INIT("+nan"), { .type = VAL_FLOAT, .f = __builtin_nan("") } }, { SLICE_INIT("-nan"), { .type = VAL_FLOAT, .f = __builtin_nan("") } },
};

static int fail_word(struct toml_reader *r, struct slice s)
{
	const char *until = s.ptr + s.len;
	if (s.len == 0)
		return toml_fail(r, s.ptr, s.ptr, "string values must be quoted, expected literal string");
	if (s.ptr[0] == 't' || s.ptr[0] == 'f')
		return toml_fail(r, s.ptr, until, "invalid boolean, expected `%s`", s.ptr[0] == 't' ? "true" : "false");
	return toml_fail(r, s.ptr, until, "string values must be quoted, expected literal string");
}

int toml_read_plain(struct toml_reader *r, struct val *out)
{
	const char *from = r->at;
	while (r->at < r->end && (toml_is_bare(*r->at) || strchr("+.:", *r->at) != NULL) && *r->at != '\0')
		r->at++;
	struct slice s = slice_new(from, (size_t)(r->at - from));
	/* "1979-05-27 07:32:00": the one value with a blank inside. */
	if (s.len == 10 && is_stamp(s) && toml_peek(r) == ' ' && r->end - r->at > 3 && starts_digits(slice_new(r->at + 1, 2), 2) && r->at[3] == ':') {
		r->at++;
		while (r->at < r->end && (ascii_is_alnum(*r->at) || (*r->at != '\0' && strchr("+-.:", *r->at) != NULL)))
			r->at++;
		s.len = (size_t)(r->at - from);
	}
	for (size_t i = 0; i < ARRAY_LEN(WORDS); i++)
		if (slice_eq(s, WORDS[i].word)) {
			*out = WORDS[i].v;
			return 0;
		}
	if (is_stamp(s))
		return read_stamp(r, s, out);
	if (s.len > 1 && s.ptr[0] == '0' && (s.ptr[1] == 'x' || s.ptr[1] == 'o' || s.ptr[1] == 'b'))
		return read_prefixed(r, s, out);
	if (s.len > 2 && (s.ptr[0] == '+' || s.ptr[0] == '-') && s.ptr[1] == '0' && ascii_is_alpha(s.ptr[2]) && s.ptr[2] != 'e' && s.ptr[2] != 'E')
		return fail_number(r, s, "integer: only decimal ones have a sign");
	if (s.len > 0 && (ascii_is_digit(s.ptr[0]) || strchr("+-_.", s.ptr[0]) != NULL))
		return read_decimal(r, s, out);
	return fail_word(r, s);
}
