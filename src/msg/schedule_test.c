/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include "base/timefmt.h"
#include "msg/msg.h"
#include "msg/tz.h"

static int64_t at(const char *text)
{
	int64_t us;
	assert_int_equal(time_parse_rfc3339(slice_from_cstr(text), &us), 0);
	return us;
}

static int parse(const char *json, struct msg_schedule *s)
{
	struct arena *a = arena_create();
	struct val v;
	assert_int_equal(json_parse(slice_from_cstr(json), a, &v), 0);
	int rc = msg_schedule_parse(&v, s);
	arena_destroy(&a);
	return rc;
}

#define HOURS(dow, tz) "{\"dow\":\"" dow "\",\"tz\":\"" tz "\",\"start\":\"09:00:00\",\"end\":\"17:00:00\"}"

static void check_adjust(const char *schedule, const char *from, const char *to)
{
	struct msg_schedule s;
	assert_int_equal(parse(schedule, &s), 0);
	assert_int_equal(msg_schedule_adjust(&s, at(from)) - at(to), 0);
	assert_int_equal(msg_schedule_adjust(&s, at(to)) - at(to), 0);	/* that is inside the window */
}

static void test_adjust(void **state)
{
	check_adjust("{\"first_attempt\":\"2023-03-20T16:39:57-08:00\"}", "2023-03-20T08:00:00-08:00", "2023-03-20T16:39:57-08:00");
	/* a Tuesday goes to Wednesday; Monday after hours to Friday; inside the window nothing moves */
	check_adjust(HOURS("Mon,Wed", "America/Phoenix"), "2023-03-28T08:00:00-08:00", "2023-03-29T09:00:00-07:00");
	check_adjust(HOURS("Monday,fri", "America/Phoenix"), "2023-03-27T18:00:00-08:00", "2023-03-31T09:00:00-07:00");
	check_adjust(HOURS("Mon", "UTC"), "2023-03-27T16:59:59Z", "2023-03-27T16:59:59Z");
	check_adjust(HOURS("Mon", "UTC"), "2023-03-27T17:00:00Z", "2023-04-03T09:00:00Z");
	/* far in the future the zone's rules apply: summer time in 2050 */
	check_adjust(HOURS("Mon,Tue,Wed,Thu,Fri,Sat,Sun", "Europe/Amsterdam"), "2050-07-01T00:00:00Z", "2050-07-01T07:00:00Z");
	check_adjust(HOURS("Mon,Tue,Wed,Thu,Fri,Sat,Sun", "Europe/Amsterdam"), "2050-01-01T00:00:00Z", "2050-01-01T08:00:00Z");
	check_adjust(HOURS("Mon,Tue,Wed,Thu,Fri,Sat,Sun", "Australia/Sydney"), "2050-01-01T12:00:00Z", "2050-01-01T22:00:00Z");
	check_adjust(HOURS("Sat", "Asia/Kolkata"), "2024-06-07T12:00:00Z", "2024-06-08T03:30:00Z");
}

static void check_refused(const char *json, const char *text)
{
	struct msg_schedule s;
	assert_int_equal(parse(json, &s), -E_INVAL);
	assert_non_null(strstr(err_text(), text));
}

static void test_refused(void **state)
{
	check_refused("{\"dow\":\"Mon\"}", "scheduling restrictions requires all restriction fields to be present. tz, start, end are missing");
	check_refused("{\"dow\":\"Mon\",\"tz\":\"UTC\",\"start\":\"09:00\"}", "end is missing");
	check_refused(HOURS("Sumday", "UTC"), "dow: invalid day 'Sumday'");
	check_refused(HOURS("Mon", "PST"), "tz: 'PST'");
	check_refused(HOURS("Mon", "../etc/passwd"), "tz:");
	check_refused("{\"dow\":\"Mon\",\"tz\":\"UTC\",\"start\":\"25:00:00\",\"end\":\"17:00:00\"}", "start:");
	check_refused("{\"dow\":\"Mon\",\"tz\":\"UTC\",\"start\":\"21:10:49\",\"end\":\"20:57:49\"}", "start=21:10:49, end=20:57:49");
	check_refused("{\"first_attempt\":\"09:00:00\"}", "first_attempt");
	check_refused("{\"nope\":1}", "invalid field name nope");
	check_refused("1", "expected a table");
}

static void test_clock_change(void **state)
{
	const struct tz *z = tz_find(SLICE("Europe/Amsterdam"));
	int64_t utc;
	assert_non_null(z);
	assert_int_equal(tz_local_to_utc(z, at("2024-03-31T02:30:00Z") / USEC_PER_SEC, &utc), -E_INVAL);	/* skipped */
	assert_int_equal(tz_local_to_utc(z, at("2024-10-27T02:30:00Z") / USEC_PER_SEC, &utc), -E_INVAL);	/* twice */
	assert_int_equal(tz_local_to_utc(z, at("2024-10-27T03:30:00Z") / USEC_PER_SEC, &utc), 0);
	assert_int_equal(utc, at("2024-10-27T02:30:00Z") / USEC_PER_SEC);
	assert_int_equal(tz_local_to_utc(z, at("2060-10-31T02:30:00Z") / USEC_PER_SEC, &utc), -E_INVAL);	/* by the rules: the last Sunday */
	assert_int_equal(tz_offset_at(tz_find(SLICE("America/New_York")), at("1900-01-01T00:00:00Z") / USEC_PER_SEC), -18000);
	assert_null(tz_find(SLICE("zone.tab")));
	assert_null(tz_find(SLICE("Mars/Olympus")));
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_adjust), cmocka_unit_test(test_refused), cmocka_unit_test(test_clock_change) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
