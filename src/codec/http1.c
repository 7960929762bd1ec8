/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/http1.h"
#include "base/encode.h"

static bool is_token_char(char c)
{
	static const char MARKS[] = "!#$%&'*+-.^_`|~";

	return ascii_is_alnum(c) || (c && strchr(MARKS, c));
}

static bool is_token(struct slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		if (!is_token_char(s.ptr[i]))
			return false;
	}
	return s.len > 0;
}

static int refuse(struct http1_request *r, int status, const char *why)
{
	r->status = status;
	return err_set(E_PROTO, "HTTP request: %s", why);
}

/* A line of the head, without its end. 0, -E_AGAIN, -E_PROTO. */
static int next_line(struct slice in, size_t *at, struct slice *line)
{
	const char *nl = memchr(in.ptr + *at, '\n', in.len - *at);

	if (!nl)
		return -E_AGAIN;
	*line = slice_new(in.ptr + *at, nl - (in.ptr + *at));
	*at = nl - in.ptr + 1;
	if (line->len && line->ptr[line->len - 1] == '\r')
		line->len--;
	return 0;
}

static int split_target(struct http1_request *r)
{
	struct slice t = r->target;
	ptrdiff_t at;

	for (size_t i = 0; i < t.len; i++) {
		if ((unsigned char)t.ptr[i] <= ' ' || t.ptr[i] == 127)
			return refuse(r, 400, "control character in the target");
	}
	if (t.len > HTTP1_TARGET_MAX)
		return refuse(r, 414, "target too long");
	if (t.ptr[0] != '/' && (at = slice_find(t, SLICE("://"))) > 0) {	/* absolute form */
		t = slice_sub(t, at + 3, SIZE_MAX);
		at = slice_chr(t, '/');
		t = at < 0 ? SLICE("/") : slice_sub(t, at, SIZE_MAX);
	} else if (t.ptr[0] != '/' && !slice_eq_cstr(r->method, "CONNECT") && !(slice_eq_cstr(t, "*") && slice_eq_cstr(r->method, "OPTIONS"))) {
		return refuse(r, 400, "the target is neither a path nor an absolute URI");
	}
	at = slice_chr(t, '?');
	r->path = at < 0 ? t : slice_sub(t, 0, at);
	r->query = at < 0 ? SLICE_NONE : slice_sub(t, at + 1, SIZE_MAX);
	return 0;
}

static int parse_request_line(struct http1_request *r, struct slice line)
{
	ptrdiff_t first = slice_chr(line, ' '), last = slice_rchr(line, ' ');

	if (first <= 0 || last <= first + 1)
		return refuse(r, 400, "no request line");
	r->method = slice_sub(line, 0, first);
	r->target = slice_sub(line, first + 1, last - first - 1);
	struct slice version = slice_sub(line, last + 1, SIZE_MAX);
	if (!is_token(r->method) || r->method.len > 32)
		return refuse(r, 400, "bad method");
	if (slice_eq_cstr(version, "HTTP/1.1"))
		r->minor = 1;
	else if (!slice_eq_cstr(version, "HTTP/1.0"))
		return refuse(r, 400, "bad version");
	return split_target(r);
}

static int parse_header(struct http1_request *r, struct slice line)
{
	ptrdiff_t colon = slice_chr(line, ':');

	if (colon <= 0)
		return refuse(r, 400, "header without a colon");
	if (r->n_headers == HTTP1_HEADERS_MAX)
		return refuse(r, 431, "too many headers");
	struct http1_header *h = &r->headers[r->n_headers++];
	h->name = slice_sub(line, 0, colon);
	h->value = slice_sub(line, colon + 1, SIZE_MAX);
	if (!is_token(h->name))
		return refuse(r, 400, "bad header name");
	for (size_t i = 0; i < h->value.len; i++) {
		unsigned char c = h->value.ptr[i];
		if ((c < ' ' && c != '\t') || c == 127)
			return refuse(r, 400, "control character in a header");
	}
	h->value = slice_trim(h->value);
	return 0;
}

