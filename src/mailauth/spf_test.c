/* SPDX-License-Identifier: Apache-2.0 */
/* Own cases, and the suite of RFC 7208 where it is at hand ($SUITES/spf/pyspf/rfc7208-tests.json). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "codec/val.h"
#include "mailauth/spf.h"
#include "mailauth/spf_int.h"

static struct arena *A;
static int setup(void **st) { A = arena_create(); return 0; }
static int teardown(void **st) { arena_destroy(&A); return 0; }

/* --- a resolver over {"name": [{"TXT": "…"}, {"MX": [10, "x"]}, "TIMEOUT"]} ------------------------------------------------------ */

static const struct { const char *name; enum dns_type type; } TYPES[] = { { "A", DNS_A }, { "AAAA", DNS_AAAA }, { "MX", DNS_MX }, { "TXT", DNS_TXT }, { "PTR", DNS_PTR }, { "SPF", 99 }, { "CNAME", DNS_CNAME } };

/* The octets that a text of code points below 256 stands for. */
static struct slice octets(struct slice s)
{
	char *out = arena_alloc(A, s.len + 1);
	size_t n = 0;
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = s.ptr[i];
		if ((c == 0xc2 || c == 0xc3) && i + 1 < s.len)
			out[n++] = (char)((c << 6) | (s.ptr[++i] & 0x3f));
		else
			out[n++] = (char)c;
	}
	return slice_new(out, n);
}

static struct slice text_of(const struct val *v)
{
	struct buf b = { 0 };
	if (v->type == VAL_STR)
		return octets(v->s);
	for (uint32_t i = 0; v->type == VAL_LIST && i < v->n; i++)
		buf_slice(&b, v->items[i].s);
	struct slice s = octets(buf_view(&b));
	buf_fini(&b);
	return s;
}

static const struct val *zone_find(const struct val *zone, struct slice name)
{
	for (uint32_t i = 0; i < zone->n; i++)
		if (slice_eq_nocase(zone->members[i].key, name))
			return &zone->members[i].val;
	return NULL;
}

static bool has_type(const struct val *list, const char *type)
{
	for (uint32_t i = 0; i < list->n; i++)
		if (list->items[i].type == VAL_OBJ && val_get(&list->items[i], slice_from_cstr(type)) != NULL)
			return true;
	return false;
}

static void add_rr(struct auth_rrs *out, enum dns_type type, const struct val *v)
{
	struct dns_rr *rr = &out->rrs[out->n++];
	*rr = (struct dns_rr){ 0 };
	if (type == DNS_A || type == DNS_AAAA)
		assert_int_equal(ipaddr_parse(v->s, &rr->addr), 0);
	else if (type == DNS_MX)
		rr->name = v->items[1].s;
	else if (type == DNS_PTR)
		rr->name = v->s;
	else
		rr->data = text_of(v);
}

static int lookup(void *arg, struct slice name, enum dns_type type, struct arena *a, struct auth_rrs *out)
{
	const struct val *zone = arg, *list;
	if (slice_ends(name, SLICE(".")))
		name.len--;
	*out = (struct auth_rrs){ .status = DNS_NXDOMAIN };
	for (int hops = 0; (list = zone_find(zone, name)) != NULL && hops < 5; hops++) {
		struct slice alias = SLICE_NONE;
		out->status = DNS_NODATA;
		out->rrs = arena_alloc(a, (list->n + 1) * sizeof *out->rrs);
		bool txt = has_type(list, "TXT");
		for (uint32_t i = 0; i < list->n; i++) {
			const struct val *e = &list->items[i];
			if (e->type == VAL_STR && slice_eq_cstr(e->s, "TIMEOUT")) {
				if (out->n == 0)
					out->status = DNS_FAIL;
				continue;
			}
			for (size_t t = 0; t < ARRAY_LEN(TYPES); t++) {
				const struct val *v = val_get(e, slice_from_cstr(TYPES[t].name));
				if (v == NULL || (v->type == VAL_STR && slice_eq_cstr(v->s, "NONE")))
					continue;
				if (v->type == VAL_STR && slice_eq_cstr(v->s, "TIMEOUT")) {
					if (TYPES[t].type == type)
						out->status = DNS_FAIL;
					continue;
				}
				if (TYPES[t].type == DNS_CNAME)
					alias = v->s;
				if (TYPES[t].type == type || (TYPES[t].type == 99 && type == DNS_TXT && !txt))
					add_rr(out, type, v);
			}
		}
		if (out->n > 0)
			out->status = DNS_OK;
		if (out->n > 0 || alias.ptr == NULL)
			break;
		name = slice_ends(alias, SLICE(".")) ? slice_sub(alias, 0, alias.len - 1) : alias;
	}
	return 0;
}

