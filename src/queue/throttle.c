/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/throttle.h"
#include <stdatomic.h>
#include "base/buf.h"
#include "base/map.h"
#include "base/xalloc.h"
#include <stdlib.h>
#include "rt/clock.h"
#include "rt/sync.h"

#define STRIPES 16
#define SWEEP_MIN 256

/* A cell is shared by reference count with those who are between lookup and update. */
struct cell {
	_Atomic int64_t tat_ns;		/* theoretical arrival time of the next one */
	uint32_t users;			/* under the stripe's lock */
};
static struct stripe {
	struct rt_lock lock;
	struct map cells;
	size_t sweep_at;
} stripes[STRIPES] = {
#define S { .lock = RT_LOCK_INIT(RANK_THROTTLE), .sweep_at = SWEEP_MIN }
	S, S, S, S, S, S, S, S, S, S, S, S, S, S, S, S
#undef S
};
static _Atomic(const struct throttle_backend *) backend;

void throttle_set_backend(const struct throttle_backend *b) { atomic_store(&backend, b); }
bool throttle_is_shared(void) { return atomic_load(&backend) != NULL; }
const struct throttle_backend *throttle_backend_get(void) { return atomic_load(&backend); }

/* Drops the cells that are as good as new. With the lock held. */
static void stripe_sweep(struct stripe *s, int64_t now)
{
	struct map kept = { 0 };
	struct map_iter it = { 0 };
	while (map_next(&s->cells, &it)) {
		struct cell *c = it.value;
		if (c->users == 0 && atomic_load(&c->tat_ns) <= now)
			free(c);
		else
			map_put(&kept, it.key, c);
	}
	map_fini(&s->cells);
	s->cells = kept;
	s->sweep_at = MAX(2 * map_len(&kept), SWEEP_MIN);
}

static struct cell *cell_get(struct stripe *s, struct slice key, int64_t now)
{
	rt_lock(&s->lock);
	struct cell *c = map_get(&s->cells, key);
	if (!c) {
		if (map_len(&s->cells) >= s->sweep_at)
			stripe_sweep(s, now);
		c = xzalloc(sizeof(*c));
		map_put(&s->cells, key, c);
	}
	c->users++;
	rt_unlock(&s->lock);
	return c;
}

static void cell_put(struct stripe *s, struct cell *c)
{
	rt_lock(&s->lock);
	c->users--;
	rt_unlock(&s->lock);
}

/* One step of the algorithm: CAPACITY may go at once, then one each INTERVAL. */
static void cell_step(struct cell *c, int64_t now, int64_t interval, uint64_t capacity, uint64_t quantity, struct throttle_result *out)
{
	__int128 window = (__int128)interval * capacity, increment = (__int128)interval * quantity, tat, new_tat;
	int64_t old = atomic_load(&c->tat_ns);
	do {
		tat = old > now ? old : now;
		new_tat = tat + increment;
		out->throttled = new_tat - now > window;
		if (out->throttled || new_tat > INT64_MAX)
			break;
	} while (!atomic_compare_exchange_weak(&c->tat_ns, &old, (int64_t)new_tat));
	__int128 used = (out->throttled ? tat : new_tat) - now;
	out->limit = capacity;
	out->remaining = used >= window ? 0 : (uint64_t)((window - used) / interval);
	out->reset_after_ns = (int64_t)MIN(used, (__int128)INT64_MAX);
	out->retry_after_ns = out->throttled ? (int64_t)MIN(MAX(new_tat - window - now, (__int128)1), (__int128)INT64_MAX) : 0;
}

static int check_local(struct slice key, const struct rate_spec *r, uint64_t burst, uint64_t quantity, struct throttle_result *out)
{
	int64_t now = rt_now_us_exact() * 1000, interval = (int64_t)(r->period_ns / r->limit);
	uint64_t capacity = MIN(burst, r->limit - 1) + 1;	/* the first one, and BURST more */

	if (interval == 0) {	/* faster than can be measured: no limit */
		*out = (struct throttle_result){ .limit = capacity, .remaining = capacity };
		return 0;
	}
	struct stripe *s = &stripes[slice_hash(key) % STRIPES];
	struct cell *c = cell_get(s, key, now);
	cell_step(c, now, interval, capacity, quantity, out);
	cell_put(s, c);
	return 0;
}

int throttle_check(struct slice name, const struct rate_spec *r, uint64_t quantity, struct throttle_result *out)
{
	const struct throttle_backend *b = r->local ? NULL : atomic_load(&backend);
	uint64_t burst = r->burst_given ? r->max_burst : r->limit;
	struct buf key = { 0 };

	if (r->limit == 0)
		return err_set(E_INVAL, "throttle %.*s: the limit must be greater than 0", SLICE_ARG(name));
	buf_slice(&key, name);
	buf_printf(&key, ":%llu:%llu:%llu", (unsigned long long)r->limit, (unsigned long long)burst, (unsigned long long)(r->period_ns / 1000000000));
	int rc = b ? b->check(buf_view(&key), r, burst, quantity, out) : check_local(buf_view(&key), r, burst, quantity, out);
	buf_fini(&key);
	return rc;
}

size_t throttle_collect(struct throttle_slot *slots, struct slice name, const struct rate_spec *primary, const struct opt_map *more)
{
	const struct rate_spec *rates = more->items;
	size_t n = 0;
	for (size_t k = 0; k <= more->n; k++) {
		struct throttle_slot t = k == 0 ? (struct throttle_slot){ name, primary } : (struct throttle_slot){ more->keys[k - 1], &rates[k - 1] };
		size_t i = n;
		if (!rate_given(t.rate))
			continue;
		while (i > 0 && rate_per_second(slots[i - 1].rate) > rate_per_second(t.rate))
			i--;
		if (i == THROTTLE_SLOTS)
			continue;
		n = MIN(n + 1, THROTTLE_SLOTS);
		memmove(slots + i + 1, slots + i, (n - 1 - i) * sizeof(*slots));
		slots[i] = t;
	}
	return n;
}
