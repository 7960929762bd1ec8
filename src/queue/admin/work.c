/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/admin/work.h"
#include <stdlib.h>
#include "policy/objects.h"
#include "queue/admin/int.h"
#include "queue/admin/xfer.h"
#include "queue/record.h"
#include "queue/sched/sched.h"
#include "rt/diag.h"
#include "rt/fiber.h"

static const struct policy_event EV_REBIND = { "rebind_message", POLICY_SINGLE };
void admin_work_init(void) { policy_event_register(&EV_REBIND); }

/* One order of an operator, carried out queue by queue. */
struct order {
	struct arena *arena;
	struct queue_criteria which;
	void (*each)(struct order *o, struct sched_queue *q, struct msg *m);	/* takes the message over. Yields. */
	struct bounce *bounce;
	struct slice reason, target;
	struct val data;
	bool trigger_event, always_flush, suppress_logging;
};

static void order_run(void *arg)
{
	struct order *o = arg;
	size_t n, k;
	struct sched_queue **all = sched_all(&n);
	for (size_t i = 0; i < n; i++) {
		struct sched_queue *q = all[i];
		if (!queue_stopping() && criteria_match(&o->which, q->name, &q->parts)) {
			struct msg **msgs = sched_drain(q, &k);
			for (size_t j = 0; j < k; j++) {
				if (queue_stopping())	/* its records would come after the logs' end */
					sched_leave_to_spool(msgs[j]);
				else
					o->each(o, q, msgs[j]);
			}
			free(msgs);
		}
		sched_unref(&all[i]);
		if (i % 64 == 63)
			rt_yield();
	}
	free(all);
	admin_bounce_unref(&o->bounce);
	struct arena *a = o->arena;
	arena_destroy(&a);
}

static struct order *order_make(const struct queue_criteria *which, struct slice reason)
{
	struct arena *a = arena_create();
	struct order *o = arena_alloc(a, sizeof(*o));
	o->arena = a;
	criteria_copy(a, which, &o->which);
	o->reason = arena_dup(a, reason);
	return o;
}

static struct bounce *bounce_of(struct order *o, struct sched_queue *q) { return admin_bounce_match(q->name, &q->parts); }

static void bounce_one(struct order *o, struct sched_queue *q, struct msg *m)
{
	struct bounce *b = bounce_of(o, q);
	if (b)
		admin_bounce_message(b, m, q->name);
	else	/* canceled meanwhile */
		sched_reinsert(m, context_of(WHY_DUE));
}

void admin_work_bounce(struct bounce *e, const struct queue_criteria *which)
{
	struct order *o = order_make(which, SLICE(""));
	o->each = bounce_one;
	o->bounce = e;
	sched_spawn("admin bounce", order_run, o);
}

/* --- rebind ---------------------------------------------------------------------------------------------------------------------------- */

static int fire_rebind(struct msg *m, const struct val *data)
{
	struct policy_call c;
	if (!policy_event_wanted(&EV_REBIND))
		return err_set(E_NOENT, "the policy has no handler for rebind_message");
	int rc = policy_call_begin(&c, &EV_REBIND);
	if (rc < 0)
		return rc;
	policy_push_msg(c.L, m);
	policy_push_val(c.L, data);
	rc = policy_call_run(&c, 2, 0);
	if (rc == -E_REJECT)
		rc = err_set(E_POLICY, "rejected: %d %s", c.reject_code, c.reject_text ? c.reject_text : "");
	if (rc < 0)
		err_prefix("%s", EV_REBIND.name);
	policy_call_end(&c);
	return rc;
}

static int apply_rebind(struct order *o, struct msg *m)
{
	if (o->trigger_event)
		return fire_rebind(m, &o->data);
	for (uint32_t i = 0; i < o->data.n; i++) {
		int rc = msg_meta_set(m, o->data.members[i].key, &o->data.members[i].val);
		if (rc < 0)
			return rc;
	}
	return 0;
}

void admin_log_rebind(struct msg *m, struct slice from, struct slice to, struct slice reason)
{
	struct buf b = { 0 };
	buf_printf(&b, "Rebound from %.*s to %.*s: %.*s", SLICE_ARG(from), SLICE_ARG(to), SLICE_ARG(reason));
	struct log_event ev = record_of(LOG_ADMIN_REBIND, m, SLICE(""), response_of(250, 0, buf_view(&b)));
	record_write(&ev);
	buf_fini(&b);
}

