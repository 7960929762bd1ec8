/* SPDX-License-Identifier: Apache-2.0 */
/* requeue - a message comes back: another attempt later, another queue, or its end. */
#include <stdlib.h>
#include "base/rand.h"
#include "base/timefmt.h"
#include "base/xalloc.h"
#include "policy/objects.h"
#include "queue/record.h"
#include "queue/sched/sched_int.h"
#include "rt/clock.h"
#include "rt/diag.h"
#include "rt/fiber.h"

#define REQUEUE_JITTER_MS 60000	/* the wait of a message that was delayed without an attempt */

static const struct policy_event EV_REQUEUE = { "requeue_message", POLICY_MULTI };
void requeue_init(void) { policy_event_register(&EV_REQUEUE); }

void sched_expire(struct msg *m, const struct conf *conf, struct slice site, struct slice text)
{
	struct log_event ev = record_of(LOG_EXPIRATION, m, site, response_of(551, 407, text));
	if (conf) {
		ev.egress_pool = queue_opts_of(conf)->egress_pool;
		ev.provider_name = queue_opts_of(conf)->provider_name;
	}
	record_write(&ev);
	msg_remove(m);
	msg_unref(&m);
}

/* The wait until the next attempt: doubled each time, with jitter of 1/40 of the interval either way, at most 30 s. */
static int64_t next_delay_ms(const struct queue_opts *o, unsigned attempts)
{
	int64_t span = MIN(o->retry_interval / 20 / 1000000, 60000), jitter = span > 0 ? (int64_t)rand_below(span + 1) - span / 2 : 0;
	return MAX(queue_opts_delay_s(o, attempts) * 1000 + jitter, 0);
}

int sched_reschedule(struct sched_queue *q, struct msg *m, bool increment, int64_t delay_ms)
{
	if (increment) {
		struct conf *conf = sched_conf(q);
		delay_ms = next_delay_ms(queue_opts_of(conf), msg_num_attempts(m));
		conf_unref(&conf);
		msg_set_num_attempts(m, MIN(msg_num_attempts(m) + 1, UINT16_MAX));
	} else if (delay_ms < 0) {
		delay_ms = 1 + rand_below(REQUEUE_JITTER_MS);
	}
	return msg_delay_by(m, delay_ms);
}

/* Counts the attempt and sets the next due time. False: the message has expired (and is gone). */
static bool count_attempt(struct sched_queue *q, struct msg *m)
{
	struct conf *conf = sched_conf(q);
	const struct queue_opts *o = queue_opts_of(conf);
	unsigned n = msg_num_attempts(m);
	int64_t delay = next_delay_ms(o, n), age_ms = (rt_wall_us() - msg_created_us(m)) / 1000;
	struct msg_schedule s = { 0 };
	struct buf b = { 0 };
	bool expired;

	msg_set_num_attempts(m, MIN(n + 1, UINT16_MAX));
	if ((msg_flags(m) & MSG_SCHEDULED) && msg_schedule_get(m, &s) < 0)
		s.present = false;
	if (s.present && s.has_expires) {
		expired = msg_delay_by(m, delay) == 0 && msg_due_us(m) >= s.expires_us;
		buf_lit(&b, "Next delivery time would be at ");
		time_put_rfc3339(&b, msg_due_us(m), 6, true);
		buf_lit(&b, " which exceeds the expiry time ");
		time_put_rfc3339(&b, s.expires_us, 0, true);
		buf_lit(&b, " configured via set_scheduling");
	} else {
		expired = age_ms + delay > o->max_age / 1000000;
		buf_lit(&b, "Next delivery time would be ");
		duration_put(&b, (age_ms + delay) * 1000000);
		buf_lit(&b, " after creation, which exceeds max_age=");
		duration_put(&b, o->max_age);
		if (!expired && msg_delay_by(m, delay) < 0)
			msg_set_due_us(m, rt_wall_us() + delay * 1000);
	}
	if (expired)
		sched_expire(m, conf, SLICE(""), buf_view(&b));
	buf_fini(&b);
	conf_unref(&conf);
	return !expired;
}

