/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ARC against the suite of ValiMail: chains to judge, and messages to seal. Of a seal of ours the tags must be the suite's; the signatures
 * are over other line breaks, so they are judged by verifying the sealed message.
 */
#include "mailauth/arc.h"
#include "mailauth/test_zone.h"
#include "suite.h"

static const struct suite_exception EXCEPTIONS[] = {
	{ "ams_fields_c_na", "without c= the suite's signer took relaxed; RFC 8617 4.1.2 leaves it to RFC 6376, where it is simple" },
	{ "i1_base_fail", "a broken chain gets no seal with cv=fail: KumoMTA adds nothing to it" },
	{ "i2_base_fail", "the same" },
	{ NULL }
};

static struct arena *A;
static struct suite S = { .exceptions = EXCEPTIONS };

static struct val zone_of(const struct val *records)
{
	struct val zone = val_obj();
	for (uint32_t i = 0; i < records->n; i++)
		test_zone_put_txt(&zone, records->members[i].key, records->members[i].val.s, A);
	return zone;
}

static struct arc_chain *verify(struct slice msg, const struct val *zone)
{
	struct dkim_verify_opts o = { .dns = test_zone_dns(zone), .now_s = 12345 };
	struct arc_chain *c = arena_alloc(A, sizeof *c);
	if (arc_verify(msg, &o, A, c) < 0)
		*c = (struct arc_chain){ .status = ARC_FAIL, .reason = arena_strdup(A, slice_from_cstr(err_text())) };
	return c;
}

/* --- judging ---------------------------------------------------------------------------------------------------------------------- */

static void run_validation(struct slice name, const struct val *t, const struct val *scenario)
{
	static const char *const STATUS[] = { [ARC_NONE] = "none", [ARC_PASS] = "pass", [ARC_FAIL] = "fail" };
	struct val zone = zone_of(val_get_lit(scenario, "txt-records"));
	struct slice want = val_get_str(t, SLICE("cv"));
	struct arc_chain *c = verify(suite_crlf(val_get_str(t, SLICE("message")), A), &zone);
	if (want.len > 0)
		suite_case(&S, name, slice_eq_nocase(want, slice_from_cstr(STATUS[c->status])), "wanted %.*s, got %s (%s)", SLICE_ARG(want), STATUS[c->status],
			   c->reason != NULL ? c->reason : "");
}

/* --- sealing ------------------------------------------------------------------------------------------------------------------------- */

/* Without comments and white space. */
static struct slice squeezed(struct slice s)
{
	struct buf b = { 0 };
	for (size_t i = 0, depth = 0; i < s.len; i++) {
		depth += s.ptr[i] == '(';
		if (depth == 0 && !ascii_is_space(s.ptr[i]))
			buf_putc(&b, s.ptr[i]);
		depth -= s.ptr[i] == ')' && depth > 0;
	}
	struct slice r = arena_dup(A, buf_view(&b));
	buf_fini(&b);
	return r;
}

/* What a relay would say that it found: the results that this host has written into MSG already. */
static struct val results_of(struct slice msg, struct slice host)
{
	struct val out = val_obj(), list = val_list(), one;
	struct mail_header h;
	while (mail_header_next(&msg, &h) == 1) {
		if (!slice_eq_nocase(h.name, SLICE("Authentication-Results")) || mail_parse_auth_results(h.value, A, &one) < 0 ||
		    !slice_eq(val_get_str(&one, SLICE("serv_id")), host))
			continue;
		const struct val *results = val_get_lit(&one, "results");
		for (uint32_t i = 0; results != NULL && i < results->n; i++)
			val_push(A, &list, results->items[i]);
	}
	val_put_lit(A, &out, "serv_id", val_str(A, host));
	val_put_lit(A, &out, "results", list);
	return out;
}

static struct dkim_signer *make_signer(const struct val *t, const struct val *scenario)
{
	struct slice names[32], rest = val_get_str(t, SLICE("sig-headers"));
	struct dkim_signer_opts o = { val_get_str(scenario, SLICE("domain")), val_get_str(scenario, SLICE("sel")), names, 0, DKIM_RELAXED, DKIM_RELAXED, false, 0 };
	struct tls_key *key;
	struct dkim_signer *s;
	while (o.n_headers < ARRAY_LEN(names) && slice_split_next(&rest, ':', &names[o.n_headers]))
		o.n_headers++;
	if (tls_key_load_private(val_get_str(scenario, SLICE("privatekey")), &key) < 0 || dkim_signer_create(&o, key, &s) < 0) {
		printf("%s\n", err_text());
		exit(1);
	}
	tls_key_unref(&key);
	return s;
}

