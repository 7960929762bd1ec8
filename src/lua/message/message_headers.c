/* SPDX-License-Identifier: Apache-2.0 */
/*
 * message_headers - the methods of messages for header fields. None of them builds a MIME tree.
 */
#include <stdlib.h>
#include "codec/opt.h"
#include "codec/rfc5322.h"
#include "lua/message/message.h"

/* --- adding and removing --------------------------------------------------------------------------------------------------- */

struct slice lua_check_field_name(lua_State *L, int idx)
{
	struct slice name = policy_check_text(L, idx);

	if (slice_chr(name, '\r') >= 0 || slice_chr(name, '\n') >= 0)
		policy_arg_errorf(L, idx, "a line break in the name of a header field");
	return name;
}

static int add_header(lua_State *L, bool front)
{
	struct msg *m = lua_check_msg(L);
	struct slice name = lua_check_field_name(L, 2), value = policy_check_text(L, 3);
	struct buf out = { 0 }, text = { 0 };
	struct msg_body *body = lua_msg_body(L, m);
	int rc = 0;

	if (lua_toboolean(L, 4))
		mail_put_unstructured(&text, value);
	else
		mail_put_folded(&text, value);
	if (front)
		mail_prepend_header(&out, msg_body_view(body), name, buf_view(&text));
	else
		rc = mail_append_header(&out, msg_body_view(body), name, buf_view(&text));
	buf_fini(&text);
	return lua_msg_finish_edit(L, m, rc, &body, &out);
}

static int message_prepend_header(lua_State *L)
{
	return add_header(L, true);
}

static int message_append_header(lua_State *L)
{
	return add_header(L, false);
}

static int remove_matching(lua_State *L, struct msg *m, mail_match_cb match, void *arg)
{
	struct buf out = { 0 };
	struct msg_body *body = lua_msg_body(L, m);
	int rc = mail_remove_headers(&out, msg_body_view(body), match, arg);
	if (rc == 0) {
		msg_body_unref(&body);
		return 0;
	}
	return lua_msg_finish_edit(L, m, rc, &body, &out);
}

static int message_remove_all_named_headers(lua_State *L)
{
	struct msg *m = lua_check_msg(L);
	struct slice name = policy_check_text(L, 2);
	return remove_matching(L, m, mail_match_name, &name);
}

struct names {
	struct slice *list;
	uint32_t n;
};

static bool match_names(const struct mail_header *h, void *arg)
{
	const struct names *names = arg;
	if (names->n == 0)
		return slice_starts_nocase(h->name, SLICE("X-"));
	for (uint32_t i = 0; i < names->n; i++)
		if (slice_eq_nocase(h->name, names->list[i]))
			return true;
	return false;
}

static int message_remove_x_headers(lua_State *L)
{
	struct msg *m = lua_check_msg(L);
	struct names names;
	names.list = lua_check_text_list(L, 2, &names.n);
	return remove_matching(L, m, match_names, &names);
}

static int message_add_authentication_results(lua_State *L)
{
	struct msg *m = lua_check_msg(L);
	struct slice id = policy_check_slice(L, 2);
	struct val results, field = val_obj();
	struct arena *a = policy_arena(L);
	struct buf value = { 0 }, out = { 0 };
	int rc;

	if (lua_type(L, 3) != LUA_TTABLE)
		return policy_raisef(L, "deserialize error: invalid type: %s, expected table", policy_type_name(L, 3));
	if ((rc = policy_to_val_mode(L, 3, POLICY_VAL_RAW, a, &results)) < 0)
		return policy_raise(L, rc);
	val_put_lit(a, &field, "serv_id", val_str(a, id));
	val_put_lit(a, &field, "results", results);
	struct msg_body *body = lua_msg_body(L, m);
	if ((rc = mail_put_auth_results(&value, &field)) == 0)
		mail_prepend_header(&out, msg_body_view(body), SLICE("Authentication-Results"), buf_view(&value));
	buf_fini(&value);
	return lua_msg_finish_edit(L, m, rc, &body, &out);
}

