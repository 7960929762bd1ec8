/* SPDX-License-Identifier: Apache-2.0 */
#include "lua/cached.h"
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include "lua/util.h"

#define INT_KEY '\1'		/* first byte of an integer key in an object; then its decimal digits */
#define SHAREABLE_MAX 16

static const struct policy_obj_type *shareable[SHAREABLE_MAX];
static size_t n_shareable;

void cached_shareable(const struct policy_obj_type *t)
{
	assert(n_shareable < SHAREABLE_MAX);
	shareable[n_shareable++] = t;
}

struct cached *cached_ref(struct cached *c)
{
	c->refs++;
	return c;
}

void cached_unref(struct cached **cp)
{
	struct cached *c = *cp;
	*cp = NULL;
	if (!c || atomic_fetch_sub(&c->refs, 1) > 1)
		return;
	if (c->doc)
		vdoc_unref(&c->doc);
	else
		c->type->unref(c->obj);
	free(c);
}

/* --- into data ------------------------------------------------------------------------------------------------------ */

static int conv(lua_State *L, int idx, struct arena *a, struct val *out, int depth);

static int conv_table(lua_State *L, int idx, struct arena *a, struct val *out, int depth)
{
	bool list = true;
	lua_Integer n = (lua_Integer)lua_rawlen(L, idx), seen = 0;
	for (lua_pushnil(L); list && lua_next(L, idx); lua_pop(L, 1), seen++)
		list = lua_isinteger(L, -2) && lua_tointeger(L, -2) >= 1 && lua_tointeger(L, -2) <= n;
	if (!list)
		lua_pop(L, 1);	/* the key that ended the walk */
	if (list && seen == n && n > 0) {
		*out = val_list();
		for (lua_Integer i = 1; i <= n; i++) {
			struct val item;
			lua_rawgeti(L, idx, i);
			int rc = conv(L, lua_gettop(L), a, &item, depth);
			lua_pop(L, 1);
			if (rc < 0)
				return rc;
			val_push(a, out, item);
		}
		return 0;
	}
	*out = val_obj();
	for (lua_pushnil(L); lua_next(L, idx); lua_pop(L, 1)) {
		char num[32];
		size_t len;
		struct slice key;
		struct val item;
		int rc = 0;
		if (lua_type(L, -2) == LUA_TSTRING) {
			const char *p = lua_tolstring(L, -2, &len);
			key = slice_new(p, len);
		} else if (lua_isinteger(L, -2)) {
			key = slice_new(num, (size_t)snprintf(num, sizeof num, "%c%lld", INT_KEY, (long long)lua_tointeger(L, -2)));
		} else {
			const char *kind = lua_type(L, -2) == LUA_TBOOLEAN ? "Boolean" : lua_type(L, -2) == LUA_TNUMBER ? "Number" : luaL_typename(L, -2);
			rc = err_set(E_INVAL, "table key %s(%s) cannot be used as a key in a memoizable table", kind, luaL_tolstring(L, -2, NULL));
			lua_pop(L, 1);
		}
		if (rc == 0)
			rc = conv(L, lua_gettop(L), a, &item, depth);
		if (rc < 0) {
			lua_pop(L, 2);
			return rc;
		}
		val_put(a, out, key, item);
	}
	return 0;
}

static int conv(lua_State *L, int idx, struct arena *a, struct val *out, int depth)
{
	if (depth > 100)
		return err_set(E_LIMIT, "recursion limit exceeded: a table is nested too deeply, or contains itself");
	if (lua_type(L, idx) == LUA_TTABLE) {
		if (!lua_checkstack(L, 10))
			return err_set(E_LIMIT, "recursion limit exceeded");
		return conv_table(L, idx, a, out, depth + 1);
	}
	if (lua_type(L, idx) == LUA_TUSERDATA)
		return err_set(E_INVAL, "error converting Lua nil to table");	/* objects are kept as a whole, not within tables */
	return policy_to_val(L, idx, a, out);
}

/* --- MemoizedTable -------------------------------------------------------------------------------------------------- */

struct table_obj {
	struct vdoc *doc;		/* keeps what V views alive */
	struct val v;			/* VAL_LIST or VAL_OBJ */
	struct arena *own;		/* once written to: v's members are a copy here */
};

static void unref_table(void *p)
{
	struct table_obj *t = p;
	vdoc_unref(&t->doc);
	if (t->own)
		arena_destroy(&t->own);
	free(t);
}

