/* SPDX-License-Identifier: Apache-2.0 */
/*
 * event - which functions handle which event, and the call of an event.
 */
#include <stdio.h>
#include <stdlib.h>
#include "policy/internal.h"
#include "rt/fiber.h"

static struct map registered;	/* name -> struct policy_event; filled before the first state */

void policy_event_register(const struct policy_event *ev)
{
	map_put(&registered, slice_from_cstr(ev->name), (void *)(uintptr_t)ev);
}

/* Events that may have several handlers whoever fires them, and whether that part of the program is there (it is not in a script). */
static const char *const SEVERAL[] = { "pre_init", "validate_config", "get_queue_config", "get_acl_definition", "requeue_message", "should_enqueue_log_record",
				       "throttle_insert_ready_queue" };

static enum policy_event_kind kind_of(struct slice name)
{
	const struct policy_event *ev = map_get(&registered, name);
	enum policy_event_kind kind = ev ? ev->kind : POLICY_SINGLE;
	for (size_t i = 0; kind == POLICY_SINGLE && i < ARRAY_LEN(SEVERAL); i++)
		if (slice_eq_cstr(name, SEVERAL[i]))
			kind = POLICY_MULTI;
	return kind;
}

/* Pushes the list of "file:line" of who called us, innermost first, and behind it "file:line" of the first Lua function there. */
static void push_callers(lua_State *L)
{
	lua_Debug ar;
	bool found = false;
	lua_newtable(L);
	lua_pushliteral(L, "?");
	for (int level = 1; lua_getstack(L, level, &ar); level++) {
		lua_getinfo(L, "Sl", &ar);
		lua_pushfstring(L, "%s:%d", ar.short_src, MAX(ar.currentline, 0));
		lua_rawseti(L, -3, level);
		if (found || ar.currentline < 0)
			continue;
		found = true;
		lua_pop(L, 1);
		lua_pushfstring(L, "%s:%d", ar.source[0] == '@' ? ar.source + 1 : ar.source, ar.currentline);
	}
}

/* Pushes the list REG[name], made when it is not there. */
static void push_list(lua_State *L, const char *reg, struct slice name)
{
	lua_getfield(L, LUA_REGISTRYINDEX, reg);
	lua_pushlstring(L, name.ptr, name.len);
	lua_pushvalue(L, -1);
	if (lua_rawget(L, -3) != LUA_TTABLE) {
		lua_pop(L, 1);
		lua_newtable(L);
		lua_pushvalue(L, -2);
		lua_pushvalue(L, -2);
		lua_rawset(L, -5);
	}
	lua_replace(L, -3);
	lua_pop(L, 1);
}

int policy_lua_on(lua_State *L)
{
	struct policy_state *st = policy_state_of(L);
	struct slice name = policy_check_text(L, 1);
	policy_check_function(L, 2);
	lua_settop(L, 2);
	if (st->event && strcmp(st->event, "main") != 0)
		return policy_raisef(L, "Attempting to register an event handler via `kumo.on('%.*s', ...)` from within the event handler '%s'. You must move your "
				     "event handler registration so that it is setup directly when the policy is loaded in order for it to consistently trigger and handle events.",
				     SLICE_ARG(name), st->event);
	push_list(L, REG_REGISTRARS, name);
	push_list(L, REG_EVENTS, name);
	push_callers(L);
	lua_insert(L, 5);	/* name, function, registrars, handlers, place, callers */
	lua_rawseti(L, 3, (lua_Integer)lua_rawlen(L, 3) + 1);
	if (lua_rawlen(L, 4) > 0 && kind_of(name) == POLICY_SINGLE) {
		lua_getfield(L, 4, "place");
		return policy_raisef(L, "%.*s event already has a handler defined at %s", SLICE_ARG(name), lua_tostring(L, -1));
	}
	lua_setfield(L, 4, "place");
	lua_pushvalue(L, 2);
	lua_rawseti(L, 4, (lua_Integer)lua_rawlen(L, 4) + 1);
	return 0;
}

int policy_lua_get_event_registrars(lua_State *L)
{
	struct slice name = policy_check_text(L, 1);
	lua_getfield(L, LUA_REGISTRYINDEX, REG_REGISTRARS);
	lua_pushlstring(L, name.ptr, name.len);
	if (lua_rawget(L, -2) != LUA_TTABLE)
		return 1;
	return 1;
}

