/* SPDX-License-Identifier: Apache-2.0 */
/* mod_dmarc - kumo.dmarc: what the author's domain wants done with a message. */
#include "base/rand.h"
#include "codec/rfc5322.h"
#include "lua/message/message.h"
#include "mailauth/dmarc.h"

/* {disposition = "Reject", result = {method = "dmarc", result = "fail", reason = …, props = {"policy.p" = "reject", …}}} */
static int push_result(lua_State *L, struct dmarc_result *r)
{
	struct arena *a = policy_arena(L);
	struct val out = val_obj(), res = val_obj();
	const char *name = dmarc_disposition_name(r->disposition);
	char *lower = arena_strdup(a, slice_from_cstr(name));

	for (char *c = lower; *c; c++)
		*c = ascii_lower(*c);
	if (r->disposition == DMARC_QUARANTINE || r->disposition == DMARC_REJECT) {
		val_put_lit(a, &r->props, "policy.published-domain-policy", val_cstr(a, lower));
		lower = "fail";
	}
	val_put_lit(a, &res, "method", val_cstr(a, "dmarc"));
	val_put_lit(a, &res, "result", val_cstr(a, lower));
	val_put_lit(a, &res, "reason", val_str(a, r->reason));
	val_put_lit(a, &res, "props", r->props);
	val_put_lit(a, &out, "disposition", val_cstr(a, name));
	val_put_lit(a, &out, "result", res);
	policy_push_val(L, &out);
	return 1;
}

static int push_none(lua_State *L, struct slice why)
{
	struct dmarc_result none = { .disposition = DMARC_NONE, .reason = why, .props = val_obj() };

	return push_result(L, &none);
}

/* The domain of the author; NULL: there is not exactly one author. */
static const char *author_domain(lua_State *L, struct msg *m)
{
	struct msg_body *body = lua_msg_body(L, m);
	struct mail_header h;
	struct val list = val_list();
	struct slice domain = SLICE_NONE;

	if (mail_header_find(msg_body_view(body), SLICE("From"), &h) && mail_parse_address_list(h.value, policy_arena(L), &list) < 0)
		list.n = 0;
	msg_body_unref(&body);
	if (list.type == VAL_LIST && list.n == 1)
		domain = val_get_str(val_get_lit(&list.items[0], "address"), SLICE("domain"));
	return domain.ptr ? arena_strdup(policy_arena(L), domain) : NULL;
}

static struct slice envelope_domain(lua_State *L, struct msg *m)
{
	struct smtp_path path;
	struct msg_env *env;
	int rc = msg_env(m, &env);

	if (rc < 0)
		policy_raise(L, rc);
	rc = smtp_address_parse(arena_dup(policy_arena(L), env->sender), policy_arena(L), &path);
	msg_env_unref(&env);
	return rc == 0 && path.kind == SMTP_PATH_MAILBOX ? path.domain : SLICE_NONE;
}

static struct val check_results(lua_State *L, int idx, bool list)
{
	struct val v;

	if (policy_to_val(L, idx, policy_arena(L), &v) < 0)
		policy_raise(L, -E_INVAL);
	if (list && v.type == VAL_OBJ && v.n == 0)
		v = val_list();
	if (v.type != (list ? VAL_LIST : VAL_OBJ))
		policy_raisef(L, "kumo.dmarc.check_msg: argument %d must be %s", idx,
			list ? "the list that msg:dkim_verify returns" : "the result that kumo.spf.check_msg returns");
	return v;
}

/* check_msg(msg, dkim_results, resolver_name, spf_result, use_reporting, reporting_info) */
static int check_msg(lua_State *L)
{
	struct msg *m = lua_check_msg(L);
	struct val dkim = check_results(L, 2, true), spf = check_results(L, 4, false);
	struct slice resolver = policy_opt_text(L, 3);
	struct dns_resolver *r = NULL;
	struct dmarc_result result;
	const char *from = author_domain(L, m);

	if (lua_toboolean(L, 5))
		return policy_raisef(L, "kumo.dmarc.check_msg: DMARC reports are not written by this version; pass false");
	if (!from)
		return push_none(L, SLICE("Only single 'From:' header supported"));
	struct dmarc_query q = { .from_domain = slice_from_cstr(from), .mail_from_domain = envelope_domain(L, m),
		.dkim = &dkim, .spf = &spf, .draw = (unsigned)(rand_u64() % 100) };
	if (resolver.ptr && !(r = dns_resolver_find(resolver)))
		return policy_raisef(L, "resolver '%.*s' is not defined", SLICE_ARG(resolver));
	q.dns = auth_dns_of(r);
	int rc = dmarc_check(&q, policy_arena(L), &result);
	if (r)
		dns_resolver_unref(&r);
	return rc < 0 ? policy_raise(L, rc) : push_result(L, &result);
}

static const luaL_Reg FUNCTIONS[] = { { "check_msg", check_msg }, { NULL, NULL } };
extern const struct policy_module mod_dmarc;
const struct policy_module mod_dmarc = { "kumo.dmarc", FUNCTIONS, NULL };