/* Integer keys as text: what every printer expects. */
static void plain_keys(struct arena *a, const struct val *v, struct val *out)
{
	if (v->type == VAL_LIST) {
		*out = val_list();
		for (uint32_t i = 0; i < v->n; i++) {
			struct val item;
			plain_keys(a, &v->items[i], &item);
			val_push(a, out, item);
		}
	} else if (v->type == VAL_OBJ) {
		*out = val_obj();
		for (uint32_t i = 0; i < v->n; i++) {
			struct val item;
			struct slice key = v->members[i].key;
			plain_keys(a, &v->members[i].val, &item);
			val_put(a, out, key.len && key.ptr[0] == INT_KEY ? slice_sub(key, 1, SIZE_MAX) : key, item);
		}
	} else {
		*out = val_copy(a, v);
	}
}

static int table_to_val(void *p, struct arena *a, struct val *out)
{
	plain_keys(a, &((struct table_obj *)p)->v, out);
	return 0;
}

static const struct policy_obj_type TABLE_OBJ = { .name = "MemoizedTable", .unref = unref_table, .to_val = table_to_val };

static void push_part(lua_State *L, struct vdoc *doc, bool owned, const struct val *v)
{
	if (v->type != VAL_LIST && v->type != VAL_OBJ) {
		policy_push_val(L, v);
		return;
	}
	struct table_obj *t = xzalloc(sizeof *t);
	t->doc = owned ? vdoc_copy_of(v) : vdoc_ref(doc);
	t->v = owned ? t->doc->root : *v;
	policy_obj_push(L, &TABLE_OBJ, t);
}

/* The member for the key at IDX; NULL: there is none. */
static const struct val *find(lua_State *L, struct table_obj *t, int idx)
{
	char num[32];
	size_t len;
	if (lua_type(L, idx) == LUA_TNUMBER) {
		int ok;
		lua_Integer i = lua_tointegerx(L, idx, &ok);
		if (!ok)
			return NULL;
		if (t->v.type == VAL_LIST)
			return i >= 1 && i <= t->v.n ? &t->v.items[i - 1] : NULL;
		return val_get(&t->v, slice_new(num, (size_t)snprintf(num, sizeof num, "%c%lld", INT_KEY, (long long)i)));
	}
	if (lua_type(L, idx) != LUA_TSTRING || t->v.type != VAL_OBJ)
		return NULL;
	const char *p = lua_tolstring(L, idx, &len);
	return val_get(&t->v, slice_new(p, len));
}

static int table_index(lua_State *L)
{
	struct table_obj *t = policy_obj_check(L, 1, &TABLE_OBJ);
	const struct val *v = find(L, t, 2);
	if (!v)
		return 0;
	push_part(L, t->doc, t->own != NULL, v);
	return 1;
}

/* From now on this object has its own copy of this level. */
static void make_own(struct table_obj *t)
{
	if (t->own)
		return;
	t->own = arena_create();
	t->v = val_copy(t->own, &t->v);
}

static void list_to_obj(struct table_obj *t)
{
	struct val o = val_obj();
	char num[32];
	for (uint32_t i = 0; i < t->v.n; i++)
		val_put(t->own, &o, slice_new(num, (size_t)snprintf(num, sizeof num, "%c%u", INT_KEY, i + 1)), t->v.items[i]);
	t->v = o;
}

static int table_newindex(lua_State *L)
{
	struct table_obj *t = policy_obj_check(L, 1, &TABLE_OBJ);
	struct val item;
	char num[32];
	make_own(t);
	bool gone = lua_isnil(L, 3);
	if (!gone && conv(L, 3, t->own, &item, 0) < 0)
		return policy_raise(L, -E_INVAL);
	if (lua_isinteger(L, 2)) {
		lua_Integer i = lua_tointeger(L, 2);
		if (t->v.type == VAL_LIST && !gone && i >= 1 && i <= t->v.n) {
			t->v.items[i - 1] = item;
			return 0;
		}
		if ((t->v.type == VAL_LIST || t->v.n == 0) && !gone && i == (lua_Integer)t->v.n + 1) {
			if (t->v.type == VAL_OBJ)
				t->v = val_list();
			val_push(t->own, &t->v, item);
			return 0;
		}
		if (t->v.type == VAL_LIST && gone && i == (lua_Integer)t->v.n) {
			t->v.n--;
			return 0;
		}
		snprintf(num, sizeof num, "%c%lld", INT_KEY, (long long)i);
	}
	struct slice key = lua_isinteger(L, 2) ? slice_from_cstr(num) : policy_check_text(L, 2);
	if (t->v.type == VAL_LIST)
		list_to_obj(t);
	if (gone)
		val_remove(&t->v, key);
	else
		val_put(t->own, &t->v, key, item);
	return 0;
}

