/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walks over a whole store: enumeration at start, and the sweep for bodies without an envelope.
 *
 * Reading and parsing happen on the pool, a batch ahead of the fiber that takes the messages.
 */
#include <stdlib.h>
#include "base/xalloc.h"
#include "rt/diag.h"
#include "rt/fiber.h"
#include "rt/offload.h"
#include "rt/sync.h"
#include "spool/internal.h"

#define BATCH 256
#define SWEEP_BATCH 512
#define SWEEP_RENEW 64		/* batches of one walk, see walk_pins */
#define SWEEP_PAUSE_MS 20	/* a sweep reads the whole data store: leave the disk to others */

struct batch {
	struct rt_promise done;
	struct store_walk *walk;
	const struct store_kind *kind;
	struct msg *msgs[BATCH];
	size_t n;
	uint64_t damaged;
	bool end;
};

static void report_damaged(struct uuid id)
{
	struct buf b = { 0 };
	uuid_put_simple(&b, id);
	diag_error("kumo.spool", "Failed to parse metadata for %s: %s. It is left in the spool.", buf_cstr(&b), err_text());
	buf_fini(&b);
}

static void read_batch(void *arg)
{
	struct batch *b = arg;
	struct uuid id;
	struct slice value;
	b->n = b->damaged = 0;
	while (b->n < BATCH && !b->end) {
		if (!b->kind->walk_next(b->walk, &id, &value)) {
			b->end = true;
			break;
		}
		if (uuid_v1_us(id) >= spool_state.start_us)
			continue;	/* stored since: its session has inserted it */
		struct msg_env *env;
		if (value.ptr != NULL && msg_env_parse_json(value, &env) == 0) {
			b->msgs[b->n++] = msg_from_spool(id, env);
		} else {
			report_damaged(id);
			b->damaged++;
		}
	}
	rt_promise_set(&b->done, 0, NULL);
}

static void batch_begin(struct batch *b)
{
	rt_promise_init(&b->done);
	rt_offload_post(read_batch, b);
}

/* The job owns the batch until it is done, so this wait is not cut short. */
static void batch_wait(struct batch *b)
{
	struct rt_shield shield;
	void *unused;
	rt_shield_enter(&shield);
	int rc = rt_promise_wait(&b->done, &unused);
	assert(rc == 0);
	rt_shield_leave(&shield);
	rt_promise_fini(&b->done);
}

struct walking {
	struct store *store;
	bool values, has_after;
	struct uuid after;
	struct store_walk *walk;
};

static int begin_walk(void *arg)
{
	struct walking *w = arg;
	return w->store->kind->walk_begin(w->store, w->values, w->has_after ? &w->after : NULL, &w->walk);
}

static int end_walk(void *arg)
{
	struct walking *w = arg;
	return w->store->kind->walk_end(w->walk);
}

/* Hands the messages over; after a failure the rest is dropped. */
static int deliver(struct batch *b, int rc, spool_walk_cb cb, void *arg, struct spool_walk *w)
{
	w->damaged += b->damaged;
	for (size_t i = 0; i < b->n; i++) {
		if (rc == 0)
			rc = rt_check();
		if (rc == 0) {
			w->found++;
			rc = cb(arg, b->msgs[i]);
		} else {
			msg_unref(&b->msgs[i]);
		}
	}
	return rc;
}

int spool_enumerate(spool_walk_cb cb, void *arg, struct spool_walk *w)
{
	*w = (struct spool_walk){ 0 };
	if (!spool_is_ready())
		return err_set(E_AGAIN, "the spool has not been started");
	struct walking walk = { .store = spool_state.store[SPOOL_META], .values = true };
	int rc = spool_blocking(begin_walk, &walk);
	if (rc < 0)
		return rc;
	struct batch *two = xcalloc(2, sizeof *two);
	for (int i = 0; i < 2; i++) {
		two[i].walk = walk.walk;
		two[i].kind = walk.store->kind;
	}
	batch_begin(&two[0]);
	for (int i = 0;; i ^= 1) {
		batch_wait(&two[i]);
		bool last = two[i].end || rc < 0;
		if (!last)
			batch_begin(&two[i ^ 1]);
		rc = deliver(&two[i], rc, cb, arg, w);
		if (last)
			break;
	}
	free(two);
	int end = spool_blocking(end_walk, &walk);
	return rc < 0 ? rc : end;
}

