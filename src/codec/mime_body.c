/* SPDX-License-Identifier: Apache-2.0 */
/* What a part's fields say, transfer encodings, and decoded bodies. */
#include "base/encode.h"
#include "base/utf8.h"
#include "codec/charset.h"
#include "codec/mime.h"

static const struct { const char *name; enum mime_encoding e; } ENCODINGS[] = {
	{ "7bit", MIME_7BIT }, { "8bit", MIME_8BIT }, { "binary", MIME_BINARY }, { "quoted-printable", MIME_QUOTED_PRINTABLE }, { "base64", MIME_BASE64 },
};

static void read_encoding(const struct mail_header *h, struct arena *a, struct mime_info *out)
{
	struct mime_params p;
	if (h == NULL)
		return;
	if (mime_parse_token_params(h->value, a, &p) == 0)
		for (size_t i = 0; i < ARRAY_LEN(ENCODINGS); i++)
			if (slice_eq_nocase(p.value, slice_from_cstr(ENCODINGS[i].name))) {
				out->encoding = ENCODINGS[i].e;
				return;
			}
	out->invalid = true;
}

/* A type whose only fault is stray semicolons. A multipart that has no boundary is better shown as text. */
static bool read_loosely(struct slice value, struct arena *a, struct mime_params *out)
{
	struct slice boundary;
	return mime_parse_content_type_loosely(value, a, out) == 0 &&
	       (!slice_starts_nocase(out->value, SLICE("multipart/")) || mime_params_get(out, SLICE("boundary"), a, &boundary));
}

static void read_type(const struct mail_header *h, struct arena *a, struct mime_info *out)
{
	out->charset = SLICE("us-ascii");
	out->is_text = true;
	if (h == NULL)
		return;
	if (mime_parse_content_type(h->value, a, &out->type) < 0) {
		out->invalid = true;
		if (!read_loosely(h->value, a, &out->type))
			return;
	}
	out->has_type = true;
	mime_params_get(&out->type, SLICE("charset"), a, &out->charset);
	mime_params_get(&out->type, SLICE("name"), a, &out->file_name);
	out->is_text = slice_starts_nocase(out->type.value, SLICE("text/"));
	out->is_multipart = slice_starts_nocase(out->type.value, SLICE("multipart/")) || slice_starts_nocase(out->type.value, SLICE("message/"));
}

void mime_info(const struct mime_part *p, struct arena *a, struct mime_info *out)
{
	const struct mail_header *disposition = mime_header_find(p, "Content-Disposition"), *id = mime_header_find(p, "Content-ID");
	struct mime_params cd;
	struct val v;

	*out = (struct mime_info){ .file_name = SLICE_NONE, .content_id = SLICE_NONE };
	read_encoding(mime_header_find(p, "Content-Transfer-Encoding"), a, out);
	read_type(mime_header_find(p, "Content-Type"), a, out);
	if (disposition != NULL) {
		if (mime_parse_token_params(disposition->value, a, &cd) == 0) {
			out->is_inline = slice_eq_nocase(cd.value, SLICE("inline"));
			mime_params_get(&cd, SLICE("filename"), a, &out->file_name);
		} else {
			out->invalid = true;
		}
	}
	if (id != NULL) {
		if (mail_parse_message_id(id->value, a, &v) == 0)
			out->content_id = v.s;
		else
			out->invalid = true;
	}
	out->is_attachment = out->is_inline || out->file_name.ptr != NULL || out->content_id.ptr != NULL;
}

/* --- quoted-printable --------------------------------------------------------------------------------------------------------- */

#define LINE_MAX_QP 76

struct qp {
	struct buf *out;
	size_t line;		/* characters on this line */
	size_t last;		/* where the last token begins */
};

