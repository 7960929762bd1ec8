/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/template/lex.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/utf8.h"

int lex_fail(const struct lexer *l, uint32_t line, const char *fmt, ...)
{
	struct buf b = { 0 };
	va_list ap;
	va_start(ap, fmt);
	buf_vprintf(&b, fmt, ap);
	va_end(ap);
	int rc = err_set(E_INVAL, "syntax error: %s (in %.*s:%u)", buf_cstr(&b), SLICE_ARG(l->t->name), line);
	buf_fini(&b);
	return rc;
}

const char *tok_name(const struct tok *t, char buf[16])
{
	static const char *const names[] = {
		[T_EOF] = "end of input", [T_TEXT] = "template-data", [T_VAR_BEGIN] = "start of variable block", [T_VAR_END] = "end of variable block",
		[T_BLOCK_BEGIN] = "start of block", [T_BLOCK_END] = "end of block", [T_NAME] = "identifier", [T_STR] = "string", [T_INT] = "integer",
		[T_FLOAT] = "float",
	};
	if (t->kind != T_OP)
		return names[t->kind];
	snprintf(buf, 16, "`%.*s`", SLICE_ARG(t->text));
	return buf;
}

void lex_init(struct lexer *l, const struct template *t)
{
	struct slice src = t->source;
	if (slice_ends(src, SLICE("\r\n")))	/* one line end at the end belongs to the file, not to the text */
		src.len -= 2;
	else if (slice_ends(src, SLICE("\n")))
		src.len--;
	*l = (struct lexer){ .t = t, .a = t->arena, .src = src, .line = 1 };
}

static struct slice rest(const struct lexer *l)
{
	return slice_sub(l->src, l->at, SIZE_MAX);
}

static void skip(struct lexer *l, size_t n)
{
	for (size_t i = 0; i < n; i++)
		l->line += l->src.ptr[l->at + i] == '\n';
	l->at += n;
}

static struct slice trim_start(struct slice s)
{
	while (s.len > 0 && ascii_is_space(*s.ptr))
		s = slice_sub(s, 1, SIZE_MAX);
	return s;
}

static struct slice trim_end(struct slice s)
{
	while (s.len > 0 && ascii_is_space(s.ptr[s.len - 1]))
		s.len--;
	return s;
}

/* Offset of the next "{{", "{%" or "{#", or the length. */
static size_t find_tag(struct slice s)
{
	for (size_t i = 0; i + 1 < s.len; i++) {
		const char *p = memchr(s.ptr + i, '{', s.len - 1 - i);
		if (p == NULL)
			break;
		i = (size_t)(p - s.ptr);
		if (p[1] == '{' || p[1] == '%' || p[1] == '#')
			return i;
	}
	return s.len;
}

static int skip_comment(struct lexer *l)
{
	ptrdiff_t end = slice_find(slice_sub(rest(l), 2, SIZE_MAX), SLICE("#}"));
	if (end < 0) {
		skip(l, rest(l).len);
		return lex_fail(l, l->line, "unexpected end of comment");
	}
	l->trim = end > 0 && rest(l).ptr[2 + end - 1] == '-';
	skip(l, (size_t)end + 4);
	return 0;
}

/* "%}", "-%}" or "+%}" after blanks: its length, and whether what follows is trimmed. */
static size_t tag_end(struct slice s, bool *trim)
{
	struct slice t = trim_start(s);
	*trim = t.len > 0 && t.ptr[0] == '-';
	if (t.len > 0 && (t.ptr[0] == '-' || t.ptr[0] == '+'))
		t = slice_sub(t, 1, SIZE_MAX);
	return slice_starts(t, SLICE("%}")) ? (size_t)(t.ptr - s.ptr) + 2 : 0;
}

