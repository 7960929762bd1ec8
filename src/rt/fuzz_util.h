/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_util - a stream that gives a peer's bytes, a few at a time, then ends; what is sent to the peer is dropped. For fuzz targets. */
#pragma once
#include <stdlib.h>
#include "base/slice.h"
#include "rt/io.h"
#include "rt/loop.h"

static inline ssize_t fuzz_read(void *layer, void *buf, size_t len, int64_t timeout_ms)
{
	struct slice *in = layer;
	size_t n = MIN(slice_sub(*in, 0, 7).len, len);
	(void)timeout_ms;
	if (n == 0)
		return err_negative(E_CLOSED);
	memcpy(buf, in->ptr, n);
	*in = slice_sub(*in, n, SIZE_MAX);
	return (ssize_t)n;
}

static inline ssize_t fuzz_writev(void *layer, const struct iovec *iov, int n, int64_t timeout_ms)
{
	size_t sum = 0;
	(void)layer;
	(void)timeout_ms;
	for (int i = 0; i < n; i++)
		sum += iov[i].iov_len;
	return (ssize_t)sum;
}

/* IN is what is left of it; it outlives the stream. */
static inline struct rt_io *fuzz_io(struct slice *in)
{
	static const struct rt_io_ops ops = { .read = fuzz_read, .writev = fuzz_writev };
	return rt_io_layer(&ops, in);
}

/* FN(DATA) in a fiber, as streams want it. */
static inline int fuzz_in_fiber(void (*fn)(void *in), const uint8_t *data, size_t size)
{
	static bool begun;
	const struct rt_conf conf = { .shards = 1, .offload_threads = 1 };
	struct slice in = slice_new(data, size);
	if (!begun && rt_init(&conf) < 0)
		abort();
	begun = true;
	rt_run(fn, &in);
	return 0;
}
