/* SPDX-License-Identifier: Apache-2.0 */
/* sched - messages that wait, and the fibers that take them out again when they are due. */
#include <stdlib.h>
#include "base/rand.h"
#include "base/timefmt.h"
#include "base/xalloc.h"
#include "queue/admin/int.h"
#include "queue/record.h"
#include "queue/sched/sched_int.h"
#include "rt/clock.h"
#include "rt/diag.h"
#include "rt/fiber.h"
#include "rt/loop.h"

#define DRAIN_BATCH 64
#define DRAINS_MAX 256		/* fibers that drain queues at the same time */
#define HANDS_STOP_MS 3000	/* for fibers with messages in hand, say in a policy event, to come to an end */

static _Atomic bool stopping;
static struct {
	struct rt_lock lock;
	struct list pending;	/* queues with due messages that wait for a fiber */
	unsigned running;
	unsigned hands;		/* fibers of sched_spawn */
	struct rt_cond idle;	/* hands came to be 0 */
} drains = { .lock = RT_LOCK_INIT(RANK_CACHE) };

bool queue_stopping(void) { return atomic_load_explicit(&stopping, memory_order_relaxed); }

void sched_init(void)
{
	sched_map_init();
	list_init(&drains.pending);
	rt_cond_init(&drains.idle);
	atomic_store(&stopping, false);
}

/* --- messages that stand in no queue ------------------------------------------------------------------------------------------------- */

struct hand {
	void (*fn)(void *arg);
	void *arg;
};

static void hand_fiber(void *arg)
{
	struct hand *h = arg;
	h->fn(h->arg);
	free(h);
	rt_lock(&drains.lock);
	if (--drains.hands == 0)
		rt_cond_broadcast(&drains.idle);
	rt_unlock(&drains.lock);
}

void sched_spawn(const char *name, void (*fn)(void *arg), void *arg)
{
	struct hand *h = xzalloc(sizeof(*h));
	*h = (struct hand){ fn, arg };
	rt_lock(&drains.lock);
	drains.hands++;
	rt_unlock(&drains.lock);
	rt_fiber_spawn(name, hand_fiber, h);
}

void sched_leave_to_spool(struct msg *m)
{
	if ((msg_flags(m) & (MSG_META_DIRTY | MSG_DATA_DIRTY)) && msg_save(m) < 0)
		diag_error("kumo.queue", "a message could not be saved while stopping: %s", err_text());
	msg_unref(&m);
}

/* --- due times ------------------------------------------------------------------------------------------------------------------ */

void due_push(struct due_heap *h, int64_t due_ms, struct msg *m)
{
	if (h->n == h->cap) {
		h->cap = h->cap ? h->cap * 2 : 1;
		h->e = xreallocarray(h->e, h->cap, sizeof(*h->e));
	}
	uint32_t i = h->n++;
	for (; i > 0 && h->e[(i - 1) / 4].due_ms > due_ms; i = (i - 1) / 4)
		h->e[i] = h->e[(i - 1) / 4];
	h->e[i] = (struct due_entry){ due_ms, m };
}

struct msg *due_pop(struct due_heap *h)
{
	assert(h->n > 0);
	struct msg *m = h->e[0].msg;
	struct due_entry last = h->e[--h->n];
	uint32_t i = 0, best;
	for (;;) {
		uint32_t first = 4 * i + 1, end = MIN(first + 4, h->n);
		best = first;
		for (uint32_t c = first + 1; c < end; c++)
			if (h->e[c].due_ms < h->e[best].due_ms)
				best = c;
		if (first >= h->n || h->e[best].due_ms >= last.due_ms)
			break;
		h->e[i] = h->e[best];
		i = best;
	}
	if (h->n > 0)
		h->e[i] = last;
	if (h->n == 0 || (h->cap > 64 && h->n < h->cap / 4)) {
		h->cap = h->n;
		if (h->n == 0) {
			free(h->e);
			h->e = NULL;
		} else {
			h->e = xreallocarray(h->e, h->cap, sizeof(*h->e));
		}
	}
	return m;
}

