/* SPDX-License-Identifier: Apache-2.0 */
/* Rates and leases in the Redis server that KUMO_TEST_REDIS names (redis://127.0.0.1:6379/); without it nothing is tested. */
#include <stdio.h>
#include <stdlib.h>
#include "base/rand.h"
#include "queue/throttle.h"
#include "queue/throttle_redis.h"
#include "rt/fiber.h"
#include "rt/test_util.h"

static char name_text[64];

static void rates(struct slice name)
{
	static const char *const SPECS[] = { "100/h,max_burst=2", "3/s", "7/min", "100000000/s" };
	static const uint64_t capacity[] = { 3, 3, 7, 100000000 };
	for (size_t i = 0; i < ARRAY_LEN(SPECS); i++) {
		struct rate_spec r;
		struct throttle_result t;
		assert_int_equal(rate_spec_parse(slice_from_cstr(SPECS[i]), &r), 0);
		for (uint64_t n = 1; n <= MIN(capacity[i], (uint64_t)7); n++) {
			assert_int_equal(throttle_check(name, &r, 1, &t), 0);
			assert_false(t.throttled);
			assert_int_equal(t.limit, capacity[i]);
			if (capacity[i] < 10)
				assert_int_equal(t.remaining, capacity[i] - n);
		}
		if (capacity[i] > 10)
			continue;
		assert_int_equal(throttle_check(name, &r, 1, &t), 0);
		assert_true(t.throttled);
		assert_int_equal(t.remaining, 0);
		assert_in_range(t.retry_after_ns, 1, (int64_t)(r.period_ns / r.limit));
	}
}

static void gives_back(void *arg)
{
	assert_int_equal(rt_sleep_ms(100), 0);
	lease_release(arg);
}

static void leases(struct slice name)
{
	struct lease a, b, c, d;
	struct limit_spec spec = { .limit = 2 };
	assert_int_equal(lease_acquire(name, &spec, 300000000, 0, &a), 0);
	assert_int_equal(lease_acquire(name, &spec, 60000000000, 0, &b), 0);
	assert_true(a.shared && b.shared);
	assert_int_equal(lease_acquire(name, &spec, 60000000000, 50, &c), -E_LIMIT);
	assert_int_equal(lease_extend(&a, 400000000), 0);
	assert_int_equal(lease_acquire(name, &spec, 60000000000, 5000, &c), 0);	/* A expires */
	assert_int_equal(lease_extend(&a, 5000000000), -E_NOENT);
	assert_int_equal(lease_extend(&b, 5000000000), 0);
	rt_fiber_spawn("gives back", gives_back, &b);
	assert_int_equal(lease_acquire(name, &spec, 60000000000, 5000, &d), 0);
	lease_release(&a);
	lease_release(&c);
	lease_release(&d);
	assert_null(b.name);
}

/* One that was canceled leaves nothing taken. */
static void waits(void *arg)
{
	struct limit_spec spec = { .limit = 1 };
	struct lease l;
	assert_int_equal(lease_acquire(slice_from_cstr(arg), &spec, 60000000000, 60000, &l), -E_CANCELED);
}

static void canceled(struct slice name)
{
	struct limit_spec spec = { .limit = 1 };
	struct lease l;
	assert_int_equal(lease_acquire(name, &spec, 60000000000, 0, &l), 0);
	struct rt_fiber *f = rt_fiber_start("waits", waits, name_text);
	assert_int_equal(rt_sleep_ms(50), 0);
	rt_fiber_cancel(f);
	assert_int_equal(rt_fiber_join(f), 0);
	rt_fiber_unref(&f);
	lease_release(&l);
	assert_int_equal(lease_acquire(name, &spec, 60000000000, 0, &l), 0);
	lease_release(&l);
}

static void all(void *arg)
{
	snprintf(name_text, sizeof name_text, "throttle-redis-test-%u", (unsigned)rand_below(1000000000));
	const struct redis_conf conf = { slice_from_cstr(getenv("KUMO_TEST_REDIS")), 5000, 5000, 10 };
	struct redis_client *c;
	struct slice name = slice_from_cstr(name_text);
	assert_int_equal(redis_client_create(&conf, &c), 0);
	throttle_use_redis(c);
	redis_client_unref(&c);
	rates(name);
	leases(name);
	canceled(name);
}

static void test_redis(void **state)
{
	if (!getenv("KUMO_TEST_REDIS"))
		skip();
	run_in_runtime(2, all, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_redis) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
