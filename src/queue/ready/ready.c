/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/ready/ready.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/xalloc.h"
#include "queue/ready/dispatch.h"
#include "queue/memory.h"
#include "rt/clock.h"
#include "rt/diag.h"
#include "rt/fiber.h"
#include "rt/loop.h"

#define READY_MAGIC OBJ_MAGIC('R', 'E', 'D', 'Y')
#define REAP_MS (10 * 60 * 1000)
#define BODIES_AT_EASE (16 << 20)	/* bytes of messages in memory that nobody minds */
#define LONG_LINE 256
#define RETRY_MS 1000		/* between looks at a queue that has messages and may not connect */

static struct {
	struct rt_lock lock;
	struct map queues;
} manager = { .lock = RT_LOCK_INIT(RANK_READY_MANAGER) };

static void ready_on_tick(struct tick *t);

void ready_init(void) { manager.queues = (struct map){ 0 }; }

/* --- which there are ----------------------------------------------------------------------------------------------------------- */

struct ready_queue *ready_ref(struct ready_queue *q)
{
	OBJ_CHECK(q, READY_MAGIC);
	atomic_fetch_add_explicit(&q->refs, 1, memory_order_relaxed);
	return q;
}

void ready_unref(struct ready_queue **qp)
{
	struct ready_queue *q = *qp;
	*qp = NULL;
	if (!q || atomic_fetch_sub(&q->refs, 1) != 1)
		return;
	OBJ_FINI(q, READY_MAGIC);
	assert(q->n == 0 && q->n_conns == 0);
	conf_unref(&q->queue_conf);
	conf_unref(&q->source);
	conf_unref(&q->path);
	mx_site_unref(&q->mx);
	ready_metrics_fini(&q->metrics);
	rt_lock_fini(&q->lock);
	free(q);
}

void ready_name_put(struct buf *b, const struct ready_key *k)
{
	buf_slice(b, k->source);
	buf_lit(b, "->");
	buf_slice(b, k->site);
	buf_putc(b, '@');
	buf_slice(b, queue_opts_of(k->queue_conf)->protocol.ready_name);
}

static struct slice put_str(char **at, struct slice s)
{
	char *p = *at;
	if (s.len)
		memcpy(p, s.ptr, s.len);
	p[s.len] = 0;
	*at = p + s.len + 1;
	return slice_new(p, s.len);
}

static struct ready_queue *ready_make(const struct ready_key *k, struct slice name, struct conf *source, struct conf *path, uint64_t epoch)
{
	const struct path_opts *o = path_opts_of(path);
	enum queue_proto proto = queue_opts_of(k->queue_conf)->protocol.kind;
	struct slice provider = o->provider_name.ptr ? o->provider_name : k->mx ? k->site : k->route_domain;
	size_t text = name.len + k->source.len + k->site.len + k->pool.len + k->route_domain.len + provider.len + 6;
	struct ready_queue *q = xzalloc(sizeof(*q) + text);
	char *at = (char *)(q + 1);

	OBJ_INIT(q, READY_MAGIC);
	atomic_store(&q->refs, 1);
	q->name = put_str(&at, name);
	q->source_name = put_str(&at, k->source);
	q->site = put_str(&at, k->site);
	q->pool = put_str(&at, k->pool);
	q->route_domain = put_str(&at, k->route_domain);
	q->provider = put_str(&at, provider);
	q->proto = proto;
	q->queue_conf = conf_ref(k->queue_conf);
	q->source = source;
	q->path = path;
	q->term = conf_term_new(o->refresh_strategy, o->refresh_interval, epoch);
	q->mx = k->mx ? mx_site_ref(k->mx) : NULL;
	rt_lock_init(&q->lock, RANK_READY_QUEUE);
	list_init(&q->fifo);
	list_init(&q->conns);
	list_init(&q->idle);
	q->last_change_ms = rt_now_ms();
	ready_metrics_init(&q->metrics, queue_proto_name(proto), q->name, q->pool, q->source_name, q->provider);
	tick_init(&q->tick, slice_hash(name), ready_on_tick);
	tick_set(&q->tick, rt_now_ms() + REAP_MS);
	return q;
}

