/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <lauxlib.h>
#include <limits.h>
#include "policy/internal.h"
#include "policy/lua_strings.h"

#define STEPS lua_upvalueindex(1)

static struct slice check_text(lua_State *L, int idx)
{
	struct slice s;
	s.ptr = luaL_checklstring(L, idx, &s.len);
	return s;
}

static void begin(lua_State *L, struct lua_pattern *m, struct slice text, struct slice pattern, bool may_anchor)
{
	lua_pattern_init(m, text, pattern, may_anchor, lua_touserdata(L, STEPS), L);
}

static bool next_match(lua_State *L, struct lua_pattern *m, const char *from)
{
	int rc = lua_pattern_find(m, from);
	if (rc < 0)
		luaL_error(L, "%s", err_text());
	return rc > 0;
}

/* Offset of where the argument IDX says to begin, counted from 1, or from the end; SIZE_MAX: behind the text. */
static size_t check_init(lua_State *L, int idx, size_t len)
{
	lua_Integer n = luaL_optinteger(L, idx, 1);
	if (n > 0)
		return (size_t)n - 1 > len ? SIZE_MAX : (size_t)n - 1;
	return n == 0 || n < -(lua_Integer)len ? 0 : (size_t)(n + (lua_Integer)len);
}

/* Pushes the capture I; of none at all, the first is the whole match. */
static void push_capture(lua_State *L, const struct lua_pattern *m, unsigned i)
{
	if (i >= m->n_captures) {
		if (i > 0)
			luaL_error(L, "invalid capture index %%%d", (int)i + 1);
		lua_pushlstring(L, m->start, (size_t)(m->end - m->start));
		return;
	}
	const struct pattern_capture *c = &m->captures[i];
	if (c->len == PATTERN_OPEN)
		luaL_error(L, "unfinished capture");
	else if (c->len == PATTERN_POSITION)
		lua_pushinteger(L, c->at - m->text.ptr + 1);
	else
		lua_pushlstring(L, c->at, (size_t)c->len);
}

static int push_captures(lua_State *L, const struct lua_pattern *m, unsigned n)
{
	luaL_checkstack(L, (int)n, "too many captures");
	for (unsigned i = 0; i < n; i++)
		push_capture(L, m, i);
	return (int)n;
}

static int push_span(lua_State *L, size_t from, size_t end)
{
	lua_pushinteger(L, (lua_Integer)from + 1);
	lua_pushinteger(L, (lua_Integer)end);
	return 2;
}

static int fn_find(lua_State *L)
{
	struct slice text = check_text(L, 1), pattern = check_text(L, 2);
	size_t from = check_init(L, 3, text.len);
	struct lua_pattern m;
	if (from == SIZE_MAX) {
		luaL_pushfail(L);
		return 1;
	}
	if (lua_toboolean(L, 4) || lua_pattern_is_plain(pattern)) {
		const char *at = memmem(text.ptr + from, text.len - from, pattern.ptr, pattern.len);
		if (at)
			return push_span(L, (size_t)(at - text.ptr), (size_t)(at - text.ptr) + pattern.len);
		luaL_pushfail(L);
		return 1;
	}
	begin(L, &m, text, pattern, true);
	if (next_match(L, &m, text.ptr + from))
		return push_span(L, (size_t)(m.start - text.ptr), (size_t)(m.end - text.ptr)) + push_captures(L, &m, m.n_captures);
	luaL_pushfail(L);
	return 1;
}

static int fn_match(lua_State *L)
{
	struct slice text = check_text(L, 1), pattern = check_text(L, 2);
	size_t from = check_init(L, 3, text.len);
	struct lua_pattern m;
	begin(L, &m, text, pattern, true);
	if (from != SIZE_MAX && next_match(L, &m, text.ptr + from))
		return push_captures(L, &m, MAX(m.n_captures, 1u));
	luaL_pushfail(L);
	return 1;
}

/* --- gmatch --------------------------------------------------------------------------------------------------------- */

struct gmatch {
	struct slice text, pattern;	/* the function keeps them */
	struct pattern_steps *steps;
	const char *from, *last;	/* as lua_pattern_find wants them */
};

/* upvalues: the struct, the texts */
static int gmatch_next(lua_State *L)
{
	struct gmatch *g = lua_touserdata(L, lua_upvalueindex(1));
	struct lua_pattern m;
	if (!g->from)
		return 0;
	lua_pattern_init(&m, g->text, g->pattern, false, g->steps, L);
	m.last = g->last;
	if (!next_match(L, &m, g->from)) {
		g->from = NULL;
		return 0;
	}
	g->from = g->last = m.end;
	return push_captures(L, &m, MAX(m.n_captures, 1u));
}

static int fn_gmatch(lua_State *L)
{
	struct slice text = check_text(L, 1), pattern = check_text(L, 2);
	size_t from = check_init(L, 3, text.len);
	lua_settop(L, 2);
	struct gmatch *g = lua_newuserdatauv(L, sizeof *g, 0);
	*g = (struct gmatch){ text, pattern, lua_touserdata(L, STEPS), from == SIZE_MAX ? NULL : text.ptr + from, NULL };
	lua_insert(L, 1);
	lua_pushcclosure(L, gmatch_next, 3);
	return 1;
}

