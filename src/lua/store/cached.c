/* SPDX-License-Identifier: Apache-2.0 */
#include "lua/store/cached.h"
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

/* --- objects within data ------------------------------------------------------------------------------------------------ */

/*
 * The objects that a document's tables hold. Where one stands the document has a null whose n, 0 in every other null, is its place here
 * counted from 1. Immutable once the document is finished.
 */
struct cached_objs {
	_Atomic uint32_t refs;
	size_t n;
	struct cached_obj {
		const struct policy_obj_type *type;
		void *obj;
	} items[];
};

static struct cached_objs *objs_ref(struct cached_objs *o)
{
	if (o)
		o->refs++;
	return o;
}

static void objs_unref(struct cached_objs **op)
{
	struct cached_objs *o = *op;

	*op = NULL;
	if (!o || atomic_fetch_sub(&o->refs, 1) > 1)
		return;
	for (size_t i = 0; i < o->n; i++)
		o->items[i].type->unref(o->items[i].obj);
	free(o);
}

/* A copy with room for one more, in the place of *OP. */
static struct cached_objs *objs_grow(struct cached_objs **op)
{
	size_t n = *op ? (*op)->n : 0, bytes = sizeof **op + (n + 1) * sizeof *(*op)->items;
	struct cached_objs *o;

	if (*op && (*op)->refs == 1)
		return *op = xrealloc(*op, bytes);
	o = xzalloc(bytes);
	o->refs = 1;
	o->n = n;
	for (size_t i = 0; i < n; i++)
		o->items[i] = (struct cached_obj){ (*op)->items[i].type, (*op)->items[i].type->ref((*op)->items[i].obj) };
	objs_unref(op);
	return *op = o;
}

/* What stands for the object in the document. */
static struct val objs_add(struct cached_objs **op, const struct policy_obj_type *type, void *obj)
{
	struct cached_objs *o = objs_grow(op);
	struct val v = val_null();

	o->items[o->n++] = (struct cached_obj){ type, type->ref(obj) };
	v.n = (uint32_t)o->n;
	return v;
}

static const struct cached_obj *objs_at(const struct cached_objs *o, const struct val *v)
{
	if (v->type != VAL_NULL || v->n == 0)
		return NULL;
	assert(o && v->n <= o->n);
	return &o->items[v->n - 1];
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
	objs_unref(&c->objs);
	free(c);
}

/* --- into data ------------------------------------------------------------------------------------------------------ */

static int conv(lua_State *L, int idx, struct arena *a, struct cached_objs **objs, struct val *out, int depth);

static int conv_table(lua_State *L, int idx, struct arena *a, struct cached_objs **objs, struct val *out, int depth)
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
			int rc = conv(L, lua_gettop(L), a, objs, &item, depth);
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
			rc = conv(L, lua_gettop(L), a, objs, &item, depth);
		if (rc < 0) {
			lua_pop(L, 2);
			return rc;
		}
		val_put(a, out, key, item);
	}
	return 0;
}

/* An object that may be shared between Lua states; NULL: it is none, or may not. */
static void *shareable_at(lua_State *L, int idx, const struct policy_obj_type **type)
{
	void *obj = policy_obj_any(L, idx, type);

	for (size_t i = 0; obj && i < n_shareable; i++)
		if (shareable[i] == *type)
			return obj;
	return NULL;
}

static int conv_userdata(lua_State *L, int idx, struct cached_objs **objs, struct val *out)
{
	const struct policy_obj_type *type;
	void *obj = shareable_at(L, idx, &type);

	if (!obj)
		return err_set(E_INVAL, "error converting Lua nil to table");	/* upstream's words for an object that can't be kept */
	*out = objs_add(objs, type, obj);
	return 0;
}

static int conv(lua_State *L, int idx, struct arena *a, struct cached_objs **objs, struct val *out, int depth)
{
	if (depth > 100)
		return err_set(E_LIMIT, "recursion limit exceeded: a table is nested too deeply, or contains itself");
	if (lua_type(L, idx) == LUA_TTABLE) {
		if (!lua_checkstack(L, 10))
			return err_set(E_LIMIT, "recursion limit exceeded");
		return conv_table(L, idx, a, objs, out, depth + 1);
	}
	if (lua_type(L, idx) == LUA_TUSERDATA)
		return conv_userdata(L, idx, objs, out);
	return policy_to_val(L, idx, a, out);
}

/* --- MemoizedTable -------------------------------------------------------------------------------------------------- */

struct table_obj {
	struct vdoc *doc;		/* keeps what V views alive */
	struct cached_objs *objs;	/* the objects in V */
	struct val v;			/* VAL_LIST or VAL_OBJ */
	struct arena *own;		/* once written to: v's members are a copy here */
};

static void unref_table(void *p)
{
	struct table_obj *t = p;
	vdoc_unref(&t->doc);
	objs_unref(&t->objs);
	if (t->own)
		arena_destroy(&t->own);
	free(t);
}

static int plain_value(struct arena *a, const struct cached_objs *objs, const struct val *v, struct val *out);

/* Integer keys as text: what every printer expects. */
static int plain_members(struct arena *a, const struct cached_objs *objs, const struct val *v, struct val *out)
{
	*out = val_obj();
	for (uint32_t i = 0; i < v->n; i++) {
		struct val item;
		struct slice key = v->members[i].key;
		int rc = plain_value(a, objs, &v->members[i].val, &item);

		if (rc < 0)
			return rc;
		val_put(a, out, key.len && key.ptr[0] == INT_KEY ? slice_sub(key, 1, SIZE_MAX) : key, item);
	}
	return 0;
}

