/* SPDX-License-Identifier: Apache-2.0 */
#include "net/ws_stream.h"
#include <curl/curl.h>
#include <stdlib.h>
#include "base/encode.h"
#include "base/rand.h"
#include "base/xalloc.h"
#include "net/connect.h"
#include "net/websocket.h"
#include "rt/clock.h"
#include "rt/fiber.h"
#include "rt/io.h"
#include "tls/tls.h"

#define MAGIC OBJ_MAGIC('W', 's', 'S', 't')
#define LINE_MAX_BYTES 8192
#define FIELDS_MAX HTTP1_HEADERS_MAX

struct ws_stream {
	uint32_t magic;
	bool closed;
	struct rt_io *io;
};

/* --- the URL ------------------------------------------------------------------------------------------------------------- */

static void put_part(struct buf *b, CURLU *u, CURLUPart part, const char *before, unsigned flags)
{
	char *text = NULL;

	if (curl_url_get(u, part, &text, flags) == CURLUE_OK)
		buf_printf(b, "%s%s", before, text);
	curl_free(text);
}

static int parse_url(const char *url, CURLU **out)
{
	CURLU *u = curl_url();
	CURLUcode code = curl_url_set(u, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME);

	if (code != CURLUE_OK) {
		curl_url_cleanup(u);
		return err_set(E_INVAL, "`%s` is not a URL: %s", url, curl_url_strerror(code));
	}
	*out = u;
	return 0;
}

int ws_request_put(struct buf *b, const char *url, struct slice key)
{
	struct buf who = { 0 };
	CURLU *u;
	int rc = parse_url(url, &u);

	if (rc < 0)
		return rc;
	put_part(b, u, CURLUPART_PATH, "GET ", 0);
	put_part(b, u, CURLUPART_QUERY, "?", 0);
	put_part(b, u, CURLUPART_HOST, " HTTP/1.1\r\nhost: ", 0);
	put_part(b, u, CURLUPART_PORT, ":", 0);
	put_part(&who, u, CURLUPART_USER, "", CURLU_URLDECODE);
	if (who.len) {
		put_part(&who, u, CURLUPART_PASSWORD, ":", CURLU_URLDECODE);
		buf_lit(b, "\r\nauthorization: Basic ");
		base64_put(b, buf_view(&who), BASE64_STD);
	}
	buf_printf(b, "\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: %.*s\r\n\r\n", SLICE_ARG(key));
	curl_url_cleanup(u);
	buf_fini(&who);
	return 0;
}

struct where {
	struct buf scheme, host, port;
	uint16_t port_no;
	bool secure;
};

static void where_fini(struct where *w)
{
	buf_fini(&w->scheme);
	buf_fini(&w->host);
	buf_fini(&w->port);
}

static int find_where(const char *url, struct where *w)
{
	uint64_t port;
	CURLU *u;
	int rc = parse_url(url, &u);

	if (rc < 0)
		return rc;
	put_part(&w->scheme, u, CURLUPART_SCHEME, "", 0);
	put_part(&w->host, u, CURLUPART_HOST, "", 0);
	put_part(&w->port, u, CURLUPART_PORT, "", 0);
	curl_url_cleanup(u);
	w->secure = slice_eq_nocase(buf_view(&w->scheme), SLICE("wss"));
	if (!w->secure && !slice_eq_nocase(buf_view(&w->scheme), SLICE("ws")))
		return err_set(E_INVAL, "`%s`: expected a URL that begins with ws:// or wss://", url);
	w->port_no = w->secure ? 443 : 80;
	if (w->port.len && slice_to_u64(buf_view(&w->port), &port) == 0)
		w->port_no = (uint16_t)port;
	return 0;
}

/* --- opening ------------------------------------------------------------------------------------------------------------- */

static int open_stream(const struct where *w, int64_t timeout_ms, struct rt_io **out)
{
	const struct tls_client_conf conf = { 0 };
	const struct tls_peer peer = { .hostname = buf_view(&w->host), .timeout_ms = timeout_ms };
	struct tls_ctx *tls = NULL;
	int fd, rc = net_connect(buf_view(&w->host), w->port_no, timeout_ms, &fd);

	if (rc < 0)
		return rc;
	*out = rt_io_from_fd(fd);
	if (w->secure && (rc = tls_ctx_client(&conf, &tls)) == 0) {
		rc = tls_connect(tls, out, &peer, NULL);
		tls_ctx_unref(&tls);
	}
	return rc;
}

