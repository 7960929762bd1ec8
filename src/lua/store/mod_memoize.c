/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mod_memoize - kumo.memoize: functions whose results are kept, for the whole process.
 *
 * Caches are found by name, so that the function made in each Lua state shares one; defining a name anew with other parameters starts it
 * afresh. A miss is filled by one caller while the others wait for its promise (single flight). The least recently used entry goes first.
 */
#include <stdatomic.h>
#include <stdlib.h>
#include "base/map.h"
#include "codec/opt.h"
#include "lua/modules.h"
#include "lua/store/cached.h"
#include "lua/util.h"
#include "net/ttl_metrics.h"
#include "policy/lruttl.h"
#include "queue/memory.h"
#include "rt/clock.h"
#include "rt/fiber.h"
#include "rt/sync.h"

#define DEFAULT_POPULATE_MS 120000
#define ERROR_TTL_MS 60000	/* what fails, often fails by waiting: not for each caller anew */

struct params {
	struct slice name;
	int64_t ttl, capacity, populate_timeout;
	bool invalidate_with_epoch, retry_on_populate_timeout, allow_stale_reads;
};
static const struct opt_field FIELDS[] = {
	OPT_DURATION(struct params, ttl, NULL, "how long a result is kept", .required = true),
	OPT_INT(struct params, capacity, NULL, "how many results are kept", .required = true),
	OPT_STR(struct params, name, NULL, "name of the cache", .required = true),
	OPT_BOOL(struct params, invalidate_with_epoch, NULL, "forget everything when the configuration epoch is bumped"),
	OPT_BOOL(struct params, retry_on_populate_timeout, NULL, "try again instead of raising an error"),
	OPT_DURATION(struct params, populate_timeout, NULL, "how long the function may take (120 seconds)"),
	OPT_BOOL(struct params, allow_stale_reads, NULL, "give out an expired result while a new one takes too long"),
	OPT_END,
};
static const struct opt_desc PARAMS = { .name = "memoize", .fields = FIELDS, .size = sizeof(struct params) };

/* What lruttl_* says of a cache is shown under these names too. */
enum { SHOWN = 4 };
static int show(struct metric_family *f);
#define SHOW(n, h) { .name = "memoize_cache_" n "_count", .help = h, .kind = METRIC_COUNTER_K, .labels = { "cache_name" }, .collect = show }
static struct metric_family FAMILIES[SHOWN] = {
	SHOW("lookup", "how many times a memoized function was called"),
	SHOW("hit", "how many calls of a memoized function were answered with a result that was kept"),
	SHOW("miss", "how many calls of a memoized function found no result that was kept"),
	SHOW("populated", "how many times a memoized function had to run"),
};
static const enum ttl_count SHOWN_AS[SHOWN] = { TTL_LOOKUPS, TTL_HITS, TTL_MISSES, TTL_POPULATED };

struct fill {			/* one running population; the waiters hold references */
	_Atomic uint32_t refs;
	struct rt_promise done;
	struct cached *value;	/* set before the promise is */
	char *error;
};
struct entry {
	struct list lru;	/* most recently used first */
	char *key;
	size_t key_len;
	struct cached *value;	/* NULL while it is filled the first time, and when that failed */
	char *error;		/* the last population failed with this: it is not tried again for a while */
	int64_t error_until_ms;
	int64_t expires_ms;
	uint64_t epoch;
	struct fill *fill;	/* NULL: nobody is at it */
};
struct cache {
	_Atomic uint32_t refs;
	int64_t ttl_ms, capacity, populate_ms;
	bool with_epoch, retry, stale;
	struct ttl_metrics metrics;
	struct metric *shown[SHOWN];
	/* under lock */
	struct rt_lock lock;
	struct map entries;
	struct list lru;
};

static struct rt_lock caches_lock = RT_LOCK_INIT(RANK_CONFIG);
static struct map caches;	/* name -> struct cache; under caches_lock */

static int show(struct metric_family *f)
{
	struct map_iter it = { 0 };
	ptrdiff_t i = f - FAMILIES;
	rt_lock(&caches_lock);
	while (map_next(&caches, &it)) {
		struct cache *c = it.value;
		metric_set(c->shown[i], ttl_counted(&c->metrics, SHOWN_AS[i]));
	}
	rt_unlock(&caches_lock);
	return 0;
}

