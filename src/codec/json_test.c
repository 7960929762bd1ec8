/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "codec/val.h"

/* What TEXT prints as again, or "!" and the error. */
static void check(const char *text, const char *want)
{
	struct arena *a = arena_create();
	struct buf b = { 0 };
	struct val v;
	if (json_parse(slice_from_cstr(text), a, &v) < 0)
		buf_printf(&b, "!%s", err_text());
	else
		json_put(&b, &v, JSON_COMPACT);
	assert_string_equal(buf_cstr(&b), want);
	buf_fini(&b);
	arena_destroy(&a);
}

static void test_values(void **state)
{
	static const char *const cases[][2] = {
		{ " { \"a\" : 1 , \"b\":[1.0,\"x\",{}],\"a\":[] } ", "{\"a\":[],\"b\":[1.0,\"x\",{}]}" },
		{ "-0", "-0.0" }, { "0", "0" }, { "1E5", "100000.0" }, { "123456789012345678", "123456789012345678" },
		{ "-9223372036854775808", "-9223372036854775808" }, { "-9223372036854775809", "-9.223372036854776e+18" },
		{ "18446744073709551615", "18446744073709551615" }, { "18446744073709551616", "1.8446744073709552e+19" },
		{ "1e-400", "0.0" }, { "0.1e1", "1.0" },
		{ "\"\\u0041\\n\\t\\r\\b\\f\\/\\\\\\\"\"", "\"A\\n\\t\\r\\b\\f/\\\\\\\"\"" }, { "\"\\u0000\\u001F\\u007f\"", "\"\\u0000\\u001f\x7f\"" },
		{ "\"\\ud83d\\ude00\"", "\"\xf0\x9f\x98\x80\"" }, { "\"x\\ny\xc3\xa9z\"", "\"x\\ny\xc3\xa9z\"" }, { "[true,false,null]", "[true,false,null]" },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		check(cases[i][0], cases[i][1]);
}

static void test_errors(void **state)
{
	static const char *const cases[][2] = {
		{ "", "!EOF while parsing a value at line 1 column 0" }, { "[", "!EOF while parsing a list at line 1 column 1" },
		{ "[1,]", "!trailing comma at line 1 column 4" }, { "nul", "!EOF while parsing a value at line 1 column 3" },
		{ "\"\\ud83d\"", "!unexpected end of hex escape at line 1 column 8" },
		{ "\"\\ude00\"", "!lone leading surrogate in hex escape at line 1 column 7" },
		{ "\"\\ud83d\\u0041\"", "!lone leading surrogate in hex escape at line 1 column 13" },
		{ "\"\\u12\"", "!EOF while parsing a string at line 1 column 6" }, { "\"\\u12zz\"", "!invalid escape at line 1 column 7" },
		{ "\"\\a\"", "!invalid escape at line 1 column 3" },
		{ "\"\t\"", "!control character (\\u0000-\\u001F) found while parsing a string at line 1 column 2" },
		{ "\"a\nb\"", "!control character (\\u0000-\\u001F) found while parsing a string at line 2 column 0" },
		{ "'x'", "!expected value at line 1 column 1" }, { "{", "!EOF while parsing an object at line 1 column 1" },
		{ "{\"a\"", "!EOF while parsing an object at line 1 column 4" }, { "{\"a\":", "!EOF while parsing a value at line 1 column 5" },
		{ "{\"a\":1", "!EOF while parsing an object at line 1 column 6" }, { "{\"a\":1,", "!EOF while parsing a value at line 1 column 7" },
		{ "{\"a\":1,}", "!trailing comma at line 1 column 8" }, { "{\"a\" 1}", "!expected `:` at line 1 column 6" },
		{ "{1:2}", "!key must be a string at line 1 column 2" }, { "[1 2]", "!expected `,` or `]` at line 1 column 4" },
		{ "[1,,2]", "!expected value at line 1 column 4" }, { "{\"a\":1}}", "!trailing characters at line 1 column 8" },
		{ "01", "!invalid number at line 1 column 2" }, { "1e309", "!number out of range at line 1 column 5" },
		{ "[\n1,\n2,\n]", "!trailing comma at line 4 column 1" }, { "\"\xff\"", "!invalid unicode code point at line 1 column 2" },
		{ "-", "!EOF while parsing a value at line 1 column 1" }, { "1.x", "!invalid number at line 1 column 3" },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		check(cases[i][0], cases[i][1]);
}

static void test_depth(void **state)
{
	char text[257] = "";
	for (int depth = 127; depth <= 128; depth++) {
		memset(text, '[', (size_t)depth);
		memset(text + depth, ']', (size_t)depth);
		text[depth * 2] = '\0';
		check(text, depth == 127 ? text : "!recursion limit exceeded at line 1 column 128");
	}
}

static void test_floats(void **state)
{
	static const struct { double f; const char *text; } cases[] = {
		{ 0.1, "0.1" }, { 1e-7, "1e-7" }, { 0.00001, "0.00001" }, { 1e7, "10000000.0" }, { 123456789.125, "123456789.125" }, { 1e15, "1000000000000000.0" },
		{ 1e16, "1e+16" }, { 1e20, "1e+20" }, { 1e300, "1e+300" }, { 5e-324, "5e-324" }, { 1.7976931348623157e308, "1.7976931348623157e+308" },
		{ 9007199254740992.0, "9007199254740992.0" }, { -9.223372036854776e18, "-9.223372036854776e+18" }, { 1.0 / 3, "0.3333333333333333" },
		{ -0.0, "-0.0" }, { 100, "100.0" }, { NAN, "null" }, { -INFINITY, "null" }, { 2.2250738585072014e-308, "2.2250738585072014e-308" },
	};
	struct buf b = { 0 };
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		buf_clear(&b);
		json_put_float(&b, cases[i].f);
		assert_string_equal(buf_cstr(&b), cases[i].text);
	}
	buf_fini(&b);
}

static void test_layout(void **state)
{
	struct arena *a = arena_create();
	struct buf b = { 0 };
	struct val v;
	assert_int_equal(json_parse(SLICE("{\"b\":[1,{}],\"a\":{\"y\":[],\"x\":null}}"), a, &v), 0);
	json_put(&b, &v, JSON_PRETTY | JSON_SORTED);
	assert_string_equal(buf_cstr(&b), "{\n  \"a\": {\n    \"x\": null,\n    \"y\": []\n  },\n  \"b\": [\n    1,\n    {}\n  ]\n}");
	buf_clear(&b);
	struct val bytes = val_str(a, SLICE("a\xc3"));
	json_put(&b, &bytes, JSON_COMPACT);
	json_put_string(&b, SLICE("a\xc3"));
	assert_string_equal(buf_cstr(&b), "[97,195]\"a\xef\xbf\xbd\"");
	buf_clear(&b);
	bool first = true;
	json_put_key(&b, &first, SLICE("x"));
	json_put_key(&b, &first, SLICE("y"));
	assert_string_equal(buf_cstr(&b), "\"x\":,\"y\":");
	buf_fini(&b);
	arena_destroy(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values), cmocka_unit_test(test_errors), cmocka_unit_test(test_depth), cmocka_unit_test(test_floats),
		cmocka_unit_test(test_layout),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