/* --- reading ------------------------------------------------------------------------------------------------------------------ */

/* Pushes the value decoded, or as it is where it does not parse. */
static void push_value(lua_State *L, const struct mail_header *h)
{
	struct buf b = { 0 };
	if (mail_parse_unstructured(h->value, &b) == 0)
		lua_push_buf(L, &b);
	else
		lua_pushlstring(L, h->value.ptr, h->value.len);
}

static int message_get_first_named_header_value(lua_State *L)
{
	struct msg *m = lua_check_msg(L);
	struct slice name = policy_check_text(L, 2);
	struct msg_body *body = lua_msg_body(L, m);
	struct mail_header h;
	if (mail_header_find(msg_body_view(body), name, &h))
		push_value(L, &h);
	else
		lua_pushnil(L);
	msg_body_unref(&body);
	return 1;
}

/* A list of values of the fields of that name, or (NAME none) of {name, value} of all fields. */
static int list_headers(lua_State *L, struct slice name)
{
	struct msg_body *body = lua_msg_body(L, lua_check_msg(L));
	struct slice rest = msg_body_view(body);
	struct mail_header h;
	lua_Integer n = 0;
	int rc;

	lua_newtable(L);
	while ((rc = mail_header_next(&rest, &h)) > 0) {
		if (name.ptr != NULL && !slice_eq_nocase(h.name, name))
			continue;
		if (name.ptr == NULL) {
			lua_createtable(L, 2, 0);
			lua_pushlstring(L, h.name.ptr, h.name.len);
			lua_rawseti(L, -2, 1);
		}
		push_value(L, &h);
		if (name.ptr == NULL)
			lua_rawseti(L, -2, 2);
		lua_rawseti(L, -2, ++n);
	}
	msg_body_unref(&body);
	return rc < 0 ? policy_raise(L, rc) : 1;
}

static int message_get_all_named_header_values(lua_State *L)
{
	lua_check_msg(L);
	return list_headers(L, policy_check_text(L, 2));
}

static int message_get_all_headers(lua_State *L)
{
	return list_headers(L, SLICE_NONE);
}

static int push_address_header(lua_State *L, struct slice name)
{
	struct msg_body *body = lua_msg_body(L, lua_check_msg(L));
	struct mail_header h;
	struct val list = val_null();
	int rc = 0;
	if (mail_header_find(msg_body_view(body), name, &h))
		rc = mail_parse_address_list(h.value, policy_arena(L), &list);
	msg_body_unref(&body);
	if (rc < 0)
		return policy_raise(L, rc);
	if (list.type == VAL_NULL)
		lua_pushnil(L);
	else
		message_push_address_header(L, &list);
	return 1;
}

static int message_get_address_header(lua_State *L)
{
	lua_check_msg(L);
	return push_address_header(L, policy_check_text(L, 2));
}

static int message_from_header(lua_State *L)
{
	return push_address_header(L, SLICE("From"));
}

static int message_to_header(lua_State *L)
{
	return push_address_header(L, SLICE("To"));
}

/* --- import_headers -------------------------------------------------------------------------------------------------------------- */

enum import_match { MATCH_FIRST, MATCH_LAST, MATCH_ALL };
enum import_transform { SNAKE, KEBAB, CAMEL, PASCAL };

struct import_spec {
	struct slice name, target;
	int match, transform;
	bool remove;
};

