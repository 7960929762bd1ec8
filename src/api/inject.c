/* SPDX-License-Identifier: Apache-2.0 */
/* POST /api/inject/v1: recipients one by one through policy, storage, record and queue; and the generator, which does it later. */
#include "api/inject.h"
#include "api/aaa.h"
#include "api/api.h"
#include "policy/objects.h"
#include "queue/intake.h"
#include "queue/queue.h"
#include "queue/ready/dispatch.h"
#include "queue/throttle.h"
#include "rt/diag.h"
#include "rt/fiber.h"
#include "rt/metrics_shared.h"
#include "rt/sync.h"
#include "smtp/server/server.h"
#include "spool/spool.h"
#include <stdlib.h>

#define GENERATOR_QUEUE "generator.kumomta.internal"

static const struct policy_event EV_GENERATED = { "http_message_generated", POLICY_SINGLE };
static __thread struct metric *received;	/* made when it first counts */
static struct rt_lock rate_lock = RT_LOCK_INIT(RANK_LEAF);
static struct rate_spec rate;		/* under rate_lock */

void inject_put_meta(const struct inject_job *j, struct msg_env *env);

const char *intake_refusal(void)
{
	static const char *const WHY[INTAKE_STATES] = {
		[INTAKE_MEMORY] = "load shedding", [INTAKE_DISK] = "disk is too full", [INTAKE_STARTING] = "waiting for spool startup",
		[INTAKE_SPOOL] = "the spool is not accepting writes", [INTAKE_LOGS] = "the logs cannot be written",
	};
	return queue_stopping() ? "shutting down" : WHY[intake_state()];
}

void inject_set_rate(const struct rate_spec *r)
{
	rt_lock(&rate_lock);
	rate = *r;
	rt_unlock(&rate_lock);
}

static int wait_rate(size_t recipients)
{
	struct throttle_result result;

	for (;;) {
		rt_lock(&rate_lock);
		struct rate_spec now = rate;
		rt_unlock(&rate_lock);
		if (!rate_given(&now))
			return 0;
		int rc = throttle_check(SLICE("kumomta.httpinject.ratelimit"), &now, recipients, &result);
		if (rc < 0 || !result.throttled)
			return rc;
		if ((rc = rt_sleep_ms(MAX(result.retry_after_ns / 1000000, (int64_t)1))) < 0)
			return rc;
	}
}

/* --- one message ------------------------------------------------------------------------------------------------------- */

static int ask_policy(const struct inject_job *j, struct msg *m)
{
	struct policy_call c;

	if (!policy_event_wanted(&EV_GENERATED))
		return 0;
	int rc = policy_call_begin(&c, &EV_GENERATED);
	if (rc < 0)
		return rc;
	policy_push_msg(c.L, m);
	policy_push_val(c.L, j->origin.auth);
	rc = policy_call_run(&c, 2, 0);
	if (rc == -E_REJECT)
		err_set(E_REJECT, "%d %s", c.reject_code, c.reject_text ? c.reject_text : "");
	policy_call_end(&c);
	return rc;
}

static int log_reception(const struct inject_job *j, struct msg *m)
{
	struct buf peer = { 0 };
	struct log_event ev = { .type = LOG_RECEPTION, .msg = m, .site = SLICE(""), .response = { .code = 250, .content = SLICE("") } };

	ipaddr_put(&peer, &j->origin.peer);
	ev.peer_name = SLICE("");
	ev.peer_addr = buf_view(&peer);
	int rc = log_disposition(&ev);
	buf_fini(&peer);
	return rc;
}

/* Stores, records, queues. M stays the caller's reference; a failure leaves nothing behind. */
static int accept_message(const struct inject_job *j, struct msg *m, struct slice queue)
{
	int rc = queue_prepare(queue);

	if (rc == 0 && !j->req.deferred_spool)
		rc = msg_save(m);
	if (rc == 0)
		rc = log_reception(j, m);
	if (rc == 0) {
		struct msg *queued = msg_ref(m);
		rc = queue_insert(queued, queue);
		if (rc < 0)
			msg_unref(&queued);
	}
	if (rc < 0) {
		struct rt_shield shield;
		rt_shield_enter(&shield);
		(void)msg_remove(m);
		rt_shield_leave(&shield);
	}
	return rc;
}

static struct val trace_val(const struct inject_trace *t, struct arena *a)
{
	struct val v = val_obj(), names = val_list();
	const struct slice *items = t->include_meta_names.items;

