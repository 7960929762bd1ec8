/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wheel - a hierarchical timer wheel: O(1) start and stop, because nearly every timer is stopped before it fires.
 *
 * Eight levels of 64 slots, a slot of level L being 64^L ms wide. An entry stands on the level of the highest base-64 digit in which its
 * time differs from the wheel's, in that digit's slot; so the first occupied slot of the lowest occupied level is always what comes next.
 * When the wheel's time enters a slot of a higher level, its entries move down. A bit map a level says which slots may be occupied; stopping
 * a timer leaves its bit, which is cleared when the slot is found empty.
 *
 * Thread:  one owner.   Memory: entries are embedded.   Yields: never.
 */
#pragma once
#include "base/list.h"

#define WHEEL_LEVELS 8
#define WHEEL_SLOTS 64

struct wheel_entry {	/* the head of struct rt_timer */
	struct list node;
	int64_t at_ms;
};
struct wheel {
	int64_t now_ms;
	uint64_t occupied[WHEEL_LEVELS];
	struct list slot[WHEEL_LEVELS][WHEEL_SLOTS];
	struct list due;
};

void wheel_init(struct wheel *w, int64_t now_ms);
void wheel_add(struct wheel *w, struct wheel_entry *e, int64_t at_ms);	/* in the past: due at the next wheel_pop */
static inline void wheel_del(struct wheel_entry *e) { list_remove(&e->node); }
/* An entry that is due by NOW, taken out; NULL when there is none left (the wheel's time is NOW then). */
struct wheel_entry *wheel_pop(struct wheel *w, int64_t now_ms);
/* When wheel_pop should be called next: never later than the first entry's time, INT64_MAX when there is none. */
int64_t wheel_next(struct wheel *w);
