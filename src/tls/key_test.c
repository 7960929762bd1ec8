/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "base/encode.h"
#include "tls/key.h"

/* The standard output of a shell command. */
static struct slice run(const char *cmd, char *out, size_t size)
{
	FILE *f = popen(cmd, "r");
	assert_non_null(f);
	size_t n = fread(out, 1, size, f);
	assert_int_equal(pclose(f), 0);
	return slice_new(out, n);
}

static void test_digests(void **st)
{
	uint8_t out[TLS_MD_MAX];
	struct buf b = { 0 };
	hex_put(&b, slice_new(out, tls_digest(TLS_SHA256, SLICE("abc"), out)), false);
	assert_string_equal(buf_cstr(&b), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	buf_clear(&b);
	hex_put(&b, slice_new(out, tls_hmac(TLS_MD5, SLICE("Jefe"), SLICE("what do ya want for nothing?"), out)), false);
	assert_string_equal(buf_cstr(&b), "750c783e6ab0b503eaa86e310a5db738");	/* RFC 2202 */
	struct tls_hash *h = tls_hash_create(TLS_SHA256);
	tls_hash_update(h, "a", 1);
	tls_hash_update(h, "bc", 2);
	buf_clear(&b);
	hex_put(&b, slice_new(out, tls_hash_final(h, out)), false);
	assert_memory_equal(buf_cstr(&b), "ba7816bf", 8);
	tls_hash_destroy(&h);
	for (int i = 0; i < TLS_MD_COUNT; i++)
		assert_int_equal(tls_digest(i, SLICE(""), out), tls_md_size(i));
	buf_fini(&b);
}

static void sign_and_verify(const char *args, enum tls_key_kind kind)
{
	static char priv[8192], pub[8192], cmd[512];
	static const char *const FORMS[] = { "PEM", "DER" };
	for (size_t i = 0; i < ARRAY_LEN(FORMS); i++) {
		struct tls_key *k = NULL, *p = NULL;
		struct buf sig = { 0 };
		uint8_t md[TLS_MD_MAX];
		snprintf(cmd, sizeof cmd, "t=$(mktemp) && openssl genpkey %s -out $t 2>/dev/null && openssl pkey -in $t -outform %s && mv $t /tmp/key_test.$PPID", args, FORMS[i]);
		assert_int_equal(tls_key_load_private(run(cmd, priv, sizeof priv), &k), 0);
		struct slice der = run("openssl pkey -in /tmp/key_test.$PPID -pubout -outform DER && rm /tmp/key_test.$PPID", pub, sizeof pub);
		assert_int_equal(tls_key_load_public(der, &p), 0);
		assert_int_equal(tls_key_kind(k), kind);
		struct slice in = slice_new(md, tls_digest(TLS_SHA256, SLICE("text"), md));
		assert_int_equal(tls_key_sign(k, TLS_SHA256, in, &sig), 0);
		assert_int_equal(tls_key_verify(p, TLS_SHA256, in, buf_view(&sig)), 0);
		sig.ptr[3] ^= 1;
		assert_int_equal(tls_key_verify(p, TLS_SHA256, in, buf_view(&sig)), -E_REJECT);
		if (kind == TLS_KEY_ED25519) {
			tls_key_unref(&p);
			assert_int_equal(tls_key_load_ed25519_public(slice_sub(der, der.len - 32, 32), &p), 0);
			sig.ptr[3] ^= 1;
			assert_int_equal(tls_key_verify(p, TLS_SHA256, in, buf_view(&sig)), 0);
		}
		buf_fini(&sig);
		tls_key_unref(&k);
		tls_key_unref(&p);
	}
}

static void test_keys(void **st)
{
	struct tls_key *k = NULL;
	sign_and_verify("-algorithm RSA -pkeyopt rsa_keygen_bits:2048", TLS_KEY_RSA);
	sign_and_verify("-algorithm ed25519", TLS_KEY_ED25519);
	assert_int_equal(tls_key_load_private(SLICE("nonsense"), &k), -E_INVAL);
	assert_int_equal(tls_key_load_private(SLICE(""), &k), -E_INVAL);
	assert_int_equal(tls_key_load_public(SLICE("nonsense"), &k), -E_INVAL);
	assert_int_equal(tls_key_load_ed25519_public(SLICE("short"), &k), -E_INVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_digests), cmocka_unit_test(test_keys) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
