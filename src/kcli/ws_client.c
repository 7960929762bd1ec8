/* SPDX-License-Identifier: Apache-2.0 */
#include "kcli/ws_client.h"
#include "base/encode.h"
#include "base/rand.h"
#include "base/xalloc.h"
#include "net/websocket.h"
#include "net/ws_stream.h"
#include <curl/curl.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#define HEAD_MAX 65536
#define MESSAGE_MAX (64 << 20)
#define ANSWER_MS 20000

struct ws_client {
	CURL *curl;
	struct buf in;
	size_t at;		/* what comes before is used up */
};

static int failed(const char *what, const char *why)
{
	fprintf(stderr, "Error: %s: %s\n", what, why);
	return -E_IO;
}

static int wait_for(struct ws_client *w, short events, int timeout_ms)
{
	curl_socket_t fd = CURL_SOCKET_BAD;

	curl_easy_getinfo(w->curl, CURLINFO_ACTIVESOCKET, &fd);
	struct pollfd p = { .fd = fd, .events = events };
	int n;
	do
		n = poll(&p, 1, timeout_ms);
	while (n < 0 && errno == EINTR);
	return n > 0 ? 0 : failed("the daemon", "no answer");
}

static int send_all(struct ws_client *w, struct slice s)
{
	while (s.len) {
		size_t n = 0;
		CURLcode code = curl_easy_send(w->curl, s.ptr, s.len, &n);
		if (code == CURLE_AGAIN) {
			if (wait_for(w, POLLOUT, ANSWER_MS) < 0)
				return -E_IO;
		} else if (code != CURLE_OK) {
			return failed("sending to the daemon", curl_easy_strerror(code));
		}
		s = slice_sub(s, n, SIZE_MAX);
	}
	return 0;
}

static struct slice unread(struct ws_client *w)
{
	return slice_sub(buf_view(&w->in), w->at, SIZE_MAX);
}

/* Reads some more behind what is there. */
static int fill(struct ws_client *w, int timeout_ms)
{
	char data[16384];
	size_t n = 0;

	if (w->at == w->in.len) {
		buf_clear(&w->in);
		w->at = 0;
	}
	for (;;) {
		CURLcode code = curl_easy_recv(w->curl, data, sizeof data, &n);
		if (code == CURLE_OK)
			break;
		if (code != CURLE_AGAIN)
			return failed("reading from the daemon", curl_easy_strerror(code));
		if (wait_for(w, POLLIN, timeout_ms) < 0)
			return -E_IO;
	}
	if (n == 0)
		return -E_CLOSED;
	buf_put(&w->in, data, n);
	return 0;
}

static int need(struct ws_client *w, size_t n)
{
	int rc = 0;

	while (rc == 0 && unread(w).len < n)
		rc = fill(w, -1);
	return rc;
}

/* The answer's head; 101 it must be, and for the KEY sent. */
static int check_answer(struct ws_client *w, struct slice key)
{
	struct buf accept = { 0 };
	ptrdiff_t end;
	int rc = 0;

	while (rc == 0 && (end = slice_find(unread(w), SLICE("\r\n\r\n"))) < 0)
		rc = unread(w).len > HEAD_MAX ? failed("the daemon", "this is no HTTP") : fill(w, ANSWER_MS);
	if (rc < 0)
		return rc == -E_CLOSED ? failed("the daemon", "it closed the connection") : rc;
	struct slice head = slice_sub(unread(w), 0, (size_t)end);
	ws_accept_key_put(&accept, key);
	ptrdiff_t line = slice_find(head, SLICE("\r\n"));
	if (!slice_starts(head, SLICE("HTTP/1.1 101"))) {
		fprintf(stderr, "Error: request status: %.*s\n", (int)(line < 0 ? end : line), head.ptr);
		rc = -E_REJECT;
	} else if (slice_find(head, buf_view(&accept)) < 0) {
		rc = failed("the daemon", "it has not agreed to the WebSocket that was asked for");
	}
	w->at += (size_t)end + 4;
	buf_fini(&accept);
	return rc;
}

