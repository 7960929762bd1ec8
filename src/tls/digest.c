/* SPDX-License-Identifier: Apache-2.0 */
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <pthread.h>
#include <stdlib.h>
#include "base/xalloc.h"
#include "tls/digest.h"
#include "tls/digest_int.h"

static const char *const NAMES[TLS_MD_COUNT] = {
	[TLS_MD5] = "MD5", [TLS_SHA1] = "SHA1", [TLS_SHA224] = "SHA224", [TLS_SHA256] = "SHA256", [TLS_SHA384] = "SHA384",
	[TLS_SHA512] = "SHA512", [TLS_SHA512_256] = "SHA512-256", [TLS_SHA512_224] = "SHA512-224",
	[TLS_SHA3_224] = "SHA3-224", [TLS_SHA3_256] = "SHA3-256", [TLS_SHA3_384] = "SHA3-384", [TLS_SHA3_512] = "SHA3-512",
};
static EVP_MD *mds[TLS_MD_COUNT];
static pthread_once_t once = PTHREAD_ONCE_INIT;

struct tls_hash {
	uint32_t magic;
	EVP_MD_CTX *ctx;
};
#define HASH_MAGIC OBJ_MAGIC('H', 'A', 'S', 'H')

static void fetch_all(void)
{
	for (int i = 0; i < TLS_MD_COUNT; i++)
		mds[i] = EVP_MD_fetch(NULL, NAMES[i], NULL);
}

const EVP_MD *tls_md_fetched(enum tls_md md)
{
	assert(md < TLS_MD_COUNT);
	pthread_once(&once, fetch_all);
	/* only a build of OpenSSL without it, or FIPS mode, has it not */
	assert(mds[md] != NULL);
	return mds[md];
}

size_t tls_digest(enum tls_md md, struct slice in, uint8_t out[TLS_MD_MAX])
{
	unsigned n = 0;
	int ok = EVP_Digest(in.len ? in.ptr : "", in.len, out, &n, tls_md_fetched(md), NULL);
	assert(ok == 1);
	return n;
}

size_t tls_hmac(enum tls_md md, struct slice key, struct slice in, uint8_t out[TLS_MD_MAX])
{
	unsigned n = 0;
	const void *ok = HMAC(tls_md_fetched(md), key.len ? key.ptr : "", key.len, (const uint8_t *)(in.len ? in.ptr : ""), in.len, out, &n);
	assert(ok != NULL);
	return n;
}

struct tls_hash *tls_hash_create(enum tls_md md)
{
	struct tls_hash *h = xzalloc(sizeof *h);
	OBJ_INIT(h, HASH_MAGIC);
	h->ctx = EVP_MD_CTX_new();
	assert(h->ctx != NULL);
	tls_hash_reset(h, md);
	return h;
}

void tls_hash_reset(struct tls_hash *h, enum tls_md md)
{
	OBJ_CHECK(h, HASH_MAGIC);
	int ok = EVP_DigestInit_ex2(h->ctx, tls_md_fetched(md), NULL);
	assert(ok == 1);
}

void tls_hash_update(struct tls_hash *h, const void *ptr, size_t len)
{
	OBJ_CHECK(h, HASH_MAGIC);
	int ok = len == 0 || EVP_DigestUpdate(h->ctx, ptr, len) == 1;
	assert(ok);
}

size_t tls_hash_final(struct tls_hash *h, uint8_t out[TLS_MD_MAX])
{
	unsigned n = 0;
	OBJ_CHECK(h, HASH_MAGIC);
	int ok = EVP_DigestFinal_ex(h->ctx, out, &n);
	assert(ok == 1);
	return n;
}

void tls_hash_destroy(struct tls_hash **h)
{
	if (*h == NULL)
		return;
	OBJ_FINI(*h, HASH_MAGIC);
	EVP_MD_CTX_free((*h)->ctx);
	free(*h);
	*h = NULL;
}
