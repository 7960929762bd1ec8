/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tick - when something has to be looked at again: one entry for each queue, not for each message.
 *
 * Every shard has a heap of entries and one fiber that sleeps until the earliest. An entry belongs to the shard that its hash names; any thread
 * may move it. So 50,000 queues cost 50,000 heap nodes, and no fiber or timer each.
 *
 * Thread:  any.
 * Memory:  embedded in the owner, which must not go while its entry is in: clear it first, from the callback or after tick_stop.
 * Yields:  never; the callback must not wait either (it may spawn).
 */
#pragma once
#include "base/heap.h"
#include "base/err.h"

struct tick_home;
struct tick {
	struct heap_node node;
	struct tick_home *home;
	void (*fn)(struct tick *t);
};

int tick_start(void) WARN_UNUSED;	/* from a fiber, once the shards run */
void tick_stop(void);			/* no callback runs after it has returned. Yields. */
void tick_init(struct tick *t, uint64_t hash, void (*fn)(struct tick *t));
void tick_set(struct tick *t, int64_t at_ms);		/* rt_now_ms; moves it when it is set already */
void tick_set_earlier(struct tick *t, int64_t at_ms);	/* only if that is sooner than what is set */
void tick_clear(struct tick *t);
