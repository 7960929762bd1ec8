/* SPDX-License-Identifier: Apache-2.0 */
/* A pattern, a line end, a replacement, a line end, a text: Lua's library and ours find the same, or the same fault. */
#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include "policy/lua_strings.h"

#define TICKS_MAX 30

static unsigned ticks;

static void spent(void *arg)
{
	if (++ticks > TICKS_MAX)
		luaL_error(arg, "too long");
}

static const char CODE[] =
	"local pattern, repl, text = ...\n"
	"local function show(f, ...)\n"
	"  local r = table.pack(pcall(f, ...))\n"
	"  for i = 1, r.n do r[i] = tostring(r[i]) end\n"
	"  return table.concat(r, ' ')\n"
	"end\n"
	"local function all() local t = {} for a, b in text:gmatch(pattern) do t[#t + 1] = tostring(a) .. '|' .. tostring(b) end return table.concat(t, ' ') end\n"
	"return table.concat({ show(string.find, text, pattern), show(string.find, text, pattern, -3), show(string.match, text, pattern, 2), show(all),\n"
	"  show(string.gsub, text, pattern, repl), show(string.gsub, text, pattern, { a = repl }), show(string.gsub, text, pattern, function(a, b) return b end) }, '\\n')\n";

static lua_State *open_state(struct pattern_steps *steps)
{
	lua_State *L = luaL_newstate();
	luaL_openlibs(L);
	if (steps)
		lua_strings_open(L, steps);
	if (luaL_loadstring(L, CODE) != LUA_OK)
		abort();
	return L;
}

static struct slice run(lua_State *L, const struct slice *args)
{
	struct slice out;
	lua_settop(L, 1);
	lua_pushvalue(L, 1);
	for (int i = 0; i < 3; i++)
		lua_pushlstring(L, args[i].ptr ? args[i].ptr : "", args[i].len);
	if (lua_pcall(L, 3, 1, 0) != LUA_OK)
		abort();
	out.ptr = lua_tolstring(L, -1, &out.len);
	return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct pattern_steps steps = { PATTERN_STEPS, spent };
	static lua_State *theirs, *ours;
	struct slice args[3], rest = slice_new(data, size);

	if (!ours) {
		theirs = open_state(NULL);
		ours = open_state(&steps);
	}
	(void)slice_split_next(&rest, '\n', &args[0]);
	if (!slice_split_next(&rest, '\n', &args[1]))
		return 0;
	args[2] = rest;
	ticks = 0;
	steps.left = PATTERN_STEPS;
	struct slice got = run(ours, args);
	if (ticks > TICKS_MAX)
		return 0;	/* Lua's own would not come back either */
	struct slice want = run(theirs, args);
	if (!slice_eq(got, want)) {
		fprintf(stderr, "Lua:\n%.*s\nours:\n%.*s\n", SLICE_ARG(want), SLICE_ARG(got));
		abort();
	}
	return 0;
}
