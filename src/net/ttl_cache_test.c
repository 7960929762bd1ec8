/* SPDX-License-Identifier: Apache-2.0 */
/* Expiry, room, single flight and its failures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "base/xalloc.h"
#include "net/ttl_cache.h"
#include "rt/fiber.h"
#include "rt/loop.h"
#include <stdio.h>
#include <stdlib.h>

struct thing {
	_Atomic int refs;
	int n;
};

static _Atomic int alive, loads;

static struct thing *thing_new(int n)
{
	struct thing *t = xzalloc(sizeof *t);

	t->refs = 1;
	t->n = n;
	alive++;
	return t;
}

static void *thing_ref(void *p)
{
	((struct thing *)p)->refs++;
	return p;
}

static void thing_unref(void *p)
{
	struct thing *t = p;

	if (--t->refs)
		return;
	alive--;
	free(t);
}

static const struct ttl_cache_conf CONF = { "test", 64, thing_ref, thing_unref };

static void put(struct ttl_cache *c, const char *key, int n, int64_t ttl_ms)
{
	struct thing *t = thing_new(n);

	ttl_cache_put(c, slice_from_cstr(key), t, rt_now_ms() + ttl_ms);
	thing_unref(t);
}

static int get(struct ttl_cache *c, const char *key)
{
	struct thing *t = ttl_cache_get(c, slice_from_cstr(key));
	int n = t ? t->n : -1;

	if (t)
		thing_unref(t);
	return n;
}

static void run_expiry(void)
{
	struct ttl_cache *c = ttl_cache_create(&CONF);
	char key[16];

	put(c, "a", 1, 1000);
	assert_int_equal(get(c, "a"), 1);
	put(c, "a", 2, 1000);
	assert_int_equal(get(c, "a"), 2);
	put(c, "b", 3, 20);
	assert_int_equal(rt_sleep_ms(40), 0);
	assert_int_equal(get(c, "b"), -1);
	for (int i = 0; i < 1000; i++) {
		snprintf(key, sizeof key, "k%d", i);
		put(c, key, i, 1000);
		assert_int_equal(get(c, key), i);
	}
	assert_true(ttl_cache_len(c) <= 64);
	ttl_cache_clear(c);
	assert_int_equal(ttl_cache_len(c), 0);
	ttl_cache_destroy(&c);
	assert_int_equal(alive, 0);
}

static int load_slowly(void *arg, void **value, int64_t *expires_ms)
{
	int *fail = arg;

	loads++;
	if (rt_sleep_ms(30) < 0)
		return -E_CANCELED;
	if (*fail)
		return err_set(E_IO, "no luck");
	*value = thing_new(7);
	*expires_ms = rt_now_ms() + 1000;
	return 0;
}

struct waiter {
	struct ttl_cache *c;
	int fail, rc, n;
	char text[32];
};

static void wait_for_it(void *arg)
{
	struct waiter *w = arg;
	void *v;

	w->rc = ttl_cache_load(w->c, SLICE("x"), load_slowly, &w->fail, &v);
	if (w->rc == 0) {
		w->n = ((struct thing *)v)->n;
		thing_unref(v);
	} else {
		snprintf(w->text, sizeof w->text, "%s", err_text());
	}
}

/* Starts N at once; cancels the first of them when asked to. */
static void run_waiters(struct ttl_cache *c, struct waiter *w, size_t n, int fail, bool cancel_first)
{
	struct rt_fiber *f[8];

	loads = 0;
	for (size_t i = 0; i < n; i++) {
		w[i] = (struct waiter){ .c = c, .fail = fail };
		f[i] = rt_fiber_start("waiter", wait_for_it, &w[i]);
	}
	assert_int_equal(rt_sleep_ms(5), 0);
	if (cancel_first)
		rt_fiber_cancel(f[0]);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(rt_fiber_join(f[i]), 0);
		rt_fiber_unref(&f[i]);
	}
}

static void run_flight(void)
{
	struct ttl_cache *c = ttl_cache_create(&CONF);
	struct waiter w[4];

	run_waiters(c, w, 4, 1, false);
	assert_int_equal(loads, 1);
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(w[i].rc, -E_IO);
		assert_string_equal(w[i].text, "no luck");
	}
	run_waiters(c, w, 4, 0, true);
	assert_int_equal(w[0].rc, -E_CANCELED);
	assert_int_equal(loads, 2);	/* another one took over */
	for (size_t i = 1; i < 4; i++)
		assert_true(w[i].rc == 0 && w[i].n == 7);
	assert_int_equal(get(c, "x"), 7);
	ttl_cache_destroy(&c);
	assert_int_equal(alive, 0);
}

static void in_fiber(void *arg)
{
	run_expiry();
	run_flight();
}

static void test_cache(void **state)
{
	struct rt_conf conf = { .shards = 1, .offload_threads = 1 };

	assert_int_equal(rt_init(&conf), 0);
	rt_run(in_fiber, NULL);
	rt_fini();
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_cache) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
