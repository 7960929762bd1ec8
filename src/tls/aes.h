/* SPDX-License-Identifier: Apache-2.0 */
/*
 * aes - AES-128 and AES-256 with padding (PKCS#7), for policies that exchange small secrets with other systems.
 *
 * In CBC mode a random initialization vector stands in front of what is encrypted. ECB hides no patterns and is there for compatibility.
 *
 * Thread:  any.   Memory: appends to the caller's buffer.   Yields: never.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"

enum tls_aes_mode { TLS_AES_ECB, TLS_AES_CBC };
int tls_aes_encrypt(enum tls_aes_mode mode, struct slice key, struct slice in, struct buf *out) WARN_UNUSED;	/* -E_INVAL: the key's length */
int tls_aes_decrypt(enum tls_aes_mode mode, struct slice key, struct slice in, struct buf *out) WARN_UNUSED;	/* -E_INVAL: also wrong padding or length */