/* Rounded up, and from clocks read now: a message must not be taken for due before it is. */
static int64_t due_to_mono(int64_t due_us)
{
	int64_t left = due_us - rt_wall_us();
	return left > 0 ? (rt_now_us_exact() + left + 999) / 1000 : rt_now_ms();
}

int msg_delay_by(struct msg *m, int64_t delay_ms)
{
	return msg_set_due_scheduled(m, rt_wall_us() + MAX(delay_ms, 0) * 1000);
}

/* --- going in -------------------------------------------------------------------------------------------------------------------- */

/* Delayed records say why a message waits, unless a TransientFailure record has said so. */
static void log_delayed(struct msg *m, struct queue_context why)
{
	struct buf b = { 0 };
	int64_t due = msg_due_us(m), left = due - rt_wall_us();

	if (context_only(&why, WHY_ENUMERATED) || context_has(&why, WHY_LOGGED))
		return;
	if (context_only(&why, WHY_RECEIVED) && (msg_flags(m) & MSG_SCHEDULED))
		context_add(&why, WHY_SCHEDULED);
	buf_lit(&b, "Context: ");
	context_put(&b, &why);
	buf_lit(&b, ". Next due in ");
	duration_put(&b, MAX(left, 0) * 1000);
	buf_lit(&b, " at ");
	time_put_rfc3339(&b, due, 6, true);
	struct log_event ev = record_of(LOG_DELAYED, m, SLICE(""), response_of(400, 0, buf_view(&b)));
	record_write(&ev);
	buf_fini(&b);
}

static int shrink_policy(const struct queue_opts *o, int64_t left_ns)
{
	const struct shrink_entry *e = o->shrink_policy.items;
	int policy = SHRINK_DATA_AND_META;
	for (size_t i = 0; i < o->shrink_policy.n; i++)
		if (left_ns >= e[i].interval)
			policy = e[i].policy;
	return policy;
}

/* A message that waits leaves memory; what the spool does not have yet goes there first. */
static void save_and_shrink(struct msg *m, const struct queue_opts *o, int64_t left_ms)
{
	int policy = shrink_policy(o, left_ms * 1000000), rc;
	if (policy == SHRINK_DATA_AND_META)
		rc = msg_shrink(m);
	else if (policy == SHRINK_DATA)
		rc = msg_shrink_data(m);
	else
		rc = msg_save(m);
	if (rc < 0)
		diag_error("kumo.queue", "a waiting message could not be saved and stays in memory: %s", err_text());
}

static void sched_make_metrics(struct sched_queue *q)
{
	const struct queue_opts *o = queue_opts_of(q->conf);
	struct slice provider = o->provider_name.ptr ? o->provider_name : queue_name_route(&q->parts);
	if (q->has_metrics)
		return;
	sched_metrics_init(&q->metrics, q->name, q->parts.domain, q->parts.tenant, q->parts.campaign, provider,
			   o->egress_pool.ptr ? o->egress_pool : SLICE("unspecified"));
	q->has_metrics = true;
}

void sched_count_delay(struct sched_queue *q, enum delay_cause cause)
{
	rt_lock(&q->lock);
	sched_metrics_delayed(&q->metrics, q->name, cause);
	rt_unlock(&q->lock);
}

/* Into the heap; the queue may have been reaped since it was looked up: then into its successor. */
static void sched_push(struct sched_queue *q, struct msg *m)
{
	int64_t due = due_to_mono(msg_due_us(m));
	struct sched_queue *again;

	rt_lock(&q->lock);
	if (!q->reaped) {
		sched_make_metrics(q);
		due_push(&q->waiting, due, m);
		q->last_change_ms = rt_now_ms();
		sched_metrics_count(&q->metrics, 1);
		if (!q->draining)	/* else the drain sets the tick when it ends */
			tick_set_earlier(&q->tick, due);
		rt_unlock(&q->lock);
		return;
	}
	rt_unlock(&q->lock);
	if (sched_get(q->name, &again) < 0) {
		sched_set_aside(m, "configuration of a queue");
		return;
	}
	sched_push(again, m);
	sched_unref(&again);
}

