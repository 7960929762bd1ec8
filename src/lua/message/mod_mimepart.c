/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mod_mimepart - kumo.mimepart: parsing and building, and the part objects.
 */
#include "lua/message/mimepart.h"
#include <stdatomic.h>
#include <stdlib.h>
#include "base/utf8.h"
#include "base/xalloc.h"
#include "codec/opt.h"
#include "lua/message/message.h"
#include "rt/clock.h"

static void *ref_part(void *p)
{
	atomic_fetch_add(&((struct mimepart *)p)->refs, 1);
	return p;
}

static void unref_part(void *p)
{
	struct mimepart *m = p;
	if (atomic_fetch_sub(&m->refs, 1) != 1)
		return;
	mime_doc_unref(&m->doc);
	free(m);
}

const struct policy_obj_type MIMEPART_OBJ = { .name = "PartRef", .ref = ref_part, .unref = unref_part };

void mimepart_push(lua_State *L, struct mime_doc *doc, struct mime_part *p)
{
	struct mimepart *m = xzalloc(sizeof *m);
	m->refs = 1;
	m->doc = mime_doc_ref(doc);
	m->part = p;
	policy_obj_push(L, &MIMEPART_OBJ, m);
	unref_part(m);
}

/* Pushes the root of D and drops the reference. */
static int push_doc(lua_State *L, struct mime_doc *d)
{
	mimepart_push(L, d, d->root);
	mime_doc_unref(&d);
	return 1;
}

static struct slice check_bytes(lua_State *L, int idx)
{
	if (lua_type(L, idx) != LUA_TSTRING && lua_type(L, idx) != LUA_TNUMBER)
		policy_arg_error(L, idx, "string", "expected string or number");
	return policy_check_slice(L, idx);
}

/* --- functions of the module --------------------------------------------------------------------------------------------------- */

static int parse(lua_State *L)
{
	struct mime_doc *d;
	int rc = mime_parse(check_bytes(L, 1), &d);
	return rc < 0 ? policy_raise(L, rc) : push_doc(L, d);
}

static int push_text(lua_State *L, struct slice type, struct slice content)
{
	struct mime_doc *d = mime_doc_create();
	d->root = mime_new_text(d, type, content);
	return push_doc(L, d);
}

static int new_text(lua_State *L)
{
	struct slice type = policy_check_text(L, 1);
	return push_text(L, type, check_bytes(L, 2));
}

static int new_text_plain(lua_State *L)
{
	return push_text(L, SLICE("text/plain"), check_bytes(L, 1));
}

static int new_html(lua_State *L)
{
	return push_text(L, SLICE("text/html"), check_bytes(L, 1));
}

struct attach_opts {
	struct slice file_name, content_id;
	bool is_inline;
};
static const struct opt_field ATTACH_FIELDS[] = {
	OPT_STR(struct attach_opts, file_name, NULL, "name of the attached file"),
	{ .name = "inline", .type = OPT_T_BOOL, .offset = offsetof(struct attach_opts, is_inline), .dflt = "false", .present_offset = SIZE_MAX, .help = "shown within the text" },
	OPT_STR(struct attach_opts, content_id, NULL, "what HTML refers to it by"),
	OPT_END
};
static const struct opt_desc ATTACH = { .name = "AttachmentOptions", .fields = ATTACH_FIELDS, .size = sizeof(struct attach_opts) };

static struct mime_attachment check_attachment(lua_State *L, int idx)
{
	struct attach_opts o;
	if (lua_isnoneornil(L, idx))
		return (struct mime_attachment){ 0 };
	policy_check_opts(L, idx, &ATTACH, policy_arena(L), &o);
	return (struct mime_attachment){ true, o.file_name, o.content_id, o.is_inline };
}

static int new_binary(lua_State *L)
{
	struct slice type = policy_check_text(L, 1), content = check_bytes(L, 2);
	struct mime_attachment opts = check_attachment(L, 3);
	struct mime_doc *d = mime_doc_create();
	d->root = mime_new_binary(d, type, content, &opts);
	return push_doc(L, d);
}

static int new_multipart(lua_State *L)
{
	struct slice type = policy_check_text(L, 1), boundary = policy_opt_text(L, 3);
	policy_check_table(L, 2, "Vec<PartRef>");
	lua_Unsigned n = lua_rawlen(L, 2);
	for (lua_Unsigned i = 1; i <= n; i++) {
		lua_rawgeti(L, 2, i);
		policy_obj_check(L, -1, &MIMEPART_OBJ);
		lua_pop(L, 1);
	}
	struct mime_doc *d = mime_doc_create();
	d->root = mime_new_multipart(d, type, boundary);
	for (lua_Unsigned i = 1; i <= n; i++) {
		lua_rawgeti(L, 2, i);
		struct mimepart *p = policy_obj_get(L, -1, &MIMEPART_OBJ);
		mime_append_part(d, d->root, mime_copy(d, p->part));
		lua_pop(L, 1);
	}
	return push_doc(L, d);
}

