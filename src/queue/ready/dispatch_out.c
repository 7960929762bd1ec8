/* SPDX-License-Identifier: Apache-2.0 */
/* dispatch_out - what becomes of the messages that a dispatcher has in hand, and what it shows of itself. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/timefmt.h"
#include "base/xalloc.h"
#include "queue/ready/dispatch_int.h"
#include "queue/record.h"
#include "rt/clock.h"
#include "rt/diag.h"
#include "rt/fiber.h"

static const char *const PHASES[] = {
#define X(n, t) [n] = t,
	DISPATCH_PHASES(X)
#undef X
};

/* Does not wait. */
static void dispatch_progress(struct dispatcher *d) { atomic_store_explicit(&d->progress_ms, rt_now_ms(), memory_order_relaxed); }

void dispatch_phase(struct dispatcher *d, enum dispatch_phase p)
{
	if (d->phase != p) {
		rt_lock(&d->rq->lock);
		d->phase = p;
		d->phase_us = rt_wall_us();
		rt_unlock(&d->rq->lock);
	}
	dispatch_progress(d);
}

void dispatch_detail(struct dispatcher *d, const char *fmt, ...)
{
	char text[sizeof(d->detail)];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	rt_lock(&d->rq->lock);
	memcpy(d->detail, text, sizeof(text));
	rt_unlock(&d->rq->lock);
	dispatch_progress(d);
}

void dispatch_connected(struct dispatcher *d)
{
	if (!d->counted)
		ready_metrics_conn(&d->rq->metrics, 1);
	d->counted = true;
	d->delivered_this_connection = 0;
}

void dispatch_disconnected(struct dispatcher *d)
{
	if (d->counted)
		ready_metrics_conn(&d->rq->metrics, -1);
	d->counted = false;
}

struct log_event dispatch_event(const struct dispatcher *d, enum log_type type, struct msg *m, struct smtp_response r)
{
	return (struct log_event){
		.type = type,
		.msg = m,
		.site = d->rq->name,
		.response = r,
		.egress_pool = d->rq->pool,
		.egress_source = d->rq->source_name,
		.delivery_protocol = slice_from_cstr(queue_proto_log_name(d->rq->proto)),
		.session_id = slice_new(d->session_text, 36),
		.provider_name = dispatch_path(d)->provider_name,
	};
}

struct msg *dispatch_done(struct dispatcher *d, uint32_t i)
{
	assert(i < d->n_msgs);
	struct msg *m = d->msgs[i];
	memmove(d->msgs + i, d->msgs + i + 1, (d->n_msgs - i - 1) * sizeof(*d->msgs));
	d->n_msgs--;
	dispatch_progress(d);
	return m;
}

void dispatch_count(struct dispatcher *d, enum outcome o, int64_t n)
{
	ready_metrics_outcome(&d->rq->metrics, o, n);
	atomic_fetch_add_explicit(&d->out[o], n, memory_order_relaxed);
}

static void finish(struct dispatcher *d, uint32_t i, enum outcome o)
{
	struct msg *m = dispatch_done(d, i);
	struct rt_shield sh;
	dispatch_count(d, o, 1);
	rt_shield_enter(&sh);
	msg_remove(m);
	rt_shield_leave(&sh);
	msg_unref(&m);
}

void dispatch_delivered(struct dispatcher *d, uint32_t i) { finish(d, i, OUT_DELIVERED); }
void dispatch_bounced(struct dispatcher *d, uint32_t i) { finish(d, i, OUT_FAIL); }

void dispatch_transfail(struct dispatcher *d, uint32_t i, const struct smtp_response *r)
{
	struct msg *m = dispatch_done(d, i);
	dispatch_count(d, OUT_TRANSFAIL, 1);
	sched_requeue(m, true, -1, r, context_of(WHY_LOGGED));
}

/* Moves what is in hand and all that is ready into TO. */
static size_t take_everything(struct dispatcher *d, struct list *to)
{
	list_init(to);
	for (uint32_t i = 0; i < d->n_msgs; i++)
		list_push(to, &msg_link(d->msgs[i])->node);
	size_t n = d->n_msgs;
	d->n_msgs = 0;
	return n + ready_take_all(d->rq, to);
}

