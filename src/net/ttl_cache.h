/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ttl_cache - a process-wide cache of reference-counted, immutable values with an expiry each, bounded, with single flight.
 *
 * Striped, so that a lookup on every message's path costs one uncontended lock and one hash. When a stripe is full, entries go in
 * the order of a clock hand: one that was used since the hand last passed gets another round.
 *
 * Thread:  fibers of any shard.
 * Memory:  owns one reference of each value; what get and load return is the caller's.
 * Yields:  ttl_cache_load only.
 */
#pragma once
#include "base/err.h"
#include "base/slice.h"
#include "net/ttl_metrics.h"

struct ttl_cache;
struct ttl_cache_conf {
	const char *name;		/* label cache_name of the metrics, as --dump-lruttl-caches shows it */
	size_t capacity;
	void *(*ref)(void *value);
	void (*unref)(void *value);
	bool kept;			/* what is in it cannot be found out again: ttl_cache_relieve leaves it */
};
struct ttl_cache *ttl_cache_create(const struct ttl_cache_conf *conf);
void ttl_cache_destroy(struct ttl_cache **c);
void ttl_cache_clear(struct ttl_cache *c);	/* what is being loaded at this time will not be kept either */
void ttl_cache_relieve(void);			/* clears all caches: memory is short */
size_t ttl_cache_len(struct ttl_cache *c);
int64_t ttl_cache_counted(struct ttl_cache *c, enum ttl_count which);	/* for metrics that show the same under another name */

/* A reference, or NULL when there is none or it has expired. */
void *ttl_cache_get(struct ttl_cache *c, struct slice key);
void ttl_cache_put(struct ttl_cache *c, struct slice key, void *value, int64_t expires_ms); /* takes a reference of its own */

/*
 * Gets the value, or has LOAD make it: one caller at a time for a key, the others wait for its result. LOAD gives a reference and an
 * expiry (rt_now_ms); a failure is not kept. When the caller that loads is canceled, the next one waiting takes over. Yields.
 */
typedef int (*ttl_cache_load_cb)(void *arg, void **value, int64_t *expires_ms);
int ttl_cache_load(struct ttl_cache *c, struct slice key, ttl_cache_load_cb load, void *arg, void **value) WARN_UNUSED;
