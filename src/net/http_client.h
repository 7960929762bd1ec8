/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_client - requests to HTTP servers, by libcurl, from fibers.
 *
 * Each shard has one libcurl multi handle, which keeps connections open between requests; a fiber of the shard drives it while requests are
 * under way. Redirects are followed (at most 10). Only http and https.
 *
 * Thread:  fibers of any shard.   Memory: what a response holds is freed by http_reply_fini.   Yields: http_fetch.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include "codec/http1.h"

struct http_fetch {
	const char *method, *url;
	const char *user_agent;			/* NULL: none */
	const struct http1_header *headers;
	size_t n_headers;
	struct slice body;			/* none: no body */
	int64_t timeout_ms;
	int64_t idle_ms;			/* how long a connection may have been idle to be used again */
	size_t max_bytes;			/* of the answer; 0: 64 MiB */
	bool insecure;				/* certificates are not checked */
	bool verbose;				/* what libcurl does goes to the diagnostic log (target "http_client") */
	bool no_redirects;
};
struct http_reply {
	int status;
	struct buf body;
	struct buf headers;			/* of the last response: "name: value\r\n" each */
};
/* 0 with any status. -E_IO, -E_TIMEOUT, -E_TLS, -E_DNS, -E_INVAL (the URL), -E_LIMIT, -E_CANCELED: why there is no answer. Yields. */
int http_fetch(const struct http_fetch *f, struct http_reply *out) WARN_UNUSED;
void http_reply_fini(struct http_reply *r);
/* The first field of that name; SLICE_NONE: none. */
struct slice http_reply_header(const struct http_reply *r, struct slice name);
/* Cuts one field off the front of *REST (r->headers at first). */
bool http_reply_header_next(struct slice *rest, struct http1_header *out);
