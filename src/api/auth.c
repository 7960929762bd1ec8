/* SPDX-License-Identifier: Apache-2.0 */
#include "api/auth.h"
#include "base/encode.h"
#include "base/utf8.h"
#include "rt/diag.h"

static const struct policy_event EV_BASIC = { "http_server_validate_auth_basic", POLICY_SINGLE };
static const struct policy_event EV_BEARER = { "http_server_validate_auth_bearer", POLICY_SINGLE };

/* What the policy's handler said: 1 yes, 0 no, negative: it failed. */
static int take_verdict(struct api_call *c, lua_State *L, struct slice identity, const char *context)
{
	struct val v;

	if (lua_isboolean(L, -1)) {
		if (lua_toboolean(L, -1))
			aaa_add_identity(c->arena, &c->auth, identity, context);
		return lua_toboolean(L, -1);
	}
	if (!lua_istable(L, -1))
		return err_set(E_POLICY, "expected true, false or an AuthInfo, not a %s", luaL_typename(L, -1));
	int rc = policy_to_val(L, -1, c->arena, &v);
	if (rc < 0)
		return rc;
	static const struct slice LISTS[] = { SLICE_INIT("identities"), SLICE_INIT("groups") };
	for (size_t i = 0; i < ARRAY_LEN(LISTS); i++) {
		const struct val *list = val_get(&v, LISTS[i]);
		if (list && list->type != VAL_LIST && list->type != VAL_NULL && !(list->type == VAL_OBJ && list->n == 0))
			return err_set(E_POLICY, "%.*s of the AuthInfo must be a list", SLICE_ARG(LISTS[i]));
	}
	aaa_merge(c->arena, &c->auth, &v);
	return 1;
}

static int ask(struct api_call *c, const struct policy_event *ev, struct slice identity, struct slice secret, const char *context)
{
	struct policy_call call;
	bool basic = ev == &EV_BASIC;

	if (!policy_event_wanted(ev))
		return 0;
	int rc = policy_call_begin(&call, ev);
	if (rc < 0)
		return rc;
	if (basic)
		policy_push_slice(call.L, identity);
	policy_push_slice(call.L, secret);
	rc = policy_call_run(&call, basic ? 2 : 1, 1);
	if (rc == 0)
		rc = take_verdict(c, call.L, identity, context);
	policy_call_end(&call);
	return rc;
}

static bool judge(struct api_call *c, const struct policy_event *ev, struct slice identity, struct slice secret, const char *context)
{
	int rc = ask(c, ev, identity, secret, context);

	if (rc < 0) {
		diag_error("http", "%s: %s", ev->name, err_text());
		http_respond(c->resp, 500, "try again later");
		return false;
	}
	const struct val *ids = val_get_lit(&c->auth, "identities");	/* a token's owner is known from what the policy returned */
	struct slice who = rc == 1 && !identity.len && ids && ids->n ? val_get_str(&ids->items[0], SLICE("identity")) : identity;
	aaa_audit_authentication(&c->auth, who, context, rc == 1);
	if (rc == 0)
		http_respond(c->resp, 401, "%s Authentication Failed for %.*s", context, SLICE_ARG(identity));
	return rc == 1;
}

static bool basic(struct api_call *c, struct slice text)
{
	struct buf plain = { 0 };

	if (base64_decode(&plain, text, BASE64_STD) < 0 || !utf8_valid(buf_view(&plain))) {
		buf_fini(&plain);
		http_respond(c->resp, 400, "Malformed or unsupported Authorization header");
		return false;
	}
	struct slice both = arena_dup(c->arena, buf_view(&plain));
	ptrdiff_t colon = slice_chr(both, ':');
	buf_fini(&plain);
	struct slice user = colon < 0 ? both : slice_sub(both, 0, colon);
	struct slice password = colon < 0 ? SLICE_NONE : slice_sub(both, colon + 1, SIZE_MAX);
	return judge(c, &EV_BASIC, user, password, "HttpBasicAuth");
}

bool api_authenticate(struct api_call *c, bool trusted)
{
	struct slice h = http_request_header(c->req, "authorization");

	c->auth = aaa_auth_info(c->arena, &c->req->peer.ip);
	if (trusted)
		aaa_add_group(c->arena, &c->auth, SLICE(AAA_TRUSTED_GROUP));
	if (!h.ptr)
		return true;
	if (!utf8_is_ascii(h)) {
		http_respond(c->resp, 400, "Malformed Authorization header");
		return false;
	}
	if (slice_starts(h, SLICE("Basic ")))
		return basic(c, slice_sub(h, 6, SIZE_MAX));
	if (slice_starts(h, SLICE("Bearer ")))
		return judge(c, &EV_BEARER, SLICE(""), slice_sub(h, 7, SIZE_MAX), "BearerToken");
	http_respond(c->resp, 400, "Malformed or unsupported Authorization header");
	return false;
}

void api_auth_register(void)
{
	policy_event_register(&EV_BASIC);
	policy_event_register(&EV_BEARER);
}