/* --- gsub ----------------------------------------------------------------------------------------------------------- */

/* The replacement text: %0 to %9 are captures, %% is a percent sign. */
static void add_text(lua_State *L, luaL_Buffer *b, const struct lua_pattern *m)
{
	struct slice r;
	r.ptr = lua_tolstring(L, 3, &r.len);
	for (const char *end = r.ptr + r.len, *p = r.ptr;;) {
		const char *percent = memchr(p, '%', (size_t)(end - p));
		if (!percent) {
			luaL_addlstring(b, p, (size_t)(end - p));
			return;
		}
		luaL_addlstring(b, p, (size_t)(percent - p));
		char c = percent[1];	/* Lua's texts end with a character 0 */
		p = percent + 2;
		if (c == '%') {
			luaL_addchar(b, c);
		} else if (c == '0') {
			luaL_addlstring(b, m->start, (size_t)(m->end - m->start));
		} else if (isdigit((unsigned char)c)) {
			push_capture(L, m, (unsigned)(c - '1'));
			luaL_addvalue(b);
		} else {
			luaL_error(L, "invalid use of '%%' in replacement string");
		}
	}
}

/* What takes the match's place; false: it stays. */
static bool add_replacement(lua_State *L, luaL_Buffer *b, const struct lua_pattern *m, int type)
{
	if (type == LUA_TFUNCTION) {
		lua_pushvalue(L, 3);
		int n = push_captures(L, m, MAX(m->n_captures, 1u));
		lua_call(L, n, 1);
	} else if (type == LUA_TTABLE) {
		push_capture(L, m, 0);
		lua_gettable(L, 3);
	} else {
		add_text(L, b, m);
		return true;
	}
	if (!lua_toboolean(L, -1)) {
		lua_pop(L, 1);
		luaL_addlstring(b, m->start, (size_t)(m->end - m->start));
		return false;
	}
	if (!lua_isstring(L, -1))
		luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
	luaL_addvalue(b);
	return true;
}

static int fn_gsub(lua_State *L)
{
	struct slice text = check_text(L, 1), pattern = check_text(L, 2);
	int type = lua_type(L, 3);
	lua_Integer n = 0, max = luaL_optinteger(L, 4, (lua_Integer)text.len + 1);
	const char *done = text.ptr, *end = text.ptr + text.len;
	bool changed = false;
	struct lua_pattern m;
	luaL_Buffer b;
	luaL_argexpected(L, type == LUA_TNUMBER || type == LUA_TSTRING || type == LUA_TTABLE || type == LUA_TFUNCTION, 3, "string/function/table");
	policy_guard_stack(L);
	begin(L, &m, text, pattern, true);
	luaL_buffinit(L, &b);
	while (n < max && next_match(L, &m, done)) {
		luaL_addlstring(&b, done, (size_t)(m.start - done));
		changed |= add_replacement(L, &b, &m, type);
		done = m.end;
		n++;
		if (m.anchored)
			break;
	}
	if (changed) {
		luaL_addlstring(&b, done, (size_t)(end - done));
		luaL_pushresult(&b);
	} else {
		lua_pushvalue(L, 1);
	}
	lua_pushinteger(L, n);
	return 2;
}

/* --- rep ------------------------------------------------------------------------------------------------------------ */

/* Lua's own takes N steps even if there is nothing to repeat. */
static int fn_rep(lua_State *L)
{
	struct slice text = check_text(L, 1), sep;
	lua_Integer n = luaL_checkinteger(L, 2);
	sep.ptr = luaL_optlstring(L, 3, "", &sep.len);
	size_t each = text.len + sep.len;
	luaL_Buffer b;
	if (n <= 0 || each == 0) {
		lua_pushliteral(L, "");
		return 1;
	}
	if (each > (size_t)INT_MAX / (size_t)n)
		return luaL_error(L, "resulting string too large");
	size_t total = each * (size_t)n - sep.len, done = each;
	char *to = luaL_buffinitsize(L, &b, total);
	memcpy(to, text.ptr, text.len);
	if (n > 1)
		memcpy(to + text.len, sep.ptr, sep.len);
	for (size_t more; done < total; done += more) {	/* what is there, again */
		more = MIN(done, total - done);
		memcpy(to + done, to, more);
	}
	luaL_pushresultsize(&b, total);
	return 1;
}

void lua_strings_open(lua_State *L, struct pattern_steps *steps)
{
	static const luaL_Reg functions[] = {
		{ "find", fn_find }, { "match", fn_match }, { "gmatch", fn_gmatch }, { "gsub", fn_gsub }, { "rep", fn_rep }, { NULL, NULL },
	};
	lua_getglobal(L, LUA_STRLIBNAME);
	lua_pushlightuserdata(L, steps);
	luaL_setfuncs(L, functions, 1);
	lua_pop(L, 1);
}