/* Puts M in to wait for its due time, which lies ahead. Takes the reference over. Yields (saves and shrinks it). */
static void sched_wait(struct sched_queue *q, struct msg *m, struct queue_context why)
{
	struct conf *conf = sched_conf(q);
	log_delayed(m, why);
	if (queue_stopping()) {
		if (msg_save(m) < 0)
			diag_error("kumo.queue", "a message could not be saved while stopping: %s", err_text());
		msg_unref(&m);
	} else {
		save_and_shrink(m, queue_opts_of(conf), (msg_due_us(m) - rt_wall_us()) / 1000);
		sched_push(q, m);
	}
	conf_unref(&conf);
}

void sched_wait_jitter(struct sched_queue *q, struct msg *m, int64_t max_ms, struct queue_context why)
{
	if (msg_delay_by(m, 1 + rand_below(max_ms)) < 0)
		msg_set_due_us(m, rt_wall_us() + max_ms * 1000);
	sched_wait(q, m, why);
}

int sched_insert(struct sched_queue *q, struct msg *m, struct queue_context why)
{
	struct bounce *b = admin_bounce_match(q->name, &q->parts);
	if (b) {
		admin_bounce_message(b, m, q->name);
		return 0;
	}
	if (queue_stopping()) {
		int rc = (msg_flags(m) & (MSG_META_DIRTY | MSG_DATA_DIRTY)) ? msg_save(m) : 0;
		if (rc == 0)
			msg_unref(&m);
		return rc;
	}
	if (msg_due_us(m) > rt_wall_us())
		sched_wait(q, m, why);
	else
		sched_promote(q, m, why);
	return 0;
}

void sched_insert_or_report(struct sched_queue *q, struct msg *m, struct queue_context why)
{
	if (sched_insert(q, m, why) == 0)
		return;
	diag_error("kumo.queue", "%.*s: a message could not be saved while stopping: %s", SLICE_ARG(q->name), err_text());
	msg_unref(&m);
}

/* --- going out -------------------------------------------------------------------------------------------------------------------- */

static unsigned take_due(struct sched_queue *q, struct msg **out, unsigned max)
{
	unsigned n = 0;
	int64_t begun_us = rt_now_us_exact();
	rt_lock(&q->lock);
	int64_t now = rt_now_ms();
	while (n < max && q->waiting.n > 0 && q->waiting.e[0].due_ms <= now) {
		qmetrics_timeq(TIMEQ_POP_TARDINESS, begun_us - q->waiting.e[0].due_ms * 1000);
		out[n++] = due_pop(&q->waiting);
	}
	if (n > 0) {
		q->last_change_ms = now;
		sched_metrics_count(&q->metrics, -(int64_t)n);
	} else {	/* the end of the drain, decided under the lock that insertions take */
		q->draining = false;
		int64_t reap = now + MAX(queue_opts_of(q->conf)->reap_interval / 1000000, 1);
		tick_set(&q->tick, q->waiting.n ? q->waiting.e[0].due_ms : reap);
	}
	rt_unlock(&q->lock);
	if (n > 0)
		qmetrics_popped(begun_us);
	return n;
}

static void sched_due(struct sched_queue *q, struct msg *m)
{
	if (queue_stopping())
		sched_insert_or_report(q, m, context_of(WHY_DUE));
	else
		sched_promote(q, m, context_of(WHY_DUE));
}

static void drain_queue(struct sched_queue *q)
{
	struct msg *batch[DRAIN_BATCH];
	unsigned n;
	qmetrics_run(false);
	while ((n = take_due(q, batch, DRAIN_BATCH)) > 0) {
		for (unsigned i = 0; i < n; i++)
			sched_due(q, batch[i]);
		rt_yield();
	}
}

static void drain_fiber(void *arg)
{
	struct sched_queue *q = arg;
	while (q) {
		drain_queue(q);
		sched_unref(&q);
		rt_lock(&drains.lock);
		struct list *l = queue_stopping() ? NULL : list_pop(&drains.pending);
		if (l)
			q = LIST_ENTRY(l, struct sched_queue, pending);
		else
			drains.running--;
		rt_unlock(&drains.lock);
	}
}

