/* SPDX-License-Identifier: Apache-2.0 */
#include "rt/offload.h"
#include <stdlib.h>
#include "base/xalloc.h"
#include "rt/internal.h"

struct job {
	struct list node;
	void (*fn)(void *arg);
	void *arg;
	struct rt_fiber *fiber;	/* NULL: posted, and the job is ours */
	uint64_t wait;
	char *err;		/* the cause text FN left, for the fiber */
	size_t err_len;
};

static struct {
	pthread_mutex_t m;
	pthread_cond_t more;
	/* under lock */
	struct list jobs;
	int idle;
	bool stopping;
	/* owned by whoever starts and stops the pool */
	pthread_t *threads;
	int n;
	atomic_int pending;
} pool = { .m = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER };

static void run(struct job *j)
{
	err_clear();
	j->fn(j->arg);
	atomic_fetch_sub(&pool.pending, 1);
	if (j->fiber == NULL) {
		free(j);
		return;
	}
	j->err_len = strlen(err_text());
	if (j->err_len)
		j->err = xmemdup0(err_text(), j->err_len);
	fiber_wake(j->fiber, j->wait, WOKEN_EVENT); /* J is on the fiber's stack: gone from here on */
}

static void *worker(void *arg)
{
	(void)arg;
	pthread_mutex_lock(&pool.m);
	for (;;) {
		while (list_empty(&pool.jobs) && !pool.stopping) {
			pool.idle++;
			pthread_cond_wait(&pool.more, &pool.m);
			pool.idle--;
		}
		struct list *n = list_pop(&pool.jobs);
		if (n == NULL)
			break;
		pthread_mutex_unlock(&pool.m);
		run(LIST_ENTRY(n, struct job, node));
		pthread_mutex_lock(&pool.m);
	}
	pthread_mutex_unlock(&pool.m);
	return NULL;
}

static void submit(struct job *j)
{
	atomic_fetch_add(&pool.pending, 1);
	pthread_mutex_lock(&pool.m);
	list_push(&pool.jobs, &j->node);
	bool wake = pool.idle > 0;
	pthread_mutex_unlock(&pool.m);
	if (wake)
		pthread_cond_signal(&pool.more);
}

void rt_offload(void (*fn)(void *arg), void *arg)
{
	struct rt_fiber *f = rt_fiber_self();

	if (f == NULL) {
		fn(arg);
		return;
	}
	struct job j = { .fn = fn, .arg = arg, .fiber = f };
	struct rt_deadline *outer = f->deadline;
	f->deadline = NULL; /* not interrupted: ARG may be on this stack */
	j.wait = fiber_wait_prepare(true);
	submit(&j);
	int rc = fiber_wait_commit(INT64_MAX, "an offload thread", -1);
	assert(rc == 0);
	f->deadline = outer;
	if (j.err_len)
		fiber_err_take(f->shard, j.err, j.err_len);
	free(j.err);
}

void rt_offload_post(void (*fn)(void *arg), void *arg)
{
	struct job *j = xzalloc(sizeof *j);

	j->fn = fn;
	j->arg = arg;
	submit(j);
}

int offload_pending(void)
{
	return atomic_load(&pool.pending);
}

int offload_threads(void)
{
	return pool.n;
}

int offload_idle(void)
{
	pthread_mutex_lock(&pool.m);
	int n = pool.idle;
	pthread_mutex_unlock(&pool.m);
	return n;
}

int offload_start(int threads)
{
	list_init(&pool.jobs);
	pool.stopping = false;
	pool.threads = xcalloc(threads, sizeof *pool.threads);
	for (pool.n = 0; pool.n < threads; pool.n++)
		if (pthread_create(&pool.threads[pool.n], NULL, worker, NULL) != 0)
			return err_errno(E_LIMIT, "starting offload threads");
	return 0;
}

void offload_stop(void)
{
	pthread_mutex_lock(&pool.m);
	pool.stopping = true;
	pthread_mutex_unlock(&pool.m);
	pthread_cond_broadcast(&pool.more);
	for (int i = 0; i < pool.n; i++)
		pthread_join(pool.threads[i], NULL);
	free(pool.threads);
	pool.threads = NULL;
	pool.n = 0;
}
