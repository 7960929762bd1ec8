/* SPDX-License-Identifier: Apache-2.0 */
/* Frames of a peer until something is wrong; then the same bytes as a message of ours, read again. */
#include "net/websocket.h"
#include "rt/fuzz_util.h"

#define LIMIT 4096

static void read_frames(void *arg)
{
	struct slice in = *(struct slice *)arg, all = in;
	struct buf message = { 0 }, frame = { 0 };
	enum ws_op op;
	struct rt_io *io = fuzz_io(&in);

	while (ws_read(io, LIMIT, &op, &message) == 0)
		assert(message.len <= LIMIT);
	rt_io_close(&io);
	ws_frame_put(&frame, WS_BINARY, all, all.len % 2);
	in = buf_view(&frame);
	io = fuzz_io(&in);
	assert(ws_read(io, all.len, &op, &message) == 0 && op == WS_BINARY && slice_eq(buf_view(&message), all));
	rt_io_close(&io);
	buf_fini(&message);
	buf_fini(&frame);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return fuzz_in_fiber(read_frames, data, size);
}
