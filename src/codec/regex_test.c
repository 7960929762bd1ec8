/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "codec/regex.h"

static struct regex *make(const char *p, enum regex_dialect d)
{
	struct regex *r = NULL;
	assert_int_equal(regex_create(slice_from_cstr(p), d, &r), 0);
	return r;
}

static void test_groups(void **state)
{
	struct regex *r = make("(?P<a>\\w)(x)?(\\d)", REGEX_FULL);
	struct regex_match m;
	assert_int_equal(regex_find(r, SLICE("-- b7"), 0, &m), 1);
	assert_int_equal(m.n, 4);
	assert_true(slice_eq(m.group[0], SLICE("b7")));
	assert_true(slice_eq(m.group[1], SLICE("b")));
	assert_null(m.group[2].ptr);
	assert_true(slice_eq(m.group[3], SLICE("7")));
	assert_true(slice_eq(regex_group_name(r, 1), SLICE("a")));
	assert_int_equal(regex_find(r, SLICE("none"), 0, &m), 0);
	regex_destroy(&r);
}

static void test_dialects(void **state)
{
	static const char *const fancy[] = { "a(?=b)", "(?<!x)a", "(\\w)\\1", "(?P<q>.)(?P=q)", "(?>a+)b" };
	struct regex *r;
	for (size_t i = 0; i < ARRAY_LEN(fancy); i++) {
		r = make(fancy[i], REGEX_FULL);
		regex_destroy(&r);
		assert_int_equal(regex_create(slice_from_cstr(fancy[i]), REGEX_PLAIN, &r), -E_INVAL);
	}
	r = make("[(?=]\\(\\?=", REGEX_PLAIN);
	regex_destroy(&r);
	assert_int_equal(regex_create(SLICE("("), REGEX_FULL, &r), -E_INVAL);
	assert_non_null(strstr(err_text(), "position"));
}

static void test_end_and_unicode(void **state)
{
	struct regex *r = make("^b$", REGEX_FULL);
	assert_false(regex_is_match(r, SLICE("b\n")));
	assert_false(regex_is_match(r, SLICE("b\xff")));
	regex_destroy(&r);
	r = make("\\d", REGEX_FULL);
	assert_true(regex_is_match(r, SLICE("\xd9\xa3")));
	regex_destroy(&r);
}

static void test_work_is_bounded(void **state)
{
	struct regex *r = make("(a+)+b", REGEX_FULL);
	assert_int_equal(regex_find(r, SLICE("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac"), 0, NULL) > 0, 0);
	regex_destroy(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_groups),
		cmocka_unit_test(test_dialects),
		cmocka_unit_test(test_end_and_unicode),
		cmocka_unit_test(test_work_is_bounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