/* Whether the due time lies beyond the message's life: for delays that count no attempt. */
static bool expire_if_late(struct sched_queue *q, struct msg *m)
{
	struct conf *conf = sched_conf(q);
	int64_t max_age = queue_opts_of(conf)->max_age / 1000, due = msg_due_us(m), age = due - msg_created_us(m);
	struct msg_schedule s = { 0 };
	bool expired = due > 0 && age >= max_age;
	struct buf b = { 0 };

	if ((msg_flags(m) & MSG_SCHEDULED) && msg_schedule_get(m, &s) == 0 && s.has_expires)
		expired = due > 0 && due >= s.expires_us;
	if (expired) {
		buf_lit(&b, "Next delivery time ");
		duration_put(&b, age * 1000);
		buf_lit(&b, " > ");
		duration_put(&b, max_age * 1000);
		sched_expire(m, conf, SLICE("localhost"), buf_view(&b));
		buf_fini(&b);
	}
	conf_unref(&conf);
	return expired;
}

void sched_requeue_into(struct sched_queue *q, struct msg *m, bool increment, int64_t delay_ms, struct queue_context ctx)
{
	if (increment) {
		if (count_attempt(q, m))
			sched_insert_or_report(q, m, ctx);
		return;
	}
	if (delay_ms < 0)
		delay_ms = 1 + rand_below(REQUEUE_JITTER_MS);
	if (delay_ms == 0 && !(msg_flags(m) & MSG_SCHEDULED))
		msg_set_due_us(m, 0);
	else if (msg_delay_by(m, delay_ms) < 0)
		msg_set_due_us(m, rt_wall_us() + delay_ms * 1000);
	if (!expire_if_late(q, m))
		sched_insert_or_report(q, m, ctx);
}

/* --- the event ---------------------------------------------------------------------------------------------------------------------- */

static void push_context(lua_State *L, const struct queue_context *c)
{
	lua_createtable(L, c->n, 0);
	for (int i = 0; i < c->n; i++) {
		lua_pushstring(L, queue_reason_name(c->why[i]));
		lua_rawseti(L, -2, i + 1);
	}
}

/* A TimeDelta, made by kumo.time when that module is there, else seconds as a number. */
static void push_delay(lua_State *L, int64_t delay_ms)
{
	if (delay_ms < 0) {
		lua_pushnil(L);
		return;
	}
	int top = lua_gettop(L);
	lua_getglobal(L, "kumo");
	if (lua_istable(L, -1) && lua_getfield(L, -1, "time") == LUA_TTABLE && lua_getfield(L, -1, "parse_duration") == LUA_TFUNCTION) {
		lua_pushnumber(L, (double)delay_ms / 1000);
		if (lua_pcall(L, 1, 1, 0) == LUA_OK) {
			lua_replace(L, top + 1);
			lua_settop(L, top + 1);
			return;
		}
	}
	lua_settop(L, top);
	lua_pushnumber(L, (double)delay_ms / 1000);
}

/* The policy rejected the message for good: a Bounce record, whatever the code. */
static void bounce_by_policy(struct msg *m, const struct policy_call *c)
{
	struct slice text = c->reject_text ? slice_from_cstr(c->reject_text) : SLICE("");
	struct log_event ev = record_of(LOG_BOUNCE, m, SLICE(""), response_of(c->reject_code, 0, text));
	record_write(&ev);
	msg_remove(m);
}

/* 0; -E_REJECT: the message has been bounced. Other failures are reported: the message goes back to where it was. */
static int fire_requeue(struct msg *m, const struct smtp_response *why, const struct queue_context *ctx, bool increment, int64_t delay_ms)
{
	struct policy_call c;
	struct buf line = { 0 };
	int rc = policy_call_begin(&c, &EV_REQUEUE);
	if (rc == 0) {
		smtp_response_put_line(&line, why);
		policy_push_msg(c.L, m);
		policy_push_slice(c.L, buf_view(&line));
		push_context(c.L, ctx);
		lua_pushboolean(c.L, increment);
		push_delay(c.L, delay_ms);
		rc = policy_call_run(&c, 5, 0);
		buf_fini(&line);
		if (rc == -E_REJECT)
			bounce_by_policy(m, &c);
		policy_call_end(&c);
	}
	if (rc < 0 && rc != -E_REJECT)
		diag_error("kumo.queue", "requeue_message: %s; the message returns to its queue", err_text());
	return rc;
}

/* --- set aside: a message whose queue cannot be told now (its envelope cannot be read, the policy fails) ------------------------------------------ */

#define ASIDE_MS 5000		/* until it is tried again */
static struct {
	struct rt_lock lock;
	struct list msgs;
	size_t n;
	bool running;
} aside = { .lock = RT_LOCK_INIT(RANK_LEAF), .msgs = { &aside.msgs, &aside.msgs } };

