/* SPDX-License-Identifier: Apache-2.0 */
#include "net/http_server.h"
#include "base/list.h"
#include "base/timefmt.h"
#include "base/xalloc.h"
#include "net/http_internal.h"
#include "rt/clock.h"
#include "rt/diag.h"
#include "rt/fiber.h"
#include "rt/io.h"
#include "rt/loop.h"
#include "rt/sync.h"
#include <stdlib.h>
#include <unistd.h>

#define SERVER_MAGIC OBJ_MAGIC('H', 'T', 'P', 'S')
#define IDLE_MS 300000		/* between requests */
#define HEAD_MS 30000		/* for a whole head, once it has begun */
#define BODY_READ_MS 60000	/* without any progress */
#define WRITE_MS 60000
#define LINGER_MS 2000
#define LINGER_BYTES (4 << 20)
#define DRAIN_MAX (256 * 1024)	/* of a body that nobody read; more ends the connection */
#define COMPRESS_MIN 32

struct http_server {
	uint32_t magic;
	_Atomic int refs;		/* the owner, the accepting fiber, each connection */
	struct http_server_conf conf;
	struct rt_listener *listener;
	struct rt_fiber *acceptor;
	_Atomic bool stopping;
	struct rt_lock lock;
	/* under lock */
	struct list conns;
};

#define STOP_MS 10000		/* for requests under way, when the server stops */
#define CANCELED_MS 2000	/* for those that were told to end */

struct http_conn {
	struct list node;		/* in server's conns */
	struct http_server *server;
	struct rt_fiber *fiber;
	int fd;				/* until the session has made its stream of it */
	/* owned by the session's fiber */
	struct rt_io *io;
	struct netaddr peer, local;
	struct arena *arena;
	struct http1_request head;
	bool idle;			/* under the server's lock */
	bool body_done, continue_sent, taken_over, broken;
	struct buf body;
};

/* --- life -------------------------------------------------------------------------------------------------------------- */

static void server_unref(struct http_server *s)
{
	OBJ_CHECK(s, SERVER_MAGIC);
	if (--s->refs)
		return;
	rt_listener_close(&s->listener);
	rt_lock_fini(&s->lock);
	OBJ_FINI(s, SERVER_MAGIC);
	free(s);
}

static void conn_free(struct http_conn *c)
{
	struct http_server *s = c->server;

	rt_lock(&s->lock);
	if (list_linked(&c->node))
		list_remove(&c->node);
	rt_unlock(&s->lock);
	if (c->io)
		rt_io_close(&c->io);
	else if (c->fd >= 0)
		close(c->fd);
	arena_destroy(&c->arena);
	buf_fini(&c->body);
	rt_fiber_unref(&c->fiber);
	free(c);
	server_unref(s);
}

/* --- reading ----------------------------------------------------------------------------------------------------------- */

static bool head_ends(struct slice in, size_t from)
{
	for (size_t i = from; i < in.len; i++) {
		if (in.ptr[i] == '\n' && i + 1 < in.len && (in.ptr[i + 1] == '\n' || (in.ptr[i + 1] == '\r' && i + 2 < in.len && in.ptr[i + 2] == '\n')))
			return true;
	}
	return false;
}

static bool head_too_long(struct slice in)
{
	return in.len > HTTP1_HEAD_MAX || (in.len > HTTP1_TARGET_MAX + 64 && slice_chr(slice_sub(in, 4, SIZE_MAX), '\n') < 0);
}

/* RFC 9112 2.2: empty lines before a request. They go as they come: what is copied below is a head, once. */
static void skip_empty_lines(struct http_conn *c)
{
	struct slice in = rt_io_buffered(c->io);
	size_t n = 0;

	while (n < in.len && (in.ptr[n] == '\n' || (in.ptr[n] == '\r' && n + 1 < in.len && in.ptr[n + 1] == '\n')))
		n += in.ptr[n] == '\r' ? 2 : 1;
	rt_io_consume(c->io, n);
}

/* Waits for a head; it is copied, so that views of it stay valid while the body is read. */
static int read_head(struct http_conn *c)
{
	size_t seen = 0;
	int rc = 0;

	for (;;) {
		skip_empty_lines(c);
		struct slice in = rt_io_buffered(c->io);
		if (in.len && (head_ends(in, seen > 3 ? seen - 3 : 0) || head_too_long(in))) {
			struct slice copy = arena_dup(c->arena, slice_sub(in, 0, HTTP1_HEAD_MAX + 1));
			rc = http1_request_parse(copy, &c->head);
			if (rc == 0)
				rt_io_consume(c->io, c->head.head_len);
			if (rc != -E_AGAIN)
				return rc;
		}
		seen = in.len;
		if ((rc = rt_io_fill(c->io)) < 0)
			return rc;
	}
}

