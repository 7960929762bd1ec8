/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mod_spf - kumo.spf: what a domain's policy says about the client of a connection or of a message.
 */
#include "lua/message/message.h"
#include "mailauth/spf.h"
#include "rt/clock.h"

/* Pushes what OBJ:get_meta(KEY) returns; a connection's metadata and a message's answer alike. */
static struct slice get_meta(lua_State *L, int obj, const char *key)
{
	size_t len;
	lua_getfield(L, obj, "get_meta");
	lua_pushvalue(L, obj);
	lua_pushstring(L, key);
	lua_call(L, 2, 1);
	const char *s = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &len) : NULL;
	struct slice copy = s != NULL ? arena_dup(policy_arena(L), slice_new(s, len)) : SLICE_NONE;
	lua_pop(L, 1);
	return copy;
}

static void read_meta(lua_State *L, int obj, struct spf_query *q)
{
	struct netaddr from;
	struct slice text = get_meta(L, obj, "received_from");
	if (text.ptr == NULL)
		policy_raisef(L, "received_from missing from metadata");
	if (netaddr_parse(text, 0, &from) < 0)
		policy_raise(L, -E_INVAL);
	q->ip = from.ip;
	q->helo = get_meta(L, obj, "ehlo_domain");
	q->receiver = get_meta(L, obj, "hostname");
}

/* {disposition = "pass", result = {method = "spf", result = "pass", reason = …, props = {"smtp.mailfrom" = …, "smtp.helo" = …}}} */
static void push_result(lua_State *L, const struct spf_query *q, const struct spf_result *r)
{
	struct arena *a = policy_arena(L);
	struct val out = val_obj(), res = val_obj(), props = val_obj();
	const char *name = spf_disposition_name(r->disposition);
	if (q->sender.ptr != NULL)
		val_put_lit(a, &props, "smtp.mailfrom", val_str(a, q->sender));
	if (q->helo.ptr != NULL)
		val_put_lit(a, &props, "smtp.helo", val_str(a, q->helo));
	val_put_lit(a, &res, "method", val_cstr(a, "spf"));
	val_put_lit(a, &res, "result", val_cstr(a, name));
	val_put_lit(a, &res, "reason", val_str(a, r->reason));
	val_put_lit(a, &res, "props", props);
	val_put_lit(a, &out, "disposition", val_cstr(a, name));
	val_put_lit(a, &out, "result", res);
	policy_push_val(L, &out);
}

static int run(lua_State *L, struct spf_query *q, struct slice resolver_name)
{
	struct dns_resolver *r = NULL;
	struct spf_result result;
	if (resolver_name.ptr != NULL && (r = dns_resolver_find(resolver_name)) == NULL)
		return policy_raisef(L, "resolver '%.*s' is not defined", SLICE_ARG(resolver_name));
	q->dns = auth_dns_of(r);
	q->now_s = rt_wall_us() / 1000000;
	int rc = spf_check(q, policy_arena(L), &result);
	if (r != NULL)
		dns_resolver_unref(&r);
	if (rc < 0)
		return policy_raise(L, rc);
	push_result(L, q, &result);
	return 1;
}

static int check_host(lua_State *L)
{
	struct spf_query q = { .domain = policy_check_text(L, 1), .sender = policy_opt_text(L, 3) };
	struct slice resolver = policy_opt_text(L, 4);
	if (lua_type(L, 2) != LUA_TUSERDATA)
		return policy_arg_error(L, 2, "userdata", "expected the metadata of a connection");
	read_meta(L, 2, &q);
	if (q.sender.ptr == NULL)
		q.helo = q.domain;
	return run(L, &q, resolver);
}

static int check_msg(lua_State *L)
{
	struct msg *m = lua_check_msg(L);
	struct slice resolver = policy_opt_text(L, 2);
	struct spf_query q = { 0 };
	struct smtp_path path;
	struct msg_env *env;
	read_meta(L, 1, &q);
	int rc = msg_env(m, &env);
	if (rc < 0)
		return policy_raise(L, rc);
	struct slice sender = arena_dup(policy_arena(L), env->sender);
	msg_env_unref(&env);
	if (smtp_address_parse(sender, policy_arena(L), &path) < 0)
		return policy_raise(L, -E_INVAL);
	/* the null sender: the name in EHLO is what is asked about (RFC 7208 2.4) */
	q.sender = path.text;
	q.domain = path.kind == SMTP_PATH_MAILBOX ? path.domain : q.helo.ptr != NULL ? q.helo : SLICE("");
	return run(L, &q, resolver);
}

static const luaL_Reg FUNCTIONS[] = {
	{ "check_host", check_host },
	{ "check_msg", check_msg },
	{ NULL, NULL },
};
extern const struct policy_module mod_spf;
const struct policy_module mod_spf = { "kumo.spf", FUNCTIONS, NULL };
