/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ws_stream - a WebSocket (RFC 6455) to somebody else's server, over TCP or TLS.
 *
 * Pings are answered while a message is waited for; pongs are dropped.
 *
 * Thread:  fibers of one shard, one at a time.   Memory: ws_stream_close.   Yields: all but ws_request_put.
 */
#pragma once
#include "net/http_client.h"

#define WS_STREAM_MESSAGE_MAX ((size_t)64 << 20)

struct ws_stream;
/* The request for the path, query, host and credentials of URL (ws, wss, http or https). -E_INVAL: this is none. */
int ws_request_put(struct buf *b, const char *url, struct slice key) WARN_UNUSED;
/* URL is ws://… or wss://…; TIMEOUT_MS for all of it. *ANSWER is the server's (http_reply_fini). -E_INVAL, -E_DNS, -E_IO, -E_TLS, -E_TIMEOUT;
   -E_REJECT: the server answered with another status than 101, which the text tells; -E_PROTO. */
int ws_stream_connect(const char *url, int64_t timeout_ms, struct ws_stream **out, struct http_reply *answer) WARN_UNUSED;
/* The next message. 1; 0: the server closed, now or earlier; -E_TIMEOUT: nothing came (INT64_MAX: wait for ever); -E_CLOSED: it ended without a
   closing handshake; -E_LIMIT, -E_PROTO, -E_IO. */
int ws_stream_next(struct ws_stream *c, int64_t timeout_ms, struct buf *message) WARN_UNUSED;
void ws_stream_close(struct ws_stream **c);
