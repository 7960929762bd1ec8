/* SPDX-License-Identifier: Apache-2.0 */
/* Replies of SMTP (RFC 5321 4.2, RFC 2034, RFC 3463). */
#include "base/utf8.h"
#include "codec/rfc5321.h"

static bool take_number(struct slice *in, uint64_t max, char end, uint64_t *out)
{
	ptrdiff_t n = slice_chr(*in, end);
	if (n <= 0 || slice_to_u64(slice_sub(*in, 0, n), out) < 0 || *out > max)
		return false;
	*in = slice_sub(*in, n + 1, SIZE_MAX);
	return true;
}

/* "5.1.1 text" at the start of a text: fills the enhanced code and gives the rest back, or leaves both alone. */
static struct slice smtp_enhanced_cut(struct slice text, struct smtp_response *r)
{
	uint64_t class, subject, detail;
	struct slice s = text;

	if (!take_number(&s, 5, '.', &class) || (class != 2 && class != 4 && class != 5))
		return text;
	if (!take_number(&s, UINT16_MAX, '.', &subject) || !take_number(&s, UINT16_MAX, ' ', &detail))
		return text;
	r->has_enhanced = true;
	r->enh_class = class;
	r->enh_subject = subject;
	r->enh_detail = detail;
	return s;
}

/* A further line: the enhanced code goes when it is the first line's. */
static struct slice cut_same_code(struct slice text, const struct smtp_response *r)
{
	struct smtp_response other = { 0 };
	struct slice rest = smtp_enhanced_cut(text, &other);
	if (!r->has_enhanced || !other.has_enhanced || other.enh_class != r->enh_class ||
	    other.enh_subject != r->enh_subject || other.enh_detail != r->enh_detail)
		return text;
	return rest;
}

static void add_line(struct buf *b, struct smtp_response *r, bool first, struct slice text)
{
	if (!first)
		buf_putc(b, '\n');
	utf8_put_lossy(b, first ? smtp_enhanced_cut(text, r) : cut_same_code(text, r));
}

int smtp_reply_line(struct smtp_reply_reader *p, struct slice line)
{
	uint64_t code;
	if (line.len < 4 || (line.ptr[3] != ' ' && line.ptr[3] != '-') || slice_to_u64(slice_sub(line, 0, 3), &code) < 0)
		return err_set(E_PROTO, "malformed reply line `%.*s`", (int)MIN(line.len, 512), line.ptr);
	if (p->started && code != p->r.code)
		return err_set(E_PROTO, "reply line `%.*s` has another code than the lines before", (int)MIN(line.len, 512), line.ptr);
	if (p->text.len + line.len > SMTP_REPLY_MAX)
		return err_set(E_PROTO, "the reply is over %d octets", SMTP_REPLY_MAX);
	p->r.code = code;
	add_line(&p->text, &p->r, !p->started, slice_sub(line, 4, SIZE_MAX));
	p->started = true;
	if (line.ptr[3] == '-')
		return 0;
	p->r.content = buf_view(&p->text);
	return 1;
}

void smtp_reply_reset(struct smtp_reply_reader *p)
{
	buf_clear(&p->text);
	p->r = (struct smtp_response){ 0 };
	p->started = false;
}

void smtp_reply_fini(struct smtp_reply_reader *p)
{
	buf_fini(&p->text);
	*p = (struct smtp_reply_reader){ 0 };
}

/* The next line of a text whose lines end with LF or CRLF; no empty line behind the last line end. */
static bool next_line(struct slice *rest, struct slice *line)
{
	if (rest->len == 0)
		return false;
	ptrdiff_t lf = slice_chr(*rest, '\n');
	size_t n = lf < 0 ? rest->len : (size_t)lf;
	*line = slice_sub(*rest, 0, n);
	*rest = slice_sub(*rest, lf < 0 ? n : n + 1, SIZE_MAX);
	if (lf >= 0 && slice_ends(*line, SLICE("\r")))
		line->len--;
	return true;
}

void smtp_response_from_text(struct smtp_response *r, uint16_t code, struct slice text, struct arena *a)
{
	struct buf b = { 0 };
	struct slice line;
	*r = (struct smtp_response){ .code = code };
	for (bool first = true; next_line(&text, &line); first = false)
		add_line(&b, r, first, line);
	r->content = arena_dup(a, buf_view(&b));
	buf_fini(&b);
}

void smtp_single_line_put(struct buf *b, struct slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] == '\r' && i + 1 < s.len && s.ptr[i + 1] == '\n')
			continue;
		buf_putc(b, s.ptr[i] == '\r' || s.ptr[i] == '\n' ? ' ' : s.ptr[i]);
	}
}

void smtp_response_put_line(struct buf *b, const struct smtp_response *r)
{
	buf_printf(b, "%u ", r->code);
	if (r->has_enhanced)
		buf_printf(b, "%u.%u.%u ", r->enh_class, r->enh_subject, r->enh_detail);
	smtp_single_line_put(b, r->content);
}

void smtp_reply_put(struct buf *b, unsigned code, struct slice text)
{
	struct slice line;
	if (text.len == 0)
		buf_printf(b, "%03u \r\n", code);
	while (next_line(&text, &line)) {
		buf_printf(b, "%03u%c", code, text.len > 0 ? '-' : ' ');
		buf_slice(b, line);
		buf_lit(b, "\r\n");
	}
}
