/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/health.h"
#include "base/xalloc.h"
#include "queue/qmetrics.h"
#include "rt/clock.h"
#include "rt/diag.h"

struct rule_state {
	struct source_metrics metrics;
	int64_t until_ms;		/* suspended until; 0: not */
	int64_t *recent;		/* times of failures within the window, oldest first */
	size_t n, cap;
};
struct source_state {
	struct rule_state rules[SOURCE_FAILURE_KINDS];
};
static struct {
	struct rt_lock lock;
	struct map sources;
} health = { .lock = RT_LOCK_INIT(RANK_THROTTLE) };
static _Atomic bool any_suspended;
static const char *const NAMES[SOURCE_FAILURE_KINDS] = { "Unplumbed", "ProxyUnhealthy" };

static struct source_state *state_get(struct slice source)
{
	struct source_state *s = map_get(&health.sources, source);
	if (s)
		return s;
	s = xzalloc(sizeof(*s));
	for (int i = 0; i < SOURCE_FAILURE_KINDS; i++)
		source_metrics_init(&s->rules[i].metrics, source, NAMES[i]);
	map_put(&health.sources, source, s);
	return s;
}

/* Whether this failure is the one too many. */
static bool rule_fires(struct rule_state *st, const struct suspend_rule *rule, int64_t now)
{
	if (!rule->threshold)
		return true;
	size_t old = 0;
	while (old < st->n && st->recent[old] <= now - (int64_t)(rule->rate.period_ns / 1000000))
		old++;
	st->n -= old;
	if (old > 0)
		memmove(st->recent, st->recent + old, st->n * sizeof(*st->recent));
	if (st->n == st->cap) {
		st->cap = st->cap ? 2 * st->cap : 8;
		st->recent = xreallocarray(st->recent, st->cap, sizeof(*st->recent));
	}
	st->recent[st->n++] = now;
	if (st->n < rule->rate.limit)
		return false;
	st->n = 0;
	return true;
}

void source_failed(const struct source_opts *s, enum source_failure kind)
{
	const struct suspend_rule *rule = kind == SOURCE_UNPLUMBED ? &s->suspend_when_unplumbed : &s->suspend_when_proxy_unhealthy;
	bool has = kind == SOURCE_UNPLUMBED ? s->has_unplumbed : s->has_proxy_unhealthy, fired = false;
	int64_t now = rt_now_ms();

	rt_lock(&health.lock);
	struct rule_state *st = &state_get(s->name)->rules[kind];
	metric_add(st->metrics.failures, 1);
	if (has && st->until_ms <= now && rule_fires(st, rule, now)) {
		fired = true;
		st->until_ms = now + rule->duration / 1000000;
		metric_set(st->metrics.suspended, 1);
		metric_add(st->metrics.suspensions, 1);
		atomic_store(&any_suspended, true);
	}
	rt_unlock(&health.lock);
	if (fired)
		diag_warn("kumo.queue", "egress source %.*s is suspended for %lld s (%s)", SLICE_ARG(s->name), (long long)(rule->duration / 1000000000), NAMES[kind]);
}

/* With the lock held: how long from NOW; ends what is over. */
static int64_t left_ms(struct source_state *s, int64_t now, bool *ended)
{
	int64_t left = 0;
	for (int i = 0; i < SOURCE_FAILURE_KINDS; i++) {
		struct rule_state *st = &s->rules[i];
		if (st->until_ms > now) {
			left = MAX(left, st->until_ms - now);
		} else if (st->until_ms) {
			st->until_ms = 0;
			*ended = true;
			metric_set(st->metrics.suspended, 0);
		}
	}
	*ended &= left == 0;
	return left;
}

int64_t source_suspended_ms(struct slice source)
{
	bool ended = false;
	if (!atomic_load_explicit(&any_suspended, memory_order_relaxed))
		return 0;
	rt_lock(&health.lock);
	struct source_state *s = map_get(&health.sources, source);
	int64_t left = s ? left_ms(s, rt_now_ms(), &ended) : 0;
	rt_unlock(&health.lock);
	if (ended)
		diag_info("kumo.queue", "egress source %.*s is no longer suspended", SLICE_ARG(source));
	return left;
}

int source_health_collect(struct metric_family *f)
{
	struct map_iter it = { 0 };
	rt_lock(&health.lock);
	while (map_next(&health.sources, &it)) {
		bool ended = false;
		left_ms(it.value, rt_now_ms(), &ended);
		if (ended)
			diag_info("kumo.queue", "egress source %.*s is no longer suspended", SLICE_ARG(it.key));
	}
	rt_unlock(&health.lock);
	return 0;
}
