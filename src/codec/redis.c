/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/redis.h"

void redis_put_command(struct buf *b, const struct slice *args, size_t n)
{
	buf_printf(b, "*%zu\r\n", n);
	for (size_t i = 0; i < n; i++) {
		buf_printf(b, "$%zu\r\n", args[i].len);
		buf_slice(b, args[i]);
		buf_lit(b, "\r\n");
	}
}

struct reader {
	struct slice rest;
	struct arena *arena;
	struct slice error;	/* of the first error reply, at the top or within a list */
	bool failed;
};

enum { MORE = 0, DONE = 1 };

/* A line without its CRLF. */
static int take_line(struct reader *r, struct slice *line)
{
	ptrdiff_t cr = slice_find(r->rest, SLICE("\r\n"));
	if (cr < 0)
		return r->rest.len > 65536 ? err_set(E_PROTO, "redis: a line without end") : MORE;
	*line = slice_sub(r->rest, 0, (size_t)cr);
	r->rest = slice_sub(r->rest, (size_t)cr + 2, SIZE_MAX);
	return DONE;
}

static int bulk(struct reader *r, int64_t len, struct val *out)
{
	if (len == -1) {
		*out = val_null();
		return DONE;
	}
	if (len < 0 || len > REDIS_BULK_MAX)
		return err_set(E_PROTO, "redis: a text of %lld bytes", (long long)len);
	if (r->rest.len < (size_t)len + 2)
		return MORE;
	if (r->rest.ptr[len] != '\r' || r->rest.ptr[len + 1] != '\n')
		return err_set(E_PROTO, "redis: a text does not end where it should");
	*out = val_str(r->arena, slice_sub(r->rest, 0, (size_t)len));
	r->rest = slice_sub(r->rest, (size_t)len + 2, SIZE_MAX);
	return DONE;
}

static int value(struct reader *r, struct val *out, int depth);

static int list(struct reader *r, int64_t n, struct val *out, int depth)
{
	if (n == -1) {
		*out = val_null();
		return DONE;
	}
	if (n < 0 || n > REDIS_ITEMS_MAX || depth >= REDIS_DEPTH_MAX)
		return err_set(E_PROTO, "redis: a list of %lld items at depth %d", (long long)n, depth);
	*out = val_list();
	for (int64_t i = 0; i < n; i++) {
		struct val item;
		int rc = value(r, &item, depth + 1);
		if (rc != DONE)
			return rc;
		val_push(r->arena, out, item);
	}
	return DONE;
}

static int value(struct reader *r, struct val *out, int depth)
{
	struct slice line;
	int64_t n = 0;
	if (r->rest.len == 0)
		return MORE;
	char kind = r->rest.ptr[0];
	if (!strchr("+-:$*", kind) || kind == 0)
		return err_set(E_PROTO, "redis: an answer begins with byte 0x%02x", (unsigned char)kind);
	int rc = take_line(r, &line);
	if (rc != DONE)
		return rc;
	line = slice_sub(line, 1, SIZE_MAX);
	if (kind == '+' || kind == '-') {
		*out = kind == '+' && slice_eq(line, SLICE("OK")) ? val_bool(true) : val_str(r->arena, line);
		if (kind == '-' && !r->failed) {
			r->failed = true;
			r->error = line;
		}
		return DONE;
	}
	if (slice_to_i64(line, &n) < 0)
		return err_set(E_PROTO, "redis: `%.*s` is no number", (int)MIN(line.len, (size_t)40), line.ptr);
	if (kind == ':') {
		*out = val_int(n);
		return DONE;
	}
	return kind == '$' ? bulk(r, n, out) : list(r, n, out, depth);
}

ptrdiff_t redis_parse(struct slice s, struct arena *a, struct val *out, size_t *used)
{
	struct reader r = { .rest = s, .arena = a };
	struct val v;
	int rc = value(&r, &v, 0);
	if (rc != DONE)
		return rc;
	*used = s.len - r.rest.len;
	if (r.failed)
		return err_set(E_REJECT, "%.*s", (int)MIN(r.error.len, (size_t)1000), r.error.ptr);
	*out = v;
	return (ptrdiff_t)*used;
}