static void fill_unref(struct fill *f)
{
	if (atomic_fetch_sub(&f->refs, 1) > 1)
		return;
	rt_promise_fini(&f->done);
	cached_unref(&f->value);
	free(f->error);
	free(f);
}

static void entry_free(struct cache *c, struct entry *e)
{
	map_del(&c->entries, slice_new(e->key, e->key_len));
	list_remove(&e->lru);
	cached_unref(&e->value);
	free(e->error);
	free(e->key);
	free(e);
	ttl_count(&c->metrics, TTL_SIZE, -1);
}

static void cache_unref(struct cache **cp)
{
	struct cache *c = *cp;
	*cp = NULL;
	if (!c || atomic_fetch_sub(&c->refs, 1) > 1)
		return;
	LIST_EACH_SAFE(n, &c->lru)
		entry_free(c, LIST_ENTRY(n, struct entry, lru));
	map_fini(&c->entries);
	rt_lock_fini(&c->lock);
	ttl_metrics_fini(&c->metrics);
	for (size_t i = 0; i < SHOWN; i++)
		metric_unref(&c->shown[i]);
	free(c);
}

/* The cache of this name and these parameters. */
static void cache_define(const struct params *p)
{
	int64_t ttl_ms = p->ttl / 1000000, populate_ms = p->populate_timeout ? p->populate_timeout / 1000000 : DEFAULT_POPULATE_MS;
	bool with_epoch = p->invalidate_with_epoch && !p->allow_stale_reads;
	rt_lock(&caches_lock);
	struct cache *old = map_get(&caches, p->name);
	bool same = old && old->ttl_ms == ttl_ms && old->capacity == p->capacity && old->populate_ms == populate_ms && old->with_epoch == with_epoch &&
		    old->retry == p->retry_on_populate_timeout && old->stale == p->allow_stale_reads;
	if (!same) {
		struct cache *c = xzalloc(sizeof *c);
		c->refs = 1;
		c->ttl_ms = ttl_ms;
		c->capacity = MAX(p->capacity, (int64_t)1);
		c->populate_ms = populate_ms;
		c->with_epoch = with_epoch;
		c->retry = p->retry_on_populate_timeout;
		c->stale = p->allow_stale_reads;
		rt_lock_init(&c->lock, RANK_CACHE);
		list_init(&c->lru);
		ttl_metrics_init(&c->metrics, p->name);
		for (size_t i = 0; i < SHOWN; i++)
			c->shown[i] = metric_get_n(&FAMILIES[i], &p->name);
		old = map_put(&caches, p->name, c);
	} else {
		old = NULL;
	}
	rt_unlock(&caches_lock);
	cache_unref(&old);
}

static struct cache *cache_get(struct slice name)
{
	rt_lock(&caches_lock);
	struct cache *c = map_get(&caches, name);
	assert(c != NULL);	/* names are never removed */
	c->refs++;
	rt_unlock(&caches_lock);
	return c;
}

/* Memory is short. What is being found out now stays. */
static void forget_all(void)
{
	struct map_iter it = { 0 };
	rt_lock(&caches_lock);
	while (map_next(&caches, &it)) {
		struct cache *c = it.value;
		rt_lock(&c->lock);
		LIST_EACH_SAFE(n, &c->lru) {
			struct entry *e = LIST_ENTRY(n, struct entry, lru);
			if (!e->fill)
				entry_free(c, e);
		}
		rt_unlock(&c->lock);
	}
	rt_unlock(&caches_lock);
}

/* The key of a call: its arguments as JSON, one alone as itself, several as a list. */
static struct slice call_key(lua_State *L, int nargs)
{
	struct arena *a = policy_arena(L);
	struct val v = val_null();
	if (nargs == 1) {
		if (policy_to_val(L, 1, a, &v) < 0)
			policy_raise(L, -E_INVAL);
	} else if (nargs > 1) {
		v = val_list();
		for (int i = 1; i <= nargs; i++) {
			struct val item;
			if (policy_to_val(L, i, a, &item) < 0)
				policy_raise(L, -E_INVAL);
			val_push(a, &v, item);
		}
	}
	struct buf b = { 0 };
	json_put(&b, &v, JSON_COMPACT | JSON_SORTED);
	struct slice key = arena_dup(a, buf_view(&b));
	buf_fini(&b);
	return key;
}