/* What may have changed since the queue was made: the MX answer, and options that its name does not show. */
static void ready_update(struct ready_queue *q, const struct ready_key *k)
{
	struct mx_site *old_mx = NULL;
	struct conf *old_conf = NULL;
	rt_lock(&q->lock);
	if (k->mx && q->mx != k->mx) {
		old_mx = q->mx;
		q->mx = mx_site_ref(k->mx);
	}
	if (q->queue_conf != k->queue_conf) {
		old_conf = q->queue_conf;
		q->queue_conf = conf_ref(k->queue_conf);
	}
	rt_unlock(&q->lock);
	mx_site_unref(&old_mx);
	conf_unref(&old_conf);
}

struct ready_queue *ready_find(struct slice name)
{
	rt_lock(&manager.lock);
	struct ready_queue *q = map_get(&manager.queues, name);
	if (q)
		ready_ref(q);
	rt_unlock(&manager.lock);
	return q;
}

/* Puts Q in unless another fiber was quicker; a reference of the one that stands. */
static struct ready_queue *ready_publish(struct ready_queue *q)
{
	rt_lock(&manager.lock);
	struct ready_queue *first = map_get(&manager.queues, q->name);
	if (!first) {
		map_put(&manager.queues, q->name, q);
		first = q;
	}
	ready_ref(first);
	rt_unlock(&manager.lock);
	if (first != q) {
		tick_clear(&q->tick);
		ready_unref(&q);
	}
	return first;
}

int ready_get(const struct ready_key *k, struct ready_queue **out)
{
	struct buf name = { 0 };
	struct conf *source = NULL, *path = NULL;
	uint64_t epoch = policy_epoch();
	int rc = 0;

	ready_name_put(&name, k);
	*out = ready_find(buf_view(&name));
	if (*out) {
		ready_update(*out, k);
		goto out;
	}
	if ((rc = fetch_source(k->source, &source)) < 0)
		goto out;
	if ((rc = fetch_path(k->route_domain, k->source, k->site, &path)) < 0) {
		conf_unref(&source);
		goto out;
	}
	*out = ready_publish(ready_make(k, buf_view(&name), source, path, epoch));
out:
	buf_fini(&name);
	return rc;
}

struct ready_queue **ready_all(size_t *n)
{
	struct map_iter it = { 0 };
	*n = 0;
	rt_lock(&manager.lock);
	struct ready_queue **all = xcalloc(map_len(&manager.queues) + 1, sizeof(*all));
	while (map_next(&manager.queues, &it))
		all[(*n)++] = ready_ref(it.value);
	rt_unlock(&manager.lock);
	return all;
}

/* Out of the map when it is empty and nobody connects for it; routes that still know it are told by ready_insert. */
static void ready_retire(struct ready_queue *q)
{
	rt_lock(&manager.lock);
	rt_lock(&q->lock);
	bool retire = q->n == 0 && q->n_conns == 0 && !q->refreshing && !q->retired;
	q->retired |= retire;
	rt_unlock(&q->lock);
	if (retire && map_get(&manager.queues, q->name) == q)
		map_del(&manager.queues, q->name);
	rt_unlock(&manager.lock);
	if (retire) {
		tick_clear(&q->tick);
		ready_unref(&q);
	}
}

/* --- configuration ------------------------------------------------------------------------------------------------------------------ */

/* After max_ready was lowered: those that no longer fit, latest first. */
static size_t take_excess(struct ready_queue *q, struct list *to)
{
	size_t n = 0;
	while (q->n > (uint64_t)path_opts_of(q->path)->max_ready) {
		struct list *last = q->fifo.prev;
		list_remove(last);
		list_push(to, last);
		q->n--;
		n++;
	}
	if (n)
		ready_metrics_count(&q->metrics, -(int64_t)n);
	return n;
}

static void reinsert_list(struct list *msgs, enum queue_reason why)
{
	struct list *l;
	while ((l = list_pop(msgs)))
		sched_reinsert(msg_from_link(LIST_ENTRY(l, struct msg_link, node)), context_of(why));
}

