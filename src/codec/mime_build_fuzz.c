/* SPDX-License-Identifier: Apache-2.0 */
/* Messages built from a sender's texts, a line each: text, HTML, then name, type and content of attachments. What is built can be read. */
#include "codec/mime.h"

static struct slice next_line(struct slice *rest)
{
	struct slice line = SLICE("");
	(void)slice_split_next(rest, '\n', &line);
	return line;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice rest = slice_new(data, size), text = next_line(&rest), html = next_line(&rest);
	struct mime_builder m;
	struct mime_doc *again;
	struct buf b = { 0 };

	mime_builder_init(&m);
	m.stable = true;
	if (text.len)
		m.text = mime_new_text(m.doc, SLICE("text/plain"), text);
	if (html.len)
		m.html = mime_new_text(m.doc, SLICE("text/html"), html);
	for (int i = 0; i < 8 && rest.len; i++) {
		struct slice name = next_line(&rest), type = next_line(&rest);
		const struct mime_attachment opts = { .given = i % 3 != 2, .file_name = name, .content_id = i % 2 ? name : SLICE_NONE, .is_inline = i % 2 };
		mime_builder_attach(&m, mime_new_binary(m.doc, type, next_line(&rest), &opts));
	}
	if (mime_build(&m, 1767225600000000) == 0) {
		mime_put(&b, m.doc->root);
		assert(mime_parse(buf_view(&b), &again) == 0);
		mime_doc_unref(&again);
	}
	mime_builder_fini(&m);
	buf_fini(&b);
	return 0;
}
