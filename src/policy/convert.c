/* SPDX-License-Identifier: Apache-2.0 */
/*
 * convert - Lua values to vals and back.
 *
 * A table with something at [1] is a list and only that; any other table is an object whose keys are text (numbers and booleans are
 * written out). Lists that come from data carry a metatable, as upstream's do: policies test for it.
 */
#include <math.h>
#include <stdio.h>
#include "base/utf8.h"
#include "policy/internal.h"

#define DEPTH_MAX 128

struct conv {
	lua_State *L;
	enum policy_val_mode mode;
	struct arena *arena;
	struct {
		struct slice key;	/* SLICE_NONE: an index */
		lua_Integer index;
	} path[DEPTH_MAX];
	int depth;
};

/* Where in the value the fault is: ", while processing a.b[2]"; nothing for the value itself. */
static int fault(struct conv *c, const char *fmt, ...)
{
	char text[512], where[512] = "";
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	size_t n = 0;
	for (int i = 0; i < c->depth && n < sizeof where - 80; i++) {
		const char *lead = i ? "" : ", while processing ";
		if (c->path[i].key.ptr)
			n += (size_t)snprintf(where + n, sizeof where - n, "%s%s%.*s", lead, i ? "." : "", (int)MIN(c->path[i].key.len, (size_t)60), c->path[i].key.ptr);
		else
			n += (size_t)snprintf(where + n, sizeof where - n, "%s[%lld]", lead, (long long)c->path[i].index);
	}
	return err_set(E_INVAL, "%s%s%s", c->mode >= POLICY_VAL_ENCODE ? "" : "deserialize error: ", text, where);
}

static int conv_any(struct conv *c, int idx, struct val *out);

static int conv_text(struct conv *c, struct slice s, struct val *out)
{
	if (c->mode == POLICY_VAL_RAW || utf8_valid(s)) {
		*out = val_str(c->arena, s);
		return 0;
	}
	if (c->mode == POLICY_VAL_DATA)
		return fault(c, "invalid type: byte array, expected any valid JSON value");
	*out = val_list();
	for (size_t i = 0; i < s.len; i++)
		val_push(c->arena, out, val_int((unsigned char)s.ptr[i]));
	return 0;
}

static int conv_list(struct conv *c, int idx, struct val *out)
{
	lua_State *L = c->L;
	lua_Integer n = (lua_Integer)lua_rawlen(L, idx);
	*out = val_list();
	for (lua_Integer i = 1; i <= n; i++) {
		if (lua_rawgeti(L, idx, i) == LUA_TNIL && c->mode != POLICY_VAL_META) {
			lua_pop(L, 1);
			break;
		}
		c->path[c->depth - 1].key = SLICE_NONE;
		c->path[c->depth - 1].index = i;
		struct val item;
		int rc = conv_any(c, lua_gettop(L), &item);
		lua_pop(L, 1);
		if (rc < 0)
			return rc;
		val_push(c->arena, out, item);
	}
	return 0;
}

/* The text of the key at -2. */
static int conv_key(struct conv *c, struct slice *out)
{
	lua_State *L = c->L;
	size_t len;
	switch (lua_type(L, -2)) {
	case LUA_TSTRING: {
		const char *p = lua_tolstring(L, -2, &len);
		*out = slice_new(p, len);
		if (c->mode != POLICY_VAL_RAW && !utf8_valid(*out))
			break;
		return 0;
	}
	case LUA_TNUMBER:
		lua_pushvalue(L, -2);	/* not converted in place: lua_next needs it as it is */
		*out = arena_dup(c->arena, policy_check_slice(L, -1));
		lua_pop(L, 1);
		return 0;
	case LUA_TBOOLEAN:
		*out = lua_toboolean(L, -2) ? SLICE("true") : SLICE("false");
		return 0;
	}
	return fault(c, "key must be a string");
}

static int conv_object(struct conv *c, int idx, struct val *out)
{
	lua_State *L = c->L;
	*out = val_obj();
	for (lua_pushnil(L); lua_next(L, idx); lua_pop(L, 1)) {
		struct slice key = SLICE_NONE;
		int rc = conv_key(c, &key);
		c->path[c->depth - 1].key = key;
		struct val item;
		if (rc == 0)
			rc = conv_any(c, lua_gettop(L), &item);
		if (rc < 0) {
			lua_pop(L, 2);
			return rc;
		}
		item.plain_key = lua_type(L, -2) != LUA_TSTRING;
		val_put(c->arena, out, key, item);
	}
	return 0;
}

static int conv_table(struct conv *c, int idx, struct val *out)
{
	if (c->depth == DEPTH_MAX)
		return err_set(E_LIMIT, "recursion limit exceeded: more than %d tables within each other, or a table that contains itself", DEPTH_MAX);
	luaL_checkstack(c->L, 8, "a deep table");
	c->depth++;
	int rc = lua_rawlen(c->L, idx) > 0 ? conv_list(c, idx, out) : conv_object(c, idx, out);
	c->depth--;
	return rc;
}

