/* SPDX-License-Identifier: Apache-2.0 */
/* mod_api - kumo.start_http_listener, and kumo.aaa: who may use it. */
#include <lauxlib.h>
#include "api/aaa.h"
#include "api/api.h"
#include "lua/store/cached.h"
#include "lua/util.h"
#include "policy/arg.h"

static struct val check_val(lua_State *L, int idx)
{
	struct val v;
	int rc = policy_to_val(L, idx, policy_arena(L), &v);

	if (rc < 0)
		policy_raise(L, rc);
	return v;
}

static int start_http_listener(lua_State *L)
{
	struct val v;

	policy_check_opts_table(L, 1, "start_http_listener");
	if (policy_to_val_mode(L, 1, POLICY_VAL_RAW, policy_arena(L), &v) < 0)
		return policy_raise(L, -E_INVAL);
	int rc = policy_is_validating() ? api_listener_check(&v) : api_listener_start(&v);
	return rc < 0 ? policy_raise_opts(L, "start_http_listener") : 0;
}

static int push_doc(lua_State *L, int rc, const struct policy_obj_type *type, struct vdoc *d)
{
	if (rc < 0)
		return policy_raise(L, rc);
	policy_obj_push(L, type, d);
	vdoc_unref(&d);
	return 1;
}

static int make_access_control_list(lua_State *L)
{
	struct val v = check_val(L, 1);
	struct vdoc *d = NULL;
	int rc = aaa_acl_from_val(&v, &d);

	if (rc < 0)
		err_prefix("make_access_control_list");
	return push_doc(L, rc, &ACL_OBJ, d);
}

static int load_acl_map(lua_State *L)
{
	struct slice text = lua_load_key(L, lua_check_key_source(L, 1));
	struct vdoc *d = NULL;
	struct val v;
	int rc = toml_parse(text, lua_type(L, 1) == LUA_TSTRING ? lua_tostring(L, 1) : "the inline text", policy_arena(L), &v);

	if (rc == 0)
		rc = aaa_acl_map_from_val(&v, &d);
	if (rc < 0)
		err_prefix("failed to parse acl map data");
	return push_doc(L, rc, &ACL_MAP_OBJ, d);
}

static int acl_map_get(lua_State *L)
{
	struct vdoc *map = policy_obj_check(L, 1, &ACL_MAP_OBJ);
	const struct val *rules = val_get(&map->root, policy_check_text(L, 2));

	if (!rules) {
		lua_pushnil(L);
		return 1;
	}
	return push_doc(L, 0, &ACL_OBJ, vdoc_copy_of(rules));
}

static int make_http_url_resource(lua_State *L)
{
	struct slice local = policy_check_text(L, 1), url = policy_check_text(L, 2);
	struct val list = val_list();
	struct netaddr addr;
	ptrdiff_t at = slice_find(url, SLICE("://"));

	if (netaddr_parse(local, 0, &addr) < 0)
		policy_raise(L, -E_INVAL);
	if (at < 0)
		policy_raisef(L, "make_http_url_resource: `%s` is no URL", lua_tostring(L, 2));
	struct slice rest = slice_sub(url, at + 3, SIZE_MAX);
	at = slice_chr(rest, '/');
	struct slice path = at < 0 ? SLICE("/") : slice_sub(rest, at, SIZE_MAX);
	at = slice_chr(path, '?');
	aaa_http_resources(policy_arena(L), local, at < 0 ? path : slice_sub(path, 0, at), &list);
	policy_push_val(L, &list);
	return 1;
}

/* A list of names, as make_http_url_resource gives, or one name. */
static struct val check_resources(lua_State *L, int idx)
{
	struct val v = check_val(L, idx), one = val_list();
	bool ok = v.type == VAL_STR || (v.type == VAL_LIST && v.n > 0);

	for (uint32_t i = 0; ok && v.type == VAL_LIST && i < v.n; i++)
		ok = v.items[i].type == VAL_STR;
	if (!ok)
		policy_raisef(L, "query_resource_access: expected a resource, not a %s", val_type_name(v.type));
	if (v.type == VAL_LIST)
		return v;
	val_push(policy_arena(L), &one, v);
	return one;
}

static int query_resource_access(lua_State *L)
{
	struct val resources = check_resources(L, 1), auth = check_val(L, 2), result = val_obj();
	struct slice privilege = policy_check_text(L, 3);
	struct arena *a = policy_arena(L);
	struct aaa_verdict v;

	if (auth.type != VAL_OBJ)
		policy_raisef(L, "query_resource_access: expected an AuthInfo, not a %s", val_type_name(auth.type));
	int rc = aaa_query(&resources, &auth, privilege, a, &v);
	if (rc < 0)
		return policy_raise(L, rc);
	val_put_lit(a, &result, "allow", val_bool(v.access == AAA_ALLOW));
	if (v.resource.type == VAL_STR) {
		val_put_lit(a, &result, "rule", v.rule);
		val_put_lit(a, &result, "resource", v.resource);
	}
	policy_push_val(L, &result);
	return 1;
}

static int set_fall_back_to_acl_map(lua_State *L)
{
	aaa_set_fall_back(policy_check_bool(L, 1));
	return 0;
}

static int set_acl_cache_ttl(lua_State *L)
{
	aaa_set_acl_ttl_ms(policy_check_duration(L, 1) / 1000000);
	return 0;
}

/* Checks are cheap and not cached: the function is accepted. */
static int set_check_cache_ttl(lua_State *L)
{
	(void)policy_check_duration(L, 1);
	return 0;
}

static const struct luaL_Reg ACL_MAP_METHODS[] = { { "get", acl_map_get }, { NULL, NULL } };
static const struct luaL_Reg AAA_FUNCTIONS[] = {
	{ "load_acl_map", load_acl_map },
	{ "make_access_control_list", make_access_control_list },
	{ "make_http_url_resource", make_http_url_resource },
	{ "query_resource_access", query_resource_access },
	{ "set_fall_back_to_acl_map", set_fall_back_to_acl_map },
	{ "set_acl_cache_ttl", set_acl_cache_ttl },
	{ "set_check_cache_ttl", set_check_cache_ttl },
	{ NULL, NULL },
};
static const struct luaL_Reg FUNCTIONS[] = { { "start_http_listener", start_http_listener }, { NULL, NULL } };
extern const struct policy_module mod_api, mod_aaa;
const struct policy_module mod_api = { .name = "kumo", .functions = FUNCTIONS };
const struct policy_module mod_aaa = { .name = "kumo.aaa", .functions = AAA_FUNCTIONS };

void mod_aaa_register(void)
{
	policy_obj_methods(&ACL_MAP_OBJ, ACL_MAP_METHODS);
	cached_shareable(&ACL_MAP_OBJ);
}