static void refresh_fiber(void *arg)
{
	struct ready_queue *q = arg;
	struct conf *path = NULL;
	struct list excess;
	uint64_t epoch = policy_epoch();

	list_init(&excess);
	int rc = fetch_path(q->route_domain, q->source_name, q->site, &path);
	if (rc < 0)
		diag_error("kumo.queue", "%.*s: asking for its configuration again: %s", SLICE_ARG(q->name), err_text());
	rt_lock(&q->lock);
	if (rc == 0) {
		struct conf *old = q->path;
		q->path = path;
		path = old;
		take_excess(q, &excess);
	}
	const struct path_opts *o = path_opts_of(q->path);
	q->term = conf_term_new(o->refresh_strategy, o->refresh_interval, epoch);
	q->refreshing = false;
	rt_unlock(&q->lock);
	conf_unref(&path);
	reinsert_list(&excess, WHY_MAX_READY);
	ready_wake(q);
	ready_unref(&q);
}

/* With the lock held: asks again in the background when the time has come. The one at hand serves meanwhile. */
static void refresh_if_due(struct ready_queue *q)
{
	if (q->refreshing || conf_fresh(&q->term, rt_now_ms(), policy_epoch()) || queue_stopping())
		return;
	q->refreshing = true;
	sched_spawn("path config", refresh_fiber, ready_ref(q));
}

struct conf *ready_path(struct ready_queue *q)
{
	rt_lock(&q->lock);
	refresh_if_due(q);
	struct conf *c = conf_ref(q->path);
	rt_unlock(&q->lock);
	return c;
}

/* --- connections ------------------------------------------------------------------------------------------------------------------------ */

unsigned ready_ideal_connections(size_t n, uint64_t limit)
{
	if (n <= 1 || limit <= 1)
		return MIN(n, limit);
	/* rises steeply with the first messages and levels out towards the limit */
	uint64_t goal = (uint64_t)ceil((double)MIN(limit, UINT32_MAX) * (1 - exp(-0.023 * (double)n)));
	return (unsigned)MIN(goal, n);
}

/* How soon a queue that is in use is looked at again: for work without connections, and for connections that hang. */
static int64_t look_again_ms(const struct ready_queue *q)
{
	const struct path_opts *o = path_opts_of(q->path);
	bool soon = (q->n > 0 && q->n_conns == 0) || (o->has_watchdog && o->dispatcher_progress_watchdog_timeout < 20 * 1000000000LL);
	return soon ? RETRY_MS : 10 * RETRY_MS;
}

/* With the lock held: starts dispatchers while the number of messages asks for more. */
static void assess(struct ready_queue *q)
{
	if (queue_stopping() || q->retired || q->n == 0 || q->n_waiting > 0)
		return;
	uint64_t limit = path_opts_of(q->path)->connection_limit.limit;
	if (q->n_conns >= limit)
		return;
	int64_t wait = q->no_conn_until_ms - rt_now_ms();
	if (wait > 0) {
		tick_set_earlier(&q->tick, q->no_conn_until_ms);
		return;
	}
	unsigned ideal = ready_ideal_connections(q->n, limit);
	if (memory_is_short())
		ideal = MIN(ideal, 2);	/* enough to get rid of messages, too few to hold many */
	if (q->n_conns < ideal)
		qmetrics_run(true);
	while (q->n_conns < ideal)
		dispatch_start(q);
	tick_set_earlier(&q->tick, rt_now_ms() + look_again_ms(q));
}

/* With the lock held: an idle dispatcher, one of this shard if there is one among the first few. */
static bool wake_idle(struct ready_queue *q)
{
	struct dispatcher *pick = NULL;
	int here = rt_shard_index(), looked = 0;
	LIST_EACH(l, &q->idle) {
		struct dispatcher *d = LIST_ENTRY(l, struct dispatcher, in_idle);
		if (!pick || d->shard == here)
			pick = d;
		if (d->shard == here || ++looked == 8)
			break;
	}
	if (!pick)
		return false;
	list_remove(&pick->in_idle);
	rt_cond_signal(&pick->wake);
	return true;
}

void ready_wake(struct ready_queue *q)
{
	rt_lock(&q->lock);
	LIST_EACH_SAFE(l, &q->idle) {
		struct dispatcher *d = LIST_ENTRY(l, struct dispatcher, in_idle);
		list_remove(&d->in_idle);
		rt_cond_signal(&d->wake);
	}
	assess(q);
	rt_unlock(&q->lock);
}

