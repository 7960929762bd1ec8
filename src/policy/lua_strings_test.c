/* SPDX-License-Identifier: Apache-2.0 */
/* Two Lua states run the same code, one with Lua's own library, one with ours: results and errors are the same, word for word. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <lauxlib.h>
#include <lualib.h>
#include "policy/lua_strings.h"

static lua_State *theirs, *ours;
static unsigned ticks, ticks_max;

static void spent(void *arg)
{
	if (++ticks >= ticks_max)
		luaL_error(arg, "too long");
}

static struct pattern_steps steps = { PATTERN_STEPS, spent };

/* show(f, …): what a protected call gives, as text. many(SEED): calls with random patterns and texts. */
static const char COMMON[] =
	"function show(f, ...)\n"
	"  local r = table.pack(pcall(f, ...))\n"
	"  for i = 1, r.n do r[i] = type(r[i]) == 'string' and ('%q'):format(r[i]) or type(r[i]) == 'number' and tostring(r[i]) or r[i] == false and 'no' or type(r[i]) end\n"
	"  return table.concat(r, ' ')\n"
	"end\n"
	"function all(s, p, init, max)\n"
	"  local t = {}\n"
	"  for a, b, c in s:gmatch(p, init) do t[#t + 1] = tostring(a) .. '|' .. tostring(b) .. '|' .. tostring(c) if #t == max then break end end\n"
	"  return table.concat(t, ' ')\n"
	"end\n"
	"local items = { 'a', 'b', '.', '%a', '%d', '%s', '%W', '%x', '[ab]', '[^a]', '[a-c]', '[%d_]', '[]]', '[^]%-]', '%.', '%%', '-', '\\0', '\\xe9', '%p', '[a-]', '[%a-z]' }\n"
	"local counts = { '', '', '', '*', '+', '-', '?' }\n"
	"local extras = { '(', ')', '()', '(', ')', '%1', '%2', '%b()', '%bab', '%f[%a]', '%f[^%w]', '^', '$', '%0', '%', '[', '%f', '%b', ']', '[^', '[%', '%fa' }\n"
	"local chars = { 'a', 'a', 'a', 'b', 'c', '1', ' ', '(', ')', '.', '-', '%', ']', '\\0', '\\xe9', 'Z', '_' }\n"
	"local texts = { '', 'x', '%0', '%1', '%2', '<%1%%%0>', '%', '%a', 'a%', '\\0' }\n"
	"local function one(t) return t[math.random(#t)] end\n"
	"local function pattern()\n"
	"  local t = {}\n"
	"  for i = 1, math.random(0, 6) do t[i] = math.random() < 0.35 and one(extras) or one(items) .. one(counts) end\n"
	"  if math.random() < 0.2 then table.insert(t, 1, '^') end\n"
	"  if math.random() < 0.2 then t[#t + 1] = '$' end\n"
	"  return table.concat(t)\n"
	"end\n"
	"local function text()\n"
	"  local t = {}\n"
	"  for i = 1, math.random(0, 14) do t[i] = one(chars) end\n"
	"  return table.concat(t)\n"
	"end\n"
	"local function init() if math.random() < 0.6 then return nil end return math.random(-17, 17) end\n"
	"function many(seed)\n"
	"  math.randomseed(seed)\n"
	"  local out = {}\n"
	"  for i = 1, 50 do\n"
	"    local s, p, at = text(), pattern(), init()\n"
	"    local r = { show(string.find, s, p, at), show(string.match, s, p, at), show(all, s, p, at, 20),\n"
	"      show(string.gsub, s, p, one(texts), at), show(string.gsub, s, p, { a = 'A', b = false, ['1'] = 1, [1] = 'one', [''] = '!' }),\n"
	"      show(string.gsub, s, p, function(x, y) if x ~= 'b' then return y or (x and '[' .. x .. ']') end end), show(string.find, s, p, at, true) }\n"
	"    out[i] = ('%q %q %s: %s'):format(s, p, at, table.concat(r, ' / '))\n"
	"  end\n"
	"  return table.concat(out, '\\n')\n"
	"end\n";