static void rebind_one(struct order *o, struct sched_queue *q, struct msg *m)
{
	struct buf name = { 0 };
	struct sched_queue *to = NULL;

	if (apply_rebind(o, m) < 0)
		diag_error("kumo.queue", "rebind: %s", err_text());
	if (msg_save(m) < 0)
		diag_error("kumo.queue", "rebind: saving a message: %s", err_text());
	if (msg_queue_name(m, &name) < 0 || sched_get(buf_view(&name), &to) < 0) {
		diag_error("kumo.queue", "rebind: %s; the message stays in %.*s", err_text(), SLICE_ARG(q->name));
		to = sched_ref(q);
	}
	bool moved = !slice_eq(to->name, q->name);
	if (moved && !o->suppress_logging)
		admin_log_rebind(m, q->name, to->name, o->reason);
	if (moved || o->always_flush)
		sched_requeue_into(to, m, false, 0, context_of(WHY_REBIND));
	else
		sched_insert_or_report(to, m, context_of(WHY_REBIND));
	sched_unref(&to);
	buf_fini(&name);
}

int queue_admin_rebind(const struct queue_rebind *r)
{
	struct order *o = order_make(&r->which, r->reason);
	o->each = rebind_one;
	o->data = r->data ? val_copy(o->arena, r->data) : val_obj();
	o->trigger_event = r->trigger_rebind_event;
	o->always_flush = r->always_flush;
	o->suppress_logging = r->suppress_logging;
	sched_spawn("admin rebind", order_run, o);
	return 0;
}

/* --- transfer ------------------------------------------------------------------------------------------------------------------------------ */

static void xfer_one(struct order *o, struct sched_queue *q, struct msg *m)
{
	struct slice target;
	struct sched_queue *to = NULL;
	/* one that is on its way elsewhere already keeps what was saved first */
	int rc = queue_name_xfer(q->name, &target) ? 0 : xfer_save_info(m);
	struct val name = { .type = VAL_STR, .s = o->target };
	if (rc == 0)
		rc = msg_meta_set(m, SLICE("queue"), &name);
	if (rc == 0)
		rc = msg_save(m);
	if (rc < 0 || sched_get(o->target, &to) < 0) {
		diag_error("kumo.queue", "xfer: %s; the message stays in %.*s", err_text(), SLICE_ARG(q->name));
		to = sched_ref(q);
	}
	if (to != q)
		admin_log_rebind(m, q->name, to->name, to->name);
	sched_requeue_into(to, m, false, 0, context_of(WHY_REBIND));
	sched_unref(&to);
}

int queue_admin_xfer(const struct queue_criteria *c, struct slice reason, struct slice target)
{
	struct buf name = { 0 };
	int rc = queue_name_xfer_put(&name, target);
	if (rc < 0)
		return rc;
	struct order *o = order_make(c, reason);
	o->each = xfer_one;
	o->target = arena_dup(o->arena, buf_view(&name));
	buf_fini(&name);
	sched_spawn("admin xfer", order_run, o);
	return 0;
}

static void unxfer_one(struct order *o, struct sched_queue *q, struct msg *m)
{
	struct buf name = { 0 };
	struct sched_queue *to = NULL;
	int rc = xfer_restore_info(m);
	if (rc == 0)
		rc = msg_save(m);
	if (rc < 0 || msg_queue_name(m, &name) < 0 || sched_get(buf_view(&name), &to) < 0) {
		diag_error("kumo.queue", "xfer cancel: %s; the message stays in %.*s", err_text(), SLICE_ARG(q->name));
		to = sched_ref(q);
	} else {
		admin_log_rebind(m, q->name, to->name, o->reason);
	}
	sched_requeue_into(to, m, false, 0, context_of(WHY_REBIND));
	sched_unref(&to);
	buf_fini(&name);
}

int queue_admin_xfer_cancel(struct slice queue_name, struct slice reason)
{
	struct queue_criteria which = { .queue_names = &queue_name, .n_queue_names = 1 };
	struct slice target;
	if (!queue_name_xfer(queue_name, &target))
		return err_set(E_INVAL, "%.*s is not an xfer queue", SLICE_ARG(queue_name));
	struct sched_queue *q = sched_find(queue_name);
	if (!q)
		return err_set(E_NOENT, "no such queue %.*s", SLICE_ARG(queue_name));
	sched_unref(&q);
	struct order *o = order_make(&which, reason);
	o->each = unxfer_one;
	sched_spawn("admin xfer cancel", order_run, o);
	return 0;
}
