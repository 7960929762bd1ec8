/* SPDX-License-Identifier: Apache-2.0 */
/* Any template may fail, none may break; the first byte chooses the dialect. */
#include "codec/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_create();
	struct template *t;
	struct val context;
	struct buf out = { 0 };
	if (json_parse(SLICE("{\"a\":1,\"l\":[1,\"x\",null],\"m\":{\"k\":{\"d\":2.5}},\"s\":\"text\"}"), a, &context) == 0 && size > 0 &&
	    template_compile(data[0] % 2 ? TEMPLATE_JINJA : TEMPLATE_HANDLEBARS, SLICE("x.html"), slice_new(data + 1, size - 1), &t) == 0) {
		if (template_render(t, &context, &out) < 0)
			buf_clear(&out);
		template_unref(&t);
	}
	buf_fini(&out);
	arena_destroy(&a);
	return 0;
}