static const struct opt_choice MATCHES[] = { { "first", MATCH_FIRST }, { "last", MATCH_LAST }, { "all", MATCH_ALL }, { NULL, 0 } };
static const struct opt_choice TRANSFORMS[] = { { "snake_case", SNAKE }, { "kebab_case", KEBAB }, { "camel_case", CAMEL }, { "pascal_case", PASCAL }, { NULL, 0 } };
static const struct opt_field SPEC_FIELDS[] = {
	OPT_STR(struct import_spec, name, NULL, "header name, or the beginning of one and a star", .required = true),
	OPT_ENUM(struct import_spec, match, MATCHES, "last", "which of several to take"),
	OPT_ENUM(struct import_spec, transform, TRANSFORMS, "snake_case", "how the name becomes a metadata key"),
	OPT_STR(struct import_spec, target, NULL, "the metadata key"),
	OPT_BOOL(struct import_spec, remove, "false", "whether the header is removed"),
	OPT_END
};
static const struct opt_desc SPEC = { .name = "import_headers", .fields = SPEC_FIELDS, .size = sizeof(struct import_spec) };

static bool is_wildcard(const struct import_spec *s)
{
	return slice_ends(s->name, SLICE("*"));
}

static int check_spec(const struct import_spec *s)
{
	ptrdiff_t star = slice_chr(s->name, '*');
	if (s->name.len == 0)
		return err_set(E_INVAL, "import_headers: header name pattern must not be empty");
	if (star >= 0 && (star == 0 || (size_t)star + 1 != s->name.len))
		return err_set(E_INVAL, "import_headers: unsupported pattern \"%.*s\": only one `*` at the end of a name is possible", SLICE_ARG(s->name));
	if (is_wildcard(s) && s->target.ptr != NULL)
		return err_set(E_INVAL, "import_headers: `target` cannot be used with wildcard pattern \"%.*s\"", SLICE_ARG(s->name));
	return 0;
}

static bool spec_matches(const struct import_spec *s, struct slice name)
{
	if (is_wildcard(s))
		return slice_starts_nocase(name, slice_sub(s->name, 0, s->name.len - 1));
	return slice_eq_nocase(name, s->name);
}

/* "X-Campaign-Id" as x_campaign_id, x-campaign-id, xCampaignId, XCampaignId */
static struct slice transform_name(struct arena *a, struct slice name, int how)
{
	char *out = arena_alloc(a, name.len + 1);
	size_t n = 0;
	bool start = true;
	for (size_t i = 0; i < name.len; i++) {
		char c = name.ptr[i];
		if (c == '-' && (how == CAMEL || how == PASCAL)) {
			start = true;
			continue;
		}
		if (how == SNAKE && c == '-')
			c = '_';
		bool upper = start && (how == PASCAL || (how == CAMEL && n > 0));
		out[n++] = upper ? ascii_upper(c) : ascii_lower(c);
		start = false;
	}
	return slice_new(out, n);
}

/* Puts a value into META, an object of what was found for one spec. */
static void record(struct arena *a, struct val *meta, const struct import_spec *s, struct slice key, struct slice value)
{
	const struct val *old = val_get(meta, key);
	if (s->match == MATCH_ALL) {
		struct val list = old != NULL ? *old : val_list();
		val_push(a, &list, val_str(a, value));
		val_put(a, meta, key, list);
	} else if (s->match == MATCH_LAST || old == NULL) {
		val_put(a, meta, key, val_str(a, value));
	}
}

struct import {
	struct import_spec *specs;
	struct val *found;		/* an object for each spec */
	uint32_t n;
	struct arena *a;
};

static const struct import_spec *first_match(const struct import *im, struct slice name)
{
	for (uint32_t i = 0; i < im->n; i++)
		if (spec_matches(&im->specs[i], name))
			return &im->specs[i];
	return NULL;
}

static bool match_removed(const struct mail_header *h, void *arg)
{
	const struct import_spec *s = first_match(arg, h->name);
	return s != NULL && s->remove;
}

static int gather(struct import *im, struct slice rest)
{
	struct mail_header h;
	int rc;
	while ((rc = mail_header_next(&rest, &h)) > 0) {
		const struct import_spec *s = first_match(im, h.name);
		struct buf b = { 0 };
		if (s == NULL)
			continue;
		struct slice key = s->target.ptr != NULL ? s->target : transform_name(im->a, h.name, s->transform);
		if (mail_parse_unstructured(h.value, &b) == 0)
			record(im->a, &im->found[s - im->specs], s, key, buf_view(&b));
		else
			record(im->a, &im->found[s - im->specs], s, key, h.value);
		buf_fini(&b);
	}
	return rc;
}

