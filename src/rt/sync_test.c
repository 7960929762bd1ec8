/* SPDX-License-Identifier: Apache-2.0 */
#include "base/rand.h"
#include "rt/offload.h"
#include "rt/test_util.h"

#define SHARDS 3

struct shared {
	struct rt_promise promise;
	struct rt_sem sem;
	struct rt_lock lock;
	struct rt_cond cond;
	int64_t inside, most, done, timeouts, canceled;	/* under lock */
	int items, taken;
	bool closed;
	atomic_int left;
	int value;
};

static void join_all(struct shared *s)
{
	while (atomic_load(&s->left) > 0)
		assert_int_equal(rt_sleep_ms(1), 0);
}

/* -- promise -- */

static void awaits(void *arg)
{
	struct shared *s = arg;
	void *v = NULL;

	assert_int_equal(rt_promise_wait(&s->promise, &v), -E_NOENT);
	assert_ptr_equal(v, &s->value);
	atomic_fetch_sub(&s->left, 1);
}

static void awaits_short(void *arg)
{
	struct shared *s = arg;
	struct rt_deadline d;

	rt_deadline_push(&d, 1);
	int rc = rt_promise_wait(&s->promise, NULL);
	assert_true(rc == -E_TIMEOUT || rc == -E_NOENT);
	assert_true(rt_deadline_pop(&d) == (rc == -E_TIMEOUT));
	atomic_fetch_sub(&s->left, 1);
}

static void set_promise(void *arg)
{
	struct shared *s = arg;
	rt_promise_set(&s->promise, -E_NOENT, &s->value);
}

static void promise_body(void *arg)
{
	for (int round = 0; round < 50; round++) {
		struct shared s = { 0 };
		rt_promise_init(&s.promise);
		atomic_store(&s.left, SHARDS * 20);
		for (int i = 0; i < SHARDS * 20; i++)
			rt_fiber_spawn_on(rt_shard_at(i % SHARDS), "awaits", i % 4 ? awaits : awaits_short, &s);
		if (round % 2)
			assert_int_equal(rt_sleep_ms(2), 0);
		rt_offload(set_promise, &s);
		join_all(&s);
		rt_promise_fini(&s.promise);
	}
}

static void promises(void **state)
{
	run_in_runtime(SHARDS, promise_body, NULL);
}

/* -- semaphore: never more than N inside, and no unit is lost to deadlines or cancellation -- */

static void enters(void *arg)
{
	struct shared *s = arg;

	for (int i = 0; i < 200; i++) {
		struct rt_deadline d;
		rt_deadline_push(&d, (int64_t)rand_below(3));
		int rc = rt_sem_wait(&s->sem);
		rt_deadline_pop(&d);
		rt_lock(&s->lock);
		if (rc == 0)
			s->most = MAX(s->most, ++s->inside);
		else if (rc == -E_TIMEOUT)
			s->timeouts++;
		else
			s->canceled++;
		rt_unlock(&s->lock);
		if (rc < 0)
			continue;
		if (rand_below(4) == 0)
			(void)!rt_sleep_ms(1);
		else
			rt_yield();
		rt_lock(&s->lock);
		s->inside--;
		s->done++;
		rt_unlock(&s->lock);
		rt_sem_post(&s->sem);
	}
	atomic_fetch_sub(&s->left, 1);
}

static void sem_body(void *arg)
{
	struct shared s = { 0 };
	struct rt_fiber *victims[5];

	rt_sem_init(&s.sem, 4);
	rt_lock_init(&s.lock, RANK_LEAF);
	atomic_store(&s.left, SHARDS * 10 + 5);
	for (int i = 0; i < SHARDS * 10; i++)
		rt_fiber_spawn_on(rt_shard_at(i % SHARDS), "enters", enters, &s);
	for (int i = 0; i < 5; i++)
		victims[i] = rt_fiber_start("victim", enters, &s);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(rt_sleep_ms(1), 0);
		rt_fiber_cancel(victims[i]);
		rt_fiber_unref(&victims[i]);
	}
	join_all(&s);
	assert_int_equal(s.inside, 0);
	assert_in_range(s.most, 1, 4);
	assert_int_equal(s.sem.n, 4);
	assert_int_equal(s.done + s.timeouts + s.canceled, (SHARDS * 10 + 5) * 200);
	assert_true(s.done > 0);
	rt_sem_resize(&s.sem, -4);
	assert_false(rt_sem_try(&s.sem));
	rt_sem_fini(&s.sem);
}

