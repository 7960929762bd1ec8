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

/* The example of RFC 8410 10.3, without its attributes: PKCS #8 of version 2 with the public key. */
#define V2_SEED "\xd4\xee\x72\xdb\xf9\x13\x58\x4a\xd5\xb6\xd8\xf1\xf7\x69\xf8\xad\x3a\xfe\x7c\x28\xcb\xf1\xd4\xfb\xe0\x97\xa8\x8f\x44\x75\x58\x42"
#define V2_PUBLIC "\x19\xbf\x44\x09\x69\x84\xcd\xfe\x85\x41\xba\xc1\x67\xdc\x3b\x96\xc8\x50\x86\xaa\x30\xb6\xb6\xcb\x0c\x5c\x38\xad\x70\x31\x66\xe1"

static void test_version_2(void **st)
{
	char der[] = "\x30\x51\x02\x01\x01\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20" V2_SEED "\x81\x21\x00" V2_PUBLIC;
	struct slice text = slice_new(der, sizeof der - 1);
	struct tls_key *k, *public_key;
	struct buf pem = { 0 }, sig = { 0 };
	buf_lit(&pem, "-----BEGIN PRIVATE KEY-----\n");
	base64_put(&pem, text, BASE64_STD);
	buf_lit(&pem, "\n-----END PRIVATE KEY-----\n");
	assert_int_equal(tls_key_load_ed25519_public(SLICE(V2_PUBLIC), &public_key), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(tls_key_load_private(i == 0 ? text : buf_view(&pem), &k), 0);
		assert_int_equal(tls_key_kind(k), TLS_KEY_ED25519);
		buf_clear(&sig);
		assert_int_equal(tls_key_sign(k, TLS_SHA256, SLICE("x"), &sig), 0);
		assert_int_equal(tls_key_verify(public_key, TLS_SHA256, SLICE("x"), buf_view(&sig)), 0);
		tls_key_unref(&k);
	}
	der[sizeof der - 2] ^= 1;	/* the halves do not match */
	assert_int_equal(tls_key_load_private(text, &k), -E_INVAL);
	tls_key_unref(&public_key);
	buf_fini(&pem);
	buf_fini(&sig);
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
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_digests), cmocka_unit_test(test_keys), cmocka_unit_test(test_version_2) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
