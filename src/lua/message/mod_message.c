/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mod_message - messages: kumo.make_message, and the methods for envelope, metadata, data, schedule and spool.
 */
#include "lua/message/message.h"
#include <math.h>
#include <stdlib.h>
#include "base/timefmt.h"
#include "codec/rfc5322.h"
#include "lua/modules.h"

struct msg *lua_check_msg(lua_State *L)
{
	return policy_obj_check(L, 1, &MSG_OBJ);
}

struct msg_body *lua_msg_body(lua_State *L, struct msg *m)
{
	struct msg_body *b;
	int rc = msg_body(m, &b);
	if (rc < 0)
		policy_raise(L, rc);
	return b;
}

static struct msg_env *check_env(lua_State *L, struct msg *m)
{
	struct msg_env *e;
	int rc = msg_env(m, &e);
	if (rc < 0)
		policy_raise(L, rc);
	return e;
}

void lua_msg_set_data(struct msg *m, struct buf *b)
{
	size_t len;
	char *data = buf_take(b, &len);
	msg_set_body(m, msg_body_take(data, len));
}

int lua_msg_finish_edit(lua_State *L, struct msg *m, int rc, struct msg_body **old, struct buf *b)
{
	msg_body_unref(old);
	if (rc >= 0)
		lua_msg_set_data(m, b);
	buf_fini(b);
	if (rc < 0)
		return policy_raise(L, rc);
	return 0;
}

void lua_push_buf(lua_State *L, struct buf *b)
{
	lua_pushlstring(L, b->len ? b->ptr : "", b->len);
	buf_fini(b);
}

struct slice *lua_check_text_list(lua_State *L, int idx, uint32_t *n)
{
	*n = 0;
	if (lua_isnoneornil(L, idx))
		return NULL;
	if (lua_type(L, idx) != LUA_TTABLE)
		policy_arg_error(L, idx, "Vec<String>", "expected table");
	lua_Unsigned len = lua_rawlen(L, idx);
	if (len > 10000)
		policy_arg_errorf(L, idx, "at most 10000 names");
	struct slice *list = arena_alloc(policy_arena(L), (len + 1) * sizeof *list);
	for (lua_Unsigned i = 1; i <= len; i++) {
		lua_rawgeti(L, idx, i);
		list[(*n)++] = arena_dup(policy_arena(L), policy_check_text(L, -1));
		lua_pop(L, 1);
	}
	return list;
}

/* Bytes, for arguments that need not be text. */
static struct slice check_bytes(lua_State *L, int idx)
{
	if (lua_type(L, idx) != LUA_TSTRING && lua_type(L, idx) != LUA_TNUMBER)
		policy_arg_error(L, idx, "string", "expected string or number");
	return policy_check_slice(L, idx);
}

static int kumo_make_message(lua_State *L)
{
	struct slice texts[2] = { policy_check_text(L, 1), policy_check_text(L, 2) }, data = check_bytes(L, 3);
	struct smtp_path path[2];
	for (int i = 0; i < 2; i++)
		if (smtp_address_parse(texts[i], policy_arena(L), &path[i]) < 0)
			return policy_raise(L, -E_INVAL);
	struct msg_env *env = msg_env_create(path[0].text, &path[1].text, 1);
	struct msg *m = msg_create(uuid_v1(), env, msg_body_copy(data));
	policy_push_msg(L, m);
	msg_unref(&m);
	return 1;
}

/* --- envelope ----------------------------------------------------------------------------------------------------------- */

static void push_address_text(lua_State *L, struct slice text)
{
	struct smtp_path path;
	/* what a spool holds was checked when it came in; an address that no longer parses is shown as it is */
	if (smtp_address_parse(text, policy_arena(L), &path) < 0)
		path = (struct smtp_path){ .kind = SMTP_PATH_MAILBOX, .local = text, .domain = SLICE(""), .text = text };
	policy_push_address(L, &path);
}

static int message_sender(lua_State *L)
{
	struct msg_env *e = check_env(L, lua_check_msg(L));
	push_address_text(L, e->sender);
	msg_env_unref(&e);
	return 1;
}

