/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/aes.h"
#include <openssl/evp.h>
#include "base/rand.h"

#define BLOCK 16

static const EVP_CIPHER *cipher_for(enum tls_aes_mode mode, struct slice key)
{
	if (key.len == 16)
		return mode == TLS_AES_ECB ? EVP_aes_128_ecb() : EVP_aes_128_cbc();
	if (key.len == 32)
		return mode == TLS_AES_ECB ? EVP_aes_256_ecb() : EVP_aes_256_cbc();
	err_set(E_INVAL, "Key length must be 16 or 32 bytes");
	return NULL;
}

static int run(const EVP_CIPHER *cipher, struct slice key, const uint8_t *iv, struct slice in, bool encrypt, struct buf *out)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	assert(ctx != NULL);
	int n = 0, last = 0;
	if (in.len > INT32_MAX - 2 * BLOCK) {
		EVP_CIPHER_CTX_free(ctx);
		return err_set(E_LIMIT, "more than 2 GiB cannot be processed at once");
	}
	buf_reserve(out, in.len + 2 * BLOCK);
	uint8_t *to = (uint8_t *)out->ptr + out->len;
	bool ok = EVP_CipherInit_ex2(ctx, cipher, (const uint8_t *)key.ptr, iv, encrypt, NULL) == 1 &&
		  EVP_CipherUpdate(ctx, to, &n, (const uint8_t *)(in.ptr ? in.ptr : ""), (int)in.len) == 1 && EVP_CipherFinal_ex(ctx, to + n, &last) == 1;
	EVP_CIPHER_CTX_free(ctx);
	if (!ok)
		return err_set(E_INVAL, "%s failed: wrong key, or data that was not encrypted like this", encrypt ? "encryption" : "decryption");
	out->len += (size_t)(n + last);
	return 0;
}

int tls_aes_encrypt(enum tls_aes_mode mode, struct slice key, struct slice in, struct buf *out)
{
	const EVP_CIPHER *cipher = cipher_for(mode, key);
	uint8_t iv[BLOCK] = { 0 };
	size_t start = out->len;
	if (!cipher)
		return -E_INVAL;
	if (mode == TLS_AES_CBC) {
		rand_bytes(iv, sizeof iv);
		buf_put(out, iv, sizeof iv);
	}
	int rc = run(cipher, key, mode == TLS_AES_CBC ? iv : NULL, in, true, out);
	if (rc < 0)
		buf_truncate(out, start);
	return rc;
}

int tls_aes_decrypt(enum tls_aes_mode mode, struct slice key, struct slice in, struct buf *out)
{
	const EVP_CIPHER *cipher = cipher_for(mode, key);
	const uint8_t *iv = NULL;
	if (!cipher)
		return -E_INVAL;
	if (mode == TLS_AES_CBC) {
		if (in.len < BLOCK)
			return err_set(E_INVAL, "decryption failed: no initialization vector in front of the data");
		iv = (const uint8_t *)in.ptr;
		in = slice_sub(in, BLOCK, SIZE_MAX);
	}
	return run(cipher, key, iv, in, false, out);
}
