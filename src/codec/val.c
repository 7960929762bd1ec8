/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/val.h"

#include <stdatomic.h>
#include <stdlib.h>


#define VDOC_MAGIC OBJ_MAGIC('v', 'd', 'o', 'c')

/*
 * Objects with room for more than this have a hash index behind their members, because peers choose how many keys they send: 2 * cap
 * places that hold a member's number plus one.
 */
#define INDEX_MIN 16

struct val val_uint(uint64_t u)
{
	return u <= INT64_MAX ? val_int((int64_t)u) : (struct val){ .type = VAL_UINT, .u = u };
}

struct val val_str(struct arena *a, struct slice s)
{
	return (struct val){ .type = VAL_STR, .s = arena_dup(a, s) };
}

struct val val_cstr(struct arena *a, const char *s)
{
	return val_str(a, slice_from_cstr(s));
}

static bool has_index(const struct val *obj)
{
	return obj->cap > INDEX_MIN;
}

static uint32_t *obj_index(const struct val *obj)
{
	return (uint32_t *)(obj->members + obj->cap);
}

static void index_add(struct val *obj, uint32_t i)
{
	uint32_t *index = obj_index(obj), mask = obj->cap * 2 - 1, pos = (uint32_t)slice_hash(obj->members[i].key) & mask;
	while (index[pos] != 0)
		pos = (pos + 1) & mask;
	index[pos] = i + 1;
}

static void index_build(struct val *obj)
{
	if (!has_index(obj))
		return;
	memset(obj_index(obj), 0, obj->cap * 2 * sizeof(uint32_t));
	for (uint32_t i = 0; i < obj->n; i++)
		index_add(obj, i);
}

/* The place of KEY among the members; n when it is not there. */
static uint32_t find(const struct val *obj, struct slice key)
{
	if (!has_index(obj)) {
		uint32_t i = 0;
		while (i < obj->n && !slice_eq(obj->members[i].key, key))
			i++;
		return i;
	}
	const uint32_t *index = obj_index(obj);
	uint32_t mask = obj->cap * 2 - 1, pos = (uint32_t)slice_hash(key) & mask;
	for (; index[pos] != 0; pos = (pos + 1) & mask)
		if (slice_eq(obj->members[index[pos] - 1].key, key))
			return index[pos] - 1;
	return obj->n;
}

/* Room for CAP members, a power of two. */
static void obj_grow(struct arena *a, struct val *obj, uint32_t cap)
{
	size_t size = cap * sizeof *obj->members;
	struct val_member *members = arena_alloc(a, cap > INDEX_MIN ? size + cap * 2 * sizeof(uint32_t) : size);
	if (obj->n > 0)
		memcpy(members, obj->members, obj->n * sizeof *members);
	obj->members = members;
	obj->cap = cap;
	index_build(obj);
}

struct val *val_push(struct arena *a, struct val *list, struct val item)
{
	assert(list->type == VAL_LIST);
	if (list->n == list->cap) {
		assert(list->cap < UINT32_MAX / 4);
		uint32_t cap = list->cap > 0 ? list->cap * 2 : 4;
		struct val *items = arena_alloc(a, cap * sizeof *items);
		if (list->n > 0)
			memcpy(items, list->items, list->n * sizeof *items);
		list->items = items;
		list->cap = cap;
	}
	list->items[list->n] = item;
	return &list->items[list->n++];
}

struct val *val_put(struct arena *a, struct val *obj, struct slice key, struct val item)
{
	assert(obj->type == VAL_OBJ);
	uint32_t i = find(obj, key);
	if (i == obj->n) {
		if (obj->n == obj->cap) {
			assert(obj->cap < UINT32_MAX / 8);
			obj_grow(a, obj, obj->cap > 0 ? obj->cap * 2 : 4);
		}
		obj->members[i].key = arena_dup(a, key);
		obj->n++;
		if (has_index(obj))
			index_add(obj, i);
	}
	obj->members[i].val = item;
	return &obj->members[i].val;
}

bool val_remove(struct val *obj, struct slice key)
{
	if (obj->type != VAL_OBJ)
		return false;
	uint32_t i = find(obj, key);
	if (i == obj->n)
		return false;
	obj->n--;
	memmove(&obj->members[i], &obj->members[i + 1], (obj->n - i) * sizeof *obj->members);
	index_build(obj);
	return true;
}