static int wait_request(struct http_conn *c)
{
	struct rt_deadline d;
	int rc = 0;

	if (rt_io_buffered(c->io).len == 0) {
		rt_lock(&c->server->lock);
		c->idle = true;
		bool stopping = c->server->stopping;
		rt_unlock(&c->server->lock);
		rc = stopping ? -E_SHUTDOWN : rt_io_wait_readable(c->io, IDLE_MS);
		rt_lock(&c->server->lock);
		c->idle = false;
		rt_unlock(&c->server->lock);
		if (rc < 0)
			return rc;
	}
	rt_deadline_push(&d, HEAD_MS);
	rc = read_head(c);
	rt_deadline_pop(&d);
	return rc;
}

static int read_sized(struct http_conn *c, size_t limit)
{
	uint64_t left = c->head.content_length;
	int rc;

	if (left > limit)
		return err_set(E_LIMIT, "length limit exceeded");
	buf_reserve(&c->body, MIN(left, (uint64_t)65536));
	while (left) {
		struct slice in = slice_sub(rt_io_buffered(c->io), 0, left);
		if (in.len == 0) {
			if ((rc = rt_io_fill(c->io)) < 0)
				return rc;
			continue;
		}
		buf_slice(&c->body, in);
		rt_io_consume(c->io, in.len);
		left -= in.len;
	}
	return 0;
}

static int read_chunked(struct http_conn *c, size_t limit)
{
	struct http1_chunked state = { 0 };
	size_t used;
	int rc;

	for (;;) {
		struct slice in = rt_io_buffered(c->io);
		if (in.len == 0) {
			if ((rc = rt_io_fill(c->io)) < 0)
				return rc;
			continue;
		}
		if ((rc = http1_chunked_feed(&state, in, &used, &c->body)) < 0)
			return rc;
		rt_io_consume(c->io, used);
		if (c->body.len > limit)
			return err_set(E_LIMIT, "length limit exceeded");
		if (rc == 1)
			return 0;
	}
}

static int send_continue(struct http_conn *c)
{
	if (!c->head.expect_continue || c->continue_sent)
		return 0;
	c->continue_sent = true;
	rt_io_put(c->io, SLICE("HTTP/1.1 100 Continue\r\n\r\n"));
	return rt_io_flush(c->io);
}

static int read_body(struct http_conn *c, size_t limit)
{
	int rc;

	if (c->body_done)
		return 0;
	c->body_done = true;
	buf_clear(&c->body);
	rt_io_set_timeout(c->io, BODY_READ_MS, WRITE_MS);
	rc = send_continue(c);
	if (rc == 0 && c->head.framing == HTTP1_LENGTH)
		rc = read_sized(c, limit);
	else if (rc == 0 && c->head.framing == HTTP1_CHUNKED)
		rc = read_chunked(c, limit);
	if (rc < 0)
		c->broken = true;	/* where the next request begins is unknown */
	return rc;
}

static int decode_body(struct http_conn *c, struct slice coding, size_t limit)
{
	struct buf plain = { 0 };
	int rc = http_decompress(coding, buf_view(&c->body), limit, &plain);

	if (rc < 0) {
		buf_fini(&plain);
		return rc;
	}
	buf_fini(&c->body);
	c->body = plain;
	return 0;
}

int http_request_body(struct http_request *req, struct http_response *resp, struct slice *body)
{
	struct http_conn *c = req->conn;
	size_t limit = c->server->conf.body_limit;
	bool fresh = !c->body_done;
	struct slice coding = http_request_header(req, "content-encoding");
	int rc = read_body(c, limit);

	if (rc == 0 && fresh && coding.len && !slice_eq_nocase(coding, SLICE("identity")))
		rc = decode_body(c, coding, limit);
	if (rc == -E_LIMIT)
		http_respond(resp, 413, "Failed to buffer the request body: length limit exceeded");
	else if (rc == -E_UNSUPPORTED)
		resp->status = 415;
	else if (rc < 0)
		http_respond(resp, 400, "Failed to buffer the request body: error reading a body from connection");
	if (rc < 0)
		return rc;
	buf_reserve(&c->body, 1);
	*body = buf_view(&c->body);
	return 0;
}

struct slice http_request_header(const struct http_request *req, const char *name)
{
	return http1_header_get(req->head, name);
}

/* --- responses --------------------------------------------------------------------------------------------------------- */

void http_respond(struct http_response *resp, int status, const char *fmt, ...)
{
	va_list ap;

	resp->status = status;
	resp->content_type = SLICE("text/plain; charset=utf-8");
	buf_clear(&resp->body);
	va_start(ap, fmt);
	buf_vprintf(&resp->body, fmt, ap);
	va_end(ap);
}

