/* SPDX-License-Identifier: Apache-2.0 */
/* A pattern, a line end, a text; in both dialects. */
#include "base/buf.h"
#include "codec/normalize.h"
#include "codec/regex.h"

static void match_all(const struct regex *r, struct slice text)
{
	struct regex_match m;

	for (size_t from = 0, turns = 0; from <= text.len && turns < 100 && regex_find(r, text, from, &m) == 1; turns++) {
		assert(m.n >= 1 && m.n <= REGEX_GROUPS_MAX && m.group[0].ptr >= text.ptr && m.group[0].ptr + m.group[0].len <= text.ptr + text.len);
		from = (size_t)(m.group[0].ptr - text.ptr) + m.group[0].len + (m.group[0].len == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = slice_new(data, size);
	ptrdiff_t lf = slice_chr(in, '\n');
	struct slice pattern = slice_sub(in, 0, lf < 0 ? SIZE_MAX : (size_t)lf), text = lf < 0 ? SLICE("") : slice_sub(in, (size_t)lf + 1, SIZE_MAX);
	struct buf b = { 0 };
	struct regex *r;

	for (int dialect = REGEX_FULL; dialect <= REGEX_PLAIN; dialect++) {
		if (regex_create(pattern, dialect, &r) < 0)
			continue;
		match_all(r, text);
		for (size_t i = 0; i < regex_n_groups(r); i++)
			(void)regex_group_name(r, i);
		regex_destroy(&r);
	}
	normalize_smtp_response(&b, in);
	buf_fini(&b);
	return 0;
}
