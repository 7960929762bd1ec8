/* SPDX-License-Identifier: Apache-2.0 */
#include "net/ttl_metrics.h"

#define COUNTER(n, h) METRIC_COUNTER("lruttl_" n "_count", h, "cache_name")
static struct metric_family FAMILIES[TTL_COUNTS] = {
	[TTL_LOOKUPS] = COUNTER("lookup", "how many times a lruttl cache was asked for an item"),
	[TTL_HITS] = COUNTER("hit", "how many times a lruttl cache lookup was a hit for a given cache"),
	[TTL_MISSES] = COUNTER("miss", "how many times a lruttl cache lookup was a miss for a given cache"),
	[TTL_POPULATED] = COUNTER("populated", "how many times a missing item of a lruttl cache was found out"),
	[TTL_ERRORS] = COUNTER("error", "how many times finding out an item of a lruttl cache failed"),
	[TTL_INSERTS] = COUNTER("insert", "how many times an item was put into a lruttl cache unasked"),
	[TTL_EVICTED] = COUNTER("evict", "how many items of a lruttl cache made room for others"),
	[TTL_EXPIRED] = COUNTER("expire", "how many items of a lruttl cache became too old"),
	[TTL_STALE] = COUNTER("stale", "how many times an item that was too old served because finding out a new one took too long"),
	[TTL_WAITING] = METRIC_GAUGE("lruttl_waiting_populate", "how many tasks wait for an item of a lruttl cache to be found out", "cache_name"),
	[TTL_SIZE] = METRIC_GAUGE("lruttl_cache_size", "number of items contained in an lruttl cache", "cache_name"),
};

__attribute__((constructor)) static void register_metrics(void)
{
	for (int i = 0; i < TTL_COUNTS; i++)
		metric_register_kept(&FAMILIES[i]);
}

void ttl_metrics_init(struct ttl_metrics *t, struct slice cache_name)
{
	for (int i = 0; i < TTL_COUNTS; i++)
		t->m[i] = metric_get_n(&FAMILIES[i], &cache_name);
}

void ttl_metrics_fini(struct ttl_metrics *t)
{
	for (int i = 0; i < TTL_COUNTS; i++)
		metric_unref(&t->m[i]);
}
