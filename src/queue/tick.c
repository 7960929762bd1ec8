/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/tick.h"
#include <stdlib.h>
#include "base/xalloc.h"
#include "rt/clock.h"
#include "rt/fiber.h"
#include "rt/loop.h"
#include "rt/sync.h"

struct tick_home {
	struct rt_lock lock;
	struct heap heap;
	struct rt_cond changed, ended;
	bool stop, running;
};
static struct tick_home *homes;
static int n_homes;

/* Calls what is due; with the lock held on entry and return, not in between. */
static void home_run_due(struct tick_home *h)
{
	struct heap_node *n;
	unsigned done = 0;
	while (!h->stop && (n = heap_min(&h->heap)) && n->key <= rt_now_ms()) {
		struct tick *t = CONTAINER_OF(n, struct tick, node);
		heap_remove(&h->heap, n);
		rt_unlock(&h->lock);
		t->fn(t);
		if (++done % 256 == 0)
			rt_yield();	/* a herd of queues must not hold up the shard's sessions */
		rt_lock(&h->lock);
	}
}

static void home_fiber(void *arg)
{
	struct tick_home *h = arg;
	rt_lock(&h->lock);
	while (!h->stop) {
		home_run_due(h);
		struct heap_node *n = heap_min(&h->heap);
		int64_t left = n ? MAX(n->key - rt_now_ms(), 1) : INT64_MAX;
		if (!h->stop && rt_cond_wait(&h->changed, &h->lock, left) == -E_CANCELED)
			break;
	}
	h->running = false;
	rt_cond_broadcast(&h->ended);
	rt_unlock(&h->lock);
}

int tick_start(void)
{
	assert(!homes);
	n_homes = rt_shard_count();
	homes = xcalloc(n_homes, sizeof(*homes));
	for (int i = 0; i < n_homes; i++) {
		rt_lock_init(&homes[i].lock, RANK_CACHE);
		rt_cond_init(&homes[i].changed);
		rt_cond_init(&homes[i].ended);
		homes[i].running = true;
		rt_fiber_spawn_on(rt_shard_at(i), "queue ticks", home_fiber, &homes[i]);
	}
	return 0;
}

void tick_stop(void)
{
	struct rt_shield sh;
	rt_shield_enter(&sh);
	for (int i = 0; i < n_homes; i++) {
		struct tick_home *h = &homes[i];
		rt_lock(&h->lock);
		h->stop = true;
		rt_cond_broadcast(&h->changed);
		while (h->running && rt_cond_wait(&h->ended, &h->lock, 5000) == 0)
			;
		rt_unlock(&h->lock);
	}
	rt_shield_leave(&sh);
}

void tick_init(struct tick *t, uint64_t hash, void (*fn)(struct tick *t))
{
	assert(homes);
	*t = (struct tick){ .home = &homes[hash % n_homes], .fn = fn };
}

static void tick_move(struct tick *t, int64_t at_ms, bool only_earlier)
{
	struct tick_home *h = t->home;
	rt_lock(&h->lock);
	struct heap_node *first = heap_min(&h->heap);
	int64_t before = first ? first->key : INT64_MAX;
	if (!heap_has(&t->node))
		heap_push(&h->heap, &t->node, at_ms);
	else if (t->node.key != at_ms && (!only_earlier || at_ms < t->node.key))
		heap_update(&h->heap, &t->node, at_ms);
	if (heap_min(&h->heap)->key < before)
		rt_cond_signal(&h->changed);
	rt_unlock(&h->lock);
}

void tick_set(struct tick *t, int64_t at_ms) { tick_move(t, at_ms, false); }
void tick_set_earlier(struct tick *t, int64_t at_ms) { tick_move(t, at_ms, true); }

void tick_clear(struct tick *t)
{
	rt_lock(&t->home->lock);
	heap_remove(&t->home->heap, &t->node);
	rt_unlock(&t->home->lock);
}
