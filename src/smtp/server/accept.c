/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A received text becomes messages: smtp_server_data, splitting into batches, smtp_server_message_received for each, then all are stored, recorded
 * and queued, then the client is told. Until the first is stored a refusal costs nothing; a failure after it removes what was stored.
 *
 * All of it runs under data_processing_timeout.
 */
#include "logs/record.h"
#include "msg/msg.h"
#include "queue/queue.h"
#include "queue/record.h"
#include "rt/diag.h"
#include "rt/loop.h"
#include "smtp/server/metrics.h"
#include "smtp/server/reports.h"
#include "smtp/server/watch.h"

#define NSEC_PER_MSEC 1000000
#define DEFERRED_QUEUE "deferred_smtp_inject.kumomta.internal"

struct batch {				/* one message to be */
	struct slice *rcpts;
	uint32_t n;
	struct relay_verdict verdict;	/* on it as policy left it, by its first recipient */
	struct msg *msg;
	struct buf queue;
	bool dropped, refused;		/* a report that is only logged; mail that may not be relayed */
	bool stored, failed;
	struct inbound_report report;
};
struct acceptance {
	struct smtp_session *s;
	struct val meta;		/* of the connection when the text had come: what a handler changes there is for the next one */
	struct msg_body *body;		/* as received, possibly changed before the split, as are sender, recipients and meta */
	struct slice sender;
	struct slice *rcpts;
	uint32_t n_rcpts;
	struct batch *batches;
	uint32_t n;
	const char *stage;		/* what data_processing_timeout cuts short */
};

static struct msg_env *make_env(const struct acceptance *x, struct slice sender, const struct slice *rcpts, uint32_t n)
{
	struct msg_env *env = msg_env_create(sender, rcpts, n);
	env->meta = val_copy(env->arena, &x->meta);
	return env;
}

static void rcpts_of_txn(struct acceptance *x)
{
	struct smtp_txn *t = &x->s->txn;
	x->sender = t->sender.text;
	x->n_rcpts = t->n;
	x->rcpts = arena_alloc(session_arena(x->s), (t->n + 1) * sizeof *x->rcpts);
	for (uint32_t i = 0; i < t->n; i++)
		x->rcpts[i] = t->rcpts[i].text;
}

/* What smtp_server_data and the split left of the envelope, the metadata and the text. */
static int take_back(struct acceptance *x, struct msg *m)
{
	struct arena *a = session_arena(x->s);
	struct msg_env *env;
	int rc = msg_env(m, &env);
	if (rc < 0)
		return rc;
	x->sender = arena_dup(a, env->sender);
	x->n_rcpts = env->n_recipients;
	x->rcpts = arena_alloc(a, (env->n_recipients + 1) * sizeof *x->rcpts);
	for (uint32_t i = 0; i < env->n_recipients; i++)
		x->rcpts[i] = arena_dup(a, env->recipients[i]);
	x->meta = val_copy(a, &env->meta);
	msg_env_unref(&env);
	msg_body_unref(&x->body);
	return msg_body(m, &x->body);
}

static void add_batch(struct acceptance *x, struct slice *rcpts, uint32_t n)
{
	x->batches[x->n++] = (struct batch){ .rcpts = rcpts, .n = n };
}

static struct slice domain_of(struct slice address)
{
	ptrdiff_t at = slice_rchr(address, '@');
	return at < 0 ? SLICE("") : slice_sub(address, (size_t)at + 1, SIZE_MAX);
}

static void split_by_domain(struct acceptance *x)
{
	struct arena *a = session_arena(x->s);
	bool *done = arena_alloc(a, x->n_rcpts + 1);
	struct slice *same = arena_alloc(a, (x->n_rcpts + 1) * sizeof *same);	/* all of them, those of one domain together */
	for (uint32_t i = 0; i < x->n_rcpts; i++) {
		uint32_t n = 0;
		if (done[i])
			continue;
		for (uint32_t k = i; k < x->n_rcpts; k++)
			if (!done[k] && slice_eq_nocase(domain_of(x->rcpts[k]), domain_of(x->rcpts[i]))) {
				same[n++] = x->rcpts[k];
				done[k] = true;
			}
		add_batch(x, same, n);
		same += n;
	}
}

