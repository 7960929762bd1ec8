/* SPDX-License-Identifier: Apache-2.0 */
/* What is parsed prints to a text that parses to the same. */
#include <stdlib.h>

#include "codec/val.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* NaN is unequal to itself. */
static bool has_nan(const struct val *v)
{
	for (uint32_t i = 0; (v->type == VAL_LIST || v->type == VAL_OBJ) && i < v->n; i++)
		if (has_nan(v->type == VAL_LIST ? &v->items[i] : &v->members[i].val))
			return true;
	return v->type == VAL_FLOAT && v->f != v->f;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_create();
	struct buf b = { 0 };
	struct val v, again;
	if (toml_parse(slice_new(data, size), NULL, a, &v) == 0 && !has_nan(&v))
		for (int flags = 0; flags < 4; flags++) {
			buf_clear(&b);
			if (toml_put(&b, &v, flags) < 0 || toml_parse(buf_view(&b), "x", a, &again) < 0 || !val_eq(&v, &again))
				abort();
		}
	buf_fini(&b);
	arena_destroy(&a);
	return 0;
}
