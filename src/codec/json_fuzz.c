/* SPDX-License-Identifier: Apache-2.0 */
/* What is parsed prints to a text that parses to the same. */
#include <stdlib.h>

#include "codec/val.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_create();
	struct buf b = { 0 };
	struct val v, again;
	if (json_parse(slice_new(data, size), a, &v) == 0)
		for (int flags = 0; flags < 4; flags++) {
			buf_clear(&b);
			json_put(&b, &v, flags);
			if (json_parse(buf_view(&b), a, &again) < 0 || !val_eq(&v, &again))
				abort();
		}
	buf_fini(&b);
	arena_destroy(&a);
	return 0;
}
