/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/commit.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include "base/xalloc.h"
#include "rt/diag.h"
#include "rt/fiber.h"
#include "rt/sync.h"
#include "spool/sync_pair.h"

#define BATCH_OPS 1024
#define BATCH_BYTES (16 << 20)
#define LINGER_MS 10		/* how long removals wait for company */
#define LINGER_OPS 64
#define REMOVES_MAX 20000	/* more than that pending: submitters wait */
#define MONITOR_MS 5000

struct op {
	struct list node;		/* under lock while queued; then the thread's */
	struct uuid id;
	bool is_store, waited, sync;
	bool queued;			/* under lock */
	_Atomic int refs;
	struct msg_body *body;
	char *env;
	size_t env_len;
	int rc;
	char *text;			/* of the failure; read after `done` */
	struct rt_promise done;		/* when waited */
};

static struct {
	struct rt_lock lock;
	pthread_cond_t wake;
	/* under lock */
	struct list queue;
	_Atomic size_t stores, removes;	/* in the queue; removes is looked at without the lock too */
	bool stop;
	/* immutable while the thread runs */
	struct store *meta, *data;
	pthread_t thread;
	struct sync_pair *sync_pair;
	/* owned by the thread */
	struct list failed;		/* removals to be tried again */
	struct uuid *dead;		/* removed from meta, their bodies not yet */
	size_t n_dead, cap_dead;
	struct store_write *writes;
	struct op **of;			/* the op that a write belongs to */
	size_t cap_writes;
	int64_t monitor_at_ms;
} g;

static void op_unref(struct op *op)
{
	if (atomic_fetch_sub(&op->refs, 1) != 1)
		return;
	if (op->waited)
		rt_promise_fini(&op->done);
	msg_body_unref(&op->body);
	free(op->env);
	free(op->text);
	free(op);
}

static void op_done(struct op *op)
{
	if (op->waited) {
		if (op->rc < 0 && op->text == NULL)
			op->text = xstrdup(err_text());
		rt_promise_set(&op->done, op->rc, NULL);
	}
	op_unref(op);
}

/* --- the thread */

/* Lock held. False: MS passed. */
static bool wait_ms(int64_t ms)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_sec += ms / 1000;
	t.tv_nsec += ms % 1000 * 1000000;
	if (t.tv_nsec >= 1000000000) {
		t.tv_sec++;
		t.tv_nsec -= 1000000000;
	}
	return pthread_cond_timedwait(&g.wake, &g.lock.m, &t) == 0;
}

static void add_write(size_t n, struct uuid id, struct slice data, struct op *op)
{
	if (n == g.cap_writes) {
		g.cap_writes = g.cap_writes ? 2 * g.cap_writes : 256;
		g.writes = xreallocarray(g.writes, g.cap_writes, sizeof *g.writes);
		g.of = xreallocarray(g.of, g.cap_writes, sizeof(struct op *));
	}
	g.writes[n] = (struct store_write){ .id = id, .data = data };
	g.of[n] = op;
}

/* A store that is busy is asked again, until its deadline. *SYNC: durable, please; afterwards: a sync of the store is owed. */
static int write_patiently(struct store *s, size_t n, bool *sync)
{
	bool wanted = *sync, now = wanted && s->kind->sync == NULL;
	*sync = false;
	if (s->kind->is_unhealthy && s->kind->is_unhealthy(s)) {
		int rc = err_set(E_IO, "the spool is not accepting writes");
		for (size_t i = 0; i < n; i++)
			g.writes[i].rc = rc;
		return rc;
	}
	struct patience p = patience_until(s);
	int rc;
	do
		rc = s->kind->write(s, g.writes, n, now);
	while (patience_again(&p, rc));
	*sync = rc == 0 && wanted && !now;
	return rc;
}

static void keep_result(size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct op *op = g.of[i];
		if (op == NULL || g.writes[i].rc == 0)
			continue;
		op->rc = g.writes[i].rc;
		if (op->waited && op->text == NULL)
			op->text = xstrdup(err_text());
	}
}

/* These two say whether a sync of the store is owed. */
static bool write_data(struct list *batch)
{
	size_t n = 0, n_dead = g.n_dead;
	bool sync = false;
	for (size_t i = 0; i < g.n_dead; i++)
		add_write(n++, g.dead[i], SLICE_NONE, NULL);
	g.n_dead = 0;
	LIST_EACH (it, batch) {
		struct op *op = LIST_ENTRY(it, struct op, node);
		if (op->body == NULL)
			continue;
		add_write(n++, op->id, msg_body_view(op->body), op);
		sync |= op->sync || g.data->flush;
	}
	if (n == 0)
		return false;
	int rc = write_patiently(g.data, n, &sync);
	if (rc < 0)
		diag_error("kumo.spool", "data spool: %s", err_text());
	if (rc < 0 && n_dead > 0)
		diag_warn("kumo.spool", "%zu bodies of ended messages stay behind until the next start", n_dead);
	keep_result(n);
	return sync;
}

