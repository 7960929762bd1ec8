/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mod_headermap - the header fields of a part, and single fields. The accessors come from the table of known fields.
 */
#include <stdatomic.h>
#include <stdlib.h>
#include "base/xalloc.h"
#include "lua/message/message.h"
#include "lua/message/mimepart.h"

/* --- a single field: a copy ------------------------------------------------------------------------------------------------------ */

struct header {
	_Atomic uint32_t refs;
	struct mail_header h;	/* slices into bytes */
	char bytes[];
};

static void *ref_header(void *p)
{
	atomic_fetch_add(&((struct header *)p)->refs, 1);
	return p;
}

static void unref_header(void *p)
{
	if (atomic_fetch_sub(&((struct header *)p)->refs, 1) == 1)
		free(p);
}

static const struct policy_obj_type HEADER_OBJ = { .name = "Header", .ref = ref_header, .unref = unref_header };

static struct slice keep(char **at, struct slice s)
{
	struct slice copy = { *at, s.len };
	if (s.len > 0)
		memcpy(*at, s.ptr, s.len);
	*at += s.len;
	return copy;
}

static void push_header(lua_State *L, const struct mail_header *h)
{
	struct header *c = xzalloc(sizeof *c + h->name.len + h->sep.len + h->value.len);
	char *at = c->bytes;
	c->refs = 1;
	c->h.name = keep(&at, h->name);
	c->h.sep = keep(&at, h->sep);
	c->h.value = keep(&at, h->value);
	c->h.conformance = h->conformance;
	policy_obj_push(L, &HEADER_OBJ, c);
	unref_header(c);
}

static void push_bytes(lua_State *L, struct slice s)
{
	lua_pushlstring(L, s.len ? s.ptr : "", s.len);
}

/* Pushes VALUE read as KIND. */
static int push_kind(lua_State *L, enum mail_kind kind, struct slice value)
{
	struct val v;
	int rc = mail_parse_kind(kind, value, policy_arena(L), &v);
	if (rc < 0)
		return rc;
	if (v.type == VAL_STR)
		push_bytes(L, v.s);
	else
		policy_push_val(L, &v);
	return 0;
}

static enum mail_kind params_kind(const struct mail_header *h)
{
	return slice_eq_nocase(h->name, SLICE("Content-Type")) ? MAIL_CONTENT_TYPE : MAIL_TOKEN_PARAMS;
}

static enum mail_kind own_kind(const struct mail_header *h)
{
	const struct mail_field *f = mail_field_find(h->name);
	return f != NULL && f->kind != MAIL_DATE ? f->kind : MAIL_UNSTRUCTURED;
}

static bool kind_of_key(const struct mail_header *h, const char *key, enum mail_kind *out)
{
	static const struct { const char *key; enum mail_kind kind; } KEYS[] = {
		{ "unstructured", MAIL_UNSTRUCTURED }, { "address_list", MAIL_ADDRESS_LIST }, { "mailbox_list", MAIL_MAILBOX_LIST },
		{ "message_id", MAIL_MESSAGE_ID }, { "message_id_list", MAIL_MESSAGE_ID_LIST }, { "authentication_results", MAIL_AUTH_RESULTS },
	};
	for (size_t i = 0; i < ARRAY_LEN(KEYS); i++)
		if (strcmp(key, KEYS[i].key) == 0) {
			*out = KEYS[i].kind;
			return true;
		}
	if (strcmp(key, "mime_params") == 0)
		*out = params_kind(h);
	else if (strcmp(key, "value") == 0)
		*out = own_kind(h);
	else
		return false;
	return true;
}

static int header_index(lua_State *L)
{
	struct header *h = policy_obj_check(L, 1, &HEADER_OBJ);
	const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
	enum mail_kind kind;
	int rc;

	if (strcmp(key, "name") == 0) {
		push_bytes(L, h->h.name);
		return 1;
	}
	if (strcmp(key, "raw_value") == 0) {
		push_bytes(L, h->h.value);
		return 1;
	}
	if (!kind_of_key(&h->h, key, &kind))
		return policy_raisef(L, "attempt to get an unknown field '%s'", luaL_tolstring(L, 2, NULL));
	if ((rc = push_kind(L, kind, h->h.value)) < 0)
		return policy_raise(L, rc);
	return 1;
}

static int header_tostring(lua_State *L)
{
	struct header *h = policy_obj_check(L, 1, &HEADER_OBJ);
	struct buf b = { 0 };
	mail_header_put(&b, &h->h);
	lua_push_buf(L, &b);
	return 1;
}

/* --- the map ----------------------------------------------------------------------------------------------------------------------- */

static void *ref_map(void *p)
{
	return MIMEPART_OBJ.ref(p);
}

static void unref_map(void *p)
{
	MIMEPART_OBJ.unref(p);
}

static const struct policy_obj_type HEADERMAP_OBJ = { .name = "HeaderMapRef", .ref = ref_map, .unref = unref_map };

void mimepart_push_headers(lua_State *L, struct mimepart *p)
{
	policy_obj_push(L, &HEADERMAP_OBJ, p);
}

static struct mimepart *check_map(lua_State *L)
{
	return policy_obj_check(L, 1, &HEADERMAP_OBJ);
}

