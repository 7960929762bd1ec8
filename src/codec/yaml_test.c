/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "codec/val.h"

static void test_parse(void **state)
{
	static const char *const cases[][2] = {	/* YAML, JSON or "!" and the error */
		{ "1", "1" }, { "-1", "-1" }, { "+1", "1" }, { "0x1F", "31" }, { "0o17", "15" }, { "017", "\"017\"" }, { "0b11", "3" }, { "1_000", "\"1_000\"" },
		{ "1.", "1.0" }, { ".5", "0.5" }, { "1e3", "1000.0" }, { ".inf", "null" }, { "True", "true" }, { "FALSE", "false" }, { "yes", "\"yes\"" }, { "~", "null" },
		{ "nil", "\"nil\"" }, { "\"\"", "\"\"" }, { "18446744073709551615", "18446744073709551615" }, { "1:30", "\"1:30\"" }, { "!!str 5", "\"5\"" },
		{ "2001-12-14t21:59:43.10-05:00", "\"2001-12-14t21:59:43.10-05:00\"" }, { "\"a\\tb\\u00e9\\x41\\n\"", "\"a\\tb\xc3\xa9" "A\\n\"" },
		{ "'it''s'", "\"it's\"" }, { "[a, [b, c], {d: e}]", "[\"a\",[\"b\",\"c\"],{\"d\":\"e\"}]" }, { "{a: 1, b: }", "{\"a\":1,\"b\":null}" },
		{ "- - 1\n  - 2\n- 3", "[[1,2],3]" }, { "a:\n- 1\n- 2", "{\"a\":[1,2]}" }, { "1: a\ntrue: b\n~: c", "{\"1\":\"a\",\"true\":\"b\",\"~\":\"c\"}" },
		{ "a: &x [1]\nb: *x", "{\"a\":[1],\"b\":[1]}" }, { "s: |\n  l1\n  l2\n", "{\"s\":\"l1\\nl2\\n\"}" }, { "a: 1\na: 2", "{\"a\":2}" }, { "", "null" }, { "# x", "null" },
		{ "[1]: a", "!invalid type: sequence, expected a string key" }, { "{a: 1}: b", "!invalid type: map, expected a string key" },
		{ "a: b: c", "!mapping values are not allowed in this context at line 1 column 5" },
		{ "[1, 2", "!did not find expected ',' or ']' at line 2 column 1, while parsing a flow sequence" },
		{ "a:\n\tb: 1", "!found character that cannot start any token at line 2 column 1, while scanning for the next token" },
		{ "\"abc", "!found unexpected end of stream at line 1 column 5, while scanning a quoted scalar" }, { "*none", "!unknown anchor" },
		{ "@x", "!found character that cannot start any token, while scanning for the next token" },
		{ "%BAD", "!found unknown directive name at line 1 column 5, while scanning a directive" },
		{ "a: 1\n---\nb: 2", "!deserializing from YAML containing more than one document is not supported" },
		{ "\"\\z\"", "!found unknown escape character at line 1 column 2, while parsing a quoted scalar" },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct arena *a = arena_create();
		struct buf b = { 0 };
		struct val v;
		if (yaml_parse(slice_from_cstr(cases[i][0]), NULL, a, &v) < 0)
			buf_printf(&b, "!%s", err_text());
		else
			json_put(&b, &v, JSON_COMPACT);
		assert_string_equal(buf_cstr(&b), cases[i][1]);
		buf_fini(&b);
		arena_destroy(&a);
	}
}

/* Each level holds the one before ten times: a few lines that stand for thousands of millions of nodes. */
static void test_bombs(void **state)
{
	struct arena *a = arena_create();
	struct buf b = { 0 };
	struct val v;
	buf_lit(&b, "- &a0 x\n");
	for (int i = 1; i < 12; i++) {
		buf_printf(&b, "- &a%d [", i);
		for (int k = 0; k < 10; k++)
			buf_printf(&b, "*a%d,", i - 1);
		buf_lit(&b, "]\n");
	}
	assert_int_equal(yaml_parse(buf_view(&b), NULL, a, &v), -E_INVAL);
	assert_non_null(strstr(err_text(), "repetition limit exceeded"));
	buf_clear(&b);
	for (int i = 0; i < 5000; i++)
		buf_putc(&b, '[');
	assert_int_equal(yaml_parse(buf_view(&b), "f.yaml", a, &v), -E_INVAL);
	assert_string_equal(err_text(), "f.yaml: recursion limit exceeded at line 1 column 128");
	buf_fini(&b);
	arena_destroy(&a);
}

static void test_put(void **state)
{
	static const char *const cases[][2] = {	/* JSON, YAML */
		{ "\"true\"", "'true'\n" }, { "\"~\"", "'~'\n" }, { "\"no\"", "no\n" }, { "\"1e3\"", "'1e3'\n" }, { "\"0x10\"", "'0x10'\n" }, { "\".inf\"", "'.inf'\n" },
		{ "\"- a\"", "'- a'\n" }, { "\"a: b\"", "'a: b'\n" }, { "\"a #c\"", "'a #c'\n" }, { "\"\"", "''\n" }, { "\" lead\"", "' lead'\n" }, { "\"it's\"", "it's\n" },
		{ "\"*a\"", "'*a'\n" }, { "\"a\\nb\"", "|-\n  a\n  b\n" }, { "\"a\\nb\\n\"", "|\n  a\n  b\n" }, { "\"\\n\"", "|2+\n\n" }, { "\"a\\tb\"", "\"a\\tb\"\n" },
		{ "\"\\u0001\"", "\"\\x01\"\n" }, { "\"\\u0085\"", "\"\\N\"\n" }, { "\"\xc3\xa9\"", "\xc3\xa9\n" }, { "\"2020-01-01\"", "2020-01-01\n" }, { "\"017\"", "'017'\n" },
		{ "{}", "{}\n" }, { "[1]", "- 1\n" }, { "[[1,2],[3]]", "- - 1\n  - 2\n- - 3\n" }, { "{\"a\":{\"b\":[1]}}", "a:\n  b:\n  - 1\n" },
		{ "[{\"a\":1},{\"b\":2}]", "- a: 1\n- b: 2\n" }, { "{\"a\":{}}", "a: {}\n" }, { "{\"a\":\"x\\ny\\n\"}", "a: |\n  x\n  y\n" }, { "{\"1\":1,\"\":2}", "'1': 1\n'': 2\n" },
		{ "null", "null\n" }, { "1.0", "1.0\n" }, { "{\"key: odd\":\" lead\"}", "'key: odd': ' lead'\n" }, { "\"multi\\nline\"", "|-\n  multi\n  line\n" },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct arena *a = arena_create();
		struct buf b = { 0 };
		struct val v;
		assert_int_equal(json_parse(slice_from_cstr(cases[i][0]), a, &v), 0);
		yaml_put(&b, &v);
		assert_string_equal(buf_cstr(&b), cases[i][1]);
		buf_fini(&b);
		arena_destroy(&a);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_parse), cmocka_unit_test(test_bombs), cmocka_unit_test(test_put) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
