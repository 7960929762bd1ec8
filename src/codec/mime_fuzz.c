/* SPDX-License-Identifier: Apache-2.0 */
/* Trees of parts: read, decoded, rebuilt, written; what was written is read again. */
#include "codec/mime.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look(struct mime_part *p, struct arena *a)
{
	struct slice body;
	bool text;
	if (mime_body(p, a, &body, &text) < 0)
		err_clear();
	for (uint32_t i = 0; i < p->n_parts; i++)
		look(p->parts[i], a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mime_doc *d, *again, *out;
	struct arena *a = arena_create();
	struct mime_structure s;
	struct buf b = { 0 };

	if (mime_parse(slice_new(data, size), &d) == 0) {
		look(d->root, a);
		mime_structure(d->root, a, &s);
		(void)mime_check(d->root);
		mime_put(&b, d->root);
		if (mime_parse(buf_view(&b), &again) == 0)
			mime_doc_unref(&again);
		if (mime_rebuild(d->root, NULL, &out) == 0)
			mime_doc_unref(&out);
		mime_doc_unref(&d);
	}
	buf_fini(&b);
	arena_destroy(&a);
	return 0;
}
