/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stats - what the metrics lua_* show.
 *
 * Events are called many times for each message: each shard finds an event's metrics by name in a map of its own and counts in cells of its own.
 */
#include "base/xalloc.h"
#include "policy/internal.h"
#include "rt/clock.h"
#include "rt/loop.h"
#include "rt/metrics.h"

#define SHARDS_MAX 256
#define NAMES_MAX 1024		/* a policy may make up names: beyond these events are not counted */

static int collect_spare(struct metric_family *f);

static struct metric_family COUNT = METRIC_GAUGE("lua_count", "the number of lua contexts currently alive");
static struct metric_family LOADS = METRIC_COUNTER("lua_load_count", "how many times the policy was loaded into a new lua context");
static struct metric_family SPARE = { .name = "lua_spare_count", .help = "the number of idle lua contexts, ready for use", .kind = METRIC_GAUGE_K, .collect = collect_spare };
static struct metric_family STARTED = { .name = "lua_event_started", .help = "how many times a handler of an event was called; lua_event_latency_count counts those that ended",
					.kind = METRIC_COUNTER_K, .labels = { "event" }, .striped = true };
static struct metric_family LATENCY = { .name = "lua_event_latency", .help = "how long a handler of an event took", .kind = METRIC_HISTOGRAM_K,
					.labels = { "event" }, .striped = true };
static struct metric *count, *loads, *spare;

struct policy_event_stats {
	struct metric *started, *latency;
};
static struct map by_name[SHARDS_MAX];	/* each owned by its shard: name -> struct policy_event_stats */

__attribute__((constructor)) static void register_metrics(void)
{
	metric_register(&COUNT);
	metric_register(&LOADS);
	metric_register(&SPARE);
	metric_register_kept(&STARTED);
	metric_register_kept(&LATENCY);
	count = metric_get(&COUNT);
	loads = metric_get(&LOADS);
	spare = metric_get(&SPARE);
}

static int collect_spare(struct metric_family *f)
{
	(void)f;
	metric_set(spare, policy_pool_idle());
	return 0;
}

void policy_stats_states(int delta)
{
	metric_add(count, delta);
}

struct policy_event_stats *policy_stats_load(void)
{
	metric_add(loads, 1);
	return policy_stats_of("context-creation");
}

struct policy_event_stats *policy_stats_of(const char *event)
{
	struct map *m = &by_name[rt_shard_index() % SHARDS_MAX];
	struct policy_event_stats *s = map_get(m, slice_from_cstr(event));

	if (s || map_len(m) >= NAMES_MAX)
		return s;
	s = xzalloc(sizeof *s);
	s->started = metric_get(&STARTED, event);
	s->latency = metric_get(&LATENCY, event);
	map_put(m, slice_from_cstr(event), s);
	return s;
}

int64_t policy_stats_begin(struct policy_event_stats *s)
{
	if (!s)
		return 0;
	metric_add(s->started, 1);
	return rt_now_us_exact();
}

void policy_stats_end(struct policy_event_stats *s, int64_t begun_us)
{
	if (s)
		metric_observe(s->latency, (double)(rt_now_us_exact() - begun_us) / 1e6);
}
