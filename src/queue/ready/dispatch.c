/* SPDX-License-Identifier: Apache-2.0 */
/* dispatch - the life of a dispatcher: leases, messages, connection, delivery, idle time, end. */
#include "queue/ready/dispatch.h"
#include <stdio.h>
#include <stdlib.h>
#include "base/timefmt.h"
#include "base/xalloc.h"
#include "queue/admin/int.h"
#include "queue/ready/dispatch_int.h"
#include "queue/health.h"
#include "queue/record.h"
#include "rt/clock.h"
#include "rt/diag.h"
#include "rt/fiber.h"
#include "rt/loop.h"
#include "spool/spool.h"

static const struct queue_protocol *protocols[PROTO_COUNT];

void dispatch_register(enum queue_proto p, const struct queue_protocol *ops) { protocols[p] = ops; }

/* --- leases ---------------------------------------------------------------------------------------------------------------------- */

struct limit_slot {
	struct slice name;
	const struct limit_spec *spec;
};

static int limit_cmp(const void *pa, const void *pb)
{
	const struct limit_slot *a = pa, *b = pb;
	return a->spec->limit < b->spec->limit ? -1 : a->spec->limit > b->spec->limit;
}

/* How long a connection may live: what a lease is taken for, and extended by at each message. */
static int64_t lifetime_ns(const struct path_opts *o)
{
	return o->connect_timeout + o->banner_timeout + o->ehlo_timeout + o->auth_timeout + o->starttls_timeout + o->mail_from_timeout +
	       o->rcpt_to_timeout + o->data_timeout + o->data_dot_timeout + o->rset_timeout + o->idle_timeout;
}

/* Waits for one lease, as long as there is work that it would be for. */
static int lease_wait(struct dispatcher *d, const struct limit_slot *s, struct lease *out)
{
	struct ready_queue *q = d->rq;
	int64_t life = lifetime_ns(dispatch_path(d));
	int rc = lease_acquire(s->name, s->spec, life, 0, out);
	if (rc != -E_LIMIT)
		return rc;
	ready_set_state(q, true, "acquiring connection lease %.*s", SLICE_ARG(s->name));
	rt_lock(&q->lock);
	q->n_waiting++;
	rt_unlock(&q->lock);
	while ((rc = lease_acquire(s->name, s->spec, life, 2000, out)) == -E_LIMIT && !queue_stopping() && ready_len(q) > 0)
		;
	rt_lock(&q->lock);
	q->n_waiting--;
	rt_unlock(&q->lock);
	ready_set_state(q, true, NULL);
	return rc;
}

/*
 * The path's own limit is kept by counting connections; it is a lease only when nodes share it. All others are leases, taken from the smallest up so
 * that no place in a larger one is held in vain.
 */
static int leases_acquire(struct dispatcher *d)
{
	const struct path_opts *o = dispatch_path(d);
	const struct opt_map *more = &o->additional_connection_limits;
	const struct limit_spec *specs = more->items;
	struct buf own = { 0 };
	size_t n = 0;
	int rc = 0;

	bool shared = throttle_is_shared() && !o->connection_limit.local;
	if (more->n == 0 && !shared)
		return 0;
	struct limit_slot *slots = xcalloc(more->n + 1, sizeof(*slots));
	d->leases = xcalloc(more->n + 1, sizeof(*d->leases));
	buf_printf(&own, "kumomta.connection_limit.%.*s", SLICE_ARG(d->rq->name));
	if (shared)
		slots[n++] = (struct limit_slot){ buf_view(&own), &o->connection_limit };
	for (size_t i = 0; i < more->n; i++)
		slots[n++] = (struct limit_slot){ more->keys[i], &specs[i] };
	qsort(slots, n, sizeof(*slots), limit_cmp);
	dispatch_phase(d, PHASE_LEASE);
	for (size_t i = 0; i < n && rc == 0; i++)
		if ((rc = lease_wait(d, &slots[i], &d->leases[d->n_leases])) == 0)
			d->n_leases++;
	free(slots);
	buf_fini(&own);
	return rc;
}

static void leases_release(struct dispatcher *d)
{
	for (uint32_t i = 0; i < d->n_leases; i++)
		lease_release(&d->leases[i]);
	d->n_leases = 0;
	free(d->leases);
	d->leases = NULL;
}

