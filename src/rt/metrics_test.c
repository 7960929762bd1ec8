/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "rt/metrics.h"

static struct metric_family PLAIN = METRIC_COUNTER("b_plain", "no labels");
static struct metric_family ONE = METRIC_GAUGE("a_one", "one label", "service");
static struct metric_family TWO = METRIC_GAUGE("c_two", "two labels", "provider", "pool");
static const double bounds[] = { .5, 1, 0 };
static struct metric_family HIST = { .name = "d_hist", .help = "times", .kind = METRIC_HISTOGRAM_K, .buckets = bounds };
static struct metric_family FLOAT = { .name = "e_float", .help = "part", .kind = METRIC_GAUGE_K, .is_float = true };

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
	metric_register(&FLOAT);
	expect(metrics_put_prometheus, "", "");
	expect(metrics_put_json, "", "{}");
	struct metric *p = metric_get(&PLAIN), *o = metric_get(&ONE, "a\"b\\\n"), *t = metric_get(&TWO, "mx", "x");
	struct metric *h = metric_get(&HIST), *f = metric_get(&FLOAT);
	metric_add(p, 3);
	metric_set(o, -2);
	metric_add(t, 1);
	metric_observe(h, 0.25);
	metric_observe(h, 1);
	metric_observe(h, 7);
	metric_set_float(f, 0.1);
	assert_int_equal(metric_read(&TWO, "mx", "x"), 1);
	assert_int_equal(metric_read(&TWO, "mx", "y"), 0);
	expect(metrics_put_prometheus, "k_",
	       "# HELP k_a_one one label\n# TYPE k_a_one gauge\nk_a_one{service=\"a\\\"b\\\\\\n\"} -2\n"
	       "# HELP k_b_plain no labels\n# TYPE k_b_plain counter\nk_b_plain 3\n"
	       "# HELP k_c_two two labels\n# TYPE k_c_two gauge\nk_c_two{provider=\"mx\", pool=\"x\"} 1\n"
	       "# HELP k_d_hist times\n# TYPE k_d_hist histogram\nk_d_hist_bucket{le=\"0.5\"} 1\nk_d_hist_bucket{le=\"1\"} 2\n"
	       "k_d_hist_bucket{le=\"+Inf\"} 3\nk_d_hist_sum 8.25\nk_d_hist_count 3\n"
	       "# HELP k_e_float part\n# TYPE k_e_float gauge\nk_e_float 0.1\n");
	expect(metrics_put_json, NULL,
	       "{\"a_one\":{\"help\":\"one label\",\"type\":\"gauge\",\"value\":{\"service\":{\"a\\\"b\\\\\\n\":-2}}},\n"
	       "\"b_plain\":{\"help\":\"no labels\",\"type\":\"counter\",\"value\":3},\n"
	       "\"c_two\":{\"help\":\"two labels\",\"type\":\"gauge\",\"value\":[{\"provider\":\"mx\",\"pool\":\"x\",\"@\":1}]},\n"
	       "\"d_hist\":{\"help\":\"times\",\"type\":\"histogram\",\"value\":{\"avg\":2.75,\"bucket\":[[0.5,1.0],[1.0,2.0]],\"count\":3,\"sum\":8.25}},\n"
	       "\"e_float\":{\"help\":\"part\",\"type\":\"gauge\",\"value\":0.1}}");
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
	metric_unref(&f);
	metric_add(NULL, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(dumps) };
	return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
