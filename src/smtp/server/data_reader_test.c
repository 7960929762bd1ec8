/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "smtp/server/data_reader.h"

/* Feeds TEXT in pieces of STEP octets; returns whether it ended, with what follows in *REST. */
static bool feed_by(struct data_reader *r, struct slice text, size_t step, struct slice *rest)
{
	size_t have = 0, done = 0;
	while (have < text.len) {
		have = MIN(have + step, text.len);
		size_t taken;
		bool end = data_reader_feed(r, slice_sub(text, done, have - done), &taken);
		done += taken;
		if (end) {
			*rest = slice_sub(text, done, SIZE_MAX);
			return true;
		}
	}
	return false;
}

#define CHECK(text_, max_line_, want_, rest_)                                        \
	for (size_t step = 1; step < 12; step++) {                                   \
		struct data_reader r;                                                \
		struct slice rest = SLICE_NONE;                                      \
		data_reader_init(&r, 1000, max_line_);                               \
		assert_true(feed_by(&r, SLICE(text_), step, &rest));                 \
		assert_true(slice_eq(buf_view(&r.out), SLICE(want_)));               \
		if (step == 11)                                                      \
			assert_true(slice_starts(SLICE(rest_ "x"), rest) || rest.len <= sizeof rest_ - 1); \
		data_reader_fini(&r);                                                \
	}

static void ends_and_dots(void **state)
{
	CHECK("a\r\n.\r\nNOOP\r\n", 998, "a\r\n", "NOOP\r\n");
	CHECK(".\r\n", 998, "", "");
	CHECK("..\r\n...x\r\n.y\r\n.\r\n", 998, ".\r\n..x\r\n.y\r\n", "");
	CHECK("a\n.\nb\r\n.\r\n", 998, "a\n.\nb\r\n", "");
	CHECK("a\r.\rb\r\n.\r\n", 998, "a\r.\rb\r\n", "");
	CHECK("a\r\n.\r\r\n.\r\n", 998, "a\r\n.\r\r\n", "");
}

static void limits(void **state)
{
	static const struct { const char *text; bool big, longline, bare; } CASES[] = {
		{ "12345\r\n.\r\n", false, false, false },
		{ "123456\r\n.\r\n", false, true, false },
		{ "..2345\r\n.\r\n", false, false, false },
		{ "..23456\r\n.\r\n", false, true, false },
		{ "123456789012345678901234567890\r\nx\r\n.\r\n", false, true, false },
		{ "1\n2\r\n.\r\n", false, false, true },
		{ "1\r2\r\n.\r\n", false, false, true },
		{ "1\r\n2\r\n3\r\n4\r\n5\r\n6\r\n7\r\n8\r\n.\r\n", true, false, false },
	};
	for (size_t i = 0; i < ARRAY_LEN(CASES); i++)
		for (size_t step = 1; step < 50; step += 3) {
			struct data_reader r;
			struct slice rest;
			data_reader_init(&r, 20, 5);
			assert_true(feed_by(&r, slice_from_cstr(CASES[i].text), step, &rest));
			assert_int_equal(r.too_big, CASES[i].big);
			assert_int_equal(r.line_too_long, CASES[i].longline);
			assert_int_equal(r.bare_line_end, CASES[i].bare);
			assert_int_equal(rest.len, 0);
			data_reader_fini(&r);
		}
}

static void fixes(void **state)
{
	struct buf b = { 0 };
	data_fix_line_ends(SLICE("one\ntwo\rthree\r\n\nfour\r\r\nfive\n\r\nsix\r\n"), &b);
	assert_true(slice_eq(buf_view(&b), SLICE("one\r\ntwo\r\nthree\r\n\r\nfour\r\n\r\nfive\r\n\r\nsix\r\n")));
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(ends_and_dots), cmocka_unit_test(limits), cmocka_unit_test(fixes) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
