/* SPDX-License-Identifier: Apache-2.0 */
/* Header blocks and values; a value that was read and written again must be readable. */
#include "codec/rfc5322.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_and_write(enum mail_kind k, struct slice value, struct arena *a)
{
	struct val v;
	struct buf b = { 0 };
	if (mail_parse_kind(k, value, a, &v) == 0 && mail_put_kind(&b, k, &v) < 0)
		assert(!"what was read could not be written");
	buf_fini(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice msg = slice_new(data, size), rest = msg;
	struct arena *a = arena_create();
	struct buf out = { 0 };
	struct mail_header h;

	while (mail_header_next(&rest, &h) > 0) {
		assert(h.name.len + h.sep.len + h.value.len <= h.raw.len);
		for (int k = MAIL_UNSTRUCTURED; k <= MAIL_DATE; k++)
			read_and_write(k, h.value, a);
	}
	assert(mail_body_offset(msg) <= msg.len);
	struct slice name = SLICE("To");
	if (mail_remove_headers(&out, msg, mail_match_name, &name) > 0)
		assert(out.len < size);
	buf_fini(&out);
	arena_destroy(&a);
	return 0;
}