/* Removals are synced like stores: a body must not go for good while its envelope may come back with the power. */
static bool write_meta(struct list *batch)
{
	size_t n = 0;
	bool sync = false;
	LIST_EACH (it, batch) {
		struct op *op = LIST_ENTRY(it, struct op, node);
		if (op->is_store && (op->env == NULL || op->rc < 0))
			continue;
		add_write(n++, op->id, op->is_store ? slice_new(op->env, op->env_len) : SLICE_NONE, op);
		sync |= op->sync || g.meta->flush;
	}
	if (n == 0)
		return false;
	if (write_patiently(g.meta, n, &sync) < 0)
		diag_error("kumo.spool", "meta spool: %s", err_text());
	keep_result(n);
	return sync;
}

static void fail_synced(struct list *batch, bool data, int rc, const char *text)
{
	LIST_EACH (it, batch) {
		struct op *op = LIST_ENTRY(it, struct op, node);
		if (op->rc < 0 || (data ? op->body == NULL : op->is_store && op->env == NULL))
			continue;
		op->rc = rc;
		if (op->waited)
			op->text = xstrdup(text);
	}
}

/* Both stores at the same time. Whoever waits is told after both. */
static void sync_both(struct list *batch, bool data, bool meta)
{
	struct store *const s[2] = { data ? g.data : NULL, meta ? g.meta : NULL };
	int rc[2];
	char *text[2];
	sync_pair_run(g.sync_pair, s, rc, text);
	for (int i = 0; i < 2; i++) {
		if (rc[i] < 0) {
			diag_error("kumo.spool", "%s spool: %s", s[i]->name, text[i]);
			fail_synced(batch, i == 0, rc[i], text[i]);
		}
		free(text[i]);
	}
}

static void add_dead(struct uuid id)
{
	if (g.n_dead == g.cap_dead)
		g.dead = xreallocarray(g.dead, g.cap_dead = g.cap_dead ? 2 * g.cap_dead : 256, sizeof *g.dead);
	g.dead[g.n_dead++] = id;
}

static void run_batch(struct list *batch, bool last)
{
	bool data = write_data(batch), meta = write_meta(batch);
	if (data || meta)
		sync_both(batch, data, meta);
	for (struct list *it; (it = list_pop(batch)) != NULL;) {
		struct op *op = LIST_ENTRY(it, struct op, node);
		if (!op->is_store && op->rc == 0) {
			add_dead(op->id);
		} else if (!op->is_store && !op->waited && !last) {	/* or its message would come back after a restart */
			op->rc = 0;
			list_push(&g.failed, &op->node);
			continue;
		}
		op_done(op);
	}
}

/* Lock held. A removal and a later store of the same id must not share a batch: its body goes first, removed bodies go with the next. */
static bool stored_again(struct list *batch, const struct op *op, const uint64_t seen[16])
{
	unsigned bit = op->id.bytes[3] | (op->id.bytes[2] & 3u) << 8;
	if (!(seen[bit / 64] >> bit % 64 & 1))
		return false;
	LIST_EACH (it, batch) {
		const struct op *other = LIST_ENTRY(it, struct op, node);
		if (!other->is_store && uuid_eq(other->id, op->id))
			return true;
	}
	return false;
}

/* Lock held. */
static void gather(struct list *batch)
{
	uint64_t seen[16] = { 0 };
	size_t bytes = 0;
	for (int n = 0; n < BATCH_OPS && bytes < BATCH_BYTES && !list_empty(&g.queue); n++) {
		struct op *op = LIST_ENTRY(g.queue.next, struct op, node);
		unsigned bit = op->id.bytes[3] | (op->id.bytes[2] & 3u) << 8;
		if (op->is_store && stored_again(batch, op, seen))
			break;
		if (!op->is_store)
			seen[bit / 64] |= UINT64_C(1) << bit % 64;
		bytes += op->env_len + (op->body ? op->body->len : 0);
		list_remove(&op->node);
		list_push(batch, &op->node);
		op->queued = false;
		*(op->is_store ? &g.stores : &g.removes) -= 1;
	}
}

static void monitor(void)
{
	struct store *both[] = { g.meta, g.data };
	for (size_t i = 0; i < ARRAY_LEN(both); i++)
		if (both[i]->kind->monitor)
			both[i]->kind->monitor(both[i], store_mono_ms());
	g.monitor_at_ms = store_mono_ms() + MONITOR_MS;
}

/* Lock held. Puts failed removals back in line. */
static void retry_failed(void)
{
	for (struct list *it = g.failed.next; it != &g.failed; it = it->next) {
		LIST_ENTRY(it, struct op, node)->queued = true;
		g.removes++;
	}
	list_splice(&g.queue, &g.failed);
}