void dispatch_bulk(struct dispatcher *d, struct smtp_response r, enum queue_reason why)
{
	struct list all, *l;
	struct rt_shield sh;
	size_t n = take_everything(d, &all);
	bool permanent = r.code >= 500;

	if (n)
		dispatch_count(d, permanent ? OUT_FAIL : OUT_TRANSFAIL, n);
	rt_shield_enter(&sh);
	while ((l = list_pop(&all))) {
		struct msg *m = msg_from_link(LIST_ENTRY(l, struct msg_link, node));
		struct log_event ev = dispatch_event(d, permanent ? LOG_BOUNCE : LOG_TRANSIENT_FAILURE, m, r);
		ev.delivery_protocol = SLICE_NONE;
		record_write(&ev);
		dispatch_progress(d);
		if (permanent) {
			msg_remove(m);
			msg_unref(&m);
		} else {
			sched_requeue(m, true, -1, &r, context_with(context_of(why), WHY_LOGGED));
		}
	}
	rt_shield_leave(&sh);
}

/* Work for a fiber of its own: the dispatcher closes its connection meanwhile. */
struct throttled {
	struct list msgs;
	int64_t delay_ms;
	enum queue_reason why;
};

static void throttled_fiber(void *arg)
{
	struct throttled *t = arg;
	struct smtp_response r = response_of(451, 401, SLICE("KumoMTA internal: ready queue throttled"));
	struct list *l;
	while ((l = list_pop(&t->msgs)))
		sched_requeue(msg_from_link(LIST_ENTRY(l, struct msg_link, node)), false, t->delay_ms, &r, context_of(t->why));
	free(t);
}

/* All in hand and all that are ready: requeued after DELAY, without a record, attempts unchanged. */
static void dispatch_throttle_all(struct dispatcher *d, int64_t delay_ns, enum queue_reason why)
{
	struct throttled *t = xzalloc(sizeof(*t));
	t->delay_ms = MAX((delay_ns + 999999) / 1000000, 1);
	t->why = why;
	if (take_everything(d, &t->msgs))
		sched_spawn("throttled requeue", throttled_fiber, t);
	else
		free(t);
}

int dispatch_wait_rate(struct dispatcher *d, struct slice name, const struct rate_spec *rate, enum dispatch_phase p, enum queue_reason why)
{
	bool waited = false;
	for (;;) {
		struct throttle_result t;
		int rc = throttle_check(name, rate, 1, &t);
		if (rc < 0) {
			err_prefix("throttle %.*s", SLICE_ARG(name));
			return rc;
		}
		if (!t.throttled)
			break;
		if (t.retry_after_ns >= dispatch_path(d)->idle_timeout) {
			dispatch_throttle_all(d, t.retry_after_ns, why);
			return 1;
		}
		if (!waited && p == PHASE_CONN_THROTTLED)
			ready_set_state(d->rq, false, "connection rate throttled for %.*s", SLICE_ARG(name));
		waited = true;
		dispatch_phase(d, p);
		for (int64_t left = (t.retry_after_ns + 999999) / 1000000; left > 0; left -= 500) {
			if ((rc = rt_sleep_ms(MIN(left, 500))) < 0)
				return rc;
			if (queue_stopping())
				return err_set(E_SHUTDOWN, "stopping");
			dispatch_progress(d);
		}
	}
	if (waited && p == PHASE_CONN_THROTTLED)
		ready_set_state(d->rq, false, NULL);
	return 0;
}

/* --- seen from outside ---------------------------------------------------------------------------------------------------------------- */

bool dispatch_abort(struct ready_queue *q, struct uuid session_id)
{
	bool found = false;
	rt_lock(&q->lock);
	LIST_EACH(l, &q->conns) {
		struct dispatcher *d = LIST_ENTRY(l, struct dispatcher, in_conns);
		if (!uuid_eq(d->session_id, session_id) || !d->fiber)
			continue;
		d->abort_asked = true;
		rt_fiber_cancel(d->fiber);
		found = true;
	}
	rt_unlock(&q->lock);
	return found;
}

int64_t dispatch_watchdog_ms(struct ready_queue *q)
{
	const struct path_opts *o = path_opts_of(q->path);
	if (o->has_watchdog)
		return o->dispatcher_progress_watchdog_timeout / 1000000;
	if (q->proto != PROTO_SMTP && q->proto != PROTO_XFER)
		return 600000;
	const int64_t each[] = { o->mail_from_timeout, o->rcpt_to_timeout, o->data_timeout, o->data_dot_timeout };
	int64_t longest = 0;
	for (size_t i = 0; i < ARRAY_LEN(each); i++)
		longest = MAX(longest, each[i]);
	return MAX(2 * longest / 1000000, 60000);
}