static void push_recipients(lua_State *L, struct msg_env *e)
{
	lua_createtable(L, (int)e->n_recipients, 0);
	for (uint32_t i = 0; i < e->n_recipients; i++) {
		push_address_text(L, e->recipients[i]);
		lua_rawseti(L, -2, i + 1);
	}
}

static int message_recipient_list(lua_State *L)
{
	struct msg_env *e = check_env(L, lua_check_msg(L));
	push_recipients(L, e);
	msg_env_unref(&e);
	return 1;
}

static int message_recipient(lua_State *L)
{
	struct msg_env *e = check_env(L, lua_check_msg(L));
	if (e->n_recipients == 0)
		lua_pushnil(L);
	else if (e->n_recipients == 1)
		push_address_text(L, e->recipients[0]);
	else
		push_recipients(L, e);
	msg_env_unref(&e);
	return 1;
}

/* An address object, or a text that is one; nothing is converted here. */
static struct slice check_address(lua_State *L, int idx)
{
	struct policy_address *a = policy_obj_get(L, idx, &ADDRESS_OBJ);
	struct smtp_path path;
	if (a != NULL)
		return a->path.text;
	switch (lua_type(L, idx)) {
	case LUA_TSTRING:
		if (smtp_address_parse(policy_check_text(L, idx), policy_arena(L), &path) < 0)
			policy_raise(L, -E_INVAL);
		return path.text;
	case LUA_TNIL: case LUA_TNONE:
		policy_raisef(L, "deserialize error: invalid type: unit value, expected a string");
	case LUA_TNUMBER:
		lua_pushvalue(L, idx);
		policy_raisef(L, "deserialize error: invalid type: %s `%s`, expected a string", policy_type_name(L, idx), lua_tostring(L, -1));
	default:
		policy_raisef(L, "deserialize error: invalid type: %s, expected a string", policy_type_name(L, idx));
	}
}

/* Sets sender (S not none) or recipients in a copy of the envelope. */
static int change_envelope(lua_State *L, struct msg *m, struct slice sender, const struct slice *recipients, uint32_t n)
{
	struct msg_env *old = check_env(L, m), *e = msg_env_clone(old);
	msg_env_unref(&old);
	if (sender.ptr != NULL)
		e->sender = arena_dup(e->arena, sender);
	if (n > 0) {
		e->recipients = arena_alloc(e->arena, n * sizeof *e->recipients);
		e->n_recipients = n;
		for (uint32_t i = 0; i < n; i++)
			e->recipients[i] = arena_dup(e->arena, recipients[i]);
	}
	msg_set_env(m, e);
	return 0;
}

static int message_set_sender(lua_State *L)
{
	struct msg *m = lua_check_msg(L);
	return change_envelope(L, m, check_address(L, 2), NULL, 0);
}

static int message_set_recipient(lua_State *L)
{
	struct msg *m = lua_check_msg(L);
	if (lua_type(L, 2) != LUA_TTABLE) {
		struct slice one = check_address(L, 2);
		return change_envelope(L, m, SLICE_NONE, &one, 1);
	}
	lua_Unsigned n = lua_rawlen(L, 2);
	if (n == 0 || n > 100000)
		return policy_raisef(L, "set_recipient: a list of recipients needs between 1 and 100000 of them");
	struct slice *list = arena_alloc(policy_arena(L), n * sizeof *list);
	for (lua_Unsigned i = 0; i < n; i++) {
		lua_rawgeti(L, 2, i + 1);
		list[i] = arena_dup(policy_arena(L), check_address(L, -1));
		lua_pop(L, 1);
	}
	return change_envelope(L, m, SLICE_NONE, list, (uint32_t)n);
}

/* --- identity, metadata, data --------------------------------------------------------------------------------------------- */

static int message_id(lua_State *L)
{
	struct buf b = { 0 };
	uuid_put_simple(&b, msg_id(lua_check_msg(L)));
	lua_push_buf(L, &b);
	return 1;
}

