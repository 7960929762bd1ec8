/* SPDX-License-Identifier: Apache-2.0 */
/* A key record on the first line and a message below: its DKIM signatures and its ARC chain. */
#include "mailauth/arc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int lookup(void *arg, struct slice name, enum dns_type type, struct arena *a, struct auth_rrs *out)
{
	*out = (struct auth_rrs){ .status = DNS_OK, .n = 1, .rrs = arena_alloc(a, sizeof *out->rrs) };
	out->rrs[0].data = *(struct slice *)arg;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice msg = slice_new(data, size), key = SLICE_NONE;
	struct arena *a = arena_create();
	struct arc_chain *c = arena_alloc(a, sizeof *c);
	const struct dkim_verify_opts o = { .dns = { lookup, &key }, .now_s = 1800000000 };
	struct val v;

	slice_split_next(&msg, '\n', &key);
	if (dkim_verify(msg, &o, a, &v) < 0)
		err_clear();
	if (arc_verify(msg, &o, a, c) < 0)
		err_clear();
	else
		arc_result(c, a, &v);
	arena_destroy(&a);
	return 0;
}