/* --- the sweep */

struct sweep {
	struct walking walk;
	struct uuid *orphans;
	size_t n, cap;
	bool end;
};

static bool has_envelope(struct uuid id)
{
	char *data;
	size_t len;
	int rc = spool_state.store[SPOOL_META]->kind->get(spool_state.store[SPOOL_META], id, &data, &len);
	if (rc == 0)
		free(data);
	return rc != -E_NOENT;	/* when in doubt, it has */
}

static int sweep_batch(void *arg)
{
	struct sweep *s = arg;
	for (int i = 0; i < SWEEP_BATCH && !s->end; i++) {
		struct uuid id;
		struct slice value;
		if (!s->walk.store->kind->walk_next(s->walk.walk, &id, &value)) {
			s->end = true;
			break;
		}
		s->walk.after = id;
		s->walk.has_after = true;
		if (uuid_v1_us(id) < spool_state.start_us && !has_envelope(id)) {
			if (s->n == s->cap)
				s->orphans = xreallocarray(s->orphans, s->cap = s->cap ? 2 * s->cap : 64, sizeof *s->orphans);
			s->orphans[s->n++] = id;
		}
	}
	return 0;
}

static int recheck(void *arg)
{
	struct sweep *s = arg;
	size_t kept = 0;
	for (size_t i = 0; i < s->n; i++)
		if (!has_envelope(s->orphans[i]))
			s->orphans[kept++] = s->orphans[i];
	s->n = kept;
	return 0;
}

int spool_sweep(uint64_t *removed)
{
	*removed = 0;
	if (!spool_is_ready())
		return err_set(E_AGAIN, "the spool has not been started");
	struct sweep s = { .walk = { .store = spool_state.store[SPOOL_DATA], .values = false } };
	int rc = spool_blocking(begin_walk, &s.walk);
	if (rc < 0)
		return rc;
	for (int n = 1; rc == 0 && !s.end; n++) {
		spool_blocking(sweep_batch, &s);
		if (s.end || (rc = rt_sleep_ms(SWEEP_PAUSE_MS)) < 0)
			break;
		if (s.walk.store->kind->walk_pins && n % SWEEP_RENEW == 0) {
			if ((rc = spool_blocking(end_walk, &s.walk)) < 0 || (rc = spool_blocking(begin_walk, &s.walk)) < 0) {
				free(s.orphans);
				return rc;
			}
		}
	}
	int end = spool_blocking(end_walk, &s.walk);
	if (rc == 0)
		rc = end;
	/* A message that came from another node with its old id may be between its two writes: look again later. */
	if (rc == 0 && s.n > 0 && (rc = rt_sleep_ms(spool_state.recheck_ms)) == 0) {
		spool_blocking(recheck, &s);
		for (size_t i = 0; rc == 0 && i < s.n; i++)
			if ((rc = spool_remove(s.orphans[i])) == 0)
				++*removed;
	}
	free(s.orphans);
	return rc;
}

static struct rt_fiber *sweeper;

static void sweep_main(void *arg)
{
	uint64_t removed;
	int rc = spool_sweep(&removed);
	if (rc < 0 && rc != -E_CANCELED)
		diag_error("kumo.spool", "looking for bodies without an envelope: %s", err_text());
	if (removed > 0)
		diag_warn("kumo.spool", "%llu bodies without an envelope removed from the spool", (unsigned long long)removed);
}

void spool_sweep_in_background(void)
{
	if (sweeper == NULL)
		sweeper = rt_fiber_start("spool sweep", sweep_main, NULL);
}

void spool_sweep_stop(void)
{
	if (sweeper == NULL)
		return;
	rt_fiber_cancel(sweeper);
	rt_fiber_join(sweeper);
	rt_fiber_unref(&sweeper);
}
