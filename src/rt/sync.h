/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sync - how fibers of any shard wait for each other, and the short locks that protect shared objects.
 *
 * A short lock (rt_lock) is an OS mutex with a rank: taken in rising rank only, never held over a wait (asserted). Ranks and their
 * order are in docs/locks.md. Waiting for long is done with the primitives here; each honours cancellation and deadlines.
 *
 *	rt_cond     a condition under a short lock, used like pthread_cond
 *	rt_promise  set once, waited for by many (single flight)
 *	rt_sem      a counting semaphore, FIFO
 *
 * Thread:  any shard; rt_cond_signal, rt_promise_set and rt_sem_post also from threads that are no shard.
 * Memory:  embedded; must outlive their waiters (put them into reference-counted objects).
 */
#pragma once
#include <pthread.h>
#include "base/err.h"
#include "base/list.h"

#define RT_LOCK_RANKS(X) /* lowest is taken first */ \
	X(RANK_CONFIG) X(RANK_QUEUE_MANAGER) X(RANK_SCHED_QUEUE) X(RANK_READY_MANAGER) X(RANK_READY_QUEUE) X(RANK_THROTTLE) \
	X(RANK_CACHE) X(RANK_MSG) X(RANK_SPOOL) X(RANK_LOG) X(RANK_DNS) X(RANK_METRICS) X(RANK_RT) X(RANK_LEAF)
enum rt_lock_rank {
#define X(n) n,
	RT_LOCK_RANKS(X)
#undef X
};
struct rt_lock {
	pthread_mutex_t m;
	enum rt_lock_rank rank;
};
#define RT_LOCK_INIT(r) { PTHREAD_MUTEX_INITIALIZER, r }
void rt_lock_init(struct rt_lock *l, enum rt_lock_rank rank);
void rt_lock(struct rt_lock *l);
void rt_unlock(struct rt_lock *l);
void rt_lock_fini(struct rt_lock *l);

struct rt_cond {
	struct list waiters;	/* under the caller's lock */
};
void rt_cond_init(struct rt_cond *c);
/* Yields with L released, returns with L held: 0 when signaled, -E_TIMEOUT after TIMEOUT_MS (INT64_MAX: never) or a deadline, -E_CANCELED. */
int rt_cond_wait(struct rt_cond *c, struct rt_lock *l, int64_t timeout_ms) WARN_UNUSED;
void rt_cond_signal(struct rt_cond *c);		/* L held: wakes the longest waiting */
void rt_cond_broadcast(struct rt_cond *c);	/* L held */
bool rt_cond_has_waiters(const struct rt_cond *c); /* L held */

struct rt_promise {
	struct rt_lock lock;
	struct rt_cond cond;
	bool set;
	int rc;
	void *value;
};
void rt_promise_init(struct rt_promise *p);
void rt_promise_set(struct rt_promise *p, int rc, void *value);		/* once */
int rt_promise_wait(struct rt_promise *p, void **value) WARN_UNUSED;	/* Yields. rc of the setter, or -E_CANCELED/-E_TIMEOUT */
void rt_promise_fini(struct rt_promise *p);

struct rt_sem {
	struct rt_lock lock;
	struct rt_cond cond;
	int64_t n;
};
void rt_sem_init(struct rt_sem *s, int64_t n);
int rt_sem_wait(struct rt_sem *s) WARN_UNUSED;				/* Yields. */
bool rt_sem_try(struct rt_sem *s);
void rt_sem_post(struct rt_sem *s);
void rt_sem_resize(struct rt_sem *s, int64_t delta);
void rt_sem_fini(struct rt_sem *s);
