/* SPDX-License-Identifier: Apache-2.0 */
/* Patterns of a bounce classifier, a line each; behind an empty line what a peer says. All at once find what one after the other finds. */
#include "logs/rules.h"

#define RULES_MAX 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = slice_new(data, size), pattern, value, want = SLICE_NONE;
	ptrdiff_t end = slice_find(in, SLICE("\n\n"));
	if (end < 0)
		return 0;
	struct slice patterns = slice_sub(in, 0, (size_t)end), text = slice_sub(in, (size_t)end + 2, SIZE_MAX);
	struct rules *all = rules_create();

	for (int i = 0; i < RULES_MAX && slice_split_next(&patterns, '\n', &pattern); i++) {
		struct rules *one = rules_create();
		if (rules_add(one, pattern, pattern) == 0) {
			rules_compile(one);
			if (!want.ptr && rules_match(one, text, &value))
				want = pattern;
			assert(rules_add(all, pattern, pattern) == 0);
		}
		rules_unref(&one);
	}
	rules_compile(all);
	assert(rules_match(all, text, &value) == (want.ptr != NULL));
	assert(!want.ptr || slice_eq(value, want));
	rules_unref(&all);
	return 0;
}