static int import(lua_State *L, struct msg *m, struct import *im)
{
	struct msg_body *body = lua_msg_body(L, m);
	struct buf out = { 0 };
	im->found = arena_alloc(im->a, (im->n + 1) * sizeof *im->found);
	for (uint32_t i = 0; i < im->n; i++)
		im->found[i] = val_obj();
	int rc = gather(im, msg_body_view(body));
	for (uint32_t i = 0; rc >= 0 && i < im->n; i++)
		for (uint32_t k = 0; rc >= 0 && k < im->found[i].n; k++)
			rc = msg_meta_set(m, im->found[i].members[k].key, &im->found[i].members[k].val);
	if (rc >= 0)
		rc = mail_remove_headers(&out, msg_body_view(body), match_removed, im);
	if (rc == 0) {
		msg_body_unref(&body);
		return 0;
	}
	return lua_msg_finish_edit(L, m, rc, &body, &out);
}

static int message_import_headers(lua_State *L)
{
	struct msg *m = lua_check_msg(L);
	struct import im = { .a = policy_arena(L) };
	struct val v;
	int rc;

	if (lua_type(L, 2) != LUA_TTABLE)
		return policy_arg_errorf(L, 2, "deserialize error: invalid type: %s, expected table", policy_type_name(L, 2));
	if ((rc = policy_to_val(L, 2, im.a, &v)) < 0)
		return policy_raise(L, rc);
	im.n = v.type == VAL_LIST ? v.n : 0;
	im.specs = arena_alloc(im.a, (im.n + 1) * sizeof *im.specs);
	for (uint32_t i = 0; i < im.n; i++) {
		if (v.items[i].type != VAL_OBJ)
			return policy_arg_errorf(L, 2, "deserialize error: invalid type: %s, expected table", val_type_name(v.items[i].type));
		if (opt_parse(&SPEC, &v.items[i], im.a, &im.specs[i]) < 0)
			return policy_arg_errorf(L, 2, "deserialize error: %s", err_text());
	}
	for (uint32_t i = 0; i < im.n; i++)
		if ((rc = check_spec(&im.specs[i])) < 0)
			return policy_raise(L, rc);
	return import(L, m, &im);
}

static int message_import_x_headers(lua_State *L)
{
	struct msg *m = lua_check_msg(L);
	struct import im = { .a = policy_arena(L) };
	struct names names;
	int rc;
	names.list = lua_check_text_list(L, 2, &names.n);
	im.n = names.n ? names.n : 1;
	im.specs = arena_alloc(im.a, im.n * sizeof *im.specs);
	for (uint32_t i = 0; i < im.n; i++) {
		im.specs[i] = (struct import_spec){ .name = names.n ? names.list[i] : SLICE("X-*"), .match = MATCH_LAST, .transform = SNAKE };
		if ((rc = check_spec(&im.specs[i])) < 0)
			return policy_raise(L, rc);
	}
	return import(L, m, &im);
}

static const luaL_Reg METHODS[] = {
	{ "add_authentication_results", message_add_authentication_results },
	{ "append_header", message_append_header },
	{ "from_header", message_from_header },
	{ "get_address_header", message_get_address_header },
	{ "get_all_headers", message_get_all_headers },
	{ "get_all_named_header_values", message_get_all_named_header_values },
	{ "get_first_named_header_value", message_get_first_named_header_value },
	{ "import_headers", message_import_headers },
	{ "import_x_headers", message_import_x_headers },
	{ "prepend_header", message_prepend_header },
	{ "remove_all_named_headers", message_remove_all_named_headers },
	{ "remove_x_headers", message_remove_x_headers },
	{ "to_header", message_to_header },
	{ NULL, NULL },
};

void message_headers_register(void)
{
	policy_obj_methods(&MSG_OBJ, METHODS);
}
