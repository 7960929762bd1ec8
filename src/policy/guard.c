/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guard - keeps a policy from outstaying its call.
 *
 * A count hook lets other fibers run every few thousand instructions and raises an error once the fiber was canceled or a deadline around it
 * passed. Such an error must reach the event's caller, so the functions of Lua that catch errors (pcall, xpcall, coroutine.resume and
 * close) are replaced by ones that raise it again; it is sticky in the fiber, so code in finalizers and __close cannot hide it either.
 *
 * They also refuse to go deeper when the fiber's stack is nearly used up: Lua counts 200 nested C calls, our stacks count bytes.
 */
#include "policy/internal.h"
#include "rt/fiber.h"

#define HOOK_INSTRUCTIONS 10000
#define STACK_RESERVE (48 * 1024)

static void count_hook(lua_State *L, lua_Debug *ar)
{
	if (!rt_fiber_self())
		return;
	policy_check_unwind(L);
	rt_yield();
	policy_check_unwind(L);
}

static void check_stack(lua_State *L)
{
	if (rt_fiber_stack_left() < STACK_RESERVE)
		luaL_error(L, "stack overflow (nested calls between Lua and C)");
}

static bool failed(int status)
{
	return status != LUA_OK && status != LUA_YIELD;
}

/* What pcall and xpcall return; FIRST is the stack index of what precedes the results. */
static int finish_pcall(lua_State *L, int status, lua_KContext first)
{
	if (failed(status)) {
		policy_check_unwind(L);
		lua_pushboolean(L, 0);
		lua_pushvalue(L, -2);
		return 2;
	}
	return lua_gettop(L) - (int)first;
}

static int guard_pcall(lua_State *L)
{
	luaL_checkany(L, 1);
	check_stack(L);
	lua_pushboolean(L, 1);
	lua_insert(L, 1);
	int status = lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 0, 0, finish_pcall);
	return finish_pcall(L, status, 0);
}

static int guard_xpcall(lua_State *L)
{
	int n = lua_gettop(L);
	luaL_checktype(L, 2, LUA_TFUNCTION);
	check_stack(L);
	lua_pushboolean(L, 1);
	lua_pushvalue(L, 1);
	lua_rotate(L, 3, 2);	/* f, handler, true, f, arguments */
	int status = lua_pcallk(L, n - 2, LUA_MULTRET, 2, 2, finish_pcall);
	return finish_pcall(L, status, 2);
}

/* coroutine.resume and coroutine.close: the original, then the check. */
static int guard_coroutine(lua_State *L)
{
	int n = lua_gettop(L);
	check_stack(L);
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_insert(L, 1);
	lua_call(L, n, LUA_MULTRET);
	if (!lua_toboolean(L, 1))
		policy_check_unwind(L);
	return lua_gettop(L);
}

void policy_guard_open(lua_State *L)
{
	lua_register(L, "pcall", guard_pcall);
	lua_register(L, "xpcall", guard_xpcall);
	lua_getglobal(L, "coroutine");
	static const char *const names[] = { "resume", "close" };
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		lua_getfield(L, -1, names[i]);
		lua_pushcclosure(L, guard_coroutine, 1);
		lua_setfield(L, -2, names[i]);
	}
	lua_pop(L, 1);
	lua_sethook(L, count_hook, LUA_MASKCOUNT, HOOK_INSTRUCTIONS);
}
