/* SPDX-License-Identifier: Apache-2.0 */
/* pools - how many threads there are and how many of them have nothing to do: the shards, and the threads for what blocks. */
#include "rt/internal.h"
#include "rt/metrics.h"
#include "rt/metrics_shared.h"

static int collect_parked(struct metric_family *f);

static struct metric_family SIZE = METRIC_GAUGE("thread_pool_size", "number of threads in a thread pool", "pool");
static struct metric_family PARKED = { .name = "thread_pool_parked", .help = "number of threads of a pool that have nothing to do", .kind = METRIC_GAUGE_K,
				       .labels = { "pool" }, .collect = collect_parked };
enum pool { POOL_SHARDS, POOL_OFFLOAD, POOLS };
static struct metric *parked[POOLS];

static int collect_parked(struct metric_family *f)
{
	int n = 0;

	(void)f;
	for (int i = 0; i < rt_global.n; i++)
		n += atomic_load(&rt_global.shards[i]->sleeping);
	metric_set(parked[POOL_SHARDS], n);
	metric_set(parked[POOL_OFFLOAD], offload_idle());
	return 0;
}

void pool_metrics_register(void)
{
	static const char *const NAMES[POOLS] = { [POOL_SHARDS] = "shards", [POOL_OFFLOAD] = "offload" };
	const int sizes[POOLS] = { [POOL_SHARDS] = rt_global.n, [POOL_OFFLOAD] = offload_threads() };

	metric_register_kept(&SIZE);
	metric_register_kept(&PARKED);
	for (int i = 0; i < POOLS; i++) {
		struct metric *size = metric_get(&SIZE, NAMES[i]);
		metric_set(size, sizes[i]);
		metric_unref(&size);
		parked[i] = metric_get(&PARKED, NAMES[i]);
	}
}
