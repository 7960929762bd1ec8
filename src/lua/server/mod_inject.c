/* SPDX-License-Identifier: Apache-2.0 */
/* mod_inject - kumo.api.inject: injection requests from policies; the rate limit of HTTP injection. */
#include <lauxlib.h>
#include "api/aaa.h"
#include "api/inject.h"
#include "policy/arg.h"
#include "policy/objects.h"

/* The request at argument 1 as a job of this machine's own. Raises. */
static void check_job(lua_State *L, struct inject_job *j)
{
	struct arena *a = policy_arena(L);
	struct val *source = arena_alloc(a, sizeof *source), *auth = arena_alloc(a, sizeof *auth);
	struct inject_request req;
	struct inject_origin origin = { .auth = auth };

	int rc = policy_to_val_mode(L, 1, POLICY_VAL_RAW, a, source);
	if (rc == 0)
		rc = opt_parse(&API_INJECT_REQUEST, source, a, &req);
	if (rc == 0)
		rc = ipaddr_parse(SLICE("127.0.0.1"), &origin.peer);
	if (rc < 0)
		policy_raise(L, rc);
	*auth = aaa_auth_info(a, &origin.peer);
	aaa_add_identity(a, auth, SLICE("kumomta.internal"), "LocalSystem");
	rc = inject_job_init(j, a, source, &req, &origin);
	if (rc < 0) {
		inject_job_fini(j);
		policy_raise(L, rc);
	}
}

static int inject_v1(lua_State *L)
{
	struct inject_result result;
	struct inject_job j;

	check_job(L, &j);
	int rc = inject_run(&j, &result);
	inject_job_fini(&j);
	if (rc < 0)
		return policy_raise(L, rc);
	struct val v = inject_result_val(policy_arena(L), &result);
	policy_push_val(L, &v);
	return 1;
}

static int build_v1(lua_State *L)
{
	struct inject_job j;
	int rc = 0;

	check_job(L, &j);
	const struct inject_recipient *r = j.req.recipients.items;
	lua_createtable(L, (int)j.req.recipients.n, 0);
	for (size_t i = 0; rc == 0 && i < j.req.recipients.n; i++) {
		struct msg *m;
		rc = inject_make(&j, &r[i], &m);
		if (rc < 0)
			break;
		policy_push_msg(L, m);
		lua_rawseti(L, -2, (lua_Integer)i + 1);
		msg_unref(&m);
	}
	inject_job_fini(&j);
	return rc < 0 ? policy_raise(L, rc) : 1;
}

static int set_httpinject_recipient_rate_limit(lua_State *L)
{
	struct rate_spec r = { 0 };
	int rc = lua_isnoneornil(L, 1) ? 0 : rate_spec_parse(policy_check_text(L, 1), &r);

	if (rc < 0)
		return policy_raise(L, rc);
	inject_set_rate(&r);
	return 0;
}

static const struct luaL_Reg INJECT_FUNCTIONS[] = { { "inject_v1", inject_v1 }, { "build_v1", build_v1 }, { NULL, NULL } };
static const struct luaL_Reg KUMO_FUNCTIONS[] = { { "set_httpinject_recipient_rate_limit", set_httpinject_recipient_rate_limit }, { NULL, NULL } };
extern const struct policy_module mod_inject, mod_inject_kumo;
const struct policy_module mod_inject = { .name = "kumo.api.inject", .functions = INJECT_FUNCTIONS };
const struct policy_module mod_inject_kumo = { .name = "kumo", .functions = KUMO_FUNCTIONS };