/* The length of "{% WORD %}" at the start of S, or 0. */
static size_t word_tag(struct slice s, struct slice word, bool *trim_before, bool *trim_after)
{
	struct slice t = slice_sub(s, 2, SIZE_MAX);
	*trim_before = t.len > 0 && t.ptr[0] == '-';
	if (t.len > 0 && (t.ptr[0] == '-' || t.ptr[0] == '+'))
		t = slice_sub(t, 1, SIZE_MAX);
	t = trim_start(t);
	if (!slice_starts(t, word))
		return 0;
	t = slice_sub(t, word.len, SIZE_MAX);
	size_t n = tag_end(t, trim_after);
	return n > 0 ? (size_t)(t.ptr - s.ptr) + n : 0;
}

/* At "{% raw %}": its text up to "{% endraw %}". */
static int lex_raw(struct lexer *l, size_t open, bool trim, struct tok *out)
{
	skip(l, open);
	struct slice s = rest(l);
	uint32_t line = l->line;
	for (size_t i = 0; i + 1 < s.len; i++) {
		bool before, after;
		if (s.ptr[i] != '{' || s.ptr[i + 1] != '%')
			continue;
		size_t n = word_tag(slice_sub(s, i, SIZE_MAX), SLICE("endraw"), &before, &after);
		if (n == 0)
			continue;
		struct slice text = slice_sub(s, 0, i);
		text = trim ? trim_start(text) : text;
		text = before ? trim_end(text) : text;
		skip(l, i + n);
		l->trim = after;
		*out = (struct tok){ T_TEXT, .line = line, .text = text };
		return 0;
	}
	skip(l, s.len);
	return lex_fail(l, l->line, "unexpected end of raw block");
}

/* Text up to the next tag, or the tag's beginning. */
static int lex_text(struct lexer *l, struct tok *out)
{
	for (;;) {
		struct slice s = rest(l);
		size_t n = find_tag(s);
		struct slice text = slice_sub(s, 0, n);
		if (l->trim)
			text = trim_start(text);
		if (n + 2 < s.len && s.ptr[n + 2] == '-')
			text = trim_end(text);
		if (text.len > 0 || n > 0) {
			uint32_t line = l->line;
			for (const char *p = s.ptr; p < text.ptr; p++)
				line += *p == '\n';
			l->trim = false;
			skip(l, n);
			if (text.len == 0)
				continue;
			*out = (struct tok){ T_TEXT, .line = line, .text = text };
			return 0;
		}
		l->trim = false;
		if (s.len == 0) {
			*out = (struct tok){ T_EOF, .line = l->line };
			return 0;
		}
		if (s.ptr[1] == '#') {
			int rc = skip_comment(l);
			if (rc < 0)
				return rc;
			continue;
		}
		bool before, after;
		size_t raw = s.ptr[1] == '%' ? word_tag(s, SLICE("raw"), &before, &after) : 0;
		if (raw > 0) {
			int rc = lex_raw(l, raw, after, out);
			if (rc < 0 || out->text.len > 0)
				return rc;
			continue;
		}
		*out = (struct tok){ s.ptr[1] == '{' ? T_VAR_BEGIN : T_BLOCK_BEGIN, .line = l->line };
		l->state = s.ptr[1] == '{' ? IN_VAR : IN_BLOCK;
		l->balance = 0;
		skip(l, s.len > 2 && (s.ptr[2] == '-' || s.ptr[2] == '+') ? 3 : 2);
		return 0;
	}
}

static int hex_digits(struct slice s, size_t n, uint32_t *out)
{
	*out = 0;
	for (size_t i = 0; i < n; i++) {
		char c = i < s.len ? ascii_lower(s.ptr[i]) : 'z';
		if (!ascii_is_digit(c) && (c < 'a' || c > 'f'))
			return -E_INVAL;
		*out = *out << 4 | (uint32_t)(ascii_is_digit(c) ? c - '0' : c - 'a' + 10);
	}
	return 0;
}

