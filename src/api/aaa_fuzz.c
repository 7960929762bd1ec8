/* SPDX-License-Identifier: Apache-2.0 */
/* Access control lists as TOML files hold them (a map), and as Lua gives them (rules; JSON here). */
#include "api/aaa.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = slice_new(data, size);
	struct arena *a = arena_create();
	struct vdoc *d;
	struct val v;

	if (toml_parse(in, "acl.toml", a, &v) == 0 && aaa_acl_map_from_val(&v, &d) == 0)
		vdoc_unref(&d);
	if (json_parse(in, a, &v) == 0) {
		if (aaa_acl_from_val(&v, &d) == 0)
			vdoc_unref(&d);
		if (aaa_acl_map_from_val(&v, &d) == 0)
			vdoc_unref(&d);
	}
	arena_destroy(&a);
	return 0;
}
