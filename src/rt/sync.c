/* SPDX-License-Identifier: Apache-2.0 */
#include "rt/sync.h"
#include "rt/internal.h"

/* -- short locks -- */

static __thread uint32_t held_ranks;	/* a bit a rank: they rise strictly, so each is held at most once */

void rt_lock_init(struct rt_lock *l, enum rt_lock_rank rank)
{
	pthread_mutex_init(&l->m, NULL);
	l->rank = rank;
}

void rt_lock_fini(struct rt_lock *l)
{
	pthread_mutex_destroy(&l->m);
}

void rt_lock(struct rt_lock *l)
{
	assert(held_ranks >> l->rank == 0 && "locks are taken in rising rank: docs/locks.md");
	pthread_mutex_lock(&l->m);
	held_ranks |= 1u << l->rank;
	rt_nowait_enter();
}

void rt_unlock(struct rt_lock *l)
{
	assert(held_ranks & 1u << l->rank);
	rt_nowait_leave();
	held_ranks &= ~(1u << l->rank);
	pthread_mutex_unlock(&l->m);
}

/* -- conditions -- */

struct waiter {
	struct list node;
	struct rt_fiber *fiber;
	uint64_t wait;
	bool signaled;	/* under the caller's lock: whoever takes a waiter off the list has given it something */
};

void rt_cond_init(struct rt_cond *c)
{
	list_init(&c->waiters);
}

static int cond_wait(struct rt_cond *c, struct rt_lock *l, int64_t timeout_ms, const char *what)
{
	struct waiter w = { .fiber = rt_fiber_self() };

	w.wait = fiber_wait_prepare(false);
	list_push(&c->waiters, &w.node);
	rt_unlock(l);
	int rc = fiber_wait_commit(timeout_ms, what, -1);
	rt_lock(l);
	if (w.signaled) { /* even if a timer was faster: the signal is taken and must not be lost */
		if (rc == -E_TIMEOUT)
			fiber_forget_timeout();
		return 0;
	}
	list_remove(&w.node);
	return rc;
}

int rt_cond_wait(struct rt_cond *c, struct rt_lock *l, int64_t timeout_ms)
{
	return cond_wait(c, l, timeout_ms, "a signal");
}

static void signal_node(struct list *n)
{
	struct waiter *w = LIST_ENTRY(n, struct waiter, node);

	list_remove(n);
	w->signaled = true;
	fiber_wake(w->fiber, w->wait, WOKEN_EVENT);
}

void rt_cond_signal(struct rt_cond *c)
{
	if (!list_empty(&c->waiters))
		signal_node(c->waiters.next);
}

void rt_cond_broadcast(struct rt_cond *c)
{
	while (!list_empty(&c->waiters))
		signal_node(c->waiters.next);
}

bool rt_cond_has_waiters(const struct rt_cond *c)
{
	return !list_empty(&c->waiters);
}

/* -- promises -- */

void rt_promise_init(struct rt_promise *p)
{
	*p = (struct rt_promise){ 0 };
	rt_lock_init(&p->lock, RANK_RT);
	rt_cond_init(&p->cond);
}

void rt_promise_set(struct rt_promise *p, int rc, void *value)
{
	rt_lock(&p->lock);
	assert(!p->set);
	p->set = true;
	p->rc = rc;
	p->value = value;
	rt_cond_broadcast(&p->cond);
	rt_unlock(&p->lock);
}

int rt_promise_wait(struct rt_promise *p, void **value)
{
	int rc = 0;

	rt_lock(&p->lock);
	while (!p->set && rc == 0)
		rc = cond_wait(&p->cond, &p->lock, INT64_MAX, "a result");
	if (p->set) {
		rc = p->rc;
		if (value)
			*value = p->value;
	}
	rt_unlock(&p->lock);
	return rc;
}

void rt_promise_fini(struct rt_promise *p)
{
	assert(!rt_cond_has_waiters(&p->cond));
	rt_lock_fini(&p->lock);
}

/* -- semaphores: a post hands its unit to the longest waiting, so nobody is overtaken -- */

void rt_sem_init(struct rt_sem *s, int64_t n)
{
	rt_lock_init(&s->lock, RANK_RT);
	rt_cond_init(&s->cond);
	s->n = n;
}

static bool try_locked(struct rt_sem *s)
{
	if (s->n <= 0 || rt_cond_has_waiters(&s->cond))
		return false;
	s->n--;
	return true;
}

int rt_sem_wait(struct rt_sem *s)
{
	int rc = 0;

	rt_lock(&s->lock);
	if (!try_locked(s))
		rc = cond_wait(&s->cond, &s->lock, INT64_MAX, "its turn");
	rt_unlock(&s->lock);
	return rc;
}

bool rt_sem_try(struct rt_sem *s)
{
	rt_lock(&s->lock);
	bool got = try_locked(s);
	rt_unlock(&s->lock);
	return got;
}

static void hand_out(struct rt_sem *s)
{
	while (s->n > 0 && rt_cond_has_waiters(&s->cond)) {
		s->n--;
		rt_cond_signal(&s->cond);
	}
}

void rt_sem_resize(struct rt_sem *s, int64_t delta)
{
	rt_lock(&s->lock);
	s->n += delta;
	hand_out(s);
	rt_unlock(&s->lock);
}

void rt_sem_post(struct rt_sem *s)
{
	rt_sem_resize(s, 1);
}

void rt_sem_fini(struct rt_sem *s)
{
	assert(!rt_cond_has_waiters(&s->cond));
	rt_lock_fini(&s->lock);
}