/* Behind a backslash; what is no escape stays, backslash and all. */
static size_t unescape(struct buf *b, struct slice s)
{
	static const char from[] = "ntrbf\\/\"'", to[] = "\n\t\r\b\f\\/\"'";
	const char *found = s.ptr[0] != '\0' ? strchr(from, s.ptr[0]) : NULL;
	uint32_t cp, low;
	if (found != NULL) {
		buf_putc(b, to[found - from]);
		return 1;
	}
	if (s.ptr[0] == 'x' && hex_digits(slice_sub(s, 1, SIZE_MAX), 2, &cp) == 0) {
		utf8_put(b, cp);
		return 3;
	}
	if (s.ptr[0] == 'u' && hex_digits(slice_sub(s, 1, SIZE_MAX), 4, &cp) == 0) {
		if (cp >= 0xd800 && cp < 0xdc00 && slice_starts(slice_sub(s, 5, SIZE_MAX), SLICE("\\u")) &&
		    hex_digits(slice_sub(s, 7, SIZE_MAX), 4, &low) == 0 && low >= 0xdc00 && low < 0xe000) {
			utf8_put(b, 0x10000 + ((cp - 0xd800) << 10) + (low - 0xdc00));
			return 11;
		}
		utf8_put(b, cp >= 0xd800 && cp < 0xe000 ? 0xfffd : cp);
		return 5;
	}
	buf_putc(b, '\\');
	return 0;
}

static int lex_string(struct lexer *l, struct tok *out)
{
	struct slice s = rest(l);
	size_t i = 1;
	bool escapes = false;
	for (; i < s.len && s.ptr[i] != s.ptr[0]; i++)
		if (s.ptr[i] == '\\') {
			escapes = true;
			i++;
		}
	if (i >= s.len)
		return lex_fail(l, l->line, "unexpected end of string");
	struct slice text = slice_sub(s, 1, i - 1);
	if (escapes) {
		struct buf b = { 0 };
		for (size_t k = 0; k < text.len; k++) {
			if (text.ptr[k] == '\\')
				k += unescape(&b, slice_sub(text, k + 1, SIZE_MAX));
			else
				buf_putc(&b, text.ptr[k]);
		}
		text = arena_dup(l->a, buf_view(&b));
		buf_fini(&b);
	}
	*out = (struct tok){ T_STR, .line = l->line, .text = text };
	skip(l, i + 1);
	return 0;
}

static int lex_based(struct lexer *l, struct slice s, int base, struct tok *out)
{
	unsigned __int128 n = 0;
	size_t i = 2, digits = 0;
	for (; i < s.len && (ascii_is_alnum(s.ptr[i]) || s.ptr[i] == '_'); i++) {
		if (s.ptr[i] == '_')
			continue;
		char c = ascii_lower(s.ptr[i]);
		int d = ascii_is_digit(c) ? c - '0' : c - 'a' + 10;
		if (d >= base || n >> 120 != 0)
			return lex_fail(l, l->line, "invalid integer (too large)");
		n = n * (unsigned)base + (unsigned)d;
		digits++;
	}
	if (digits == 0)
		return lex_fail(l, l->line, "invalid integer (too large)");
	*out = (struct tok){ T_INT, .line = l->line, .i = (int128)n };
	skip(l, i);
	return 0;
}

static size_t digits_end(struct slice s, size_t i)
{
	while (i < s.len && (ascii_is_digit(s.ptr[i]) || s.ptr[i] == '_'))
		i++;
	return i;
}

static int lex_decimal(struct lexer *l, struct slice s, size_t len, bool is_float, struct tok *out)
{
	char text[400];
	size_t n = 0;
	unsigned __int128 value = 0;
	bool overflow = false;
	for (size_t i = 0; i < len; i++) {
		if (s.ptr[i] == '_')
			continue;
		if (n < sizeof text - 1)
			text[n++] = s.ptr[i];
		if (!is_float) {
			unsigned d = (unsigned)(s.ptr[i] - '0');
			overflow |= value > (~(unsigned __int128)0 - d) / 10;
			value = value * 10 + d;
		}
	}
	text[n] = '\0';
	if (s.ptr[len - 1] == '_')
		return lex_fail(l, l->line, "'_' may not occur at end of number");
	if (overflow || (!is_float && value >> 127 != 0 && value != (unsigned __int128)1 << 127))
		return lex_fail(l, l->line, "invalid integer (too large)");
	*out = (struct tok){ is_float ? T_FLOAT : T_INT, .line = l->line };
	if (is_float)
		out->f = strtod(text, NULL);
	else
		out->i = (int128)value;
	skip(l, len);
	return 0;
}

