/* SPDX-License-Identifier: Apache-2.0 */
/*
 * obj - reference-counted C objects as Lua userdata.
 *
 * A type's methods may include metamethods ("__eq", "__add", …). Its "__index" is asked for names that are no method. Metatables are made
 * in each state from one table of types, and found by the type's address.
 */
#include <stdio.h>
#include "policy/internal.h"

#define TYPES_MAX 128
#define REGS_MAX 8	/* files that add methods to one type */

static struct {
	const struct policy_obj_type *type;
	const luaL_Reg *regs[REGS_MAX];
} types[TYPES_MAX];
static size_t n_types;
static const char type_key;	/* of the type in a metatable */

struct box {
	const struct policy_obj_type *type;
	void *obj;		/* NULL: collected or closed */
};

void policy_obj_methods(const struct policy_obj_type *t, const luaL_Reg *methods)
{
	size_t i = 0;
	while (i < n_types && types[i].type != t)
		i++;
	if (i == n_types) {
		assert(n_types < TYPES_MAX);
		types[n_types++].type = t;
	}
	size_t r = 0;
	while (r < REGS_MAX && types[i].regs[r])
		r++;
	assert(r < REGS_MAX);
	types[i].regs[r] = methods;
}

static int obj_gc(lua_State *L)
{
	struct box *b = lua_touserdata(L, 1);
	if (b && b->obj) {
		void *obj = b->obj;
		b->obj = NULL;
		b->type->unref(obj);
	}
	return 0;
}

static int obj_tostring(lua_State *L)
{
	struct box *b = lua_touserdata(L, 1);
	lua_pushfstring(L, "%s: %p", b->type->name, b->obj);
	return 1;
}

/* The members of the object at 1, for a type with to_val_index. */
static void obj_value(lua_State *L, struct val *v)
{
	struct box *b = lua_touserdata(L, 1);

	if (!b || !b->obj || !b->type->to_val_index || b->type->to_val(b->obj, policy_arena(L), v) < 0)
		policy_raise(L, -E_POLICY);
}

static int obj_len(lua_State *L)
{
	struct val v;

	obj_value(L, &v);
	lua_pushinteger(L, v.type == VAL_LIST ? v.n : 0);
	return 1;
}

static int obj_next(lua_State *L)
{
	lua_settop(L, 2);
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_insert(L, 2);
	return lua_next(L, 2) ? 2 : 0;
}

/* Goes through a table of the members; the keys that the loop gives back are those of that table. */
static int obj_pairs(lua_State *L)
{
	struct val v;

	obj_value(L, &v);
	policy_push_val_nulls(L, &v);
	lua_pushcclosure(L, obj_next, 1);
	lua_pushvalue(L, 1);
	return 2;
}

static int obj_member(lua_State *L)
{
	const struct val *member;
	struct val v;
	size_t len;

	if (lua_type(L, 2) != LUA_TSTRING)
		return 0;
	const char *key = lua_tolstring(L, 2, &len);
	obj_value(L, &v);
	if (!(member = val_get(&v, slice_new(key, len))))
		return 0;
	policy_push_val_nulls(L, member);
	return 1;
}

/* upvalues: methods, the type's own __index or nil */
static int obj_index(lua_State *L)
{
	lua_settop(L, 2);
	lua_pushvalue(L, 2);
	if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL)
		return 1;
	lua_settop(L, 2);
	if (lua_isnil(L, lua_upvalueindex(2)))
		return 0;
	return lua_tocfunction(L, lua_upvalueindex(2))(L);	/* within this frame, so that errors name the metamethod */
}

const char *policy_obj_method_name(const struct policy_obj_type *t, lua_CFunction f)
{
	size_t i = 0;
	while (i < n_types && types[i].type != t)
		i++;
	for (size_t r = 0; i < n_types && r < REGS_MAX && types[i].regs[r]; r++)
		for (const luaL_Reg *m = types[i].regs[r]; m->name; m++)
			if (m->func == f)
				return m->name;
	return NULL;
}