static bool accepted(const struct val *want, const char *got)
{
	if (want->type == VAL_STR)
		return slice_eq_cstr(want->s, got);
	for (uint32_t i = 0; i < want->n; i++)
		if (slice_eq_cstr(want->items[i].s, got))
			return true;
	return false;
}

static struct spf_result run(const struct val *zone, struct slice ip, struct slice from, struct slice helo)
{
	struct spf_query q = { .domain = helo, .sender = from.len ? from : SLICE_NONE, .helo = helo, .receiver = SLICE("receiver.example"), .now_s = 1700000000,
			       .dns = { lookup, (void *)(uintptr_t)zone } };
	struct spf_result r;
	assert_int_equal(ipaddr_parse(ip, &q.ip), 0);
	ptrdiff_t at = slice_rchr(from, '@');
	if (from.len > 0)
		q.domain = slice_sub(from, at + 1, SIZE_MAX);
	assert_int_equal(spf_check(&q, A, &r), 0);
	return r;
}

static int run_scenario(const struct val *s, int *n)
{
	const struct val *zone = val_get_lit(s, "zonedata"), *tests = val_get_lit(s, "tests");
	int bad = 0;
	for (uint32_t i = 0; i < tests->n; i++) {
		const struct val *t = &tests->members[i].val, *exp = val_get_lit(t, "explanation");
		struct spf_result r = run(zone, val_get_str(t, SLICE("host")), val_get_str(t, SLICE("mailfrom")), val_get_str(t, SLICE("helo")));
		const char *got = spf_disposition_name(r.disposition);
		bool ok = accepted(val_get_lit(t, "result"), got);
		if (ok && exp != NULL && exp->type == VAL_STR && r.disposition == SPF_FAIL)
			ok = slice_eq_cstr(exp->s, "DEFAULT") ? !r.explained : slice_eq(exp->s, r.reason);
		if (!ok) {
			print_message("%.*s: %s (%.*s)\n", SLICE_ARG(tests->members[i].key), got, SLICE_ARG(r.reason));
			bad++;
		}
		(*n)++;
	}
	return bad;
}

static void test_suite(void **st)
{
	char path[512];
	static char data[1 << 20];
	struct val v;
	int n = 0, bad = 0;
	if (getenv("SUITES") == NULL)
		skip();
	snprintf(path, sizeof path, "%s/spf/pyspf/rfc7208-tests.json", getenv("SUITES"));
	FILE *f = fopen(path, "rb");
	assert_non_null(f);
	size_t len = fread(data, 1, sizeof data, f);
	fclose(f);
	assert_int_equal(json_parse(slice_new(data, len), A, &v), 0);
	for (uint32_t i = 0; i < v.n; i++)
		bad += run_scenario(&v.items[i], &n);
	print_message("%d cases\n", n);
	assert_true(n > 190);
	assert_int_equal(bad, 0);
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
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_own), cmocka_unit_test(test_syntax), cmocka_unit_test(test_suite) };
	return cmocka_run_group_tests(tests, setup, teardown);
}
