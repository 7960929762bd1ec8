/* SPDX-License-Identifier: Apache-2.0 */
/* tls_int - what contexts and streams share. */
#pragma once
#include <openssl/ssl.h>
#include <stdatomic.h>
#include "tls/tls.h"

#define TLS_CTX_MAGIC OBJ_MAGIC('T', 'L', 'S', 'C')
struct tls_ctx {
	uint32_t magic;
	atomic_uint refs;
	/* immutable */
	SSL_CTX *ssl;
	bool insecure, asks_client;
};