	for (size_t i = 0; i < t->include_meta_names.n; i++)
		val_push(a, &names, val_str(a, items[i]));
	val_put_lit(a, &v, "received_header", val_bool(t->received_header));
	val_put_lit(a, &v, "supplemental_header", val_bool(t->supplemental_header));
	val_put_lit(a, &v, "header_name", val_str(a, t->header_name));
	if (names.n)
		val_put_lit(a, &v, "include_meta_names", names);
	return v;
}

static int inject_one(const struct inject_job *j, const struct inject_recipient *r)
{
	struct buf queue = { 0 };
	struct msg *m = NULL;

	if (received == NULL)
		received = metric_get(&METRIC_MESSAGES_RECEIVED, "http_listener");
	metric_add(received, 1);
	int rc = inject_make(j, r, &m);
	if (rc == 0)
		rc = ask_policy(j, m);
	if (rc == 0)
		rc = msg_queue_name(m, &queue);
	if (rc == 0 && !slice_eq_cstr(buf_view(&queue), "null")) {
		struct arena *a = arena_create();
		struct val trace = trace_val(&j->req.trace_headers, a);
		if (j->req.trace_headers.supplemental_header)
			rc = smtp_trace_apply_supplemental(m, &trace);
		if (rc == 0)
			rc = accept_message(j, m, buf_view(&queue));
		arena_destroy(&a);
	}
	if (m)
		msg_unref(&m);
	buf_fini(&queue);
	return rc;
}

/* The request itself, as a message without recipient. */
static int queue_request(struct inject_job *j)
{
	struct val source = val_copy(j->arena, j->source);
	struct slice none = SLICE("");
	struct buf text = { 0 };
	size_t len;

	val_put_lit(j->arena, &source, "deferred_generation", val_bool(false));
	json_put(&text, &source, JSON_COMPACT);
	struct msg_env *env = msg_env_create(j->sender.text, &none, 1);
	inject_put_meta(j, env);
	val_put_lit(env->arena, &env->meta, "auth_info", val_copy(env->arena, j->origin.auth));
	val_put_lit(env->arena, &env->meta, "queue", val_cstr(env->arena, GENERATOR_QUEUE));
	char *data = buf_take(&text, &len);
	struct msg *m = msg_create(uuid_v1(), env, msg_body_take(data, len));
	int rc = accept_message(j, m, SLICE(GENERATOR_QUEUE));
	msg_unref(&m);
	return rc;
}

/* Whether the same would fail again: an address or template that is wrong, a policy that says 5xx. */
static bool is_for_good(int rc) { return rc == -E_INVAL || (rc == -E_REJECT && err_text()[0] == '5'); }

int inject_run(struct inject_job *j, struct inject_result *out)
{
	const struct inject_recipient *r = j->req.recipients.items;
	size_t n = j->req.recipients.n;

	*out = (struct inject_result){ .failed_recipients = val_list(), .errors = val_list(), .done = arena_alloc(j->arena, n + 1), .refused = arena_alloc(j->arena, n + 1) };
	if (j->req.deferred_generation)
		return queue_request(j);
	for (size_t i = 0; i < n; i++) {
		int rc = rt_yield();	/* a text that fails may have taken long, and nothing else here waits */
		if (rc == 0 && queue_stopping())
			rc = err_set(E_AGAIN, "shutting down");
		if (rc == 0)
			rc = inject_one(j, &r[i]);
		if (rc < 0 && rt_check() < 0)
			return rc;
		out->refused[i] = is_for_good(rc);
		out->done[i] = rc == 0 || out->refused[i];
		if (rc == 0) {
			out->success++;
			continue;
		}
		out->fail++;
		val_push(j->arena, &out->failed_recipients, val_str(j->arena, r[i].email));
		val_push(j->arena, &out->errors, val_cstr(j->arena, arena_printf(j->arena, "%.*s: %s", SLICE_ARG(r[i].email), err_text())));
		if (!out->done[i])
			out->retry_why = out->errors.items[out->errors.n - 1].s;
	}
	return 0;
}

struct val inject_result_val(struct arena *a, const struct inject_result *r)
{
	struct val v = val_obj();

	val_put_lit(a, &v, "success_count", val_int(r->success));
	val_put_lit(a, &v, "fail_count", val_int(r->fail));
	val_put_lit(a, &v, "failed_recipients", r->failed_recipients);
	val_put_lit(a, &v, "errors", r->errors);
	return v;
}

/* --- the endpoint ------------------------------------------------------------------------------------------------------ */