/* Expressions; each is called with show. */
static const char *const CASES[] = {
	/* find, and where it begins */
	"string.find, 'abcabc', 'b'", "string.find, 'abcabc', 'b', 3", "string.find, 'abcabc', 'b', -2", "string.find, 'abcabc', 'b', -200",
	"string.find, 'abc', '', 4",
	"string.find, 'abc', '', 5", "string.find, 'abc', '', 0", "string.find, 'abc', '', -1", "string.find, '', ''", "string.find, '', '', 2",
	"string.find, '', '', -1",
	"string.find, 'a.b', '.', 2, true", "string.find, 'a.b', '%.'", "string.find, 'a+b', '+', 1, true", "string.find, 'a)b]c', ')b]'",
	"string.find, 'abc', 'c', math.mininteger",
	"string.find, 'abc', 'c', math.maxinteger", "string.find, 'a\\0b\\0c', '\\0c'", "string.find, 'a\\0b', '%z'",
	"string.find, 'a\\0b', 'b', 1, true", "string.find, 'abc', '()b()'",
	"string.find, 'abc', '^b', 2", "string.find, 'abc', '^b', 1", "string.find, 'abc', 'b', '2'", "string.find, 123, 2",
	"string.find, 'abc', 'x', 1.0", "string.find, 'x^y', '^', 1, true",
	/* match */
	"string.match, 'key = value', '^(%w+)%s*=%s*(%w+)$'", "string.match, '  x  ', '^%s*(.-)%s*$'", "string.match, 'hello', '.-'",
	"string.match, 'hello', '.-$'", "string.match, 'hello', 'l+'",
	"string.match, 'hello', 'l-o'", "string.match, 'hello', 'xl?'", "string.match, 'hello', 'hx?e'", "string.match, 'hello', '(h)(e)(l)(l)(o)'",
	"string.match, 'hello', '((h)(e))'",
	"string.match, 'THE (quick) fox', '%((%a+)%)'", "string.match, 'f(a(b)c)d', '%b()'", "string.match, 'f(a(bc', '%b()'",
	"string.match, 'xaab', '%bxb'", "string.match, 'aXXa', '%baa'",
	"string.match, [[\"it's\"]], [[([\"'])(.-)%1]]", "string.match, 'abab', '(ab)%1'", "string.match, 'abab', '()%1'",
	"string.match, 'THE (quick) fox', '%f[%a]%a+', 6",
	"string.match, 'THE', '%f[%a]%a+%f[%A]'", "string.match, 'THE', '%f[%z]'", "string.match, 'a$b', 'a$b'", "string.match, 'a$', 'a$$'",
	"string.match, 'ab', '^^ab'", "string.match, 'a^b', 'a^b'",
	"string.match, 'abc', '[a-]'", "string.match, '-', '[a-]'", "string.match, 'b', '[a-c]'", "string.match, ']', '[]]'",
	"string.match, 'a', '[^]]'", "string.match, '^', '[%^]'", "string.match, '^', '[x^]'",
	"string.match, 'z', '[a-%z]'", "string.match, '%', '[%%]'", "string.match, '-', '[%a-z]'", "string.match, 'é', '[\\xc3][\\xa9]'",
	"string.match, '\\xff', '[\\xf0-\\xff]'", "string.match, 'abc', 'b', 2",
	"string.match, 'abc', 'b', 3", "string.match, 'abc', '', 10", "string.match, '2024-01-02', '(%d+)-(%d+)-(%d+)'", "string.match, 'x', '%X'",
	"string.match, 'x.', '%P%p'", "string.match, '\\1 ', '%c%C'", "string.match, 'aB', '%l%u'",
	"string.match, 'g ', '%g%G'", "string.match, 'q', '%q'", "string.match, 'É', '%a'",
	/* mistakes, and that they are noticed only where they are reached */
	"string.find, 'a', '%'", "string.find, 'a', 'a%'", "string.find, 'a', 'b%'", "string.find, 'a', '['", "string.find, 'a', '[^'",
	"string.find, 'a', '[]'", "string.find, 'a', '[a'", "string.find, 'a', '[a%'",
	"string.find, 'a', '[a%]'", "string.find, 'a', 'b['", "string.find, 'a', '('", "string.find, 'a', '(a'", "string.find, 'a', 'a)'",
	"string.find, 'a', ')'", "string.find, 'a', '%1'", "string.find, 'a', '%0'",
	"string.find, 'a', '(a%1)'", "string.find, 'a', '%b'", "string.find, 'a', '%bx'", "string.find, 'a', '%f'", "string.find, 'a', '%fx'",
	"string.find, 'a', '%f['", "string.find, 'a', 'a*%'", "string.find, 'a', '(a)(%3)'",
	"string.find, 'a', ('()'):rep(32)", "string.find, 'a', ('()'):rep(33)", "string.find, 'a', ('('):rep(33)", "string.gsub, 'a', '(', 'x'",
	"string.match, 'x', '(()'", "string.gsub, 'abc', '(b', '%1'", "string.gmatch('a', '('), 1",
	/* how deep */
	"string.find, ('a'):rep(300), ('a?'):rep(198)", "string.find, ('a'):rep(300), ('a?'):rep(199)", "string.find, ('a'):rep(300), ('a?'):rep(200)",
	"string.find, ('a'):rep(300), ('a?'):rep(201)", "string.find, '', ('a?'):rep(1000)",
	"string.find, ('a'):rep(300), ('a*'):rep(199)", "string.find, ('a'):rep(300), ('a*'):rep(200)",
	"string.find, ('ab'):rep(150), ('a-b-'):rep(99)", "string.find, ('ab'):rep(150), ('a-b-'):rep(100)",
	"string.find, ('ab'):rep(150), ('a*b*'):rep(99)", "string.find, ('ab'):rep(150), ('a*b*'):rep(100)",
	"string.find, ('ab'):rep(150), ('a*b*'):rep(101)",
	"string.find, ('ab'):rep(150), '(' .. ('a+b+'):rep(98) .. 'a+)'", "string.find, ('ab'):rep(150), '(' .. ('a+b+'):rep(99) .. ')'",
	"string.find, ('a'):rep(300), ('.'):rep(300)",
	"string.match, ('a'):rep(3000), '.-b'", "string.match, ('a'):rep(300000), '.-$'",
	"string.match, ('x'):rep(300000) .. 'y', '[abcdefgwxyzabcdefghi]*(y)'", "string.find, ('('):rep(100000) .. (')'):rep(100000), '%b()'",
	"string.match, ('ab'):rep(50000) .. 'c', '(.*)%1c'",
	/* gmatch */
	"all, 'one two', '%a+'", "all, 'k=v, a=b', '(%w+)=(%w+)'", "all, 'abc', ''", "all, 'abc', '.*'", "all, 'abc', 'x*'", "all, 'aXbX', 'X*'",
	"all, 'abc', '()'", "all, 'abc', '^a'", "all, '^a^a', '^a'", "all, 'abcabc', 'b', 3", "all, 'abcabc', 'b', -1",
	"all, 'abc', '', 4", "all, 'abc', '', 5", "all, 'abc', '', -100", "all, 'a$a$', 'a$'", "all, 'abc', '$'", "string.gmatch, 'x'",
	"string.gmatch, nil, 'x'", "string.gmatch, 'x', 'x', 'y'", "string.gmatch, 'x', 'x', {}",
	"function() local f = string.gmatch('ab', '.') return f(), f(), f(), f() end",
	/* gsub */
	"string.gsub, 'hello world', 'o', '0'", "string.gsub, 'hello world', 'o', '0', 1", "string.gsub, 'hello', '', '-'",
	"string.gsub, 'hello', 'l*', 'x'", "string.gsub, 'abc', '%w', '%0%0'", "string.gsub, 'abc def', '(%w+) (%w+)', '%2 %1'",
	"string.gsub, 'abc', '()', '%1'", "string.gsub, 'abc', 'b', '%1'", "string.gsub, 'abc', 'b', '%2'", "string.gsub, 'abc', '(b)', '%2'",
	"string.gsub, 'abc', 'b', '%'", "string.gsub, 'abc', 'b', '%x'", "string.gsub, 'abc', 'b', '%%'",
	"string.gsub, 'abc', '^a', 'x'", "string.gsub, 'aaa', '^a', 'x'", "string.gsub, 'abc', '^x', 'x'", "string.gsub, 'abc', '^', 'x'",
	"string.gsub, 'abc', '$', 'x'", "string.gsub, 'abc', 'b', 5", "string.gsub, 'abc', 'b', 5.5", "string.gsub, 'abc', '%w', { a = 'x', b = true }",
	"string.gsub, 'abc', '%w', { a = 'x', b = 1, c = false }", "string.gsub, 'abc', '%w', { a = {} }",
	"string.gsub, 'abc', '()', { 'x', [3] = 'z' }", "string.gsub, 'abc', '%w', setmetatable({}, { __index = function(t, k) return k:upper() end })",
	"string.gsub, 'abc', '%w', function(c) if c == 'b' then return 'B' end end", "string.gsub, 'abc', '%w', function() return {} end",
	"string.gsub, 'abc', '%w', function() return true end", "string.gsub, 'abc', '%w', function() error('oops') end",
	"string.gsub, 'abc', '%w', function() error({}) end", "string.gsub, 'abc', '(a)(b)', function(...) return select('#', ...) .. '!' end",
	"string.gsub, 'abc', 'b', 'x', 0", "string.gsub, 'abc', 'b', 'x', -1", "string.gsub, 'abc', 'b', 'x', 1.5",
	"string.gsub, 'abc', 'b', nil", "string.gsub, 'abc', 'b', true", "string.gsub, 'abc', 'b'", "string.gsub, 'abc'", "string.gsub",
	"string.gsub, 'abc', 'b', nil, {}", "string.gsub, 'a\\0b', '\\0', '\\0\\0'", "string.gsub, 'a\\0b', '[\\0]', '%%\\0'",
	"string.gsub, 'abc', 'x', print", "string.gsub, ('x'):rep(10000), 'x', ('y'):rep(20)",
	"string.gsub, ('x'):rep(5000), '()x', function(n) return n .. ',' end",
	"string.gsub, 'abc', '%w', function(c) return (c:gsub('.', function(d) return d .. d end)) end",
	"string.gsub, 'hello', 'l', coroutine.wrap(function() while true do coroutine.yield('L') end end)", "string.gsub, 12345, 3, 0",
	/* rep */
	"string.rep, 'ab', 3", "string.rep, 'ab', 3, ','", "string.rep, 'ab', 1, ','", "string.rep, 'ab', 0", "string.rep, 'ab', -1",
	"string.rep, '', 5, ','", "string.rep, '', 5", "string.rep, 'a\\0', 5, '\\0'", "string.rep, 'x', 1 << 31", "string.rep, 'x', 1 << 40, 'y'",
	"string.rep, 'x'", "string.rep, 'x', 'y'", "string.rep, {}, 1", "string.rep, 'x', 2, {}", "string.rep, 'x', 2, nil", "string.rep, 7, 3, 1",
	"function() return ('x'):rep(1 << 62) end", "string.rep, 'x', 2.5",
	/* errors' places */
	"function() return ('x'):find() end", "function() return ('x'):find({}) end", "function() return ('x'):match('[') end",
	"function() local s = 'x' return s.gsub(s, '(') end", "function() for _ in ('x'):gmatch('%') do end end", "string.find, nil",
	"string.match, 'a', {}",
	"function() return ('x'):gsub('x', '%9') end", "function() string.find({}, 'x') end",
};

