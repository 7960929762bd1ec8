/* SPDX-License-Identifier: Apache-2.0 */
/*
 * module - the table of Lua modules, and their opening in a fresh state.
 *
 * "kumo.dns" becomes the field dns of the table kumo and package.loaded["kumo.dns"]; "sqlite" only the latter; the functions of "string"
 * go into Lua's own string table too, where policies call them as methods of text.
 */
#include "policy/internal.h"

#define MODULES_MAX 128
static const struct policy_module *modules[MODULES_MAX];
static size_t n_modules;

void policy_module_register(const struct policy_module *m)
{
	assert(n_modules < MODULES_MAX);
	modules[n_modules++] = m;
}

/* Pushes package.loaded[NAME], made with its parents where it is not there. */
static void push_module(lua_State *L, struct slice name)
{
	luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
	lua_pushlstring(L, name.ptr, name.len);
	if (lua_rawget(L, -2) == LUA_TTABLE) {
		lua_remove(L, -2);
		return;
	}
	lua_pop(L, 1);
	lua_newtable(L);
	lua_pushlstring(L, name.ptr, name.len);
	lua_pushvalue(L, -2);
	lua_rawset(L, -4);
	lua_remove(L, -2);
	ptrdiff_t dot = slice_rchr(name, '.');
	if (dot < 0)
		return;
	push_module(L, slice_sub(name, 0, (size_t)dot));
	lua_pushlstring(L, name.ptr + dot + 1, name.len - (size_t)dot - 1);
	lua_pushvalue(L, -3);
	lua_rawset(L, -3);
	lua_pop(L, 1);
}

void policy_modules_open(lua_State *L)
{
	for (size_t i = 0; i < n_modules; i++) {
		const struct policy_module *m = modules[i];
		push_module(L, slice_from_cstr(m->name));
		if (m->functions)
			luaL_setfuncs(L, m->functions, 0);
		if (m->open)
			m->open(L);
		lua_settop(L, 0);
	}
}