static bool compressible(const struct http_response *resp)
{
	return resp->body.len >= COMPRESS_MIN && !slice_starts(resp->content_type, SLICE("image/")) &&
	       slice_find_nocase(buf_view(&resp->headers), SLICE("content-encoding:")) < 0;
}

static void put_date(struct buf *b)
{
	static _Thread_local int64_t second = -1;
	static _Thread_local char text[40];
	int64_t us = rt_wall_us();

	if (us / USEC_PER_SEC != second) {
		struct buf t = { 0 };
		second = us / USEC_PER_SEC;
		if (time_put_strftime(&t, "%a, %d %b %Y %H:%M:%S GMT", us, 0) == 0 && t.len < sizeof text) {
			memcpy(text, t.ptr, t.len);
			text[t.len] = 0;
		}
		buf_fini(&t);
	}
	buf_printf(b, "date: %s\r\n", text);
}

static void put_head(struct buf *b, const struct http_conn *c, const struct http_response *resp, size_t body_len, bool close)
{
	buf_printf(b, "HTTP/1.%d %d %s\r\n", c->head.status ? 1 : c->head.minor, resp->status, http1_reason(resp->status));
	if (resp->content_type.ptr)
		buf_printf(b, "content-type: %.*s\r\n", SLICE_ARG(resp->content_type));
	buf_slice(b, buf_view(&resp->headers));
	if (body_len)
		buf_printf(b, "content-length: %zu\r\n", body_len);
	if (close && (c->head.minor == 1 || c->head.status))
		buf_lit(b, "connection: close\r\n");
	else if (!close && c->head.minor == 0)
		buf_lit(b, "connection: keep-alive\r\n");
	if (!body_len && resp->status >= 200 && resp->status != 204 && resp->status != 304)
		buf_lit(b, "content-length: 0\r\n");
	put_date(b);
	buf_lit(b, "\r\n");
}

static int send_response(struct http_conn *c, struct http_response *resp, bool close)
{
	struct buf head = { 0 }, coded = { 0 };
	struct slice body = buf_view(&resp->body);

	if (compressible(resp)) {
		enum http1_coding coding = http1_accept_encoding(http1_header_get(&c->head, "accept-encoding"));
		buf_lit(&resp->headers, "vary: accept-encoding\r\n");
		if (coding != HTTP1_IDENTITY && http_compress(coding, body, &coded) == 0) {
			buf_printf(&resp->headers, "content-encoding: %s\r\n", coding == HTTP1_GZIP ? "gzip" : "deflate");
			body = buf_view(&coded);
		}
	}
	put_head(&head, c, resp, body.len, close);
	struct slice parts[2] = { buf_view(&head), body };
	bool no_body = !body.len || slice_eq_cstr(c->head.method, "HEAD");
	rt_io_set_timeout(c->io, BODY_READ_MS, WRITE_MS);
	int rc = rt_io_writev(c->io, parts, no_body ? 1 : 2);
	buf_fini(&head);
	buf_fini(&coded);
	return rc;
}

/* Our end is sent, then what the peer still says is read, so that its kernel does not throw our answer away. */
static void linger(struct http_conn *c)
{
	struct rt_deadline d;
	size_t total = 0;

	(void)rt_io_shutdown(c->io);
	rt_deadline_push(&d, LINGER_MS);
	while (total < LINGER_BYTES && rt_io_fill(c->io) == 0) {
		size_t n = rt_io_buffered(c->io).len;
		total += n;
		rt_io_consume(c->io, n);
	}
	rt_deadline_pop(&d);
}

static void refuse(struct http_conn *c)
{
	struct http_response resp = { .status = c->head.status };

	c->head.n_headers = 0;
	c->head.method = SLICE("");
	if (send_response(c, &resp, true) == 0)
		linger(c);
	buf_fini(&resp.headers);
}

/* What is left of a body that the handler did not want; false: the connection must end. */
static bool drain(struct http_conn *c)
{
	if (c->broken)
		return false;
	if (c->body_done || c->head.framing == HTTP1_NO_BODY)
		return true;
	if (c->head.expect_continue && !c->continue_sent)
		return false;
	return read_body(c, DRAIN_MAX) == 0;
}

/* One request; false: the connection ends. */
static bool serve_one(struct http_conn *c)
{
	struct http_request req = { .head = &c->head, .peer = c->peer, .local = c->local, .arena = c->arena, .conn = c, .arg = c->server->conf.arg,
				    .is_tls = c->server->conf.wrap != NULL };
	struct http_response resp = { .status = 200 };

	c->body_done = c->continue_sent = c->broken = false;
	c->server->conf.handler(&req, &resp);
	bool keep = !c->taken_over && !resp.close && c->head.keep_alive && !c->server->stopping && drain(c);
	if (!c->taken_over && send_response(c, &resp, !keep) < 0)
		keep = false;
	else if (!keep && !c->taken_over)
		linger(c);
	buf_fini(&resp.headers);
	buf_fini(&resp.body);
	if (c->body.cap > 65536)
		buf_fini(&c->body);
	arena_reset(c->arena);
	return keep;
}