static bool leases_extend(struct dispatcher *d)
{
	for (uint32_t i = 0; i < d->n_leases; i++)
		if (lease_extend(&d->leases[i], lifetime_ns(dispatch_path(d))) < 0)
			return false;
	return true;
}

/* --- taking messages --------------------------------------------------------------------------------------------------------------- */

/* A bounce or suspension that was made since the message became ready. True: it has been dealt with. */
static bool stopped_by_admin(struct dispatcher *d, struct msg *m)
{
	struct buf name = { 0 }, text = { 0 };
	struct queue_name parts;
	bool held = false;
	if (!atomic_load(&admin_n_bounces) && !atomic_load(&admin_n_suspends))
		return false;
	if (msg_queue_name(m, &name) < 0) {
		buf_fini(&name);
		return false;
	}
	queue_name_parse(buf_view(&name), &parts);
	struct bounce *b = admin_bounce_match(buf_view(&name), &parts);
	buf_lit(&text, "KumoMTA internal: scheduled queue is suspended: ");
	if (b) {
		admin_bounce_message(b, m, buf_view(&name));
		held = true;
	} else if (admin_suspend_match(buf_view(&name), &parts, &text)) {
		struct smtp_response r = response_of(451, 404, buf_view(&text));
		struct log_event ev = record_of(LOG_TRANSIENT_FAILURE, m, d->rq->name, r);
		record_write(&ev);
		sched_requeue(m, true, -1, &r, context_of(WHY_LOGGED));
		held = true;
	}
	buf_fini(&name);
	buf_fini(&text);
	return held;
}

static uint32_t max_batch(struct dispatcher *d) { return d->proto->max_batch ? d->proto->max_batch(d) : 1; }
static uint32_t min_batch(struct dispatcher *d) { return d->rq->proto == PROTO_LUA ? (uint32_t)dispatch_protocol(d)->min_batch_size : 1; }

/* Fills the batch from the queue; whether there is enough of it to go. */
static bool take_messages(struct dispatcher *d)
{
	uint32_t max = max_batch(d);
	if (spool_delivery_suspension_reason())
		return false;
	while (d->n_msgs < max) {
		struct msg *m = ready_pop(d->rq);
		if (!m)
			break;
		if (stopped_by_admin(d, m))
			continue;
		if (d->n_msgs == d->cap_msgs) {
			d->cap_msgs = d->cap_msgs ? 2 * d->cap_msgs : 1;
			d->msgs = xreallocarray(d->msgs, d->cap_msgs, sizeof(*d->msgs));
		}
		d->msgs[d->n_msgs++] = m;
	}
	bool enough = d->n_msgs >= min_batch(d) && d->n_msgs > 0;
	if (enough)
		d->batch_started_ms = 0;
	return enough;
}

/* The newest configuration, between two messages. */
static void refresh_path(struct dispatcher *d)
{
	struct conf *path = ready_path(d->rq);
	conf_unref(&d->path);
	d->path = path;
}

/* Whether the queue must not be worked on now; its messages then look for another way. */
static bool queue_suspended(struct dispatcher *d)
{
	enum queue_reason why;
	if (spool_delivery_suspension_reason())
		why = WHY_SPOOL;
	else if (admin_ready_suspended(d->rq->name, NULL, NULL))
		why = WHY_READY_SUSPENDED;
	else if (source_suspended_ms(d->rq->source_name) > 0)
		why = WHY_SOURCE;
	else
		return false;
	while (d->n_msgs > 0)
		sched_reinsert(dispatch_done(d, d->n_msgs - 1), context_of(why));
	ready_reinsert_all(d->rq, why);
	return true;
}

static int64_t idle_wait_ms(struct dispatcher *d, int64_t idle_until)
{
	int64_t left = idle_until - rt_now_ms();
	if (d->n_msgs > 0) {	/* a batch that is not full waits no longer than its latency */
		if (!d->batch_started_ms)
			d->batch_started_ms = rt_now_ms();
		left = MIN(left, d->batch_started_ms + dispatch_protocol(d)->max_batch_latency / 1000000 - rt_now_ms());
	}
	return left;
}

