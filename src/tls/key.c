/* SPDX-License-Identifier: Apache-2.0 */
#include <limits.h>
#include <openssl/decoder.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <stdatomic.h>
#include <stdlib.h>
#include "base/encode.h"
#include "base/xalloc.h"
#include "tls/digest_int.h"
#include "tls/key.h"

#define KEY_MAGIC OBJ_MAGIC('K', 'E', 'Y', ' ')

struct tls_key {
	uint32_t magic;
	_Atomic uint32_t refs;
	enum tls_key_kind kind;
	EVP_PKEY *pkey;
};

/* Sets the cause and empties OpenSSL's queue, which is the thread's and would confuse the next reader. */
static int crypto_fail(enum err_code code, const char *what)
{
	char text[256] = "no reason given";
	unsigned long e = ERR_peek_last_error();
	if (e != 0)
		ERR_error_string_n(e, text, sizeof text);
	ERR_clear_error();
	return err_set(code, "%s: %s", what, text);
}

static struct tls_key *wrap(EVP_PKEY *pkey)
{
	struct tls_key *k = xzalloc(sizeof *k);
	OBJ_INIT(k, KEY_MAGIC);
	k->refs = 1;
	k->pkey = pkey;
	k->kind = EVP_PKEY_is_a(pkey, "RSA") ? TLS_KEY_RSA : EVP_PKEY_is_a(pkey, "ED25519") ? TLS_KEY_ED25519 : TLS_KEY_OTHER;
	return k;
}

/* OpenSSL would ask on the terminal for the pass phrase of an encrypted key. */
static int no_passphrase(char *pass, size_t size, size_t *len, const OSSL_PARAM params[], void *arg)
{
	return 0;
}

static int load(struct slice data, int selection, const char *what, struct tls_key **out)
{
	EVP_PKEY *pkey = NULL;
	const unsigned char *p = (const unsigned char *)data.ptr;
	size_t left = data.len;
	OSSL_DECODER_CTX *ctx = OSSL_DECODER_CTX_new_for_pkey(&pkey, NULL, NULL, NULL, selection, NULL, NULL);

	assert(ctx != NULL);
	OSSL_DECODER_CTX_set_passphrase_cb(ctx, no_passphrase, NULL);
	int ok = data.len > 0 && OSSL_DECODER_from_data(ctx, &p, &left) == 1;
	OSSL_DECODER_CTX_free(ctx);
	if (!ok || pkey == NULL)
		return crypto_fail(E_INVAL, what);
	ERR_clear_error();
	*out = wrap(pkey);
	return 0;
}

/* What stands between the lines of a PEM text of PKCS #8; else the text as it is. */
static struct slice pem_contents(struct slice data, struct buf *der)
{
	ptrdiff_t from = slice_find(data, SLICE("-----BEGIN PRIVATE KEY-----")), to = slice_find(data, SLICE("-----END PRIVATE KEY-----"));
	if (from < 0 || to < from)
		return data;
	from += strlen("-----BEGIN PRIVATE KEY-----");
	base64_decode_lenient(der, slice_sub(data, from, to - from));
	return buf_view(der);
}

/* Ed25519 in PKCS #8 of version 2 (RFC 5958, RFC 8410 7), with the public key behind the private one: OpenSSL reads version 1 only. */
static EVP_PKEY *read_ed25519_v2(struct slice der)
{
	static const uint8_t HEAD[] = { 0x02, 0x01, 0x01, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20 }, PUBLIC[] = { 0x81, 0x21, 0x00 };
	enum { KEY = 32, SEED_AT = 2 + sizeof HEAD, PUBLIC_AT = SEED_AT + KEY, ALL = PUBLIC_AT + sizeof PUBLIC + KEY };
	const uint8_t *p = (const uint8_t *)der.ptr;
	uint8_t public_key[KEY];
	size_t n = sizeof public_key;
	if (der.len != ALL || p[0] != 0x30 || p[1] != ALL - 2 || memcmp(p + 2, HEAD, sizeof HEAD) != 0 || memcmp(p + PUBLIC_AT, PUBLIC, sizeof PUBLIC) != 0)
		return NULL;
	EVP_PKEY *pkey = EVP_PKEY_new_raw_private_key_ex(NULL, "ED25519", NULL, p + SEED_AT, KEY);
	if (pkey != NULL && (EVP_PKEY_get_raw_public_key(pkey, public_key, &n) != 1 || memcmp(public_key, p + ALL - KEY, KEY) != 0)) {
		EVP_PKEY_free(pkey);
		return NULL;
	}
	return pkey;
}

