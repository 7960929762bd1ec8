/* SPDX-License-Identifier: Apache-2.0 */
/* Chains of our own, and the suite of ValiMail where it is at hand ($SUITES/arc/valimail). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "base/encode.h"
#include "mailauth/arc.h"

static struct arena *A;
static const struct val *records;	/* name -> text */

static int setup(void **st) { A = arena_create(); return 0; }
static int teardown(void **st) { arena_destroy(&A); return 0; }

static int lookup(void *arg, struct slice name, enum dns_type type, struct arena *a, struct auth_rrs *out)
{
	const struct val *v = NULL;
	for (uint32_t i = 0; i < records->n; i++)
		if (slice_eq_nocase(records->members[i].key, name))
			v = &records->members[i].val;
	*out = (struct auth_rrs){ .status = v != NULL ? DNS_OK : DNS_NXDOMAIN, .n = v != NULL };
	out->rrs = arena_alloc(a, sizeof *out->rrs);
	if (v != NULL)
		out->rrs[0].data = v->s;
	return 0;
}

static struct slice with_crlf(struct slice s)
{
	struct buf b = { 0 };
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] == '\n' && (i == 0 || s.ptr[i - 1] != '\r'))
			buf_putc(&b, '\r');
		buf_putc(&b, s.ptr[i]);
	}
	struct slice r = arena_dup(A, buf_view(&b));
	buf_fini(&b);
	return r;
}

static struct arc_chain *verify(struct slice msg, bool weak)
{
	struct dkim_verify_opts o = { .dns = { lookup, NULL }, .now_s = 12345, .allow_weak = weak };
	struct arc_chain *c = arena_alloc(A, sizeof *c);
	assert_int_equal(arc_verify(msg, &o, A, c), 0);
	return c;
}

static struct slice run(const char *cmd)
{
	static char out[8192];
	FILE *f = popen(cmd, "r");
	size_t n = fread(out, 1, sizeof out, f);
	assert_int_equal(pclose(f), 0);
	return arena_dup(A, slice_new(out, n));
}

static void test_chain(void **st)
{
	static const struct slice NAMES[] = { SLICE_INIT("From"), SLICE_INIT("Subject") };
	struct tls_key *key;
	struct dkim_signer *s;
	struct val zone = val_obj(), results;
	struct slice pem = run("openssl genpkey -algorithm ed25519 -out /tmp/arc_test.$PPID && cat /tmp/arc_test.$PPID");
	struct slice pub = slice_trim(run("openssl pkey -in /tmp/arc_test.$PPID -pubout -outform DER | tail -c 32 | base64 -w0; rm /tmp/arc_test.$PPID"));
	val_put_lit(A, &zone, "d._domainkey.from.example", val_str(A, arena_slicef(A, "v=DKIM1; k=ed25519; p=%.*s", SLICE_ARG(pub))));
	records = &zone;
	assert_int_equal(tls_key_load_private(pem, &key), 0);
	struct dkim_signer_opts o = { SLICE("from.example"), SLICE("d"), NAMES, 2, DKIM_RELAXED, DKIM_RELAXED, false, 0 };
	assert_int_equal(dkim_signer_create(&o, key, &s), 0);
	assert_int_equal(json_parse(SLICE("{\"serv_id\":\"mta.example\",\"results\":[{\"method\":\"spf\",\"result\":\"pass\"}]}"), A, &results), 0);

	struct slice msg = SLICE("From: s@from.example\r\nSubject: x\r\n\r\nbody\r\n");
	assert_int_equal(verify(msg, false)->status, ARC_NONE);
	for (int i = 1; i <= 3; i++) {
		struct buf b = { 0 };
		assert_int_equal(arc_seal(msg, verify(msg, false), s, &results, 1700000000, A, &b), 0);
		buf_slice(&b, msg);
		msg = arena_dup(A, buf_view(&b));
		buf_fini(&b);
		struct arc_chain *c = verify(msg, false);
		if (c->status != ARC_PASS || c->n != (uint32_t)i)
			fail_msg("%d: %s\n%.*s", i, c->reason, SLICE_ARG(msg));
	}
	assert_true(slice_starts(msg, SLICE("ARC-Authentication-Results: i=3; mta.example;\r\n\tspf=pass\r\nARC-Message-Signature: i=3; a=ed25519-sha256; d=from.example; s=d;")));
	((char *)msg.ptr)[msg.len - 3] ^= 1;
	assert_string_equal(verify(msg, false)->reason, "The ARC-Message-Signature for instance 3 failed to validate");
	struct buf none = { 0 };
	assert_int_equal(arc_seal(msg, verify(msg, false), s, &results, 1700000000, A, &none), 0);
	assert_int_equal(none.len, 0);
	dkim_signer_unref(&s);
	tls_key_unref(&key);
}

static struct val load(const char *name)
{
	static char data[4 << 20];
	char path[512];
	struct val v;
	snprintf(path, sizeof path, "%s/arc/valimail/%s", getenv("SUITES"), name);
	FILE *f = fopen(path, "rb");
	assert_non_null(f);
	size_t n = fread(data, 1, sizeof data, f);
	fclose(f);
	if (json_parse(slice_new(data, n), A, &v) < 0)
		fail_msg("%s: %s", path, err_text());
	return v;
}

/* Without c= the suite's signer took relaxed; RFC 8617 4.1.2 leaves it to RFC 6376, where it is simple. */
static bool excepted(struct slice name)
{
	static const char *const NAMES[] = { "ams_fields_c_na" };
	for (size_t i = 0; i < ARRAY_LEN(NAMES); i++)
		if (slice_eq_cstr(name, NAMES[i]))
			return true;
	return false;
}

static void test_validation(void **st)
{
	int n = 0, bad = 0;
	if (getenv("SUITES") == NULL)
		skip();
	struct val v = load("arc-draft-validation-tests.json");
	for (uint32_t i = 0; i < v.n; i++) {
		const struct val *tests = val_get_lit(&v.items[i], "tests");
		records = val_get_lit(&v.items[i], "txt-records");
		for (uint32_t k = 0; k < tests->n; k++) {
			static const char *const STATUS[] = { [ARC_NONE] = "none", [ARC_PASS] = "pass", [ARC_FAIL] = "fail" };
			const struct val *t = &tests->members[k].val;
			struct slice cv = val_get_str(t, SLICE("cv"));
			if (cv.len == 0 || excepted(tests->members[k].key))
				continue;
			struct arc_chain *c = verify(with_crlf(val_get_str(t, SLICE("message"))), false);
			n++;
			if (!slice_eq_nocase(cv, slice_from_cstr(STATUS[c->status]))) {
				print_message("%.*s: wanted %.*s, got %s (%s)\n", SLICE_ARG(tests->members[k].key), SLICE_ARG(cv), STATUS[c->status], c->reason ? c->reason : "");
				bad++;
			}
		}
	}
	print_message("%d cases\n", n);
	assert_true(n > 100);
	assert_int_equal(bad, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_chain), cmocka_unit_test(test_validation) };
	return cmocka_run_group_tests(tests, setup, teardown);
}