int policy_call_begin_name(struct policy_call *c, struct slice event)
{
	struct policy_state *st;
	memset(c, 0, sizeof *c);
	int rc = policy_state_lease(&st);
	if (rc < 0)
		return rc;
	c->L = st->L;
	c->state = st;
	c->event = arena_strdup(st->arena, event);
	lua_settop(st->L, 0);
	lua_pushcfunction(st->L, policy_error_traceback);
	c->base = 1;
	c->saved_local = rt_local_get(RT_LOCAL_POLICY);
	rt_local_set(RT_LOCAL_POLICY, c);
	return 0;
}

int policy_call_begin(struct policy_call *c, const struct policy_event *ev)
{
	return policy_call_begin_name(c, slice_from_cstr(ev->name));
}

/* Calls the handlers in the list at index LIST; results are left on top. */
static int run_handlers(struct policy_call *c, int list, int first_arg, int nargs, int *nret)
{
	lua_State *L = c->L;
	enum policy_event_kind kind = kind_of(slice_from_cstr(c->event));
	lua_Integer n = (lua_Integer)lua_rawlen(L, list);
	struct policy_event_stats *stats = policy_stats_of(c->event);
	*nret = 0;
	for (lua_Integer i = 1; i <= n; i++) {
		int top = lua_gettop(L);
		lua_rawgeti(L, list, i);
		for (int a = 0; a < nargs; a++)
			lua_pushvalue(L, first_arg + a);
		int64_t begun_us = policy_stats_begin(stats);
		int rc = policy_guard_run(L, nargs, LUA_MULTRET, c->base);
		policy_stats_end(stats, begun_us);
		if (rc != LUA_OK)
			return policy_error_take(L, c);
		int got = lua_gettop(L) - top;
		if (kind == POLICY_MULTI_ALL) {
			lua_settop(L, top);
		} else if (got > 0 || i == n) {
			c->handled = got > 0;
			*nret = got;
			return 0;
		}
	}
	return 0;
}

int policy_call_run(struct policy_call *c, int nargs, int nresults)
{
	lua_State *L = c->L;
	struct policy_state *st = c->state;
	OBJ_CHECK(st, POLICY_STATE_MAGIC);
	int first_arg = lua_gettop(L) - nargs + 1;
	int nret = 0;
	int rc = rt_check();
	if (rc == 0 && !lua_checkstack(L, nargs + nresults + 20))
		rc = err_set(E_POLICY, "too many values on the Lua stack");
	if (rc < 0)
		return rc;
	if (rt_fiber_stack_left() < 64 * 1024)
		return err_set(E_POLICY, "events are nested too deeply: no stack is left to call %s", c->event);
	st->event = c->event;
	lua_pushstring(L, c->event);
	lua_setglobal(L, "_KUMO_CURRENT_EVENT");
	lua_getfield(L, LUA_REGISTRYINDEX, REG_EVENTS);
	lua_getfield(L, -1, c->event);
	int list = lua_gettop(L);
	if (lua_istable(L, list))
		rc = run_handlers(c, list, first_arg, nargs, &nret);
	st->event = NULL;
	if (rc < 0) {
		if (rc != -E_REJECT)
			st->broken = true;
		lua_settop(L, c->base);
		return rc;
	}
	/* Results move down over arguments and list, and are cut or filled to NRESULTS. */
	int at = lua_gettop(L) - nret;
	for (int i = 1; i <= nret; i++) {
		lua_pushvalue(L, at + i);
		lua_replace(L, first_arg + i - 1);
	}
	lua_settop(L, first_arg - 1 + MIN(nret, nresults));
	lua_settop(L, first_arg - 1 + nresults);
	return 0;
}

int policy_call_function(struct policy_call *c, int nargs, int nresults)
{
	struct policy_state *st = c->state;
	OBJ_CHECK(st, POLICY_STATE_MAGIC);
	free(c->reject_text);
	c->reject_text = NULL;
	int rc = rt_check();
	if (rc < 0)
		return rc;
	st->event = c->event;
	if (policy_guard_run(c->L, nargs, nresults, c->base) != LUA_OK)
		rc = policy_error_take(c->L, c);
	st->event = NULL;
	if (rc < 0 && rc != -E_REJECT)
		st->broken = true;
	return rc;
}

void policy_call_end(struct policy_call *c)
{
	struct policy_state *st = c->state;
	rt_local_set(RT_LOCAL_POLICY, c->saved_local);
	free(c->reject_text);
	c->reject_text = NULL;
	c->state = NULL;
	lua_settop(c->L, 0);
	policy_state_return(st);
}
