/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/ready/route.h"
#include <stdlib.h>
#include "base/xalloc.h"
#include "queue/admin/int.h"
#include "queue/health.h"
#include "rt/clock.h"
#include "rt/diag.h"

/* The way over one source: a ready queue, while the answers that led there hold. */
struct way {
	struct slice source;		/* of the pool's arena */
	uint32_t weight;
	struct ready_queue *ready;	/* a reference; under the queue's lock */
	int64_t until_ms;
	struct conf *conf;		/* the queue configuration it was found with: compared, not read */
};
struct pool_state {
	_Atomic uint32_t refs;
	struct conf *pool;
	struct conf_term term;		/* under the queue's lock */
	struct wrr wrr;			/* under the queue's lock */
	uint32_t n;
	struct way ways[];
};

static struct pool_state *state_ref(struct pool_state *p)
{
	atomic_fetch_add(&p->refs, 1);
	return p;
}

void pool_state_free(struct pool_state **pp)
{
	struct pool_state *p = *pp;
	*pp = NULL;
	if (!p || atomic_fetch_sub(&p->refs, 1) != 1)
		return;
	for (uint32_t i = 0; i < p->n; i++) {
		ready_unref(&p->ways[i].ready);
		conf_unref(&p->ways[i].conf);
	}
	conf_unref(&p->pool);
	free(p);
}

/* --- weighted round robin -------------------------------------------------------------------------------------------------------- */

static uint32_t gcd(uint32_t a, uint32_t b)
{
	while (b) {
		uint32_t r = a % b;
		a = b;
		b = r;
	}
	return a;
}

int wrr_next(struct wrr *w, const uint32_t *weights, int n)
{
	uint32_t max = 0, step = 0;
	for (int i = 0; i < n; i++) {
		max = MAX(max, weights[i]);
		step = gcd(step, weights[i]);
	}
	if (max == 0)
		return -1;
	for (;;) {
		w->index = (w->index + 1) % n;
		if (w->index == 0 || n == 1) {
			w->weight = w->weight > step ? w->weight - step : 0;
			if (w->weight == 0 || w->weight > max)
				w->weight = max;
		}
		if (weights[w->index] >= w->weight && weights[w->index] > 0)
			return w->index;
	}
}

/* --- the pool of a queue ---------------------------------------------------------------------------------------------------------- */

static struct pool_state *state_make(struct conf *pool, uint64_t epoch)
{
	const struct pool_opts *o = pool_opts_of(pool);
	const struct pool_entry *e = o->entries.items;
	struct pool_state *p = xzalloc(sizeof(*p) + o->entries.n * sizeof(p->ways[0]));
	atomic_store(&p->refs, 1);
	p->pool = pool;
	p->term = conf_term_new(REFRESH_TTL, o->ttl, epoch);
	for (size_t i = 0; i < o->entries.n; i++)
		if (e[i].weight > 0)
			p->ways[p->n++] = (struct way){ .source = e[i].name, .weight = e[i].weight };
	return p;
}

/* The queue's state; asks for the pool when it is not known or no longer holds. Its round robin goes on when nothing changed. */
static int state_get(struct sched_queue *q, const struct queue_opts *o, struct pool_state **out)
{
	uint64_t epoch = policy_epoch();
	struct slice want = o->egress_pool.ptr ? o->egress_pool : SLICE("unspecified");
	struct pool_state *p = NULL, *made;
	struct conf *pool;

	rt_lock(&q->lock);
	if (q->pool && conf_fresh(&q->pool->term, rt_now_ms(), epoch) && slice_eq(pool_opts_of(q->pool->pool)->name, want))
		p = state_ref(q->pool);
	rt_unlock(&q->lock);
	*out = p;
	if (p)
		return 0;
	int rc = fetch_pool(o->egress_pool, &pool);
	if (rc < 0)
		return rc;
	made = state_make(pool, epoch);
	rt_lock(&q->lock);
	if (q->pool && q->pool->pool == pool) {
		q->pool->term = made->term;
	} else {
		struct pool_state *old = q->pool;
		q->pool = made;
		made = old;
	}
	*out = state_ref(q->pool);
	rt_unlock(&q->lock);
	pool_state_free(&made);
	return 0;
}

