/* SPDX-License-Identifier: Apache-2.0 */
/* http_internal - content codings for http_server.c. Thread: any. Memory: the caller's buffers. Yields: http_compress for large bodies. */
#pragma once
#include "codec/http1.h"

/* CODING "gzip", "deflate". -E_LIMIT: more than LIMIT bytes come out; -E_INVAL: damaged; -E_UNSUPPORTED: another coding. */
int http_decompress(struct slice coding, struct slice in, size_t limit, struct buf *out) WARN_UNUSED;
int http_compress(enum http1_coding coding, struct slice in, struct buf *out) WARN_UNUSED;
