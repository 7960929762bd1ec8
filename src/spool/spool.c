/* SPDX-License-Identifier: Apache-2.0 */
/* The pair of stores: definition, start, storage operations, health. */
#include "spool/spool.h"
#include <stdatomic.h>
#include <stdlib.h>
#include "base/xalloc.h"
#include "rt/clock.h"
#include "rt/diag.h"
#include "rt/fiber.h"
#include "rt/offload.h"
#include "rt/sync.h"
#include "spool/internal.h"

static const char *const NAMES[SPOOL_WHICH_COUNT] = { "meta", "data" };
static const struct store_kind *const KINDS[] = { [SPOOL_LOCAL_DISK] = &STORE_LOCAL_DISK, [SPOOL_ROCKSDB] = &STORE_ROCKSDB };

struct spool_state spool_state = { .recheck_ms = 30000 };
static _Atomic bool ready, suspend_delivery = true;
static struct buf failures;
static bool any_defined;
static struct rt_sem loads[SPOOL_WHICH_COUNT];
static bool loads_limited[SPOOL_WHICH_COUNT];

/* --- blocking calls on the pool, with their error text brought back */

struct blocking {
	int (*fn)(void *arg);
	void *arg;
	int rc;
	char *text;
};

static void run_blocking(void *arg)
{
	struct blocking *b = arg;
	b->rc = b->fn(b->arg);
	if (b->rc < 0)
		b->text = xstrdup(err_text());
}

int spool_blocking(int (*fn)(void *arg), void *arg)
{
	struct blocking b = { .fn = fn, .arg = arg };
	rt_offload(run_blocking, &b);
	if (b.rc < 0)
		err_set((enum err_code)-b.rc, "%s", b.text);
	free(b.text);
	return b.rc;
}

/* --- definition and start */

struct opening {
	const struct spool_opts *opts;
	struct store *store;
};

static int open_store(void *arg)
{
	struct opening *o = arg;
	return KINDS[o->opts->kind]->open(o->opts, &o->store);
}

static int close_store(void *arg)
{
	struct store *s = arg;
	s->kind->close(s);
	return 0;
}

static void remember_failure(struct slice name)
{
	if (failures.len > 0)
		buf_lit(&failures, "; ");
	buf_printf(&failures, "Error in spool: Opening spool %.*s: %s", SLICE_ARG(name), err_text());
}

void spool_metrics_init(void)
{
	rocks_metrics_init();
	diskfree_metrics_init();
}

int spool_define(const struct spool_opts *o)
{
	assert(!atomic_load(&ready));
	any_defined = true;
	if (spool_state.start_us == 0)
		spool_state.start_us = rt_wall_us();
	int which = slice_eq_cstr(o->name, NAMES[SPOOL_META]) ? SPOOL_META : slice_eq_cstr(o->name, NAMES[SPOOL_DATA]) ? SPOOL_DATA : -1;
	if (which < 0) {
		diag_warn("kumo.spool", "spool %.*s is defined, but only \"meta\" and \"data\" are used", SLICE_ARG(o->name));
		return 0;
	}
	struct opening op = { .opts = o };
	if (spool_state.store[which] != NULL)
		spool_blocking(close_store, spool_state.store[which]);
	spool_state.store[which] = NULL;
	int rc = spool_blocking(open_store, &op);
	if (rc < 0) {
		remember_failure(o->name);
		return rc;
	}
	spool_state.store[which] = op.store;
	loads_limited[which] = o->rocks_params.limit_concurrent_loads > 0;
	if (loads_limited[which])
		rt_sem_init(&loads[which], o->rocks_params.limit_concurrent_loads);
	char *label = xasprintf("%s spool", NAMES[which]);
	diskfree_watch(label, op.store->path, o->min_free_space, o->min_free_inodes);
	free(label);
	return 0;
}

int spool_start(void)
{
	if (failures.len > 0)
		return err_set(E_IO, "%s", buf_cstr(&failures));
	if (!any_defined)
		return err_set(E_NOENT, "start_spool: No spools have been defined");
	for (int i = 0; i < SPOOL_WHICH_COUNT; i++)
		if (spool_state.store[i] == NULL)
			return err_set(E_INVAL, "start_spool: no spool named '%s' has been defined", NAMES[i]);
	commit_start(spool_state.store[SPOOL_META], spool_state.store[SPOOL_DATA]);
	atomic_store(&ready, true);
	diskfree_start();
	return 0;
}

bool spool_is_ready(void)
{
	return atomic_load_explicit(&ready, memory_order_acquire);
}

/* --- health */