/* A line may have 76 characters, the "=" of a soft break among them: what then does not fit goes with the last token to the next line. */
static void qp_token(struct qp *q, const char *text, size_t len)
{
	if (q->line + len > LINE_MAX_QP) {
		if (q->line == LINE_MAX_QP) {
			char moved[4];
			size_t n = q->out->len - q->last;
			memcpy(moved, q->out->ptr + q->last, n);
			buf_truncate(q->out, q->last);
			buf_lit(q->out, "=\r\n");
			buf_put(q->out, moved, n);
			q->line = n;
		} else {
			buf_lit(q->out, "=\r\n");
			q->line = 0;
		}
	}
	q->last = q->out->len;
	buf_put(q->out, text, len);
	q->line += len;
}

static void qp_hex(struct qp *q, unsigned char c)
{
	static const char DIGITS[] = "0123456789ABCDEF";
	const char text[3] = { '=', DIGITS[c >> 4], DIGITS[c & 15] };
	qp_token(q, text, 3);
}

/* White space at the end of a line would get lost on the way. */
static void qp_end_line(struct qp *q)
{
	if (q->line == 0)
		return;
	char c = q->out->ptr[q->out->len - 1];
	if (c != ' ' && c != '\t')
		return;
	buf_truncate(q->out, q->out->len - 1);
	q->line--;
	qp_hex(q, c);
}

void qp_encode(struct buf *b, struct slice in)
{
	struct qp q = { b, 0, b->len };
	buf_reserve(b, in.len + in.len / 16 + 16);
	for (size_t i = 0; i < in.len; i++) {
		unsigned char c = in.ptr[i];
		if (c == '\r' && i + 1 < in.len && in.ptr[i + 1] == '\n') {
			qp_end_line(&q);
			buf_lit(b, "\r\n");
			q.line = 0;
			q.last = b->len;
			i++;
		} else if (c == '\t' || (c >= ' ' && c <= '~' && c != '=')) {
			qp_token(&q, in.ptr + i, 1);
		} else {
			qp_hex(&q, c);
		}
	}
	qp_end_line(&q);
}

static int hex(char c)
{
	return ascii_is_digit(c) ? c - '0' : ascii_lower(c) >= 'a' && ascii_lower(c) <= 'f' ? ascii_lower(c) - 'a' + 10 : -1;
}

static void qp_decode_line(struct buf *b, struct slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		int hi = s.ptr[i] == '=' && i + 2 < s.len ? hex(s.ptr[i + 1]) : -1;
		int lo = hi >= 0 ? hex(s.ptr[i + 2]) : -1;
		buf_putc(b, lo >= 0 ? (char)(hi << 4 | lo) : s.ptr[i]);
		if (lo >= 0)
			i += 2;
	}
}

void qp_decode(struct buf *b, struct slice in)
{
	while (in.len > 0) {
		ptrdiff_t lf = slice_chr(in, '\n');
		struct slice line = slice_sub(in, 0, lf < 0 ? in.len : (size_t)lf);
		while (line.len > 0 && (line.ptr[line.len - 1] == ' ' || line.ptr[line.len - 1] == '\t' || line.ptr[line.len - 1] == '\r'))
			line.len--;
		bool soft = line.len > 0 && line.ptr[line.len - 1] == '=';
		if (soft)
			line.len--;
		qp_decode_line(b, line);
		if (!soft && lf >= 0)
			buf_lit(b, "\r\n");
		in = slice_sub(in, lf < 0 ? in.len : (size_t)lf + 1, SIZE_MAX);
	}
}

/* --- base64 -------------------------------------------------------------------------------------------------------------------- */

void mime_base64_put(struct buf *b, struct slice in)
{
	while (in.len > 0) {
		base64_put(b, slice_sub(in, 0, 57), BASE64_STD);
		buf_lit(b, "\r\n");
		in = slice_sub(in, MIN(in.len, (size_t)57), SIZE_MAX);
	}
}

