/* SPDX-License-Identifier: Apache-2.0 */
/* Encoded words (RFC 2047), unstructured values, and the folding of what we write. */
#include "base/encode.h"
#include "base/utf8.h"
#include "codec/charset.h"
#include "codec/rfc5322_int.h"

static bool is_word_token(unsigned char c)
{
	return c > 0x20 && c < 0x7f && c != '*' && strchr("()<>@,;:/[]?.=", c) == NULL;
}

static struct slice take_word_token(struct scan *s)
{
	const char *q = s->p;
	while (q < s->end && is_word_token(*q))
		q++;
	struct slice t = slice_new(s->p, q - s->p);
	s->p = q;
	return t;
}

static bool take_lit(struct scan *s, const char *lit)
{
	size_t n = strlen(lit);
	if (scan_left(s) < n || memcmp(s->p, lit, n) != 0)
		return false;
	s->p += n;
	return true;
}

static int hex(char c)
{
	return ascii_is_digit(c) ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "_" is a blank; a bad escape stays as it is. */
static void decode_q(struct slice in, struct buf *out)
{
	for (size_t i = 0; i < in.len; i++) {
		int hi = in.ptr[i] == '=' && i + 2 < in.len ? hex(in.ptr[i + 1]) : -1;
		int lo = hi >= 0 ? hex(in.ptr[i + 2]) : -1;
		if (lo >= 0) {
			buf_putc(out, hi << 4 | lo);
			i += 2;
		} else {
			buf_putc(out, in.ptr[i] == '_' ? ' ' : in.ptr[i]);
		}
	}
}

static bool decode_word(struct slice charset, struct slice encoding, struct slice text, struct buf *out)
{
	struct buf bytes = { 0 };
	bool ok = encoding.len == 1;
	if (ok && ascii_lower(encoding.ptr[0]) == 'b')
		ok = base64_decode(&bytes, text, BASE64_STD) == 0;
	else if (ok && ascii_lower(encoding.ptr[0]) == 'q')
		decode_q(text, &bytes);
	else
		ok = false;
	ok = ok && charset_to_utf8(charset, buf_view(&bytes), out) == 0;
	buf_fini(&bytes);
	return ok;
}

bool lex_encoded_word(struct scan *s, struct buf *out)
{
	const char *start = s->p;
	struct slice charset, encoding, text;

	if (!take_lit(s, "=?"))
		return false;
	charset = take_word_token(s);
	if (charset.len == 0)
		goto no;
	if (take_lit(s, "*") && take_word_token(s).len == 0)	/* RFC 2231 5: the language */
		goto no;
	if (!take_lit(s, "?") || (encoding = take_word_token(s)).len == 0 || !take_lit(s, "?"))
		goto no;
	const char *q = s->p;
	while (q < s->end && (unsigned char)*q > 0x20 && *q != 0x7f && *q != '?')
		q++;
	text = slice_new(s->p, q - s->p);
	s->p = q;
	if (text.len == 0 || !take_lit(s, "?=") || !utf8_valid(text) || !decode_word(charset, encoding, text, out))
		goto no;
	return true;
no:
	s->p = start;
	return false;
}

static void skip_line_ends(struct scan *s)
{
	while (s->p < s->end && (*s->p == '\r' || *s->p == '\n'))
		s->p++;
}

static bool lex_utext(struct scan *s, struct buf *out)
{
	if (s->p < s->end) {
		unsigned char c = *s->p;
		if (c < 0x80 && c != '\t' && c != '\n' && c != '\r' && c != ' ') {
			buf_putc(out, c);
			s->p++;
			return true;
		}
	}
	return lex_utf8(s, out);
}

/* Each run of folding white space is one blank; one between two encoded words is none. */
int mail_parse_unstructured(struct slice value, struct buf *out)
{
	enum { NOTHING, TEXT, SPACE, WORD } last = NOTHING, before = NOTHING;
	struct scan s = scan_new(value, NULL);
	size_t start = out->len;
	struct buf word = { 0 };

	for (;;) {
		const char *at = s.p;
		buf_clear(&word);
		skip_line_ends(&s);
		if (lex_encoded_word(&s, &word)) {
			if (last == SPACE && before == WORD)
				buf_truncate(out, out->len - 1);
			buf_slice(out, buf_view(&word));
			skip_line_ends(&s);
			before = last == SPACE ? TEXT : last;
			last = WORD;
		} else if (lex_utext(&s, out)) {
			skip_line_ends(&s);
			before = last;
			last = TEXT;
		} else {
			s.p = at;
			if (!lex_fws(&s, NULL))
				break;
			if (last != SPACE) {
				buf_putc(out, ' ');
				before = last;
				last = SPACE;
			}
		}
	}
	buf_fini(&word);
	int rc = s.p == s.end ? 0 : scan_finish(&s, true);
	if (rc < 0)
		buf_truncate(out, start);
	return rc;
}

/* --- writing ---------------------------------------------------------------------------------------------------------------- */

static void put_line(struct buf *b, size_t start, struct buf *line, bool more)
{
	if (b->len > start)
		buf_putc(b, '\t');
	buf_slice(b, buf_view(line));
	if (more)
		buf_lit(b, "\r\n");
	buf_clear(line);
}

void mail_put_wrapped(struct buf *b, struct slice text, size_t soft, size_t hard)
{
	size_t start = b->len, i = 0;
	struct buf line = { 0 };

	while (i < text.len) {
		size_t from = i;
		while (i < text.len && !(ascii_is_space(text.ptr[i]) && text.ptr[i] != '\v'))
			i++;
		struct slice word = slice_sub(text, from, i - from);
		i++;
		if (word.len == 0)
			continue;
		if (line.len + word.len < soft) {
			if (line.len > 0)
				buf_putc(&line, ' ');
			buf_slice(&line, word);
			continue;
		}
		if (line.len > 0)
			put_line(b, start, &line, true);
		while (word.len > hard) {
			buf_slice(&line, slice_sub(word, 0, hard));
			put_line(b, start, &line, true);
			word = slice_sub(word, hard, SIZE_MAX);
		}
		buf_slice(&line, word);
	}
	if (line.len > 0)
		put_line(b, start, &line, false);
	buf_fini(&line);
}

#define WORD_PREFIX "=?UTF-8?q?"
#define WORD_SUFFIX "?="
#define WORD_MAX (72 - (sizeof WORD_PREFIX - 1) - (sizeof WORD_SUFFIX - 1))

void mail_put_word(struct buf *b, struct slice s)
{
	size_t used = 0;
	buf_lit(b, WORD_PREFIX);
	while (s.len > 0) {
		uint32_t cp;
		size_t n = utf8_decode(s, &cp);
		char c = s.ptr[0];
		bool plain = c > 0x20 && c < 0x7f && c != '?' && c != '=';
		if (n == 0)
			n = 1;
		size_t need = plain || c == ' ' ? 1 : n * 3;
		/* a character's octets stay together */
		if (used + need > WORD_MAX) {
			buf_lit(b, WORD_SUFFIX "\r\n\t" WORD_PREFIX);
			used = 0;
		}
		if (plain)
			buf_putc(b, c);
		else if (c == ' ')
			buf_putc(b, '_');
		else
			for (size_t i = 0; i < n; i++)
				buf_printf(b, "=%02X", (unsigned char)s.ptr[i]);
		used += need;
		s = slice_sub(s, n, SIZE_MAX);
	}
	buf_lit(b, WORD_SUFFIX);
}

void mail_put_unstructured(struct buf *b, struct slice text)
{
	if (!utf8_is_ascii(text) && utf8_valid(text))
		mail_put_word(b, text);
	else
		mail_put_wrapped(b, text, 75, 900);
}