/* --- one way --------------------------------------------------------------------------------------------------------------------------- */

int route_site(const struct conf *conf, struct slice route_domain, struct mx_site **mx, struct slice *site)
{
	const struct queue_protocol_opts *p = &queue_opts_of(conf)->protocol;
	*mx = NULL;
	if (p->kind != PROTO_SMTP) {
		*site = route_domain;
		return 0;
	}
	if (p->mx_list_site.ptr) {
		*site = p->mx_list_site;
		return 0;
	}
	int rc = mx_resolve(route_domain, mx);
	if (rc < 0)
		return rc;
	if ((*mx)->status == MX_NXDOMAIN || (*mx)->status == MX_FAIL) {
		rc = err_set((*mx)->status == MX_FAIL ? E_DNS : E_NXDOMAIN, "%.*s", SLICE_ARG((*mx)->error));
		mx_site_unref(mx);
		return rc;
	}
	*site = (*mx)->site_name;
	return 0;
}

/* The ready queue kept for way I, if it still holds. A reference. */
static struct ready_queue *way_cached(struct sched_queue *q, struct pool_state *p, uint32_t i, const struct conf *conf)
{
	struct ready_queue *r = NULL;
	rt_lock(&q->lock);
	struct way *w = &p->ways[i];
	if (w->ready && w->conf == conf && rt_now_ms() < w->until_ms)
		r = ready_ref(w->ready);
	bool by_mx = r && w->until_ms != INT64_MAX;
	rt_unlock(&q->lock);
	if (by_mx)
		mx_count_remembered();
	return r;
}

static void way_store(struct sched_queue *q, struct pool_state *p, uint32_t i, struct conf *conf, struct ready_queue *r, int64_t until_ms)
{
	struct way *w = &p->ways[i];
	rt_lock(&q->lock);
	struct ready_queue *old = w->ready;
	struct conf *old_conf = w->conf;
	w->ready = r ? ready_ref(r) : NULL;
	w->conf = r ? conf_ref(conf) : NULL;
	w->until_ms = until_ms;
	rt_unlock(&q->lock);
	ready_unref(&old);
	conf_unref(&old_conf);
}

static int way_get(struct sched_queue *q, struct pool_state *p, uint32_t i, struct conf *conf, struct ready_queue **out)
{
	struct ready_key k = { .source = p->ways[i].source, .pool = pool_opts_of(p->pool)->name, .queue_conf = conf, .route_domain = queue_name_route(&q->parts) };
	*out = way_cached(q, p, i, conf);
	if (*out)
		return 0;
	int rc = route_site(conf, k.route_domain, &k.mx, &k.site);
	if (rc < 0)
		return rc;
	rc = ready_get(&k, out);
	if (rc == 0)
		way_store(q, p, i, conf, *out, k.mx ? k.mx->expires_ms : INT64_MAX);
	mx_site_unref(&k.mx);
	return rc;
}

/* source_selection_rate and its like, smallest first: 0 when the source may be chosen, else for how long it may not. */
static int64_t selection_delay_ms(struct ready_queue *r)
{
	struct conf *path = ready_path(r);
	const struct path_opts *o = path_opts_of(path);
	struct throttle_slot slots[THROTTLE_SLOTS];
	struct buf name = { 0 };
	int64_t delay = 0;

	if (rate_given(&o->source_selection_rate) || o->additional_source_selection_rates.n) {
		buf_printf(&name, "kumomta.source_selection_rate.%.*s.%.*s", SLICE_ARG(r->name), SLICE_ARG(r->source_name));
		size_t n = throttle_collect(slots, buf_view(&name), &o->source_selection_rate, &o->additional_source_selection_rates);
		for (size_t i = 0; i < n && delay == 0; i++) {
			struct throttle_result t;
			if (throttle_check(slots[i].name, slots[i].rate, 1, &t) < 0)
				diag_error("kumo.queue", "%.*s: source selection rate: %s", SLICE_ARG(r->name), err_text());
			else if (t.throttled)
				delay = (t.retry_after_ns + 999999) / 1000000;
		}
	}
	conf_unref(&path);
	buf_fini(&name);
	return delay;
}