/* --- parts ---------------------------------------------------------------------------------------------------------------------- */

static struct mimepart *check_part(lua_State *L, int idx)
{
	return policy_obj_check(L, idx, &MIMEPART_OBJ);
}

static int part_append_part(lua_State *L)
{
	struct mimepart *to = check_part(L, 1), *p = check_part(L, 2);
	mime_append_part(to->doc, to->part, mime_copy(to->doc, p->part));
	return 0;
}

static int part_rebuild(lua_State *L)
{
	struct mime_doc *d;
	int rc = mime_rebuild(check_part(L, 1)->part, NULL, &d);
	return rc < 0 ? policy_raise(L, rc) : push_doc(L, d);
}

static void replace_body(lua_State *L, struct mimepart *p, struct slice body, struct slice type)
{
	struct mime_info info;
	bool text = utf8_valid(body);
	if (type.ptr == NULL) {
		mime_info(p->part, policy_arena(L), &info);
		type = info.has_type ? info.type.value : text ? SLICE("text/plain") : SLICE("application/octet-stream");
	}
	if (text)
		mime_replace_text(p->doc, p->part, type, body);
	else
		mime_replace_binary(p->doc, p->part, type, body);
}

static int part_replace_body(lua_State *L)
{
	struct mimepart *p = check_part(L, 1);
	struct slice body = check_bytes(L, 2);
	replace_body(L, p, body, policy_opt_text(L, 3));
	return 0;
}

static int push_body(lua_State *L, struct mimepart *p)
{
	struct arena *a = arena_create();
	struct slice body;
	bool text;
	int rc = mime_body(p->part, a, &body, &text);
	if (rc == 0)
		lua_pushlstring(L, body.len ? body.ptr : "", body.len);
	arena_destroy(&a);
	return rc < 0 ? policy_raise(L, rc) : 1;
}

static void set_part(lua_State *L, const char *field, struct mimepart *owner, struct mime_part *p)
{
	if (p == NULL)
		return;
	mimepart_push(L, owner->doc, p);
	lua_setfield(L, -2, field);
}

static void set_text(lua_State *L, const char *field, struct slice s)
{
	policy_push_slice(L, s);
	lua_setfield(L, -2, field);
}

static int part_get_simple_structure(lua_State *L)
{
	struct mimepart *m = check_part(L, 1);
	struct arena *a = policy_arena(L);
	struct mime_structure s;
	struct mime_info info;

	mime_structure(m->part, a, &s);
	lua_newtable(L);
	set_part(L, "text_part", m, s.text);
	set_part(L, "html_part", m, s.html);
	set_part(L, "amp_html_part", m, s.amp_html);
	set_part(L, "header_part", m, s.header);
	lua_createtable(L, (int)s.n_attachments, 0);
	for (uint32_t i = 0; i < s.n_attachments; i++) {
		mime_info(s.attachments[i], a, &info);
		lua_createtable(L, 0, 5);
		set_text(L, "file_name", info.file_name);
		set_text(L, "content_id", info.content_id);
		set_text(L, "content_type", info.has_type ? info.type.value : SLICE("application/octet-stream"));
		lua_pushboolean(L, info.is_attachment ? info.is_inline : true);
		lua_setfield(L, -2, "inline");
		set_part(L, "part", m, s.attachments[i]);
		lua_rawseti(L, -2, i + 1);
	}
	lua_setfield(L, -2, "attachments");
	return 1;
}

static int part_index(lua_State *L)
{
	struct mimepart *p = check_part(L, 1);
	const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
	if (strcmp(key, "body") == 0)
		return push_body(L, p);
	if (strcmp(key, "headers") == 0) {
		mimepart_push_headers(L, p);
		return 1;
	}
	if (strcmp(key, "id") == 0) {
		struct buf b = { 0 };
		mime_part_id(p->doc->root, p->part, &b);
		lua_push_buf(L, &b);
		return 1;
	}
	return policy_raisef(L, "attempt to get an unknown field '%s'", luaL_tolstring(L, 2, NULL));
}

static int part_newindex(lua_State *L)
{
	struct mimepart *p = check_part(L, 1);
	if (lua_type(L, 2) != LUA_TSTRING || strcmp(lua_tostring(L, 2), "body") != 0)
		return policy_raisef(L, "attempt to set an unknown field '%s'", luaL_tolstring(L, 2, NULL));
	replace_body(L, p, check_bytes(L, 3), SLICE_NONE);
	return 0;
}

