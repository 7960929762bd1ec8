/* SPDX-License-Identifier: Apache-2.0 */
#include "net/ttl_cache.h"
#include "base/list.h"
#include "base/map.h"
#include "base/xalloc.h"
#include "rt/clock.h"
#include "rt/fiber.h"
#include "rt/sync.h"
#include <stdlib.h>

#define STRIPES 16
#define CACHE_MAGIC OBJ_MAGIC('T', 'T', 'L', 'C')

struct entry {
	struct list node;		/* the clock's circle */
	void *value;
	int64_t expires_ms;
	bool used;
	struct slice key;		/* bytes behind the struct */
};
struct flight {
	struct rt_promise done;
	const struct ttl_cache_conf *conf;
	int refs;			/* under the stripe's lock */
	void *value;			/* one reference, dropped with the flight */
	struct err_text *err;		/* of a failed load */
};
struct stripe {
	struct rt_lock lock;
	/* under lock */
	struct map entries, flights;
	struct list clock;
	uint64_t generation;		/* grows with each clear */
} __attribute__((aligned(64)));

struct ttl_cache {
	uint32_t magic;
	struct list in_all;		/* under all.lock */
	struct ttl_cache_conf conf;
	size_t stripe_capacity;
	struct ttl_metrics metrics;
	struct stripe stripes[STRIPES];
};

static struct {
	struct rt_lock lock;
	struct list caches;
} all = { RT_LOCK_INIT(RANK_THROTTLE), { &all.caches, &all.caches } };

static void count(struct ttl_cache *c, enum ttl_count which)
{
	ttl_count(&c->metrics, which, 1);
}

static void count_lookup(struct ttl_cache *c, bool hit)
{
	count(c, TTL_LOOKUPS);
	count(c, hit ? TTL_HITS : TTL_MISSES);
}

static struct stripe *stripe_of(struct ttl_cache *c, struct slice key)
{
	return &c->stripes[slice_hash(key) % STRIPES];
}

struct ttl_cache *ttl_cache_create(const struct ttl_cache_conf *conf)
{
	struct ttl_cache *c = aligned_alloc(64, (sizeof *c + 63) & ~(size_t)63);

	assert(c);
	memset(c, 0, sizeof *c);
	OBJ_INIT(c, CACHE_MAGIC);
	c->conf = *conf;
	c->stripe_capacity = MAX(conf->capacity / STRIPES, (size_t)1);
	ttl_metrics_init(&c->metrics, slice_from_cstr(conf->name));
	for (int i = 0; i < STRIPES; i++) {
		rt_lock_init(&c->stripes[i].lock, RANK_CACHE);
		list_init(&c->stripes[i].clock);
	}
	rt_lock(&all.lock);
	list_push(&all.caches, &c->in_all);
	rt_unlock(&all.lock);
	return c;
}

static void entry_free(struct ttl_cache *c, struct stripe *s, struct entry *e)
{
	list_remove(&e->node);
	map_del(&s->entries, e->key);
	ttl_count(&c->metrics, TTL_SIZE, -1);
	c->conf.unref(e->value);
	free(e);
}

void ttl_cache_clear(struct ttl_cache *c)
{
	OBJ_CHECK(c, CACHE_MAGIC);
	for (int i = 0; i < STRIPES; i++) {
		struct stripe *s = &c->stripes[i];
		rt_lock(&s->lock);
		s->generation++;
		while (!list_empty(&s->clock))
			entry_free(c, s, LIST_ENTRY(s->clock.next, struct entry, node));
		rt_unlock(&s->lock);
	}
}

void ttl_cache_relieve(void)
{
	rt_lock(&all.lock);
	LIST_EACH(l, &all.caches) {
		struct ttl_cache *c = LIST_ENTRY(l, struct ttl_cache, in_all);
		if (!c->conf.kept)
			ttl_cache_clear(c);
	}
	rt_unlock(&all.lock);
}

void ttl_cache_destroy(struct ttl_cache **cp)
{
	struct ttl_cache *c = *cp;

	if (!c)
		return;
	*cp = NULL;
	rt_lock(&all.lock);
	list_remove(&c->in_all);
	rt_unlock(&all.lock);
	ttl_cache_clear(c);
	for (int i = 0; i < STRIPES; i++) {
		assert(map_len(&c->stripes[i].flights) == 0);
		map_fini(&c->stripes[i].flights);
		map_fini(&c->stripes[i].entries);
		rt_lock_fini(&c->stripes[i].lock);
	}
	ttl_metrics_fini(&c->metrics);
	OBJ_FINI(c, CACHE_MAGIC);
	free(c);
}

int64_t ttl_cache_counted(struct ttl_cache *c, enum ttl_count which)
{
	return ttl_counted(&c->metrics, which);
}

size_t ttl_cache_len(struct ttl_cache *c)
{
	size_t n = 0;

	for (int i = 0; i < STRIPES; i++) {
		rt_lock(&c->stripes[i].lock);
		n += map_len(&c->stripes[i].entries);
		rt_unlock(&c->stripes[i].lock);
	}
	return n;
}

static void *get_locked(struct ttl_cache *c, struct stripe *s, struct slice key)
{
	struct entry *e = map_get(&s->entries, key);

	if (!e)
		return NULL;
	if (e->expires_ms <= rt_now_ms()) {
		count(c, TTL_EXPIRED);
		entry_free(c, s, e);
		return NULL;
	}
	e->used = true;
	return c->conf.ref(e->value);
}

