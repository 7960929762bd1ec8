/* SPDX-License-Identifier: Apache-2.0 */
/* mod_spool - kumo.define_spool and its kin: where messages are stored. */
#include "policy/arg.h"
#include "spool/spool.h"

static int define_spool(lua_State *L)
{
	struct spool_opts o;
	policy_check_opts(L, 1, &SPOOL_OPTS, policy_arena(L), &o);
	/* A failure is not the policy's to catch: the start of the spool reports it, with those of other spools. */
	if (!policy_is_validating())
		spool_define(&o);
	return 0;
}

static int suspend_delivery_when_spool_unhealthy(lua_State *L)
{
	spool_set_suspend_delivery(policy_check_bool(L, 1));
	return 0;
}

static const struct luaL_Reg FUNCTIONS[] = {
	{ "define_spool", define_spool },
	{ "suspend_delivery_when_spool_unhealthy", suspend_delivery_when_spool_unhealthy },
	{ NULL, NULL },
};
extern const struct policy_module mod_spool;
const struct policy_module mod_spool = { .name = "kumo", .functions = FUNCTIONS };
