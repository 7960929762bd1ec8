/* SPDX-License-Identifier: Apache-2.0 */
/* deliver - one message over the connection, and what becomes of each of its recipients. */
#include <stdlib.h>
#include "logs/classify.h"
#include "policy/host.h"
#include "queue/name.h"
#include "queue/record.h"
#include "rt/diag.h"
#include "rt/fiber.h"
#include "smtp/client/session.h"

const struct policy_event SMTP_CLIENT_REWRITE = { "smtp_client_rewrite_delivery_status", POLICY_SINGLE };

struct delivery {
	struct dispatcher *d;
	struct smtp_session *s;
	struct msg *msg;		/* borrowed from the dispatcher */
	struct msg_env *env;
	struct msg_body *body;
	struct arena *a;
	struct buf queue_name;
	uint32_t n;			/* recipients of this transaction: the first N of the envelope's */
	struct smtp_response *answers;	/* one each */
	struct slice *again;		/* who is left: those beyond N first */
	uint32_t n_again;
	struct smtp_response overall;	/* for requeueing */
	bool have_overall, break_connection, transport_error, retry_now, logged_transient;
};

/* -- sending -- */

static int load(struct delivery *v)
{
	int rc;

	if ((rc = msg_env(v->msg, &v->env)) < 0) {
		err_prefix("loading meta");
		return rc;
	}
	if ((rc = msg_body(v->msg, &v->body)) < 0)
		err_prefix("loading data");
	if (rc == 0)
		rc = msg_queue_name(v->msg, &v->queue_name);
	return rc;
}

/* The peer's answers, or one of ours for each recipient when there are none. */
static void put_peer(struct buf *b, const struct smtp_session *s)
{
	buf_printf(b, "Some(ResolvedAddress { name: \"%s\", addr: ", s->host->name);
	if (s->host->addr.path[0])
		buf_cstr_put(b, s->host->addr.path);
	else
		ipaddr_put(b, &s->host->addr.ip);
	buf_lit(b, " })");
}

static struct smtp_response our_answer(struct delivery *v, const struct smtp_result *r)
{
	struct buf b = { 0 };
	struct smtp_response a = { .code = 400, .command = r->command };

	if (r->how == SMTP_SENT_TIMEOUT) {
		a = (struct smtp_response){ .code = 421, .has_enhanced = true, .enh_class = 4, .enh_subject = 4, .enh_detail = 2, .command = r->command };
		buf_printf(&b, "KumoMTA internal: failed to send message to %.*s ", SLICE_ARG(v->d->rq->name));
		put_peer(&b, v->s);
		buf_printf(&b, ": %.*s", SLICE_ARG(r->error));
	} else {
		buf_printf(&b, "KumoMTA internal: failed to send message: %.*s", SLICE_ARG(r->error));
	}
	a.content = arena_dup(v->a, buf_view(&b));
	buf_fini(&b);
	return a;
}

static int transact(struct delivery *v, bool *theirs)
{
	struct smtp_mail mail = { .sender = v->env->sender, .rcpts = v->env->recipients, .n_rcpts = v->n, .data = msg_body_view(v->body) };
	struct smtp_result r;

	dispatch_detail(v->d, "send msg with %u recip(s)", v->n);
	int rc = smtp_client_send(v->s->client, &mail, v->a, &r);
	if (rc < 0)
		return rc;
	*theirs = r.how == SMTP_SENT_ANSWERED;
	if (*theirs) {
		v->answers = r.rcpts;
		return 0;
	}
	struct smtp_response ours = our_answer(v, &r);
	v->break_connection = true;	/* there is none left */
	v->answers = arena_alloc(v->a, v->n * sizeof *v->answers);
	for (uint32_t i = 0; i < v->n; i++)
		v->answers[i] = ours;
	return 0;
}

/* -- the policy's say -- */

static int rewritten_code(const struct smtp_response *r, const struct queue_name *q, int *code)
{
	struct policy_call call;
	struct buf line = { 0 };
	int rc = policy_call_begin(&call, &SMTP_CLIENT_REWRITE);

	if (rc < 0)
		return rc;
	smtp_response_put_line(&line, r);
	policy_push_slice(call.L, buf_view(&line));
	buf_fini(&line);
	policy_push_slice(call.L, q->domain);
	policy_push_slice(call.L, q->tenant);
	policy_push_slice(call.L, q->campaign);
	policy_push_slice(call.L, queue_name_route(q));
	rc = policy_call_run(&call, 5, 1);
	if (rc == 0 && lua_isinteger(call.L, -1))
		*code = (int)lua_tointeger(call.L, -1);
	policy_call_end(&call);
	return rc;
}