/* Pushes a metatable for T. */
static void make_metatable(lua_State *L, const struct policy_obj_type *t)
{
	size_t i = 0;	/* n_types: a type without methods */
	while (i < n_types && types[i].type != t)
		i++;
	lua_newtable(L);	/* metatable */
	lua_newtable(L);	/* methods */
	lua_pushlightuserdata(L, (void *)(uintptr_t)t);
	lua_rawsetp(L, -3, &type_key);
	lua_pushstring(L, t->name);
	lua_setfield(L, -3, "__name");
	lua_pushcfunction(L, obj_gc);
	lua_setfield(L, -3, "__gc");
	lua_pushcfunction(L, obj_tostring);
	lua_setfield(L, -3, "__tostring");
	lua_CFunction own_index = NULL;
	for (size_t r = 0; i < n_types && r < REGS_MAX && types[i].regs[r]; r++) {
		for (const luaL_Reg *m = types[i].regs[r]; m->name; m++) {
			if (strcmp(m->name, "__index") == 0) {
				own_index = m->func;
				continue;
			}
			lua_pushcfunction(L, m->func);
			lua_setfield(L, strncmp(m->name, "__", 2) == 0 ? -3 : -2, m->name);
		}
	}
	if (t->to_val_index) {
		assert(!own_index);
		own_index = obj_member;
		lua_pushcfunction(L, obj_pairs);
		lua_setfield(L, -3, "__pairs");
		lua_pushcfunction(L, obj_len);
		lua_setfield(L, -3, "__len");
	}
	if (own_index)
		lua_pushcfunction(L, own_index);
	else
		lua_pushnil(L);
	lua_pushcclosure(L, obj_index, 2);	/* takes methods and own index */
	lua_setfield(L, -2, "__index");
	lua_pushboolean(L, 0);
	lua_setfield(L, -2, "__metatable");
}

void policy_obj_open(lua_State *L)
{
	lua_newtable(L);
	lua_setfield(L, LUA_REGISTRYINDEX, REG_OBJ_TYPES);
}

/* Metatables are made when a state first needs them: few states see more than a handful of types. */
static void push_metatable(lua_State *L, const struct policy_obj_type *t)
{
	lua_getfield(L, LUA_REGISTRYINDEX, REG_OBJ_TYPES);
	if (lua_rawgetp(L, -1, t) == LUA_TTABLE) {
		lua_remove(L, -2);
		return;
	}
	lua_pop(L, 1);
	make_metatable(L, t);
	lua_pushvalue(L, -1);
	lua_rawsetp(L, -3, t);
	lua_remove(L, -2);
}

void policy_obj_push(lua_State *L, const struct policy_obj_type *t, void *obj)
{
	struct box *b = lua_newuserdatauv(L, sizeof *b, 0);
	b->type = t;
	b->obj = NULL;
	push_metatable(L, t);
	lua_setmetatable(L, -2);
	b->obj = t->ref ? t->ref(obj) : obj;
}

/* The type of the object at IDX; NULL when it is none of ours. Lua code cannot forge it: it never gets at the metatable. */
static const struct policy_obj_type *type_of(lua_State *L, int idx)
{
	if (lua_type(L, idx) != LUA_TUSERDATA || !lua_getmetatable(L, idx))
		return NULL;
	lua_rawgetp(L, -1, &type_key);
	const struct policy_obj_type *t = lua_touserdata(L, -1);
	lua_pop(L, 2);
	return t;
}

void *policy_obj_get(lua_State *L, int idx, const struct policy_obj_type *t)
{
	return type_of(L, idx) == t ? ((struct box *)lua_touserdata(L, idx))->obj : NULL;
}

void *policy_obj_any(lua_State *L, int idx, const struct policy_obj_type **type)
{
	*type = type_of(L, idx);
	return *type ? ((struct box *)lua_touserdata(L, idx))->obj : NULL;
}

void *policy_obj_check(lua_State *L, int idx, const struct policy_obj_type *t)
{
	void *obj = policy_obj_get(L, idx, t);
	if (obj)
		return obj;
	if (lua_absindex(L, idx) == 1)
		policy_self_error(L, t->name);
	char why[128];
	snprintf(why, sizeof why, "expected userdata of type '%s'", t->name);
	if (lua_type(L, idx) == LUA_TUSERDATA)
		policy_arg_errorf(L, idx, "userdata is not expected type");
	policy_arg_errorf(L, idx, "error converting Lua %s to userdata (%s)", lua_type(L, idx) == LUA_TNONE ? "nil" : luaL_typename(L, idx), why);
}
