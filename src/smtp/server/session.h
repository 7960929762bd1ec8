/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session - one client's connection: what the files of this folder share.
 *
 * A command's function (cmd_…) answers and returns 0, or a negative code when the session is over. Everything said to the client goes
 * through reply(): there policy may rewrite it, and every refusal becomes a Rejection record.
 *
 * Thread:  the session's shard.
 * Memory:  session_arena() holds what one command needs and goes with it, txn_arena() what the transaction keeps. A client may say as many
 *          commands in a transaction as it likes, so that what is kept is only what is bounded. An idle session has neither.
 * Yields:  everything here that may answer.
 */
#pragma once
#include "base/list.h"
#include "base/uuid.h"
#include "codec/rfc5321.h"
#include "rt/fiber.h"
#include "rt/io.h"
#include "rt/metrics.h"
#include "smtp/server/conn_meta.h"
#include "smtp/server/params.h"
#include "smtp/server/server.h"

#define SMTP_SESSION_MAGIC OBJ_MAGIC('S', 'M', 'T', 'S')

struct smtp_listener {
	/* immutable once listening */
	char name[128];			/* the real address, as policy and metrics see it */
	struct vdoc *opts;		/* as given */
	struct smtp_params *params;
	bool uniform;			/* params hold for every connection, unless policy has dynamic ones */
	struct rt_listener *sock;
	struct rt_fiber *acceptor;
	/* atomic */
	_Atomic int64_t connections;
};

/* Whether a recipient's domain wants mail: from get_listener_domain. */
struct relay_verdict {
	bool relay;
	enum report_handling log_oob, log_arf;
};
struct domain_answer {			/* get_listener_domain is asked once a session for each domain */
	struct domain_answer *next;
	struct slice domain;
	bool found, relay_from_peer;
	struct relay_verdict verdict;
};
struct smtp_txn {
	bool active;
	struct arena *arena;		/* NULL before something is kept */
	struct smtp_path sender;
	struct smtp_path *rcpts;
	uint32_t n, cap;
	int64_t started_us;
};

struct smtp_session {
	uint32_t magic;
	struct list node;		/* in the shard's list */
	struct rt_fiber *fiber;
	struct smtp_listener *listener;
	struct smtp_params *params;
	struct rt_io *io;
	struct arena *arena;		/* of the command; NULL between commands */
	struct conn_meta *meta;
	struct netaddr local, peer;	/* as claimed by XCLIENT or PROXY */
	struct uuid id;
	struct smtp_txn txn;
	struct arena *domain_arena;	/* NULL until a policy is asked */
	struct domain_answer *domains;
	uint32_t n_domains;
	int64_t rcpts_taken;		/* on this connection */
	bool tls, authenticated, waiting;
	bool follow_with_421;		/* a disposition asked for a last 421 */
	bool over;			/* the last answer closes */
	struct slice esmtp;		/* "ESMTP" or "ESMTPS"…, literal */
};

struct arena *session_arena(struct smtp_session *s);
struct arena *txn_arena(struct smtp_session *s);
void txn_reset(struct smtp_session *s);

/* TEXT may have several lines and begin with an enhanced code. COMMAND is what is answered, for records: SLICE_NONE for good news. Returns 0, or
   -E_CLOSED when the answer ends the session (421). */
int reply(struct smtp_session *s, unsigned code, struct slice text, struct slice command) WARN_UNUSED;
#define reply_lit(s, code, lit, command) reply((s), (code), SLICE(lit), (command))
int replyf(struct smtp_session *s, unsigned code, struct slice command, const char *fmt, ...) PRINTF(4, 5) WARN_UNUSED;
/* 421 4.3.0 HOST technical difficulties; the cause (err_text) is logged for the operator, who is told which WHAT failed. */
int reply_trouble(struct smtp_session *s, const char *what) WARN_UNUSED;
/* 421 HOST TEXT without being asked: no policy, no record; the session is over. Always -E_CLOSED. */
int reply_goodbye(struct smtp_session *s, const char *enhanced, const char *text) WARN_UNUSED;
int session_flush(struct smtp_session *s);
const char *session_intake_refusal(void);	/* why no mail is taken now, as text of a 421; counted. NULL: it is taken */
struct slice session_peer_name(struct smtp_session *s);	/* what EHLO said, kept for the command; "" before */