static void semaphores(void **state)
{
	run_in_runtime(SHARDS, sem_body, NULL);
}

/* -- condition: producers and consumers on all shards, consumers with timeouts -- */

static void consume(void *arg)
{
	struct shared *s = arg;

	rt_lock(&s->lock);
	for (;;) {
		while (s->items == 0 && !s->closed) {
			int rc = rt_cond_wait(&s->cond, &s->lock, (int64_t)rand_below(3));
			if (rc == -E_TIMEOUT)
				s->timeouts++;
		}
		if (s->items == 0)
			break;
		s->items--;
		s->taken++;
	}
	rt_unlock(&s->lock);
	atomic_fetch_sub(&s->left, 1);
}

static void produce(void *arg)
{
	struct shared *s = arg;

	for (int i = 0; i < 1000; i++) {
		rt_lock(&s->lock);
		s->items++;
		rt_cond_signal(&s->cond);
		rt_unlock(&s->lock);
		if (i % 16 == 0)
			rt_yield();
	}
	atomic_fetch_sub(&s->left, 1);
}

static void cond_body(void *arg)
{
	struct shared s = { 0 };

	rt_lock_init(&s.lock, RANK_CACHE);
	rt_cond_init(&s.cond);
	atomic_store(&s.left, SHARDS * 2);
	for (int i = 0; i < SHARDS * 2; i++)
		rt_fiber_spawn_on(rt_shard_at(i % SHARDS), "produce", produce, &s);
	struct rt_fiber *f[6];
	for (int i = 0; i < 6; i++)
		rt_fiber_spawn_on(rt_shard_at(i % SHARDS), "consume", consume, &s);
	for (int i = 0; i < 6; i++)
		f[i] = rt_fiber_start("consume", consume, &s);
	join_all(&s);
	atomic_store(&s.left, 12);
	rt_lock(&s.lock);
	s.closed = true;
	rt_cond_broadcast(&s.cond);
	rt_unlock(&s.lock);
	for (int i = 0; i < 6; i++) {
		assert_int_equal(rt_fiber_join(f[i]), 0);
		rt_fiber_unref(&f[i]);
	}
	while (atomic_load(&s.left) > 0)
		assert_int_equal(rt_sleep_ms(1), 0);
	assert_int_equal(s.taken, SHARDS * 2 * 1000);
	assert_int_equal(s.items, 0);
}

static void conditions(void **state)
{
	run_in_runtime(SHARDS, cond_body, NULL);
}

/* -- order and completeness of posts from other threads -- */

struct counter {
	atomic_int n;
	int last;
};

static void posted(void *arg)
{
	struct counter *c = arg;
	atomic_fetch_add(&c->n, 1);
}

static void posts_many(void *arg)
{
	for (int i = 0; i < 1000; i++)
		rt_post(rt_shard_at(i % SHARDS), posted, arg);
}

static void post_body(void *arg)
{
	struct counter c = { 0 };

	for (int i = 0; i < 10; i++)
		rt_offload_post(posts_many, &c);
	for (int i = 0; i < 3; i++)
		rt_offload(posts_many, &c);
	while (atomic_load(&c.n) < 13000)
		assert_int_equal(rt_sleep_ms(1), 0);
}

static void posts(void **state)
{
	run_in_runtime(SHARDS, post_body, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(promises), cmocka_unit_test(semaphores), cmocka_unit_test(conditions), cmocka_unit_test(posts) };
	return cmocka_run_group_tests_name("sync", tests, NULL, NULL);
}
