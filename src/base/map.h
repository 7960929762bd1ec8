/* SPDX-License-Identifier: Apache-2.0 */
/*
 * map - a hash map from byte strings to pointers.
 *
 * Open addressing with robin-hood distances; keys are copied; hashing is keyed, so hostile keys cannot pile up.
 * Zero-initialized is valid and empty.
 *
 * Thread:  one owner or the caller's lock.   Memory: owns keys, not values.   Yields: never.
 */
#pragma once
#include "base/slice.h"

struct map_entry;
struct map {
	struct map_entry *entries;
	size_t n, cap;
};
struct map_iter {
	size_t pos;
	struct slice key;	/* valid until the map changes */
	void *value;
};

void map_fini(struct map *m);				/* forgets the values: free them first with map_next */
void *map_get(const struct map *m, struct slice key);	/* NULL: not there */
void *map_put(struct map *m, struct slice key, void *value); /* value not NULL; returns the replaced value or NULL */
void *map_del(struct map *m, struct slice key);		/* the removed value or NULL */
static inline size_t map_len(const struct map *m) { return m->n; }
bool map_next(const struct map *m, struct map_iter *it);  /* start with a zeroed iter; order is arbitrary */