static bool same_names(struct slice a, struct slice b)
{
	struct slice rest = a, name, other;
	while (slice_split_next(&rest, ':', &name)) {
		bool found = false;
		for (struct slice r = b; slice_split_next(&r, ':', &other);)
			found |= slice_eq_nocase(name, other);
		if (!found)
			return false;
	}
	return a.len == b.len;
}

static bool same_tags(struct slice want_text, struct slice got_text)
{
	struct auth_tags want, got;
	if (auth_tags_parse(want_text, A, &want) < 0 || auth_tags_parse(got_text, A, &got) < 0 || want.n != got.n)
		return false;
	for (uint32_t i = 0; i < want.n; i++) {
		struct slice w = want.tags[i].value, g = auth_tag_value(&got, arena_strdup(A, want.tags[i].name));
		if (slice_eq_cstr(want.tags[i].name, "h") ? !same_names(w, g) : !slice_eq_cstr(want.tags[i].name, "b") && !slice_eq(w, g))
			return false;
	}
	return true;
}

/* NULL: the three fields are as wanted, and the chain with them holds. */
static const char *seal_fault(struct slice fields, const struct val *t, struct slice msg, const struct val *zone)
{
	struct slice as = val_get_str(t, SLICE("AS")), sealed = arena_slicef(A, "%.*s%.*s", SLICE_ARG(fields), SLICE_ARG(msg));
	struct mail_header aar, ams, seal;
	if (as.len == 0)
		return fields.len > 0 ? "a seal" : NULL;
	if (fields.len == 0)
		return "no seal";
	if (mail_header_next(&fields, &aar) != 1 || mail_header_next(&fields, &ams) != 1 || mail_header_next(&fields, &seal) != 1)
		return "three fields are none";
	if (!slice_eq(squeezed(aar.value), squeezed(val_get_str(t, SLICE("AAR")))))
		return "other results";
	if (!same_tags(val_get_str(t, SLICE("AMS")), ams.value))
		return "other tags of the message signature";
	if (!same_tags(as, seal.value))
		return "other tags of the seal";
	return verify(sealed, zone)->status == ARC_PASS ? NULL : "the chain does not verify";
}

static void run_signing(struct slice name, const struct val *t, const struct val *scenario)
{
	struct val zone = zone_of(val_get_lit(scenario, "txt-records"));
	struct slice msg = suite_crlf(val_get_str(t, SLICE("message")), A);
	struct val results = results_of(msg, val_get_str(t, SLICE("srv-id")));
	struct dkim_signer *s = make_signer(t, scenario);
	struct buf b = { 0 };
	const char *fault = arc_seal(msg, verify(msg, &zone), s, &results, val_get_lit(t, "t")->i, A, &b) < 0 ? err_text() : seal_fault(buf_view(&b), t, msg, &zone);
	suite_case(&S, name, fault == NULL, "%s\n%.*s", fault, SLICE_ARG(buf_view(&b)));
	buf_fini(&b);
	dkim_signer_unref(&s);
}

static void run_all(const char *file, void (*run)(struct slice name, const struct val *t, const struct val *scenario))
{
	struct val scenarios = suite_json(S.folder, file, A);
	for (uint32_t i = 0; i < scenarios.n; i++) {
		const struct val *tests = val_get_lit(&scenarios.items[i], "tests");
		for (uint32_t k = 0; k < tests->n; k++)
			run(tests->members[k].key, &tests->members[k].val, &scenarios.items[i]);
	}
}

int main(int argc, char **argv)
{
	S.folder = suite_folder(argc, argv, "arc/valimail");
	if (S.folder == NULL)
		return SUITE_SKIP;
	A = arena_create();
	run_all("arc-draft-validation-tests.json", run_validation);
	run_all("arc-draft-sign-tests.json", run_signing);
	arena_destroy(&A);
	return suite_end(&S, 150);
}
