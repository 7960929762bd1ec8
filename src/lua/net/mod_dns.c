/* SPDX-License-Identifier: Apache-2.0 */
/* mod_dns - kumo.dns: lookups for policies, and which resolver answers them. */
#include <lauxlib.h>
#include <stdlib.h>
#include "mailauth/mta_sts.h"
#include "net/dns.h"
#include "policy/arg.h"

/* The resolver named by argument IDX; NULL: the default one. */
static struct dns_resolver *check_resolver(lua_State *L, int idx)
{
	struct slice name = policy_opt_text(L, idx);

	if (!name.ptr)
		return NULL;
	struct dns_resolver *r = dns_resolver_find(name);
	if (!r)
		policy_raisef(L, "resolver %.*s is not defined", SLICE_ARG(name));
	return r;
}

static int finish(lua_State *L, int rc, struct dns_resolver **r)
{
	dns_resolver_unref(r);
	return rc < 0 ? policy_raise(L, rc) : rc;
}

/* --- lookup_mx --------------------------------------------------------------------------------------------------------- */

static struct val site_val(struct arena *a, const struct mx_site *m)
{
	static const char *const STS[] = { "None", "Testing", "Enforce" };
	struct val v = val_obj(), hosts = val_list();

	for (uint32_t i = 0; i < m->n; i++)
		val_push(a, &hosts, val_str(a, m->hosts[i].name));
	val_put_lit(a, &v, "domain_name", val_str(a, m->domain));
	val_put_lit(a, &v, "hosts", hosts);
	val_put_lit(a, &v, "site_name", val_str(a, m->site_name));
	val_put_lit(a, &v, "is_domain_literal", val_bool(m->is_domain_literal));
	val_put_lit(a, &v, "is_secure", val_bool(m->is_secure));
	val_put_lit(a, &v, "is_mx", val_bool(m->is_mx));
	val_put_lit(a, &v, "mta_sts", val_cstr(a, STS[m->mta_sts]));
	return v;
}

/* by_pref has integers as keys, which a val cannot have. */
static void push_by_pref(lua_State *L, const struct mx_site *m)
{
	lua_newtable(L);
	for (uint32_t i = 0; i < m->n; i++) {
		if (lua_rawgeti(L, -1, m->hosts[i].preference) != LUA_TTABLE) {
			lua_pop(L, 1);
			lua_newtable(L);
			lua_pushvalue(L, -1);
			lua_rawseti(L, -3, m->hosts[i].preference);
		}
		policy_push_slice(L, m->hosts[i].name);
		lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
		lua_pop(L, 1);
	}
}

static int lookup_mx(lua_State *L)
{
	struct slice domain = policy_check_text(L, 1);
	struct dns_resolver *r = check_resolver(L, 2);
	struct mx_site *m;

	int rc = r ? mx_resolve_via(r, domain, &m) : mx_resolve(domain, &m);
	dns_resolver_unref(&r);
	if (rc < 0)
		return policy_raise(L, rc);
	if (m->status != MX_OK && m->status != MX_NULL) {
		err_set(E_DNS, "%.*s", SLICE_ARG(m->error));
		mx_site_unref(&m);
		return policy_raise(L, -E_DNS);
	}
	struct val v = site_val(policy_arena(L), m);
	policy_push_val(L, &v);
	push_by_pref(L, m);
	lua_setfield(L, -2, "by_pref");
	mx_site_unref(&m);
	return 1;
}

/* --- other lookups ----------------------------------------------------------------------------------------------------- */

static void push_ip(lua_State *L, const struct ipaddr *ip)
{
	struct buf b = { 0 };

	ipaddr_put(&b, ip);
	policy_push_slice(L, buf_view(&b));
	buf_fini(&b);
}