/* Parks until somebody has work or the time is over. False: nothing came. */
static bool park(struct dispatcher *d, int64_t left)
{
	struct ready_queue *q = d->rq;
	bool woken;
	int rc = 0;
	rt_lock(&q->lock);
	if (q->n > 0 || queue_stopping() || left <= 0) {
		woken = q->n > 0;
		rt_unlock(&q->lock);
		return woken;
	}
	list_insert(&q->idle, &d->in_idle);	/* in front: the latest is the warmest */
	rc = rt_cond_wait(&d->wake, &q->lock, left);
	woken = !list_linked(&d->in_idle);
	if (!woken)
		list_remove(&d->in_idle);
	rt_unlock(&q->lock);
	return woken && rc != -E_CANCELED;
}

/* Waits for enough messages. False: the connection is to be closed. */
static bool wait_for_messages(struct dispatcher *d)
{
	refresh_path(d);
	const struct path_opts *o = dispatch_path(d);
	if (queue_stopping() || rt_check() < 0)
		return false;
	if (d->delivered_this_connection >= o->max_deliveries_per_connection && d->proto->close(d))
		return false;
	if (queue_suspended(d))
		return false;
	if (!leases_extend(d))
		return false;
	int64_t idle_until = rt_now_ms() + o->idle_timeout / 1000000;
	while (!take_messages(d)) {
		int64_t left = idle_wait_ms(d, idle_until);
		if (queue_stopping() || rt_check() < 0 || d->abort_asked)
			return false;
		if (left <= 0) {
			d->batch_started_ms = 0;
			return d->n_msgs > 0;
		}
		dispatch_phase(d, d->n_msgs ? PHASE_BATCH : PHASE_IDLE);
		park(d, left);
		if (queue_suspended(d))
			return false;
	}
	return true;
}

/* --- connecting and delivering -------------------------------------------------------------------------------------------------------- */

static void note_failure(struct dispatcher *d)
{
	char *all = d->failures ? xasprintf("%s, %s", d->failures, err_text()) : xstrdup(err_text());
	free(d->failures);
	d->failures = all;
}

/* Every candidate has failed: so has each message in hand. */
static void connect_failed(struct dispatcher *d)
{
	struct buf b = { 0 };
	buf_printf(&b, "KumoMTA internal: failed to connect to any candidate hosts: %s", d->failures ? d->failures : "");
	struct smtp_response r = response_of(400, 0, buf_view(&b));
	while (d->n_msgs > 0) {
		struct log_event ev = dispatch_event(d, LOG_TRANSIENT_FAILURE, d->msgs[0], r);
		record_write(&ev);
		dispatch_transfail(d, 0, &r);
	}
	buf_fini(&b);
	if (atomic_fetch_add(&d->rq->conn_failures, 1) > dispatch_path(d)->consecutive_connection_failures_before_delay)
		dispatch_bulk(d, response_of(451, 401, SLICE("bulk delay of ready queue: too many successive connection failures where there was no answer from any hosts listed in MX")), WHY_CONN_FAILURES);
}

static void deliver_failed(struct dispatcher *d)
{
	struct buf b = { 0 };
	buf_printf(&b, "KumoMTA internal: error in deliver_message: %s", err_text());
	struct smtp_response r = response_of(400, 0, buf_view(&b));
	while (d->n_msgs > 0) {
		struct log_event ev = dispatch_event(d, LOG_TRANSIENT_FAILURE, d->msgs[0], r);
		record_write(&ev);
		dispatch_transfail(d, 0, &r);
	}
	buf_fini(&b);
}

/* max_message_rate and its like. 1: the messages are gone. */
static int wait_message_rates(struct dispatcher *d)
{
	const struct path_opts *o = dispatch_path(d);
	struct throttle_slot slots[THROTTLE_SLOTS];
	struct buf name = { 0 };
	int rc = 0;
	if (!rate_given(&o->max_message_rate) && !o->additional_message_rate_throttles.n)
		return 0;
	buf_printf(&name, "kumomta.max_message_rate.%.*s", SLICE_ARG(d->rq->name));
	size_t n = throttle_collect(slots, buf_view(&name), &o->max_message_rate, &o->additional_message_rate_throttles);
	for (size_t i = 0; i < n && rc == 0; i++)
		rc = dispatch_wait_rate(d, slots[i].name, slots[i].rate, PHASE_THROTTLED, WHY_MESSAGE_RATE);
	buf_fini(&name);
	return rc;
}

