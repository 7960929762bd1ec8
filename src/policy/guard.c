/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guard - keeps a policy from outstaying its call.
 *
 * A count hook lets other fibers run every few thousand instructions and raises an error once the fiber was canceled or a deadline around it
 * passed. Such an error must reach the event's caller, so the functions of Lua that catch errors (pcall, xpcall, coroutine.resume and
 * close) are replaced by ones that raise it again; it is sticky in the fiber, so code in finalizers and __close cannot hide it either.
 *
 * The hook does not run inside of C functions. Those that may take long over a stranger's text, string.find and its like, are replaced by
 * ones that do the same by themselves.
 *
 * What calls back refuses to go deeper when the fiber's stack is nearly used up: Lua counts 200 nested C calls, our stacks count bytes.
 *
 * What a state allocates is counted. Policy that runs cannot hold more than its limit: it gets "not enough memory", and the state is thrown away.
 * Outside of policy there is no limit, for there an error would have nobody to catch it.
 */
#include <stdatomic.h>
#include <stdlib.h>
#include "policy/internal.h"
#include "policy/lua_strings.h"
#include "rt/fiber.h"

#define HOOK_INSTRUCTIONS 10000
#define HOOK_BYTES (64 << 20)	/* allocated since the last hook: copying that much takes longer than the instructions should */
#define FINALIZER_HOOKS 1000	/* a finalizer has no caller whose deadline would end it */
#define STACK_RESERVE (48 * 1024)
#define STATE_BYTES_LEAST (64 << 20)

static _Atomic int64_t max_bytes = INT64_MAX;

void policy_set_max_bytes(int64_t n)
{
	max_bytes = MAX(n, (int64_t)STATE_BYTES_LEAST);
}

bool policy_guard_finalizer_late(lua_State *L)
{
	return policy_state_of(L)->finalizer_hooks > FINALIZER_HOOKS;
}

static bool must_unwind(lua_State *L)
{
	return rt_check() < 0 || policy_guard_finalizer_late(L);
}

/* An error that no message handler sees. A hook's errors run the handler with hooks turned off: one that never returns would keep the thread. */
static void unwind_silently(lua_State *L)
{
	policy_state_of(L)->broken = true;
	lua_pushliteral(L, "not enough memory");	/* lua_error throws this very string as LUA_ERRMEM */
	lua_error(L);
}

/* Some time has passed in ARG, a Lua state. */
static void take_turns(void *arg)
{
	lua_State *L = arg;
	struct policy_state *st = policy_state_of(L);
	if (!rt_fiber_self())
		return;
	if (st->in_finalizer)
		st->finalizer_hooks++;
	if (must_unwind(L))
		unwind_silently(L);
	rt_yield();
	if (must_unwind(L))
		unwind_silently(L);
}

static void count_hook(lua_State *L, lua_Debug *ar)
{
	struct policy_state *st = policy_state_of(L);
	st->hook_bytes = 0;
	if (st->hurry) {
		st->hurry = false;
		lua_sethook(st->L, count_hook, LUA_MASKCOUNT, HOOK_INSTRUCTIONS);
	}
	take_turns(L);
}

void *policy_guard_alloc(void *arg, void *p, size_t old, size_t size)
{
	struct policy_state *st = arg;
	size_t was = p ? old : 0;	/* without P it is what the memory is for */
	if (size == 0) {
		st->bytes -= was;
		free(p);
		return NULL;
	}
	if (size > was && st->running && (int64_t)(st->bytes - was + size) > max_bytes)
		return NULL;	/* Lua collects and tries again */
	void *q = realloc(p, size);
	if (!q)
		return NULL;
	st->bytes += size - was;
	st->hook_bytes += size;
	if (st->running && !st->hurry && st->hook_bytes > HOOK_BYTES) {
		st->hurry = true;
		lua_sethook(st->L, count_hook, LUA_MASKCOUNT, 1);
	}
	return q;
}

int policy_guard_run(lua_State *L, int nargs, int nresults, int handler)
{
	struct policy_state *st = policy_state_of(L);
	st->running++;
	int rc = lua_pcall(L, nargs, nresults, handler);
	st->running--;
	return rc;
}

void policy_guard_stack(lua_State *L)
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
	policy_guard_stack(L);
	lua_pushboolean(L, 1);
	lua_insert(L, 1);
	int status = lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 0, 0, finish_pcall);
	return finish_pcall(L, status, 0);
}

static int guard_xpcall(lua_State *L)
{
	int n = lua_gettop(L);
	luaL_checktype(L, 2, LUA_TFUNCTION);
	policy_guard_stack(L);
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
	policy_guard_stack(L);
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_insert(L, 1);
	lua_call(L, n, LUA_MULTRET);
	if (!lua_toboolean(L, 1))
		policy_check_unwind(L);
	return lua_gettop(L);
}

/* upvalue: the finalizer. Lua turns hooks off in finalizers; a coroutine has its own. */
static int run_finalizer(lua_State *L)
{
	struct policy_state *st = policy_state_of(L);
	bool outermost = !st->in_finalizer;
	int n;
	lua_settop(L, 1);
	lua_State *co = lua_newthread(L);
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_pushvalue(L, 1);
	lua_xmove(L, co, 2);
	st->in_finalizer = true;
	if (outermost)
		st->finalizer_hooks = 0;
	int status = lua_resume(co, L, 1, &n);
	if (outermost) {
		st->in_finalizer = false;
		st->finalizer_hooks = 0;
	}
	if (!failed(status))
		return 0;
	lua_xmove(co, L, 1);
	return lua_error(L);	/* Lua makes a warning of it */
}

/* setmetatable(t, mt): the original, with what mt says is to be done at the end made to end. */
static int guard_setmetatable(lua_State *L)
{
	if (lua_istable(L, 1) && lua_istable(L, 2)) {
		lua_pushliteral(L, "__gc");
		if (lua_rawget(L, 2) == LUA_TFUNCTION && lua_tocfunction(L, -1) == NULL) {
			lua_pushcclosure(L, run_finalizer, 1);
			lua_pushliteral(L, "__gc");
			lua_insert(L, -2);
			lua_rawset(L, 2);
		} else {
			lua_pop(L, 1);
		}
	}
	int n = lua_gettop(L);
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_insert(L, 1);
	lua_call(L, n, LUA_MULTRET);
	return lua_gettop(L);
}

void policy_guard_open(lua_State *L)
{
	lua_getglobal(L, "setmetatable");
	lua_pushcclosure(L, guard_setmetatable, 1);
	lua_setglobal(L, "setmetatable");
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
	struct policy_state *st = policy_state_of(L);
	st->pattern_steps = (struct pattern_steps){ PATTERN_STEPS, take_turns };
	lua_strings_open(L, &st->pattern_steps);
	policy_os_open(L);
	lua_sethook(L, count_hook, LUA_MASKCOUNT, HOOK_INSTRUCTIONS);
}