int tls_key_load_private(struct slice data, struct tls_key **out)
{
	struct buf der = { 0 };
	EVP_PKEY *pkey = read_ed25519_v2(pem_contents(data, &der));
	if (der.len > 0)
		explicit_bzero(der.ptr, der.len);
	buf_fini(&der);
	if (pkey == NULL)
		return load(data, EVP_PKEY_KEYPAIR, "failed to load private key (PEM or DER, PKCS#1 or PKCS#8)", out);
	*out = wrap(pkey);
	return 0;
}

int tls_key_load_public(struct slice der, struct tls_key **out)
{
	return load(der, EVP_PKEY_PUBLIC_KEY, "cannot load a public key", out);
}

int tls_key_load_ed25519_public(struct slice raw, struct tls_key **out)
{
	EVP_PKEY *pkey = EVP_PKEY_new_raw_public_key_ex(NULL, "ED25519", NULL, (const uint8_t *)raw.ptr, raw.len);
	if (pkey == NULL)
		return crypto_fail(E_INVAL, "cannot load an Ed25519 public key");
	*out = wrap(pkey);
	return 0;
}

struct tls_key *tls_key_ref(struct tls_key *k)
{
	OBJ_CHECK(k, KEY_MAGIC);
	atomic_fetch_add(&k->refs, 1);
	return k;
}

void tls_key_unref(struct tls_key **k)
{
	if (*k == NULL)
		return;
	OBJ_CHECK(*k, KEY_MAGIC);
	if (atomic_fetch_sub(&(*k)->refs, 1) == 1) {
		OBJ_FINI(*k, KEY_MAGIC);
		EVP_PKEY_free((*k)->pkey);
		free(*k);
	}
	*k = NULL;
}

enum tls_key_kind tls_key_kind(const struct tls_key *k)
{
	OBJ_CHECK(k, KEY_MAGIC);
	return k->kind;
}

int tls_key_bits(const struct tls_key *k)
{
	OBJ_CHECK(k, KEY_MAGIC);
	return EVP_PKEY_get_bits(k->pkey);
}

static int sign_rsa(EVP_PKEY *pkey, enum tls_md md, struct slice in, uint8_t *sig, size_t *len)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);
	int ok = ctx != NULL && EVP_PKEY_sign_init(ctx) == 1 && EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) == 1 &&
		 EVP_PKEY_CTX_set_signature_md(ctx, tls_md_fetched(md)) == 1 &&
		 EVP_PKEY_sign(ctx, sig, len, (const uint8_t *)in.ptr, in.len) == 1;
	EVP_PKEY_CTX_free(ctx);
	return ok;
}

static int sign_ed25519(EVP_PKEY *pkey, struct slice in, uint8_t *sig, size_t *len)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	int ok = ctx != NULL && EVP_DigestSignInit(ctx, NULL, NULL, NULL, pkey) == 1 &&
		 EVP_DigestSign(ctx, sig, len, (const uint8_t *)in.ptr, in.len) == 1;
	EVP_MD_CTX_free(ctx);
	return ok;
}

int tls_key_sign(const struct tls_key *k, enum tls_md md, struct slice in, struct buf *out)
{
	OBJ_CHECK(k, KEY_MAGIC);
	size_t len = EVP_PKEY_get_size(k->pkey);
	buf_reserve(out, len);
	uint8_t *sig = (uint8_t *)out->ptr + out->len;
	int ok = k->kind == TLS_KEY_RSA ? sign_rsa(k->pkey, md, in, sig, &len) :
		 k->kind == TLS_KEY_ED25519 ? sign_ed25519(k->pkey, in, sig, &len) : 0;
	if (!ok)
		return crypto_fail(E_TLS, "cannot sign");
	out->len += len;
	return 0;
}

int tls_key_verify(const struct tls_key *k, enum tls_md md, struct slice in, struct slice sig)
{
	int ok = -1;
	OBJ_CHECK(k, KEY_MAGIC);
	if (k->kind == TLS_KEY_RSA) {
		EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, k->pkey, NULL);
		if (ctx != NULL && EVP_PKEY_verify_init(ctx) == 1 && EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) == 1 &&
		    EVP_PKEY_CTX_set_signature_md(ctx, tls_md_fetched(md)) == 1)
			ok = EVP_PKEY_verify(ctx, (const uint8_t *)sig.ptr, sig.len, (const uint8_t *)in.ptr, in.len) == 1;
		EVP_PKEY_CTX_free(ctx);
	} else if (k->kind == TLS_KEY_ED25519) {
		EVP_MD_CTX *ctx = EVP_MD_CTX_new();
		if (ctx != NULL && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, k->pkey) == 1)
			ok = EVP_DigestVerify(ctx, (const uint8_t *)sig.ptr, sig.len, (const uint8_t *)in.ptr, in.len) == 1;
		EVP_MD_CTX_free(ctx);
	}
	if (ok < 0)
		return crypto_fail(E_TLS, "cannot verify");
	ERR_clear_error();
	return ok ? 0 : err_set(E_REJECT, "signature did not verify");
}