static int message_num_attempts(lua_State *L)
{
	lua_pushinteger(L, msg_num_attempts(lua_check_msg(L)));
	return 1;
}

static int message_increment_num_attempts(lua_State *L)
{
	struct msg *m = lua_check_msg(L);
	msg_set_num_attempts(m, msg_num_attempts(m) + 1);
	return 0;
}

static int message_get_meta(lua_State *L)
{
	struct msg *m = lua_check_msg(L);
	struct val v;
	int rc = msg_meta_get(m, policy_check_text(L, 2), policy_arena(L), &v);
	if (rc < 0)
		return policy_raise(L, rc);
	policy_push_val(L, &v);
	return 1;
}

static int message_set_meta(lua_State *L)
{
	struct msg *m = lua_check_msg(L);
	struct slice key = policy_check_text(L, 2);
	struct val v;
	lua_settop(L, 3);
	int rc = policy_to_val_mode(L, 3, POLICY_VAL_META, policy_arena(L), &v);
	/* what JSON has no number for */
	if (rc == 0 && v.type == VAL_FLOAT && !isfinite(v.f))
		v = val_null();
	if (rc == 0)
		rc = msg_meta_set(m, key, &v);
	return rc < 0 ? policy_raise(L, rc) : 0;
}

static int message_get_data(lua_State *L)
{
	struct msg_body *b = lua_msg_body(L, lua_check_msg(L));
	policy_push_slice(L, b->len ? msg_body_view(b) : SLICE(""));
	msg_body_unref(&b);
	return 1;
}

static int message_set_data(lua_State *L)
{
	struct msg *m = lua_check_msg(L);
	msg_set_body(m, msg_body_copy(check_bytes(L, 2)));
	return 0;
}

static int message_queue_name(lua_State *L)
{
	struct buf b = { 0 };
	int rc = msg_queue_name(lua_check_msg(L), &b);
	if (rc < 0) {
		buf_fini(&b);
		return policy_raise(L, rc);
	}
	lua_push_buf(L, &b);
	return 1;
}

/* --- schedule --------------------------------------------------------------------------------------------------------------- */

static void push_time(lua_State *L, int64_t us)
{
	struct buf b = { 0 };
	time_put_rfc3339(&b, us, us % USEC_PER_SEC == 0 ? 0 : us % 1000 == 0 ? 3 : 6, true);
	lua_push_buf(L, &b);
}

static int message_set_due(lua_State *L)
{
	struct msg *m = lua_check_msg(L);
	int64_t us = 0;
	if (!lua_isnoneornil(L, 2) && time_parse_rfc3339(policy_check_text(L, 2), &us) < 0)
		return policy_raise(L, -E_INVAL);
	int rc = msg_set_due_scheduled(m, us);
	if (rc < 0)
		return policy_raise(L, rc);
	if (msg_due_us(m) == 0)
		lua_pushnil(L);
	else
		push_time(L, msg_due_us(m));
	return 1;
}

/* Applies V (NULL: none) and pushes the schedule that is in force then, or nil. */
static int set_schedule(lua_State *L, struct msg *m, const struct val *v)
{
	struct msg_schedule s = { 0 };
	struct val shown = val_null();
	int rc = v != NULL ? msg_schedule_parse(v, &s) : 0;
	if (rc < 0) {
		err_prefix("deserialize error");
		return policy_raise(L, rc);
	}
	if ((rc = msg_set_schedule(m, v != NULL ? &s : NULL)) < 0)
		return policy_raise(L, rc);
	if (v != NULL)
		msg_schedule_print(&s, policy_arena(L), &shown);
	policy_push_val(L, &shown);
	return 1;
}

static int message_set_scheduling(lua_State *L)
{
	struct msg *m = lua_check_msg(L);
	struct val v;
	int rc;
	if (lua_isnoneornil(L, 2))
		return set_schedule(L, m, NULL);
	if ((rc = policy_to_val(L, 2, policy_arena(L), &v)) < 0)
		return policy_raise(L, rc);
	return set_schedule(L, m, &v);
}