const char *spool_unhealthy_reason(void)
{
	if (!spool_is_ready())
		return NULL;
	for (int i = 0; i < SPOOL_WHICH_COUNT; i++) {
		const struct store *s = spool_state.store[i];
		if (s->kind->is_unhealthy != NULL && s->kind->is_unhealthy(s))
			return "the spool is not accepting writes";
	}
	return NULL;
}

void spool_set_suspend_delivery(bool on)
{
	atomic_store(&suspend_delivery, on);
}

const char *spool_delivery_suspension_reason(void)
{
	return atomic_load(&suspend_delivery) ? spool_unhealthy_reason() : NULL;
}

/* --- storage */

struct loading {
	struct store *store;
	struct uuid id;
	char *data;
	size_t len;
};

static int do_load(void *arg)
{
	struct loading *l = arg;
	return l->store->kind->get(l->store, l->id, &l->data, &l->len);
}

static int load(enum spool_which w, struct uuid id, char **data, size_t *len)
{
	if (!spool_is_ready())
		return err_set(E_AGAIN, "the spool has not been started");
	int rc = loads_limited[w] ? rt_sem_wait(&loads[w]) : 0;
	if (rc < 0)
		return rc;
	struct loading l = { .store = spool_state.store[w], .id = id };
	rc = spool_blocking(do_load, &l);
	if (loads_limited[w])
		rt_sem_post(&loads[w]);
	*data = l.data;
	*len = l.len;
	return rc;
}

int spool_load(enum spool_which w, struct uuid id, struct buf *out)
{
	char *data;
	size_t len;
	int rc = load(w, id, &data, &len);
	if (rc < 0)
		return rc;
	buf_put(out, data, len);
	free(data);
	return 0;
}

static int load_env(struct uuid id, struct msg_env **out)
{
	char *data;
	size_t len;
	int rc = load(SPOOL_META, id, &data, &len);
	if (rc < 0)
		return rc;
	rc = msg_env_parse_json(slice_new(data, len), out);
	free(data);
	return rc;
}

static int load_body(struct uuid id, struct msg_body **out)
{
	char *data;
	size_t len;
	int rc = load(SPOOL_DATA, id, &data, &len);
	if (rc == 0)
		*out = msg_body_take(data, len);
	return rc;
}

static int store(struct uuid id, const struct msg_env *env, const struct msg_body *body, bool force_sync)
{
	if (!spool_is_ready())
		return err_set(E_AGAIN, "the spool has not been started");
	const char *reason = spool_unhealthy_reason();
	if (reason != NULL)
		return err_set(E_IO, "%s", reason);
	struct buf json = { 0 };
	if (env != NULL)
		msg_env_put_json(&json, env);
	size_t len = json.len;
	char *text = env != NULL ? buf_take(&json, &len) : NULL;
	return commit_store(id, text, len, body, force_sync);
}

int spool_remove(struct uuid id)
{
	if (!spool_is_ready())
		return err_set(E_AGAIN, "the spool has not been started");
	return commit_remove(id);
}

const struct msg_storage SPOOL_STORAGE = { load_env, load_body, store, spool_remove };

/* --- upkeep */

static int compact_both(void *arg)
{
	int worst = 0;
	for (int i = 0; i < SPOOL_WHICH_COUNT; i++) {
		struct store *s = spool_state.store[i];
		int rc = s->kind->compact(s);
		if (rc < 0)
			worst = rc;
	}
	return worst;
}

int spool_compact(void)
{
	return spool_is_ready() ? spool_blocking(compact_both, NULL) : err_set(E_AGAIN, "the spool has not been started");
}

static int shrink_both(void *arg)
{
	for (int i = 0; i < SPOOL_WHICH_COUNT; i++)
		*(int64_t *)arg += spool_state.store[i]->kind->shrink(spool_state.store[i]);
	return 0;
}

int64_t spool_advise_low_memory(void)
{
	int64_t freed = 0;
	if (spool_is_ready())
		spool_blocking(shrink_both, &freed);
	return freed;
}

static int stop_writer(void *arg)
{
	commit_stop();
	return 0;
}

void spool_fini(void)
{
	struct rt_shield shield;
	rt_shield_enter(&shield);
	spool_sweep_stop();
	if (atomic_exchange(&ready, false)) {
		spool_blocking(stop_writer, NULL);
	}
	diskfree_stop();
	for (int i = 0; i < SPOOL_WHICH_COUNT; i++) {
		if (spool_state.store[i] != NULL)
			spool_blocking(close_store, spool_state.store[i]);
		spool_state.store[i] = NULL;
		if (loads_limited[i])
			rt_sem_fini(&loads[i]);
		loads_limited[i] = false;
	}
	buf_fini(&failures);
	any_defined = false;
	spool_state.start_us = 0;
	rt_shield_leave(&shield);
}
