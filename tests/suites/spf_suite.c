/* SPDX-License-Identifier: Apache-2.0 */
/* SPF against the suite of RFC 7208, in the version that comes with pyspf: results, and explanations of those that fail. */
#include "mailauth/spf.h"
#include "mailauth/test_zone.h"
#include "suite.h"

static bool accepted(const struct val *want, const char *got)
{
	if (want->type == VAL_STR)
		return slice_eq_cstr(want->s, got);
	for (uint32_t i = 0; i < want->n; i++)
		if (slice_eq_cstr(want->items[i].s, got))
			return true;
	return false;
}

static bool explained(const struct val *want, const struct spf_result *r)
{
	if (want == NULL || want->type != VAL_STR || r->disposition != SPF_FAIL)
		return true;
	return slice_eq_cstr(want->s, "DEFAULT") ? !r->explained : slice_eq(want->s, r->reason);
}

static void run_test(struct suite *s, const struct val *zone, struct slice name, const struct val *t, struct arena *a)
{
	struct slice from = val_get_str(t, SLICE("mailfrom")), helo = val_get_str(t, SLICE("helo"));
	struct spf_query q = { .domain = helo, .sender = from.len > 0 ? from : SLICE_NONE, .helo = helo, .receiver = SLICE("receiver.example"), .now_s = 1700000000,
			       .dns = test_zone_dns(zone) };
	struct spf_result r;
	if (from.len > 0)
		q.domain = slice_sub(from, slice_rchr(from, '@') + 1, SIZE_MAX);
	if (ipaddr_parse(val_get_str(t, SLICE("host")), &q.ip) < 0 || spf_check(&q, a, &r) < 0) {
		suite_case(s, name, false, "%s", err_text());
		return;
	}
	const char *got = spf_disposition_name(r.disposition);
	suite_case(s, name, accepted(val_get_lit(t, "result"), got) && explained(val_get_lit(t, "explanation"), &r), "%s (%.*s)", got, SLICE_ARG(r.reason));
}

int main(int argc, char **argv)
{
	struct suite s = { .folder = suite_folder(argc, argv, "spf/pyspf") };
	if (s.folder == NULL)
		return SUITE_SKIP;
	struct arena *a = arena_create();
	struct val scenarios = suite_json(s.folder, "rfc7208-tests.json", a);
	for (uint32_t i = 0; i < scenarios.n; i++) {
		const struct val *tests = val_get_lit(&scenarios.items[i], "tests");
		for (uint32_t k = 0; k < tests->n; k++)
			run_test(&s, val_get_lit(&scenarios.items[i], "zonedata"), tests->members[k].key, &tests->members[k].val, a);
	}
	arena_destroy(&a);
	return suite_end(&s, 200);
}
