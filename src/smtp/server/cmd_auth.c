/* SPDX-License-Identifier: Apache-2.0 */
/* AUTH PLAIN (RFC 4954, RFC 4616), only under TLS. Credentials never reach a log: records say "AUTH PLAIN" and no more. */
#include <lauxlib.h>

#include "base/encode.h"
#include "base/utf8.h"
#include "smtp/server/watch.h"

#define AUTH_COMMAND SLICE("AUTH PLAIN")

static void (*audit)(const struct val *info, struct slice identity, const char *context, bool success);

void smtp_server_set_audit(void (*fn)(const struct val *info, struct slice identity, const char *context, bool success))
{
	audit = fn;
}

struct plain {
	struct slice authz, authc, password;
};

static int split_plain(struct slice decoded, struct plain *out)
{
	struct slice rest = decoded, parts[4] = { 0 };
	size_t n = 0;
	while (n < ARRAY_LEN(parts) && slice_split_next(&rest, '\0', &parts[n]))
		n++;
	if (n != 3)
		return -E_INVAL;
	*out = (struct plain){ parts[0].len ? parts[0] : parts[1], parts[1], parts[2] };
	return 0;
}

static void put_identity(struct arena *a, struct val *list, struct slice identity, const char *context)
{
	struct val one = val_obj();
	val_put_lit(a, &one, "identity", val_str(a, identity));
	val_put_lit(a, &one, "context", val_cstr(a, context));
	val_push(a, list, one);
}

static struct val auth_info(struct arena *a, const struct smtp_session *s, struct val identities, struct val groups)
{
	struct val info = val_obj();
	struct buf peer = { 0 };
	ipaddr_put(&peer, &s->peer.ip);
	val_put_lit(a, &info, "peer_address", val_str(a, buf_view(&peer)));
	val_put_lit(a, &info, "identities", identities);
	val_put_lit(a, &info, "groups", groups);
	buf_fini(&peer);
	return info;
}

static bool is_context(struct slice s)
{
	static const char *const CONTEXTS[] = { "SmtpAuthPlainAuthentication", "SmtpAuthPlainAuthorization", "HttpBasicAuth", "BearerToken",
						"ProxyAuthRfc1929", "GenericAuth", "LocalSystem" };
	for (size_t i = 0; i < ARRAY_LEN(CONTEXTS); i++)
		if (slice_eq_cstr(s, CONTEXTS[i]))
			return true;
	return false;
}

/* A handler may answer {identities = {{identity=, context=}, …}, groups = {…}} instead of true. */
static int check_info(struct arena *a, const struct val *given, struct val *identities, struct val *groups)
{
	const struct val *list = val_get(given, SLICE("identities")), *g = val_get(given, SLICE("groups"));
	if (given->type != VAL_OBJ || list == NULL || list->type != VAL_LIST || list->n == 0)
		return err_set(E_POLICY, "smtp_server_auth_plain must return true, false, or {identities={{identity=,context=},…}, groups={…}}");
	*identities = val_list();
	for (uint32_t i = 0; i < list->n; i++) {
		struct slice who = val_get_str(&list->items[i], SLICE("identity")), context = val_get_str(&list->items[i], SLICE("context"));
		if (who.ptr == NULL || !is_context(context))
			return err_set(E_POLICY, "smtp_server_auth_plain returned identity %u without a text `identity` and a known `context`", i + 1);
		put_identity(a, identities, who, arena_strdup(a, context));
	}
	*groups = g != NULL && g->type == VAL_LIST ? val_copy(a, g) : val_list();
	return 0;
}

/* The identity of CONTEXT, or the first. */
static struct slice identity_for(const struct val *identities, struct slice context)
{
	for (uint32_t i = 0; i < identities->n; i++)
		if (slice_eq(val_get_str(&identities->items[i], SLICE("context")), context))
			return val_get_str(&identities->items[i], SLICE("identity"));
	return val_get_str(&identities->items[0], SLICE("identity"));
}

static int accept_identities(struct smtp_session *s, struct val identities, struct val groups)
{
	struct arena *a = session_arena(s);
	struct val info = auth_info(a, s, identities, groups);
	s->authenticated = true;
	relay_forget(s);
	conn_meta_set_auth_info(s->meta, &info);
	conn_meta_set_str(s->meta, "authn_id", identity_for(&identities, SLICE("SmtpAuthPlainAuthentication")));
	conn_meta_set_str(s->meta, "authz_id", identity_for(&identities, SLICE("SmtpAuthPlainAuthorization")));
	return reply_lit(s, 235, "2.7.0 AUTH OK!", SLICE_NONE);
}

