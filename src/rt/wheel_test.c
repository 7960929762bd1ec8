/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include "base/rand.h"
#include "rt/test_util.h"

/* Random starts, stops and steps against a plain array. */
#define N 300
static void against_a_model(void **state)
{
	static struct wheel w;
	struct wheel_entry e[N];
	bool running[N] = { false };
	int64_t now = 1000000007;

	wheel_init(&w, now);
	for (int i = 0; i < N; i++)
		list_init(&e[i].node);
	for (int step = 0; step < 200000; step++) {
		int i = (int)rand_below(N);
		if (running[i]) {
			wheel_del(&e[i]);
			running[i] = false;
		} else {
			int64_t far = (int64_t)1 << rand_below(rand_below(30) + 1);
			wheel_add(&w, &e[i], now + (int64_t)rand_below((uint64_t)far + 1));
			running[i] = true;
		}
		if (rand_below(4))
			continue;
		int64_t next = wheel_next(&w), first = INT64_MAX;
		for (int j = 0; j < N; j++)
			if (running[j])
				first = MIN(first, e[j].at_ms);
		assert_true(next <= first);
		assert_true((next == INT64_MAX) == (first == INT64_MAX));
		now = rand_below(3) ? now + (int64_t)rand_below(200) : MAX(now, next == INT64_MAX ? now : next);
		struct wheel_entry *p;
		while ((p = wheel_pop(&w, now)) != NULL) {
			assert_true(p->at_ms <= now && running[p - e]);
			running[p - e] = false;
		}
		for (int j = 0; j < N; j++)
			assert_true(!running[j] || e[j].at_ms > now);
	}
}

static int fired;
static void count(struct rt_timer *t)
{
	fired++;
}

static void again(struct rt_timer *t)
{
	if (++fired < 5)
		rt_timer_start(t, 3600000);
}

static void virtual_body(void *arg)
{
	struct rt_timer a, b;
	int64_t t0 = rt_now_ms(), w0 = rt_wall_us();

	rt_timer_init(&a, count);
	rt_timer_init(&b, again);
	rt_timer_start(&a, 100);
	rt_timer_start(&b, 3600000);
	assert_int_equal(rt_sleep_ms(99), 0);
	assert_int_equal(fired, 0);
	assert_int_equal(rt_sleep_ms(1), 0);
	assert_int_equal(fired, 1);
	fired = 0;
	rt_timer_start(&a, 5);
	rt_timer_stop(&a);
	assert_int_equal(rt_sleep_ms(6 * 3600000 - 100), 0);
	assert_int_equal(fired, 5);
	assert_int_equal(rt_now_ms() - t0, 6 * 3600000);
	assert_int_equal((rt_wall_us() - w0) / 1000, 6 * 3600000);
}

static void virtual_time(void **state)
{
	fired = 0;
	run_in_virtual_time(1, virtual_body, NULL);
	fired = 0;
	run_in_virtual_time(2, virtual_body, NULL);
}

static void real_body(void *arg)
{
	int64_t t = rt_now_us_exact();

	assert_int_equal(rt_sleep_ms(20), 0);
	t = rt_now_us_exact() - t;
	/* it counts from when the loop last looked at the clock, which a slow machine did milliseconds ago */
	assert_in_range(t, 15000, 200000);
}

static void real_time(void **state)
{
	run_in_runtime(1, real_body, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(against_a_model), cmocka_unit_test(virtual_time), cmocka_unit_test(real_time) };
	return cmocka_run_group_tests_name("wheel", tests, NULL, NULL);
}
