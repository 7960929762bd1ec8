/* SPDX-License-Identifier: Apache-2.0 */
/* promote - what a message goes through between being due and standing in a ready queue. */
#include "base/timefmt.h"
#include "policy/objects.h"
#include "queue/admin/int.h"
#include "queue/proto/maildir.h"
#include "queue/record.h"
#include "queue/ready/route.h"
#include "queue/sched/sched_int.h"
#include "rt/clock.h"
#include "rt/diag.h"
#include "rt/fiber.h"
#include "spool/spool.h"

static const struct policy_event EV_THROTTLE = { "throttle_insert_ready_queue", POLICY_MULTI };
void promote_init(void) { policy_event_register(&EV_THROTTLE); }

/* A TransientFailure record of the queue itself, and the same as the reason to requeue. */
static void fail_here(struct sched_queue *q, struct msg *m, struct slice site, struct slice text)
{
	struct smtp_response r = response_of(451, 404, text);
	struct log_event ev = record_of(LOG_TRANSIENT_FAILURE, m, site, r);
	record_write(&ev);
	sched_requeue(m, true, -1, &r, context_of(WHY_LOGGED));
}

/* Without a healthy spool a delivery could not be remembered: hold the message. */
static bool held_by_spool(struct sched_queue *q, struct msg *m)
{
	const char *reason = spool_delivery_suspension_reason();
	if (!reason)
		return false;
	struct buf b = { 0 };
	buf_printf(&b, "KumoMTA internal: delivery suspended: spool unhealthy: %s", reason);
	struct smtp_response r = response_of(451, 404, buf_view(&b));
	struct log_event ev = record_of(LOG_DELAYED, m, q->name, r);
	record_write(&ev);
	sched_requeue(m, true, -1, &r, context_with(context_of(WHY_SPOOL), WHY_LOGGED));
	buf_fini(&b);
	return true;
}

static bool held_by_admin(struct sched_queue *q, struct msg *m)
{
	struct bounce *b = admin_bounce_match(q->name, &q->parts);
	struct buf text = { 0 };
	if (b) {
		admin_bounce_message(b, m, q->name);
		return true;
	}
	buf_lit(&text, "KumoMTA internal: scheduled queue is suspended: ");
	bool held = admin_suspend_match(q->name, &q->parts, &text);
	if (held)
		fail_here(q, m, q->name, buf_view(&text));
	buf_fini(&text);
	return held;
}

/* max_message_rate of the queue. */
static bool held_by_rate(struct sched_queue *q, const struct queue_opts *o, struct msg *m, struct queue_context why)
{
	struct throttle_result t;
	struct buf b = { 0 };
	if (!rate_given(&o->max_message_rate))
		return false;
	buf_printf(&b, "schedq-%.*s-message-rate", SLICE_ARG(q->name));
	int rc = throttle_check(buf_view(&b), &o->max_message_rate, 1, &t);
	buf_clear(&b);
	if (rc < 0)
		diag_error("kumo.queue", "%.*s: max_message_rate: %s", SLICE_ARG(q->name), err_text());
	bool held = rc == 0 && t.throttled;
	if (held) {
		buf_printf(&b, "KumoMTA internal: %.*s throttled message rate, delay=", SLICE_ARG(q->name));
		duration_put(&b, t.retry_after_ns);
		struct smtp_response r = response_of(451, 404, buf_view(&b));
		sched_count_delay(q, DELAY_MESSAGE_RATE);
		sched_requeue(m, false, (t.retry_after_ns + 999999) / 1000000, &r, context_with(why, WHY_MESSAGE_RATE));
	}
	buf_fini(&b);
	return held;
}

/* The policy may move the due time in throttle_insert_ready_queue. */
static bool held_by_event(struct sched_queue *q, struct msg *m, struct queue_context why)
{
	struct policy_call c;
	struct buf b = { 0 };
	if (!policy_event_wanted(&EV_THROTTLE))
		return false;
	int64_t before = msg_due_us(m);
	int rc = policy_call_begin(&c, &EV_THROTTLE);
	if (rc == 0) {
		policy_push_msg(c.L, m);
		rc = policy_call_run(&c, 1, 0);
		if (rc == -E_REJECT)
			err_set(E_REJECT, "%d %s", c.reject_code, c.reject_text ? c.reject_text : "");
		policy_call_end(&c);
	}
	if (rc < 0) {
		diag_error("kumo.queue", "%.*s: throttle_insert_ready_queue: %s", SLICE_ARG(q->name), err_text());
		struct smtp_response r = response_of(451, 404, slice_from_cstr(err_text()));
		sched_requeue(m, false, 60000, &r, context_with(why, WHY_READY_FAILED));
		return true;
	}
	if (msg_due_us(m) == before || msg_due_us(m) <= rt_wall_us())
		return false;
	buf_printf(&b, "KumoMTA internal: %.*s throttle_insert_ready_queue event throttled message rate, due=", SLICE_ARG(q->name));
	time_put_rfc3339(&b, msg_due_us(m), 6, true);
	struct smtp_response r = response_of(451, 404, buf_view(&b));
	sched_count_delay(q, DELAY_THROTTLE_EVENT);
	/* the due time that the policy chose stays */
	sched_requeue(m, false, (msg_due_us(m) - rt_wall_us() + 999) / 1000, &r, context_with(why, WHY_THROTTLE_EVENT));
	buf_fini(&b);
	return true;
}

