/* SPDX-License-Identifier: Apache-2.0 */
/* A pattern, a line end, a path. */
#include "policy/glob.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = slice_new(data, size);
	ptrdiff_t lf = slice_chr(in, '\n');

	if (lf >= 0 && memchr(data, 0, size) == NULL)
		(void)glob_match(slice_sub(in, 0, (size_t)lf), slice_sub(in, (size_t)lf + 1, SIZE_MAX));
	return 0;
}