void ready_assess(struct ready_queue *q)
{
	rt_lock(&q->lock);
	assess(q);
	rt_unlock(&q->lock);
}

void ready_set_state(struct ready_queue *q, bool limited, const char *fmt, ...)
{
	va_list ap;
	rt_lock(&q->lock);
	struct ready_state *s = limited ? &q->limited : &q->throttled;
	s->since_us = fmt ? rt_wall_us() : 0;
	if (fmt) {
		va_start(ap, fmt);
		vsnprintf(s->context, sizeof(s->context), fmt, ap);
		va_end(ap);
	}
	rt_unlock(&q->lock);
}

static void ready_on_tick(struct tick *t)
{
	struct ready_queue *q = CONTAINER_OF(t, struct ready_queue, tick);
	OBJ_CHECK(q, READY_MAGIC);
	dispatch_check_progress(q);
	rt_lock(&q->lock);
	int64_t now = rt_now_ms(), reap_at = q->last_change_ms + REAP_MS;
	bool empty = q->n == 0 && q->n_conns == 0, reap = empty && now >= reap_at && !q->refreshing;
	if (!reap) {
		tick_set(&q->tick, empty ? MAX(reap_at, now + RETRY_MS) : now + look_again_ms(q));
		refresh_if_due(q);
		assess(q);
	}
	rt_unlock(&q->lock);
	if (reap)
		ready_retire(q);
}

/* --- messages ------------------------------------------------------------------------------------------------------------------------------ */

static void shrink_by(int policy, struct msg *m)
{
	int rc = policy == SHRINK_DATA_AND_META ? msg_shrink(m) : policy == SHRINK_DATA ? msg_shrink_data(m) : 0;
	if (rc < 0)
		diag_error("kumo.queue", "a message could not be saved and stays in memory: %s", err_text());
}

/* Near the limit of memory, bodies leave it again as messages become ready. */
static void shrink_when_low(struct ready_queue *q, struct msg *m)
{
	struct conf *path = ready_path(q);
	const struct path_opts *o = path_opts_of(path);
	shrink_by(memory_is_short() ? o->no_memory_reduction_policy : o->low_memory_reduction_policy, m);
	conf_unref(&path);
}

/* Sinks slower than sources: the bodies of those far back in line are in the spool, and come back when it is their turn. Does not wait. */
static void shrink_in_long_line(struct ready_queue *q, struct msg *m)
{
	if (msg_bytes_in_memory() > BODIES_AT_EASE && !(msg_flags(m) & (MSG_META_DIRTY | MSG_DATA_DIRTY)) && ready_len(q) > LONG_LINE)
		shrink_by(SHRINK_DATA, m);
}

bool ready_has_room(struct ready_queue *q)
{
	rt_lock(&q->lock);
	bool room = q->n < (uint64_t)path_opts_of(q->path)->max_ready;
	rt_unlock(&q->lock);
	if (!room)
		metric_add(q->metrics.full, 1);
	return room;
}

int ready_insert(struct ready_queue *q, struct msg *m)
{
	OBJ_CHECK(q, READY_MAGIC);
	if (memory_is_low())
		shrink_when_low(q, m);
	else
		shrink_in_long_line(q, m);
	rt_lock(&q->lock);
	if (q->retired || q->n >= (uint64_t)path_opts_of(q->path)->max_ready) {
		int rc = q->retired ? -E_AGAIN : -E_FULL;
		rt_unlock(&q->lock);
		if (rc == -E_FULL)
			metric_add(q->metrics.full, 1);
		return rc;
	}
	list_push(&q->fifo, &msg_link(m)->node);
	q->n++;
	q->last_change_ms = rt_now_ms();
	ready_metrics_count(&q->metrics, 1);
	refresh_if_due(q);
	if (!wake_idle(q))
		assess(q);
	rt_unlock(&q->lock);
	return 0;
}

struct msg *ready_pop(struct ready_queue *q)
{
	rt_lock(&q->lock);
	struct list *l = list_pop(&q->fifo);
	if (l) {
		q->n--;
		ready_metrics_count(&q->metrics, -1);
	}
	rt_unlock(&q->lock);
	return l ? msg_from_link(LIST_ENTRY(l, struct msg_link, node)) : NULL;
}

