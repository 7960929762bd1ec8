/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client - our side of one SMTP or LMTP connection: banner, greeting, STARTTLS, AUTH, transactions.
 *
 * Nothing here knows of queues: a stream comes in, replies come out. With PIPELINING a transaction is three segments: RSET, MAIL, RCPT… and
 * DATA together; the body with its end; and both wait only for what must be known. The body is never copied: where dots need
 * stuffing, the stuffing stands between views of it.
 *
 * Two kinds of failure are kept apart, because their consequences differ: what the peer answered (struct smtp_result, per recipient), and
 * what happened to the connection (text, and the command that was open).
 *
 * Thread:  one fiber, on the stream's shard.
 * Memory:  owns the stream. Replies of a transaction live in the arena given.
 * Yields:  everything that talks.
 */
#pragma once
#include "base/arena.h"
#include "codec/rfc5321.h"
#include "rt/io.h"
#include "tls/tls.h"

enum smtp_trace_kind { SMTP_TRACE_READ, SMTP_TRACE_WRITE, SMTP_TRACE_TEXT /* of a message, with its last dot */, SMTP_TRACE_CLOSED, SMTP_TRACE_ERROR, SMTP_TRACE_INFO };
typedef void (*smtp_trace_cb)(void *arg, enum smtp_trace_kind kind, struct slice data);

struct smtp_client_conf {
	int64_t banner_ms, hello_ms, starttls_ms, auth_ms, mail_ms, rcpt_ms, data_ms, data_dot_ms, rset_ms;
	bool pipelining;	/* use it where it is offered */
	bool rset;		/* RSET before each transaction but the first; after a failed one it is sent anyway */
	bool ignore_8bit;	/* send 8-bit content to whoever does not offer 8BITMIME or SMTPUTF8 */
	smtp_trace_cb trace;	/* NULL: nobody watches. Must not wait */
	void *trace_arg;
};

struct smtp_client;
struct smtp_client *smtp_client_create(struct rt_io *io, const struct smtp_client_conf *conf);	/* takes the stream over */
void smtp_client_destroy(struct smtp_client **c);						/* at once; smtp_client_quit says goodbye first */
bool smtp_client_connected(const struct smtp_client *c);

/* Before transactions. 0; -E_REJECT: the peer refused (err_text shows its reply); -E_PROTO: it does not speak SMTP; others: the connection. */
int smtp_client_banner(struct smtp_client *c) WARN_UNUSED;
int smtp_client_hello(struct smtp_client *c, struct slice name, bool lmtp) WARN_UNUSED;		/* EHLO or LHLO; learns the extensions */
bool smtp_client_offers(const struct smtp_client *c, const char *extension);			/* upper case */
/* 1: the peer agreed but the handshake failed: the stream is as before, in the clear. */
int smtp_client_starttls(struct smtp_client *c, struct tls_ctx *ctx, const struct tls_peer *peer, struct tls_info *info) WARN_UNUSED;
int smtp_client_auth_plain(struct smtp_client *c, struct slice user, struct slice password) WARN_UNUSED;

/* After an idle time. 0: still there; 1: the peer said something (goodbye, mostly); negative: it is gone. */
int smtp_client_check(struct smtp_client *c) WARN_UNUSED;

struct smtp_mail {
	struct slice sender;		/* "" is the null sender */
	const struct slice *rcpts;
	uint32_t n_rcpts;
	struct slice data;		/* header and text with CRLF */
	bool data_8bit, checked_8bit;	/* whether it holds bytes over 127, when somebody knows already */
};
enum smtp_sent {
	SMTP_SENT_ANSWERED,		/* every recipient has an answer of the peer's (or our own refusal to send 8-bit content) */
	SMTP_SENT_TIMEOUT,		/* no answer in time: the connection is closed */
	SMTP_SENT_BROKEN,		/* the connection failed, or what came was no SMTP */
};
struct smtp_result {
	enum smtp_sent how;
	struct smtp_response *rcpts;	/* ANSWERED: one for each recipient; content in the arena */
	bool delivered;			/* some recipient was accepted, and the message too */
	struct slice error;		/* TIMEOUT, BROKEN: what happened */
	struct slice command;		/* the command that was open; SLICE_NONE: none */
};
/* 0 with a result; -E_CANCELED or -E_TIMEOUT when the fiber was stopped: the state of the connection is not known then. */
int smtp_client_send(struct smtp_client *c, const struct smtp_mail *mail, struct arena *a, struct smtp_result *out) WARN_UNUSED;
void smtp_client_set_ignore_8bit(struct smtp_client *c, bool on);

void smtp_client_quit(struct smtp_client *c, int64_t max_ms);	/* QUIT, its answer, close */
