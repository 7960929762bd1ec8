/* SPDX-License-Identifier: Apache-2.0 */
/* Signatures, judged by dkimpy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/encode.h"
#include "mailauth/dkim_sign.h"

static const char MESSAGE[] = "From: Sender <s@from.example>\r\nTo: Recipient\r\n <r@a.example>\r\nSubject:  two   words \r\nX-Twice: 1\r\nX-Twice: 2\r\n\r\n"
			      "Hello,   world  \r\n\t tab\t\r\n\r\nend\r\n \r\n\r\n";

static char tmp[] = "/tmp/dkim_sign_test.XXXXXX";

static struct slice slurp(const char *cmd, char *out, size_t size)
{
	FILE *f = popen(cmd, "r");
	assert_non_null(f);
	size_t n = fread(out, 1, size, f);
	assert_int_equal(pclose(f), 0);
	return slice_new(out, n);
}

static struct tls_key *make_key(const char *args, const char *pub_kind)
{
	static char data[8192], cmd[1024];
	struct tls_key *k;
	snprintf(cmd, sizeof cmd, "openssl genpkey %s -out %s/key.pem 2>/dev/null && cat %s/key.pem", args, tmp, tmp);
	assert_int_equal(tls_key_load_private(slurp(cmd, data, sizeof data), &k), 0);
	snprintf(cmd, sizeof cmd, "(printf 'v=DKIM1; k=%s; p='; openssl pkey -in %s/key.pem -pubout -outform DER | tail -c %s | base64 -w0) >%s/txt",
		 pub_kind, tmp, strcmp(pub_kind, "rsa") == 0 ? "+1" : "32", tmp);
	assert_int_equal(system(cmd), 0);
	return k;
}

static bool verifies(struct slice msg)
{
	static char cmd[1024], out[64];
	char path[64];
	snprintf(path, sizeof path, "%s/m.eml", tmp);
	FILE *f = fopen(path, "wb");
	assert_non_null(f);
	fwrite(msg.ptr, 1, msg.len, f);
	fclose(f);
	snprintf(cmd, sizeof cmd, "/usr/bin/python3 -c 'import sys, dkim; m, t = open(sys.argv[1] + \"/m.eml\", \"rb\").read(), open(sys.argv[1] + \"/txt\", \"rb\").read(); "
		 "print(dkim.verify(m, dnsfunc=lambda n, timeout=5: t))' %s", tmp);
	return slice_eq_cstr(slice_trim(slurp(cmd, out, sizeof out)), "True");
}

static struct slice sign(struct tls_key *k, struct dkim_signer_opts *o, struct dkim_hashes *hashes, struct buf *msg)
{
	struct dkim_signer *s;
	static struct buf value;
	buf_clear(&value);
	o->domain = SLICE("from.example");
	o->selector = SLICE("sel");
	assert_int_equal(dkim_signer_create(o, k, &s), 0);
	assert_int_equal(dkim_sign(s, slice_from_cstr(MESSAGE), 1700000000, hashes, &value), 0);
	mail_prepend_header(msg, slice_from_cstr(MESSAGE), SLICE("DKIM-Signature"), buf_view(&value));
	dkim_signer_unref(&s);
	return buf_view(&value);
}

static void test_verifies(void **st)
{
	static const struct slice LONG[] = { SLICE_INIT("From"), SLICE_INIT("to"), SLICE_INIT("Subject"), SLICE_INIT("X-Twice"), SLICE_INIT("X-Twice"), SLICE_INIT("x-absent"),
		SLICE_INIT("List-Unsubscribe"), SLICE_INIT("List-Unsubscribe-Post"), SLICE_INIT("X-Lets-Make-This-Really-Long"), SLICE_INIT("Date"), SLICE_INIT("Message-ID") };
	static const char *const KEYS[][2] = { { "-algorithm RSA -pkeyopt rsa_keygen_bits:2048", "rsa" }, { "-algorithm ed25519", "ed25519" } };
	for (int i = 0; i < 2; i++) {
		struct tls_key *k = make_key(KEYS[i][0], KEYS[i][1]);
		struct dkim_hashes hashes = { 0 };
		for (int n = 0; n < 5; n++) {
			struct dkim_signer_opts o = { .headers = LONG, .n_headers = n < 2 ? 3 : ARRAY_LEN(LONG), .header_canon = n & 1, .body_canon = n >> 1 & 1, .over_sign = n == 4 };
			struct buf m = { 0 };
			struct slice v = sign(k, &o, &hashes, &m);
			if (!verifies(buf_view(&m)))
				fail_msg("key %d, case %d: %.*s", i, n, SLICE_ARG(v));
			m.ptr[m.len - 12] ^= 1;		/* the body */
			assert_false(n == 0 && verifies(buf_view(&m)));
			buf_fini(&m);
		}
		tls_key_unref(&k);
	}
}