/* The next element of a comma-separated list. */
static bool list_next(struct slice *rest, struct slice *item)
{
	while (slice_split_next(rest, ',', item)) {
		*item = slice_trim(*item);
		if (item->len)
			return true;
	}
	return false;
}

static int read_length(struct http1_request *r, struct slice value, bool *seen)
{
	uint64_t n;

	if (slice_to_u64(value, &n) < 0 || (*seen && n != r->content_length))
		return refuse(r, 400, "bad content-length");
	*seen = true;
	r->content_length = n;
	return 0;
}

static int read_coding(struct http1_request *r, struct slice value, int *chunked, bool *other_last)
{
	struct slice item;

	while (list_next(&value, &item)) {
		*other_last = !slice_eq_nocase(item, SLICE("chunked"));
		if (*other_last && !is_token(item))
			return refuse(r, 400, "bad transfer-encoding");
		if (!*other_last)
			++*chunked;
	}
	return 0;
}

/* RFC 9112 3.2: a second one would let a proxy in front and us see different hosts. */
static int check_host(struct http1_request *r)
{
	int n = 0;

	for (uint32_t i = 0; i < r->n_headers; i++)
		n += slice_eq_nocase(r->headers[i].name, SLICE("host"));
	return n > 1 ? refuse(r, 400, "a second host") : 0;
}

static int decide_framing(struct http1_request *r)
{
	bool length = false, coded = false, other_last = true, close = false, keep = false;
	int chunked = 0, rc = 0;
	struct slice item, rest;

	for (uint32_t i = 0; rc == 0 && i < r->n_headers; i++) {
		const struct http1_header *h = &r->headers[i];
		if (slice_eq_nocase(h->name, SLICE("content-length"))) {
			rc = read_length(r, h->value, &length);
		} else if (slice_eq_nocase(h->name, SLICE("transfer-encoding"))) {
			coded = true;
			rc = read_coding(r, h->value, &chunked, &other_last);
		} else if (slice_eq_nocase(h->name, SLICE("connection"))) {
			for (rest = h->value; list_next(&rest, &item);) {
				close = close || slice_eq_nocase(item, SLICE("close"));
				keep = keep || slice_eq_nocase(item, SLICE("keep-alive"));
			}
		} else if (slice_eq_nocase(h->name, SLICE("expect"))) {
			r->expect_continue = r->minor == 1 && slice_eq_nocase(h->value, SLICE("100-continue"));
		}
	}
	if (rc < 0)
		return rc;
	if (coded && (chunked != 1 || other_last || r->minor == 0))
		return refuse(r, 400, "transfer-encoding without chunked as its end");
	r->framing = coded ? HTTP1_CHUNKED : length && r->content_length ? HTTP1_LENGTH : HTTP1_NO_BODY;
	r->keep_alive = !close && (r->minor == 1 || keep) && !(coded && length);
	return 0;
}

int http1_request_parse(struct slice in, struct http1_request *out)
{
	struct slice line;
	size_t at = 0;
	int rc;

	out->n_headers = 0;
	out->content_length = 0;
	out->framing = HTTP1_NO_BODY;
	out->minor = 0;
	out->expect_continue = false;
	out->status = 0;
	while (at < in.len && (in.ptr[at] == '\n' || (in.ptr[at] == '\r' && at + 1 < in.len && in.ptr[at + 1] == '\n')))
		at += in.ptr[at] == '\r' ? 2 : 1;	/* RFC 9112 2.2: empty lines before a request */
	size_t start = at;
	rc = next_line(in, &at, &line);
	if (rc == -E_AGAIN && in.len - start > HTTP1_TARGET_MAX + 48)
		return refuse(out, 414, "request line too long");
	if (rc == 0)
		rc = parse_request_line(out, line);
	while (rc == 0 && (rc = next_line(in, &at, &line)) == 0) {
		if (line.len == 0) {
			out->head_len = at;
			rc = check_host(out);
			return rc < 0 ? rc : decide_framing(out);
		}
		rc = parse_header(out, line);
	}
	if (rc == -E_AGAIN && in.len - start > HTTP1_HEAD_MAX)
		return refuse(out, 431, "head too long");
	return rc;
}