static int rewrite_answers(struct delivery *v)
{
	struct queue_name q;

	if (!policy_event_wanted(&SMTP_CLIENT_REWRITE))
		return 0;
	queue_name_parse(buf_view(&v->queue_name), &q);
	for (uint32_t i = 0; i < v->n; i++) {
		struct smtp_response *r = &v->answers[i];
		int code = r->code;
		if (r->code == 250)
			continue;
		int rc = rewritten_code(r, &q, &code);
		if (rc == -E_CANCELED)
			return rc;
		if (rc < 0)
			diag_error("kumo.smtp", "smtp_client_rewrite_delivery_status event failed: %s. Preserving original DSN", err_text());
		else if (code != r->code && code > 0 && code < 1000) {
			r->content = arena_slicef(v->a, "%.*s (kumomta: status was rewritten from %u -> %d)", SLICE_ARG(r->content), r->code, code);
			r->code = (uint16_t)code;
		}
	}
	return 0;
}

/* -- verdicts -- */

enum too_many { TOO_MANY_NO, TOO_MANY_MAYBE, TOO_MANY_YES };

/* Whether RCPT was refused because there were too many before it (RFC 5321 4.5.3.1.10): not a verdict on this recipient. */
static enum too_many is_too_many(const struct smtp_response *r)
{
	struct buf class = { 0 };
	enum too_many t = TOO_MANY_NO;

	if (!slice_starts(r->command, SLICE("RCPT")))
		return TOO_MANY_NO;
	if (r->has_enhanced)
		return r->enh_class == 4 && r->enh_subject == 5 && r->enh_detail == 3 ? TOO_MANY_YES : TOO_MANY_NO;
	if (r->code != 452 && r->code != 552)
		return TOO_MANY_NO;
	classify_response(r, &class);
	if (slice_eq_cstr(buf_view(&class), "TooManyRecipients"))
		t = TOO_MANY_YES;
	else if (slice_eq_cstr(buf_view(&class), "Uncategorized"))
		t = TOO_MANY_MAYBE;
	buf_fini(&class);
	return t;
}

/* Only the answer to the end of the data can say that it was delivered. */
static enum log_type verdict(const struct smtp_response *r, enum too_many t)
{
	bool positive = r->code >= 200 && r->code < 300;
	if (t != TOO_MANY_NO || r->code == 503 || (r->code >= 300 && r->code < 500))
		return LOG_TRANSIENT_FAILURE; /* 503 and 3xx: the two sides were out of step, which says nothing of the recipient */
	if (positive && !slice_starts(r->command, SLICE(".")))
		return LOG_TRANSIENT_FAILURE;
	return positive ? LOG_DELIVERY : LOG_BOUNCE;
}

static bool due_to_message(const struct smtp_response *r)
{
	static const struct slice ours[] = { SLICE_INIT("MAIL"), SLICE_INIT("RCPT"), SLICE_INIT("DATA"), SLICE_INIT(".") };

	if (r->command.len == 0)
		return true;
	for (size_t i = 0; i < ARRAY_LEN(ours); i++)
		if (slice_starts(r->command, ours[i]))
			return true;
	return false;
}

static uint8_t times_tried(const struct smtp_session *s, struct uuid id, struct slice rcpt)
{
	if (!uuid_eq(s->last_msg, id))
		return 0;
	for (uint32_t i = 0; i < s->n_last; i++)
		if (slice_eq(s->last_rcpts[i].recipient, rcpt))
			return s->last_rcpts[i].times;
	return 0;
}

static void remember_tried(struct delivery *v)
{
	struct smtp_session *s = v->s;
	struct uuid id = msg_id(v->msg);
	struct arena *a = arena_create();
	struct tried *t = arena_alloc(a, v->env->n_recipients * sizeof *t);

	for (uint32_t i = 0; i < v->env->n_recipients; i++) {
		uint8_t before = times_tried(s, id, v->env->recipients[i]);
		t[i] = (struct tried){ arena_dup(a, v->env->recipients[i]), (uint8_t)MIN(before + 1, 255) };
	}
	arena_destroy(&s->last_arena);
	s->last_arena = a;
	s->last_rcpts = t;
	s->n_last = v->env->n_recipients;
	s->last_msg = id;
}

/* -- records: one for each different answer -- */

struct group {
	const struct smtp_response *r;
	enum log_type type;
	bool too_many;
	struct slice *rcpts;
	uint32_t n;
};

static bool same_answer(const struct smtp_response *a, const struct smtp_response *b)
{
	return a->code == b->code && a->has_enhanced == b->has_enhanced && a->enh_class == b->enh_class && a->enh_subject == b->enh_subject &&
	       a->enh_detail == b->enh_detail && slice_eq(a->content, b->content) && slice_eq(a->command, b->command);
}

