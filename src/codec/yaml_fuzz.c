/* SPDX-License-Identifier: Apache-2.0 */
/* What is parsed prints to a text that can be parsed. */
#include <stdlib.h>

#include "codec/val.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_create();
	struct buf b = { 0 };
	struct val v;
	if (yaml_parse(slice_new(data, size), NULL, a, &v) == 0)
		yaml_put(&b, &v);
	buf_fini(&b);
	arena_destroy(&a);
	return 0;
}
