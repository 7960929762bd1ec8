/* SPDX-License-Identifier: Apache-2.0 */
/*
 * websocket - RFC 6455 over a stream: the handshake's key, frames both ways.
 *
 * Thread:  as rt/io: one fiber reads, one writes.   Memory: the caller's buffers.   Yields: reading and writing.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"

struct rt_io;
enum ws_op { WS_TEXT = 1, WS_BINARY = 2, WS_CLOSE = 8, WS_PING = 9, WS_PONG = 10 };

void ws_accept_key_put(struct buf *b, struct slice key);		/* of Sec-WebSocket-Key */
void ws_frame_put(struct buf *b, enum ws_op op, struct slice payload, bool mask);	/* MASK: as clients must */
/* A whole message, fragments joined; pings and pongs come as messages of their own. -E_LIMIT: longer than MAX; -E_PROTO. Yields. */
int ws_read(struct rt_io *io, size_t max, enum ws_op *op, struct buf *payload) WARN_UNUSED;
/* Until a whole message of up to MAX bytes is buffered (or something that ws_read refuses). A wait that ends early loses nothing of what came.
   -E_TIMEOUT, -E_CLOSED, …. Yields. */
int ws_wait(struct rt_io *io, size_t max, int64_t timeout_ms) WARN_UNUSED;
