/* SPDX-License-Identifier: Apache-2.0 */
/* mod_xfer - kumo.xfer: messages that go on to another node. */
#include "base/slice.h"
#include "lua/message/message.h"
#include "lua/text/mod_time.h"
#include "queue/admin/xfer.h"

static int done(lua_State *L, int rc)
{
	return rc < 0 ? policy_raise(L, rc) : 0;
}

static int get_xfer_target(lua_State *L)
{
	struct buf url = { 0 };
	int rc = xfer_target(lua_check_msg(L), &url);

	policy_push_slice(L, rc == 1 ? buf_view(&url) : SLICE_NONE);
	buf_fini(&url);
	return rc < 0 ? policy_raise(L, rc) : 1;
}

static int xfer(lua_State *L)
{
	struct msg *m = lua_check_msg(L);
	struct slice url = policy_check_text(L, 2), reason = policy_opt_text(L, 3);

	return done(L, xfer_start(m, url, reason));
}

static int cancel_xfer(lua_State *L)
{
	struct msg *m = lua_check_msg(L);

	return done(L, xfer_cancel(m, policy_opt_text(L, 2)));
}

/* (message, URL, insert_context, increment_attempts, delay, reason): what stands between comes from the event as it is. */
static int xfer_in_requeue(lua_State *L)
{
	struct msg *m = lua_check_msg(L);
	struct slice url = policy_check_text(L, 2), reason = policy_opt_text(L, 6);

	policy_check_table(L, 3, "table");
	int64_t delay_ms = lua_isnoneornil(L, 5) ? -1 : lua_check_delta_ms(L, 5);
	return done(L, xfer_start_in_requeue(m, url, policy_check_bool(L, 4), delay_ms, reason));
}

static const luaL_Reg FUNCTIONS[] = {
	{ "get_xfer_target", get_xfer_target }, { "xfer", xfer }, { "cancel_xfer", cancel_xfer }, { "xfer_in_requeue", xfer_in_requeue }, { NULL, NULL },
};
extern const struct policy_module mod_xfer;
const struct policy_module mod_xfer = { "kumo.xfer", FUNCTIONS, NULL };
