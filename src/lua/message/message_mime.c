/* SPDX-License-Identifier: Apache-2.0 */
/*
 * message_mime - the methods of messages that read their body as a MIME tree: parts, appended texts, conformance, reports.
 */
#include "codec/mime.h"
#include "codec/opt.h"
#include "codec/report.h"
#include "lua/message/message.h"
#include "lua/message/mimepart.h"
#include "rt/clock.h"

/* The body of the message as a tree; raises. */
static struct mime_doc *parse_body(lua_State *L, struct msg *m)
{
	struct msg_body *body = lua_msg_body(L, m);
	struct mime_doc *d;
	int rc = mime_parse(msg_body_view(body), &d);
	msg_body_unref(&body);
	if (rc < 0)
		policy_raise(L, rc);
	return d;
}

static int message_parse_mime(lua_State *L)
{
	struct mime_doc *d = parse_body(L, lua_check_msg(L));
	mimepart_push(L, d, d->root);
	mime_doc_unref(&d);
	return 1;
}

static void set_tree(struct msg *m, const struct mime_part *root)
{
	struct buf b = { 0 };
	mime_put(&b, root);
	lua_msg_set_data(m, &b);
	buf_fini(&b);
}

/* Where CONTENT goes into an HTML text: before the last end of the body. */
static size_t html_place(struct slice text)
{
	static const char *const TAGS[] = { "</body>", "</BODY>" };
	for (size_t i = 0; i < ARRAY_LEN(TAGS); i++)
		for (size_t at = text.len; at-- > 0;)
			if (slice_starts(slice_sub(text, at, SIZE_MAX), slice_from_cstr(TAGS[i])))
				return at;
	return text.len;
}

static int append_text(lua_State *L, bool html)
{
	struct msg *m = lua_check_msg(L);
	struct slice content = policy_check_text(L, 2), text;
	struct mime_doc *d = parse_body(L, m);
	struct mime_structure s;
	bool is_text;
	int rc = 0;

	mime_structure(d->root, d->arena, &s);
	struct mime_part *p = html ? s.html : s.text;
	if (p != NULL && (rc = mime_body(p, d->arena, &text, &is_text)) == 0) {
		if (!is_text) {
			rc = err_set(E_INVAL, "expected text/%s part to be text, but it is binary", html ? "html" : "plain");
		} else {
			struct buf b = { 0 };
			size_t at = html ? html_place(text) : text.len;
			buf_slice(&b, slice_sub(text, 0, at));
			buf_lit(&b, "\r\n");
			buf_slice(&b, content);
			buf_slice(&b, slice_sub(text, at, SIZE_MAX));
			mime_replace_text(d, p, html ? SLICE("text/html") : SLICE("text/plain"), buf_view(&b));
			buf_fini(&b);
			set_tree(m, d->root);
		}
	}
	mime_doc_unref(&d);
	if (rc < 0)
		return policy_raise(L, rc);
	lua_pushboolean(L, p != NULL);
	return 1;
}

static int message_append_text_plain(lua_State *L)
{
	return append_text(L, false);
}

static int message_append_text_html(lua_State *L)
{
	return append_text(L, true);
}

/* --- conformance ----------------------------------------------------------------------------------------------------------------- */

struct fix_opts {
	bool detect_encoding;
	struct opt_list include_encodings, exclude_encodings;
	struct slice message_id;
};
static const struct opt_field FIX_FIELDS[] = {
	OPT_BOOL(struct fix_opts, detect_encoding, "false", "guess the charset of 8-bit texts"),
	OPT_LIST(struct fix_opts, include_encodings, NULL, "charsets to consider"),
	OPT_LIST(struct fix_opts, exclude_encodings, NULL, "charsets not to consider"),
	OPT_STR(struct fix_opts, message_id, NULL, "for a missing Message-ID"),
	OPT_END
};
static const struct opt_desc FIX = { .name = "check_fix_conformance", .fields = FIX_FIELDS, .size = sizeof(struct fix_opts), .open = true };