void dispatch_check_progress(struct ready_queue *q)
{
	int64_t now = rt_now_ms();
	rt_lock(&q->lock);
	LIST_EACH(l, &q->conns) {
		struct dispatcher *d = LIST_ENTRY(l, struct dispatcher, in_conns);
		int64_t left = atomic_load(&d->progress_ms) + dispatch_watchdog_ms(q) - now;
		if (d->phase == PHASE_IDLE || d->phase == PHASE_LEASE || !d->fiber || d->watchdog_fired)
			continue;
		if (left > 0)
			continue;
		d->watchdog_fired = true;
		d->stuck_phase = d->phase;
		d->stuck_us = d->phase_us;
		metric_add(q->metrics.watchdog, 1);
		diag_error("kumo.queue", "%.*s: a connection made no progress for %lld ms in %s and is ended", SLICE_ARG(q->name), (long long)dispatch_watchdog_ms(q), PHASES[d->phase]);
		rt_fiber_cancel(d->fiber);
	}
	rt_unlock(&q->lock);
}

static void put_age(struct buf *b, int64_t since_us) { duration_put(b, MAX(rt_wall_us() - since_us, 0) * 1000); }

void dispatch_put_watchdog(struct dispatcher *d, struct buf *b)
{
	rt_lock(&d->rq->lock);
	buf_printf(b, "dispatcher watchdog aborted task; phase=%s detail=", PHASES[d->stuck_phase]);
	if (d->detail[0])
		buf_printf(b, "\"%s\"", d->detail);
	else
		buf_lit(b, "None");
	buf_printf(b, " session=%s age=", d->session_text);
	put_age(b, d->started_us);
	buf_lit(b, " time_in_phase=");
	put_age(b, d->stuck_us);
	rt_unlock(&d->rq->lock);
}

static struct val age_val(struct arena *a, int64_t since_us)
{
	struct buf b = { 0 };
	put_age(&b, since_us);
	struct val v = val_str(a, buf_view(&b));
	buf_fini(&b);
	return v;
}

static struct val time_val(struct arena *a, int64_t us)
{
	struct buf b = { 0 };
	time_put_rfc3339(&b, us, 9, true);
	struct val v = val_str(a, buf_view(&b));
	buf_fini(&b);
	return v;
}

static struct val phase_val(struct dispatcher *d, struct arena *a)
{
	struct val v = val_obj(), in = val_obj();
	if (d->phase == PHASE_LEASE) {
		val_put_lit(a, &in, "label", val_cstr(a, d->rq->limited.context));
	} else if (d->phase == PHASE_BATCH) {
		val_put_lit(a, &in, "have", val_int(d->n_msgs));
		val_put_lit(a, &in, "want", val_int(queue_opts_of(d->queue_conf)->protocol.min_batch_size));
	} else {
		return val_cstr(a, PHASES[d->phase]);
	}
	val_put(a, &v, slice_from_cstr(PHASES[d->phase]), in);
	return v;
}

void dispatch_print(struct dispatcher *d, struct arena *a, struct val *out)
{
	double seconds = (double)MAX(rt_wall_us() - d->started_us, 1) / 1e6;
	uint64_t sent = atomic_load(&d->out[OUT_DELIVERED]);
	*out = val_obj();
	val_put_lit(a, out, "session_id", val_cstr(a, d->session_text));
	val_put_lit(a, out, "started_at", time_val(a, d->started_us));
	val_put_lit(a, out, "age", age_val(a, d->started_us));
	val_put_lit(a, out, "phase", phase_val(d, a));
	val_put_lit(a, out, "detail", d->detail[0] ? val_cstr(a, d->detail) : val_null());
	val_put_lit(a, out, "time_in_current_phase", age_val(a, d->phase_us));
	val_put_lit(a, out, "messages_delivered", val_uint(sent));
	val_put_lit(a, out, "messages_transfailed", val_uint(atomic_load(&d->out[OUT_TRANSFAIL])));
	val_put_lit(a, out, "messages_failed", val_uint(atomic_load(&d->out[OUT_FAIL])));
	val_put_lit(a, out, "delivered_this_connection", val_uint(d->delivered_this_connection - (d->phase == PHASE_DELIVERING ? d->n_msgs : 0)));
	val_put_lit(a, out, "overall_rate_per_sec", val_float((double)sent / seconds));
}
