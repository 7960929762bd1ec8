/* SPDX-License-Identifier: Apache-2.0 */
#include "kcli/table.h"
#include "base/utf8.h"
#include "base/xalloc.h"
#include <stdio.h>
#include <stdlib.h>
#include <utf8proc.h>

size_t table_width(const char *text)
{
	struct slice s = slice_from_cstr(text);
	size_t width = 0, last = 0;
	uint32_t cp;

	while (s.len) {
		size_t n = utf8_decode(s, &cp);
		if (n == 0) {
			n = 1;
			cp = '?';
		}
		if (cp == 0xfe0f) {	/* what precedes is shown as a picture */
			width += 2 - MIN(last, (size_t)2);
			last = 0;
		} else {
			int w = utf8proc_charwidth((utf8proc_int32_t)cp);
			last = w > 0 ? (size_t)w : 0;
			width += last;
		}
		s = slice_sub(s, n, SIZE_MAX);
	}
	return width;
}

static void put_cell(struct buf *out, const char *text, size_t width, bool right)
{
	size_t w = table_width(text), pad = width > w ? width - w : 0;

	if (right)
		buf_printf(out, "%*s", (int)pad, "");
	buf_cstr_put(out, text);
	if (!right)
		buf_printf(out, "%*s", (int)pad, "");
}

void table_print(const struct table_column *columns, size_t n, const char *const *cells, size_t rows)
{
	size_t *widths = xcalloc(n, sizeof *widths);
	struct buf out = { 0 };

	for (size_t c = 0; c < n; c++) {
		widths[c] = table_width(columns[c].name);
		for (size_t r = 0; r < rows; r++)
			widths[c] = MAX(widths[c], table_width(cells[r * n + c]));
	}
	for (size_t r = 0; r <= rows; r++) {
		for (size_t c = 0; c < n; c++) {
			if (c)
				buf_putc(&out, ' ');
			put_cell(&out, r ? cells[(r - 1) * n + c] : columns[c].name, widths[c], columns[c].right);
		}
		buf_putc(&out, '\n');
	}
	fwrite(out.ptr, 1, out.len, stdout);
	buf_fini(&out);
	free(widths);
}

void table_number(char out[32], int64_t n)
{
	char digits[32];
	size_t len = (size_t)snprintf(digits, sizeof digits, "%lld", (long long)n), at = 0;

	for (size_t i = 0; i < len; i++) {
		if (i && (len - i) % 3 == 0 && digits[i - 1] != '-')
			out[at++] = ',';
		out[at++] = digits[i];
	}
	out[at] = 0;
}