static bool fresh(const struct cache *c, const struct entry *e)
{
	return e->value && rt_now_ms() < e->expires_ms && (!c->with_epoch || e->epoch == policy_epoch());
}

static void evict(struct cache *c)
{
	struct list *n = c->lru.prev;
	while ((int64_t)map_len(&c->entries) > c->capacity && n != &c->lru) {
		struct entry *e = LIST_ENTRY(n, struct entry, lru);
		n = n->prev;
		if (!e->fill) {
			entry_free(c, e);
			ttl_count(&c->metrics, TTL_EVICTED, 1);
		}
	}
}

enum look { LOOK_HIT, LOOK_WAIT, LOOK_FILL, LOOK_FAILED };

/* What there is for KEY: a value (a reference in *VALUE), a population to wait for or to do (a reference in *FILL). */
static enum look look_up(struct cache *c, struct slice key, struct cached **value, struct fill **fill)
{
	rt_lock(&c->lock);
	struct entry *e = map_get(&c->entries, key);
	enum look found = LOOK_FILL;
	if (!e) {
		e = xzalloc(sizeof *e);
		e->key = xmemdup0(key.ptr, key.len);
		e->key_len = key.len;
		list_init(&e->lru);
		map_put(&c->entries, key, e);
		ttl_count(&c->metrics, TTL_SIZE, 1);
	}
	list_remove(&e->lru);
	list_push_front(&c->lru, &e->lru);
	if (fresh(c, e)) {
		*value = cached_ref(e->value);
		found = LOOK_HIT;
	} else if (e->error && rt_now_ms() < e->error_until_ms && (!c->with_epoch || e->epoch == policy_epoch())) {
		err_set(E_POLICY, "%s", e->error);
		found = LOOK_FAILED;
	} else if (e->fill) {
		found = LOOK_WAIT;
	} else {
		if (e->value && !c->stale)
			ttl_count(&c->metrics, TTL_EXPIRED, 1);
		e->fill = xzalloc(sizeof *e->fill);
		rt_promise_init(&e->fill->done);
		e->fill->refs = 1;
	}
	if (found == LOOK_WAIT || found == LOOK_FILL) {
		*fill = e->fill;
		(*fill)->refs++;
		*value = c->stale && e->value ? cached_ref(e->value) : NULL;
	}
	evict(c);
	rt_unlock(&c->lock);
	return found;
}

/* Ends the population: the entry gets VALUE (taken over; NULL: it failed with ERROR), the waiters wake. */
static void fill_end(struct cache *c, struct slice key, struct fill *f, struct cached *value, const char *error, bool keep_error)
{
	rt_lock(&c->lock);
	struct entry *e = map_get(&c->entries, key);
	if (e && e->fill == f) {
		e->fill = NULL;
		fill_unref(f);
		free(e->error);
		e->error = NULL;
		if (value) {
			cached_unref(&e->value);
			e->value = cached_ref(value);
			e->expires_ms = rt_now_ms() + c->ttl_ms;
			e->epoch = policy_epoch();
		} else if (error && keep_error) {
			e->error = xstrdup(error);
			e->error_until_ms = rt_now_ms() + ERROR_TTL_MS;
			e->epoch = policy_epoch();
		} else if (!e->value) {
			entry_free(c, e);
		}
	}
	rt_unlock(&c->lock);
	f->value = value;
	f->error = error ? xstrdup(error) : NULL;
	rt_promise_set(&f->done, 0, NULL);
}

/* Calls the function with the arguments at 1..NARGS; it is upvalue 1. */
static int populate(lua_State *L, struct cache *c, struct slice key, struct fill *f, int nargs)
{
	struct rt_deadline d;
	struct cached *value = NULL;
	int top = lua_gettop(L);
	lua_pushvalue(L, lua_upvalueindex(1));
	for (int i = 1; i <= nargs; i++)
		lua_pushvalue(L, i);
	rt_deadline_push(&d, c->populate_ms);
	int rc = policy_pcall(L, nargs, LUA_MULTRET);
	bool late = rt_deadline_pop(&d);
	if (rc == 0)
		rc = cached_from_results(L, lua_gettop(L) - top, &value);
	else if (late && rt_check() == 0)
		rc = err_set(E_TIMEOUT, "timeout waiting for the cache to be populated: the function took longer than %lld ms", (long long)c->populate_ms);
	lua_settop(L, top);
	ttl_count(&c->metrics, TTL_POPULATED, 1);
	if (rc < 0)
		ttl_count(&c->metrics, TTL_ERRORS, 1);
	fill_end(c, key, f, value, rc < 0 && rt_check() == 0 ? err_text() : NULL, rc != -E_TIMEOUT);	/* canceled: the waiters try for themselves */
	return rc;
}

