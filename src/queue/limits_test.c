/* SPDX-License-Identifier: Apache-2.0 */
/* Rates, leases, weighted round robin, due times, names: the small parts, each against what it is said to do. */
#include <stdio.h>
#include <stdlib.h>
#include "base/rand.h"
#include "queue/ready/route.h"
#include "queue/throttle.h"
#include "rt/fiber.h"
#include "rt/test_util.h"

static struct rate_spec rate(const char *text)
{
	struct rate_spec r;
	assert_int_equal(rate_spec_parse(slice_from_cstr(text), &r), 0);
	return r;
}

static struct throttle_result ask(const char *name, const struct rate_spec *r)
{
	struct throttle_result t;
	assert_int_equal(throttle_check(slice_from_cstr(name), r, 1, &t), 0);
	return t;
}

static void rates(void *arg)
{
	struct rate_spec r = rate("100/h,max_burst=2"), s = rate("10/s");
	static const uint64_t left[] = { 2, 1, 0 };
	for (int i = 0; i < 3; i++) {
		struct throttle_result t = ask("burst", &r);
		assert_false(t.throttled);
		assert_int_equal(t.limit, 3);
		assert_int_equal(t.remaining, left[i]);
	}
	struct throttle_result t = ask("burst", &r);
	assert_true(t.throttled);
	assert_int_equal(t.remaining, 0);
	assert_in_range(t.retry_after_ns, 35900000000, 36000000000);
	assert_false(ask("another", &r).throttled);

	/* over ten seconds of asking every 10 ms: the burst, and ten a second */
	int allowed = 0;
	for (int i = 0; i < 1000; i++) {
		allowed += !ask("steady", &s).throttled;
		assert_int_equal(rt_sleep_ms(10), 0);
	}
	assert_in_range(allowed, 108, 110);
	assert_int_equal(rt_sleep_ms(36000), 0);
	assert_false(ask("burst", &r).throttled);
}

static int got;
static void wants_lease(void *arg)
{
	struct lease l;
	struct limit_spec spec = { .limit = 2 };
	if (lease_acquire(SLICE("limit"), &spec, 60000000000, 20000, &l) < 0)
		return;
	got++;
	assert_int_equal(rt_sleep_ms(1000), 0);
	lease_release(&l);
}

static void leases(void *arg)
{
	struct lease a, b, c;
	struct limit_spec spec = { .limit = 2 };
	assert_int_equal(lease_acquire(SLICE("x"), &spec, 5000000000, 0, &a), 0);
	assert_int_equal(lease_acquire(SLICE("x"), &spec, 60000000000, 0, &b), 0);
	assert_int_equal(lease_acquire(SLICE("x"), &spec, 60000000000, 1000, &c), -E_LIMIT);
	assert_int_equal(lease_extend(&a, 5000000000), 0);
	assert_int_equal(lease_acquire(SLICE("x"), &spec, 60000000000, 10000, &c), 0);	/* A expires */
	assert_int_equal(lease_extend(&a, 5000000000), -E_NOENT);
	assert_int_equal(lease_count(SLICE("x")), 2);
	lease_release(&a);
	lease_release(&b);
	lease_release(&c);
	assert_int_equal(lease_count(SLICE("x")), 0);
	for (int i = 0; i < 10; i++)
		rt_fiber_spawn("lease", wants_lease, NULL);
	assert_int_equal(rt_sleep_ms(5500), 0);
	assert_int_equal(got, 10);
}

static void round_robin(void **state)
{
	struct wrr w = { 0 };
	uint32_t weights[] = { 3, 1 }, none[] = { 0, 0 }, more[] = { 5, 0, 10, 1 };
	int n[4] = { 0 };
	for (int i = 0; i < 8; i++)
		n[wrr_next(&w, weights, 2)]++;
	assert_int_equal(n[0], 6);
	assert_int_equal(n[1], 2);
	assert_int_equal(wrr_next(&w, none, 2), -1);
	memset(n, 0, sizeof(n));
	memset(&w, 0, sizeof(w));
	for (int i = 0; i < 1600; i++)
		n[wrr_next(&w, more, 4)]++;
	assert_int_equal(n[1], 0);
	assert_in_range(n[0], 499, 501);
	assert_in_range(n[2], 999, 1001);
	assert_in_range(n[3], 99, 101);
}

static int cmp(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return x < y ? -1 : x > y;
}

static void due_times(void **state)
{
	struct due_heap h = { 0 };
	int64_t *keys = calloc(5000, sizeof(*keys));
	for (int i = 0; i < 5000; i++) {
		keys[i] = (int64_t)rand_below(100000) + 1;
		due_push(&h, keys[i], (struct msg *)(uintptr_t)keys[i]);
	}
	qsort(keys, 5000, sizeof(*keys), cmp);
	for (int i = 0; i < 5000; i++)
		assert_int_equal((int64_t)(uintptr_t)due_pop(&h), keys[i]);
	assert_int_equal(h.n, 0);
	assert_null(h.e);
	free(keys);
}

static void connections(void **state)
{
	assert_int_equal(ready_ideal_connections(0, 32), 0);
	assert_int_equal(ready_ideal_connections(1, 32), 1);
	assert_int_equal(ready_ideal_connections(2, 32), 2);
	assert_int_equal(ready_ideal_connections(10, 32), 7);
	assert_int_equal(ready_ideal_connections(1000, 32), 32);
	assert_int_equal(ready_ideal_connections(1000000, 1), 1);
	assert_int_equal(ready_ideal_connections(5, 0), 0);
}

static void expect(const char *name, const char *campaign, const char *tenant, const char *domain, const char *route)
{
	struct queue_name n;
	queue_name_parse(slice_from_cstr(name), &n);
	const struct slice got_parts[] = { n.campaign, n.tenant, n.domain, n.routing_domain };
	const char *const want[] = { campaign, tenant, domain, route };
	for (int i = 0; i < 4; i++)
		if ((got_parts[i].ptr == NULL) != (want[i] == NULL) || (want[i] && !slice_eq_cstr(got_parts[i], want[i])))
			fail_msg("%s: part %d is %.*s", name, i, SLICE_ARG(got_parts[i]));
}

static void names(void **state)
{
	expect("a.example", NULL, NULL, "a.example", NULL);
	expect("t@a.example", NULL, "t", "a.example", NULL);
	expect("c:t@a.example!b.example", "c", "t", "a.example", "b.example");
	expect("c:@a.example", "c", "", "a.example", NULL);
	expect("@a.example", NULL, "", "a.example", NULL);
	expect("d:e@f:a b/c@a.example", "d", "e", "f:a b/c@a.example", NULL);
	expect("a.example!b.example", NULL, NULL, "a.example", "b.example");
	expect("", NULL, NULL, "", NULL);
}

static void in_runtime(void **state)
{
	run_in_virtual_time(1, rates, NULL);
	run_in_virtual_time(1, leases, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(in_runtime), cmocka_unit_test(round_robin), cmocka_unit_test(due_times),
		cmocka_unit_test(connections), cmocka_unit_test(names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
