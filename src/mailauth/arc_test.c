/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "base/encode.h"
#include "mailauth/arc.h"
#include "mailauth/test_zone.h"

static struct arena *A;
static struct val zone;

static int setup(void **st) { A = arena_create(); return 0; }
static int teardown(void **st) { arena_destroy(&A); return 0; }

static struct arc_chain *verify(struct slice msg, bool weak)
{
	struct dkim_verify_opts o = { .dns = test_zone_dns(&zone), .now_s = 12345, .allow_weak = weak };
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
	struct val results;
	struct slice pem = run("openssl genpkey -algorithm ed25519 -out /tmp/arc_test.$PPID && cat /tmp/arc_test.$PPID");
	struct slice pub = slice_trim(run("openssl pkey -in /tmp/arc_test.$PPID -pubout -outform DER | tail -c 32 | base64 -w0; rm /tmp/arc_test.$PPID"));
	zone = val_obj();
	test_zone_put_txt(&zone, SLICE("d._domainkey.from.example"), arena_slicef(A, "v=DKIM1; k=ed25519; p=%.*s", SLICE_ARG(pub)), A);
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

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_chain) };
	return cmocka_run_group_tests(tests, setup, teardown);
}
