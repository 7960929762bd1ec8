/* SPDX-License-Identifier: Apache-2.0 */
/* Command lines, paths and replies; what was accepted must be accepted again in its normal form. */
#include "codec/rfc5321.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = slice_new(data, size), rest = in, line;
	struct arena *a = arena_create();
	struct smtp_reply_reader reply = { 0 };
	struct smtp_cmd c;
	struct smtp_path p, again;

	if (smtp_cmd_parse(in, a, &c) < 0)
		assert(c.fault != SMTP_FAULT_NONE);
	if (smtp_address_parse(in, a, &p) == 0 && p.kind == SMTP_PATH_MAILBOX) {
		int rc = smtp_address_parse(p.text, a, &again);
		assert(rc == 0 && slice_eq(p.text, again.text));
		(void)smtp_path_user(&p, a);
	}
	while (slice_split_next(&rest, '\n', &line))
		if (smtp_reply_line(&reply, line) != 0)
			smtp_reply_reset(&reply);
	smtp_reply_fini(&reply);
	arena_destroy(&a);
	return 0;
}
