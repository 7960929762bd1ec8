/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "policy/glob.h"

static void test_match(void **state)
{
	static const struct {
		const char *pattern, *path;
		bool match;
	} rows[] = {
		{ "*.lua", "a.lua", true }, { "*.lua", "a/b.lua", false }, { "**/*.lua", "a/b.lua", true }, { "**/*.lua", "b.lua", true }, { "a?c", "abc", true },
		{ "a?c", "a\xc3\xa9""c", true }, { "x[12]", "x2", true }, { "x[!12]", "x2", false }, { "x[!12]", "x3", true }, { "[a-c]x", "bx", true },
		{ "{one,t{wo,hree}}.*", "three.txt", true }, { "{one,two}.*", "four.txt", false }, { "*", ".hidden", false }, { ".*", ".hidden", true },
		{ "a*b*c", "aXbYbZc", true }, { "a*b*c", "aXbYbZ", false }, { "/etc/**/*.toml", "/etc/a/b/c.toml", true }, { "[", "[", true }, { "x", "x", true },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (glob_match(slice_from_cstr(rows[i].pattern), slice_from_cstr(rows[i].path)) != rows[i].match)
			fail_msg("%s on %s", rows[i].pattern, rows[i].path);
}

static void test_walk(void **state)
{
	char dir[] = "/tmp/glob-test-XXXXXX", cmd[256];
	struct glob_list l = { 0 };
	assert_non_null(mkdtemp(dir));
	snprintf(cmd, sizeof cmd, "cd %s && mkdir -p a/b && touch one.lua a/two.lua a/b/three.lua .dot", dir);
	assert_int_equal(system(cmd), 0);
	assert_int_equal(glob_eval(SLICE("**/*.lua"), slice_from_cstr(dir), &l), 0);
	assert_int_equal(l.n, 3);
	assert_string_equal(l.paths[0], "a/b/three.lua");
	assert_string_equal(l.paths[2], "one.lua");
	glob_list_fini(&l);
	assert_int_equal(glob_eval(SLICE("/no/such/folder/*"), SLICE("/"), &l), 0);
	assert_int_equal(l.n, 0);
	char many[2100];
	memset(many, 0, sizeof many);
	for (int i = 0; i < 12; i++)
		strcat(many, "{a,b,c}");
	assert_int_equal(glob_eval(slice_from_cstr(many), slice_from_cstr(dir), &l), -E_LIMIT);
	glob_list_fini(&l);
	snprintf(cmd, sizeof cmd, "rm -r %s", dir);
	assert_int_equal(system(cmd), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_match), cmocka_unit_test(test_walk) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