static int lex_number(struct lexer *l, struct tok *out)
{
	struct slice s = rest(l);
	if (s.len > 1 && s.ptr[0] == '0') {
		char c = ascii_lower(s.ptr[1]);
		if (c == 'x' || c == 'o' || c == 'b')
			return lex_based(l, s, c == 'x' ? 16 : c == 'o' ? 8 : 2, out);
	}
	size_t i = digits_end(s, 0);
	bool is_float = false;
	if (i < s.len && s.ptr[i] == '.') {
		is_float = true;
		i = digits_end(s, i + 1);
	}
	if (i < s.len && (s.ptr[i] == 'e' || s.ptr[i] == 'E')) {
		size_t k = i + 1;
		k += k < s.len && (s.ptr[k] == '+' || s.ptr[k] == '-');
		if (k < s.len && ascii_is_digit(s.ptr[k])) {
			is_float = true;
			i = digits_end(s, k);
		}
	}
	return lex_decimal(l, s, i, is_float, out);
}

static bool is_name_char(char c)
{
	return ascii_is_alnum(c) || c == '_' || (c & 0x80);
}

static int lex_operator(struct lexer *l, struct tok *out)
{
	static const char *const ops[] = { "//", "**", "==", "!=", ">=", "<=", ">", "<", "+", "-", "*", "/", "%", "!", "=", ".", ",", ":", "~", "|", "(", ")", "[", "]",
		"{", "}" };
	struct slice s = rest(l);
	for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
		struct slice op = slice_from_cstr(ops[i]);
		if (!slice_starts(s, op))
			continue;
		if (strchr("([{", op.ptr[0]) != NULL)
			l->balance++;
		else if (strchr(")]}", op.ptr[0]) != NULL)
			l->balance--;
		*out = (struct tok){ T_OP, .line = l->line, .text = slice_sub(s, 0, op.len) };
		skip(l, op.len);
		return 0;
	}
	return lex_fail(l, l->line, "unexpected character");
}

static int lex_code(struct lexer *l, struct tok *out)
{
	skip(l, rest(l).len - trim_start(rest(l)).len);
	struct slice s = rest(l);
	if (s.len == 0) {
		*out = (struct tok){ T_EOF, .line = l->line };
		return 0;
	}
	bool trim = (s.ptr[0] == '-' || s.ptr[0] == '+') && l->balance == 0;
	struct slice close = l->state == IN_VAR ? SLICE("}}") : SLICE("%}"), body = trim ? slice_sub(s, 1, SIZE_MAX) : s;
	if (l->balance == 0 && slice_starts(body, close)) {
		*out = (struct tok){ l->state == IN_VAR ? T_VAR_END : T_BLOCK_END, .line = l->line };
		l->trim = trim && s.ptr[0] == '-';
		l->state = IN_TEXT;
		skip(l, trim ? 3 : 2);
		return 0;
	}
	if (ascii_is_digit(s.ptr[0]))
		return lex_number(l, out);
	if (s.ptr[0] == '"' || s.ptr[0] == '\'')
		return lex_string(l, out);
	if (!is_name_char(s.ptr[0]))
		return lex_operator(l, out);
	size_t n = 0;
	while (n < s.len && is_name_char(s.ptr[n]))
		n++;
	*out = (struct tok){ T_NAME, .line = l->line, .text = slice_sub(s, 0, n) };
	skip(l, n);
	return 0;
}

int lex_next(struct lexer *l, struct tok *out)
{
	return l->state == IN_TEXT ? lex_text(l, out) : lex_code(l, out);
}
