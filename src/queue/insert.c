/* SPDX-License-Identifier: Apache-2.0 */
/* insert - the queues' outside: messages come in, everything starts and stops. */
#include <stdlib.h>
#include "base/timefmt.h"
#include "policy/objects.h"
#include "queue/admin/work.h"
#include "queue/memory.h"
#include "queue/proto/lua.h"
#include "queue/queue.h"
#include "queue/ready/ready.h"
#include "queue/record.h"
#include "queue/sched/sched_int.h"
#include "rt/clock.h"
#include "rt/diag.h"
#include "rt/fiber.h"

#define MANY 10000	/* messages in memory, from which on those found in the spool give up their envelopes */

static const struct policy_event EV_ENUMERATED = { "spool_message_enumerated", POLICY_SINGLE };

void queue_init(void)
{
	policy_event_register(&EV_ENUMERATED);
	fetch_init();
	promote_init();
	requeue_init();
	admin_entries_init();
	admin_work_init();
	qmetrics_init();
	memory_register();
	sched_init();
	ready_init();
	proto_lua_register();
}

int queue_start(void) { return tick_start(); }

int queue_prepare(struct slice name)
{
	struct sched_queue *q;
	int rc = sched_get(name, &q);
	if (rc == 0)
		sched_unref(&q);
	return rc;
}

int queue_insert(struct msg *m, struct slice name)
{
	int64_t start = rt_now_us_exact();
	struct sched_queue *q;
	int rc = sched_get(name, &q);
	if (rc < 0)
		return rc;
	rc = sched_insert(q, m, context_of(WHY_RECEIVED));
	sched_unref(&q);
	qmetrics_latency(LAT_INSERT, rt_now_us_exact() - start);
	return rc;
}

/* --- messages found in the spool ---------------------------------------------------------------------------------------------------- */

static int fire_enumerated(struct msg *m)
{
	struct policy_call c;
	if (!policy_event_wanted(&EV_ENUMERATED))
		return 0;
	int rc = policy_call_begin(&c, &EV_ENUMERATED);
	if (rc < 0)
		return rc;
	policy_push_msg(c.L, m);
	rc = policy_call_run(&c, 1, 0);
	policy_call_end(&c);
	return rc;
}

/* Its metadata name no queue: it cannot go anywhere. */
static void drop_unnamed(struct msg *m)
{
	struct buf b = { 0 };
	buf_printf(&b, "Failed to compute queue name: %s", err_text());
	struct log_event ev = record_of(LOG_EXPIRATION, m, SLICE("localhost"), response_of(551, 103, buf_view(&b)));
	record_write(&ev);
	buf_fini(&b);
	msg_remove(m);
	msg_unref(&m);
}

/* Attempts and the next due time follow from the age. False: it has expired (and is gone). */
static bool set_next_due(struct sched_queue *q, struct msg *m)
{
	struct conf *conf = sched_conf(q);
	const struct queue_opts *o = queue_opts_of(conf);
	int64_t age_s = MAX(rt_wall_us() - msg_created_us(m), 0) / 1000000, delay_s;
	unsigned attempts = queue_opts_infer_attempts(o, age_s);
	struct msg_schedule s = { 0 };
	struct buf b = { 0 };
	bool expired = false;

	msg_set_num_attempts(m, attempts);
	if ((msg_flags(m) & MSG_SCHEDULED) && msg_schedule_get(m, &s) < 0)
		s.present = false;
	delay_s = queue_opts_delay_by_age_s(o, attempts, age_s);
	if (s.present && s.has_expires) {
		delay_s = MAX(delay_s, 0);
		expired = msg_delay_by(m, delay_s * 1000) == 0 && msg_due_us(m) >= s.expires_us;
		buf_lit(&b, "Next delivery time would be at ");
		time_put_rfc3339(&b, msg_due_us(m), 6, true);
		buf_lit(&b, " which exceeds the expiry time ");
		time_put_rfc3339(&b, s.expires_us, 0, true);
		buf_lit(&b, " configured via set_scheduling");
	} else if (delay_s < 0) {
		expired = true;
		buf_lit(&b, "Next delivery time would be ");
		duration_put(&b, age_s * 1000000000);
		buf_lit(&b, " after creation, which exceeds max_age=");
		duration_put(&b, o->max_age);
	} else if (delay_s == 0 && !s.present) {
		msg_set_due_us(m, 0);
	} else if (msg_delay_by(m, delay_s * 1000) < 0) {
		msg_set_due_us(m, rt_wall_us() + delay_s * 1000000);
	}
	if (expired)
		sched_expire(m, NULL, SLICE(""), buf_view(&b));
	buf_fini(&b);
	conf_unref(&conf);
	return !expired;
}

int queue_insert_spooled(struct msg *m)
{
	struct buf name = { 0 };
	struct sched_queue *q;
	int rc = fire_enumerated(m);
	if (rc < 0)
		return rc;
	if (msg_queue_name(m, &name) < 0) {
		drop_unnamed(m);
		buf_fini(&name);
		return 0;
	}
	rc = sched_get(buf_view(&name), &q);
	buf_fini(&name);
	if (rc < 0 && rt_check() < 0)
		return rc;
	if (rc < 0) {	/* no configuration now: a policy that reads a database at start must not cost a restart */
		sched_set_aside(m, "configuration of a queue");
		return 0;
	}
	bool waits = set_next_due(q, m);
	/* of a long queue most wait for a while even when they are due: their envelopes come back one by one */
	if (waits && msg_count_in_memory() > MANY)
		rc = msg_shrink(m);
	if (waits && rc == 0)
		rc = sched_insert(q, m, context_of(WHY_ENUMERATED));
	sched_unref(&q);
	return rc;
}

/* --- the end ---------------------------------------------------------------------------------------------------------------------------- */

void queue_stop(void)
{
	struct rt_shield sh;
	rt_shield_enter(&sh);
	sched_begin_stop();
	tick_stop();
	sched_stop_hands();	/* they fill ready queues */
	ready_stop();
	sched_stop();
	rt_shield_leave(&sh);
}

int64_t queue_messages(void)
{
	size_t n;
	int64_t total = qmetrics_scheduled_total();
	struct ready_queue **all = ready_all(&n);
	for (size_t i = 0; i < n; i++) {
		total += ready_len(all[i]);
		ready_unref(&all[i]);
	}
	free(all);
	return total;
}

void queue_stop_now(void)
{
	ready_hurry();
}