/* The decoded value of the first field of that name, in the arena; SLICE_NONE where there is none. */
static struct slice header_value(lua_State *L, struct msg *m, struct slice name)
{
	struct msg_body *body = lua_msg_body(L, m);
	struct mail_header h;
	struct slice value = SLICE_NONE;
	if (mail_header_find(msg_body_view(body), name, &h)) {
		struct buf b = { 0 };
		value = mail_parse_unstructured(h.value, &b) == 0 ? arena_dup(policy_arena(L), buf_view(&b)) : arena_dup(policy_arena(L), h.value);
		buf_fini(&b);
	}
	msg_body_unref(&body);
	return value;
}

static int message_import_scheduling_header(lua_State *L)
{
	struct msg *m = lua_check_msg(L);
	struct slice name = policy_check_text(L, 2), text = header_value(L, m, name);
	bool remove = lua_toboolean(L, 3);
	struct val v;

	if (text.ptr == NULL) {
		lua_pushnil(L);
		return 1;
	}
	if (json_parse(text, policy_arena(L), &v) < 0) {
		err_prefix("%.*s from header %.*s is not a valid Scheduling header", (int)MIN(text.len, (size_t)200), text.ptr, SLICE_ARG(name));
		return policy_raise(L, -E_INVAL);
	}
	set_schedule(L, m, &v);
	if (remove) {
		struct msg_body *body = lua_msg_body(L, m);
		struct buf b = { 0 };
		int rc = mail_remove_headers(&b, msg_body_view(body), mail_match_name, &name);
		if (rc > 0)
			lua_msg_set_data(m, &b);
		msg_body_unref(&body);
		buf_fini(&b);
	}
	return 1;
}

/* --- spool ------------------------------------------------------------------------------------------------------------------- */

static int finish(lua_State *L, int rc)
{
	return rc < 0 ? policy_raise(L, rc) : 0;
}

static int message_save(lua_State *L)
{
	return finish(L, msg_save(lua_check_msg(L)));
}

static int message_shrink(lua_State *L)
{
	return finish(L, msg_shrink(lua_check_msg(L)));
}

static int message_shrink_data(lua_State *L)
{
	return finish(L, msg_shrink_data(lua_check_msg(L)));
}

static int message_set_force_sync(lua_State *L)
{
	struct msg *m = lua_check_msg(L);
	if (lua_toboolean(L, 2))
		msg_flags_set(m, MSG_FORCE_SYNC, 0);
	else
		msg_flags_set(m, 0, MSG_FORCE_SYNC);
	return 0;
}

static const luaL_Reg METHODS[] = {
	{ "get_data", message_get_data },
	{ "get_meta", message_get_meta },
	{ "id", message_id },
	{ "import_scheduling_header", message_import_scheduling_header },
	{ "increment_num_attempts", message_increment_num_attempts },
	{ "num_attempts", message_num_attempts },
	{ "queue_name", message_queue_name },
	{ "recipient", message_recipient },
	{ "recipient_list", message_recipient_list },
	{ "save", message_save },
	{ "sender", message_sender },
	{ "set_data", message_set_data },
	{ "set_due", message_set_due },
	{ "set_force_sync", message_set_force_sync },
	{ "set_meta", message_set_meta },
	{ "set_recipient", message_set_recipient },
	{ "set_scheduling", message_set_scheduling },
	{ "set_sender", message_set_sender },
	{ "shrink", message_shrink },
	{ "shrink_data", message_shrink_data },
	{ NULL, NULL },
};

static const luaL_Reg FUNCTIONS[] = {
	{ "make_message", kumo_make_message },
	{ NULL, NULL },
};
extern const struct policy_module mod_message;
const struct policy_module mod_message = { "kumo", FUNCTIONS, NULL };

void mod_message_register(void)
{
	policy_obj_methods(&MSG_OBJ, METHODS);
	message_headers_register();
	message_mime_register();
	mod_address_register();
}
