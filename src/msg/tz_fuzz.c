/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include "msg/tz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tz *z = tz_parse(slice_new(data, size));
	if (z == NULL)
		return 0;
	static const int64_t TIMES[] = { -4000000000, -1, 0, 1700000000, 2147483648, 4102444800, 32503680000 };
	for (size_t i = 0; i < ARRAY_LEN(TIMES); i++) {
		int64_t utc;
		tz_offset_at(z, TIMES[i]);
		if (tz_local_to_utc(z, TIMES[i], &utc) == 0)
			assert(utc + tz_offset_at(z, utc) == TIMES[i]);
	}
	free(z);
	return 0;
}
