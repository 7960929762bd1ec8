/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>
#include "policy/internal.h"
#include "rt/fiber.h"
#include "rt/loop.h"

static const struct policy_event EV_ONE = { "one", POLICY_SINGLE }, EV_MANY = { "many", POLICY_MULTI }, EV_ALL = { "all", POLICY_MULTI_ALL };
static const struct policy_event EV_OUTER = { "outer", POLICY_SINGLE }, EV_INNER = { "inner", POLICY_SINGLE };
static char path[64];

static const char POLICY[] =
	"local t = require 'test'\n"
	"count = 0\n"
	"t.on('one', function(a, b) count = count + 1 return a + b, count end)\n"
	"t.on('many', function(x) if x == 1 then return 'first' elseif x == 2 then return nil end end)\n"
	"t.on('many', function(x) if x == 3 then return 'second' end end)\n"
	"t.on('all', function(x) x.n = x.n + 1 return 1 end)\n"
	"t.on('all', function(x) x.n = x.n + 1 end)\n"
	"t.on('fails', function() local t = nil\n t.x = 1 end)\n"
	"t.on('rejects', function() t.reject(550, 'no') end)\n"
	"t.on('caught', function() local ok, e = pcall(t.reject, 551, 'x') error(e) end)\n"
	"t.on('spins', function() while true do end end)\n"
	"t.on('spins and catches', function() while true do pcall(function() while true do end end) end end)\n"
	"t.on('spins in a coroutine', function()\n"
	"  local co = coroutine.create(function() while true do pcall(coroutine.yield) end end)\n"
	"  while true do coroutine.resume(co) xpcall(function() while true do end end, function(e) return e end) end end)\n"
	"t.on('spins in a pattern', function() while true do pcall(string.find, ('a'):rep(100), ('a*'):rep(40) .. 'b') end end)\n"
	"t.on('spins in a message handler', function() xpcall(error, function() return ('a'):rep(100):gsub(('a*'):rep(40) .. 'b', '') end) end)\n"
	"t.on('executes', function()\n"
	"  local a, b, c = os.execute('exit 3') local d, e, f = os.execute('kill -9 $$') local g, h, i = os.execute('true')\n"
	"  return table.concat({ tostring(a), b, c, tostring(d), e, f, tostring(g), h, i, tostring(os.execute()) }, ' ') end)\n"
	"t.on('executes for long', function() os.execute('sleep 1000 & echo $! >' .. t.path() .. '; wait') end)\n"
	"t.on('outer', function() return t.nested() + 1 end)\n"
	"t.on('inner', function() return 41 end)\n"
	"t.on('registers', function() t.on('late', function() end) end)\n";

static int fn_reject(lua_State *L)
{
	return policy_raise_reject(L, (int)policy_check_int(L, 1, "u16", 0, 999), policy_check_text(L, 2), POLICY_REJECT_IF_421);
}

static int fn_nested(lua_State *L)
{
	struct policy_call c;
	int rc = policy_call_begin(&c, &EV_INNER);
	if (rc == 0) {
		rc = policy_call_run(&c, 0, 1);
		lua_pushinteger(L, rc == 0 ? lua_tointeger(c.L, -1) : rc);
		policy_call_end(&c);
	}
	return rc < 0 ? policy_raise(L, rc) : 1;
}

static int fn_path(lua_State *L)
{
	lua_pushfstring(L, "%s.pid", path);
	return 1;
}

static const luaL_Reg FUNCTIONS[] = { { "path", fn_path }, { "on", policy_lua_on }, { "reject", fn_reject }, { "nested", fn_nested }, { NULL, NULL } };
static const struct policy_module MODULE = { "test", FUNCTIONS, NULL };

