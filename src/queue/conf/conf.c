/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/conf/config.h"

#define CONF_MAGIC OBJ_MAGIC('C', 'O', 'N', 'F')

const struct opt_desc *const CONF_DESC[CONF_KINDS] = {
	[CONF_QUEUE] = &CONF_QUEUE_DESC,
	[CONF_PATH] = &CONF_PATH_DESC,
	[CONF_SOURCE] = &CONF_SOURCE_DESC,
	[CONF_POOL] = &CONF_POOL_DESC,
};

static struct {
	struct rt_lock lock;
	struct map by_key[CONF_KINDS];
} interned = { .lock = RT_LOCK_INIT(RANK_CONFIG) };

static void *obj_ref(void *p) { return conf_ref(p); }
static void obj_unref(void *p)
{
	struct conf *c = p;
	conf_unref(&c);
}
static int obj_to_val(void *p, struct arena *a, struct val *out)
{
	conf_print(p, false, a, out);
	return 0;
}

#define OBJ(n) { .name = n, .ref = obj_ref, .unref = obj_unref, .to_val = obj_to_val, .to_val_index = true }
static const struct policy_obj_type QUEUE_OBJ = OBJ("QueueConfig"), PATH_OBJ = OBJ("EgressPathConfig"),
				    SOURCE_OBJ = OBJ("EgressSource"), POOL_OBJ = OBJ("EgressPool");
const struct policy_obj_type *const CONF_OBJ[CONF_KINDS] = { &QUEUE_OBJ, &PATH_OBJ, &SOURCE_OBJ, &POOL_OBJ };

/* With the lock held: an interned object whose last reference is not gone yet. */
static struct conf *intern_find(enum conf_kind_id kind, struct slice key)
{
	struct conf *c = map_get(&interned.by_key[kind], key);
	if (!c)
		return NULL;
	uint32_t n = atomic_load_explicit(&c->refs, memory_order_relaxed);
	do {
		if (n == 0)
			return NULL;	/* conf_unref is about to take it out */
	} while (!atomic_compare_exchange_weak(&c->refs, &n, n + 1));
	return c;
}

static void conf_free(struct conf *c)
{
	struct arena *a = c->arena;
	OBJ_FINI(c, CONF_MAGIC);
	arena_destroy(&a);
}

/* Interns a finished object, or drops it for one that another thread was quicker with. */
static struct conf *intern_put(struct conf *c)
{
	rt_lock(&interned.lock);
	struct conf *first = intern_find(c->kind, c->key);
	if (!first)
		map_put(&interned.by_key[c->kind], c->key, c);
	rt_unlock(&interned.lock);
	if (!first)
		return c;
	conf_free(c);
	return first;
}

int conf_make(enum conf_kind_id kind, const struct val *v, struct conf **out)
{
	struct buf key = { 0 };
	json_put(&key, v, JSON_SORTED);
	rt_lock(&interned.lock);
	struct conf *c = intern_find(kind, buf_view(&key));
	rt_unlock(&interned.lock);
	if (c) {
		buf_fini(&key);
		*out = c;
		return 0;
	}
	struct arena *a = arena_create();
	c = arena_alloc(a, sizeof(*c));
	c->opts = arena_alloc(a, CONF_DESC[kind]->size);
	struct val copy = val_copy(a, v);	/* strings of the options stay where they are read */
	int rc = opt_parse(CONF_DESC[kind], &copy, a, c->opts);
	if (rc < 0) {
		arena_destroy(&a);
		buf_fini(&key);
		return rc;
	}
	OBJ_INIT(c, CONF_MAGIC);
	atomic_store(&c->refs, 1);
	c->kind = kind;
	c->arena = a;
	c->key = arena_dup(a, buf_view(&key));
	buf_fini(&key);
	if (kind == CONF_QUEUE)
		conf_queue_finish(c->opts, a);
	*out = intern_put(c);
	return 0;
}

struct conf *conf_default(enum conf_kind_id kind)
{
	struct val empty = val_obj();
	struct conf *c;
	int rc = conf_make(kind, &empty, &c);
	assert(rc == 0);
	return c;
}

struct conf *conf_ref(struct conf *c)
{
	OBJ_CHECK(c, CONF_MAGIC);
	atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
	return c;
}

void conf_unref(struct conf **cp)
{
	struct conf *c = *cp;
	*cp = NULL;
	if (!c)
		return;
	OBJ_CHECK(c, CONF_MAGIC);
	if (atomic_fetch_sub(&c->refs, 1) != 1)
		return;
	rt_lock(&interned.lock);
	if (map_get(&interned.by_key[c->kind], c->key) == c)
		map_del(&interned.by_key[c->kind], c->key);
	rt_unlock(&interned.lock);
	conf_free(c);
}

void conf_print(const struct conf *c, bool sparse, struct arena *a, struct val *out)
{
	OBJ_CHECK(c, CONF_MAGIC);
	const struct opt_desc *d = CONF_DESC[c->kind];
	opt_print(d, c->opts, sparse, a, out);
	/* what upstream does not serialize, scripts have never seen */
	val_remove(out, SLICE("openssl_options"));
	val_remove(out, SLICE("rustls_cipher_suites"));
	for (const struct opt_field *f = d->fields; f->name && !sparse; f++) {
		struct slice name = slice_from_cstr(f->name);
		if (!val_get(out, name) && !slice_eq_cstr(name, "openssl_options") && !slice_eq_cstr(name, "rustls_cipher_suites"))
			val_put(a, out, name, val_null());
	}
}
