/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/redis.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_create();
	struct val v;
	size_t used = 0;
	ptrdiff_t n = redis_parse(slice_new(data, size), a, &v, &used);
	assert(n <= (ptrdiff_t)size && used <= size);
	arena_destroy(&a);
	return 0;
}