static int deliver(struct dispatcher *d)
{
	int rc = wait_message_rates(d);
	if (rc != 0)
		return rc < 0 ? rc : 0;
	dispatch_phase(d, PHASE_DELIVERING);
	int64_t start = rt_now_us_exact();
	d->delivered_this_connection += d->n_msgs;
	rc = d->proto->deliver(d);
	metric_observe(d->rq->metrics.latency, (double)(rt_now_us_exact() - start) / 1e6);
	return rc;
}

enum step { STEP_GO_ON, STEP_END, STEP_FAILED };

/* Has a connection for the messages in hand, or says how this ends. */
static enum step connect_step(struct dispatcher *d, bool *connected)
{
	*connected = false;
	dispatch_phase(d, PHASE_CONNECTING);
	int rc = d->proto->connect(d);
	switch (rc) {
	case CONNECT_NEW:
	case CONNECT_REUSED:
		*connected = true;
		free(d->failures);
		d->failures = NULL;
		atomic_store(&d->rq->conn_failures, 0);
		return STEP_GO_ON;
	case CONNECT_PEER_CLOSED_CONTINUE:
		return STEP_GO_ON;
	case CONNECT_PEER_CLOSED:
		while (d->n_msgs > 0)
			sched_reinsert(dispatch_done(d, d->n_msgs - 1), context_of(WHY_PEER_CLOSED));
		return STEP_END;
	case CONNECT_NOTHING_TO_DO:
		return STEP_END;
	}
	if (rt_check() < 0 || rc == -E_SHUTDOWN)
		return STEP_END;
	note_failure(d);
	if (d->proto->more_candidates(d))
		return STEP_GO_ON;
	connect_failed(d);
	return STEP_FAILED;
}

static enum step dispatch_loop(struct dispatcher *d)
{
	for (;;) {
		bool connected;
		if (queue_stopping() || (d->proto->finished && d->proto->finished(d)))
			return STEP_END;
		if (d->n_msgs == 0 || d->batch_started_ms || d->delivered_this_connection >= dispatch_path(d)->max_deliveries_per_connection)
			if (!wait_for_messages(d))
				return STEP_END;
		enum step s = connect_step(d, &connected);
		if (s != STEP_GO_ON)
			return s;
		if (!connected)
			continue;
		int rc = deliver(d);
		if (rt_check() < 0)
			return STEP_END;
		if (rc < 0 && rc != -E_SHUTDOWN)
			deliver_failed(d);
	}
}

/* --- begin and end ------------------------------------------------------------------------------------------------------------------------- */

static enum step dispatch_session(struct dispatcher *d)
{
	int rc = leases_acquire(d);
	if (rc < 0) {
		if (rc != -E_LIMIT && rc != -E_CANCELED)
			diag_error("kumo.queue", "%.*s: connection lease: %s", SLICE_ARG(d->rq->name), err_text());
		return STEP_FAILED;
	}
	if (d->proto->init && (rc = d->proto->init(d)) != 0) {
		if (rc < 0)
			diag_error("kumo.queue", "%.*s: %s", SLICE_ARG(d->rq->name), err_text());
		return rc < 0 ? STEP_FAILED : STEP_END;
	}
	if (!dispatch_path(d)->aggressive_connection_opening) {
		if (queue_stopping() || queue_suspended(d))
			return STEP_END;
		take_messages(d);
		if (d->n_msgs == 0)	/* another one was quicker */
			return STEP_END;
		if (d->n_msgs < min_batch(d))
			d->batch_started_ms = rt_now_ms();
	}
	return dispatch_loop(d);
}

/*
 * Messages that nobody has dealt with. When the session came to its end in order, another one gets them at once, with a fresh plan; when it was ended from
 * outside, they wait a little.
 */