static void test_layout(void **st)
{
	static const struct slice NAMES[] = { SLICE_INIT("From"), SLICE_INIT("To"), SLICE_INIT("Subject") };
	struct tls_key *k = make_key("-algorithm ed25519", "ed25519");
	struct dkim_signer_opts o = { .headers = NAMES, .n_headers = 3, .over_sign = true, .expiration_s = 10, .header_canon = DKIM_RELAXED, .body_canon = DKIM_SIMPLE };
	struct buf m = { 0 };
	struct slice v = sign(k, &o, NULL, &m);
	assert_true(slice_starts(v, SLICE("v=1; a=ed25519-sha256; d=from.example; s=sel; c=relaxed/simple;\r\n\tbh=")));
	assert_true(slice_find(v, SLICE("=;\r\n\th=from:from:subject:subject:to:to; t=1700000000; x=1700000010;\r\n\tb=")) > 0);
	assert_true(slice_ends(v, SLICE(";")));
	for (struct slice rest = v, line; slice_split_next(&rest, '\n', &line);)
		assert_true(line.len <= 78);
	buf_fini(&m);
	tls_key_unref(&k);
}

static void body_is(enum dkim_canon c, const char *body, const char *canonical)
{
	uint8_t a[TLS_MD_MAX], b[TLS_MD_MAX];
	dkim_body_hash(c, TLS_SHA256, slice_from_cstr(body), UINT64_MAX, a);
	tls_digest(TLS_SHA256, slice_from_cstr(canonical), b);
	if (memcmp(a, b, 32) != 0)
		fail_msg("%d `%s` is not `%s`", c, body, canonical);
}

static void test_bodies(void **st)
{
	body_is(DKIM_SIMPLE, "", "\r\n");
	body_is(DKIM_SIMPLE, "\r\n\r\n", "\r\n");
	body_is(DKIM_SIMPLE, " C \r\nD \t E\r\n\r\n\r\n", " C \r\nD \t E\r\n");
	body_is(DKIM_SIMPLE, "no end", "no end\r\n");
	body_is(DKIM_RELAXED, "", "");
	body_is(DKIM_RELAXED, "\r\n", "");
	body_is(DKIM_RELAXED, " \r\n\t\r\n", "");
	body_is(DKIM_RELAXED, " C \r\nD \t E\r\n\r\n\r\n", " C\r\nD E\r\n");
	body_is(DKIM_RELAXED, "a\tb  c\t\td \r\nx", "a b c d\r\nx\r\n");
	body_is(DKIM_RELAXED, "x\r\n \r\n", "x\r\n");
}

static void test_refused(void **st)
{
	static const struct slice TO[] = { SLICE_INIT("To") }, FROM[] = { SLICE_INIT("From") };
	struct tls_key *k = make_key("-algorithm ed25519", "ed25519");
	struct dkim_signer *s = NULL;
	struct buf b = { 0 };
	static const char *const BAD[] = { "", "a b", "a\r\nX-Own: b", "a;d=b", "a\x7f" };
	static const struct slice INJECTED[] = { SLICE_INIT("From"), SLICE_INIT("To\r\nX-Own: b") }, COLON[] = { SLICE_INIT("From"), SLICE_INIT("To:Cc") };
	struct dkim_signer_opts o = { .domain = SLICE("from.example"), .selector = SLICE("d"), .headers = TO, .n_headers = 1 }, bad;
	assert_int_equal(dkim_signer_create(&o, k, &s), -E_INVAL);
	o.headers = FROM;
	for (size_t i = 0; i < ARRAY_LEN(BAD); i++) {
		bad = o;
		bad.domain = slice_from_cstr(BAD[i]);
		assert_int_equal(dkim_signer_create(&bad, k, &s), -E_INVAL);
		bad = o;
		bad.selector = slice_from_cstr(BAD[i]);
		assert_int_equal(dkim_signer_create(&bad, k, &s), -E_INVAL);
	}
	bad = o;
	bad.n_headers = 2;
	bad.headers = INJECTED;
	assert_int_equal(dkim_signer_create(&bad, k, &s), -E_INVAL);
	bad.headers = COLON;
	assert_int_equal(dkim_signer_create(&bad, k, &s), -E_INVAL);
	assert_int_equal(dkim_signer_create(&o, k, &s), 0);
	assert_int_equal(dkim_sign(s, SLICE("From: a\nTo: b\n\nx"), 0, NULL, &b), -E_INVAL);
	assert_int_equal(dkim_sign(s, SLICE(" x"), 0, NULL, &b), -E_INVAL);
	assert_int_equal(dkim_sign(s, SLICE(""), 0, NULL, &b), 0);
	dkim_signer_unref(&s);
	tls_key_unref(&k);
	buf_fini(&b);
}

static int setup(void **st)
{
	return mkdtemp(tmp) == NULL;
}

static int teardown(void **st)
{
	char cmd[64];
	snprintf(cmd, sizeof cmd, "rm -r %s", tmp);
	return system(cmd);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_bodies), cmocka_unit_test(test_layout), cmocka_unit_test(test_refused), cmocka_unit_test(test_verifies) };
	return cmocka_run_group_tests(tests, setup, teardown);
}