static void group_add(struct delivery *v, struct group *g, uint32_t *n, uint32_t i, enum log_type type, bool too_many)
{
	const struct smtp_response *r = &v->answers[i];
	uint32_t at = 0;

	while (at < *n && !(g[at].too_many == too_many && same_answer(g[at].r, r)))
		at++;
	if (at == *n)
		g[(*n)++] = (struct group){ r, type, too_many, arena_alloc(v->a, v->n * sizeof(struct slice)), 0 };
	g[at].rcpts[g[at].n++] = v->env->recipients[i];
}

static struct slice ip_text(struct arena *a, const struct netaddr *n)
{
	struct buf b = { 0 };

	if (n->path[0])
		buf_cstr_put(&b, n->path);
	else
		ipaddr_put(&b, &n->ip);
	struct slice s = arena_dup(a, buf_view(&b));
	buf_fini(&b);
	return s;
}

static void event_fill(struct delivery *v, struct log_event *ev, struct val *subject)
{
	struct smtp_session *s = v->s;
	char text[128];
	struct slice entry;
	size_t pos = 0;

	ev->peer_name = slice_from_cstr(s->host->name);
	ev->peer_addr = ip_text(v->a, &s->remote);
	ev->peer_secure = s->host->secure;
	ev->source_address = arena_dup(v->a, slice_from_cstr(netaddr_text(&s->source, text)));
	if (s->via) {
		ev->source_protocol = slice_from_cstr(s->via);
		ev->source_server = arena_dup(v->a, slice_from_cstr(netaddr_text(&s->proxy, text)));
	}
	if (!s->has_tls)
		return;
	ev->tls_cipher = slice_from_cstr(s->openssl_names ? s->tls.openssl_cipher : s->tls.cipher);
	ev->tls_protocol_version = slice_from_cstr(s->openssl_names ? s->tls.openssl_protocol : s->tls.protocol);
	*subject = val_list();
	while (tls_info_subject_next(&s->tls, &pos, &entry))
		val_push(v->a, subject, val_str(v->a, entry));
	ev->tls_peer_subject_name = subject;
}

static void write_records(struct delivery *v, const struct group *g, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		struct val subject;
		if (g[i].type == LOG_TRANSIENT_FAILURE && g[i].too_many)
			continue; /* they go again at once, and have a record then */
		v->logged_transient |= g[i].type == LOG_TRANSIENT_FAILURE;
		struct log_event ev = dispatch_event(v->d, g[i].type, v->msg, *g[i].r);
		ev.recipients = g[i].rcpts;
		ev.n_recipients = g[i].n;
		event_fill(v, &ev, &subject);
		record_write(&ev);
	}
}

static void count(struct dispatcher *d, enum log_type type)
{
	dispatch_count(d, type == LOG_DELIVERY ? OUT_DELIVERED : type == LOG_BOUNCE ? OUT_FAIL : OUT_TRANSFAIL, 1);
}

/* Each recipient's verdict: counted, recorded, and put on the list of who is left. */
static void judge(struct delivery *v)
{
	struct group *groups = arena_alloc(v->a, v->n * sizeof *groups);
	uint32_t n_groups = 0;

	for (uint32_t i = 0; i < v->n; i++) {
		const struct smtp_response *r = &v->answers[i];
		enum too_many t = is_too_many(r);
		enum log_type type = verdict(r, t);
		if (i == 0 || v->n == 1 || (t == TOO_MANY_MAYBE && times_tried(v->s, msg_id(v->msg), v->env->recipients[i]) >= 1))
			t = TOO_MANY_NO;
		if (type == LOG_TRANSIENT_FAILURE)
			v->again[v->n_again++] = v->env->recipients[i];
		if (type != LOG_DELIVERY && !v->have_overall) {
			v->overall = *r;
			v->have_overall = true;
		}
		count(v->d, type);
		if (t != TOO_MANY_NO)
			v->retry_now = true;
		else if (!due_to_message(r))
			v->transport_error = true;
		v->break_connection |= r->code == 421;
		group_add(v, groups, &n_groups, i, type, t != TOO_MANY_NO);
	}
	remember_tried(v);
	write_records(v, groups, n_groups);
}

/* -- what follows -- */

static int lost_connection(struct delivery *v)
{
	if (smtp_client_connected(v->s->client))
		return 0;
	smtp_reconnect(v->d);
	return err_set(E_CLOSED, "after previous send attempt, client is unexpectedly no longer connected");
}

static int all_done(struct delivery *v)
{
	struct msg *m = dispatch_done(v->d, 0);

	msg_remove(m);
	msg_unref(&m);
	return lost_connection(v);
}