static int read_batch(struct acceptance *x, const struct val *list)
{
	struct arena *a = session_arena(x->s);
	if (list->type != VAL_LIST || list->n == 0)
		return err_set(E_POLICY, "smtp_server_split_transaction must return a list of lists of addresses");
	struct slice *rcpts = arena_alloc(a, list->n * sizeof *rcpts);
	for (uint32_t i = 0; i < list->n; i++) {
		struct smtp_path p;
		if (list->items[i].type != VAL_STR || smtp_address_parse(list->items[i].s, a, &p) < 0 || p.kind == SMTP_PATH_NULL)
			return err_set(E_POLICY, "smtp_server_split_transaction returned a batch whose item %u is no address", i + 1);
		rcpts[i] = arena_dup(a, p.text);
	}
	add_batch(x, rcpts, list->n);
	return 0;
}

/* LIST is of lists; a table with domains as keys will do too. */
static int split_as_told(struct acceptance *x, const struct val *given)
{
	int rc = 0;
	if (given->type != VAL_LIST && given->type != VAL_OBJ)
		return err_set(E_POLICY, "smtp_server_split_transaction must return nil or a list of lists of addresses, not what it returned (%s)", val_type_name(given->type));
	x->batches = arena_alloc(session_arena(x->s), (given->n + 1) * sizeof *x->batches);
	for (uint32_t i = 0; rc == 0 && i < given->n; i++)
		rc = read_batch(x, given->type == VAL_LIST ? &given->items[i] : &given->members[i].val);
	return rc;
}

static int split(struct acceptance *x, struct msg *whole)
{
	struct val given = val_null();
	int rc = whole ? event_split(x->s, whole, &given) : 0;
	if (rc == 0 && whole)
		rc = take_back(x, whole);
	if (rc != 0)
		return rc;
	if (given.type != VAL_NULL) {
		rc = split_as_told(x, &given);
		return rc < 0 ? reply_trouble(x->s, "smtp_server_split_transaction") : 0;
	}
	x->batches = arena_alloc(session_arena(x->s), (x->n_rcpts + 1) * sizeof *x->batches);
	if (x->s->params->batch_handling == SMTP_BATCH_BY_DOMAIN)
		split_by_domain(x);
	else
		for (uint32_t i = 0; i < x->n_rcpts; i++)
			add_batch(x, &x->rcpts[i], 1);
	return 0;
}

static bool wants_whole(void)
{
	static const struct policy_event SPLIT = { "smtp_server_split_transaction", POLICY_SINGLE };
	return policy_event_wanted(&EV_SMTP_DATA) || policy_event_wanted(&SPLIT) || trace_on(TRACE_SMTP_SERVER);
}

/* The transaction as one message, for policy to look at and change before it is split. */
static int before_split(struct acceptance *x)
{
	if (!wants_whole())
		return split(x, NULL);
	struct msg_env *env = make_env(x, x->sender, x->rcpts, x->n_rcpts);
	struct msg *whole = msg_create(uuid_v1(), env, msg_body_ref(x->body));
	int rc = event_message(x->s, &EV_SMTP_DATA, whole);
	if (rc == 0)
		rc = split(x, whole);
	msg_unref(&whole);
	return rc;
}

/* Makes a batch's message; policy sees it with Received in front and before the supplemental header. */
static int make_message(struct acceptance *x, struct batch *b)
{
	struct smtp_session *s = x->s;
	const struct smtp_trace_opts *trace = &s->params->trace_headers;
	struct msg_env *env = make_env(x, x->sender, b->rcpts, b->n);
	if (s->params->deferred_queue)	/* by name, so that a restart finds it there */
		val_put_lit(env->arena, &env->meta, "queue", val_cstr(env->arena, DEFERRED_QUEUE));
	struct uuid id = uuid_v1();
	struct smtp_path first = { .text = b->rcpts[0] };
	bool policy = !s->params->deferred_queue && event_wanted(s, &EV_SMTP_MESSAGE_RECEIVED);
	struct buf headers = { 0 };
	if (!policy && trace->supplemental_header)
		trace_put_supplemental(&headers, trace, env);
	if (trace->received_header)
		trace_put_received(&headers, s, id, &first);
	b->msg = msg_create(id, env, trace_body_with(buf_view(&headers), x->body));
	buf_fini(&headers);
	if (!policy)
		return 0;
	int rc = event_message(s, &EV_SMTP_MESSAGE_RECEIVED, b->msg);
	if (rc == 0 && trace->supplemental_header)
		rc = trace_add_supplemental(b->msg, trace);
	return rc;
}

static int inspect(struct acceptance *x, struct batch *b)
{
	struct msg_env *env;
	int rc = msg_env(b->msg, &env);
	if (rc < 0)
		return rc;
	rc = relay_check(x->s, domain_of(env->sender), domain_of(env->n_recipients ? env->recipients[0] : SLICE("")), &b->verdict);
	msg_env_unref(&env);
	return rc < 0 ? rc : reports_inspect(x->s, b->msg, &b->verdict, &b->report, &b->dropped, &b->refused);
}

