/* SPDX-License-Identifier: Apache-2.0 */
#include "base/nearest.h"

#define NAME_MAX_LEN 64

/* Optimal string alignment: insert, delete, replace and swap of neighbours cost 1 each. */
static size_t distance(struct slice a, struct slice b)
{
	uint8_t rows[3][NAME_MAX_LEN + 1];
	uint8_t *before = rows[0], *above = rows[1], *row = rows[2];
	for (size_t j = 0; j <= b.len; j++)
		above[j] = (uint8_t)j;
	for (size_t i = 1; i <= a.len; i++) {
		row[0] = (uint8_t)i;
		for (size_t j = 1; j <= b.len; j++) {
			bool same = ascii_lower(a.ptr[i - 1]) == ascii_lower(b.ptr[j - 1]);
			unsigned best = MIN(above[j] + 1u, row[j - 1] + 1u);
			best = MIN(best, above[j - 1] + (same ? 0u : 1u));
			if (i > 1 && j > 1 && a.ptr[i - 1] == b.ptr[j - 2] && a.ptr[i - 2] == b.ptr[j - 1])
				best = MIN(best, before[j - 2] + 1u);
			row[j] = (uint8_t)best;
		}
		uint8_t *free_row = before;
		before = above;
		above = row;
		row = free_row;
	}
	return above[b.len];
}

const char *nearest_name(struct slice given, const char *const *names)
{
	const char *nearest = NULL;
	size_t least = SIZE_MAX;
	if (given.len == 0 || given.len > NAME_MAX_LEN)
		return NULL;
	for (; *names != NULL; names++) {
		struct slice name = slice_from_cstr(*names);
		if (name.len > NAME_MAX_LEN)
			continue;
		size_t d = distance(given, name);
		if (d < least && d <= (MAX(name.len, given.len) + 2) / 3) {
			least = d;
			nearest = *names;
		}
	}
	return nearest;
}
