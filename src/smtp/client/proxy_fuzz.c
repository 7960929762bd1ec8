/* SPDX-License-Identifier: Apache-2.0 */
/* What a SOCKS5 proxy answers; an odd first byte: with a login. */
#include "rt/fuzz_util.h"
#include "smtp/client/session.h"

static void shake_hands(void *arg)
{
	struct slice in = *(struct slice *)arg;
	struct source_opts o = { .socks5_proxy_source_address = { .family = 4 } };
	struct netaddr to = { .ip.family = 6, .port = 25 }, bound = { 0 };

	if (in.len && in.ptr[0] % 2) {
		o.socks5_proxy_username = SLICE("user");
		o.socks5_proxy_password = SLICE("password");
	}
	in = slice_sub(in, 1, SIZE_MAX);
	struct rt_io *io = fuzz_io(&in);
	if (smtp_socks_handshake(io, &o, &to, &bound) == 0)
		assert(bound.ip.family == 4 || bound.ip.family == 6);
	rt_io_close(&io);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return fuzz_in_fiber(shake_hands, data, size);
}