void *ttl_cache_get(struct ttl_cache *c, struct slice key)
{
	struct stripe *s = stripe_of(c, key);

	OBJ_CHECK(c, CACHE_MAGIC);
	rt_lock(&s->lock);
	void *v = get_locked(c, s, key);
	rt_unlock(&s->lock);
	count_lookup(c, v != NULL);
	return v;
}

static void make_room(struct ttl_cache *c, struct stripe *s)
{
	while (map_len(&s->entries) >= c->stripe_capacity) {
		struct entry *e = LIST_ENTRY(s->clock.next, struct entry, node);
		if (e->used && e->expires_ms > rt_now_ms()) {
			e->used = false;
			list_remove(&e->node);
			list_push(&s->clock, &e->node);
		} else {
			count(c, e->expires_ms > rt_now_ms() ? TTL_EVICTED : TTL_EXPIRED);
			entry_free(c, s, e);
		}
	}
}

static void put_locked(struct ttl_cache *c, struct stripe *s, struct slice key, void *value, int64_t expires_ms)
{
	struct entry *e = map_get(&s->entries, key);

	if (e)
		entry_free(c, s, e);
	make_room(c, s);
	e = xzalloc(sizeof *e + key.len);
	if (key.len)
		memcpy(e + 1, key.ptr, key.len);
	e->key = slice_new(e + 1, key.len);
	e->value = c->conf.ref(value);
	e->expires_ms = expires_ms;
	map_put(&s->entries, e->key, e);
	list_push(&s->clock, &e->node);
	count(c, TTL_SIZE);
}

void ttl_cache_put(struct ttl_cache *c, struct slice key, void *value, int64_t expires_ms)
{
	struct stripe *s = stripe_of(c, key);

	OBJ_CHECK(c, CACHE_MAGIC);
	rt_lock(&s->lock);
	put_locked(c, s, key, value, expires_ms);
	rt_unlock(&s->lock);
	count(c, TTL_INSERTS);
}

static void flight_drop_locked(struct flight *f)
{
	if (--f->refs > 0)
		return;
	rt_promise_fini(&f->done);
	if (f->value)
		f->conf->unref(f->value);
	free(f->err);
	free(f);
}

/* The caller's own load: its result goes to the cache and to everybody who waits. */
static int lead(struct ttl_cache *c, struct stripe *s, struct slice key, struct flight *f, uint64_t generation,
		ttl_cache_load_cb load, void *arg, void **value)
{
	void *v = NULL;
	int64_t expires_ms = 0;
	int rc = load(arg, &v, &expires_ms);

	count(c, TTL_POPULATED);
	if (rc < 0) {
		count(c, TTL_ERRORS);
		f->err = xmalloc(sizeof *f->err);
		f->err->len = strlen(err_text());
		memcpy(f->err->text, err_text(), f->err->len + 1);
	}
	rt_lock(&s->lock);
	map_del(&s->flights, key);
	if (rc == 0) {
		if (s->generation == generation && expires_ms > rt_now_ms())
			put_locked(c, s, key, v, expires_ms);
		f->value = c->conf.ref(v);
		*value = v;
	}
	rt_unlock(&s->lock);
	rt_promise_set(&f->done, rc, NULL);
	rt_lock(&s->lock);
	flight_drop_locked(f);
	rt_unlock(&s->lock);
	return rc;
}

/* 1: the leader was stopped, try again. */
static int follow(struct ttl_cache *c, struct stripe *s, struct flight *f, void **value)
{
	ttl_count(&c->metrics, TTL_WAITING, 1);
	int rc = rt_promise_wait(&f->done, NULL);
	ttl_count(&c->metrics, TTL_WAITING, -1);
	int own = rt_check();

	if (own < 0)
		rc = own;
	else if (rc == -E_CANCELED || rc == -E_TIMEOUT)
		rc = 1;
	else if (rc == 0)
		*value = c->conf.ref(f->value);
	else
		rc = err_set(-rc, "%s", f->err->text);
	rt_lock(&s->lock);
	flight_drop_locked(f);
	rt_unlock(&s->lock);
	return rc;
}

int ttl_cache_load(struct ttl_cache *c, struct slice key, ttl_cache_load_cb load, void *arg, void **value)
{
	struct stripe *s = stripe_of(c, key);

	OBJ_CHECK(c, CACHE_MAGIC);
	for (bool first = true;; first = false) {
		rt_lock(&s->lock);
		void *v = get_locked(c, s, key);
		struct flight *f = v ? NULL : map_get(&s->flights, key);
		if (first)
			count_lookup(c, v != NULL);
		if (v) {
			rt_unlock(&s->lock);
			*value = v;
			return 0;
		}
		if (f) {
			f->refs++;
			rt_unlock(&s->lock);
			int rc = follow(c, s, f, value);
			if (rc <= 0)
				return rc;
			continue;
		}
		f = xzalloc(sizeof *f);
		f->refs = 1;
		f->conf = &c->conf;
		rt_promise_init(&f->done);
		map_put(&s->flights, key, f);
		uint64_t generation = s->generation;
		rt_unlock(&s->lock);
		return lead(c, s, key, f, generation, load, arg, value);
	}
}
