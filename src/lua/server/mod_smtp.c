/* SPDX-License-Identifier: Apache-2.0 */
/* mod_smtp - Lua's view of the ESMTP server: start_esmtp_listener, make_listener_domain, connection metadata. */
#include <lauxlib.h>

#include "lua/modules.h"
#include "lua/store/cached.h"
#include "policy/arg.h"
#include "policy/objects.h"
#include "smtp/server/conn_meta.h"
#include "smtp/server/server.h"

static void check_val(lua_State *L, int idx, struct val *out)
{
	int rc = policy_to_val(L, idx, policy_arena(L), out);
	if (rc < 0)
		policy_raise(L, rc);
}

static int start_esmtp_listener(lua_State *L)
{
	struct val opts;
	policy_check_opts_table(L, 1, "start_esmtp_listener");
	if (policy_to_val_mode(L, 1, POLICY_VAL_RAW, policy_arena(L), &opts) < 0)
		policy_raise(L, -E_INVAL);
	int rc = policy_is_validating() ? smtp_server_check(&opts) : smtp_server_listen(&opts);
	return rc < 0 ? policy_raise_opts_values(L, "start_esmtp_listener") : 0;
}

static int make_listener_domain(lua_State *L)
{
	struct val opts;
	struct listener_domain *d;
	check_val(L, 1, &opts);
	int rc = listener_domain_parse(&opts, &d);
	if (rc < 0)
		return policy_raise_opts(L, "make_listener_domain");
	policy_obj_push(L, &LISTENER_DOMAIN_OBJ, d);
	listener_domain_unref(&d);
	return 1;
}

static int apply_supplemental_trace_header(lua_State *L)
{
	struct msg *m = policy_obj_check(L, 1, &MSG_OBJ);
	struct val opts = val_null();
	if (!lua_isnoneornil(L, 2))
		check_val(L, 2, &opts);
	int rc = smtp_trace_apply_supplemental(m, opts.type == VAL_NULL ? NULL : &opts);
	return rc < 0 ? policy_raise(L, rc) : 0;
}

static int get_meta(lua_State *L)
{
	struct conn_meta *m = policy_obj_check(L, 1, &CONN_META_OBJ);
	const struct val *v = conn_meta_get(m, policy_check_slice(L, 2));
	if (v == NULL)
		lua_pushnil(L);
	else
		policy_push_val(L, v);
	return 1;
}

static int set_meta(lua_State *L)
{
	struct conn_meta *m = policy_obj_check(L, 1, &CONN_META_OBJ);
	struct slice key = policy_check_slice(L, 2);
	struct val v;
	int rc = policy_to_val_mode(L, 3, POLICY_VAL_META, policy_arena(L), &v);
	if (rc < 0)
		return policy_raise(L, rc);
	conn_meta_set(m, key, &v);
	return 0;
}

static int auth_info(lua_State *L)
{
	policy_push_val(L, conn_meta_auth_info(policy_obj_check(L, 1, &CONN_META_OBJ)));
	return 1;
}

static const struct luaL_Reg CONN_META_METHODS[] = { { "get_meta", get_meta }, { "set_meta", set_meta }, { "auth_info", auth_info }, { NULL, NULL } };
static const struct luaL_Reg FUNCTIONS[] = {
	{ "start_esmtp_listener", start_esmtp_listener },
	{ "make_listener_domain", make_listener_domain },
	{ "apply_supplemental_trace_header", apply_supplemental_trace_header },
	{ NULL, NULL },
};

const struct policy_module mod_smtp = { .name = "kumo", .functions = FUNCTIONS };

void mod_smtp_register(void)
{
	policy_obj_methods(&CONN_META_OBJ, CONN_META_METHODS);
	cached_shareable(&LISTENER_DOMAIN_OBJ);
}
