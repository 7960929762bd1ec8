/* SPDX-License-Identifier: Apache-2.0 */
/* Compressed bodies, damaged or too large: the limit holds. */
#include "net/http_internal.h"

#define LIMIT 65536

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = slice_new(data, size), codings[] = { SLICE("gzip"), SLICE("deflate") };

	for (size_t i = 0; i < ARRAY_LEN(codings); i++) {
		struct buf out = { 0 };
		if (http_decompress(codings[i], in, LIMIT, &out) == 0)
			assert(out.len <= LIMIT);
		buf_fini(&out);
	}
	return 0;
}
