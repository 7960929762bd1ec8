/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/err.h"
#include "base/timefmt.h"

/* WANT is the time in UTC, or "!" and the error. */
static void check_time(int (*parse)(struct slice, struct time_ns *), const char *text, const char *want)
{
	struct time_ns t;
	struct buf b = { 0 };
	int rc = parse(slice_from_cstr(text), &t);
	if (rc < 0)
		buf_printf(&b, "!%s", err_text());
	else
		assert_int_equal(time_put_strftime_ns(&b, SLICE("%Y-%m-%d %H:%M:%S%.f UTC"), t, 0), 0);
	assert_string_equal(buf_cstr(&b), want);
	buf_fini(&b);
}

static void test_rfc3339(void **state)
{
	static const char *const cases[][2] = {
		{ "2000-01-02T03:04:05.123456789+02:00", "2000-01-02 01:04:05.123456789 UTC" },
		{ "2000-01-02t03:04:05z", "2000-01-02 03:04:05 UTC" },
		{ "2000-01-02 03:04:05.1-00:00", "2000-01-02 03:04:05.100 UTC" },
		{ "2024-01-02T03:04:05.1234567891Z", "2024-01-02 03:04:05.123456789 UTC" },
		{ "2000-01-02T23:59:60Z", "2000-01-02 23:59:60 UTC" },
		{ "2000-01-02T03:04:05+24:00", "!input is out of range" },
		{ "2000-01-02T03:04:05+0200", "!input contains invalid characters" },
		{ "2000-01-02T03:04:05+02", "!premature end of input" },
		{ "2000-01-02T03:04:05.Z", "!input contains invalid characters" },
		{ "2000-01-02T03:04:05,5Z", "!input contains invalid characters" },
		{ "2000-01-02T23:59:61Z", "!input is out of range" },
		{ "2000-01-02T24:00:00Z", "!input is out of range" },
		{ "2000-1-2T3:4:5Z", "!premature end of input" },
		{ "02000-01-02T03:04:05Z", "!input contains invalid characters" },
		{ "2000-01-02T03:04:05Z ", "!trailing input" },
		{ "2000-01-02_03:04:05Z", "!input contains invalid characters" },
		{ "2000-02-30T00:00:00Z", "!input is out of range" },
		{ "2000-13-02T03:04:05Z", "!input is out of range" },
		{ "", "!premature end of input" },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		check_time(time_parse_rfc3339_ns, cases[i][0], cases[i][1]);
}

static void test_rfc2822(void **state)
{
	static const char *const cases[][2] = {
		{ "Sun, 02 Jan 2000 03:04:05 +0200", "2000-01-02 01:04:05 UTC" },
		{ "2 Jan 2000 03:04 EST", "2000-01-02 08:04:00 UTC" },
		{ "Sun, 2 Jan 2000 03:04:05 -0000 (comment (nested\\)) )", "2000-01-02 03:04:05 UTC" },
		{ "Sun,2 JAN 00 03:04:05 XYZ", "2000-01-02 03:04:05 UTC" },
		{ "2 Jan 999 03:04:05 Z", "2899-01-02 03:04:05 UTC" },
		{ "2 Jan 10000 03:04:05 CET", "+10000-01-02 02:04:05 UTC" },
		{ "2 Jan 50 23:59:60 GMT", "1950-01-02 23:59:60 UTC" },
		{ "Mon, 2 Jan 2000 03:04:05 +0000", "!no possible date and time matching input" },
		{ "Sun, 2 Jan 2000 25:04:05 +0000", "!input is out of range" },
		{ "nonsense", "!input contains invalid characters" },
		{ "", "!premature end of input" },
		{ "Sun, 2 Jan 2000 03:04:05", "!premature end of input" },
		{ "002 Jan 2000 03:04:05 Z", "!input is out of range" },
		{ "31 Feb 2000 03:04:05 Z", "!input is out of range" },
		{ "2 January 2000 03:04:05 Z", "!input contains invalid characters" },
		{ "Sunday, 2 Jan 2000 03:04:05 Z", "!input contains invalid characters" },
		{ "2 Jan 0 03:04:05 Z", "!input contains invalid characters" },
		{ "2 Jan 2000 03 : 04 : 05 Z", "!input contains invalid characters" },
		{ "2 Jan 2000 03:04:05.5 Z", "!input contains invalid characters" },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		check_time(time_parse_rfc2822_ns, cases[i][0], cases[i][1]);
}

static void test_put(void **state)
{
	struct buf b = { 0 };
	time_put_rfc3339(&b, 1700000000123456, 6, true);
	buf_putc(&b, ' ');
	time_put_rfc3339(&b, -1, 0, false);
	buf_putc(&b, ' ');
	time_put_rfc3339(&b, -1, 9, false);
	assert_string_equal(buf_cstr(&b), "2023-11-14T22:13:20.123456Z 1969-12-31T23:59:59+00:00 1969-12-31T23:59:59.999999000+00:00");
	buf_clear(&b);
	time_put_rfc2822(&b, 951793445 * USEC_PER_SEC, 0);
	buf_lit(&b, "; ");
	time_put_rfc2822(&b, 0, -5400);
	assert_string_equal(buf_cstr(&b), "Tue, 29 Feb 2000 03:04:05 +0000; Wed, 31 Dec 1969 22:30:00 -0130");
	struct time_parts p;
	for (int64_t us = -70000000000000000; us < 200000000000000000; us += 86400000000 * 13 + 1234567) {
		time_split(us, 3600, &p);
		assert_true(time_join(&p) == us);
	}
	buf_fini(&b);
}

static void test_strftime(void **state)
{
	static const char *const cases[][2] = {
		{ "%a %A %b %B %d %e %j", "Tue Tuesday Jan January 09  9 009" },
		{ "%I %p %y %C %u %w %U %V %W %G %g %q", "03 PM 24 20 2 2 01 02 02 2024 24 1" },
		{ "%s %z %Z %:z %::z %:::z", "1704812643 +0000 UTC +00:00 +00:00:00 +00" },
		{ "%F %T %D %R %c %v", "2024-01-09 15:04:03 01/09/24 15:04 Tue Jan  9 15:04:03 2024  9-Jan-2024" },
		{ "%% %Q %.1f % %", "% %Q %.1f % %" },
		{ "%f %.f %.3f %.6f %.9f %3f %6f", "026490708 .026490708 .026 .026490 .026490708 026 026490" },
		{ "%-d %_d %0d %-m %_j %0e %-y", "9  9 09 1   9 09 24" },
		{ "%Y%m%d-%H%M%S%.f", "20240109-150403.026490708" },
	};
	struct buf b = { 0 };
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		buf_clear(&b);
		assert_int_equal(time_put_strftime_ns(&b, slice_from_cstr(cases[i][0]), (struct time_ns){ 1704812643, 26490708 }, 0), 0);
		assert_string_equal(buf_cstr(&b), cases[i][1]);
	}
	buf_clear(&b);
	assert_int_equal(time_put_strftime_ns(&b, SLICE("%Y|%y|%C|%F|%G"), (struct time_ns){ 253370764800 + 86400, 0 }, 0), 0);
	assert_string_equal(buf_cstr(&b), "9999|99|99|9999-01-02|9998");
	assert_int_equal(time_put_strftime_ns(&b, SLICE("%Y"), (struct time_ns){ INT64_MAX, 0 }, 0), -E_INVAL);
	buf_fini(&b);
}

static void test_duration(void **state)
{
	static const char *const cases[][2] = {	/* text; what it prints as, or "!" and the error */
		{ "0", "0s" }, { "007s", "7s" }, { "1.5h", "1h 30m" }, { "1h30m", "1h 30m" }, { " 2 days 3 us ", "2days 3us" }, { "1w", "7days" },
		{ "2\xc2\xb5s", "2us" }, { "M", "!expected number at 0" }, { "1M", "1month" }, { "2y", "2years" }, { "9223372036s", "292years 3months 7days 16h 6m 28s" },
		{ ".5s", "!expected number at 0" }, { "1.s", "!invalid character at 1" }, { "-5s", "!expected number at 0" },
		{ "1_000s", "!invalid character at 1" }, { "5 s s", "!expected number at 4" }, { "", "!value was empty" }, { "  ", "!value was empty" },
		{ "5", "!time unit needed, for example 5sec or 5ms" }, { "1.5ns", "!number is too large or cannot be represented without a lack of precision (values below 1ns are not supported)" },
		{ "99999999999999999999s", "!number is too large or cannot be represented without a lack of precision (values below 1ns are not supported)" },
		{ "1H", "!unknown time unit \"H\", supported units: ns, us/\xc2\xb5s, ms, sec, min, hours, days, weeks, months, years (and few variations)" },
	};
	struct buf b = { 0 };
	int64_t ns;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		buf_clear(&b);
		if (duration_parse(slice_from_cstr(cases[i][0]), &ns) < 0)
			buf_printf(&b, "!%s", err_text());
		else
			duration_put(&b, ns);
		assert_string_equal(buf_cstr(&b), cases[i][1]);
	}
	buf_clear(&b);
	duration_put_parts(&b, 34277677, 1002003);
	assert_string_equal(buf_cstr(&b), "1year 1month 1day 1h 1m 1s 1ms 2us 3ns");
	assert_int_equal(duration_parse(SLICE("9223372036854775s"), &ns), 0);
	assert_true(ns == INT64_MAX);
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rfc3339), cmocka_unit_test(test_rfc2822), cmocka_unit_test(test_put), cmocka_unit_test(test_strftime),
		cmocka_unit_test(test_duration),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