/* Gives the queue (a reference) to a fiber of its own, or to the next one that comes free. */
static void drain_start(struct sched_queue *q)
{
	rt_lock(&drains.lock);
	bool now = drains.running < DRAINS_MAX;
	if (now)
		drains.running++;
	else
		list_push(&drains.pending, &q->pending);
	rt_unlock(&drains.lock);
	if (now)
		sched_spawn("queue drain", drain_fiber, q);
}

void sched_on_tick(struct tick *t)
{
	struct sched_queue *q = CONTAINER_OF(t, struct sched_queue, tick);
	bool drain = false, reap = false;
	OBJ_CHECK(q, SCHED_MAGIC);
	rt_lock(&q->lock);
	int64_t now = rt_now_ms(), reap_at = q->last_change_ms + MAX(queue_opts_of(q->conf)->reap_interval / 1000000, 1);
	if (q->draining)
		;
	else if (q->waiting.n > 0 && q->waiting.e[0].due_ms <= now)
		drain = q->draining = true;
	else if (q->waiting.n > 0)
		tick_set(&q->tick, q->waiting.e[0].due_ms);
	else if (now >= reap_at && !q->refreshing)
		reap = true;
	else
		tick_set(&q->tick, MAX(reap_at, now + 1000));
	rt_unlock(&q->lock);
	if (drain)
		drain_start(sched_ref(q));
	else if (reap)
		sched_reap(q);
}

/* --- looking and taking out ---------------------------------------------------------------------------------------------------------- */

struct msg **sched_drain(struct sched_queue *q, size_t *n)
{
	rt_lock(&q->lock);
	struct due_entry *e = q->waiting.e;
	*n = q->waiting.n;
	q->waiting = (struct due_heap){ 0 };
	if (*n)
		sched_metrics_count(&q->metrics, -(int64_t)*n);
	q->last_change_ms = rt_now_ms();
	if (!q->draining && !q->reaped)
		tick_set(&q->tick, rt_now_ms() + MAX(queue_opts_of(q->conf)->reap_interval / 1000000, 1));
	rt_unlock(&q->lock);
	struct msg **out = xcalloc(*n + 1, sizeof(*out));
	for (size_t i = 0; i < *n; i++)
		out[i] = e[i].msg;
	free(e);
	return out;
}

struct msg **sched_peek(struct sched_queue *q, int64_t limit, size_t *n)
{
	rt_lock(&q->lock);
	*n = limit < 0 ? q->waiting.n : MIN((size_t)limit, q->waiting.n);
	struct msg **out = xcalloc(*n + 1, sizeof(*out));
	for (size_t i = 0; i < *n; i++)
		out[i] = msg_ref(q->waiting.e[i].msg);
	rt_unlock(&q->lock);
	return out;
}

/* --- the end -------------------------------------------------------------------------------------------------------------------------- */

void sched_stop_hands(void)
{
	rt_lock(&drains.lock);
	struct list *l;
	while ((l = list_pop(&drains.pending))) {
		struct sched_queue *q = LIST_ENTRY(l, struct sched_queue, pending);
		rt_unlock(&drains.lock);
		sched_unref(&q);
		rt_lock(&drains.lock);
	}
	while (drains.hands > 0 && rt_cond_wait(&drains.idle, &drains.lock, HANDS_STOP_MS) == 0)
		;
	if (drains.hands > 0)
		diag_error("kumo.queue", "%u fibers with messages in hand did not end in time; those messages are in the spool", drains.hands);
	rt_unlock(&drains.lock);
}

void sched_begin_stop(void) { atomic_store(&stopping, true); }

void sched_stop(void)
{
	size_t n, k, failed = 0;
	sched_stop_hands();
	requeue_stop();
	struct sched_queue **all = sched_all(&n);
	for (size_t i = 0; i < n; i++) {
		struct msg **m = sched_drain(all[i], &k);
		for (size_t j = 0; j < k; j++) {
			if ((msg_flags(m[j]) & (MSG_META_DIRTY | MSG_DATA_DIRTY)) && msg_save(m[j]) < 0)
				failed++;
			msg_unref(&m[j]);
		}
		free(m);
		sched_unref(&all[i]);
	}
	free(all);
	if (failed)
		diag_error("kumo.queue", "%zu messages could not be saved while stopping: %s", failed, err_text());
}
