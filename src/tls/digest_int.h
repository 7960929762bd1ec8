/* SPDX-License-Identifier: Apache-2.0 */
/* The fetched algorithms, for the other files of this folder. Thread: any.   Memory: static.   Yields: never. */
#pragma once
#include <openssl/evp.h>
#include "tls/digest.h"

const EVP_MD *tls_md_fetched(enum tls_md md);