static int conv_object_of_ours(struct conv *c, int idx, struct val *out)
{
	const struct policy_obj_type *t;
	void *obj = policy_obj_any(c->L, idx, &t);
	if (obj && t->to_val) {
		int rc = t->to_val(obj, c->arena, out);
		return rc < 0 ? fault(c, "%s", err_text()) : 0;
	}
	if (c->mode >= POLICY_VAL_ENCODE && !obj)
		return fault(c, "userdata is not expected type");
	if (obj)
		return fault(c, "a %s is no data", t->name);
	return fault(c, "unsupported value type `userdata`");
}

static int conv_any(struct conv *c, int idx, struct val *out)
{
	lua_State *L = c->L;
	size_t len;
	switch (lua_type(L, idx)) {
	case LUA_TLIGHTUSERDATA:	/* how some functions show that a field has no value */
		if (lua_touserdata(L, idx))
			break;
		__attribute__((fallthrough));
	case LUA_TNIL:
	case LUA_TNONE:
		*out = val_null();
		return 0;
	case LUA_TBOOLEAN:
		*out = val_bool(lua_toboolean(L, idx));
		return 0;
	case LUA_TNUMBER:
		*out = lua_isinteger(L, idx) ? val_int(lua_tointeger(L, idx)) : val_float(lua_tonumber(L, idx));
		return 0;
	case LUA_TSTRING: {
		const char *p = lua_tolstring(L, idx, &len);
		return conv_text(c, slice_new(p, len), out);
	}
	case LUA_TTABLE:
		return conv_table(c, idx, out);
	case LUA_TUSERDATA:
		return conv_object_of_ours(c, idx, out);
	}
	if (c->mode >= POLICY_VAL_ENCODE)
		return fault(c, "cannot serialize <%s>", luaL_typename(L, idx));
	return fault(c, "unsupported value type `%s`", luaL_typename(L, idx));
}

int policy_to_val_mode(lua_State *L, int idx, enum policy_val_mode mode, struct arena *a, struct val *out)
{
	struct conv *c = arena_alloc(a, sizeof *c);
	c->L = L;
	c->mode = mode;
	c->arena = a;
	return conv_any(c, lua_absindex(L, idx), out);
}

int policy_to_val(lua_State *L, int idx, struct arena *a, struct val *out)
{
	return policy_to_val_mode(L, idx, POLICY_VAL_DATA, a, out);
}

static void push_any(lua_State *L, const struct val *v, bool nulls);

static void push_list(lua_State *L, const struct val *v, bool nulls)
{
	bool bare = v->n > 0 && v->items[0].type == VAL_NULL && !nulls;
	lua_createtable(L, bare ? 0 : (int)v->n, 0);	/* with room for it, a list that begins with nil would still have a length */
	for (uint32_t i = 0; i < v->n; i++) {
		push_any(L, &v->items[i], nulls);
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	lua_getfield(L, LUA_REGISTRYINDEX, REG_LIST_META);
	lua_setmetatable(L, -2);
}

static void push_object(lua_State *L, const struct val *v, bool nulls)
{
	lua_createtable(L, 0, (int)v->n);
	for (uint32_t i = 0; i < v->n; i++) {
		policy_push_slice(L, v->members[i].key);
		push_any(L, &v->members[i].val, nulls);
		lua_rawset(L, -3);
	}
}

/* NULLS: a null is a light userdata that is NULL, else nil. */
static void push_any(lua_State *L, const struct val *v, bool nulls)
{
	luaL_checkstack(L, 6, "a deep value");
	switch (v->type) {
	case VAL_NULL:
		if (nulls)
			lua_pushlightuserdata(L, NULL);
		else
			lua_pushnil(L);
		break;
	case VAL_BOOL:
		lua_pushboolean(L, v->b);
		break;
	case VAL_INT:
		lua_pushinteger(L, v->i);
		break;
	case VAL_UINT:
		lua_pushnumber(L, (lua_Number)v->u);
		break;
	case VAL_FLOAT:
		lua_pushnumber(L, v->f);
		break;
	case VAL_STR:
		lua_pushlstring(L, v->s.ptr ? v->s.ptr : "", v->s.len);
		break;
	case VAL_LIST:
		push_list(L, v, nulls);
		break;
	case VAL_OBJ:
		push_object(L, v, nulls);
		break;
	case VAL_TIME:
		lua_createtable(L, 0, 1);
		policy_push_slice(L, v->s);
		lua_setfield(L, -2, "$__toml_private_datetime");
		break;
	}
}

void policy_push_val(lua_State *L, const struct val *v)
{
	push_any(L, v, false);
}

void policy_push_val_nulls(lua_State *L, const struct val *v)
{
	push_any(L, v, true);
}

void policy_push_slice(lua_State *L, struct slice s)
{
	if (s.ptr)
		lua_pushlstring(L, s.ptr, s.len);
	else
		lua_pushnil(L);
}

struct arena *policy_arena(lua_State *L)
{
	return policy_state_of(L)->arena;
}