struct rt_io *http_take_over(struct http_request *req)
{
	struct http_server *s = req->conn->server;

	rt_lock(&s->lock);
	req->conn->idle = true;		/* lives for as long as its client likes: nothing to wait for */
	rt_unlock(&s->lock);
	req->conn->taken_over = true;
	return req->conn->io;
}

static bool open_stream(struct http_conn *c)
{
	c->io = rt_io_from_fd(c->fd);
	c->fd = -1;
	rt_io_set_timeout(c->io, HEAD_MS, WRITE_MS);
	if (c->server->conf.wrap)
		c->io = c->server->conf.wrap(c->io, c->server->conf.tls);
	return c->io != NULL;
}

static void session(void *arg)
{
	struct http_conn *c = arg;
	int rc;

	rt_lock(&c->server->lock);
	c->fiber = rt_fiber_ref(rt_fiber_self());
	list_push(&c->server->conns, &c->node);
	rt_unlock(&c->server->lock);
	c->arena = arena_create();
	if (open_stream(c)) {
		do {
			rc = wait_request(c);
		} while (rc == 0 && serve_one(c));
		if (rc == -E_PROTO)
			refuse(c);
	}
	conn_free(c);
}

/* --- listening --------------------------------------------------------------------------------------------------------- */

static void acceptor(void *arg)
{
	struct http_server *s = arg;
	struct netaddr peer;
	int fd;

	while (!s->stopping) {
		int rc = rt_accept(s->listener, &fd, &peer);
		if (rc == -E_CANCELED || rc == -E_CLOSED || rc == -E_SHUTDOWN)
			break;
		if (rc < 0) {
			diag_error("http", "accepting a connection: %s", err_text());
			if (rt_sleep_ms(100) < 0)
				break;
			continue;
		}
		struct http_conn *c = xzalloc(sizeof *c);
		s->refs++;
		c->server = s;
		c->fd = fd;
		c->peer = peer;
		if (rt_fd_addrs(fd, &c->local, NULL) < 0)
			rt_listener_addr(s->listener, &c->local);
		rt_fiber_spawn_on(rt_shard_next(), "http_session", session, c);
	}
	server_unref(s);
}

int http_server_start(const struct http_server_conf *conf, struct http_server **out)
{
	struct http_server *s = xzalloc(sizeof *s);

	OBJ_INIT(s, SERVER_MAGIC);
	s->refs = 1;
	s->conf = *conf;
	rt_lock_init(&s->lock, RANK_LEAF);
	list_init(&s->conns);
	int rc = rt_listen(&conf->listen, 1024, &s->listener);
	if (rc < 0) {
		rt_lock_fini(&s->lock);
		free(s);
		return rc;
	}
	s->refs++;
	s->acceptor = rt_fiber_start("http_listener", acceptor, s);
	*out = s;
	return 0;
}

void http_server_addr(const struct http_server *s, struct netaddr *out)
{
	OBJ_CHECK(s, SERVER_MAGIC);
	rt_listener_addr(s->listener, out);
}

/* Cancels the sessions that are idle, or ALL; whether any is left. */
static bool cancel_sessions(struct http_server *s, bool all)
{
	rt_lock(&s->lock);
	LIST_EACH(it, &s->conns) {
		struct http_conn *c = LIST_ENTRY(it, struct http_conn, node);
		if (c->idle || all)
			rt_fiber_cancel(c->fiber);
	}
	bool left = !list_empty(&s->conns);
	rt_unlock(&s->lock);
	return left;
}

/* Requests under way are answered: what they use (queues, logs, the spool) is closed next. */
static void end_sessions(struct http_server *s)
{
	int64_t start = rt_now_ms(), took = 0;
	struct rt_shield shield;

	rt_shield_enter(&shield);
	for (; took < STOP_MS + CANCELED_MS && cancel_sessions(s, took >= STOP_MS); took = rt_now_ms() - start)
		if (rt_sleep_ms(10) < 0)
			break;
	rt_shield_leave(&shield);
}

void http_server_stop(struct http_server **sp)
{
	struct http_server *s = *sp;

	if (!s)
		return;
	*sp = NULL;
	s->stopping = true;
	rt_fiber_cancel(s->acceptor);
	rt_fiber_unref(&s->acceptor);
	end_sessions(s);
	server_unref(s);
}
