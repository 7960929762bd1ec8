/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "base/encode.h"
#include "mailauth/dkim_sign.h"
#include "mailauth/dkim_verify.h"

static struct arena *A;
static struct slice zone_text;	/* "name value" lines; NXDOMAIN and ~~text~~ (a failure) as values */

static int setup(void **st) { A = arena_create(); return 0; }
static int teardown(void **st) { arena_destroy(&A); return 0; }

static int lookup(void *arg, struct slice name, enum dns_type type, struct arena *a, struct auth_rrs *out)
{
	struct slice rest = zone_text, line;
	*out = (struct auth_rrs){ .status = DNS_NXDOMAIN };
	while (slice_split_next(&rest, '\n', &line)) {
		ptrdiff_t blank = slice_chr(line, ' ');
		if (blank < 0 || !slice_eq_nocase(slice_sub(line, 0, blank), name))
			continue;
		struct slice value = slice_trim(slice_sub(line, blank + 1, SIZE_MAX));
		if (slice_eq_cstr(value, "NXDOMAIN"))
			return 0;
		out->status = slice_starts(value, SLICE("~~")) ? DNS_FAIL : DNS_OK;
		out->n = out->status == DNS_OK;
		out->rrs = arena_alloc(a, sizeof *out->rrs);
		out->rrs[0].data = value;
		return 0;
	}
	return 0;
}

/* "pass", or "permerror: reason", of each signature, divided by "; " */
static const char *verify(struct slice msg, bool weak, int64_t now_s)
{
	struct dkim_verify_opts o = { .dns = { lookup, NULL }, .now_s = now_s, .allow_weak = weak };
	struct val v;
	struct buf b = { 0 };
	if (dkim_verify(msg, &o, A, &v) < 0)
		return err_text();
	for (uint32_t i = 0; i < v.n; i++) {
		struct slice reason = val_get_str(&v.items[i], SLICE("reason"));
		buf_printf(&b, "%s%.*s", i ? "; " : "", SLICE_ARG(val_get_str(&v.items[i], SLICE("result"))));
		if (reason.ptr != NULL)
			buf_printf(&b, ": %.*s", SLICE_ARG(reason));
	}
	const char *s = arena_strdup(A, buf_view(&b));
	buf_fini(&b);
	return s;
}

static struct tls_key *make_key(const char *args, const char *kind, const char *flags)
{
	static char priv[4096], pub[4096], zone[8192], cmd[512];
	struct tls_key *k;
	snprintf(cmd, sizeof cmd, "t=$(mktemp) && openssl genpkey %s -out $t 2>/dev/null && cat $t && mv $t /tmp/dkim_verify.$PPID", args);
	FILE *f = popen(cmd, "r");
	size_t n = fread(priv, 1, sizeof priv, f);
	assert_int_equal(pclose(f), 0);
	assert_int_equal(tls_key_load_private(slice_new(priv, n), &k), 0);
	snprintf(cmd, sizeof cmd, "openssl pkey -in /tmp/dkim_verify.$PPID -pubout -outform DER | tail -c %s | base64 -w0; rm /tmp/dkim_verify.$PPID", kind[0] == 'r' ? "+1" : "32");
	f = popen(cmd, "r");
	n = fread(pub, 1, sizeof pub, f);
	assert_int_equal(pclose(f), 0);
	int len = snprintf(zone, sizeof zone, "d._domainkey.from.example v=DKIM1; k=%s; %s p=%.*s\n", kind, flags, (int)n, pub);
	zone_text = slice_new(zone, (size_t)len);
	return k;
}

static struct slice sign(struct tls_key *k, struct dkim_signer_opts *o, struct buf *out, struct slice msg)
{
	static const struct slice NAMES[] = { SLICE_INIT("From"), SLICE_INIT("To"), SLICE_INIT("Subject") };
	struct dkim_signer *s;
	struct buf v = { 0 };
	o->domain = SLICE("from.example");
	o->selector = SLICE("d");
	o->headers = NAMES;
	o->n_headers = 3;
	assert_int_equal(dkim_signer_create(o, k, &s), 0);
	assert_int_equal(dkim_sign(s, msg, 1700000000, NULL, &v), 0);
	mail_prepend_header(out, msg, SLICE("DKIM-Signature"), buf_view(&v));
	buf_fini(&v);
	dkim_signer_unref(&s);
	return buf_view(out);
}

#define MSG SLICE("From: s@from.example\r\nTo: r@to.example\r\nSubject: hi  there\r\n\r\nbody  text \r\n\r\n")

