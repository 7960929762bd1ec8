/* SPDX-License-Identifier: Apache-2.0 */
#include "rt/wheel.h"

#define DIGIT_BITS 6
#define FARTHEST_MS ((int64_t)1 << (WHEEL_LEVELS * DIGIT_BITS - 1)) /* 4,000 years */

void wheel_init(struct wheel *w, int64_t now_ms)
{
	*w = (struct wheel){ .now_ms = now_ms };
	list_init(&w->due);
	for (int l = 0; l < WHEEL_LEVELS; l++)
		for (int i = 0; i < WHEEL_SLOTS; i++)
			list_init(&w->slot[l][i]);
}

static unsigned digit(int64_t ms, int level)
{
	return (uint64_t)ms >> (level * DIGIT_BITS) & (WHEEL_SLOTS - 1);
}

void wheel_add(struct wheel *w, struct wheel_entry *e, int64_t at_ms)
{
	if (at_ms > w->now_ms + FARTHEST_MS)
		at_ms = w->now_ms + FARTHEST_MS;
	e->at_ms = at_ms;
	if (at_ms <= w->now_ms) {
		list_push(&w->due, &e->node);
		return;
	}
	int level = (63 - __builtin_clzll((uint64_t)at_ms ^ (uint64_t)w->now_ms)) / DIGIT_BITS;
	assert(level < WHEEL_LEVELS);
	unsigned i = digit(at_ms, level);
	list_push(&w->slot[level][i], &e->node);
	w->occupied[level] |= (uint64_t)1 << i;
}

/* The first occupied slot; false when the wheel is empty. */
static bool first_slot(struct wheel *w, int *level, unsigned *i)
{
	for (int l = 0; l < WHEEL_LEVELS; l++)
		while (w->occupied[l]) {
			unsigned first = (unsigned)__builtin_ctzll(w->occupied[l]);
			if (!list_empty(&w->slot[l][first])) {
				*level = l;
				*i = first;
				return true;
			}
			w->occupied[l] &= ~((uint64_t)1 << first);
		}
	return false;
}

/* The time at which slot I of LEVEL begins, in the turn that the wheel is in. */
static int64_t slot_begin(const struct wheel *w, int level, unsigned i)
{
	uint64_t above = (uint64_t)w->now_ms >> ((level + 1) * DIGIT_BITS);
	return (int64_t)((above << DIGIT_BITS | i) << (level * DIGIT_BITS));
}

struct wheel_entry *wheel_pop(struct wheel *w, int64_t now_ms)
{
	int level;
	unsigned i;

	while (list_empty(&w->due)) {
		if (!first_slot(w, &level, &i) || slot_begin(w, level, i) > now_ms) {
			if (now_ms > w->now_ms)
				w->now_ms = now_ms;
			return NULL;
		}
		w->now_ms = slot_begin(w, level, i);
		w->occupied[level] &= ~((uint64_t)1 << i);
		struct list moving;
		list_init(&moving);
		list_splice(&moving, &w->slot[level][i]);
		for (struct list *n; (n = list_pop(&moving)) != NULL;) {
			struct wheel_entry *e = LIST_ENTRY(n, struct wheel_entry, node);
			wheel_add(w, e, e->at_ms);
		}
	}
	return LIST_ENTRY(list_pop(&w->due), struct wheel_entry, node);
}

int64_t wheel_next(struct wheel *w)
{
	int level;
	unsigned i;

	if (!list_empty(&w->due))
		return w->now_ms;
	return first_slot(w, &level, &i) ? slot_begin(w, level, i) : INT64_MAX;
}