/* ID@DOMAIN of the sender */
static struct slice make_message_id(lua_State *L, struct msg *m)
{
	struct msg_env *env;
	struct smtp_path path;
	struct buf b = { 0 };
	int rc = msg_env(m, &env);
	if (rc < 0)
		policy_raise(L, rc);
	uuid_put_simple(&b, msg_id(m));
	buf_putc(&b, '@');
	if (smtp_address_parse(env->sender, policy_arena(L), &path) == 0)
		buf_slice(&b, path.domain);
	msg_env_unref(&env);
	struct slice id = arena_dup(policy_arena(L), buf_view(&b));
	buf_fini(&b);
	return id;
}

static int message_check_fix_conformance(lua_State *L)
{
	struct msg *m = lua_check_msg(L);
	struct slice check_text = policy_check_text(L, 2), fix_text = policy_check_text(L, 3);
	struct mime_fix how = { .now_us = rt_wall_us() };
	struct mime_doc *d = NULL, *fixed = NULL;
	unsigned check, fix;

	if (mail_conformance_parse(check_text, &check) < 0 || mail_conformance_parse(fix_text, &fix) < 0)
		return policy_raise(L, -E_INVAL);
	if (!lua_isnoneornil(L, 4)) {
		struct fix_opts o;
		policy_check_opts(L, 4, &FIX, policy_arena(L), &o);
		how.detect_encoding = o.detect_encoding;
		how.include = o.include_encodings.items;
		how.n_include = (uint32_t)o.include_encodings.n;
		how.exclude = o.exclude_encodings.items;
		how.n_exclude = (uint32_t)o.exclude_encodings.n;
		how.message_id = o.message_id;
	}
	if ((fix & MAIL_MISSING_MESSAGE_ID_HEADER) && how.message_id.ptr == NULL)
		how.message_id = make_message_id(L, m);
	struct msg_body *body = lua_msg_body(L, m);
	int rc = mime_parse(msg_body_view(body), &d);
	if (rc == 0)
		rc = mime_check_fix(d, msg_body_view(body), check, fix, &how, &fixed);
	if (rc == 0 && fixed != NULL)
		set_tree(m, fixed->root);
	msg_body_unref(&body);
	mime_doc_unref(&d);
	mime_doc_unref(&fixed);
	if (rc == 0)
		lua_pushnil(L);
	else
		lua_pushstring(L, err_text());
	return 1;
}

/* --- reports ------------------------------------------------------------------------------------------------------------------------ */

static int push_report(lua_State *L, int (*parse)(struct slice, struct arena *, struct val *))
{
	struct msg_body *body = lua_msg_body(L, lua_check_msg(L));
	struct val v = val_null();
	int rc = parse(msg_body_view(body), policy_arena(L), &v);
	msg_body_unref(&body);
	if (rc < 0 && rc != -E_NOENT)
		return policy_raise(L, rc);
	if (rc < 0)
		v = val_null();
	policy_push_val(L, &v);
	return 1;
}

static int message_parse_rfc3464(lua_State *L)
{
	return push_report(L, report_parse_dsn);
}

static int message_parse_rfc5965(lua_State *L)
{
	return push_report(L, report_parse_arf);
}

static const luaL_Reg METHODS[] = {
	{ "append_text_html", message_append_text_html },
	{ "append_text_plain", message_append_text_plain },
	{ "check_fix_conformance", message_check_fix_conformance },
	{ "parse_mime", message_parse_mime },
	{ "parse_rfc3464", message_parse_rfc3464 },
	{ "parse_rfc5965", message_parse_rfc5965 },
	{ NULL, NULL },
};

void message_mime_register(void)
{
	policy_obj_methods(&MSG_OBJ, METHODS);
	mod_mimepart_register();
}
