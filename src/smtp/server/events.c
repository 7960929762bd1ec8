/* SPDX-License-Identifier: Apache-2.0 */
#include <lauxlib.h>

#include "policy/objects.h"
#include "rt/diag.h"
#include "smtp/server/watch.h"

const struct policy_event EV_SMTP_MAIL_FROM = { "smtp_server_mail_from", POLICY_SINGLE };
const struct policy_event EV_SMTP_RCPT_TO = { "smtp_server_rcpt_to", POLICY_SINGLE };
const struct policy_event EV_SMTP_DATA = { "smtp_server_data", POLICY_SINGLE };
const struct policy_event EV_SMTP_MESSAGE_RECEIVED = { "smtp_server_message_received", POLICY_SINGLE };
const struct policy_event EV_SMTP_DYNAMIC = { "smtp_server_get_dynamic_parameters", POLICY_SINGLE };
const struct policy_event EV_SMTP_AUTH_PLAIN = { "smtp_server_auth_plain", POLICY_SINGLE };
const struct policy_event EV_GET_LISTENER_DOMAIN = { "get_listener_domain", POLICY_SINGLE };
static const struct policy_event EV_ACCEPTED = { "smtp_server_connection_accepted", POLICY_SINGLE };
static const struct policy_event EV_EHLO = { "smtp_server_ehlo", POLICY_SINGLE };
static const struct policy_event EV_SPLIT = { "smtp_server_split_transaction", POLICY_SINGLE };
static const struct policy_event EV_REWRITE = { "smtp_server_rewrite_response", POLICY_SINGLE };

void events_register(void)
{
	static const struct policy_event *const ALL[] = {
		&EV_SMTP_MAIL_FROM, &EV_SMTP_RCPT_TO, &EV_SMTP_DATA, &EV_SMTP_MESSAGE_RECEIVED, &EV_SMTP_DYNAMIC, &EV_SMTP_AUTH_PLAIN,
		&EV_GET_LISTENER_DOMAIN, &EV_ACCEPTED, &EV_EHLO, &EV_SPLIT, &EV_REWRITE,
	};
	for (size_t i = 0; i < ARRAY_LEN(ALL); i++)
		policy_event_register(ALL[i]);
}

bool event_wanted(struct smtp_session *s, const struct policy_event *ev)
{
	bool wanted = policy_event_wanted(ev);
	if (!wanted)
		watch_callback(s, ev->name, 0, NULL, NULL);
	return wanted;
}

int event_outcome(struct smtp_session *s, struct policy_call *c, int rc, struct slice command, const struct val *result)
{
	watch_call(s, c, rc, result);
	return event_outcome_quiet(s, c, rc, command);
}

int event_outcome_quiet(struct smtp_session *s, struct policy_call *c, int rc, struct slice command)
{
	int out = rc;
	if (rc == -E_REJECT) {
		struct slice text = slice_from_cstr(c->reject_text);
		out = reply(s, (unsigned)c->reject_code, text, command);
		if (out == 0 && c->reject_mode == POLICY_REJECT_DISCONNECT)
			s->over = true;
		if (out == 0 && c->reject_mode == POLICY_REJECT_FOLLOW_WITH_421)
			s->follow_with_421 = true;
		if (out == 0)
			out = 1;
	} else if (rc == -E_POLICY) {
		out = reply_trouble(s, c->event);
	}
	policy_call_end(c);
	return out;
}

int event_connection_accepted(struct smtp_session *s)
{
	struct policy_call c;
	if (!event_wanted(s, &EV_ACCEPTED))
		return 0;
	int rc = policy_call_begin(&c, &EV_ACCEPTED);
	if (rc < 0)
		return reply_trouble(s, EV_ACCEPTED.name);
	policy_obj_push(c.L, &CONN_META_OBJ, s->meta);
	return event_outcome(s, &c, policy_call_run(&c, 1, 0), SLICE_NONE, NULL);
}

/* The handler may answer a list of texts (numbers will do). */
static int read_extensions(struct smtp_session *s, lua_State *L, struct val *extensions)
{
	struct arena *a = session_arena(s);
	struct val given;
	int rc = policy_to_val(L, -1, a, &given);
	if (rc < 0)
		return rc;
	if (given.type == VAL_OBJ && given.n == 0)
		given = val_list();
	if (given.type != VAL_LIST)
		return err_set(E_POLICY, "smtp_server_ehlo must return nil or a list of extensions, not a %s", luaL_typename(L, -1));
	*extensions = val_list();
	for (uint32_t i = 0; i < given.n; i++) {
		struct val *v = &given.items[i];
		if (v->type == VAL_STR)
			val_push(a, extensions, *v);
		else if (v->type == VAL_INT)
			val_push(a, extensions, val_str(a, arena_slicef(a, "%lld", (long long)v->i)));
		else
			return err_set(E_POLICY, "smtp_server_ehlo returned a list whose item %u is a %s, not a text", i + 1, val_type_name(v->type));
	}
	return 0;
}

