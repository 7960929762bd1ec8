/* SPDX-License-Identifier: Apache-2.0 */
/* Policies and records as texts; which of them is in force as DNS and the web server change; what mail exchangers are left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>
#include "mailauth/mta_sts.h"
#include "rt/loop.h"

#define TEXT(mode, mx) "version: STSv1\r\nmode: " mode "\r\n" mx "max_age: 86400\r\n"

static const char *parse(const char *text)
{
	struct mta_sts_policy *p;
	if (mta_sts_policy_parse(slice_from_cstr(text), &p) < 0)
		return err_text();
	mta_sts_policy_unref(&p);
	return "fine";
}

static void test_policies(void **state)
{
	assert_string_equal(parse(TEXT("enforce", "mx: a.example\r\n")), "fine");
	assert_string_equal(parse("max_age:0\n\nversion :STSv1\nmode: none\nextra: x"), "fine");
	assert_string_equal(parse("version: STSv2\n"), "STS policy version: STSv2\n has incompatible STS version");
	assert_string_equal(parse("version: STSv1\nmode: Testing\n"), "STS policy version: STSv1\nmode: Testing\n has invalid mode");
	assert_string_equal(parse("mode: none\n"), "STS policy mode: none\n is missing a version");
	assert_string_equal(parse("version: STSv1\nmode: testing\nmax_age: 1\n"), "STS policy version: STSv1\nmode: testing\nmax_age: 1\n is missing required mx");
	assert_string_equal(parse("version: STSv1\nmode: none\n"), "STS policy version: STSv1\nmode: none\n is missing required max_age");
	assert_string_equal(parse("version: STSv1\nmode: none\nmax_age: 1\nmax_age: 1\n"), "STS policy version: STSv1\nmode: none\nmax_age: 1\nmax_age: 1\n has invalid max_age");
	assert_string_equal(parse("x"), "invalid STS policy x: expected `name: value` lines");
	assert_non_null(strstr(parse("version: STSv1\nmode: none\nmax_age: -1\n"), "has max_age -1 that is not a valid integer"));
}

static void test_patterns(void **state)
{
	static const struct { const char *host; bool permitted; } HOSTS[] = {
		{ "mx.a.example.", true }, { "MX.A.example", true }, { "a.example", false }, { "x.b.example.", true }, { "x.y.b.example.", false },
		{ "b.example.", false }, { ".b.example.", false }, { "xb.example", false }, { "", false }, { ".", false },
	};
	struct mta_sts_policy *p;
	assert_int_equal(mta_sts_policy_parse(SLICE(TEXT("enforce", "mx: MX.a.example\r\nmx: *.b.example\r\n")), &p), 0);
	for (size_t i = 0; i < ARRAY_LEN(HOSTS); i++)
		assert_int_equal(mta_sts_policy_permits(p, slice_from_cstr(HOSTS[i].host)), HOSTS[i].permitted);
	mta_sts_policy_unref(&p);
}

static void test_records(void **state)
{
	static const struct { const char *txt; int rc; } RECORDS[] = {
		{ "v=STSv1; id=20190429T010101;", 0 }, { "v=STSv1;id=1", 0 }, { "v=STSv1 ; x=y; id=1", 0 }, { "v=STSv1", -E_INVAL }, { "v=STSv1; id=;", -E_INVAL },
		{ "v=STSv1; id=a-b", -E_INVAL }, { "v=STSv1; id=123456789012345678901234567890123", -E_INVAL }, { "v=spf1 -all", -E_NOENT }, { "", -E_NOENT },
		{ "v=STSv10; id=1", -E_NOENT }, { "id=1; v=STSv1", -E_NOENT },
	};
	struct slice id;
	for (size_t i = 0; i < ARRAY_LEN(RECORDS); i++)
		assert_int_equal(mta_sts_record_parse(slice_from_cstr(RECORDS[i].txt), &id), RECORDS[i].rc);
}

/* ---- over time ---- */

static struct world {
	const char *txt[3];	/* NULL: no more */
	const char *policy;	/* NULL: the server is away */
	int fetches;
} world;

static int world_lookup(void *arg, struct slice name, enum dns_type type, struct arena *a, struct auth_rrs *out)
{
	*out = (struct auth_rrs){ .status = world.txt[0] ? DNS_OK : DNS_NXDOMAIN, .rrs = arena_alloc(a, 3 * sizeof *out->rrs) };
	assert_true(slice_eq_cstr(name, "_mta-sts.d.example."));
	while (out->n < 3 && world.txt[out->n] != NULL) {
		out->rrs[out->n].data = slice_from_cstr(world.txt[out->n]);
		out->n++;
	}
	return 0;
}