static int origin_of(struct api_call *c, struct inject_origin *o)
{
	struct buf via = { 0 };

	o->auth = &c->auth;
	o->peer = c->req->peer.ip;
	ipaddr_put(&via, &c->req->local.ip);
	o->via = arena_dup(c->arena, buf_view(&via));
	o->hostname = api_listener_hostname(c);
	buf_fini(&via);
	return 0;
}

/* null is as good as nothing in most places; here it is refused, as it always was. */
static bool has_null(struct api_call *c, const struct val *source)
{
	static const char *const NAMES[] = { "substitutions", "trace_headers" };

	for (size_t i = 0; i < ARRAY_LEN(NAMES); i++) {
		const struct val *v = val_get(source, slice_from_cstr(NAMES[i]));
		if (!v || v->type != VAL_NULL)
			continue;
		http_respond(c->resp, 422, "Failed to deserialize the JSON body into the target type: %s: invalid type: null, expected %s", NAMES[i],
			     i ? "struct" : "a map");
		return true;
	}
	return false;
}

void api_inject(struct api_call *c)
{
	const char *refusal = intake_refusal();
	struct inject_origin origin = { 0 };
	struct inject_request req;
	struct inject_result result;
	struct inject_job job;
	struct val source;

	if (refusal) {
		http_respond(c->resp, 503, "%s", refusal);
		return;
	}
	if (api_body_with_val(c, &API_INJECT_REQUEST, &req, &source) < 0 || has_null(c, &source))
		return;
	int rc = wait_rate(req.recipients.n);
	if (rc == 0)
		rc = origin_of(c, &origin);
	if (rc < 0) {
		api_fail(c, rc);
		return;
	}
	rc = inject_job_init(&job, c->arena, &source, &req, &origin);
	if (rc < 0) {
		http_respond(c->resp, 422, "Error: %s", err_text());
	} else if ((rc = inject_run(&job, &result)) < 0) {
		api_fail(c, rc == -E_INVAL ? -E_POLICY : rc);
	} else {
		struct val v = inject_result_val(c->arena, &result);
		api_json(c, &v);
	}
	inject_job_fini(&job);
}

/* --- deferred generation ----------------------------------------------------------------------------------------------- */

static int origin_of_request(struct msg *m, struct arena *a, struct val *auth, struct inject_origin *o)
{
	struct val peer, via, host;
	int rc = msg_meta_get(m, SLICE("auth_info"), a, auth);

	if (rc == 0 && (rc = msg_meta_get(m, SLICE("received_from"), a, &peer)) == 0 && (rc = msg_meta_get(m, SLICE("received_via"), a, &via)) == 0)
		rc = msg_meta_get(m, SLICE("hostname"), a, &host);
	if (rc == 0 && (peer.type != VAL_STR || ipaddr_parse(peer.s, &o->peer) < 0))
		rc = err_set(E_INVAL, "received_from metadata is missing");
	if (rc < 0)
		return rc;
	if (auth->type != VAL_OBJ)
		*auth = aaa_auth_info(a, &o->peer);
	o->auth = auth;
	o->via = via.type == VAL_STR ? via.s : SLICE_NONE;
	o->hostname = host.type == VAL_STR ? host.s : SLICE_NONE;
	return 0;
}

/* The client was told of success: those who cannot have a message get a final record at least. */
static int bounce_refused(struct dispatcher *d, struct msg *m, const struct inject_job *j, const struct inject_result *res)
{
	const struct inject_recipient *r = j->req.recipients.items;
	size_t nth = 0;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < j->req.recipients.n && nth < res->errors.n; i++) {
		bool failed = slice_eq(res->failed_recipients.items[nth].s, r[i].email);
		if (failed && res->refused[i]) {
			struct smtp_response why = { .code = 550, .content = res->errors.items[nth].s };
			struct log_event ev = dispatch_event(d, LOG_BOUNCE, m, why);
			ev.recipients = &r[i].email;
			ev.n_recipients = 1;
			rc = log_disposition(&ev);
		}
		nth += failed;
	}
	return rc;
}