/* The message stays in hand with fewer recipients; the spool must know, or a crash would send to the others twice. */
static int keep_in_hand(struct delivery *v)
{
	if (msg_save(v->msg) < 0)
		diag_error("kumo.smtp", "saving the recipients that are left: %s", err_text());
	return 0;
}

static int some_left(struct delivery *v)
{
	bool try_next = dispatch_path(v->d)->try_next_host_on_transport_error;

	if (v->n_again != v->env->n_recipients)
		msg_set_env(v->msg, msg_env_with_recipients(v->env, v->again, v->n_again));
	if (try_next && (v->break_connection || v->transport_error) && smtp_reconnect(v->d))
		return keep_in_hand(v);
	if (v->s->client && v->retry_now && smtp_client_connected(v->s->client))
		return keep_in_hand(v);
	struct smtp_response r = v->have_overall ? v->overall : response_of(400, 0, SLICE("KumoMTA internal: retrying failed batch"));
	sched_requeue(dispatch_done(v->d, 0), true, -1, &r, context_of(v->logged_transient ? WHY_LOGGED : WHY_TOO_MANY_RCPT));
	return v->s->client ? lost_connection(v) : err_set(E_CLOSED, "after previous send attempt, client is unexpectedly no longer connected");
}

/* -- what watchers see of the message -- */

static void trace_message(struct delivery *v)
{
	struct smtp_session *s = v->s;
	struct val meta = val_obj(), rcpts = val_list();
	struct queue_name q;
	struct buf id = { 0 };

	arena_destroy(&s->trace_arena);
	if (atomic_load_explicit(&smtp_session_watchers, memory_order_relaxed) == 0)
		return;
	struct arena *a = s->trace_arena = arena_create();
	queue_name_parse(buf_view(&v->queue_name), &q);
	uuid_put_simple(&id, msg_id(v->msg));
	for (uint32_t i = 0; i < v->env->n_recipients; i++)
		val_push(a, &rcpts, val_str(a, v->env->recipients[i]));
	val_put(a, &meta, SLICE("message_id"), val_str(a, buf_view(&id)));
	val_put(a, &meta, SLICE("sender"), val_str(a, v->env->sender));
	val_put(a, &meta, SLICE("recipient"), rcpts);
	val_put(a, &meta, SLICE("domain"), val_str(a, q.domain));
	val_put(a, &meta, SLICE("routing_domain"), q.routing_domain.ptr ? val_str(a, q.routing_domain) : val_null());
	if (q.campaign.ptr)
		val_put(a, &meta, SLICE("campaign"), val_str(a, q.campaign));
	if (q.tenant.ptr)
		val_put(a, &meta, SLICE("tenant"), val_str(a, q.tenant));
	val_put(a, &meta, SLICE("queue_name"), val_str(a, buf_view(&v->queue_name)));
	s->msg_meta = meta;
	buf_fini(&id);
	smtp_session_trace(v->d, SMTP_SESSION_MESSAGE, SLICE_NONE, NULL);
}

static int deliver_one(struct delivery *v)
{
	struct rt_shield sh;
	bool theirs;
	int rc = load(v);

	if (rc < 0)
		return rc;
	v->n = (uint32_t)MIN((int64_t)v->env->n_recipients, MAX(dispatch_path(v->d)->max_recipients_per_batch, (int64_t)1));
	if (v->n == 0)
		return err_set(E_INVAL, "the message has no recipients");
	v->again = arena_alloc(v->a, v->env->n_recipients * sizeof *v->again);
	for (uint32_t i = v->n; i < v->env->n_recipients; i++)
		v->again[v->n_again++] = v->env->recipients[i];
	v->retry_now = v->n_again > 0;
	v->s->attempted = true;
	trace_message(v);
	smtp_client_set_ignore_8bit(v->s->client, dispatch_path(v->d)->ignore_8bit_checks);
	if ((rc = transact(v, &theirs)) < 0)
		return rc;
	rt_shield_enter(&sh); /* the peer has decided: that is kept, whatever happens to this session */
	if (theirs)
		(void)!rewrite_answers(v);
	judge(v);
	rc = v->n_again ? some_left(v) : all_done(v);
	rt_shield_leave(&sh);
	return rc;
}

int smtp_deliver(struct dispatcher *d)
{
	struct smtp_session *s = d->state;
	assert(d->n_msgs == 1);
	struct delivery v = { .d = d, .s = s, .msg = msg_ref(d->msgs[0]), .a = s->msg_arena };
	int rc = deliver_one(&v);
	msg_env_unref(&v.env);
	msg_body_unref(&v.body);
	msg_unref(&v.msg);
	buf_fini(&v.queue_name);
	arena_reset(s->msg_arena);
	return rc;
}
