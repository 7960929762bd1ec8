/* SPDX-License-Identifier: Apache-2.0 */
/* DMARC by a zone in a table: which record is found, what is aligned, what follows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "mailauth/dmarc.h"

/* A text "!" is a failed lookup. */
static const struct { const char *name, *text; } ZONE[] = {
	{ "_dmarc.reject.example.com", "v=DMARC1; p=quarantine" },
	{ "_dmarc.example.com", "v=DMARC1; p=reject; sp=none; rua=mailto:x@example.com; unknown=1" },
	{ "_dmarc.example.org", "v=DMARC1;p=none" },
	{ "_dmarc.strict.net", "v=DMARC1; p=reject; adkim=s; aspf=S" },
	{ "_dmarc.half.net", "v=DMARC1; p=reject; pct=50" },
	{ "_dmarc.two.net", "some other text" }, { "_dmarc.two.net", "v=DMARC1; p=perhaps" }, { "_dmarc.two.net", "v=DMARC1; p=Quarantine;" },
	{ "_dmarc.bad.net", "v=DMARC1; rua=mailto:x@bad.net" }, { "_dmarc.bad2.net", "v=DMARC1; p=reject; pct=101" }, { "_dmarc.bad3.net", "v=DMARC1; p=reject; adkim=x" },
	{ "_dmarc.broken.net", "!" }, { "_dmarc.example.co.uk", "v=DMARC1; p=reject" },
};

static int lookup(void *arg, struct slice name, enum dns_type type, struct arena *a, struct auth_rrs *out)
{
	*out = (struct auth_rrs){ .status = DNS_NXDOMAIN, .rrs = arena_alloc(a, sizeof *out->rrs * ARRAY_LEN(ZONE)) };
	for (size_t i = 0; i < ARRAY_LEN(ZONE) && type == DNS_TXT; i++) {
		if (!slice_eq_cstr(name, ZONE[i].name))
			continue;
		out->status = strcmp(ZONE[i].text, "!") == 0 ? DNS_FAIL : DNS_OK;
		if (out->status == DNS_OK)
			out->rrs[out->n++] = (struct dns_rr){ .data = slice_from_cstr(ZONE[i].text) };
	}
	return 0;
}

static struct val parsed(struct arena *a, const char *json)
{
	struct val v;

	assert_int_equal(json_parse(slice_from_cstr(json), a, &v), 0);
	return v;
}

#define NO "{\"result\":\"none\"}"
#define SPF(domain) "{\"result\":\"pass\",\"props\":{\"smtp.mailfrom\":\"x@" domain "\"}}"
#define DKIM(domain) "[{\"result\":\"fail\",\"props\":{\"header.d\":\"zz.example\"}},{\"result\":\"pass\",\"props\":{\"header.d\":\"" domain "\"}}]"

static const struct {
	const char *from, *dkim, *spf;
	unsigned draw;
	const char *disposition, *reason;
} CASES[] = {
	{ "example.com", DKIM("mail.example.com"), NO, 0, "Pass", "Success" },
	{ "Example.COM.", "[]", SPF("bounce.example.com"), 0, "Pass", "Success" },
	{ "example.com", "[]", NO, 0, "Reject", "No aligned DKIM or SPF" },
	{ "example.com", DKIM("other.com"), NO, 0, "Reject", "DMARC: DKIM relaxed check failed" },
	{ "example.com", DKIM("other.com"), SPF("other.com"), 0, "Reject", "DMARC: SPF relaxed check failed" },
	{ "example.com", "[{\"result\":\"pass\"}]", NO, 0, "Reject", "DMARC: DKIM signature missing 'd=' tag" },
	{ "example.com", "[]", "{\"result\":\"pass\",\"props\":{\"smtp.mailfrom\":\"\",\"smtp.helo\":\"mta.example.com\"}}", 0, "Pass", "Success" },
	{ "sub.example.com", "[]", NO, 0, "None", "No aligned DKIM or SPF" },
	{ "reject.example.com", "[]", NO, 0, "Quarantine", "No aligned DKIM or SPF" },
	{ "example.org", "[]", NO, 0, "None", "No aligned DKIM or SPF" },
	{ "a.example.co.uk", DKIM("b.example.co.uk"), NO, 0, "Pass", "Success" },
	{ "a.example.co.uk", DKIM("other.co.uk"), NO, 0, "Reject", "DMARC: DKIM relaxed check failed" },
	{ "strict.net", DKIM("sub.strict.net"), NO, 0, "Reject", "DMARC: DKIM strict check failed" },
	{ "strict.net", "[]", SPF("sub.strict.net"), 0, "Reject", "DMARC: SPF strict check failed" },
	{ "strict.net", DKIM("strict.net"), NO, 0, "Pass", "Success" },
	{ "half.net", "[]", NO, 49, "Reject", "No aligned DKIM or SPF" },
	{ "half.net", "[]", NO, 50, "Pass", "sampled_out due to pct=50" },
	{ "two.net", "[]", NO, 0, "Quarantine", "No aligned DKIM or SPF" },
	{ "bad.net", "[]", NO, 0, "PermError", "no DMARC records found for bad.net" },
	{ "bad2.net", "[]", NO, 0, "PermError", "no DMARC records found for bad2.net" },
	{ "bad3.net", "[]", NO, 0, "PermError", "no DMARC records found for bad3.net" },
	{ "broken.net", "[]", NO, 0, "TempError", "no DMARC records found for broken.net" },
	{ "a.broken.net", "[]", NO, 0, "TempError", "DNS records could not be resolved for _dmarc.broken.net" },
	{ "a.nothing.net", "[]", NO, 0, "PermError", "no DMARC records found for _dmarc.nothing.net" },
	{ "com", "[]", NO, 0, "None", "no DMARC records found for com" },
};

static void test_cases(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
		struct arena *a = arena_create();
		struct val dkim = parsed(a, CASES[i].dkim), spf = parsed(a, CASES[i].spf);
		struct dmarc_query q = { .from_domain = slice_from_cstr(CASES[i].from), .dkim = &dkim, .spf = &spf, .draw = CASES[i].draw, .dns = { lookup, NULL } };
		struct dmarc_result r;

		assert_int_equal(dmarc_check(&q, a, &r), 0);
		if (strcmp(dmarc_disposition_name(r.disposition), CASES[i].disposition) != 0 || !slice_eq_cstr(r.reason, CASES[i].reason))
			fail_msg("case %zu (%s): %s, %.*s", i, CASES[i].from, dmarc_disposition_name(r.disposition), SLICE_ARG(r.reason));
		arena_destroy(&a);
	}
}

static void test_the_tags_are_shown(void **state)
{
	struct arena *a = arena_create();
	struct val none = val_list(), spf = val_obj();
	struct dmarc_query q = { .from_domain = SLICE("example.com"), .dkim = &none, .spf = &spf, .dns = { lookup, NULL } };
	struct dmarc_result r;
	struct buf b = { 0 };

	assert_int_equal(dmarc_check(&q, a, &r), 0);
	json_put(&b, &r.props, JSON_SORTED);
	assert_string_equal(buf_cstr(&b), "{\"policy.p\":\"reject\",\"policy.rua\":\"mailto:x@example.com\",\"policy.sp\":\"none\",\"policy.unknown\":\"1\"}");
	buf_fini(&b);
	arena_destroy(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_cases), cmocka_unit_test(test_the_tags_are_shown) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