/* Only those whose turn comes again stay in the request; how many. */
static size_t keep_the_rest(struct msg *m, struct inject_job *j, const struct inject_result *res)
{
	const struct val *all = val_get_lit(j->source, "recipients");
	struct val source = val_copy(j->arena, j->source), rest = val_list();
	struct rt_shield shield;
	struct buf text = { 0 };
	size_t len;

	for (uint32_t i = 0; i < all->n; i++)
		if (!res->done[i])
			val_push(j->arena, &rest, val_copy(j->arena, &all->items[i]));
	if (rest.n == 0 || rest.n == all->n)
		return rest.n;
	val_put_lit(j->arena, &source, "recipients", rest);
	json_put(&text, &source, JSON_COMPACT);
	char *data = buf_take(&text, &len);
	msg_set_body(m, msg_body_take(data, len));
	rt_shield_enter(&shield);
	if (msg_save(m) < 0)
		diag_error("kumod", "what is left of a request for deferred generation could not be saved: %s", err_text());
	rt_shield_leave(&shield);
	return rest.n;
}

/* 0: all recipients have a message or a final record. Otherwise the request holds those who don't. */
static int run_request(struct dispatcher *d, struct msg *m, struct inject_job *job)
{
	struct inject_result res;
	int rc = inject_run(job, &res);
	const char *why = rc < 0 ? arena_strdup(job->arena, slice_from_cstr(err_text())) : NULL;
	int bounced = bounce_refused(d, m, job, &res);
	size_t left = keep_the_rest(m, job, &res);

	if (rc < 0)
		return err_set((enum err_code)-rc, "%s", why);
	if (bounced < 0 || left == 0)
		return bounced;
	return err_set(E_AGAIN, "%zu recipients have no message yet: %.*s", left, SLICE_ARG(res.retry_why));
}

static int generate(struct dispatcher *d, struct msg *m)
{
	struct arena *a = arena_create();
	struct inject_request req;
	struct inject_job job = { 0 };
	struct inject_origin origin = { 0 };
	struct val source, auth;
	struct msg_body *body = NULL;

	int rc = msg_body(m, &body);
	if (rc == 0)
		rc = json_parse(msg_body_view(body), a, &source);
	if (rc == 0)
		rc = opt_parse(&API_INJECT_REQUEST, &source, a, &req);
	if (rc == 0)
		rc = origin_of_request(m, a, &auth, &origin);
	if (rc == 0) {
		rc = inject_job_init(&job, a, &source, &req, &origin);
		if (rc == 0)
			rc = run_request(d, m, &job);
		inject_job_fini(&job);
	}
	if (body)
		msg_body_unref(&body);
	arena_destroy(&a);
	return rc;
}

static int gen_init(struct dispatcher *d) { return 0; }

static int gen_connect(struct dispatcher *d)
{
	if (d->counted)
		return CONNECT_REUSED;
	dispatch_connected(d);
	return CONNECT_NEW;
}

static bool gen_more(struct dispatcher *d) { return false; }

static int gen_deliver(struct dispatcher *d)
{
	while (d->n_msgs) {
		struct msg *m = d->msgs[0];
		struct smtp_response ok = { .code = 200, .content = SLICE("ok") };
		const char *refusal = intake_refusal();
		if (refusal)	/* the request waits: what it makes could not be taken */
			return err_set(E_AGAIN, "%s", refusal);
		int rc = generate(d, m);
		if (rc == -E_CANCELED || rc == -E_TIMEOUT || rc == -E_SHUTDOWN || rc == -E_AGAIN)
			return rc;
		if (rc < 0) {
			struct smtp_response failed = { .code = 500, .content = slice_from_cstr(err_text()) };
			struct arena *a = arena_create();
			failed.content = arena_dup(a, failed.content);
			struct log_event ev = dispatch_event(d, LOG_BOUNCE, m, failed);
			rc = log_disposition(&ev);
			arena_destroy(&a);
			if (rc < 0)
				return rc;
			dispatch_bounced(d, 0);
			continue;
		}
		ok.code = 250;
		struct log_event ev = dispatch_event(d, LOG_DELIVERY, m, ok);
		if ((rc = log_disposition(&ev)) < 0)
			return rc;
		dispatch_delivered(d, 0);
	}
	return 0;
}

static bool gen_close(struct dispatcher *d)
{
	bool had = d->counted;

	if (had)
		dispatch_disconnected(d);
	return had;
}

static void gen_fini(struct dispatcher *d)
{
	(void)gen_close(d);
}

void inject_register(void)
{
	static const struct queue_protocol GENERATOR = {
		.init = gen_init, .connect = gen_connect, .more_candidates = gen_more, .deliver = gen_deliver, .close = gen_close, .fini = gen_fini,
	};

	policy_event_register(&EV_GENERATED);
	dispatch_register(PROTO_HTTP_GENERATOR, &GENERATOR);
}