static int take_verdict(struct smtp_session *s, lua_State *L, const struct plain *p, bool *ok, struct val *identities, struct val *groups)
{
	struct arena *a = session_arena(s);
	struct val given;
	*ok = false;
	if (lua_isnil(L, -1))
		return 0;
	if (lua_isboolean(L, -1)) {
		*ok = lua_toboolean(L, -1);
		*identities = val_list();
		*groups = val_list();
		put_identity(a, identities, p->authz, "SmtpAuthPlainAuthorization");
		put_identity(a, identities, p->authc, "SmtpAuthPlainAuthentication");
		return 0;
	}
	if (policy_to_val(L, -1, a, &given) < 0 || check_info(a, &given, identities, groups) < 0)
		return -E_POLICY;
	*ok = true;
	return 0;
}

static int judge(struct smtp_session *s, const struct plain *p)
{
	struct policy_call c;
	struct val identities = val_list(), groups = val_list();
	bool ok = false;
	if (event_wanted(s, &EV_SMTP_AUTH_PLAIN)) {
		if (policy_call_begin(&c, &EV_SMTP_AUTH_PLAIN) < 0)
			return reply_trouble(s, EV_SMTP_AUTH_PLAIN.name);
		policy_push_slice(c.L, p->authz);
		policy_push_slice(c.L, p->authc);
		policy_push_slice(c.L, p->password);
		policy_obj_push(c.L, &CONN_META_OBJ, s->meta);
		int rc = policy_call_run(&c, 4, 1);
		if (rc == 0)
			rc = take_verdict(s, c.L, p, &ok, &identities, &groups);
		rc = event_outcome(s, &c, rc, AUTH_COMMAND, NULL);
		if (rc != 0)
			return rc < 0 ? rc : 0;
	}
	if (audit != NULL) {
		struct val info = ok ? auth_info(session_arena(s), s, identities, groups) : val_copy(session_arena(s), conn_meta_auth_info(s->meta));
		audit(&info, p->authc, "SmtpAuthPlainAuthentication", ok);
	}
	if (!ok)
		return reply_lit(s, 535, "5.7.8 AUTH invalid", AUTH_COMMAND);
	return accept_identities(s, identities, groups);
}

static int take_response(struct smtp_session *s, struct slice response)
{
	struct buf decoded = { 0 };
	struct plain p;
	int rc;
	if (base64_decode(&decoded, response, BASE64_STD) < 0)
		rc = reply_lit(s, 501, "5.5.2 Invalid base64 response", AUTH_COMMAND);
	else if (split_plain(buf_view(&decoded), &p) < 0)
		rc = reply_lit(s, 501, "5.5.2 Invalid decoded PLAIN response", AUTH_COMMAND);
	else if (!utf8_valid(buf_view(&decoded)))
		rc = reply_lit(s, 501, "5.5.2 Invalid UTF8 in decoded PLAIN response", AUTH_COMMAND);
	else
		rc = judge(s, &p);
	buf_fini(&decoded);
	return rc;
}

static int ask_response(struct smtp_session *s)
{
	struct slice line;
	int rc = reply_lit(s, 334, " ", SLICE_NONE);
	if (rc == 0)
		rc = session_read_line(s, &line);
	if (rc < 0)
		return rc;
	if (rc > 0)
		return reply_lit(s, 500, "5.2.3 line too long", AUTH_COMMAND);
	watch_read(s, SLICE("(not shown)"));
	if (slice_eq(line, SLICE("*")))
		return reply_lit(s, 501, "5.5.0 AUTH cancelled by client", AUTH_COMMAND);
	/* the line is a view of the input, which a handler that waits does not disturb: nothing is read meanwhile */
	return take_response(s, line);
}

int cmd_auth(struct smtp_session *s, const struct smtp_cmd *cmd)
{
	if (s->txn.active)
		return reply_lit(s, 503, "5.5.1 AUTH not permitted inside a transaction", AUTH_COMMAND);
	if (!slice_eq_nocase(cmd->arg, SLICE("PLAIN")))
		return replyf(s, 504, SLICE("AUTH"), "5.5.4 AUTH %.*s not supported", SLICE_ARG(cmd->arg));
	if (!s->tls)
		return reply_lit(s, 524, "5.7.11 AUTH PLAIN requires an encrypted channel", AUTH_COMMAND);
	if (s->authenticated)
		return reply_lit(s, 503, "5.5.1 AUTH me once, can't get authed again!", AUTH_COMMAND);
	return cmd->initial.ptr != NULL ? take_response(s, cmd->initial) : ask_response(s);
}
