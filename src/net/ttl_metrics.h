/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ttl_metrics - the metrics lruttl_* of one cache, whoever keeps it.
 *
 * Thread:  any.   Memory: embedded in the cache.   Yields: never.
 */
#pragma once
#include "rt/metrics.h"

enum ttl_count { TTL_LOOKUPS, TTL_HITS, TTL_MISSES, TTL_POPULATED, TTL_ERRORS, TTL_INSERTS, TTL_EVICTED, TTL_EXPIRED, TTL_STALE, TTL_WAITING, TTL_SIZE, TTL_COUNTS };
struct ttl_metrics {
	struct metric *m[TTL_COUNTS];
};
void ttl_metrics_init(struct ttl_metrics *t, struct slice cache_name);
void ttl_metrics_fini(struct ttl_metrics *t);
static inline void ttl_count(struct ttl_metrics *t, enum ttl_count which, int64_t delta) { metric_add(t->m[which], delta); }
static inline int64_t ttl_counted(const struct ttl_metrics *t, enum ttl_count which) { return metric_value(t->m[which]); }
