/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/admin/xfer.h"
#include "base/timefmt.h"
#include "queue/admin/work.h"
#include "queue/sched/sched.h"

#define INFO SLICE("xfer_queue_info")
static const char *const FIELDS[] = { "queue", "routing_domain", "tenant", "campaign" };

static int meta_remove(struct msg *m, struct slice key)
{
	struct msg_env *env, *copy;
	int rc = msg_env(m, &env);
	if (rc < 0)
		return rc;
	copy = msg_env_clone(env);
	if (val_remove(&copy->meta, key))
		msg_set_env(m, copy);
	else
		msg_env_unref(&copy);
	msg_env_unref(&env);
	return 0;
}

static int save_fields(struct msg *m, struct arena *a, struct val *info)
{
	for (size_t i = 0; i < ARRAY_LEN(FIELDS); i++) {
		struct slice key = slice_from_cstr(FIELDS[i]);
		struct val v;
		int rc = msg_meta_get(m, key, a, &v);
		if (rc < 0)
			return rc;
		if (v.type == VAL_STR)
			val_put(a, info, key, v);
		if ((rc = meta_remove(m, key)) < 0)
			return rc;
	}
	return 0;
}

static int save_time(struct msg *m, struct arena *a, struct val *info)
{
	struct msg_schedule s = { 0 };
	struct val v;
	int rc = msg_schedule_get(m, &s);
	if (rc < 0)
		return rc;
	if (s.present) {
		msg_schedule_print(&s, a, &v);
		val_put_lit(a, info, "schedule", v);
	}
	val_put_lit(a, info, "num_attempts", val_int(msg_num_attempts(m)));
	if (msg_due_us(m)) {
		struct buf b = { 0 };
		time_put_rfc3339(&b, msg_due_us(m), 6, true);
		val_put_lit(a, info, "due", val_str(a, buf_view(&b)));
		buf_fini(&b);
	}
	if ((rc = msg_set_schedule(m, NULL)) < 0)
		return rc;
	msg_set_due_us(m, 0);
	return 0;
}

int xfer_save_info(struct msg *m)
{
	struct arena *a = arena_create();
	struct val info = val_obj();
	int rc = save_fields(m, a, &info);
	if (rc == 0)
		rc = save_time(m, a, &info);
	if (rc == 0)
		rc = msg_meta_set(m, INFO, &info);
	arena_destroy(&a);
	return rc;
}

static int restore_time(struct msg *m, const struct val *info)
{
	const struct val *n = val_get_lit(info, "num_attempts"), *sched = val_get_lit(info, "schedule");
	struct slice due = val_get_str(info, SLICE("due"));
	struct msg_schedule s;
	int64_t us = 0;
	if (n && n->type == VAL_INT && n->i >= 0)
		msg_set_num_attempts(m, (uint16_t)MIN(n->i, UINT16_MAX));
	if (sched && sched->type == VAL_OBJ && msg_schedule_parse(sched, &s) == 0 && msg_set_schedule(m, &s) < 0)
		return -E_IO;
	if (due.ptr && time_parse_rfc3339(due, &us) < 0)
		us = 0;
	msg_set_due_us(m, us);
	return 0;
}

int xfer_restore_info(struct msg *m)
{
	struct arena *a = arena_create();
	struct val info;
	int rc = msg_meta_get(m, INFO, a, &info);
	if (rc == 0 && info.type != VAL_OBJ)
		rc = err_set(E_INVAL, "the message has no xfer_queue_info");
	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(FIELDS); i++) {
		struct slice key = slice_from_cstr(FIELDS[i]);
		const struct val *v = val_get(&info, key);
		rc = v ? msg_meta_set(m, key, v) : meta_remove(m, key);
	}
	if (rc == 0)
		rc = restore_time(m, &info);
	if (rc == 0)
		rc = meta_remove(m, INFO);
	arena_destroy(&a);
	return rc;
}

/* --- what policies ask for ---------------------------------------------------------------------------------------------------------------- */

static void note_change(struct msg *m, struct slice from, struct slice reason)
{
	struct buf to = { 0 };
	if (reason.ptr && msg_queue_name(m, &to) == 0)
		admin_log_rebind(m, from, buf_view(&to), reason);
	buf_fini(&to);
}

/* The due time as its own queue would have set it. */
static int schedule_attempt(struct msg *m, bool increment, int64_t delay_ms)
{
	struct buf name = { 0 };
	struct sched_queue *q;
	int rc = msg_queue_name(m, &name);
	if (rc == 0)
		rc = sched_get(buf_view(&name), &q);
	buf_fini(&name);
	if (rc < 0)
		return rc;
	rc = sched_reschedule(q, m, increment, delay_ms);
	sched_unref(&q);
	return rc;
}

/* 0: M, which was in the queue FROM, is to go into the transfer queue TO, and its own place is known again; 1: it is in there. */
static int leave_other(struct msg *m, struct slice from, struct slice to)
{
	struct slice target;
	if (slice_eq(from, to))
		return 1;
	return queue_name_xfer(from, &target) ? xfer_restore_info(m) : 0;
}

static int enter(struct msg *m, struct slice to)
{
	struct val name = { .type = VAL_STR, .s = to };
	int rc = xfer_save_info(m);
	return rc < 0 ? rc : msg_meta_set(m, SLICE("queue"), &name);
}

struct requeue_args {
	bool increment;
	int64_t delay_ms;
};

static int start(struct msg *m, struct slice url, const struct requeue_args *requeue, struct slice reason)
{
	struct buf from = { 0 }, to = { 0 };
	int rc = queue_name_xfer_put(&to, url);
	if (rc == 0)
		rc = msg_queue_name(m, &from);
	if (rc == 0)
		rc = leave_other(m, buf_view(&from), buf_view(&to));
	if (rc == 0 && requeue)
		rc = schedule_attempt(m, requeue->increment, requeue->delay_ms);
	if (rc == 0 && (rc = enter(m, buf_view(&to))) == 0)
		note_change(m, buf_view(&from), reason);
	buf_fini(&from);
	buf_fini(&to);
	return rc < 0 ? rc : 0;
}

int xfer_start(struct msg *m, struct slice url, struct slice reason) { return start(m, url, NULL, reason); }

int xfer_start_in_requeue(struct msg *m, struct slice url, bool increment, int64_t delay_ms, struct slice reason)
{
	const struct requeue_args r = { increment, delay_ms };
	return start(m, url, &r, reason);
}

int xfer_target(struct msg *m, struct buf *url)
{
	struct buf name = { 0 };
	struct slice target;
	int rc = msg_queue_name(m, &name);
	if (rc == 0 && queue_name_xfer(buf_view(&name), &target)) {
		buf_slice(url, target);
		rc = 1;
	}
	buf_fini(&name);
	return rc;
}

int xfer_cancel(struct msg *m, struct slice reason)
{
	struct buf from = { 0 };
	struct slice target;
	int rc = msg_queue_name(m, &from);
	if (rc == 0 && queue_name_xfer(buf_view(&from), &target) && (rc = xfer_restore_info(m)) == 0)
		note_change(m, buf_view(&from), reason);
	buf_fini(&from);
	return rc;
}
