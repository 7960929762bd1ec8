/* SPDX-License-Identifier: Apache-2.0 */
/* sched_map - which scheduled queues there are: looked up, made, refreshed, reaped. */
#include <stdlib.h>
#include "base/xalloc.h"
#include "queue/ready/route.h"
#include "queue/sched/sched_int.h"
#include "rt/clock.h"
#include "rt/diag.h"
#include "rt/fiber.h"
#include "rt/loop.h"

#define STRIPES 32

/* Somebody asks for the configuration of a new queue; others who want it meanwhile wait for that. */
struct flight {
	_Atomic uint32_t refs;
	struct rt_promise done;
	char *error;
};
static struct stripe {
	struct rt_lock lock;
	struct map queues, flights;
} stripes[STRIPES];

static struct stripe *stripe_of(struct slice name) { return &stripes[slice_hash(name) % STRIPES]; }

void sched_map_init(void)
{
	for (int i = 0; i < STRIPES; i++)
		rt_lock_init(&stripes[i].lock, RANK_QUEUE_MANAGER);
}

struct sched_queue *sched_ref(struct sched_queue *q)
{
	OBJ_CHECK(q, SCHED_MAGIC);
	atomic_fetch_add_explicit(&q->refs, 1, memory_order_relaxed);
	return q;
}

void sched_unref(struct sched_queue **qp)
{
	struct sched_queue *q = *qp;
	*qp = NULL;
	if (!q || atomic_fetch_sub(&q->refs, 1) != 1)
		return;
	OBJ_FINI(q, SCHED_MAGIC);
	assert(q->waiting.n == 0);
	free(q->waiting.e);
	conf_unref(&q->conf);
	pool_state_free(&q->pool);
	sched_metrics_fini(&q->metrics);
	rt_lock_fini(&q->lock);
	free(q);
}

static struct sched_queue *sched_make(struct slice name, struct conf *conf, uint64_t epoch)
{
	struct sched_queue *q = xzalloc(sizeof(*q) + name.len + 1);
	char *copy = (char *)(q + 1);
	memcpy(copy, name.ptr, name.len);
	OBJ_INIT(q, SCHED_MAGIC);
	atomic_store(&q->refs, 1);
	q->name = slice_new(copy, name.len);
	queue_name_parse(q->name, &q->parts);
	rt_lock_init(&q->lock, RANK_SCHED_QUEUE);
	q->conf = conf;
	const struct queue_opts *o = queue_opts_of(conf);
	q->term = conf_term_new(o->refresh_strategy, o->refresh_interval, epoch);
	q->last_change_ms = rt_now_ms();
	list_init(&q->pending);
	tick_init(&q->tick, slice_hash(q->name), sched_on_tick);
	tick_set(&q->tick, rt_now_ms() + MAX(o->reap_interval / 1000000, 1));
	qmetrics_queues(1);
	return q;
}

struct sched_queue *sched_find(struct slice name)
{
	struct stripe *s = stripe_of(name);
	rt_lock(&s->lock);
	struct sched_queue *q = map_get(&s->queues, name);
	if (q)
		sched_ref(q);
	rt_unlock(&s->lock);
	return q;
}

static int sched_ask_conf(struct slice name, const struct queue_name *p, struct conf **out)
{
	enum queue_proto proto;
	struct slice target;
	if (queue_name_reserved(name, &proto)) {
		*out = queue_conf_reserved(proto);
		return 0;
	}
	if (queue_name_xfer(name, &target)) {
		*out = queue_conf_xfer(target);
		return 0;
	}
	return fetch_queue(p->domain, p->tenant, p->campaign, p->routing_domain, out);
}

static void flight_unref(struct flight *f)
{
	if (atomic_fetch_sub(&f->refs, 1) != 1)
		return;
	rt_promise_fini(&f->done);
	free(f->error);
	free(f);
}

/* Asks, makes the queue, and lets those go who waited for it. */
static int flight_run(struct stripe *s, struct flight *f, struct slice name, struct sched_queue **out)
{
	struct queue_name parts;
	struct conf *conf;
	struct sched_queue *q = NULL;
	uint64_t epoch = policy_epoch();

	queue_name_parse(name, &parts);
	int rc = sched_ask_conf(name, &parts, &conf);
	if (rc == 0)
		q = sched_make(name, conf, epoch);
	else
		f->error = xstrdup(err_text());
	rt_lock(&s->lock);
	map_del(&s->flights, name);
	if (q) {
		map_put(&s->queues, name, q);
		*out = sched_ref(q);
	}
	rt_unlock(&s->lock);
	rt_promise_set(&f->done, rc, NULL);
	flight_unref(f);	/* the map's */
	return rc;
}