enum way_result { WAY_INSERTED, WAY_FULL, WAY_CLOSED, WAY_FAILED };

static enum way_result way_try(struct sched_queue *q, struct pool_state *p, uint32_t i, struct conf *conf, struct msg *m, int64_t *delay_ms)
{
	struct ready_queue *r;
	for (int tries = 0; tries < 4; tries++) {
		int64_t left = source_suspended_ms(p->ways[i].source);
		if (left > 0) {
			*delay_ms = MIN(*delay_ms, left);
			return WAY_CLOSED;
		}
		if (way_get(q, p, i, conf, &r) < 0)
			return WAY_FAILED;
		enum way_result res = WAY_CLOSED;
		if (admin_ready_suspended(r->name, &left, NULL)) {
			*delay_ms = MIN(*delay_ms, left);
		} else if (!ready_has_room(r)) {
			res = WAY_FULL;
		} else if ((left = selection_delay_ms(r)) > 0) {
			*delay_ms = MIN(*delay_ms, left);
		} else {
			int rc = ready_insert(r, m);
			if (rc == -E_AGAIN) {	/* retired since it was found */
				way_store(q, p, i, conf, NULL, 0);
				ready_unref(&r);
				continue;
			}
			res = rc == 0 ? WAY_INSERTED : WAY_FULL;
		}
		ready_unref(&r);
		return res;
	}
	err_set(E_AGAIN, "its ready queue was replaced again and again");
	return WAY_FAILED;
}

enum route_result route_insert(struct sched_queue *q, struct conf *conf, struct msg *m, int64_t *delay_ms)
{
	struct pool_state *p;
	uint32_t few[16], *weights = few;
	bool full = false;
	enum route_result res = ROUTE_NO_SOURCES;

	*delay_ms = INT64_MAX;
	if (state_get(q, queue_opts_of(conf), &p) < 0)
		return ROUTE_FAILED;
	if (p->n > ARRAY_LEN(few))
		weights = xcalloc(p->n, sizeof(*weights));
	for (uint32_t i = 0; i < p->n; i++)
		weights[i] = p->ways[i].weight;
	for (;;) {
		rt_lock(&q->lock);
		int i = p->n == 1 && weights[0] ? 0 : wrr_next(&p->wrr, weights, p->n);
		rt_unlock(&q->lock);
		if (i < 0)
			break;
		enum way_result w = way_try(q, p, i, conf, m, delay_ms);
		if (w == WAY_INSERTED || w == WAY_FAILED) {
			res = w == WAY_INSERTED ? ROUTE_INSERTED : ROUTE_FAILED;
			goto out;
		}
		full |= w == WAY_FULL;
		weights[i] = 0;		/* try the others */
	}
	if (full)
		res = ROUTE_FULL;
	else if (*delay_ms < INT64_MAX)
		res = ROUTE_DELAY;
out:
	if (weights != few)
		free(weights);
	pool_state_free(&p);
	return res;
}

bool route_feeds(struct sched_queue *q, const struct ready_queue *r)
{
	bool feeds = false;
	rt_lock(&q->lock);
	for (uint32_t i = 0; q->pool && i < q->pool->n; i++)
		feeds |= q->pool->ways[i].ready == r;
	rt_unlock(&q->lock);
	return feeds;
}
