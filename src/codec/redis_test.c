/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "codec/redis.h"

static struct arena *a;

static void test_command(void **state)
{
	struct buf b = { 0 };
	const struct slice args[] = { SLICE("SET"), SLICE("k"), SLICE("a\r\nb") };
	redis_put_command(&b, args, 3);
	assert_string_equal(buf_cstr(&b), "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\na\r\nb\r\n");
	buf_fini(&b);
}

static void test_replies(void **state)
{
	static const struct {
		const char *text, *json;
	} rows[] = {
		{ "+OK\r\n", "true" }, { "+PONG\r\n", "\"PONG\"" }, { ":-7\r\n", "-7" }, { "$5\r\nhe\r\no\r\n", "\"he\\r\\no\"" }, { "$-1\r\n", "null" }, { "*-1\r\n", "null" },
		{ "*3\r\n:1\r\n$1\r\nx\r\n*1\r\n+y\r\n", "[1,\"x\",[\"y\"]]" }, { "*0\r\n", "[]" }, { "$0\r\n\r\n", "\"\"" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct slice whole = slice_from_cstr(rows[i].text);
		struct val v;
		struct buf b = { 0 };
		size_t used;
		for (size_t n = 0; n < whole.len; n++)	/* each part of it: more is needed */
			assert_int_equal(redis_parse(slice_sub(whole, 0, n), a, &v, &used), 0);
		assert_int_equal(redis_parse(whole, a, &v, &used), whole.len);
		json_put(&b, &v, JSON_COMPACT);
		assert_string_equal(buf_cstr(&b), rows[i].json);
		buf_fini(&b);
	}
}

static void test_faults(void **state)
{
	static const char *const bad[] = { "x\r\n", ":x\r\n", "$-2\r\n", "$1\r\nabc", "*99999999\r\n", "$600000000\r\n" };
	struct val v;
	size_t used = 0;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(redis_parse(slice_from_cstr(bad[i]), a, &v, &used), -E_PROTO);
	assert_int_equal(redis_parse(SLICE("-ERR unknown command\r\n+next"), a, &v, &used), -E_REJECT);
	assert_int_equal(used, 22);
	assert_string_equal(err_text(), "ERR unknown command");
	assert_int_equal(redis_parse(SLICE("*3\r\n:1\r\n-first\r\n-second\r\n"), a, &v, &used), -E_REJECT);
	assert_int_equal(used, 25);
	assert_string_equal(err_text(), "first");
	struct buf deep = { 0 };
	for (int i = 0; i < 100; i++)
		buf_lit(&deep, "*1\r\n");
	assert_int_equal(redis_parse(buf_view(&deep), a, &v, &used), -E_PROTO);
	buf_fini(&deep);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_command), cmocka_unit_test(test_replies), cmocka_unit_test(test_faults) };
	a = arena_create();
	int rc = cmocka_run_group_tests(tests, NULL, NULL);
	arena_destroy(&a);
	return rc;
}
