/* SPDX-License-Identifier: Apache-2.0 */
/* The text cut in two anywhere gives what the whole gives; nothing that is kept holds a line end that could end it. */
#include <assert.h>

#include "smtp/server/data_reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = slice_new(data, size);
	struct data_reader whole, parts;
	size_t taken, first, second = 0, cut = size ? data[0] % size : 0;
	data_reader_init(&whole, 4096, 100);
	data_reader_init(&parts, 4096, 100);
	bool end = data_reader_feed(&whole, in, &taken);
	bool end2 = data_reader_feed(&parts, slice_sub(in, 0, cut), &first);
	if (!end2)
		end2 = data_reader_feed(&parts, slice_sub(in, first, SIZE_MAX), &second);
	assert(end == end2);
	if (end) {
		assert(taken == first + second);
		assert(slice_eq(buf_view(&whole.out), buf_view(&parts.out)) || whole.line_too_long);
	}
	data_reader_fini(&whole);
	data_reader_fini(&parts);
	return 0;
}
