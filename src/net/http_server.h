/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_server - HTTP/1.1 listeners: a fiber a connection, one handler for every request.
 *
 * Routing and access rules are the handler's; here is what every request shares: keep-alive and pipelining, limits, request bodies (length,
 * chunked, gzip, deflate), Expect: 100-continue, HEAD, response compression, TLS, lingering close.
 *
 * Thread:  the handler runs on the connection's fiber, on any shard.
 * Memory:  a request and its arena live until the handler's response is written.
 * Yields:  http_request_body, and sending.
 */
#pragma once
#include "base/addr.h"
#include "base/arena.h"
#include "codec/http1.h"

struct rt_io;
struct http_conn;
struct http_request {
	const struct http1_request *head;
	struct netaddr peer, local;
	struct arena *arena;
	struct http_conn *conn;
	void *arg;			/* of the server's configuration */
	bool is_tls;
};
struct http_response {
	int status;			/* 200 at first */
	struct slice content_type;	/* none: no such header; must outlive the handler (a literal, the request's arena) */
	struct buf headers;		/* more of them: "name: value\r\n" each */
	struct buf body;
	bool close;			/* end the connection after this */
};
typedef void (*http_handler_cb)(struct http_request *req, struct http_response *resp);

struct http_server_conf {
	struct netaddr listen;
	size_t body_limit;		/* bytes, after decompression */
	http_handler_cb handler;
	void *arg;
	/* A TLS layer over FD's stream, or NULL: plain. Takes IO over; NULL on failure. Yields. */
	struct rt_io *(*wrap)(struct rt_io *io, void *tls);
	void *tls;
};
struct http_server;
/* Listens and starts accepting in a fiber of the calling shard. */
int http_server_start(const struct http_server_conf *conf, struct http_server **out) WARN_UNUSED;
void http_server_addr(const struct http_server *s, struct netaddr *out);
/* No more connections are accepted; those that are idle end, the others after their request. */
void http_server_stop(struct http_server **s);	/* waits some seconds for requests under way. Yields. */

/* The body, decompressed. On failure RESP says why (400, 413, 415) and the handler just returns. Yields. */
int http_request_body(struct http_request *req, struct http_response *resp, struct slice *body) WARN_UNUSED;
struct slice http_request_header(const struct http_request *req, const char *name);

/* Plain text; the body begins anew. */
void http_respond(struct http_response *resp, int status, const char *fmt, ...) PRINTF(3, 4);
/* For protocols that take the connection over: what follows the request's head is read and written by the caller, the response is not sent, and
   the connection ends when the handler returns. */
struct rt_io *http_take_over(struct http_request *req);
