/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http1 - HTTP/1.1 messages (RFC 9112): request heads, framing, chunked bodies.
 *
 * Strict where a lenient reader could be made to see other borders between requests than the proxy in front of it: no folding, no
 * white space before the colon, no bare CR, no NUL, one Host, one unsigned decimal Content-Length, "chunked" last and once, CR LF in chunk
 * framing. Both framings at once: the length is ignored and the connection must end. Lenient as RFC 9112 2.2 has it: a bare LF ends a head line.
 *
 * Thread:  any.   Memory: what is parsed views the input.   Yields: never.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"

#define HTTP1_HEADERS_MAX 100
#define HTTP1_TARGET_MAX 65534
#define HTTP1_HEAD_MAX (192 * 1024)

struct http1_header {
	struct slice name, value;	/* value without white space around it */
};
enum http1_framing { HTTP1_NO_BODY, HTTP1_LENGTH, HTTP1_CHUNKED };
struct http1_request {
	struct slice method, target;
	struct slice path, query;	/* of TARGET in origin or absolute form, still percent-encoded; query without '?' */
	int minor;			/* HTTP/1.x: 0 or 1 */
	uint32_t n_headers;
	struct http1_header headers[HTTP1_HEADERS_MAX];
	enum http1_framing framing;
	uint64_t content_length;
	bool keep_alive;		/* what the client allows */
	bool expect_continue;
	size_t head_len;		/* bytes up to the body, blank line included */
	int status;			/* of a refusal: 400, 414, 431 */
};
/* 0; -E_AGAIN: not all there yet; -E_PROTO: refused, see status. */
int http1_request_parse(struct slice in, struct http1_request *out) WARN_UNUSED;
struct slice http1_header_get(const struct http1_request *r, const char *name);	/* the first; SLICE_NONE: none */

/* Chunked bodies, read piece by piece: feed what is there, get the decoded part and how much was used. */
struct http1_chunked {
	int state;
	uint64_t left;
	uint32_t line_len, trailer_len;
	bool digits;
};
/* 1: the body is complete; 0: more is needed; -E_PROTO. *USED bytes of IN are done with; decoded bytes go to OUT. */
int http1_chunked_feed(struct http1_chunked *c, struct slice in, size_t *used, struct buf *out) WARN_UNUSED;

const char *http1_reason(int status);
/* name=value pairs of a query or form, percent-decoded, '+' is a blank; false at the end or for what cannot be decoded (with an empty NAME). */
bool http1_query_next(struct slice *rest, struct buf *name, struct buf *value);
/* The best of gzip and deflate that Accept-Encoding allows. */
enum http1_coding { HTTP1_IDENTITY, HTTP1_GZIP, HTTP1_DEFLATE };
enum http1_coding http1_accept_encoding(struct slice header);
