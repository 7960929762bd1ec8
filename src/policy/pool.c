/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool - the idle Lua states of each shard.
 *
 * There is no limit on states in use: a call that waits for a state while it holds one would be a deadlock, and sessions are limited where
 * they are accepted. What is limited is how many idle ones are kept, how often one is used and how old it grows.
 */
#include <stdatomic.h>
#include <stdlib.h>
#include "base/xalloc.h"
#include "policy/internal.h"
#include "rt/clock.h"
#include "rt/fiber.h"
#include "rt/loop.h"

#define POOLS_MAX 256
#define FOREIGN_MAX_KB 1024	/* the most that one use of a state counts for: a step of the collector must stay short */

struct pool {
	struct list idle;	/* newest first */
	_Atomic size_t n;	/* others only look at it */
	bool ready;
} __attribute__((aligned(64)));

static struct pool pools[POOLS_MAX];	/* each owned by its shard */
static _Atomic int64_t max_uses = 1024, max_age_ms = 300 * 1000, max_spare = 8192;

void policy_set_max_uses(int64_t n)
{
	max_uses = n;
}

void policy_set_max_age_ms(int64_t ms)
{
	max_age_ms = ms;
}

void policy_set_max_spare(int64_t n)
{
	max_spare = n;
}

int64_t policy_pool_idle(void)
{
	int64_t n = 0;

	for (int i = 0; i < rt_shard_count(); i++)
		n += (int64_t)atomic_load_explicit(&pools[i].n, memory_order_relaxed);
	return n;
}

/* The owner alone writes: no locked addition. */
static size_t count_idle(struct pool *p, int delta)
{
	size_t n = atomic_load_explicit(&p->n, memory_order_relaxed) + (size_t)delta;

	atomic_store_explicit(&p->n, n, memory_order_relaxed);
	return n;
}

static struct pool *own_pool(void)
{
	int i = rt_shard_index();
	assert(i >= 0 && i < POOLS_MAX);
	struct pool *p = &pools[i];
	if (!p->ready) {
		list_init(&p->idle);
		p->ready = true;
	}
	return p;
}

static bool worn_out(const struct policy_state *st)
{
	return st->broken || st->uses >= max_uses || rt_now_ms() - st->born_ms > max_age_ms;
}

int policy_state_lease(struct policy_state **out)
{
	int rc = rt_check();
	if (rc < 0)
		return rc;
	struct pool *p = own_pool();
	struct policy_gen *g = policy_gen_current();
	if (!g)
		return err_set(E_POLICY, "no policy has been loaded");
	struct policy_state *st = NULL;
	for (struct list *n; !st && (n = list_pop(&p->idle));) {
		count_idle(p, -1);
		st = LIST_ENTRY(n, struct policy_state, node);
		if (st->gen != g || worn_out(st))
			policy_state_destroy(&st);
	}
	if (!st) {
		st = policy_state_create(g);
		if ((rc = policy_state_load(st)) < 0) {
			err_prefix("Error evaluating policy file \"%s\"", policy_gen_path());
			policy_state_destroy(&st);
		}
	}
	policy_gen_unref(&g);
	*out = st;
	return rc;
}

void policy_state_return(struct policy_state *st)
{
	OBJ_CHECK(st, POLICY_STATE_MAGIC);
	struct pool *p = own_pool();
	int shards = MAX(rt_shard_count(), 1);
	st->uses++;
	arena_reset(st->arena);
	if (st->foreign_bytes > 0) {	/* or a state keeps hundreds of messages in memory that have long been delivered */
		lua_gc(st->L, LUA_GCSTEP, (int)MIN(st->foreign_bytes / 1024 + 1, (size_t)FOREIGN_MAX_KB));
		st->foreign_bytes = 0;
	}
	if (worn_out(st) || count_idle(p, 0) >= (size_t)(max_spare / shards + 1)) {
		policy_state_destroy(&st);
		return;
	}
	list_push_front(&p->idle, &st->node);
	count_idle(p, 1);
	struct policy_state *oldest = LIST_ENTRY(p->idle.prev, struct policy_state, node);
	if (oldest != st && worn_out(oldest)) {	/* one for each return: what a burst needed goes away by and by */
		list_remove(&oldest->node);
		count_idle(p, -1);
		policy_state_destroy(&oldest);
	}
}