static int world_fetch(void *arg, const char *url, struct buf *out)
{
	assert_string_equal(url, "https://mta-sts.d.example/.well-known/mta-sts.txt");
	world.fetches++;
	if (world.policy == NULL)
		return err_set(E_IO, "away");
	buf_cstr_put(out, world.policy);
	return 0;
}

static void expect(int want, enum mx_sts mode, int fetches)
{
	const struct mta_sts_source src = { .dns = { world_lookup, NULL }, .fetch = world_fetch };
	struct mta_sts_policy *p = NULL;
	assert_int_equal(mta_sts_policy_of(SLICE("d.example"), &src, &p), want);
	assert_int_equal(p == NULL, want < 0);
	if (p != NULL)
		assert_int_equal(p->mode, mode);
	assert_int_equal(world.fetches, fetches);
	mta_sts_policy_unref(&p);
}

static void run_over_time(void)
{
	expect(-E_NOENT, 0, 0);
	world.txt[0] = "v=spf1 -all";
	expect(-E_NOENT, 0, 0);
	world.txt[1] = "v=STSv1; id=1;";
	expect(-E_IO, 0, 1);
	world.policy = "nonsense";
	expect(-E_INVAL, 0, 2);
	world.txt[2] = "v=STSv1; id=2;";	/* two records are none */
	expect(-E_INVAL, 0, 2);
	world.txt[2] = NULL;
	world.policy = TEXT("testing", "mx: mx.d.example\r\n");
	expect(0, MX_STS_TESTING, 3);
	expect(0, MX_STS_TESTING, 3);	/* kept */
	world.txt[1] = "v=STSv1; id=2;";
	world.policy = NULL;
	expect(0, MX_STS_TESTING, 4);	/* the new one cannot be had: the old one holds */
	world.policy = TEXT("enforce", "mx: mx.d.example\r\n");
	expect(0, MX_STS_ENFORCE, 5);
	world.txt[0] = NULL;
	expect(0, MX_STS_ENFORCE, 5);	/* a record that vanishes does not end it */
}

static void set_tests(void)
{
	struct arena *a = arena_create();
	struct val v = val_obj(), broken = val_obj();
	val_put(a, &v, SLICE("e.example"), val_cstr(a, TEXT("enforce", "mx: *.e.example\r\n")));
	val_put(a, &v, SLICE("t.example"), val_cstr(a, TEXT("testing", "mx: nowhere.example\r\n")));
	val_put(a, &v, SLICE("bad.example"), val_cstr(a, TEXT("enforce", "mx: nowhere.example\r\n")));
	assert_int_equal(mta_sts_set_test(&v), 0);
	val_put(a, &broken, SLICE("e.example"), val_cstr(a, "nonsense"));
	assert_int_equal(mta_sts_set_test(&broken), -E_INVAL);
	arena_destroy(&a);
}

static const char *check(const char *domain)
{
	static char s[16];
	const struct mx_host hosts[] = { { 10, SLICE_INIT("mx.e.example.") }, { 20, SLICE_INIT("mx2.e.example.:26") }, { 30, SLICE_INIT("other.example.") } };
	bool keep[3] = { true, true, true };
	enum mx_sts mode = MX_STS_NONE;
	int64_t age = 0;
	if (mta_sts_check(slice_from_cstr(domain), hosts, 3, keep, &mode, &age) < 0)
		return err_text();
	snprintf(s, sizeof s, "%d %d%d%d", (int)mode, keep[0], keep[1], keep[2]);
	return s;
}

static void run_check(void)
{
	set_tests();
	assert_string_equal(check("e.example."), "2 110");
	assert_string_equal(check("t.example."), "1 111");
	assert_string_equal(check("none.example."), "0 111");
	assert_string_equal(check("bad.example."), "MTA-STS enforce policy for bad.example permits none of its MX hosts [\"mx.e.example.\", \"mx2.e.example.:26\", \"other.example.\"]; "
			    "allowed mx patterns: [\"nowhere.example\"]. The destination is undeliverable until its MTA-STS policy is corrected.");
}

static void in_fiber(void *arg)
{
	mta_sts_register();
	run_over_time();
	run_check();
}

static void test_in_force(void **state)
{
	struct rt_conf conf = { .shards = 1, .offload_threads = 1 };
	assert_int_equal(rt_init(&conf), 0);
	rt_run(in_fiber, NULL);
	rt_fini();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_policies), cmocka_unit_test(test_patterns), cmocka_unit_test(test_records), cmocka_unit_test(test_in_force),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