static int table_len(lua_State *L)
{
	struct table_obj *t = policy_obj_check(L, 1, &TABLE_OBJ);
	lua_pushinteger(L, t->v.n);
	return 1;
}

static void push_key(lua_State *L, const struct table_obj *t, uint32_t i)
{
	if (t->v.type == VAL_LIST) {
		lua_pushinteger(L, (lua_Integer)i + 1);
		return;
	}
	struct slice key = t->v.members[i].key;
	int64_t n;
	if (key.len && key.ptr[0] == INT_KEY && slice_to_i64(slice_sub(key, 1, SIZE_MAX), &n) == 0)
		lua_pushinteger(L, n);
	else
		policy_push_slice(L, key);
}

/* An iterator with its position as upvalue: next does not know the object. */
static int table_next(lua_State *L)
{
	struct table_obj *t = policy_obj_check(L, 1, &TABLE_OBJ);
	uint32_t i = (uint32_t)lua_tointeger(L, lua_upvalueindex(1));
	if (i >= t->v.n)
		return 0;
	lua_pushinteger(L, (lua_Integer)i + 1);
	lua_replace(L, lua_upvalueindex(1));
	push_key(L, t, i);
	push_part(L, t->doc, t->own != NULL, t->v.type == VAL_LIST ? &t->v.items[i] : &t->v.members[i].val);
	return 2;
}

static int table_pairs(lua_State *L)
{
	policy_obj_check(L, 1, &TABLE_OBJ);
	lua_pushinteger(L, 0);
	lua_pushcclosure(L, table_next, 1);
	lua_pushvalue(L, 1);
	return 2;
}

static const luaL_Reg TABLE_METHODS[] = {
	{ "__index", table_index }, { "__newindex", table_newindex }, { "__len", table_len }, { "__pairs", table_pairs }, { NULL, NULL },
};

void cached_register(void)
{
	policy_obj_methods(&TABLE_OBJ, TABLE_METHODS);
}

/* --- in and out ----------------------------------------------------------------------------------------------------- */

static struct cached *from_doc(struct vdoc *doc)
{
	struct cached *c = xzalloc(sizeof *c);
	c->refs = 1;
	c->doc = doc;
	return c;
}

int cached_make(lua_State *L, int idx, struct cached **out)
{
	idx = lua_absindex(L, idx);
	const struct policy_obj_type *type;
	void *obj = policy_obj_any(L, idx, &type);
	if (obj && type == &TABLE_OBJ) {
		*out = from_doc(vdoc_copy_of(&((struct table_obj *)obj)->v));
		return 0;
	}
	for (size_t i = 0; obj && i < n_shareable; i++) {
		if (shareable[i] != type)
			continue;
		struct cached *c = xzalloc(sizeof *c);
		c->refs = 1;
		c->type = type;
		c->obj = type->ref(obj);
		*out = c;
		return 0;
	}
	struct vdoc *doc = vdoc_create();
	int rc = conv(L, idx, doc->arena, &doc->root, 0);
	if (rc < 0)
		vdoc_unref(&doc);
	else
		*out = from_doc(doc);
	return rc;
}

struct cached *cached_check(lua_State *L, int idx)
{
	struct cached *c;
	if (cached_make(L, idx, &c) < 0)
		policy_raise(L, -E_INVAL);
	return c;
}

int cached_from_results(lua_State *L, int n, struct cached **out)
{
	int first = lua_gettop(L) - n + 1;
	if (n == 0) {
		*out = from_doc(vdoc_create());
		return 0;
	}
	if (n == 1)
		return cached_make(L, first, out);
	struct vdoc *doc = vdoc_create();
	doc->root = val_list();
	for (int i = 0; i < n; i++) {
		struct val item;
		int rc = conv(L, first + i, doc->arena, &item, 0);
		if (rc < 0) {
			vdoc_unref(&doc);
			return rc;
		}
		val_push(doc->arena, &doc->root, item);
	}
	*out = from_doc(doc);
	(*out)->plain = true;
	return 0;
}

void cached_push(lua_State *L, struct cached *c)
{
	if (c->plain) {
		const struct val *v = &c->doc->root;
		lua_createtable(L, (int)v->n, 0);	/* with a length, whatever is nil */
		for (uint32_t i = 0; i < v->n; i++) {
			policy_push_val(L, &v->items[i]);
			lua_rawseti(L, -2, (lua_Integer)i + 1);
		}
	} else if (c->doc)
		push_part(L, c->doc, false, &c->doc->root);
	else
		policy_obj_push(L, c->type, c->obj);
}
