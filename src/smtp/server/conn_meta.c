/* SPDX-License-Identifier: Apache-2.0 */
#include "smtp/server/conn_meta.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/xalloc.h"

#define CONN_META_MAGIC OBJ_MAGIC('C', 'N', 'M', 'T')
#define WASTE_MAX (64 * 1024)	/* an arena that has handed out this much is rebuilt from what is in use */

struct conn_meta {
	uint32_t magic;
	_Atomic uint32_t refs;
	struct arena *arena;
	struct val all, auth_info;
};

static void *obj_ref(void *m) { return conn_meta_ref(m); }
static void obj_unref(void *m) { struct conn_meta *x = m; conn_meta_unref(&x); }
const struct policy_obj_type CONN_META_OBJ = { .name = "ConnectionMetaData", .ref = obj_ref, .unref = obj_unref };

struct conn_meta *conn_meta_create(void)
{
	struct conn_meta *m = xzalloc(sizeof *m);
	OBJ_INIT(m, CONN_META_MAGIC);
	m->refs = 1;
	m->arena = arena_create();
	m->all = val_obj();
	m->auth_info = val_null();
	return m;
}

struct conn_meta *conn_meta_ref(struct conn_meta *m)
{
	OBJ_CHECK(m, CONN_META_MAGIC);
	atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
	return m;
}

void conn_meta_unref(struct conn_meta **m)
{
	struct conn_meta *x = *m;
	*m = NULL;
	if (x == NULL || atomic_fetch_sub_explicit(&x->refs, 1, memory_order_acq_rel) != 1)
		return;
	OBJ_FINI(x, CONN_META_MAGIC);
	arena_destroy(&x->arena);
	free(x);
}

static void reclaim(struct conn_meta *m)
{
	if (arena_bytes(m->arena) < WASTE_MAX)
		return;
	struct arena *fresh = arena_create();
	m->all = val_copy(fresh, &m->all);
	m->auth_info = val_copy(fresh, &m->auth_info);
	arena_destroy(&m->arena);
	m->arena = fresh;
}

const struct val *conn_meta_all(const struct conn_meta *m)
{
	OBJ_CHECK(m, CONN_META_MAGIC);
	return &m->all;
}

const struct val *conn_meta_get(const struct conn_meta *m, struct slice key)
{
	OBJ_CHECK(m, CONN_META_MAGIC);
	return val_get(&m->all, key);
}

void conn_meta_set(struct conn_meta *m, struct slice key, const struct val *v)
{
	OBJ_CHECK(m, CONN_META_MAGIC);
	val_put(m->arena, &m->all, key, val_copy(m->arena, v));
	reclaim(m);
}

void conn_meta_set_str(struct conn_meta *m, const char *key, struct slice v)
{
	OBJ_CHECK(m, CONN_META_MAGIC);
	val_put(m->arena, &m->all, slice_from_cstr(key), val_str(m->arena, v));
	reclaim(m);
}

const struct val *conn_meta_auth_info(const struct conn_meta *m)
{
	OBJ_CHECK(m, CONN_META_MAGIC);
	return &m->auth_info;
}

void conn_meta_set_auth_info(struct conn_meta *m, const struct val *info)
{
	OBJ_CHECK(m, CONN_META_MAGIC);
	m->auth_info = val_copy(m->arena, info);
	reclaim(m);
}
