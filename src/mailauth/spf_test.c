/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "mailauth/spf_int.h"
#include "mailauth/test_zone.h"

static struct arena *A;
static int setup(void **st) { A = arena_create(); return 0; }
static int teardown(void **st) { arena_destroy(&A); return 0; }

static struct spf_result run(const struct val *zone, struct slice ip, struct slice from, struct slice helo)
{
	struct spf_query q = { .domain = helo, .sender = from.len ? from : SLICE_NONE, .helo = helo, .receiver = SLICE("receiver.example"), .now_s = 1700000000,
			       .dns = test_zone_dns(zone) };
	struct spf_result r;
	assert_int_equal(ipaddr_parse(ip, &q.ip), 0);
	ptrdiff_t at = slice_rchr(from, '@');
	if (from.len > 0)
		q.domain = slice_sub(from, at + 1, SIZE_MAX);
	assert_int_equal(spf_check(&q, A, &r), 0);
	return r;
}

static void test_own(void **st)
{
	struct val zone;
	assert_int_equal(json_parse(SLICE("{\"a.example\":[{\"TXT\":\"v=spf1 ip4:192.0.2.0/24 a:h.example include:b.example -all exp=why.example\"}],\"why.example\":[{\"TXT\":\"%{i} may not, %{S}\"}],"
					  "\"h.example\":[{\"A\":\"198.51.100.1\"}],\"b.example\":[{\"TXT\":\"v=spf1 ip6:2001:db8::/32 ~all\"}]}"), A, &zone), 0);
	static const struct { const char *ip; enum spf_disposition d; const char *reason; } ROWS[] = {
		{ "192.0.2.7", SPF_PASS, "matched 'ip4:192.0.2.0/24' directive" }, { "198.51.100.1", SPF_PASS, "matched 'a:h.example' directive" },
		{ "2001:db8::9", SPF_PASS, "matched 'include:b.example' directive" }, { "203.0.113.1", SPF_FAIL, "203.0.113.1 may not, s%40a.example" },
		{ "::ffff:192.0.2.7", SPF_PASS, "matched 'ip4:192.0.2.0/24' directive" },
	};
	for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
		struct spf_result r = run(&zone, slice_from_cstr(ROWS[i].ip), SLICE("s@a.example"), SLICE("helo.example"));
		assert_int_equal(r.disposition, ROWS[i].d);
		if (!slice_eq_cstr(r.reason, ROWS[i].reason))
			fail_msg("%.*s", SLICE_ARG(r.reason));
	}
	assert_int_equal(run(&zone, SLICE("192.0.2.7"), SLICE("s@none.example"), SLICE("x")).disposition, SPF_NONE);
}

static void test_syntax(void **st)
{
	static const char *const GOOD[] = { "v=spf1", "v=spf1 a/24//64 mx:x.example/0 ptr exists:%{ir}.%{l1r-}.x.example unknown=%{s}", "v=spf1 a:x.example%%%_%-.y.example" };
	static const char *const BAD[] = { "v=spf1 a/33", "v=spf1 ip4:1.2.3", "v=spf1 all:x", "v=spf1 include", "v=spf1 a:%{z}", "v=spf1 a:x.example-", "v=spf1 redirect=a.b redirect=a.b", "v=spf1 -",
					   "v=spf1 a:%(s)", "v=spf1 ip4:1.2.3.4/032", "v=spf1 foo", "v=spf1 a:museum", "v=spf1 a:x.123" };
	struct spf_record r;
	for (size_t i = 0; i < ARRAY_LEN(GOOD); i++)
		if (spf_record_parse(slice_from_cstr(GOOD[i]), A, &r) < 0)
			fail_msg("%s: %s", GOOD[i], err_text());
	for (size_t i = 0; i < ARRAY_LEN(BAD); i++)
		if (spf_record_parse(slice_from_cstr(BAD[i]), A, &r) == 0)
			fail_msg("%s", BAD[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_own), cmocka_unit_test(test_syntax) };
	return cmocka_run_group_tests(tests, setup, teardown);
}