int event_ehlo(struct smtp_session *s, struct slice domain, struct slice command, struct val *extensions)
{
	struct policy_call c;
	if (!event_wanted(s, &EV_EHLO))
		return 0;
	int rc = policy_call_begin(&c, &EV_EHLO);
	if (rc < 0)
		return reply_trouble(s, EV_EHLO.name);
	policy_push_slice(c.L, domain);
	policy_obj_push(c.L, &CONN_META_OBJ, s->meta);
	if (extensions != NULL)
		policy_push_val(c.L, extensions);
	rc = policy_call_run(&c, extensions ? 3 : 2, 1);
	bool changed = rc == 0 && extensions != NULL && !lua_isnil(c.L, -1);
	if (changed && (rc = read_extensions(s, c.L, extensions)) < 0)
		rc = -E_POLICY;
	return event_outcome(s, &c, rc, command, changed ? extensions : NULL);
}

int event_address(struct smtp_session *s, const struct policy_event *ev, const struct smtp_path *path, struct slice command)
{
	struct policy_call c;
	if (!event_wanted(s, ev))
		return 0;
	if (policy_call_begin(&c, ev) < 0)
		return reply_trouble(s, ev->name);
	policy_push_address(c.L, path);
	policy_obj_push(c.L, &CONN_META_OBJ, s->meta);
	return event_outcome(s, &c, policy_call_run(&c, 2, 0), command, NULL);
}

int event_message(struct smtp_session *s, const struct policy_event *ev, struct msg *m)
{
	struct policy_call c;
	if (!event_wanted(s, ev))
		return 0;
	int rc = policy_call_begin(&c, ev);
	if (rc < 0)
		return rc == -E_TIMEOUT ? rc : reply_trouble(s, ev->name);
	policy_push_msg(c.L, m);
	policy_obj_push(c.L, &CONN_META_OBJ, s->meta);
	return event_outcome(s, &c, policy_call_run(&c, 2, 0), SLICE("DATA"), NULL);
}

int event_split(struct smtp_session *s, struct msg *m, struct val *batches)
{
	struct policy_call c;
	*batches = val_null();
	if (!event_wanted(s, &EV_SPLIT))
		return 0;
	int rc = policy_call_begin(&c, &EV_SPLIT);
	if (rc < 0)
		return rc == -E_TIMEOUT ? rc : reply_trouble(s, EV_SPLIT.name);
	policy_push_msg(c.L, m);
	policy_obj_push(c.L, &CONN_META_OBJ, s->meta);
	rc = policy_call_run(&c, 2, 1);
	if (rc == 0 && !lua_isnil(c.L, -1) && policy_to_val(c.L, -1, session_arena(s), batches) < 0)
		rc = -E_POLICY;
	return event_outcome(s, &c, rc, SLICE("DATA"), batches);
}

static int read_rewritten(struct smtp_session *s, lua_State *L, unsigned *code, struct slice *text)
{
	int isnum = 1;
	lua_Integer n = lua_isnil(L, -2) ? (lua_Integer)*code : lua_tointegerx(L, -2, &isnum);
	if (!isnum || n < 100 || n > 999 || !(lua_isnil(L, -1) || lua_type(L, -1) == LUA_TSTRING))
		return err_set(E_POLICY, "it must return nil or a status, and nil or a text");
	*code = (unsigned)n;
	if (!lua_isnil(L, -1)) {
		struct slice t = { 0 };
		t.ptr = lua_tolstring(L, -1, &t.len);
		*text = arena_dup(session_arena(s), t);
	}
	return 0;
}

/* Whatever goes wrong here, the answer goes out as it was. */
int event_rewrite(struct smtp_session *s, unsigned *code, struct slice *text, struct slice command)
{
	struct policy_call c;
	if (!policy_event_wanted(&EV_REWRITE)) {
		watch_rewrite(s, 0, NULL, NULL, NULL);
		return 0;
	}
	int rc = policy_call_begin(&c, &EV_REWRITE);
	if (rc == 0) {
		lua_pushinteger(c.L, (lua_Integer)*code);
		policy_push_slice(c.L, *text);
		policy_push_slice(c.L, command);
		policy_obj_push(c.L, &CONN_META_OBJ, s->meta);
		rc = policy_call_run(&c, 4, 2);
		if (rc == 0)
			rc = read_rewritten(s, c.L, code, text);
		if (rc < 0 && rc != -E_REJECT)
			diag_error("smtpsrv", "%s: %s", EV_REWRITE.name, err_text());
		else if (rc == -E_REJECT)
			diag_error("smtpsrv", "%s: kumo.reject has no effect here", EV_REWRITE.name);
		watch_rewrite(s, rc, &c, code, text);
		policy_call_end(&c);
	}
	return rc;
}
