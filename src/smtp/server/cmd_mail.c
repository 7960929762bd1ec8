/* SPDX-License-Identifier: Apache-2.0 */
#include "smtp/server/session.h"

static struct smtp_path keep_path(struct arena *a, const struct smtp_path *p)
{
	struct smtp_path k = *p;
	k.local = arena_dup(a, p->local);
	k.domain = arena_dup(a, p->domain);
	k.text = arena_dup(a, p->text);
	return k;
}

/* The parameters are read but not held against the message: what matters is how large it is in the end. */
int cmd_mail(struct smtp_session *s, const struct smtp_cmd *cmd)
{
	if (s->txn.active)
		return reply_lit(s, 503, "5.5.0 MAIL FROM already issued; you must RSET first", cmd->line);
	const char *refusal = session_intake_refusal();
	if (refusal != NULL)	/* what held when it connected holds no more; a client that never hangs up must hear of it too */
		return reply_goodbye(s, "4.3.2 ", refusal);
	int rc = event_address(s, &EV_SMTP_MAIL_FROM, &cmd->path, cmd->line);
	if (rc != 0)
		return rc < 0 ? rc : 0;
	txn_reset(s);
	s->txn.sender = keep_path(txn_arena(s), &cmd->path);
	s->txn.started_us = rt_now_us_exact();
	s->txn.active = true;
	return replyf(s, 250, SLICE_NONE, "OK <%.*s>", SLICE_ARG(s->txn.sender.text));
}

static void add_rcpt(struct smtp_session *s, const struct smtp_path *path)
{
	struct smtp_txn *t = &s->txn;
	if (t->n == t->cap) {
		uint32_t cap = t->cap ? t->cap * 2 : 4;
		struct smtp_path *more = arena_alloc(txn_arena(s), cap * sizeof *more);
		if (t->n > 0)
			memcpy(more, t->rcpts, t->n * sizeof *more);
		t->rcpts = more;
		t->cap = cap;
	}
	t->rcpts[t->n++] = keep_path(txn_arena(s), path);
	s->rcpts_taken++;
}

static int too_many(struct smtp_session *s, const struct smtp_cmd *cmd)
{
	if (s->txn.n >= s->params->max_recipients_per_message)
		return reply_lit(s, 452, "4.5.3 too many recipients", cmd->line);
	if (s->txn.n > 0)
		return reply_lit(s, 452, "4.5.3 too many recipients on this connection", cmd->line);
	return replyf(s, 421, cmd->line, "4.5.3 %.*s too many recipients on this connection", SLICE_ARG(s->params->hostname));
}

int cmd_rcpt(struct smtp_session *s, const struct smtp_cmd *cmd)
{
	if (!s->txn.active)
		return reply_lit(s, 503, "5.5.0 MAIL FROM must be issued first", cmd->line);
	if (s->txn.n >= s->params->max_recipients_per_message || s->rcpts_taken >= s->params->max_messages_per_connection)
		return too_many(s, cmd);
	struct relay_verdict verdict;
	int rc = relay_check(s, s->txn.sender.domain, cmd->path.domain, &verdict);
	if (rc < 0)
		return reply_trouble(s, "get_listener_domain");
	if (!verdict.relay && verdict.log_oob == REPORT_IGNORE && verdict.log_arf == REPORT_IGNORE) {
		char peer[128];
		return replyf(s, 550, cmd->line, "5.7.1 relaying not permitted for %s", netaddr_text(&s->peer, peer));
	}
	rc = event_address(s, &EV_SMTP_RCPT_TO, &cmd->path, cmd->line);
	if (rc != 0)
		return rc < 0 ? rc : 0;
	add_rcpt(s, &cmd->path);
	return replyf(s, 250, SLICE_NONE, "OK <%.*s>", SLICE_ARG(cmd->path.text));
}