size_t ready_take_all(struct ready_queue *q, struct list *to)
{
	rt_lock(&q->lock);
	size_t n = q->n;
	list_splice(to, &q->fifo);
	q->n = 0;
	if (n)
		ready_metrics_count(&q->metrics, -(int64_t)n);
	rt_unlock(&q->lock);
	return n;
}

size_t ready_len(struct ready_queue *q)
{
	rt_lock(&q->lock);
	size_t n = q->n;
	rt_unlock(&q->lock);
	return n;
}

struct reinsert {
	struct list msgs;
	enum queue_reason why;
};

static void reinsert_fiber(void *arg)
{
	struct reinsert *r = arg;
	reinsert_list(&r->msgs, r->why);
	free(r);
}

void ready_reinsert_all(struct ready_queue *q, enum queue_reason why)
{
	struct reinsert *r = xzalloc(sizeof(*r));
	list_init(&r->msgs);
	r->why = why;
	if (ready_take_all(q, &r->msgs))
		sched_spawn("ready queue reinsert", reinsert_fiber, r);
	else
		free(r);
}

/* --- the end ---------------------------------------------------------------------------------------------------------------------------------- */

#define STOP_MS 5000		/* for connections that stand or come about without a message on its way */
#define CANCELED_MS 2000	/* for those that were told to end */

/* How long a delivery that is on its way may go on: what has been sent and not answered would be sent twice. */
static int64_t shutdown_ms(const struct path_opts *o)
{
	int64_t ns = o->has_system_shutdown_timeout ? o->system_shutdown_timeout :
	    o->mail_from_timeout + o->rcpt_to_timeout + o->data_timeout + o->data_dot_timeout;
	return ns / 1000000;
}

static _Atomic int64_t hurry_at_ms = INT64_MAX;

void ready_hurry(void)
{
	atomic_store(&hurry_at_ms, rt_now_ms());
}

/* Cancels the connections whose time is over, at AT_MOST_MS for all; whether any need be waited for. */
static bool wind_down(struct ready_queue *q, int64_t elapsed_ms, int64_t at_most_ms)
{
	rt_lock(&q->lock);
	int64_t delivery_ms = shutdown_ms(path_opts_of(q->path));
	bool wait = q->n_conns > 0 && elapsed_ms < MIN(at_most_ms, (int64_t)STOP_MS) + CANCELED_MS;
	LIST_EACH(l, &q->conns) {
		struct dispatcher *d = LIST_ENTRY(l, struct dispatcher, in_conns);
		int64_t allowed = MIN(at_most_ms, d->phase == PHASE_DELIVERING || d->phase == PHASE_CLOSING ? delivery_ms : (int64_t)STOP_MS);
		if (elapsed_ms >= allowed && d->fiber)
			rt_fiber_cancel(d->fiber);
		wait |= elapsed_ms < allowed + CANCELED_MS;
	}
	rt_unlock(&q->lock);
	return wait;
}

/* What a ready queue still holds is in the spool, unless its spooling was deferred. */
static void save_rest(struct ready_queue *q)
{
	struct list rest, *l;
	list_init(&rest);
	ready_take_all(q, &rest);
	while ((l = list_pop(&rest)))
		sched_leave_to_spool(msg_from_link(LIST_ENTRY(l, struct msg_link, node)));
}

void ready_stop(void)
{
	size_t n;
	struct ready_queue **all = ready_all(&n);
	int64_t start = rt_now_ms();
	bool wait = true;

	for (size_t i = 0; i < n; i++)
		ready_wake(all[i]);
	while (wait) {
		wait = false;
		for (size_t i = 0; i < n; i++)
			wait |= wind_down(all[i], rt_now_ms() - start, atomic_load(&hurry_at_ms) - start);
		wait = wait && rt_sleep_ms(MIN(10 + (rt_now_ms() - start) / 20, 1000)) == 0;
	}
	for (size_t i = 0; i < n; i++) {
		save_rest(all[i]);
		ready_unref(&all[i]);
	}
	free(all);
}
