/* SPDX-License-Identifier: Apache-2.0 */
#include "net/http_internal.h"
#include "rt/offload.h"
#include <zlib.h>

#define STEP 65536
#define OFFLOAD_MIN (128 * 1024)

static int inflate_all(struct slice in, int window, size_t limit, struct buf *out)
{
	z_stream z = { .next_in = (Bytef *)in.ptr, .avail_in = (uInt)in.len };
	int st = inflateInit2(&z, window);

	while (st == Z_OK) {
		buf_reserve(out, STEP);
		z.next_out = (Bytef *)out->ptr + out->len;
		z.avail_out = STEP;
		st = inflate(&z, Z_NO_FLUSH);
		out->len += STEP - z.avail_out;
		if (out->len > limit || (st == Z_OK && z.avail_in == 0 && z.avail_out == STEP))
			break;
		if (st == Z_BUF_ERROR)
			break;
	}
	inflateEnd(&z);
	if (out->len > limit)
		return err_set(E_LIMIT, "length limit exceeded");
	return st == Z_STREAM_END ? 0 : err_set(E_INVAL, "damaged compressed body");
}

int http_decompress(struct slice coding, struct slice in, size_t limit, struct buf *out)
{
	if (slice_eq_nocase(coding, SLICE("gzip")) || slice_eq_nocase(coding, SLICE("x-gzip")))
		return inflate_all(in, 15 + 16, limit, out);
	if (slice_eq_nocase(coding, SLICE("deflate")))
		return inflate_all(in, 15, limit, out);
	return err_set(E_UNSUPPORTED, "content-encoding %.*s", SLICE_ARG(coding));
}

struct job {
	enum http1_coding coding;
	struct slice in;
	struct buf *out;
	int rc;
};

static void deflate_all(void *arg)
{
	struct job *j = arg;
	z_stream z = { .next_in = (Bytef *)j->in.ptr, .avail_in = (uInt)j->in.len };

	j->rc = -E_IO;
	if (deflateInit2(&z, 4, Z_DEFLATED, j->coding == HTTP1_GZIP ? 15 + 16 : 15, 8, Z_DEFAULT_STRATEGY) != Z_OK)
		return;
	size_t bound = deflateBound(&z, j->in.len);
	buf_reserve(j->out, bound);
	z.next_out = (Bytef *)j->out->ptr + j->out->len;
	z.avail_out = (uInt)bound;
	if (deflate(&z, Z_FINISH) == Z_STREAM_END) {
		j->out->len += bound - z.avail_out;
		j->rc = 0;
	}
	deflateEnd(&z);
}

int http_compress(enum http1_coding coding, struct slice in, struct buf *out)
{
	struct job j = { coding, in, out, 0 };

	if (in.len >= OFFLOAD_MIN)
		rt_offload(deflate_all, &j);
	else
		deflate_all(&j);
	return j.rc < 0 ? err_set(E_IO, "compressing a response") : 0;
}