/* One command line without its CRLF, valid until the next read. 1: it was too long and is skipped. */
int session_read_line(struct smtp_session *s, struct slice *line) WARN_UNUSED;
/* Waits for more input; tells the client when it takes too long. */
int session_fill(struct smtp_session *s) WARN_UNUSED;
/* Options, metadata and rules for the addresses as they are now (or are claimed to be). */
int session_configure(struct smtp_session *s) WARN_UNUSED;

int cmd_ehlo(struct smtp_session *s, const struct smtp_cmd *cmd) WARN_UNUSED;
int cmd_helo(struct smtp_session *s, const struct smtp_cmd *cmd) WARN_UNUSED;
int cmd_mail(struct smtp_session *s, const struct smtp_cmd *cmd) WARN_UNUSED;
int cmd_rcpt(struct smtp_session *s, const struct smtp_cmd *cmd) WARN_UNUSED;
int cmd_data(struct smtp_session *s, const struct smtp_cmd *cmd) WARN_UNUSED;
int cmd_starttls(struct smtp_session *s, const struct smtp_cmd *cmd) WARN_UNUSED;
int cmd_auth(struct smtp_session *s, const struct smtp_cmd *cmd) WARN_UNUSED;
int cmd_xclient(struct smtp_session *s, const struct smtp_cmd *cmd) WARN_UNUSED;
int session_loop(struct smtp_session *s) WARN_UNUSED;
int session_read_proxy_header(struct smtp_session *s) WARN_UNUSED;

/* Takes a received text in: policy, splitting, storing, queueing, the answer. */
struct buf;
int accept_message(struct smtp_session *s, struct buf *text) WARN_UNUSED;

/* Whether this client's mail from SENDER's domain may be relayed to RCPT's. 0 with OUT; negative: policy failed. Yields. */
int relay_check(struct smtp_session *s, struct slice sender_domain, struct slice rcpt_domain, struct relay_verdict *out) WARN_UNUSED;

void relay_forget(struct smtp_session *s);	/* who the client is has changed, or the session ends */

/* Events. A wrapper returns 0; 1 when the handler rejected and the client was told so; negative: the session is over. */
struct msg;
int event_connection_accepted(struct smtp_session *s) WARN_UNUSED;
int event_ehlo(struct smtp_session *s, struct slice domain, struct slice command, struct val *extensions) WARN_UNUSED; /* list, or null for HELO */
int event_address(struct smtp_session *s, const struct policy_event *ev, const struct smtp_path *path, struct slice command) WARN_UNUSED;
int event_message(struct smtp_session *s, const struct policy_event *ev, struct msg *m) WARN_UNUSED;
int event_split(struct smtp_session *s, struct msg *m, struct val *batches) WARN_UNUSED;	/* null: the handler left it to us */
int event_rewrite(struct smtp_session *s, unsigned *code, struct slice *text, struct slice command);
/* Whether a handler is to be asked. When there is none those who watch the session hear that all is well. */
bool event_wanted(struct smtp_session *s, const struct policy_event *ev) WARN_UNUSED;
/* What became of a call that returned RC: the same three answers. Ends the call. RESULT: what the handler said, for those who watch; may be NULL. */
int event_outcome(struct smtp_session *s, struct policy_call *c, int rc, struct slice command, const struct val *result) WARN_UNUSED;
int event_outcome_quiet(struct smtp_session *s, struct policy_call *c, int rc, struct slice command) WARN_UNUSED;	/* … who have heard of it */

extern const struct policy_event EV_SMTP_MAIL_FROM, EV_SMTP_RCPT_TO, EV_SMTP_DATA, EV_SMTP_MESSAGE_RECEIVED, EV_SMTP_DYNAMIC, EV_SMTP_AUTH_PLAIN,
	EV_GET_LISTENER_DOMAIN;
void events_register(void);

/* Trace headers (trace.c). */
void trace_put_received(struct buf *b, struct smtp_session *s, struct uuid id, const struct smtp_path *only_rcpt);
struct msg_env;
void trace_put_supplemental(struct buf *b, const struct smtp_trace_opts *o, const struct msg_env *env);
int trace_add_supplemental(struct msg *m, const struct smtp_trace_opts *o) WARN_UNUSED;
struct msg_body;
struct msg_body *trace_body_with(struct slice header, const struct msg_body *body);	/* a copy with HEADER in front */