static void write_policy(const char *text)
{
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

/* Runs EVENT with the integer ARG; gives what policy_call_run returned. The call is left open. */
static int run(struct policy_call *c, const char *event, int64_t arg, int nresults)
{
	assert_int_equal(policy_call_begin_name(c, slice_from_cstr(event)), 0);
	lua_pushinteger(c->L, arg);
	return policy_call_run(c, 1, nresults);
}

static void test_results(void **state)
{
	struct policy_call c;
	assert_int_equal(policy_call_begin(&c, &EV_ONE), 0);
	lua_pushinteger(c.L, 2);
	lua_pushinteger(c.L, 3);
	assert_int_equal(policy_call_run(&c, 2, 3), 0);
	assert_true(c.handled);
	assert_int_equal(lua_tointeger(c.L, -3), 5);
	assert_true(lua_isnil(c.L, -1));	/* more were asked for than came */
	int64_t count = lua_tointeger(c.L, -2);
	policy_call_end(&c);
	assert_int_equal(policy_call_begin(&c, &EV_ONE), 0);
	lua_pushinteger(c.L, 2);
	lua_pushinteger(c.L, 3);
	assert_int_equal(policy_call_run(&c, 2, 2), 0);
	assert_int_equal(lua_tointeger(c.L, -1), count + 1);	/* the same state */
	policy_call_end(&c);
}

static void test_several_handlers(void **state)
{
	static const char *const want[] = { NULL, "first", NULL, "second", NULL };
	for (int i = 1; i <= 4; i++) {
		struct policy_call c;
		assert_int_equal(run(&c, EV_MANY.name, i, 1), 0);
		assert_int_equal(c.handled, i != 4);
		if (want[i])
			assert_string_equal(lua_tostring(c.L, -1), want[i]);
		else
			assert_true(lua_isnil(c.L, -1));
		policy_call_end(&c);
	}
	struct policy_call c;
	assert_int_equal(policy_call_begin(&c, &EV_ALL), 0);
	lua_newtable(c.L);
	lua_pushinteger(c.L, 0);
	lua_setfield(c.L, -2, "n");
	lua_pushvalue(c.L, -1);
	lua_setglobal(c.L, "seen");
	assert_int_equal(policy_call_run(&c, 1, 0), 0);
	lua_getglobal(c.L, "seen");
	lua_getfield(c.L, -1, "n");
	assert_int_equal(lua_tointeger(c.L, -1), 2);
	policy_call_end(&c);
}

static void test_no_handler(void **state)
{
	struct policy_call c;
	assert_false(policy_event_wanted_name(SLICE("nobody")));
	assert_true(policy_event_wanted(&EV_ONE));
	assert_int_equal(run(&c, "nobody", 1, 1), 0);
	assert_false(c.handled);
	policy_call_end(&c);
}

static void test_errors(void **state)
{
	struct policy_call c;
	char place[192];
	assert_int_equal(run(&c, "fails", 1, 1), -E_POLICY);
	snprintf(place, sizeof place, "runtime error: [string \"%s\"]:9: attempt to index a nil value", path);
	assert_non_null(strstr(err_text(), place));
	assert_non_null(strstr(err_text(), "stack traceback"));
	struct policy_state *st = c.state;
	policy_call_end(&c);
	assert_int_equal(run(&c, EV_MANY.name, 1, 1), 0);
	assert_true(c.state != st || c.state->uses == 0);	/* the one that failed is gone */
	policy_call_end(&c);
	assert_int_equal(run(&c, "registers", 1, 0), -E_POLICY);
	assert_non_null(strstr(err_text(), "from within the event handler 'registers'"));
	policy_call_end(&c);
}

static void test_rejections(void **state)
{
	struct policy_call c;
	assert_int_equal(run(&c, "rejects", 1, 0), -E_REJECT);
	assert_int_equal(c.reject_code, 550);
	assert_string_equal(c.reject_text, "no");
	policy_call_end(&c);
	assert_int_equal(run(&c, "caught", 1, 0), -E_REJECT);	/* thrown again as it was */
	assert_int_equal(c.reject_code, 551);
	policy_call_end(&c);
}

static void test_deadlines_cannot_be_caught(void **state)
{
	static const char *const events[] = { "spins", "spins and catches", "spins in a coroutine", "spins in a pattern", "spins in a message handler" };
	for (size_t i = 0; i < ARRAY_LEN(events); i++) {
		struct policy_call c;
		struct rt_deadline d;
		rt_deadline_push(&d, 30);
		assert_int_equal(run(&c, events[i], 1, 0), -E_TIMEOUT);
		struct policy_state *st = c.state;
		assert_true(st->broken);
		policy_call_end(&c);
		assert_true(rt_deadline_pop(&d));
	}
}

static int other_ran;

static void other(void *arg)
{
	other_ran++;
}

static void test_spinning_lets_others_run(void **state)
{
	struct policy_call c;
	struct rt_deadline d;
	other_ran = 0;
	rt_fiber_spawn("other", other, NULL);
	rt_deadline_push(&d, 20);
	assert_int_equal(run(&c, "spins", 1, 0), -E_TIMEOUT);
	policy_call_end(&c);
	assert_true(rt_deadline_pop(&d));
	assert_int_equal(other_ran, 1);
}

/* It is there, and not only waits to be buried by init. */
static bool runs(int pid)
{
	char file[80], state_of = 'Z';
	snprintf(file, sizeof file, "/proc/%d/stat", pid);
	FILE *f = fopen(file, "r");
	if (!f)
		return false;
	int n = fscanf(f, "%*d %*s %c", &state_of);
	fclose(f);
	return n == 1 && state_of != 'Z';
}

/* Another fiber runs while a program does; what has no more time is killed with all that it started. */
static void test_programs(void **state)
{
	struct policy_call c;
	struct rt_deadline d;
	char file[80];
	int pid = 0;
	other_ran = 0;
	rt_fiber_spawn("other", other, NULL);
	assert_int_equal(run(&c, "executes", 1, 1), 0);
	assert_string_equal(lua_tostring(c.L, -1), "nil exit 3 nil signal 9 true exit 0 true");
	policy_call_end(&c);
	assert_int_equal(other_ran, 1);
	rt_deadline_push(&d, 1000);
	assert_int_equal(run(&c, "executes for long", 1, 0), -E_TIMEOUT);
	policy_call_end(&c);
	assert_true(rt_deadline_pop(&d));
	snprintf(file, sizeof file, "%s.pid", path);
	FILE *f = fopen(file, "r");
	assert_non_null(f);
	assert_int_equal(fscanf(f, "%d", &pid), 1);
	fclose(f);
	unlink(file);
	for (int i = 0; i < 100 && runs(pid); i++)
		assert_int_equal(rt_sleep_ms(20), 0);
	assert_false(runs(pid));
}

static void test_nested_events(void **state)
{
	struct policy_call c;
	assert_int_equal(policy_call_begin(&c, &EV_OUTER), 0);
	assert_int_equal(policy_call_run(&c, 0, 1), 0);
	assert_int_equal(lua_tointeger(c.L, -1), 42);
	policy_call_end(&c);
}

static void test_conversion(void **state)
{
	struct policy_call c;
	struct val v;
	struct buf b = { 0 };
	assert_int_equal(policy_call_begin(&c, &EV_ONE), 0);
	lua_State *L = c.L;
	assert_int_equal(luaL_dostring(L, "return { list = { 1, 2.5, 'x', true, {} }, [10] = 'ten', deep = { { a = { b = 'c' } } } }"), LUA_OK);
	assert_int_equal(policy_to_val(L, -1, policy_arena(L), &v), 0);
	json_put(&b, &v, JSON_SORTED);
	assert_string_equal(buf_cstr(&b), "{\"10\":\"ten\",\"deep\":[{\"a\":{\"b\":\"c\"}}],\"list\":[1,2.5,\"x\",true,{}]}");
	policy_push_val(L, &v);
	lua_getfield(L, -1, "deep");
	lua_rawgeti(L, -1, 1);
	lua_getfield(L, -1, "a");
	lua_getfield(L, -1, "b");
	assert_string_equal(lua_tostring(L, -1), "c");
	assert_int_equal(luaL_dostring(L, "return { a = { 1, print } }"), LUA_OK);
	assert_int_equal(policy_to_val(L, -1, policy_arena(L), &v), -E_INVAL);
	assert_string_equal(err_text(), "deserialize error: unsupported value type `function`, while processing a[2]");
	assert_int_equal(luaL_dostring(L, "local t = {} t.t = t return t"), LUA_OK);
	assert_int_equal(policy_to_val(L, -1, policy_arena(L), &v), -E_LIMIT);
	buf_fini(&b);
	policy_call_end(&c);
}

static void test_epochs(void **state)
{
	struct policy_call c;
	uint64_t before = policy_epoch();
	write_policy("local t = require 'test'\nt.on('one', function() return 'new' end)\n");
	policy_bump_epoch();
	assert_int_equal(policy_epoch(), before + 1);
	for (int i = 0; i < 100 && policy_event_wanted(&EV_MANY); i++)
		assert_int_equal(rt_sleep_ms(5), 0);
	assert_int_equal(run(&c, "one", 1, 1), 0);
	assert_string_equal(lua_tostring(c.L, -1), "new");
	policy_call_end(&c);
	write_policy("this is no Lua\n");	/* reported; the one before stays */
	policy_bump_epoch();
	assert_int_equal(rt_sleep_ms(50), 0);
	assert_int_equal(run(&c, "one", 1, 1), 0);
	assert_string_equal(lua_tostring(c.L, -1), "new");
	policy_call_end(&c);
}

static void test_bad_policies(void **state)
{
	const struct policy_conf conf = { path, "init" };
	write_policy("local x = = 1\n");
	assert_int_equal(policy_load(&conf), -E_POLICY);
	assert_non_null(strstr(err_text(), "syntax error: [string"));
	write_policy("local t = require 'test'\nt.on('one', print)\nt.on('one', print)\n");
	assert_int_equal(policy_load(&conf), -E_POLICY);
	assert_non_null(strstr(err_text(), "one event already has a handler defined at "));
	unlink(path);
	assert_int_equal(policy_load(&conf), -E_NOENT);
}

static int failures;

static void main_fiber(void *arg)
{
	const struct policy_conf conf = { path, "init" };
	write_policy(POLICY);
	if (policy_load(&conf) < 0) {
		fprintf(stderr, "%s\n", err_text());
		failures = 1;
		return;
	}
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_results),
		cmocka_unit_test(test_several_handlers),
		cmocka_unit_test(test_no_handler),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_rejections),
		cmocka_unit_test(test_deadlines_cannot_be_caught),
		cmocka_unit_test(test_spinning_lets_others_run),
		cmocka_unit_test(test_programs),
		cmocka_unit_test(test_nested_events),
		cmocka_unit_test(test_conversion),
		cmocka_unit_test(test_epochs),
		cmocka_unit_test(test_bad_policies),
	};
	failures = cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void)
{
	const struct rt_conf conf = { .shards = 1 };
	snprintf(path, sizeof path, "/tmp/policy-test-%d.lua", (int)getpid());
	policy_event_register(&EV_ONE);
	policy_event_register(&EV_MANY);
	policy_event_register(&EV_ALL);
	policy_module_register(&MODULE);
	if (rt_init(&conf) < 0)
		return 1;
	rt_run(main_fiber, NULL);
	rt_fini();
	unlink(path);
	return failures;
}
