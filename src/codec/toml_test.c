/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "codec/val.h"

static void test_errors(void **state)
{
	static const char *const cases[][2] = {
		{ "a = ", "TOML parse error at line 1, column 5\n  |\n1 | a = \n  |     ^\nstring values must be quoted, expected literal string\n" },
		{ "x = 1\ny = tru\n", "TOML parse error at line 2, column 5\n  |\n2 | y = tru\n  |     ^^^\ninvalid boolean, expected `true`\n" },
		{ "[t]\n[t]\n", "TOML parse error at line 2, column 2\n  |\n2 | [t]\n  |  ^\nduplicate key\n" },
		{ "a = \"x", "TOML parse error at line 1, column 7\n  |\n1 | a = \"x\n  |       ^\ninvalid basic string, expected `\"`\n" },
		{ "a = 1\nb = [1,\n", "TOML parse error at line 2, column 8\n  |\n2 | b = [1,\n  |        ^\nunclosed array, expected `]`\n" },
		{ "a = 1\na = 2\n", "TOML parse error at line 2, column 1\n  |\n2 | a = 2\n  | ^\nduplicate key\n" },
	};
	static const char *const first[][2] = {
		{ "v = 9223372036854775808", "1, column 5" }, { "v = 1__0", "1, column 6" }, { "v = _1", "1, column 5" }, { "v = 1_", "1, column 6" },
		{ "v = +0x1", "1, column 5" }, { "v = 0x", "1, column 5" }, { "v = \"\\q\"", "1, column 7" }, { "v = \"\\ud800\"", "1, column 8" },
		{ "v = 1979-13-01", "1, column 5" }, { "v = 25:00:00", "1, column 5" }, { "5", "1, column 2" }, { "\xc3\xa9 = 1", "1, column 1" },
	};
	struct arena *a = arena_create();
	struct val v;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(toml_parse(slice_from_cstr(cases[i][0]), NULL, a, &v), -E_INVAL);
		assert_string_equal(err_text(), cases[i][1]);
	}
	for (size_t i = 0; i < ARRAY_LEN(first); i++) {
		char want[100];
		assert_int_equal(toml_parse(slice_from_cstr(first[i][0]), NULL, a, &v), -E_INVAL);
		snprintf(want, sizeof want, "TOML parse error at line %s\n", first[i][1]);
		assert_memory_equal(err_text(), want, strlen(want));
	}
	assert_int_equal(toml_parse(SLICE("\n\n[a"), "f.toml", a, &v), -E_INVAL);
	assert_string_equal(err_text(), "f.toml:3: unclosed table, expected `]`");
	arena_destroy(&a);
}

static void test_depth(void **state)
{
	struct arena *a = arena_create();
	struct buf b = { 0 };
	struct val v;
	buf_lit(&b, "a = ");
	for (int i = 0; i < 100000; i++)
		buf_putc(&b, '[');
	assert_int_equal(toml_parse(buf_view(&b), NULL, a, &v), -E_INVAL);
	buf_clear(&b);
	for (int i = 0; i < 100000; i++)
		buf_lit(&b, "a.");
	assert_int_equal(toml_parse(buf_view(&b), NULL, a, &v), -E_INVAL);
	buf_fini(&b);
	arena_destroy(&a);
}

/* JSON in, TOML out. */
static void check_put(const char *json, int flags, const char *want)
{
	struct arena *a = arena_create();
	struct buf b = { 0 };
	struct val v;
	assert_int_equal(json_parse(slice_from_cstr(json), a, &v), 0);
	if (toml_put(&b, &v, flags) < 0)
		buf_printf(&b, "!%s", err_text());
	assert_string_equal(buf_cstr(&b), want);
	buf_fini(&b);
	arena_destroy(&a);
}

static void test_put(void **state)
{
	static const struct { const char *json; int flags; const char *toml; } cases[] = {
		{ "{\"v\":1e21}", 0, "v = 1000000000000000000000.0\n" }, { "{\"v\":\"\\\"\"}", 0, "v = '\"'\n" }, { "{\"v\":\"it's\"}", 0, "v = \"it's\"\n" },
		{ "{\"v\":\"a\\nb\"}", 0, "v = \"\"\"\na\nb\"\"\"\n" }, { "{\"v\":\"a\\\\b\"}", 0, "v = 'a\\b'\n" },
		{ "{\"v\":\"\\u0000\\u001f\\u007f\"}", 0, "v = \"\\u0000\\u001F\\u007F\"\n" }, { "{\"v\":{}}", 0, "[v]\n" }, { "{\"v\":[[1],[2]]}", 0, "v = [[1], [2]]\n" },
		{ "{\"v\":[{\"k\":1},{\"k\":2}]}", 0, "[[v]]\nk = 1\n\n[[v]]\nk = 2\n" }, { "{\"v\":[1,{\"k\":1}]}", 0, "v = [1, { k = 1 }]\n" },
		{ "{\"\\\"\":1,\"'\":2,\"a\\nb\":3,\"\":4,\"a b\":5}", 0, "'\"' = 1\n\"'\" = 2\n\"a\\nb\" = 3\n\"\" = 4\n\"a b\" = 5\n" },
		{ "{\"s\":\"multi\\nline \\\"q\\\" \\\\\"}", 0, "s = '''\nmulti\nline \"q\" \\'''\n" }, { "{\"t\":{\"x\":{\"y\":1}}}", 0, "[t.x]\ny = 1\n" },
		{ "{\"list\":[1,2],\"sub\":{\"deep\":true},\"name\":\"x\"}", 0, "list = [1, 2]\nname = \"x\"\n\n[sub]\ndeep = true\n" },
		{ "{\"v\":[\"a\",\"b\"],\"w\":[1]}", TOML_PRETTY, "v = [\n    \"a\",\n    \"b\",\n]\nw = [1]\n" },
		{ "{\"v\":\"tab\\t\\\"quoted\\\"\"}", TOML_PRETTY, "v = 'tab\t\"quoted\"'\n" }, { "{\"v\":\"'''\"}", TOML_PRETTY, "v = \"'''\"\n" },
		{ "{\"v\":\"\\r\\n\"}", TOML_PRETTY, "v = \"\"\"\n\\r\n\"\"\"\n" },
		{ "{\"l\":[{\"a\":2,\"b\":1},{\"c\":{},\"d\":\"x\"}]}", TOML_INLINE_EMPTY, "[[l]]\na = 2\nb = 1\n\n[[l]]\nc = {}\nd = \"x\"\n" },
		{ "{\"n\":null}", 0, "" }, { "[1]", 0, "!unsupported array type" }, { "5", 0, "!unsupported i64 type" }, { "null", 0, "!unsupported unit type" },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		check_put(cases[i].json, cases[i].flags, cases[i].toml);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_errors), cmocka_unit_test(test_depth), cmocka_unit_test(test_put) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