/* Lock held, returns with it held: until there is something worth a write. */
static void wait_for_work(void)
{
	while (!g.stop && g.stores == 0) {
		if (g.removes >= LINGER_OPS)
			return;
		if (g.removes > 0 || g.n_dead > 0) {
			if (!wait_ms(LINGER_MS))
				return;
			continue;
		}
		int64_t left = g.monitor_at_ms - store_mono_ms();
		if (left > 0) {
			wait_ms(left);
			continue;
		}
		rt_unlock(&g.lock);
		monitor();
		rt_lock(&g.lock);
		retry_failed();
	}
}

static void *commit_main(void *arg)
{
	struct list batch;
	list_init(&batch);
	pthread_setname_np(pthread_self(), "spool");
	rt_lock(&g.lock);
	for (;;) {
		wait_for_work();
		bool last = g.stop;
		if (last)
			retry_failed();
		if (last && list_empty(&g.queue) && g.n_dead == 0)
			break;
		gather(&batch);
		rt_unlock(&g.lock);
		run_batch(&batch, last);
		if (store_mono_ms() >= g.monitor_at_ms)
			monitor();
		rt_lock(&g.lock);
	}
	rt_unlock(&g.lock);
	return NULL;
}

void commit_start(struct store *meta, struct store *data)
{
	rt_lock_init(&g.lock, RANK_SPOOL);
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&g.wake, &attr);
	pthread_condattr_destroy(&attr);
	list_init(&g.queue);
	list_init(&g.failed);
	g.stop = false;
	g.meta = meta;
	g.data = data;
	g.monitor_at_ms = store_mono_ms() + MONITOR_MS;
	g.sync_pair = sync_pair_start();
	int rc = pthread_create(&g.thread, NULL, commit_main, NULL);
	assert(rc == 0);
}

void commit_stop(void)
{
	rt_lock(&g.lock);
	g.stop = true;
	pthread_cond_signal(&g.wake);
	rt_unlock(&g.lock);
	pthread_join(g.thread, NULL);
	sync_pair_stop(&g.sync_pair);
	free(g.dead);
	free(g.writes);
	free(g.of);
	g.dead = NULL;
	g.writes = NULL;
	g.of = NULL;
	g.n_dead = g.cap_dead = g.cap_writes = 0;
}

/* --- submitting */

static int submit(struct op *op)
{
	rt_lock(&g.lock);
	bool stopped = g.stop;
	if (!stopped) {
		/* a removal wakes an idle thread, which then lingers; a store ends the lingering */
		bool wake = op->is_store ? g.stores == 0 : g.stores + g.removes == 0 || g.removes + 1 == LINGER_OPS;
		list_push(&g.queue, &op->node);
		op->queued = true;
		*(op->is_store ? &g.stores : &g.removes) += 1;
		if (wake)
			pthread_cond_signal(&g.wake);
	}
	rt_unlock(&g.lock);
	return stopped ? err_set(E_SHUTDOWN, "the spool is shut down") : 0;
}

/* Takes an op that is still in line out of it. */
static void withdraw(struct op *op)
{
	rt_lock(&g.lock);
	bool mine = op->queued;
	if (mine) {
		list_remove(&op->node);
		op->queued = false;
		*(op->is_store ? &g.stores : &g.removes) -= 1;
	}
	rt_unlock(&g.lock);
	if (mine)
		op_unref(op);
}

static int submit_and_wait(struct op *op)
{
	op->waited = true;
	atomic_init(&op->refs, 2);
	rt_promise_init(&op->done);
	int rc = submit(op);
	if (rc < 0) {
		op_unref(op);
		op_unref(op);
		return rc;
	}
	struct rt_deadline d;
	void *unused;
	rt_deadline_push(&d, MIN(g.meta->deadline_ms, g.data->deadline_ms));
	rc = rt_promise_wait(&op->done, &unused);
	bool ours = rt_deadline_pop(&d);
	if (rc == -E_TIMEOUT || rc == -E_CANCELED) {
		withdraw(op);
		if (ours)
			err_set(E_TIMEOUT, "spool write timed out");
	} else if (rc < 0) {
		err_set((enum err_code)-rc, "%s", op->text);
	}
	op_unref(op);
	return rc;
}

int commit_store(struct uuid id, char *env, size_t env_len, const struct msg_body *body, bool force_sync)
{
	struct op *op = xzalloc(sizeof *op);
	op->id = id;
	op->is_store = true;
	op->sync = force_sync;
	op->env = env;
	op->env_len = env_len;
	op->body = body ? msg_body_ref((struct msg_body *)body) : NULL;
	return submit_and_wait(op);
}

int commit_remove(struct uuid id)
{
	struct op *op = xzalloc(sizeof *op);
	op->id = id;
	if (atomic_load_explicit(&g.removes, memory_order_relaxed) > REMOVES_MAX)
		return submit_and_wait(op);
	atomic_init(&op->refs, 1);
	int rc = submit(op);
	if (rc < 0)
		op_unref(op);
	return rc;
}