static int digit64(unsigned char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int mime_base64_decode(struct buf *b, struct slice in)
{
	uint32_t bits = 0;
	unsigned n = 0, pad = 0;
	size_t start = b->len, i;
	buf_reserve(b, in.len / 4 * 3 + 3);
	for (i = 0; i < in.len; i++) {
		unsigned char c = in.ptr[i];
		int d = digit64(c);
		if (c == ' ' || c == '\t' || c == '\r' || c == '\n')
			continue;
		if ((d < 0 && (c != '=' || n < 2)) || (d >= 0 && pad > 0))
			break;
		bits = bits << 6 | (d < 0 ? 0 : (uint32_t)d);
		pad += d < 0;
		if (++n < 4)
			continue;
		const char out[3] = { (char)(bits >> 16), (char)(bits >> 8), (char)bits };
		buf_put(b, out, 3 - pad);
		n = pad = 0;
		bits = 0;
	}
	if (i == in.len && n == 0)
		return 0;
	buf_truncate(b, start);
	return err_set(E_INVAL, "base64 decode: invalid %s at %zu", i < in.len ? "symbol" : "length", i);
}

/* --- bodies ---------------------------------------------------------------------------------------------------------------------- */

int mime_body(const struct mime_part *p, struct arena *a, struct slice *out, bool *is_text)
{
	struct mime_info info;
	struct buf raw = { 0 }, text = { 0 };
	int rc = 0;

	mime_info(p, a, &info);
	*is_text = false;
	if (info.encoding == MIME_BASE64)
		rc = mime_base64_decode(&raw, p->body);
	else if (info.encoding == MIME_QUOTED_PRINTABLE)
		qp_decode(&raw, p->body);
	else
		buf_slice(&raw, p->body);
	if (rc == 0 && info.is_text) {
		if (!charset_known(info.charset))
			rc = err_set(E_INVAL, "unsupported charset %.*s", (int)MIN(info.charset.len, (size_t)64), info.charset.ptr);
		else if (charset_to_utf8(info.charset, buf_view(&raw), &text) == 0)
			*is_text = true;
		else if (utf8_valid(buf_view(&raw))) {
			buf_slice(&text, buf_view(&raw));
			*is_text = true;
		}
	}
	if (rc == 0)
		*out = arena_dup(a, buf_view(*is_text ? &text : &raw));
	else
		err_prefix("parsing body");
	buf_fini(&raw);
	buf_fini(&text);
	return rc;
}

static void add_attachment(struct arena *a, struct mime_structure *s, struct mime_part *p)
{
	if (s->n_attachments == s->cap) {
		struct mime_part **old = s->attachments;
		s->cap = s->cap ? s->cap * 2 : 8;
		s->attachments = arena_alloc(a, s->cap * sizeof(struct mime_part *));
		if (s->n_attachments > 0)
			memcpy(s->attachments, old, s->n_attachments * sizeof(struct mime_part *));
	}
	s->attachments[s->n_attachments++] = p;
}

/* The first of its kind gets the place, further ones are attachments. */
static void take_place(struct arena *a, struct mime_structure *s, struct mime_part **place, struct mime_part *p)
{
	if (*place == NULL)
		*place = p;
	else
		add_attachment(a, s, p);
}

static void collect(struct mime_part *p, struct arena *a, struct mime_structure *s, unsigned depth)
{
	struct mime_info info;
	mime_info(p, a, &info);
	bool shown = info.is_attachment ? info.is_inline : true;

	if (!info.has_type) {
		take_place(a, s, &s->text, p);
	} else if (shown && slice_eq_nocase(info.type.value, SLICE("text/plain"))) {
		take_place(a, s, &s->text, p);
	} else if (shown && slice_eq_nocase(info.type.value, SLICE("text/html"))) {
		take_place(a, s, &s->html, p);
	} else if (shown && slice_eq_nocase(info.type.value, SLICE("text/x-amp-html"))) {
		take_place(a, s, &s->amp_html, p);
	} else if (slice_starts_nocase(info.type.value, SLICE("multipart/"))) {
		for (uint32_t i = 0; i < p->n_parts && depth < MIME_DEPTH_MAX * 2; i++)
			collect(p->parts[i], a, s, depth + 1);
	} else {
		add_attachment(a, s, p);
	}
}

void mime_structure(struct mime_part *p, struct arena *a, struct mime_structure *out)
{
	*out = (struct mime_structure){ .header = p };
	collect(p, a, out, 0);
}
