/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pattern_bench - string.find and its like as policies use them: Lua's own against ours.
 *
 * Usage: pattern_bench     a line for each case: ns a call of Lua's, of ours, and the ratio
 */
#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "policy/lua_strings.h"

#define ROUNDS 7
#define ROUND_US 20000

static const char SETUP[] =
	"header = 'Received: from mail.example.com (mail.example.com [192.0.2.25]) by mx.example.net with ESMTPS id 4f2a; Thu, 1 Jan 2026 00:00:00 +0000'\n"
	"body = ('The quick brown fox jumps over the lazy dog. '):rep(200) .. 'needle'\n"
	"template = ('Dear {{ name }}, your order {{ order }} of {{ date }} is on its way.\\r\\n'):rep(10)\n"
	"values = { name = 'Jane Doe', order = '4711', date = 'today' }\n"
	"short, padded, address = 'abc', '  some text  ', 'user.name+tag@sub.example.com'\n";

static const char *const CASES[] = {
	"short:find('c', 1, true)", "short:find('c')", "body:find('needle', 1, true)", "body:find('needle')", "body:find('n%w+le')", "short:match('b')", "short:match('^%a+$')",
	"header:match('^([%w%-]+):%s*(.*)$')", "header:match('from%s+(%S+)%s+%((%S+)%s+%[([%d%.]+)%]%)')", "header:match('id (%w+);')", "header:find('^Received:')", "header:lower():match('esmtps?')",
	"header:match('.-;%s*(.-)$')", "padded:match('^%s*(.-)%s*$')", "address:match('^([^@]+)@(.+)$')", "address:match('@([%w%.%-]+)$')", "address:match('%.([^.]+)$')", "address:gsub('%+.*@', '@')",
	"template:gsub('{{%s*(%w+)%s*}}', values)", "template:gsub('{{ (%w+) }}', function(k) return values[k] end)", "template:gsub('\\r\\n', '\\n')", "template:gsub('%%', '%%%%')", "body:gsub('%s+', ' ')", "body:gsub('o', '0')",
	"body:gsub('[^%w ]', '')", "(function() for w in body:gmatch('%a+') do end end)()", "(function() for k in address:gmatch('[^.@]+') do end end)()", "body:match('.*%.')", "body:find('x[%d]')", "('x'):rep(10)", "('ab'):rep(100, ',')",
};

static double now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void no_turns(void *arg)
{
	(void)arg;
}

static lua_State *open_state(struct pattern_steps *steps)
{
	lua_State *L = luaL_newstate();
	luaL_openlibs(L);
	if (steps)
		lua_strings_open(L, steps);
	if (luaL_dostring(L, SETUP) != LUA_OK)
		abort();
	return L;
}

static double call_us(lua_State *L, int n)
{
	double begun = now_us();
	lua_pushvalue(L, -1);
	lua_pushinteger(L, n);
	if (lua_pcall(L, 1, 0, 0) != LUA_OK)
		abort();
	return (now_us() - begun) / n;
}

static void load_case(lua_State *L, const char *code)
{
	lua_settop(L, 0);
	lua_pushfstring(L, "local n = ... for i = 1, n do local _ = %s end", code);
	if (luaL_loadstring(L, lua_tostring(L, -1)) != LUA_OK)
		abort();
}

int main(void)
{
	struct pattern_steps steps = { PATTERN_STEPS, no_turns };
	lua_State *states[2] = { open_state(NULL), open_state(&steps) };
	for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
		double best[2] = { 1e9, 1e9 };
		load_case(states[0], CASES[i]);
		load_case(states[1], CASES[i]);
		int n = MAX((int)(ROUND_US / call_us(states[0], 50)), 1);
		for (int round = 0; round < 2 * ROUNDS; round++) {
			double us = call_us(states[round % 2], n);
			best[round % 2] = MIN(best[round % 2], us);
		}
		printf("%10.0f %10.0f %5.2f  %s\n", best[0] * 1e3, best[1] * 1e3, best[1] / best[0], CASES[i]);
	}
	return 0;
}