struct slice http1_header_get(const struct http1_request *r, const char *name)
{
	for (uint32_t i = 0; i < r->n_headers; i++) {
		if (slice_eq_nocase(r->headers[i].name, slice_from_cstr(name)))
			return r->headers[i].value;
	}
	return SLICE_NONE;
}

/* --- chunked ----------------------------------------------------------------------------------------------------------- */

enum { CH_SIZE, CH_BLANK, CH_EXT, CH_SIZE_LF, CH_DATA, CH_DATA_CR, CH_DATA_LF, CH_TRAILER, CH_TRAILER_LF, CH_DONE };
#define EXT_MAX 4096
#define TRAILER_MAX 16384

static int bad_chunk(void)
{
	return err_set(E_PROTO, "damaged chunked body");
}

static int hex_value(char c)
{
	if (ascii_is_digit(c))
		return c - '0';
	c = ascii_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int size_char(struct http1_chunked *c, char ch)
{
	int v = hex_value(ch);

	if (v >= 0) {
		if (c->left >> 52)
			return bad_chunk();
		c->left = c->left << 4 | v;
		c->digits = true;
		return 0;
	}
	if (!c->digits)
		return bad_chunk();
	if (ch == '\r')
		c->state = CH_SIZE_LF;
	else if (ch == ';')
		c->state = CH_EXT;
	else if (ch == ' ' || ch == '\t')
		c->state = CH_BLANK;
	else
		return bad_chunk();
	return 0;
}

static int framing_char(struct http1_chunked *c, char ch)
{
	switch (c->state) {
	case CH_SIZE:
		return size_char(c, ch);
	case CH_BLANK:	/* only before an extension */
		if (ch == ';')
			c->state = CH_EXT;
		else if ((ch != ' ' && ch != '\t') || ++c->line_len > EXT_MAX)
			return bad_chunk();
		return 0;
	case CH_EXT:
		if (ch == '\r')
			c->state = CH_SIZE_LF;
		else if ((ch < ' ' && ch != '\t') || ++c->line_len > EXT_MAX)
			return bad_chunk();
		return 0;
	case CH_SIZE_LF:
		c->state = c->left ? CH_DATA : CH_TRAILER;
		c->line_len = 0;
		return ch == '\n' ? 0 : bad_chunk();
	case CH_DATA_CR:
		c->state = CH_DATA_LF;
		return ch == '\r' ? 0 : bad_chunk();
	case CH_DATA_LF:
		c->state = CH_SIZE;
		c->left = 0;
		c->digits = false;
		return ch == '\n' ? 0 : bad_chunk();
	case CH_TRAILER:	/* trailers are read and forgotten */
		if (ch == '\r')
			c->state = CH_TRAILER_LF;
		else if (ch == '\n' || ch == 0 || ++c->trailer_len > TRAILER_MAX)
			return bad_chunk();
		else
			c->line_len++;
		return 0;
	case CH_TRAILER_LF:
		c->state = c->line_len ? CH_TRAILER : CH_DONE;
		c->line_len = 0;
		return ch == '\n' ? 0 : bad_chunk();
	}
	return bad_chunk();
}

int http1_chunked_feed(struct http1_chunked *c, struct slice in, size_t *used, struct buf *out)
{
	size_t at = 0;

	while (at < in.len && c->state != CH_DONE) {
		if (c->state == CH_DATA) {
			size_t n = MIN(c->left, (uint64_t)(in.len - at));
			buf_put(out, in.ptr + at, n);
			at += n;
			c->left -= n;
			if (c->left == 0)
				c->state = CH_DATA_CR;
			continue;
		}
		int rc = framing_char(c, in.ptr[at]);
		if (rc < 0)
			return rc;
		at++;
	}
	*used = at;
	return c->state == CH_DONE;
}

/* --- small things ------------------------------------------------------------------------------------------------------ */

const char *http1_reason(int status)
{
	static const struct { int status; const char *reason; } TABLE[] = {
		{ 100, "Continue" }, { 101, "Switching Protocols" }, { 200, "OK" }, { 201, "Created" }, { 202, "Accepted" }, { 204, "No Content" },
		{ 301, "Moved Permanently" }, { 302, "Found" }, { 303, "See Other" }, { 304, "Not Modified" }, { 307, "Temporary Redirect" },
		{ 308, "Permanent Redirect" }, { 400, "Bad Request" }, { 401, "Unauthorized" }, { 403, "Forbidden" }, { 404, "Not Found" },
		{ 405, "Method Not Allowed" }, { 406, "Not Acceptable" }, { 408, "Request Timeout" }, { 409, "Conflict" }, { 410, "Gone" },
		{ 411, "Length Required" }, { 413, "Payload Too Large" }, { 414, "URI Too Long" }, { 415, "Unsupported Media Type" },
		{ 422, "Unprocessable Entity" }, { 426, "Upgrade Required" }, { 429, "Too Many Requests" }, { 431, "Request Header Fields Too Large" },
		{ 500, "Internal Server Error" }, { 501, "Not Implemented" }, { 502, "Bad Gateway" }, { 503, "Service Unavailable" },
		{ 504, "Gateway Timeout" }, { 505, "HTTP Version Not Supported" },
	};
	for (size_t i = 0; i < ARRAY_LEN(TABLE); i++) {
		if (TABLE[i].status == status)
			return TABLE[i].reason;
	}
	return "Unknown";
}

static int form_decode(struct buf *out, struct slice in)
{
	struct buf blanks = { 0 };

	buf_clear(out);
	for (size_t i = 0; i < in.len; i++)
		buf_putc(&blanks, in.ptr[i] == '+' ? ' ' : in.ptr[i]);
	int rc = percent_decode(out, buf_view(&blanks));
	buf_fini(&blanks);
	return rc;
}

bool http1_query_next(struct slice *rest, struct buf *name, struct buf *value)
{
	struct slice pair;

	while (rest->ptr && slice_split_next(rest, '&', &pair)) {
		if (!pair.len)
			continue;
		ptrdiff_t eq = slice_chr(pair, '=');
		if (form_decode(name, slice_sub(pair, 0, eq < 0 ? SIZE_MAX : (size_t)eq)) < 0 ||
		    form_decode(value, eq < 0 ? SLICE("") : slice_sub(pair, eq + 1, SIZE_MAX)) < 0) {
			buf_clear(name);
			return false;
		}
		return true;
	}
	buf_clear(name);
	return false;
}

/* A quality in thousandths; RFC 9110 12.4.2. */
static int quality(struct slice params)
{
	struct slice p;

	while (slice_split_next(&params, ';', &p)) {
		p = slice_trim(p);
		if (p.len < 3 || ascii_lower(p.ptr[0]) != 'q' || p.ptr[1] != '=')
			continue;
		int q = p.ptr[2] == '1' ? 1000 : 0;
		for (size_t i = 4, unit = 100; q < 1000 && i < p.len && ascii_is_digit(p.ptr[i]); i++, unit /= 10)
			q += (p.ptr[i] - '0') * unit;
		return q;
	}
	return 1000;
}

enum http1_coding http1_accept_encoding(struct slice header)
{
	enum http1_coding best = HTTP1_IDENTITY;
	struct slice item;
	int best_q = 0;

	while (list_next(&header, &item)) {
		ptrdiff_t semi = slice_chr(item, ';');
		struct slice name = slice_trim(semi < 0 ? item : slice_sub(item, 0, semi));
		int q = semi < 0 ? 1000 : quality(slice_sub(item, semi + 1, SIZE_MAX));
		enum http1_coding coding = slice_eq_nocase(name, SLICE("gzip")) ? HTTP1_GZIP : slice_eq_nocase(name, SLICE("deflate")) ? HTTP1_DEFLATE : HTTP1_IDENTITY;
		if (coding == HTTP1_IDENTITY || q == 0)
			continue;
		if (q > best_q || (q == best_q && coding == HTTP1_GZIP)) {
			best = coding;
			best_q = q;
		}
	}
	return best;
}
