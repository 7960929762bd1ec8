/* SPDX-License-Identifier: Apache-2.0 */
/* An envelope that can be read must be written in a form that reads back and is written the same. */
#include "msg/msg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct msg_env *e, *again;
	if (msg_env_parse_json(slice_new(data, size), &e) < 0)
		return 0;
	struct buf one = { 0 }, two = { 0 };
	msg_env_put_json(&one, e);
	int rc = msg_env_parse_json(buf_view(&one), &again);
	assert(rc == 0);
	msg_env_put_json(&two, again);
	assert(slice_eq(buf_view(&one), buf_view(&two)));
	buf_fini(&one);
	buf_fini(&two);
	msg_env_unref(&e);
	msg_env_unref(&again);
	return 0;
}