static struct flight *flight_join(struct stripe *s, struct slice name, bool *mine)
{
	struct flight *f = map_get(&s->flights, name);
	*mine = !f;
	if (!f) {
		f = xzalloc(sizeof(*f));
		atomic_store(&f->refs, 1);
		rt_promise_init(&f->done);
		map_put(&s->flights, name, f);
	}
	atomic_fetch_add(&f->refs, 1);
	return f;
}

int sched_get(struct slice name, struct sched_queue **out)
{
	struct stripe *s = stripe_of(name);
	for (;;) {
		bool mine;
		rt_lock(&s->lock);
		struct sched_queue *q = map_get(&s->queues, name);
		if (q) {
			*out = sched_ref(q);
			rt_unlock(&s->lock);
			return 0;
		}
		struct flight *f = flight_join(s, name, &mine);
		rt_unlock(&s->lock);
		int64_t start = rt_now_us_exact();
		int rc = mine ? flight_run(s, f, name, out) : rt_promise_wait(&f->done, NULL);
		qmetrics_latency(LAT_RESOLVE, rt_now_us_exact() - start);
		if (rc < 0 && !mine && f->error)
			err_set(-rc, "%s", f->error);
		flight_unref(f);
		if (mine || (rc < 0 && !((rc == -E_CANCELED || rc == -E_TIMEOUT) && rt_check() == 0)))
			return rc;
	}
}

struct sched_queue **sched_all(size_t *n)
{
	struct sched_queue **all = NULL;
	size_t cap = 0;
	*n = 0;
	for (int i = 0; i < STRIPES; i++) {
		rt_lock(&stripes[i].lock);
		struct map_iter it = { 0 };
		if (*n + map_len(&stripes[i].queues) > cap) {
			cap = *n + map_len(&stripes[i].queues) + 1024;
			all = xreallocarray(all, cap, sizeof(*all));
		}
		while (map_next(&stripes[i].queues, &it))
			all[(*n)++] = sched_ref(it.value);
		rt_unlock(&stripes[i].lock);
	}
	return all;
}

/* Takes an empty queue out of the map. With no lock held. */
void sched_reap(struct sched_queue *q)
{
	struct stripe *s = stripe_of(q->name);
	rt_lock(&s->lock);
	rt_lock(&q->lock);
	bool reap = q->waiting.n == 0 && !q->draining && !q->refreshing && !q->reaped;
	q->reaped |= reap;
	rt_unlock(&q->lock);
	if (reap && map_get(&s->queues, q->name) == q)
		map_del(&s->queues, q->name);
	rt_unlock(&s->lock);
	if (reap) {
		tick_clear(&q->tick);
		qmetrics_queues(-1);
		sched_unref(&q);
	}
}

/* --- configuration ------------------------------------------------------------------------------------------------------------ */

static void refresh_fiber(void *arg)
{
	struct sched_queue *q = arg;
	struct conf *conf = NULL;
	uint64_t epoch = policy_epoch();
	int rc = sched_ask_conf(q->name, &q->parts, &conf);
	if (rc < 0)
		diag_error("kumo.queue", "%.*s: asking for its configuration again: %s", SLICE_ARG(q->name), err_text());
	rt_lock(&q->lock);
	if (rc == 0) {
		struct conf *old = q->conf;
		q->conf = conf;
		conf = old;
	}
	const struct queue_opts *o = queue_opts_of(q->conf);
	q->term = conf_term_new(o->refresh_strategy, o->refresh_interval, epoch);
	q->refreshing = false;
	rt_unlock(&q->lock);
	conf_unref(&conf);
	sched_unref(&q);
}

struct conf *sched_conf(struct sched_queue *q)
{
	bool start = false;
	rt_lock(&q->lock);
	struct conf *c = conf_ref(q->conf);
	if (!conf_fresh(&q->term, rt_now_ms(), policy_epoch()) && !q->refreshing && !queue_stopping())
		start = q->refreshing = true;
	rt_unlock(&q->lock);
	if (start)	/* the one at hand serves meanwhile */
		rt_fiber_spawn("queue config", refresh_fiber, sched_ref(q));
	return c;
}