static int part_tostring(lua_State *L)
{
	struct buf b = { 0 };
	mime_put(&b, check_part(L, 1)->part);
	lua_push_buf(L, &b);
	return 1;
}

/* --- the builder ------------------------------------------------------------------------------------------------------------------ */

struct builder {
	_Atomic uint32_t refs;
	bool built;
	struct mime_builder b;
};

static void *ref_builder(void *p)
{
	atomic_fetch_add(&((struct builder *)p)->refs, 1);
	return p;
}

static void unref_builder(void *p)
{
	struct builder *b = p;
	if (atomic_fetch_sub(&b->refs, 1) != 1)
		return;
	mime_builder_fini(&b->b);
	free(b);
}

static const struct policy_obj_type BUILDER_OBJ = { .name = "Builder", .ref = ref_builder, .unref = unref_builder };

static int builder(lua_State *L)
{
	struct builder *b = xzalloc(sizeof *b);
	b->refs = 1;
	mime_builder_init(&b->b);
	policy_obj_push(L, &BUILDER_OBJ, b);
	unref_builder(b);
	return 1;
}

static struct mime_builder *check_builder(lua_State *L)
{
	struct builder *b = policy_obj_check(L, 1, &BUILDER_OBJ);
	if (b->built)
		policy_raisef(L, "builder already built!");
	return &b->b;
}

static int builder_set_stable_content(lua_State *L)
{
	check_builder(L)->stable = lua_toboolean(L, 2);
	return 0;
}

static int builder_text_plain(lua_State *L)
{
	struct mime_builder *b = check_builder(L);
	b->text = mime_new_text(b->doc, SLICE("text/plain"), policy_check_text(L, 2));
	return 0;
}

static int builder_text_html(lua_State *L)
{
	struct mime_builder *b = check_builder(L);
	b->html = mime_new_text(b->doc, SLICE("text/html"), policy_check_text(L, 2));
	return 0;
}

static int builder_text_amp_html(lua_State *L)
{
	struct mime_builder *b = check_builder(L);
	b->amp_html = mime_new_text(b->doc, SLICE("text/x-amp-html"), policy_check_text(L, 2));
	return 0;
}

static int builder_attach(lua_State *L)
{
	struct mime_builder *b = check_builder(L);
	struct slice type = policy_check_text(L, 2), data = check_bytes(L, 3);
	struct mime_attachment opts = check_attachment(L, 4);
	mime_builder_attach(b, mime_new_binary(b->doc, type, data, &opts));
	return 0;
}

static int builder_attach_part(lua_State *L)
{
	struct mime_builder *b = check_builder(L);
	struct mimepart *p = check_part(L, 2);
	mime_builder_attach(b, mime_copy(b->doc, p->part));
	return 0;
}

static int builder_build(lua_State *L)
{
	struct mime_builder *b = check_builder(L);
	int rc = mime_build(b, rt_wall_us());
	((struct builder *)policy_obj_check(L, 1, &BUILDER_OBJ))->built = true;
	if (rc < 0)
		return policy_raise(L, rc);
	mimepart_push(L, b->doc, b->doc->root);
	return 1;
}

static const luaL_Reg FUNCTIONS[] = {
	{ "builder", builder },
	{ "new_binary", new_binary },
	{ "new_html", new_html },
	{ "new_multipart", new_multipart },
	{ "new_text", new_text },
	{ "new_text_plain", new_text_plain },
	{ "parse", parse },
	{ NULL, NULL },
};
extern const struct policy_module mod_mimepart;
const struct policy_module mod_mimepart = { "kumo.mimepart", FUNCTIONS, NULL };

static const luaL_Reg PART[] = {
	{ "append_part", part_append_part },
	{ "get_simple_structure", part_get_simple_structure },
	{ "rebuild", part_rebuild },
	{ "replace_body", part_replace_body },
	{ "__index", part_index },
	{ "__newindex", part_newindex },
	{ "__tostring", part_tostring },
	{ NULL, NULL },
};
static const luaL_Reg BUILDER[] = {
	{ "attach", builder_attach },
	{ "attach_part", builder_attach_part },
	{ "build", builder_build },
	{ "set_stable_content", builder_set_stable_content },
	{ "text_amp_html", builder_text_amp_html },
	{ "text_html", builder_text_html },
	{ "text_plain", builder_text_plain },
	{ NULL, NULL },
};

void mod_mimepart_register(void)
{
	policy_obj_methods(&MIMEPART_OBJ, PART);
	policy_obj_methods(&BUILDER_OBJ, BUILDER);
	mod_headermap_register();
}
