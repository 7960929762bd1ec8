/* SPDX-License-Identifier: Apache-2.0 */
/* What a client sends in front of its commands where the PROXY protocol is required. */
#include "rt/fuzz_util.h"
#include "smtp/server/session.h"

static void read_header(void *in)
{
	struct smtp_session s = { .io = fuzz_io(in) };

	if (session_read_proxy_header(&s) == 0) {	/* both addresses of a family, or none */
		assert(s.peer.ip.family == s.local.ip.family);
		assert(s.peer.ip.family == 0 || s.peer.ip.family == 4 || s.peer.ip.family == 6);
	}
	rt_io_close(&s.io);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return fuzz_in_fiber(read_header, data, size);
}
