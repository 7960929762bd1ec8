/* SPDX-License-Identifier: Apache-2.0 */
/*
 * key - private and public keys that sign and verify: DKIM's and ARC's RSA and Ed25519.
 *
 * Thread:  any; a key is immutable.
 * Memory:  reference-counted: tls_key_ref/_unref. Signatures are appended to a buffer.
 * Yields:  never. An RSA-2048 signature is about 0.35 ms of CPU: a caller on a loop may want rt_offload.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include "tls/digest.h"

enum tls_key_kind { TLS_KEY_RSA, TLS_KEY_ED25519, TLS_KEY_OTHER };
struct tls_key;

/* PEM (PKCS#1 or PKCS#8, not encrypted) or DER. */
int tls_key_load_private(struct slice data, struct tls_key **out) WARN_UNUSED;
/* A public key as DER: SubjectPublicKeyInfo, or PKCS#1 (both occur in DKIM records). */
int tls_key_load_public(struct slice der, struct tls_key **out) WARN_UNUSED;
int tls_key_load_ed25519_public(struct slice raw32, struct tls_key **out) WARN_UNUSED;
struct tls_key *tls_key_ref(struct tls_key *k);
void tls_key_unref(struct tls_key **k);
enum tls_key_kind tls_key_kind(const struct tls_key *k);
int tls_key_bits(const struct tls_key *k);
/* RSA: PKCS#1 v1.5 over the digest IN of kind MD. Ed25519: IN is the message itself, MD is not looked at. */
int tls_key_sign(const struct tls_key *k, enum tls_md md, struct slice in, struct buf *out) WARN_UNUSED;
/* 0: it is good; -E_REJECT: it is not; other codes: it could not be tried. */
int tls_key_verify(const struct tls_key *k, enum tls_md md, struct slice in, struct slice signature) WARN_UNUSED;