static void return_messages(struct dispatcher *d, enum step how)
{
	struct buf b = { 0 };
	struct smtp_response r = response_of(451, 401, SLICE("KumoMTA internal: returning message to scheduled queue"));
	struct queue_context ctx = context_of(WHY_DISPATCHER);

	if (d->watchdog_fired && d->n_msgs) {
		dispatch_put_watchdog(d, &b);
		r.content = buf_view(&b);
		context_add(&ctx, WHY_LOGGED);
	}
	while (d->n_msgs > 0) {
		struct msg *m = dispatch_done(d, d->n_msgs - 1);
		if (queue_stopping()) {
			sched_leave_to_spool(m);
			continue;
		}
		if (how == STEP_END && !d->watchdog_fired && !d->abort_asked) {
			sched_reinsert(m, context_of(WHY_PEER_CLOSED));
			continue;
		}
		if (d->watchdog_fired) {
			struct log_event ev = dispatch_event(d, LOG_DELAYED, m, r);
			record_write(&ev);
		}
		sched_requeue(m, false, -1, &r, ctx);
	}
	buf_fini(&b);
}

static void dispatch_end(struct dispatcher *d, enum step how)
{
	struct ready_queue *q = d->rq;
	struct rt_shield sh;

	dispatch_phase(d, PHASE_CLOSING);
	if (how == STEP_END && rt_check() == 0)
		d->proto->close(d);
	rt_shield_enter(&sh);
	return_messages(d, how);
	d->proto->fini(d);
	dispatch_disconnected(d);
	leases_release(d);
	rt_lock(&q->lock);
	list_remove(&d->in_conns);
	q->n_conns--;
	q->last_change_ms = rt_now_ms();
	if (how == STEP_FAILED)
		q->no_conn_until_ms = rt_now_ms() + 1000;
	struct rt_fiber *self = d->fiber;
	d->fiber = NULL;
	rt_unlock(&q->lock);
	rt_fiber_unref(&self);
	ready_assess(q);
	rt_shield_leave(&sh);

	conf_unref(&d->path);
	conf_unref(&d->queue_conf);
	ready_unref(&d->rq);
	free(d->failures);
	free(d->msgs);
	OBJ_FINI(d, DISPATCH_MAGIC);
	free(d);
}

static void dispatch_fiber(void *arg)
{
	struct dispatcher *d = arg;
	struct ready_queue *q = d->rq;
	rt_lock(&q->lock);
	d->fiber = rt_fiber_ref(rt_fiber_self());
	d->shard = rt_shard_index();
	d->queue_conf = conf_ref(q->queue_conf);
	d->path = conf_ref(q->path);
	rt_unlock(&q->lock);
	dispatch_end(d, dispatch_session(d));
}

static int no_connect(struct dispatcher *d)
{
	return err_set(E_UNSUPPORTED, "this program has no delivery protocol `%s`", queue_proto_name(d->rq->proto));
}
static bool no_more(struct dispatcher *d) { return false; }
static int no_deliver(struct dispatcher *d) { return no_connect(d); }
static bool no_close(struct dispatcher *d) { return false; }
static void no_fini(struct dispatcher *d) { }
static const struct queue_protocol NO_PROTOCOL = { .connect = no_connect, .more_candidates = no_more, .deliver = no_deliver, .close = no_close, .fini = no_fini };

static void put_session_text(struct dispatcher *d)
{
	struct buf b = { 0 };
	uuid_put(&b, d->session_id);
	memcpy(d->session_text, b.ptr, MIN(b.len, sizeof(d->session_text) - 1));
	buf_fini(&b);
}

void dispatch_start(struct ready_queue *q)
{
	struct dispatcher *d = xzalloc(sizeof(*d));
	OBJ_INIT(d, DISPATCH_MAGIC);
	d->rq = ready_ref(q);
	d->proto = protocols[q->proto] ? protocols[q->proto] : &NO_PROTOCOL;
	d->session_id = uuid_v4();
	put_session_text(d);
	d->started_us = d->phase_us = rt_wall_us();
	atomic_store(&d->progress_ms, rt_now_ms());
	rt_cond_init(&d->wake);
	list_init(&d->in_idle);
	list_push(&q->conns, &d->in_conns);
	/* The first one where the message is; the others wherever there is room. */
	struct rt_shard *s = q->n_conns == 0 ? rt_shard_self() : NULL;
	q->n_conns++;
	rt_fiber_spawn_on(s ? s : rt_shard_next(), "dispatcher", dispatch_fiber, d);
}