struct val val_copy(struct arena *a, const struct val *v)
{
	struct val out = *v;
	switch (v->type) {
	case VAL_STR:
	case VAL_TIME:
		out.s = arena_dup(a, v->s);
		break;
	case VAL_LIST:
		out.items = v->n > 0 ? arena_alloc(a, v->n * sizeof *out.items) : NULL;
		out.cap = v->n;
		for (uint32_t i = 0; i < v->n; i++)
			out.items[i] = val_copy(a, &v->items[i]);
		break;
	case VAL_OBJ:
		out = val_obj();
		if (v->n > 0) {
			uint32_t cap = 4;
			while (cap < v->n)
				cap *= 2;
			obj_grow(a, &out, cap);
		}
		for (uint32_t i = 0; i < v->n; i++)
			out.members[i] = (struct val_member){ arena_dup(a, v->members[i].key), val_copy(a, &v->members[i].val) };
		out.n = v->n;
		index_build(&out);
		break;
	default:
		break;
	}
	return out;
}

static int member_cmp(const void *x, const void *y)
{
	const struct val_member *a = x, *b = y;
	return slice_cmp(a->key, b->key);
}

void val_sort(struct val *v)
{
	if (v->type == VAL_LIST) {
		for (uint32_t i = 0; i < v->n; i++)
			val_sort(&v->items[i]);
	} else if (v->type == VAL_OBJ) {
		for (uint32_t i = 0; i < v->n; i++)
			val_sort(&v->members[i].val);
		if (v->n > 1) {
			qsort(v->members, v->n, sizeof *v->members, member_cmp);
			index_build(v);
		}
	}
}

const struct val *val_get(const struct val *v, struct slice key)
{
	if (v == NULL || v->type != VAL_OBJ)
		return NULL;
	uint32_t i = find(v, key);
	return i < v->n ? &v->members[i].val : NULL;
}

struct slice val_get_str(const struct val *v, struct slice key)
{
	const struct val *m = val_get(v, key);
	return m != NULL && m->type == VAL_STR ? m->s : SLICE_NONE;
}

static bool lists_eq(const struct val *a, const struct val *b)
{
	for (uint32_t i = 0; i < a->n; i++)
		if (!val_eq(&a->items[i], &b->items[i]))
			return false;
	return true;
}

static bool objects_eq(const struct val *a, const struct val *b)
{
	for (uint32_t i = 0; i < a->n; i++) {
		const struct val *other = val_get(b, a->members[i].key);
		if (other == NULL || !val_eq(&a->members[i].val, other))
			return false;
	}
	return true;
}

bool val_eq(const struct val *a, const struct val *b)
{
	if (a->type != b->type)
		return false;
	switch (a->type) {
	case VAL_NULL:	return true;
	case VAL_BOOL:	return a->b == b->b;
	case VAL_INT:	return a->i == b->i;
	case VAL_UINT:	return a->u == b->u;
	case VAL_FLOAT:	return a->f == b->f;
	case VAL_STR:
	case VAL_TIME:	return slice_eq(a->s, b->s);
	case VAL_LIST:	return a->n == b->n && lists_eq(a, b);
	case VAL_OBJ:	return a->n == b->n && objects_eq(a, b);
	}
	return false;
}

const char *val_type_name(enum val_type t)
{
	static const char *const names[] = {
		[VAL_NULL] = "null", [VAL_BOOL] = "bool", [VAL_INT] = "integer", [VAL_UINT] = "integer", [VAL_FLOAT] = "float",
		[VAL_STR] = "string", [VAL_LIST] = "list", [VAL_OBJ] = "table", [VAL_TIME] = "datetime",
	};
	return names[t];
}

struct vdoc *vdoc_create(void)
{
	struct arena *a = arena_create();
	struct vdoc *d = arena_alloc(a, sizeof *d);
	OBJ_INIT(d, VDOC_MAGIC);
	atomic_init(&d->refs, 1);
	d->arena = a;
	return d;
}

struct vdoc *vdoc_copy_of(const struct val *v)
{
	struct vdoc *d = vdoc_create();
	d->root = val_copy(d->arena, v);
	return d;
}

struct vdoc *vdoc_ref(struct vdoc *d)
{
	OBJ_CHECK(d, VDOC_MAGIC);
	atomic_fetch_add_explicit(&d->refs, 1, memory_order_relaxed);
	return d;
}

void vdoc_unref(struct vdoc **dp)
{
	struct vdoc *d = *dp;
	if (d == NULL)
		return;
	*dp = NULL;
	OBJ_CHECK(d, VDOC_MAGIC);
	if (atomic_fetch_sub_explicit(&d->refs, 1, memory_order_acq_rel) != 1)
		return;
	OBJ_FINI(d, VDOC_MAGIC);
	struct arena *a = d->arena;	/* the document lies in its own arena */
	arena_destroy(&a);
}
