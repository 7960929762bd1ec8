/* SPDX-License-Identifier: Apache-2.0 */
#include "smtp/server/data_reader.h"

void data_reader_init(struct data_reader *r, size_t max_bytes, size_t max_line)
{
	*r = (struct data_reader){ .max_bytes = max_bytes, .max_line = max_line };
}

void data_reader_fini(struct data_reader *r)
{
	buf_fini(&r->out);
}

/* Where the line's CR LF begins, or -1. Sees lone line ends on the way. */
static ptrdiff_t line_end(struct data_reader *r, struct slice in)
{
	for (size_t from = 0; from < in.len;) {
		const char *lf = memchr(in.ptr + from, '\n', in.len - from);
		if (lf == NULL)
			return -1;
		size_t at = (size_t)(lf - in.ptr);
		if (at > 0 && in.ptr[at - 1] == '\r')
			return (ptrdiff_t)at - 1;
		r->bare_line_end = true;
		from = at + 1;
	}
	return -1;
}

static void keep(struct data_reader *r, struct slice line)
{
	if (memchr(line.ptr, '\r', line.len) != NULL)
		r->bare_line_end = true;
	if (r->mid_line || line.len > r->max_line)
		r->line_too_long = true;
	if (!r->line_too_long && r->out.len + line.len + 2 > r->max_bytes)
		r->too_big = true;
	if (r->too_big || r->line_too_long) {
		buf_clear(&r->out);
		return;
	}
	buf_reserve(&r->out, line.len + 2);
	buf_slice(&r->out, line);
	buf_lit(&r->out, "\r\n");
}

bool data_reader_feed(struct data_reader *r, struct slice in, size_t *taken)
{
	struct slice rest = in;
	for (;;) {
		ptrdiff_t end = line_end(r, rest);
		if (end < 0)
			break;
		struct slice line = slice_sub(rest, 0, (size_t)end);
		rest = slice_sub(rest, (size_t)end + 2, SIZE_MAX);
		if (!r->mid_line && slice_eq(line, SLICE("."))) {
			*taken = (size_t)(rest.ptr - in.ptr);
			return true;
		}
		/* a dot that was not doubled is kept: a client that forgot to is taken at its word, as upstream does */
		if (!r->mid_line && slice_starts(line, SLICE("..")))
			line = slice_sub(line, 1, SIZE_MAX);
		keep(r, line);
		r->mid_line = false;
	}
	/* an unfinished line stays with the caller, unless it is too long already; its last octet may be the CR of a CRLF */
	if (rest.len > r->max_line + 3) {
		r->line_too_long = r->mid_line = true;
		rest = slice_sub(rest, rest.len - 1, 1);
	}
	*taken = (size_t)(rest.ptr - in.ptr);
	return false;
}

void data_fix_line_ends(struct slice text, struct buf *out)
{
	buf_reserve(out, text.len + text.len / 16 + 2);
	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];
		if (c == '\r') {
			buf_lit(out, "\r\n");
			if (i + 1 < text.len && text.ptr[i + 1] == '\n')
				i++;
		} else if (c == '\n') {
			buf_lit(out, "\r\n");
		} else {
			buf_putc(out, c);
		}
	}
}
