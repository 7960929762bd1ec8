/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state - makes a Lua state: libraries, search path, modules; then runs the policy's top level in it.
 *
 * The debug library and C modules are left out: policies get what they need as functions of ours, and a wrong byte there would be memory
 * corruption in a mail server. Modules written in Lua are compiled once for each generation and loaded as bytecode.
 */
#include <stdio.h>
#include <stdlib.h>
#include "base/xalloc.h"
#include "policy/internal.h"
#include "rt/clock.h"
#include "rt/fiber.h"

#define SEARCH_PATH \
	"/opt/kumomta/share/?.lua;/opt/kumomta/share/?/init.lua;/opt/kumomta/etc/policy/?.lua;/opt/kumomta/etc/policy/?/init.lua;"

static int on_panic(lua_State *L)
{
	const char *msg = lua_tostring(L, -1);
	fprintf(stderr, "Lua error outside of a protected call: %s\n", msg ? msg : "(no text)");
	return 0;	/* Lua aborts */
}

static const char *chunk_reader(lua_State *L, void *arg, size_t *len)
{
	const struct chunk **c = arg;
	if (!*c)
		return NULL;
	const char *p = (*c)->bytes;
	*len = (*c)->len;
	*c = NULL;
	return p;
}

/* A searcher for require: finds NAME along package.path, loads it from the generation's bytecode. */
static int searcher(lua_State *L)
{
	luaL_checkstring(L, 1);
	lua_getglobal(L, "package");
	lua_getfield(L, -1, "searchpath");
	lua_pushvalue(L, 1);
	lua_getfield(L, -3, "path");
	lua_call(L, 2, 2);
	if (lua_isnil(L, -2))
		return 1;	/* where it was looked for */
	const char *file = lua_tostring(L, -2);
	lua_pushfstring(L, "@%s", file);
	const struct chunk *c;
	if (policy_gen_chunk(policy_state_of(L)->gen, file, lua_tostring(L, -1), &c) < 0)
		return luaL_error(L, "error loading module '%s' from file '%s':\n\t%s", lua_tostring(L, 1), file, err_text());
	if (lua_load(L, chunk_reader, &c, lua_tostring(L, -1), "b") != LUA_OK)
		return lua_error(L);
	lua_pushstring(L, file);
	return 2;
}

static void open_package(lua_State *L)
{
	lua_getglobal(L, "package");
	lua_pushliteral(L, SEARCH_PATH);
	lua_getfield(L, -2, "path");
	lua_concat(L, 2);
	lua_setfield(L, -2, "path");
	lua_pushliteral(L, "");
	lua_setfield(L, -2, "cpath");
	lua_pushnil(L);
	lua_setfield(L, -2, "loadlib");
	lua_getfield(L, -1, "searchers");
	lua_pushcfunction(L, searcher);
	lua_rawseti(L, -2, 2);
	for (int i = 3; i <= 4; i++) {
		lua_pushnil(L);
		lua_rawseti(L, -2, i);
	}
	lua_pop(L, 2);
}

static int open_all(lua_State *L)
{
	static const luaL_Reg libs[] = {
		{ LUA_GNAME, luaopen_base }, { LUA_LOADLIBNAME, luaopen_package }, { LUA_COLIBNAME, luaopen_coroutine }, { LUA_TABLIBNAME, luaopen_table },
		{ LUA_IOLIBNAME, luaopen_io }, { LUA_OSLIBNAME, luaopen_os }, { LUA_STRLIBNAME, luaopen_string }, { LUA_MATHLIBNAME, luaopen_math },
		{ LUA_UTF8LIBNAME, luaopen_utf8 },
	};
	for (size_t i = 0; i < ARRAY_LEN(libs); i++) {
		luaL_requiref(L, libs[i].name, libs[i].func, 1);
		lua_pop(L, 1);
	}
	open_package(L);
	lua_newtable(L);
	lua_setfield(L, LUA_REGISTRYINDEX, REG_EVENTS);
	lua_newtable(L);
	lua_setfield(L, LUA_REGISTRYINDEX, REG_REGISTRARS);
	lua_newtable(L);
	lua_pushboolean(L, 0);
	lua_setfield(L, -2, "__metatable");
	lua_setfield(L, LUA_REGISTRYINDEX, REG_LIST_META);
	policy_error_open(L);
	policy_obj_open(L);
	policy_modules_open(L);
	policy_guard_open(L);
	if (policy_is_validating()) {
		lua_pushboolean(L, 1);
		lua_setglobal(L, "_VALIDATING_CONFIG");
	}
	return 0;
}

struct policy_state *policy_state_create(struct policy_gen *gen)
{
	struct policy_state *st = xzalloc(sizeof *st);
	OBJ_INIT(st, POLICY_STATE_MAGIC);
	list_init(&st->node);
	st->L = lua_newstate(policy_guard_alloc, st);
	assert(st->L != NULL);	/* memory */
	lua_atpanic(st->L, on_panic);
	*(struct policy_state **)lua_getextraspace(st->L) = st;
	st->gen = gen;
	gen->refs++;
	st->arena = arena_create();
	st->born_ms = rt_now_ms();
	lua_pushcfunction(st->L, open_all);
	int rc = lua_pcall(st->L, 0, 0, 0);
	if (rc != LUA_OK)
		on_panic(st->L);
	assert(rc == LUA_OK);	/* a module registers something that Lua refuses */
	policy_stats_states(1);
	return st;
}

void policy_state_destroy(struct policy_state **st)
{
	struct policy_state *s = *st;
	*st = NULL;
	lua_close(s->L);
	arena_destroy(&s->arena);
	policy_gen_unref(&s->gen);
	OBJ_FINI(s, POLICY_STATE_MAGIC);
	free(s);
	policy_stats_states(-1);
}

int policy_state_load(struct policy_state *st)
{
	const char *path = policy_gen_path();
	const struct chunk *c;
	if (!path)
		return 0;
	int rc = policy_gen_chunk(st->gen, path, path, &c);
	if (rc < 0)
		return rc;
	lua_State *L = st->L;
	lua_pushcfunction(L, policy_error_traceback);
	if (lua_load(L, chunk_reader, &c, path, "b") != LUA_OK) {
		st->broken = true;
		return policy_error_take(L, NULL);
	}
	struct policy_event_stats *stats = policy_stats_load();
	int64_t begun_us = policy_stats_begin(stats);
	st->loading = true;
	rc = policy_guard_run(L, 0, 0, 1);
	st->loading = false;
	policy_stats_end(stats, begun_us);
	arena_reset(st->arena);
	if (rc != LUA_OK) {
		st->broken = true;
		return policy_error_take(L, NULL);
	}
	lua_settop(L, 0);
	policy_gen_note_events(st->gen, L);
	return 0;
}
