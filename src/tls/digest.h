/* SPDX-License-Identifier: Apache-2.0 */
/*
 * digest - hashes and MACs by OpenSSL, whose algorithms are fetched once: a fetch by name for each use costs more than a short hash and
 * takes a lock.
 *
 * Thread:  any; a struct tls_hash has one owner.
 * Memory:  results go into the caller's array; tls_hash_create/_destroy for what is hashed in pieces.
 * Yields:  never.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"

enum tls_md {
	TLS_MD5, TLS_SHA1, TLS_SHA224, TLS_SHA256, TLS_SHA384, TLS_SHA512, TLS_SHA512_256, TLS_SHA512_224,
	TLS_SHA3_224, TLS_SHA3_256, TLS_SHA3_384, TLS_SHA3_512,
	TLS_MD_COUNT
};
#define TLS_MD_MAX 64

size_t tls_digest(enum tls_md md, struct slice in, uint8_t out[TLS_MD_MAX]);			/* returns its length */
size_t tls_hmac(enum tls_md md, struct slice key, struct slice in, uint8_t out[TLS_MD_MAX]);

struct tls_hash;
struct tls_hash *tls_hash_create(enum tls_md md);
void tls_hash_reset(struct tls_hash *h, enum tls_md md);
void tls_hash_update(struct tls_hash *h, const void *ptr, size_t len);
size_t tls_hash_final(struct tls_hash *h, uint8_t out[TLS_MD_MAX]);				/* reset before further use */
void tls_hash_destroy(struct tls_hash **h);