static const char *run(lua_State *L, const char *code)
{
	lua_settop(L, 0);
	if (luaL_loadbuffer(L, code, strlen(code), "=code") != LUA_OK || lua_pcall(L, 0, 1, 0) != LUA_OK)
		fail_msg("%s: %s", code, lua_tostring(L, -1));
	return luaL_tolstring(L, -1, NULL);
}

static void compare(const char *code)
{
	const char *want = run(theirs, code), *got = run(ours, code);
	if (strcmp(want, got) == 0)
		return;
	size_t i = 0;
	while (want[i] == got[i])
		i++;
	while (i > 0 && want[i - 1] != '\n')
		i--;
	fail_msg("%s\n  Lua:  %.400s\n  ours: %.400s", code, want + i, got + i);
}

static void test_cases(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
		char code[512];
		snprintf(code, sizeof code, "return show(%s)", CASES[i]);
		compare(code);
	}
}

static void test_random(void **state)
{
	for (int seed = 1; seed <= 2000; seed++) {
		char code[64];
		snprintf(code, sizeof code, "return many(%d)", seed);
		compare(code);
	}
}

/* What takes long is counted: it would go on for minutes, or years. */
static void test_steps(void **state)
{
	static const char *const slow[] = {
		"('a'):rep(30):find(('a?'):rep(30) .. ('a'):rep(31))", "(('a'):rep(40) .. 'c'):find(('a*'):rep(20) .. 'b')", "(' '):rep(1e6):match('^(.-)%s*x$')", "(' '):rep(1e6):find('%s+x')",
		"(' '):rep(1e6):gsub('%s+x', '')", "('('):rep(1e6):find('%b()')", "for w in ('a'):rep(1e6):gmatch('a-b') do end", "('x'):rep(1e6):find('.-.-.-y')", "('a'):rep(1e6):find('(a+)%1%1%1b')",
		"('a'):rep(1e6):find('[bcdefghijklmnopqrstuvwxyza]*[bcdefghijklmnopqrstuvwxyz]')", "for i = 1, 1e9 do ('a'):rep(100):find('a*b') end",
	};
	for (size_t i = 0; i < ARRAY_LEN(slow); i++) {
		char code[256];
		snprintf(code, sizeof code, "local ok, e = pcall(function() local _ = %s end) return e", slow[i]);
		if (strncmp(slow[i], "for ", 4) == 0)
			snprintf(code, sizeof code, "local ok, e = pcall(function() %s end) return e", slow[i]);
		ticks = 0;
		ticks_max = 100;
		assert_non_null(strstr(run(ours, code), "too long"));
	}
	ticks_max = UINT_MAX;
}

static int setup(void **state)
{
	theirs = luaL_newstate();
	ours = luaL_newstate();
	luaL_openlibs(theirs);
	luaL_openlibs(ours);
	ticks_max = UINT_MAX;
	lua_strings_open(ours, &steps);
	return luaL_dostring(theirs, COMMON) || luaL_dostring(ours, COMMON);
}

static int teardown(void **state)
{
	lua_close(theirs);
	lua_close(ours);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_cases), cmocka_unit_test(test_random), cmocka_unit_test(test_steps) };
	return cmocka_run_group_tests(tests, setup, teardown);
}