static int route(struct acceptance *x, struct batch *b)
{
	int rc = msg_queue_name(b->msg, &b->queue);
	if (rc == 0 && !slice_eq(buf_view(&b->queue), SLICE("null")))
		rc = queue_prepare(buf_view(&b->queue));
	return rc;
}

static bool goes_nowhere(const struct batch *b)
{
	return b->dropped || b->refused || slice_eq(buf_view(&b->queue), SLICE("null"));
}

static int store_all(struct acceptance *x)
{
	for (uint32_t i = 0; i < x->n; i++) {
		struct batch *b = &x->batches[i];
		if (goes_nowhere(b) || x->s->params->deferred_spool)
			continue;
		int rc = msg_save(b->msg);
		if (rc < 0)
			return rc;
		b->stored = true;
	}
	return 0;
}

static int record(struct acceptance *x, struct batch *b)
{
	struct smtp_session *s = x->s;
	const struct val *meta = &x->meta;	/* not the connection's, which handlers may change while this is being logged */
	struct buf addr = { 0 }, id = { 0 };
	ipaddr_put(&addr, &s->peer.ip);
	uuid_put(&id, s->id);
	struct slice cipher = val_get_str(meta, SLICE("tls_cipher"));
	struct log_event ev = {
		.type = LOG_RECEPTION,
		.msg = b->msg,
		.queue = buf_view(&b->queue),
		.site = SLICE(""),
		.response = { .code = 250, .content = SLICE("") },
		.peer_name = session_peer_name(s),
		.peer_addr = buf_view(&addr),
		.reception_protocol = SLICE("ESMTP"),
		.session_id = buf_view(&id),
		.tls_cipher = cipher,
		.tls_protocol_version = val_get_str(meta, SLICE("tls_protocol_version")),
		.tls_peer_subject_name = val_get(meta, SLICE("tls_peer_subject_name")),
	};
	int rc = log_disposition(&ev);
	buf_fini(&addr);
	buf_fini(&id);
	return rc;
}

/* What was stored is forgotten again; the client hears a failure and keeps its copy. WHY: there is a Reception record, so there shall be an end. */
static void unwind(struct batch *b, const char *why)
{
	struct rt_shield shield;
	rt_shield_enter(&shield);
	b->failed = true;
	if (why != NULL) {
		struct buf text = { 0 };
		buf_printf(&text, "KumoMTA internal: insertion into the queue failed during reception: %s", why);
		struct log_event ev = record_of(LOG_BOUNCE, b->msg, SLICE(""), response_of(500, 0, buf_view(&text)));
		record_write(&ev);
		buf_fini(&text);
	}
	if (b->stored && msg_remove(b->msg) < 0)
		diag_error("smtpsrv", "a message that was refused stays in the spool: %s", err_text());
	rt_shield_leave(&shield);
}

static int insert(struct acceptance *x, struct batch *b)
{
	struct msg *queued_ref = msg_ref(b->msg);
	int rc = queue_insert(queued_ref, buf_view(&b->queue));
	if (rc < 0)
		msg_unref(&queued_ref);
	return rc;
}

static int queue_one(struct acceptance *x, struct batch *b)
{
	bool recorded = !b->refused && !b->report.is_arf;	/* Feedback says it all; a bounce is received, and tells of others */
	int rc = recorded ? record(x, b) : 0;
	if (rc == 0)
		rc = reports_log(x->s, b->msg, buf_view(&b->queue), &b->report);
	if (rc < 0) {
		unwind(b, NULL);
		return rc;
	}
	if (goes_nowhere(b) || (rc = insert(x, b)) == 0)
		return 0;
	char *why = arena_strdup(session_arena(x->s), slice_from_cstr(err_text()));
	unwind(b, recorded ? why : NULL);
	return err_set((enum err_code)-rc, "%s", why);
}

/* Records and queues each; from the first queued on the client must hear of success. */
static int queue_all(struct acceptance *x)
{
	uint32_t n_failed = 0;
	int rc = 0;
	for (uint32_t i = 0; i < x->n; i++) {
		int one = queue_one(x, &x->batches[i]);
		n_failed += one < 0;
		if (one < 0)
			rc = one;
	}
	return n_failed == x->n ? rc : 0;
}

