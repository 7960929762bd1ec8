/* SPDX-License-Identifier: Apache-2.0 */
/* client_int - what the client's files share. */
#pragma once
#include "smtp/client/client.h"

#define SMTP_CLIENT_MAGIC OBJ_MAGIC('S', 'C', 'L', 'I')
#define SMTP_LINE_MAX 4098
struct smtp_client {
	uint32_t magic;
	struct rt_io *io;		/* NULL: closed */
	struct smtp_client_conf conf;
	struct buf extensions;		/* upper-case names, each with a NUL behind */
	struct smtp_reply_reader reply;
	bool pipelining, lmtp;
	bool rset_next;			/* the next transaction begins with RSET */
};

/* The reply to COMMAND ("" none). 0: it is in c->reply; -E_PROTO: malformed; -E_TIMEOUT after MAX_MS: closed; -E_CLOSED, -E_IO: closed;
   -E_CANCELED; -E_SHUTDOWN: a deadline of the caller's passed. Yields. */
int client_read_reply(struct smtp_client *c, struct slice command, int64_t max_ms);
/* Sends what was put. As above. Yields. */
int client_flush(struct smtp_client *c, struct slice commands, int64_t max_ms);
int client_write(struct smtp_client *c, const struct slice *parts, int n, int64_t max_ms);
void client_close(struct smtp_client *c);
void client_trace(struct smtp_client *c, enum smtp_trace_kind kind, struct slice data);
