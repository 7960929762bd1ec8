/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/http1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct http1_request r;
	struct http1_chunked c = { 0 };
	struct buf out = { 0 }, name = { 0 }, value = { 0 };
	struct slice in = slice_new(data, size), rest;
	size_t used;

	if (http1_request_parse(in, &r) == 0) {
		assert(r.head_len <= size && r.n_headers <= HTTP1_HEADERS_MAX);
		rest = r.query;
		while (http1_query_next(&rest, &name, &value))
			;
		(void)http1_accept_encoding(http1_header_get(&r, "accept-encoding"));
	}
	if (http1_chunked_feed(&c, in, &used, &out) >= 0)
		assert(used <= size && out.len <= size);
	buf_fini(&out);
	buf_fini(&name);
	buf_fini(&value);
	return 0;
}