/* "[1.2.3.4]", "[IPv6:::1]" and bare addresses need no lookup. 1: it was one. */
static int push_literal(lua_State *L, struct slice name)
{
	struct ipaddr ip;

	if (name.len && name.ptr[0] == '[') {
		if (name.ptr[name.len - 1] != ']')
			return err_set(E_INVAL, "domain_name `%.*s` is a malformed literal domain with no trailing `]`", SLICE_ARG(name));
		name = slice_sub(name, 1, name.len - 2);
		if (slice_starts_nocase(name, SLICE("ipv6:")))
			name = slice_sub(name, 5, SIZE_MAX);
		if (ipaddr_parse(name, &ip) < 0)
			return err_set(E_INVAL, "invalid address: `%.*s`: invalid IP address syntax", SLICE_ARG(name));
	} else if (ipaddr_parse(name, &ip) < 0) {
		return 0;
	}
	lua_newtable(L);
	push_ip(L, &ip);
	lua_rawseti(L, -2, 1);
	return 1;
}

static int lookup_addr(lua_State *L)
{
	struct slice name = policy_check_text(L, 1), strategy_name = SLICE_NONE;
	enum ip_strategy strategy = IP_V4_AND_V6;
	struct dns_addrs found;

	if (!lua_isnoneornil(L, 3)) {
		if (lua_type(L, 3) != LUA_TSTRING)
			policy_arg_errorf(L, 3, "deserialize error: expected the name of a strategy, not a %s", policy_type_name(L, 3));
		strategy_name = policy_check_text(L, 3);
		if (ip_strategy_parse(strategy_name, &strategy) < 0)
			policy_arg_errorf(L, 3, "deserialize error: %s", err_text());
	}
	struct dns_resolver *r = check_resolver(L, 2);
	int rc = push_literal(L, name);
	if (rc != 0)
		return finish(L, rc, &r);
	rc = dns_lookup_ip(r, name, strategy, &found);
	if (rc < 0)
		return finish(L, rc, &r);
	lua_createtable(L, (int)found.n, 0);
	for (size_t i = 0; i < found.n; i++) {
		push_ip(L, &found.addrs[i]);
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	free(found.addrs);
	return finish(L, 1, &r);
}

/* An answer of TYPE or an error raised; the caller unrefs. */
static struct dns_answer *answer(lua_State *L, struct dns_resolver **r, struct slice name, enum dns_type type)
{
	struct dns_answer *a;
	int rc = dns_lookup(*r, name, type, &a);

	if (rc == 0 && a->status == DNS_FAIL) {
		rc = err_set(E_DNS, "lookup of %.*s failed: %.*s", SLICE_ARG(name), SLICE_ARG(a->error));
		dns_answer_unref(&a);
	}
	if (rc < 0)
		finish(L, rc, r);
	return a;
}

static int lookup_txt(lua_State *L)
{
	struct slice name = policy_check_text(L, 1);
	struct dns_resolver *r = check_resolver(L, 2);
	struct dns_answer *a = answer(L, &r, name, DNS_TXT);

	lua_createtable(L, (int)a->n, 0);
	for (uint32_t i = 0; i < a->n; i++) {
		policy_push_slice(L, a->rrs[i].data);
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	dns_answer_unref(&a);
	return finish(L, 1, &r);
}

static struct ipaddr check_ip(lua_State *L, int idx)
{
	struct slice text = policy_check_text(L, idx);
	struct ipaddr ip;

	if ((text.len && text.ptr[0] == '[') || ipaddr_parse(text, &ip) < 0)
		policy_raisef(L, "invalid IP address syntax");
	return ip;
}

static int lookup_ptr(lua_State *L)
{
	(void)policy_check_text(L, 1);
	struct dns_resolver *r = check_resolver(L, 2);
	struct buf name = { 0 };
	struct slice text = policy_check_text(L, 1);
	struct ipaddr ip;

	if ((text.len && text.ptr[0] == '[') || ipaddr_parse(text, &ip) < 0)
		return finish(L, err_set(E_INVAL, "invalid IP address syntax"), &r);
	dns_ptr_name_put(&name, &ip);
	struct slice kept = arena_dup(policy_arena(L), buf_view(&name));
	buf_fini(&name);
	struct dns_answer *a = answer(L, &r, kept, DNS_PTR);
	lua_createtable(L, (int)a->n, 0);
	for (uint32_t i = 0; i < a->n; i++) {
		policy_push_slice(L, a->rrs[i].name);
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	dns_answer_unref(&a);
	return finish(L, 1, &r);
}

/* An address, or an address with a port. */
static int peer_ip(struct slice text, struct ipaddr *ip)
{
	struct netaddr at;

	if (text.len && text.ptr[0] == '/')
		return err_set(E_INVAL, "%.*s is not a valid IpAddr or SocketAddr", SLICE_ARG(text));
	if (ipaddr_parse(text, ip) == 0)
		return 0;
	bool digits = text.len && (ascii_is_digit(text.ptr[0]) || text.ptr[0] == '[');
	if (!digits || netaddr_parse(text, 0, &at) < 0)
		return err_set(E_INVAL,
			       "Failed to parse '%.*s' as an address. Got 'invalid socket address syntax' when considering it as an IP address and "
			       "'unix domain path must be absolute' when considering it as a unix domain socket path.",
			       SLICE_ARG(text));
	*ip = at.ip;
	return 0;
}

static int rbl_lookup(lua_State *L)
{
	struct slice text = policy_check_text(L, 1), list = policy_check_text(L, 2);
	struct dns_resolver *r = check_resolver(L, 3);
	struct dns_addrs found;
	struct dns_answer *txt;
	struct buf name = { 0 };
	struct ipaddr ip;

	int rc = peer_ip(text, &ip);
	if (rc < 0)
		return finish(L, rc, &r);
	dns_reverse_put(&name, &ip);
	buf_printf(&name, ".%.*s.", SLICE_ARG(list));
	struct slice kept = arena_dup(policy_arena(L), buf_view(&name));
	buf_fini(&name);
	rc = dns_lookup_ip(r, kept, IP_V4_AND_V6, &found);
	if (rc < 0)
		return finish(L, rc, &r);
	if (found.n == 0) {
		lua_pushnil(L);
		lua_pushnil(L);
		return finish(L, 2, &r);
	}
	push_ip(L, &found.addrs[0]);
	free(found.addrs);
	rc = dns_lookup(r, kept, DNS_TXT, &txt);
	if (rc < 0)
		return finish(L, rc, &r);
	luaL_Buffer reason;
	luaL_buffinit(L, &reason);
	for (uint32_t i = 0; i < txt->n; i++)
		luaL_addlstring(&reason, txt->rrs[i].data.ptr, txt->rrs[i].data.len);
	luaL_pushresult(&reason);
	dns_answer_unref(&txt);
	return finish(L, 2, &r);
}

static int push_text_of(lua_State *L, void (*put)(struct buf *b, const struct ipaddr *a))
{
	struct ipaddr ip = check_ip(L, 1);
	struct buf b = { 0 };

	put(&b, &ip);
	policy_push_slice(L, buf_view(&b));
	buf_fini(&b);
	return 1;
}

static int ptr_host(lua_State *L) { return push_text_of(L, dns_ptr_name_put); }
static int reverse_ip(lua_State *L) { return push_text_of(L, dns_reverse_put); }

/* --- configuration ----------------------------------------------------------------------------------------------------- */

static struct val check_conf(lua_State *L, int idx)
{
	struct val v;
	int rc = policy_to_val_mode(L, idx, POLICY_VAL_RAW, policy_arena(L), &v);

	if (rc < 0)
		policy_raise(L, rc);
	return v;
}

static int use(lua_State *L, int rc, struct dns_resolver *r)
{
	if (rc < 0)
		return policy_raise(L, rc);
	dns_resolver_set_default(r);
	return 0;
}

static bool is_structured(const struct val *v)
{
	static const char *const KINDS[] = { "Hickory", "Unbound", "Test", "Aggregate" };

	for (size_t i = 0; i < ARRAY_LEN(KINDS); i++) {
		if (val_get(v, slice_from_cstr(KINDS[i])))
			return true;
	}
	return v->type == VAL_STR;
}

static int configure_resolver(lua_State *L)
{
	struct val v = check_conf(L, 1);
	struct dns_resolver *r = NULL;
	int rc = is_structured(&v) ? dns_resolver_from_val(&v, "configure_resolver", &r) : dns_resolver_from_config(&v, "configure_resolver", false, &r);

	return use(L, rc, r);
}

static int configure_unbound_resolver(lua_State *L)
{
	struct val v = check_conf(L, 1);
	struct dns_resolver *r = NULL;
	int rc = dns_resolver_from_config(&v, "configure_unbound_resolver", true, &r);

	return use(L, rc, r);
}

static int configure_test_resolver(lua_State *L)
{
	struct val v = check_conf(L, 1);
	struct dns_resolver *r = NULL;
	int rc = dns_resolver_from_test(&v, &r);

	if (rc < 0)
		err_prefix("configure_test_resolver");
	return use(L, rc, r);
}

/* kumo.dns.configure_test_mta_sts {["sts.example"] = "version: STSv1\n…"}: policies of tests, in place of those that domains publish */
static int configure_test_mta_sts(lua_State *L)
{
	policy_check_table(L, 1, "HashMap<String, String>");
	struct val v = check_conf(L, 1);
	int rc = mta_sts_set_test(&v);
	return rc < 0 ? policy_raise(L, rc) : 0;
}

static int define_resolver(lua_State *L)
{
	struct slice name = policy_check_text(L, 1);
	struct val v = check_conf(L, 2);
	struct dns_resolver *r;
	const char *where = arena_printf(policy_arena(L), "define_resolver(\"%.*s\")", SLICE_ARG(name));
	int rc = dns_resolver_from_val(&v, where, &r);

	if (rc < 0)
		return policy_raise(L, rc);
	dns_resolver_define(name, r);
	return 0;
}

static int load_resolv_conf(lua_State *L)
{
	struct slice path = policy_opt_text(L, 1);
	struct val v;
	int rc = dns_resolv_conf_load(path.ptr ? path.ptr : NULL, policy_arena(L), &v);

	if (rc < 0)
		return policy_raise(L, rc);
	policy_push_val(L, &v);
	return 1;
}

static int64_t check_ms(lua_State *L)
{
	return policy_check_duration(L, 1) / 1000000;
}

static int set_mx_timeout(lua_State *L)
{
	mx_set_timeout(check_ms(L));
	return 0;
}

static int set_mx_negative_cache_ttl(lua_State *L)
{
	mx_set_negative_ttl(check_ms(L));
	return 0;
}

static int set_mx_concurrency_limit(lua_State *L)
{
	mx_set_concurrency(policy_check_int(L, 1, "usize", 1, 1000000));
	return 0;
}

static int set_mta_sts_enabled(lua_State *L)
{
	mx_set_sts_enabled(policy_check_bool(L, 1));
	return 0;
}

static const struct luaL_Reg FUNCTIONS[] = {
	{ "lookup_mx", lookup_mx },
	{ "lookup_addr", lookup_addr },
	{ "lookup_txt", lookup_txt },
	{ "lookup_ptr", lookup_ptr },
	{ "rbl_lookup", rbl_lookup },
	{ "ptr_host", ptr_host },
	{ "reverse_ip", reverse_ip },
	{ "configure_resolver", configure_resolver },
	{ "configure_unbound_resolver", configure_unbound_resolver },
	{ "configure_test_resolver", configure_test_resolver },
	{ "configure_test_mta_sts", configure_test_mta_sts },
	{ "define_resolver", define_resolver },
	{ "load_resolv_conf", load_resolv_conf },
	{ "set_mx_timeout", set_mx_timeout },
	{ "set_mx_negative_cache_ttl", set_mx_negative_cache_ttl },
	{ "set_mx_concurrency_limit", set_mx_concurrency_limit },
	{ "set_mta_sts_enabled", set_mta_sts_enabled },
	{ NULL, NULL },
};
extern const struct policy_module mod_dns;
const struct policy_module mod_dns = { .name = "kumo.dns", .functions = FUNCTIONS };