static int add(lua_State *L, void (*put)(struct mime_doc *, struct mime_part *, struct slice, struct slice))
{
	struct mimepart *p = check_map(L);
	struct slice name = lua_check_field_name(L, 2), value = policy_check_slice(L, 3);
	struct buf b = { 0 };
	mail_put_unstructured(&b, value);
	put(p->doc, p->part, name, buf_view(&b));
	buf_fini(&b);
	return 0;
}

static int map_append(lua_State *L)
{
	return add(L, mime_header_append);
}

static int map_prepend(lua_State *L)
{
	return add(L, mime_header_prepend);
}

static int map_remove_all_named(lua_State *L)
{
	mime_header_remove(check_map(L)->part, policy_check_text(L, 2));
	return 0;
}

static int map_get_first_named(lua_State *L)
{
	const struct mail_header *h = mime_header_find(check_map(L)->part, lua_tostring(L, (policy_check_text(L, 2), 2)));
	if (h != NULL)
		push_header(L, h);
	else
		lua_pushnil(L);
	return 1;
}

/* upvalues: the map, the next index, the name or nil */
static int iter_next(lua_State *L)
{
	struct mimepart *p = policy_obj_check(L, lua_upvalueindex(1), &HEADERMAP_OBJ);
	lua_Integer i = lua_tointeger(L, lua_upvalueindex(2));
	size_t len;
	const char *name = lua_tolstring(L, lua_upvalueindex(3), &len);

	while (i < p->part->n_headers) {
		const struct mail_header *h = &p->part->headers[i++];
		if (name != NULL && !slice_eq_nocase(h->name, slice_new(name, len)))
			continue;
		lua_pushinteger(L, i);
		lua_replace(L, lua_upvalueindex(2));
		push_header(L, h);
		return 1;
	}
	lua_pushnil(L);
	return 1;
}

static int map_iter(lua_State *L)
{
	check_map(L);
	lua_settop(L, 2);
	if (!lua_isnil(L, 2))
		policy_check_slice(L, 2);
	lua_pushvalue(L, 1);
	lua_pushinteger(L, 0);
	lua_pushvalue(L, 2);
	lua_pushcclosure(L, iter_next, 3);
	return 1;
}

static int map_tostring(lua_State *L)
{
	struct mimepart *p = check_map(L);
	struct buf b = { 0 };
	for (uint32_t i = 0; i < p->part->n_headers; i++)
		mail_header_put(&b, &p->part->headers[i]);
	lua_push_buf(L, &b);
	return 1;
}

/* upvalue: the field */
static int get_field(lua_State *L)
{
	const struct mail_field *f = lua_touserdata(L, lua_upvalueindex(1));
	const struct mail_header *h = mime_header_find(check_map(L)->part, f->name);
	if (h == NULL) {
		lua_pushnil(L);
		return 1;
	}
	int rc = push_kind(L, f->kind, h->value);
	if (rc < 0) {
		err_prefix("while parsing header '%s'", f->name);
		return policy_raise(L, rc);
	}
	return 1;
}

/* A text is encoded as unstructured, and must then read as what the field is. */
static int encode_text(lua_State *L, const struct mail_field *f, struct slice text, struct buf *b)
{
	struct val v;
	int rc;
	mail_put_unstructured(b, text);
	if ((rc = mail_parse_kind(f->kind, buf_view(b), policy_arena(L), &v)) < 0)
		err_prefix("while assigning header '%s'", f->name);
	return rc;
}

static int set_field(lua_State *L)
{
	const struct mail_field *f = lua_touserdata(L, lua_upvalueindex(1));
	struct mimepart *p = check_map(L);
	struct buf b = { 0 };
	struct val v;
	int rc;

	lua_settop(L, 2);
	if (lua_type(L, 2) == LUA_TSTRING || f->kind == MAIL_UNSTRUCTURED) {
		struct slice text = policy_check_slice(L, 2);
		rc = encode_text(L, f, text, &b);
	} else if ((rc = policy_to_val_mode(L, 2, POLICY_VAL_RAW, policy_arena(L), &v)) == 0) {
		rc = mail_put_kind(&b, f->kind, &v);
	}
	if (rc == 0)
		mime_header_set(p->doc, p->part, slice_from_cstr(f->name), buf_view(&b));
	buf_fini(&b);
	return rc < 0 ? policy_raise(L, rc) : 0;
}

static int map_index(lua_State *L)
{
	const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
	bool set = strncmp(key, "set_", 4) == 0;
	for (const struct mail_field *f = MAIL_FIELDS; f->name != NULL; f++) {
		if (f->lua == NULL || strcmp(f->lua, set ? key + 4 : key) != 0)
			continue;
		lua_pushlightuserdata(L, (void *)(uintptr_t)f);
		lua_pushcclosure(L, set ? set_field : get_field, 1);
		return 1;
	}
	lua_pushnil(L);
	return 1;
}

static const luaL_Reg MAP[] = {
	{ "append", map_append },
	{ "get_first_named", map_get_first_named },
	{ "iter", map_iter },
	{ "prepend", map_prepend },
	{ "remove_all_named", map_remove_all_named },
	{ "__index", map_index },
	{ "__tostring", map_tostring },
	{ NULL, NULL },
};
static const luaL_Reg HEADER[] = {
	{ "__index", header_index },
	{ "__tostring", header_tostring },
	{ NULL, NULL },
};

void mod_headermap_register(void)
{
	policy_obj_methods(&HEADERMAP_OBJ, MAP);
	policy_obj_methods(&HEADER_OBJ, HEADER);
}
