/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ws_client - a WebSocket (RFC 6455) to the daemon: what trace-smtp-server and trace-smtp-client listen to.
 *
 * A failure is printed to stderr as "Error: …" here, as client.h does.
 *
 * Thread:  main thread.   Memory: ws_client_close.   Yields: never (it blocks).
 */
#pragma once
#include "base/buf.h"
#include "kcli/client.h"

struct ws_client;
int ws_client_open(struct client *c, const char *path, struct ws_client **out) WARN_UNUSED;
void ws_client_close(struct ws_client **w);
int ws_client_send(struct ws_client *w, struct slice text) WARN_UNUSED;
/* The next text, waited for; pings are answered. -E_CLOSED: the daemon has said goodbye. */
int ws_client_next(struct ws_client *w, struct buf *text) WARN_UNUSED;
