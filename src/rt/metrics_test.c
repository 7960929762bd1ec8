/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "rt/fiber.h"
#include "rt/loop.h"
#include "rt/metrics.h"
#include "rt/sync.h"

static struct metric_family PLAIN = METRIC_COUNTER("b_plain", "no labels");
static struct metric_family ONE = METRIC_GAUGE("a_one", "one label", "service");
static struct metric_family TWO = METRIC_GAUGE("c_two", "two labels", "provider", "pool");
static const double bounds[] = { .5, 1, 0 };
static struct metric_family HIST = { .name = "d_hist", .help = "times", .kind = METRIC_HISTOGRAM_K, .buckets = bounds };

static void expect(void (*put)(struct buf *, const char *), const char *prefix, const char *want)
{
	struct buf b = { 0 };

	put(&b, prefix);
	assert_string_equal(buf_cstr(&b), want);
	buf_fini(&b);
}

static void dumps(void **state)
{
	metric_register(&TWO);
	metric_register(&PLAIN);
	metric_register(&ONE);
	metric_register(&HIST);
	expect(metrics_put_prometheus, "", "");
	expect(metrics_put_json, "", "{}");
	struct metric *p = metric_get(&PLAIN), *o = metric_get(&ONE, "a\"b\\\n"), *t = metric_get(&TWO, "mx", "x");
	struct metric *h = metric_get(&HIST);
	metric_add(p, 3);
	metric_set(o, -2);
	metric_add(t, 1);
	metric_observe(h, 0.25);
	metric_observe(h, 1);
	metric_observe(h, 7);
	assert_int_equal(metric_read(&TWO, "mx", "x"), 1);
	assert_int_equal(metric_read(&TWO, "mx", "y"), 0);
	expect(metrics_put_prometheus, "k_",
	       "# HELP k_a_one one label\n# TYPE k_a_one gauge\nk_a_one{service=\"a\\\"b\\\\\\n\"} -2\n"
	       "# HELP k_b_plain no labels\n# TYPE k_b_plain counter\nk_b_plain 3\n"
	       "# HELP k_c_two two labels\n# TYPE k_c_two gauge\nk_c_two{provider=\"mx\", pool=\"x\"} 1\n"
	       "# HELP k_d_hist times\n# TYPE k_d_hist histogram\nk_d_hist_bucket{le=\"0.5\"} 1\nk_d_hist_bucket{le=\"1\"} 2\n"
	       "k_d_hist_bucket{le=\"+Inf\"} 3\nk_d_hist_sum 8.25\nk_d_hist_count 3\n");
	expect(metrics_put_json, NULL,
	       "{\"a_one\":{\"help\":\"one label\",\"type\":\"gauge\",\"value\":{\"service\":{\"a\\\"b\\\\\\n\":-2}}},\n"
	       "\"b_plain\":{\"help\":\"no labels\",\"type\":\"counter\",\"value\":3},\n"
	       "\"c_two\":{\"help\":\"two labels\",\"type\":\"gauge\",\"value\":[{\"provider\":\"mx\",\"pool\":\"x\",\"@\":1}]},\n"
	       "\"d_hist\":{\"help\":\"times\",\"type\":\"histogram\",\"value\":{\"avg\":2.75,\"bucket\":[[0.5,1.0],[1.0,2.0]],\"count\":3,\"sum\":8.25}}}");
	struct metric *again = metric_get(&PLAIN);
	assert_ptr_equal(again, p);
	metric_unref(&again);
	metric_unref(&p);
	assert_int_equal(metric_read(&PLAIN), 0); /* gone with its last user */
	PLAIN.keep = true;
	p = metric_get(&PLAIN);
	metric_add(p, 1);
	metric_unref(&p);
	assert_int_equal(metric_read(&PLAIN), 1);
	metric_unref(&o);
	metric_unref(&t);
	metric_unref(&h);
	metric_add(NULL, 1);
}

static struct metric_family CALLS = { .name = "calls", .help = "x", .kind = METRIC_COUNTER_K, .labels = { "event" }, .striped = true };
static struct metric_family TOOK = { .name = "took", .help = "x", .kind = METRIC_HISTOGRAM_K, .buckets = bounds, .striped = true };
static struct metric *calls, *took;
static int left = 4;

/* One after another, each on the next shard. */
static void count_everywhere(void *arg)
{
	metric_add(calls, rt_shard_index() + 1);
	metric_observe(took, rt_shard_index());
	if (--left > 0)
		rt_fiber_spawn_on(rt_shard_at(left % rt_shard_count()), "count", count_everywhere, arg);
	else
		rt_promise_set(arg, 0, NULL);
}

static void run_counting(void *arg)
{
	rt_fiber_spawn("count", count_everywhere, arg);
	assert_int_equal(rt_promise_wait(arg, NULL), 0);
}

/* What each shard counts in a cell of its own is shown as one. */
static void striped(void **state)
{
	const struct rt_conf conf = { .shards = 4, .offload_threads = 1 };
	struct rt_promise done;
	struct buf b = { 0 };

	metric_register(&CALLS);
	metric_register(&TOOK);
	calls = metric_get(&CALLS, "init");
	took = metric_get(&TOOK);
	rt_promise_init(&done);
	assert_int_equal(rt_init(&conf), 0);
	rt_run(run_counting, &done);
	rt_fini();
	rt_promise_fini(&done);
	assert_int_equal(metric_read(&CALLS, "init"), 1 + 4 + 3 + 2);
	metrics_put_prometheus(&b, NULL);
	assert_non_null(strstr(buf_cstr(&b), "calls{event=\"init\"} 10\n"));
	assert_non_null(strstr(buf_cstr(&b), "took_bucket{le=\"0.5\"} 1\ntook_bucket{le=\"1\"} 2\ntook_bucket{le=\"+Inf\"} 4\ntook_sum 6\ntook_count 4\n"));
	buf_fini(&b);
	metric_unref(&calls);
	metric_unref(&took);
}

static void lazy(void **state)
{
	static struct metric_family RARE = METRIC_COUNTER("rare", "what seldom happens");
	_Atomic(struct metric *) at = NULL;

	metric_register(&RARE);
	metric_add(metric_lazy(&RARE, &at), 1);
	metric_add(metric_lazy(&RARE, &at), 1);
	assert_int_equal(metric_read(&RARE), 2);
	struct metric *m = at;
	metric_unref(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(dumps), cmocka_unit_test(striped), cmocka_unit_test(lazy) };
	return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