static int handshake(struct ws_client *w, const char *url)
{
	struct buf request = { 0 }, key = { 0 };
	uint8_t nonce[16];

	rand_bytes(nonce, sizeof nonce);
	base64_put(&key, slice_new(nonce, sizeof nonce), BASE64_STD);
	int rc = ws_request_put(&request, url, buf_view(&key));
	rc = rc < 0 ? failed(url, err_text()) : send_all(w, buf_view(&request));
	if (rc == 0)
		rc = check_answer(w, buf_view(&key));
	buf_fini(&request);
	buf_fini(&key);
	return rc;
}

int ws_client_open(struct client *c, const char *path, struct ws_client **out)
{
	struct ws_client *w = xzalloc(sizeof *w);
	struct buf url = { 0 };
	char error[CURL_ERROR_SIZE] = "";

	w->curl = curl_easy_init();
	buf_printf(&url, "%s%s", c->base, path);
	curl_easy_setopt(w->curl, CURLOPT_URL, buf_cstr(&url));
	curl_easy_setopt(w->curl, CURLOPT_CONNECT_ONLY, 1L);
	curl_easy_setopt(w->curl, CURLOPT_ERRORBUFFER, error);
	curl_easy_setopt(w->curl, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(w->curl, CURLOPT_CONNECTTIMEOUT, 20L);
	curl_easy_setopt(w->curl, CURLOPT_NOPROXY, "*");
	CURLcode code = curl_easy_perform(w->curl);
	curl_easy_setopt(w->curl, CURLOPT_ERRORBUFFER, NULL);
	int rc = code == CURLE_OK ? handshake(w, buf_cstr(&url)) : failed(c->base, error[0] ? error : curl_easy_strerror(code));
	buf_fini(&url);
	if (rc < 0)
		ws_client_close(&w);
	*out = w;
	return rc;
}

void ws_client_close(struct ws_client **wp)
{
	struct ws_client *w = *wp;

	*wp = NULL;
	curl_easy_cleanup(w->curl);
	buf_fini(&w->in);
	free(w);
}

static int send_frame(struct ws_client *w, enum ws_op op, struct slice payload)
{
	struct buf frame = { 0 };

	ws_frame_put(&frame, op, payload, true);
	int rc = send_all(w, buf_view(&frame));
	buf_fini(&frame);
	return rc;
}

int ws_client_send(struct ws_client *w, struct slice text)
{
	return send_frame(w, WS_TEXT, text);
}

/* One frame; its payload is appended. */
static int read_frame(struct ws_client *w, enum ws_op *op, bool *fin, struct buf *payload)
{
	int rc = need(w, 2);
	if (rc < 0)
		return rc;
	const uint8_t *p = (const uint8_t *)unread(w).ptr;
	uint64_t len = p[1] & 127;
	size_t more = len == 126 ? 2 : len == 127 ? 8 : 0;
	*op = p[0] & 15;
	*fin = p[0] & 0x80;
	if ((rc = need(w, 2 + more)) < 0)
		return rc;
	p = (const uint8_t *)unread(w).ptr;
	if (p[1] & 0x80)
		return failed("the daemon", "a masked WebSocket frame");
	for (size_t i = 0; i < more; i++)
		len = (i ? len << 8 : 0) | p[2 + i];
	if (len > MESSAGE_MAX || payload->len > MESSAGE_MAX - len)
		return failed("the daemon", "an event that is too long");
	w->at += 2 + more;
	if ((rc = need(w, len)) < 0)
		return rc;
	buf_slice(payload, slice_sub(unread(w), 0, len));
	w->at += len;
	return 0;
}

int ws_client_next(struct ws_client *w, struct buf *text)
{
	bool fin = false;

	buf_clear(text);
	for (;;) {
		struct buf payload = { 0 };
		enum ws_op op;
		int rc = read_frame(w, &op, &fin, &payload);
		if (rc == 0 && op == WS_PING)
			rc = send_frame(w, WS_PONG, buf_view(&payload));
		if (rc == 0 && op == WS_CLOSE)
			rc = -E_CLOSED;
		bool part = op < WS_CLOSE;
		if (rc == 0 && part)
			buf_slice(text, buf_view(&payload));
		buf_fini(&payload);
		if (rc < 0 || (part && fin))
			return rc;
	}
}