static struct msg *aside_pop(void)
{
	rt_lock(&aside.lock);
	struct list *l = list_pop(&aside.msgs);
	aside.n -= l != NULL;
	rt_unlock(&aside.lock);
	return l ? msg_from_link(LIST_ENTRY(l, struct msg_link, node)) : NULL;
}

/* How many there are to be tried; 0: the fiber ends. */
static size_t aside_count(void)
{
	rt_lock(&aside.lock);
	size_t n = aside.n;
	aside.running = n > 0;
	rt_unlock(&aside.lock);
	return n;
}

static void aside_fiber(void *arg)
{
	struct msg *m;
	size_t n;
	while (rt_sleep_ms(ASIDE_MS) == 0 && !queue_stopping() && (n = aside_count()) > 0) {
		diag_info("kumo.queue", "trying again to put %zu messages into their queues", n);
		for (; n > 0 && !queue_stopping() && (m = aside_pop()); n--)
			sched_reinsert(m, context_of(WHY_NAME_FAILED));
	}
}

void requeue_stop(void)
{
	struct msg *m;
	while ((m = aside_pop()))
		sched_leave_to_spool(m);
}

void sched_set_aside(struct msg *m, const char *what)
{
	if (queue_stopping()) {
		sched_leave_to_spool(m);
		return;
	}
	char *why = xstrdup(err_text());
	if (msg_shrink(m) < 0)	/* there may be many, for long */
		diag_error("kumo.queue", "a message that is set aside could not be saved: %s", err_text());
	rt_lock(&aside.lock);
	bool first = aside.n++ == 0, start = !aside.running;
	list_push(&aside.msgs, &msg_link(m)->node);
	aside.running = true;
	rt_unlock(&aside.lock);
	if (first)
		diag_error("kumo.queue", "%s: %s; the message, and others of which this is true, is tried again every %d s", what, why, ASIDE_MS / 1000);
	free(why);
	if (start)
		rt_fiber_spawn("set aside", aside_fiber, NULL);
}

/* ------------------------------------------------------------------------------------------------------------------------------------------------------ */

static void requeue_shielded(struct msg *m, bool increment, int64_t delay_ms, const struct smtp_response *why, struct queue_context ctx)
{
	struct buf name = { 0 }, after = { 0 };
	struct sched_queue *q;

	if (msg_queue_name(m, &name) < 0) {
		sched_set_aside(m, "queue name of a message to be requeued");
		goto out;
	}
	if (!queue_stopping() && policy_event_wanted(&EV_REQUEUE)) {
		if (fire_requeue(m, why, &ctx, increment, delay_ms) == -E_REJECT) {
			msg_unref(&m);
			goto out;
		}
		if (msg_queue_name(m, &after) == 0 && !slice_eq(buf_view(&name), buf_view(&after))) {
			/* into another queue: at once, but the attempt counts */
			msg_set_num_attempts(m, msg_num_attempts(m) + 1);
			msg_set_due_us(m, 0);
			increment = false;
			delay_ms = 0;
			buf_clear(&name);
			buf_slice(&name, buf_view(&after));
		}
	}
	if (sched_get(buf_view(&name), &q) < 0) {
		sched_set_aside(m, "configuration of a queue");
		goto out;
	}
	sched_requeue_into(q, m, increment, delay_ms, ctx);
	sched_unref(&q);
out:
	buf_fini(&name);
	buf_fini(&after);
}

void sched_requeue(struct msg *m, bool increment, int64_t delay_ms, const struct smtp_response *why, struct queue_context ctx)
{
	struct rt_shield sh;
	rt_shield_enter(&sh);	/* a message in nobody's hands would be lost until restart */
	requeue_shielded(m, increment, delay_ms, why, ctx);
	rt_shield_leave(&sh);
}

void sched_reinsert(struct msg *m, struct queue_context ctx)
{
	struct buf name = { 0 };
	struct sched_queue *q;
	struct rt_shield sh;
	rt_shield_enter(&sh);
	if (msg_queue_name(m, &name) < 0) {
		sched_set_aside(m, "queue name of a message");
	} else if (sched_get(buf_view(&name), &q) < 0) {
		sched_set_aside(m, "configuration of a queue");
	} else {
		sched_insert_or_report(q, m, ctx);
		sched_unref(&q);
	}
	rt_shield_leave(&sh);
	buf_fini(&name);
}