static int plain_items(struct arena *a, const struct cached_objs *objs, const struct val *v, struct val *out)
{
	*out = val_list();
	for (uint32_t i = 0; i < v->n; i++) {
		struct val item;
		int rc = plain_value(a, objs, &v->items[i], &item);

		if (rc < 0)
			return rc;
		val_push(a, out, item);
	}
	return 0;
}

static int plain_value(struct arena *a, const struct cached_objs *objs, const struct val *v, struct val *out)
{
	const struct cached_obj *o = objs_at(objs, v);

	if (o)
		return o->type->to_val ? o->type->to_val(o->obj, a, out) : err_set(E_INVAL, "a %s is no data", o->type->name);
	if (v->type == VAL_LIST)
		return plain_items(a, objs, v, out);
	if (v->type == VAL_OBJ)
		return plain_members(a, objs, v, out);
	*out = val_copy(a, v);
	return 0;
}

static int table_to_val(void *p, struct arena *a, struct val *out)
{
	struct table_obj *t = p;

	return plain_value(a, t->objs, &t->v, out);
}

static const struct policy_obj_type TABLE_OBJ = { .name = "MemoizedTable", .unref = unref_table, .to_val = table_to_val };

static void push_part(lua_State *L, struct vdoc *doc, struct cached_objs *objs, bool owned, const struct val *v)
{
	const struct cached_obj *o = objs_at(objs, v);

	if (o) {
		policy_obj_push(L, o->type, o->obj);
		return;
	}
	if (v->type != VAL_LIST && v->type != VAL_OBJ) {
		policy_push_val(L, v);
		return;
	}
	struct table_obj *t = xzalloc(sizeof *t);
	t->doc = owned ? vdoc_copy_of(v) : vdoc_ref(doc);
	t->objs = objs_ref(objs);
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
	push_part(L, t->doc, t->objs, t->own != NULL, v);
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
	if (!gone && conv(L, 3, t->own, &t->objs, &item, 0) < 0)
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
	push_part(L, t->doc, t->objs, t->own != NULL, t->v.type == VAL_LIST ? &t->v.items[i] : &t->v.members[i].val);
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

/* Takes over the document and the reference to its objects. */
static struct cached *from_doc(struct vdoc *doc, struct cached_objs *objs)
{
	struct cached *c = xzalloc(sizeof *c);
	c->refs = 1;
	c->doc = doc;
	c->objs = objs;
	return c;
}

static struct cached *from_obj(const struct policy_obj_type *type, void *obj)
{
	struct cached *c = xzalloc(sizeof *c);
	c->refs = 1;
	c->type = type;
	c->obj = type->ref(obj);
	return c;
}

int cached_make(lua_State *L, int idx, struct cached **out)
{
	const struct policy_obj_type *type;
	struct cached_objs *objs = NULL;

	idx = lua_absindex(L, idx);
	void *obj = policy_obj_any(L, idx, &type);
	if (obj && type == &TABLE_OBJ) {
		struct table_obj *t = obj;
		*out = from_doc(vdoc_copy_of(&t->v), objs_ref(t->objs));
		return 0;
	}
	if ((obj = shareable_at(L, idx, &type))) {
		*out = from_obj(type, obj);
		return 0;
	}
	struct vdoc *doc = vdoc_create();
	int rc = conv(L, idx, doc->arena, &objs, &doc->root, 0);
	if (rc < 0) {
		vdoc_unref(&doc);
		objs_unref(&objs);
	} else {
		*out = from_doc(doc, objs);
	}
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
		*out = from_doc(vdoc_create(), NULL);
		return 0;
	}
	if (n == 1)
		return cached_make(L, first, out);
	struct vdoc *doc = vdoc_create();
	struct cached_objs *objs = NULL;
	doc->root = val_list();
	for (int i = 0; i < n; i++) {
		struct val item;
		int rc = conv(L, first + i, doc->arena, &objs, &item, 0);
		if (rc < 0) {
			vdoc_unref(&doc);
			objs_unref(&objs);
			return rc;
		}
		val_push(doc->arena, &doc->root, item);
	}
	*out = from_doc(doc, objs);
	(*out)->plain = true;
	return 0;
}

void cached_push(lua_State *L, struct cached *c)
{
	if (c->plain) {
		const struct val *v = &c->doc->root;
		lua_createtable(L, (int)v->n, 0);	/* with a length, whatever is nil */
		for (uint32_t i = 0; i < v->n; i++) {
			push_part(L, c->doc, c->objs, false, &v->items[i]);
			lua_rawseti(L, -2, (lua_Integer)i + 1);
		}
	} else if (c->doc)
		push_part(L, c->doc, c->objs, false, &c->doc->root);
	else
		policy_obj_push(L, c->type, c->obj);
}

/* --- maps of them ------------------------------------------------------------------------------------------------------- */

int cached_push_found(lua_State *L, struct cached *c)
{
	if (!c)
		return 0;
	cached_push(L, c);
	cached_unref(&c);
	return 1;
}

int cached_push_map(lua_State *L, const struct policy_obj_type *t, void *obj, cached_assign_cb *assign)
{
	lua_settop(L, 1);
	policy_obj_push(L, t, obj);
	if (lua_isnil(L, 1))
		return 1;
	policy_check_table(L, 1, "HashMap<String, Value>");
	for (lua_pushnil(L); lua_next(L, 1); lua_pop(L, 1)) {
		lua_pushvalue(L, -2);	/* converted here, not in place */
		assign(L, obj, policy_check_text(L, -1), lua_gettop(L) - 1);
		lua_pop(L, 1);
	}
	return 1;
}