static int wait_for(struct cache *c, struct fill *f)
{
	struct rt_deadline d;
	rt_deadline_push(&d, c->populate_ms);
	ttl_count(&c->metrics, TTL_WAITING, 1);
	int rc = rt_promise_wait(&f->done, NULL);
	ttl_count(&c->metrics, TTL_WAITING, -1);
	if (rt_deadline_pop(&d) && rc == -E_TIMEOUT && rt_check() == 0)
		return err_set(E_TIMEOUT, "timeout waiting for the cache to be populated: the function took longer than %lld ms", (long long)c->populate_ms);
	if (rc == 0 && f->error)
		return err_set(E_POLICY, "%s", f->error);
	return rc;
}

/* The value for KEY into *VALUE (a reference), remembered or of the function that is upvalue 1. Yields. */
static int obtain(lua_State *L, struct cache *c, struct slice key, int nargs, struct cached **value)
{
	ttl_count(&c->metrics, TTL_LOOKUPS, 1);
	for (bool first = true;; first = false) {
		struct fill *f = NULL;
		cached_unref(value);
		enum look found = look_up(c, key, value, &f);
		if (first)
			ttl_count(&c->metrics, found == LOOK_HIT ? TTL_HITS : TTL_MISSES, 1);
		if (found == LOOK_HIT)
			return 0;
		if (found == LOOK_FAILED)
			return -E_POLICY;
		int rc = found == LOOK_FILL ? populate(L, c, key, f, nargs) : wait_for(c, f);
		bool filled = rc == 0 && f->value;
		if (filled) {
			cached_unref(value);
			*value = cached_ref(f->value);
		}
		fill_unref(f);
		if (filled)
			return 0;
		int over = rt_check();
		if (over < 0)
			return rc < 0 ? rc : over;
		if (rc == 0)
			continue;	/* who filled it was canceled */
		if (rc == -E_TIMEOUT && *value) {	/* the expired one serves */
			ttl_count(&c->metrics, TTL_STALE, 1);
			return 0;
		}
		if (rc != -E_TIMEOUT || !c->retry)
			return rc;
	}
}

static int memoized_call(lua_State *L)
{
	int nargs = lua_gettop(L);
	size_t len;
	const char *name = lua_tolstring(L, lua_upvalueindex(2), &len);
	luaL_checkstack(L, nargs + 10, "too many arguments");
	struct slice key = call_key(L, nargs);
	struct cache *c = cache_get(slice_new(name, len));
	struct cached *value = NULL;
	int rc = obtain(L, c, key, nargs, &value);
	cache_unref(&c);
	if (rc < 0) {
		cached_unref(&value);
		return policy_raise(L, rc);
	}
	return cached_push_found(L, value);
}

static int fn_memoize(lua_State *L)
{
	struct params p;
	policy_check_function(L, 1);
	policy_check_opts(L, 2, &PARAMS, policy_arena(L), &p);
	if (lruttl_exists(p.name))
		return policy_raisef(L, "cannot use name `%.*s` for a memoize cache, as it collides with a built-in cache. Suggestion: prefix your cache name with `user.` "
				     "to avoid conflicts with current and future caches.", SLICE_ARG(p.name));
	cache_define(&p);
	lua_pushvalue(L, 1);
	lua_pushlstring(L, p.name.ptr, p.name.len);
	lua_pushcclosure(L, memoized_call, 2);
	return 1;
}

__attribute__((constructor)) static void register_metrics(void)
{
	for (size_t i = 0; i < SHOWN; i++)
		metric_register_kept(&FAMILIES[i]);
}
void mod_memoize_register(void) { memory_on_short(forget_all); }

static const luaL_Reg FUNCTIONS[] = { { "memoize", fn_memoize }, { NULL, NULL } };
const struct policy_module mod_memoize = { "kumo", FUNCTIONS, NULL };
