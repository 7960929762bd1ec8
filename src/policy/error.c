/* SPDX-License-Identifier: Apache-2.0 */
/*
 * error - what goes through Lua when something fails.
 *
 * Errors raised by C functions are objects: they carry what the caller of the event needs (a rejection's code, why a call was unwound), may be
 * caught, shown with tostring and thrown again. An error thrown by Lua code itself is its own value and becomes an object only where it
 * leaves the policy; there it is called a "runtime error", as policies' users know it.
 */
#include <stdio.h>
#include <stdlib.h>
#include "base/buf.h"
#include "base/xalloc.h"
#include "policy/internal.h"
#include "rt/fiber.h"

#define ERROR_META "kumo.error"

struct policy_error {
	int rc;				/* -E_REJECT, -E_POLICY, or why the call is unwound */
	int reject_code;
	enum policy_reject_mode reject_mode;
	size_t text_len;
	char *text;			/* with the traceback behind it */
};

static int error_gc(lua_State *L)
{
	struct policy_error *e = lua_touserdata(L, 1);
	free(e->text);
	e->text = NULL;
	return 0;
}

static int error_tostring(lua_State *L)
{
	struct policy_error *e = luaL_checkudata(L, 1, ERROR_META);
	lua_pushlstring(L, e->text, e->text_len);
	return 1;
}

static int error_concat(lua_State *L)
{
	luaL_tolstring(L, 1, NULL);
	luaL_tolstring(L, 2, NULL);
	lua_concat(L, 2);
	return 1;
}

void policy_error_open(lua_State *L)
{
	static const luaL_Reg methods[] = { { "__gc", error_gc }, { "__tostring", error_tostring }, { "__concat", error_concat }, { NULL, NULL } };
	luaL_newmetatable(L, ERROR_META);
	luaL_setfuncs(L, methods, 0);
	lua_pushliteral(L, "error");
	lua_setfield(L, -2, "__name");
	lua_pop(L, 1);
}

/* Pushes an error object that takes TEXT over. */
static struct policy_error *error_push(lua_State *L, int rc, char *text, size_t len)
{
	struct policy_error *e = lua_newuserdatauv(L, sizeof *e, 0);
	*e = (struct policy_error){ .rc = rc, .text = text, .text_len = len };
	luaL_setmetatable(L, ERROR_META);
	return e;
}

static void put_traceback(lua_State *L, struct buf *b, int level)
{
	luaL_traceback(L, L, NULL, level);
	size_t len;
	const char *t = lua_tolstring(L, -1, &len);
	buf_putc(b, '\n');
	buf_put(b, t, len);
	lua_pop(L, 1);
}

static int raise_text(lua_State *L, int rc, struct buf *b)
{
	put_traceback(L, b, 1);
	size_t len;
	char *text = buf_take(b, &len);
	error_push(L, rc, text, len);
	return lua_error(L);
}

int policy_raise(lua_State *L, int rc)
{
	struct buf b = { 0 };
	int why = rt_check();
	const char *text = err_text();
	if (why < 0)
		policy_state_of(L)->broken = true;
	buf_cstr_put(&b, why < 0 ? err_name(why) : *text ? text : err_name(rc));
	raise_text(L, why < 0 ? why : -E_POLICY, &b);
	abort();
}

int policy_raisef(lua_State *L, const char *fmt, ...)
{
	struct buf b = { 0 };
	va_list ap;
	va_start(ap, fmt);
	buf_vprintf(&b, fmt, ap);
	va_end(ap);
	raise_text(L, -E_POLICY, &b);
	abort();
}

int policy_raise_reject(lua_State *L, int code, struct slice text, enum policy_reject_mode mode)
{
	struct buf b = { 0 };
	buf_printf(&b, "%d ", code);
	buf_slice(&b, text);
	size_t len;
	char *all = buf_take(&b, &len);
	struct policy_error *e = error_push(L, -E_REJECT, all, len);
	e->reject_code = code;
	e->reject_mode = mode;
	lua_error(L);
	abort();
}

int policy_check_unwind(lua_State *L)
{
	int rc = rt_check();
	if (rc == 0 && policy_guard_finalizer_late(L))
		return policy_raisef(L, "a finalizer takes too long");
	return rc < 0 ? policy_raise(L, rc) : 0;
}

static struct policy_error *error_get(lua_State *L, int idx)
{
	return luaL_testudata(L, idx, ERROR_META);
}

int policy_error_traceback(lua_State *L)
{
	if (error_get(L, 1))
		return 1;
	struct buf b = { 0 };
	size_t len;
	const char *msg = luaL_tolstring(L, 1, &len);
	buf_lit(&b, "runtime error: ");
	buf_put(&b, msg, len);
	put_traceback(L, &b, 1);
	char *text = buf_take(&b, &len);
	error_push(L, -E_POLICY, text, len);
	return 1;
}

int policy_error_take(lua_State *L, struct policy_call *c)
{
	struct policy_error *e = error_get(L, -1);
	int rc = -E_POLICY;
	if (e) {
		rc = e->rc;
		err_set((enum err_code)-rc, "%.*s", (int)MIN(e->text_len, (size_t)ERR_TEXT_MAX), e->text);
		if (rc == -E_REJECT && c) {
			c->reject_code = e->reject_code;
			c->reject_mode = e->reject_mode;
			free(c->reject_text);
			char *space = strchr(e->text, ' ');	/* there is one: "CODE TEXT" */
			c->reject_text = xmemdup0(space + 1, e->text_len - (size_t)(space + 1 - e->text));
		}
	} else {	/* out of memory, or an error in the message handler */
		const char *msg = lua_tostring(L, -1);
		err_set(E_POLICY, "runtime error: %s", msg ? msg : luaL_typename(L, -1));
	}
	lua_pop(L, 1);
	int why = rt_check();
	if (why < 0) {	/* whatever the policy made of it: the call has been unwound */
		policy_state_of(L)->broken = true;
		return why;
	}
	return rc == -E_CANCELED || rc == -E_TIMEOUT ? -E_POLICY : rc;
}

int policy_pcall(lua_State *L, int nargs, int nresults)
{
	int handler = lua_gettop(L) - nargs;
	lua_pushcfunction(L, policy_error_traceback);
	lua_insert(L, handler);
	if (lua_pcall(L, nargs, nresults, handler) != LUA_OK) {
		int rc = policy_error_take(L, NULL);
		lua_remove(L, handler);
		return rc;
	}
	lua_remove(L, handler);
	return 0;
}
