/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/report.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_create();
	struct report_failure *f;
	struct val v;
	if (report_parse_dsn(slice_new(data, size), a, &v) == 0)
		(void)report_dsn_failures(&v, a, &f);
	if (report_parse_arf(slice_new(data, size), a, &v) < 0)
		err_clear();
	(void)report_parse_trace(slice_new(data, size), a, &v);
	arena_destroy(&a);
	return 0;
}