static void test_own(void **st)
{
	static const char *const KEYS[][2] = { { "-algorithm RSA -pkeyopt rsa_keygen_bits:2048", "rsa" }, { "-algorithm ed25519", "ed25519" } };
	for (int i = 0; i < 2; i++) {
		struct tls_key *k = make_key(KEYS[i][0], KEYS[i][1], "");
		for (int n = 0; n < 8; n++) {
			struct dkim_signer_opts o = { .header_canon = n & 1, .body_canon = n >> 1 & 1, .over_sign = n & 4, .expiration_s = 60 };
			struct buf m = { 0 };
			sign(k, &o, &m, MSG);
			assert_string_equal(verify(buf_view(&m), false, 1700000000), "pass");
			assert_string_equal(verify(buf_view(&m), false, 1700000060 + 15 * 60 + 1), "permerror: signature expired");
			ptrdiff_t at = slice_find(buf_view(&m), SLICE("body  text"));
			m.ptr[at] = 'B';
			assert_string_equal(verify(buf_view(&m), false, 1700000000), "permerror: body hash did not verify");
			m.ptr[at] = 'b';
			m.ptr[slice_find(buf_view(&m), SLICE("hi  there"))] = 'H';
			assert_string_equal(verify(buf_view(&m), false, 1700000000), "permerror: signature did not verify");
			buf_fini(&m);
		}
		tls_key_unref(&k);
	}
}

static void test_keys(void **st)
{
	struct tls_key *k = make_key("-algorithm RSA -pkeyopt rsa_keygen_bits:768", "rsa", "");
	struct dkim_signer_opts o = { 0 };
	struct buf m = { 0 };
	sign(k, &o, &m, MSG);
	assert_string_equal(verify(buf_view(&m), false, 0), "permerror: inappropriate key algorithm: the key has under 1024 bits");
	assert_string_equal(verify(buf_view(&m), true, 0), "pass");
	zone_text = SLICE("");
	assert_string_equal(verify(buf_view(&m), false, 0), "permerror: key unavailable: failed to resolve d._domainkey.from.example");
	zone_text = SLICE("d._domainkey.from.example ~~SERVFAIL~~");
	assert_string_equal(verify(buf_view(&m), false, 0), "temperror: key unavailable: failed to resolve d._domainkey.from.example");
	zone_text = SLICE("d._domainkey.from.example v=DKIM1; p=");
	assert_string_equal(verify(buf_view(&m), false, 0), "permerror: no key for signature");
	zone_text = SLICE("d._domainkey.from.example v=DKIM2; p=AA==");
	assert_string_equal(verify(buf_view(&m), false, 0), "permerror: key incompatible version");
	zone_text = SLICE("d._domainkey.from.example v=DKIM1; s=tlsrpt; p=AA==");
	assert_string_equal(verify(buf_view(&m), false, 0), "permerror: no key for signature");
	buf_fini(&m);
	tls_key_unref(&k);
}

static void test_broken(void **st)
{
	static const char *const ROWS[][2] = {
		{ "v=1", "permerror: signature missing required tag (a)" },
		{ "v=2; a=rsa-sha256; d=from.example; s=d; h=from; bh=AA==; b=AA==", "permerror: incompatible version" },
		{ "v=1; a=rsa-sha256; d=from.example; s=d; h=to; bh=AA==; b=AA==", "permerror: From field not signed" },
		{ "v=1; a=rsa-sha256; d=from.example; s=d; h=from; bh=AA==; b=AA==; x=1; t=0", "permerror: signature expired" },
		{ "v=1; a=rsa-sha256; d=from.example; s=d; i=@other.example; h=from; bh=AA==; b=AA==", "permerror: domain mismatch" },
		{ "v=1; a=none; d=from.example; s=d; h=from; bh=AA==; b=AA==", "permerror: unsupported hash algorithm: none" },
		{ "", "permerror: signature syntax error: Parsing failed at ``: expected tag=value" },
	};
	for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
		struct slice m = arena_slicef(A, "DKIM-Signature: %s\r\nFrom: s@from.example\r\n\r\nx\r\n", ROWS[i][0]);
		assert_string_equal(verify(m, false, 1700000000), ROWS[i][1]);
	}
	assert_string_equal(verify(SLICE("From: a\r\n\r\n"), false, 0), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_own), cmocka_unit_test(test_keys), cmocka_unit_test(test_broken) };
	return cmocka_run_group_tests(tests, setup, teardown);
}
