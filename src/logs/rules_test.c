/* SPDX-License-Identifier: Apache-2.0 */
/* Rule sets: the automaton and one rule after the other say the same, whatever the text is made of. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "logs/rules.h"
#include "rt/clock.h"

/* The value that PATTERNS (a NULL behind) give to TEXT: the index as text, or "" when none matches. */
static struct slice first_match(const char *const *patterns, bool compile, struct slice text)
{
	static const char *const names[] = { "0", "1", "2", "3", "4", "5", "6", "7", "8", "9" };
	struct rules *r = rules_create();
	struct slice value, found = SLICE("");

	for (size_t i = 0; patterns[i]; i++)
		assert_int_equal(rules_add(r, slice_from_cstr(patterns[i]), slice_from_cstr(names[i])), 0);
	if (compile)
		rules_compile(r);
	if (rules_match(r, text, &value))
		for (size_t i = 0; i < ARRAY_LEN(names); i++)
			if (slice_eq_cstr(value, names[i]))
				found = slice_from_cstr(names[i]);
	rules_unref(&r);
	return found;
}

static void test_both_ways_agree(void **state)
{
	static const char *const patterns[] = { "^550 5\\.1\\.1\\b", "(?i)user.{1,80}unknown", "quota$", "(?<=4)21\\b", "\\w{3,40}@x", "(?i)\xc3\xa9t\xc3\xa9", "(?i)^\\x{212a}elvin", "\\d{2} z", NULL };
	static const struct {
		struct slice text;
		const char *expected;
	} cases[] = {
		{ SLICE("550 5.1.1 x"), "0" }, { SLICE("550 5.1.11 x"), "" }, { SLICE("550 5.1.1\xc3\xa9 x"), "" }, { SLICE("550 USER is UNKNOWN"), "1" },
		{ SLICE("552 over quota"), "2" }, { SLICE("552 over quota\n"), "" }, { SLICE("552 quotas"), "" }, { SLICE("421 x"), "3" }, { SLICE("521 x"), "" },
		{ SLICE("abc@x"), "4" }, { SLICE("\xc3\xa9\xc3\xa9\xc3\xa9@x"), "4" }, { SLICE("ab@x"), "" }, { SLICE("\xc3\x89T\xc3\x89"), "5" }, { SLICE("kelvin"), "6" },
		{ SLICE("12 z"), "7" }, { SLICE("\xd9\xa1\xd9\xa2 z"), "7" }, { SLICE("user \xff unknown"), "1" }, { SLICE(""), "" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		for (int compile = 0; compile < 2; compile++)
			if (!slice_eq_cstr(first_match(patterns, compile, cases[i].text), cases[i].expected))
				fail_msg("case %zu, %s: '%.*s'", i, compile ? "compiled" : "not compiled", SLICE_ARG(cases[i].text));
}

/* What operators write must not keep the daemon from starting. */
static void test_bounded_repeats_compile_quickly(void **state)
{
	struct rules *r = rules_create();
	int64_t start = rt_now_ms();

	assert_int_equal(rules_add(r, SLICE("(?i)(account|mailbox|user)( .{1,80})? (is )?(inactive|disabled|suspended)"), SLICE("a")), 0);
	assert_int_equal(rules_add(r, SLICE("a\\w{1,40}b\\b"), SLICE("b")), 0);
	assert_int_equal(rules_add(r, SLICE("a\\d{1,100}b"), SLICE("c")), 0);
	rules_compile(r);
	assert_true(rt_now_ms() - start < 2000);
#ifdef HAVE_HYPERSCAN
	assert_true(rules_is_fast(r));
#endif
	rules_unref(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_both_ways_agree), cmocka_unit_test(test_bounded_repeats_compile_quickly) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