/* The status line and the fields; what follows belongs to the WebSocket. */
static int read_answer(struct rt_io *io, struct http_reply *r)
{
	struct slice line, reason;
	uint64_t status;
	int rc = rt_io_read_line(io, LINE_MAX_BYTES, &line, NULL);

	if (rc < 0)
		return rc;
	reason = slice_sub(line, 12, SIZE_MAX);
	if (!slice_starts(line, SLICE("HTTP/1.")) || line.len < 12 || slice_to_u64(slice_sub(line, 9, 3), &status) < 0)
		return err_set(E_PROTO, "the server does not speak HTTP/1.1");
	r->status = (int)status;
	if (status != 101)
		return err_set(E_REJECT, "HTTP error: %d%.*s", r->status, SLICE_ARG(reason));
	for (int n = 0; n < FIELDS_MAX; n++) {
		if ((rc = rt_io_read_line(io, LINE_MAX_BYTES, &line, NULL)) < 0 || line.len == 0)
			return rc;
		if (slice_chr(line, ':') <= 0)
			break;
		buf_slice(&r->headers, line);
		buf_lit(&r->headers, "\r\n");
	}
	return err_set(E_PROTO, "the server's answer is not HTTP/1.1");
}

static int check_answer(const struct http_reply *r, struct slice key)
{
	struct buf accept = { 0 };

	ws_accept_key_put(&accept, key);
	bool ok = slice_eq(http_reply_header(r, SLICE("sec-websocket-accept")), buf_view(&accept)) &&
		  slice_eq_nocase(http_reply_header(r, SLICE("upgrade")), SLICE("websocket"));
	buf_fini(&accept);
	return ok ? 0 : err_set(E_PROTO, "the server has not agreed to the WebSocket that was asked for");
}

static int shake_hands(struct rt_io *io, const char *url, struct http_reply *answer)
{
	struct buf request = { 0 }, key = { 0 };
	uint8_t nonce[16];

	rand_bytes(nonce, sizeof nonce);
	base64_put(&key, slice_new(nonce, sizeof nonce), BASE64_STD);
	int rc = ws_request_put(&request, url, buf_view(&key));
	if (rc == 0) {
		rt_io_put(io, buf_view(&request));
		rc = rt_io_flush(io);
	}
	if (rc == 0)
		rc = read_answer(io, answer);
	if (rc == 0)
		rc = check_answer(answer, buf_view(&key));
	buf_fini(&request);
	buf_fini(&key);
	return rc;
}

int ws_stream_connect(const char *url, int64_t timeout_ms, struct ws_stream **out, struct http_reply *answer)
{
	struct where w = { 0 };
	struct rt_deadline d;
	struct rt_io *io = NULL;

	*answer = (struct http_reply){ 0 };
	int rc = find_where(url, &w);
	rt_deadline_push(&d, timeout_ms);
	if (rc == 0)
		rc = open_stream(&w, timeout_ms, &io);
	if (rc == 0)
		rc = shake_hands(io, url, answer);
	if (rt_deadline_pop(&d) && rc < 0)
		rc = err_set(E_TIMEOUT, "no WebSocket to %s within %lld ms", url, (long long)timeout_ms);
	where_fini(&w);
	if (rc < 0) {
		http_reply_fini(answer);
		if (io)
			rt_io_close(&io);
		return rc;
	}
	struct ws_stream *c = xzalloc(sizeof *c);
	OBJ_INIT(c, MAGIC);
	c->io = io;
	*out = c;
	return 0;
}

/* --- messages ------------------------------------------------------------------------------------------------------------ */

static int send_frame(struct ws_stream *c, enum ws_op op, struct slice payload)
{
	struct buf frame = { 0 };

	ws_frame_put(&frame, op, payload, true);
	rt_io_put(c->io, buf_view(&frame));
	buf_fini(&frame);
	return rt_io_flush(c->io);
}

int ws_stream_next(struct ws_stream *c, int64_t timeout_ms, struct buf *message)
{
	const int64_t now = rt_now_ms(), end = timeout_ms > INT64_MAX - now ? INT64_MAX : now + timeout_ms;
	enum ws_op op = WS_PONG;
	int rc = 0;

	OBJ_CHECK(c, MAGIC);
	while (rc == 0 && !c->closed && op > WS_BINARY) {
		rc = ws_wait(c->io, WS_STREAM_MESSAGE_MAX, end == INT64_MAX ? INT64_MAX : MAX(end - rt_now_ms(), 0));
		if (rc == 0)
			rc = ws_read(c->io, WS_STREAM_MESSAGE_MAX, &op, message);
		if (rc == 0 && op == WS_PING)
			rc = send_frame(c, WS_PONG, buf_view(message));
		if (rc == 0 && op == WS_CLOSE) {
			(void)send_frame(c, WS_CLOSE, slice_sub(buf_view(message), 0, 2));	/* it may have gone already */
			c->closed = true;
		}
	}
	return rc < 0 ? rc : !c->closed;
}

void ws_stream_close(struct ws_stream **cp)
{
	struct ws_stream *c = *cp;

	*cp = NULL;
	if (!c)
		return;
	rt_io_close(&c->io);
	OBJ_FINI(c, MAGIC);
	free(c);
}