/* No way could be found: say why in a record, and try again as the retry schedule says. */
static void route_failed(struct sched_queue *q, const struct queue_opts *o, struct msg *m, enum route_result res, struct queue_context why)
{
	struct slice pool = o->egress_pool.ptr ? o->egress_pool : SLICE("unspecified");
	struct buf b = { 0 }, inner = { 0 };

	if (res == ROUTE_FAILED)
		buf_printf(&b, "failed to resolve queue %.*s: %s", SLICE_ARG(q->name), err_text());
	else if (res == ROUTE_DELAY)
		buf_printf(&b, "no sources for %.*s pool=`%.*s` are eligible for selection at this time", SLICE_ARG(q->name), SLICE_ARG(pool));
	else
		buf_printf(&b, "no sources available for %.*s pool=`%.*s`", SLICE_ARG(q->name), SLICE_ARG(pool));
	if (res != ROUTE_FAILED)
		buf_lit(&inner, "KumoMTA internal: ");
	buf_slice(&inner, buf_view(&b));
	struct log_event ev = record_of(LOG_TRANSIENT_FAILURE, m, SLICE(""), response_of(451, 404, buf_view(&inner)));
	ev.egress_pool = res == ROUTE_FAILED ? SLICE_NONE : pool;
	ev.provider_name = o->provider_name;
	record_write(&ev);

	buf_clear(&inner);
	buf_printf(&inner, "KumoMTA internal: %.*s error while inserting into ready queue: ", SLICE_ARG(q->name));
	buf_slice(&inner, buf_view(&b));
	struct smtp_response r = response_of(451, 404, buf_view(&inner));
	context_add(&why, WHY_LOGGED);
	context_add(&why, WHY_READY_FAILED);
	sched_requeue(m, true, -1, &r, why);
	buf_fini(&b);
	buf_fini(&inner);
}

static void promote_to_ready(struct sched_queue *q, struct conf *conf, struct msg *m, struct queue_context why)
{
	int64_t delay_ms = 0, due_us = msg_due_us(m);
	enum route_result res = route_insert(q, conf, m, &delay_ms);
	if (res == ROUTE_INSERTED) {
		if (context_has(&why, WHY_DUE))
			qmetrics_timeq(TIMEQ_REINSERT_TARDINESS, rt_wall_us() - due_us);
		return;
	}
	if (res == ROUTE_FULL) {
		sched_count_delay(q, DELAY_READY_FULL);
		sched_wait_jitter(q, m, 60000, context_with(why, WHY_READY_FULL));
	} else if (res == ROUTE_FAILED && rt_check() < 0) {
		/* not the route failed but this fiber was stopped: the message itself waits on */
		struct rt_shield sh;
		rt_shield_enter(&sh);
		sched_wait_jitter(q, m, 60000, context_with(why, WHY_READY_FAILED));
		rt_shield_leave(&sh);
	} else {
		route_failed(q, queue_opts_of(conf), m, res, why);
	}
}

void sched_promote(struct sched_queue *q, struct msg *m, struct queue_context why)
{
	struct conf *conf;
	if (held_by_spool(q, m) || held_by_admin(q, m))
		return;
	conf = sched_conf(q);
	const struct queue_opts *o = queue_opts_of(conf);
	if (held_by_rate(q, o, m, why) || held_by_event(q, m, why))
		;
	else if (o->protocol.kind == PROTO_NULL) {
		msg_remove(m);
		msg_unref(&m);
	} else if (o->protocol.kind == PROTO_MAILDIR)
		maildir_deliver(q, conf, m, why);
	else
		promote_to_ready(q, conf, m, why);
	conf_unref(&conf);
}