static int answer(struct acceptance *x)
{
	struct buf text = { 0 }, ids = { 0 };
	bool all = true;
	for (uint32_t i = 0; i < x->n; i++) {
		all &= !x->batches[i].failed;
		if (x->batches[i].refused || x->batches[i].failed)
			continue;
		if (ids.len > 0)
			buf_putc(&ids, ' ');
		uuid_put_simple(&ids, msg_id(x->batches[i].msg));
	}
	buf_printf(&text, "%s ids=%.*s", all ? "OK" : "PARTIAL", SLICE_ARG(buf_view(&ids)));
	if (ids.len > 0)
		smtp_metrics_count_received(x->s->listener->name);
	int rc = ids.len > 0 ? reply(x->s, 250, buf_view(&text), SLICE("DATA")) : reply_lit(x->s, 550, "5.7.1 relaying not permitted", SLICE("DATA"));
	buf_fini(&text);
	buf_fini(&ids);
	return rc;
}

static int trouble(struct acceptance *x, int rc)
{
	if (rc == -E_CANCELED || rc == -E_CLOSED || (rc == -E_TIMEOUT && rt_check() < 0))
		return rc;
	if (rc == -E_TIMEOUT) {	/* not data_processing_timeout: something below had a deadline of its own */
		diag_error("smtpsrv", "a message cannot be accepted: %s", err_text());
		return replyf(x->s, 451, SLICE("DATA"), "4.4.5 %s", err_text());
	}
	if (rc == -E_FULL || rc == -E_IO || rc == -E_AGAIN) {
		diag_error("smtpsrv", "a message cannot be stored: %s", err_text());
		const char *refusal = session_intake_refusal();
		if (refusal != NULL)
			return reply_goodbye(x->s, "4.3.2 ", refusal);
		return replyf(x->s, 421, SLICE("DATA"), "4.3.0 %.*s cannot store messages now. Try later", SLICE_ARG(x->s->params->hostname));
	}
	return reply_trouble(x->s, "accepting a message");
}

static void tell_disposition(struct smtp_session *s, const struct batch *b)
{
	watch_disposition(s, &(struct watch_disposition){
		.msg = b->msg,
		.queue = buf_view(&b->queue),
		.verdict = &b->verdict,
		.was_report = b->report.is_arf || b->report.is_dsn,
		.will_enqueue = !b->dropped && !b->refused,
	});
}

static int accept_under_deadline(struct acceptance *x)
{
	int rc = before_split(x);
	for (uint32_t i = 0; rc == 0 && i < x->n; i++)
		rc = make_message(x, &x->batches[i]);
	for (uint32_t i = 0; rc == 0 && i < x->n; i++)
		rc = inspect(x, &x->batches[i]);
	if (rc != 0)
		return rc > 0 ? 0 : trouble(x, rc);
	x->stage = "resolve";
	for (uint32_t i = 0; rc == 0 && i < x->n; i++) {
		rc = x->batches[i].refused ? 0 : route(x, &x->batches[i]);
		tell_disposition(x->s, &x->batches[i]);
	}
	x->stage = "spool";
	if (rc == 0)
		rc = store_all(x);
	if (rc == 0)
		rc = rt_check();
	if (rc < 0) {
		for (uint32_t i = 0; i < x->n; i++)
			unwind(&x->batches[i], NULL);
		return trouble(x, rc);
	}
	x->stage = "insert";
	rc = queue_all(x);
	return rc < 0 ? trouble(x, rc) : answer(x);
}

int accept_message(struct smtp_session *s, struct buf *text)
{
	struct acceptance x = { .s = s, .stage = "rx" };
	struct rt_deadline deadline;
	size_t len = text->len;
	rcpts_of_txn(&x);
	x.meta = val_copy(session_arena(s), conn_meta_all(s->meta));
	char *data = buf_take(text, &len);
	x.body = msg_body_take(data, len);
	/* from here on a Rejection record speaks of no transaction */
	s->txn.active = false;
	rt_deadline_push(&deadline, s->params->data_processing_timeout / NSEC_PER_MSEC);
	int rc = accept_under_deadline(&x);
	bool late = rt_deadline_pop(&deadline);
	for (uint32_t i = 0; i < x.n; i++) {
		buf_fini(&x.batches[i].queue);
		if (x.batches[i].msg != NULL)
			msg_unref(&x.batches[i].msg);
	}
	msg_body_unref(&x.body);
	if (late && rc == -E_TIMEOUT)
		return replyf(s, 451, SLICE("DATA"), "4.4.5 data_processing_timeout exceeded (%s)", x.stage);
	return rc;
}
