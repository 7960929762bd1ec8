/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session - what a dispatcher holds while it delivers by SMTP: the hosts still to try, the connection, what is known of the peer.
 *
 * Thread:  the dispatcher's fiber.   Memory: the dispatcher's state; freed by fini.   Yields: as marked.
 */
#pragma once
#include "queue/ready/dispatch.h"
#include "smtp/client/client.h"
#include "smtp/client/trace.h"

struct candidate {
	char *name;		/* as logs show it: "mx.example." */
	struct netaddr addr;	/* port 0: the path's */
	bool secure;		/* the address came by DNSSEC */
};
struct tried {			/* how often a recipient was part of the last transaction of its message */
	struct slice recipient;
	uint8_t times;
};

#define SMTP_SESSION_MAGIC OBJ_MAGIC('S', 'S', 'E', 'S')
struct smtp_session {
	uint32_t magic;
	struct candidate *hosts;	/* first one first */
	size_t n_hosts, next;
	bool choice_secure;		/* that these are the domain's hosts is known by DNSSEC, or the policy vouches for it */
	char *ehlo_name;
	struct smtp_client *client;	/* NULL: not connected */
	struct candidate *host;		/* of the connection, or of the last one */
	struct netaddr remote, source, proxy;
	const char *via;		/* "socks5", "haproxy": through PROXY; NULL: straight */
	struct tls_info tls;
	bool has_tls, openssl_names;
	bool broken_tls, attempted, finished;
	struct uuid last_msg;
	struct arena *last_arena;
	struct tried *last_rcpts;
	uint32_t n_last;
	struct arena *msg_arena;	/* of the message in hand */
	struct arena *trace_arena;	/* msg_meta */
	struct val msg_meta;		/* the last message's part of conn_meta, while somebody watches */
};

/* plan.c */
int smtp_plan(struct dispatcher *d);			/* Fills the hosts. 0, 1: the queue was dealt with; negative. Yields. */
/* connect.c */
int smtp_connect(struct dispatcher *d);			/* enum connect_result or negative. Yields. */
bool smtp_reconnect(struct dispatcher *d);		/* the connection is done with: whether there are hosts left to try */
void smtp_drop(struct dispatcher *d);			/* closes without a word */
/* proxy.c */
enum smtp_failure { SMTP_FAILED_BIND, SMTP_FAILED_PROXY };
void smtp_failures_init(void);
void smtp_count_failure(enum smtp_failure f);
bool smtp_proxy_used(const struct source_opts *o);	/* does not wait */
int smtp_socks_handshake(struct rt_io *io, const struct source_opts *o, const struct netaddr *to, struct netaddr *bound) WARN_UNUSED;	/* Yields. */
int smtp_proxy_open(struct dispatcher *d, struct rt_io **out);	/* a stream to s->remote; fills source, proxy, via. Yields. */
/* connect_tls.c */
int smtp_negotiate_tls(struct dispatcher *d, bool *enabled);	/* Yields. */
void smtp_tls_init(void);
/* deliver.c */
extern const struct policy_event SMTP_CLIENT_REWRITE;
int smtp_deliver(struct dispatcher *d);			/* Yields. */
/* trace.c */
void smtp_session_trace(struct dispatcher *d, enum smtp_session_event_kind kind, struct slice data, const char *level);
void smtp_session_note(struct dispatcher *d, const char *level, const char *fmt, ...) PRINTF(3, 4);
void smtp_session_client_trace(void *d, enum smtp_trace_kind kind, struct slice data);
