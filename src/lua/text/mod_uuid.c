/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mod_uuid - kumo.uuid: new identifiers and parsed ones, as objects with the fields hyphenated, simple, braced, urn and bytes.
 */
#include <stdatomic.h>
#include <stdlib.h>
#include "base/uuid.h"
#include "lua/util.h"

struct uuid_obj {
	_Atomic uint32_t refs;
	struct uuid id;
};

static void *ref_uuid(void *p)
{
	((struct uuid_obj *)p)->refs++;
	return p;
}

static void unref_uuid(void *p)
{
	if (atomic_fetch_sub(&((struct uuid_obj *)p)->refs, 1) == 1)
		free(p);
}

static const struct policy_obj_type UUID_OBJ = { .name = "Uuid", .ref = ref_uuid, .unref = unref_uuid };

static int push_uuid(lua_State *L, struct uuid id)
{
	struct uuid_obj *u = xzalloc(sizeof *u);
	u->id = id;
	policy_obj_push(L, &UUID_OBJ, u);
	return 1;
}

static int uuid_index(lua_State *L)
{
	struct uuid_obj *u = policy_obj_check(L, 1, &UUID_OBJ);
	const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
	struct buf b = { 0 };
	if (strcmp(key, "bytes") == 0) {
		buf_put(&b, u->id.bytes, sizeof u->id.bytes);
	} else if (strcmp(key, "simple") == 0) {
		uuid_put_simple(&b, u->id);
	} else if (strcmp(key, "hyphenated") == 0) {
		uuid_put(&b, u->id);
	} else if (strcmp(key, "urn") == 0) {
		buf_lit(&b, "urn:uuid:");
		uuid_put(&b, u->id);
	} else if (strcmp(key, "braced") == 0) {
		buf_putc(&b, '{');
		uuid_put(&b, u->id);
		buf_putc(&b, '}');
	} else {
		return policy_raisef(L, "attempt to get an unknown field '%s'", luaL_tolstring(L, 2, NULL));
	}
	lua_pushlstring(L, b.ptr, b.len);
	buf_fini(&b);
	return 1;
}

static int uuid_tostring(lua_State *L)
{
	lua_settop(L, 1);
	lua_pushliteral(L, "hyphenated");
	return uuid_index(L);
}

static int uuid_equals(lua_State *L)
{
	struct uuid_obj *a = policy_obj_check(L, 1, &UUID_OBJ), *b = policy_obj_check(L, 2, &UUID_OBJ);
	lua_pushboolean(L, uuid_eq(a->id, b->id));
	return 1;
}

static const luaL_Reg METHODS[] = { { "__index", uuid_index }, { "__tostring", uuid_tostring }, { "__eq", uuid_equals }, { NULL, NULL } };

/* 32 digits, or 8-4-4-4-12 alone, in braces, or behind "urn:uuid:". */
static bool well_formed(struct slice s)
{
	if (s.len == 32)
		return slice_chr(s, '-') < 0;
	if (slice_starts(s, SLICE("urn:uuid:")))
		s = slice_sub(s, 9, SIZE_MAX);
	else if (s.len == 38 && s.ptr[0] == '{' && s.ptr[37] == '}')
		s = slice_sub(s, 1, 36);
	return s.len == 36 && s.ptr[8] == '-' && s.ptr[13] == '-' && s.ptr[18] == '-' && s.ptr[23] == '-';
}

static int fn_parse(lua_State *L)
{
	struct slice s = policy_check_text(L, 1);
	struct uuid id;
	if (!well_formed(s) || uuid_parse(s, &id) < 0)
		return policy_raisef(L, "failed to parse a UUID");
	return push_uuid(L, id);
}

static int fn_new_v1(lua_State *L) { return push_uuid(L, uuid_v1()); }
static int fn_new_v4(lua_State *L) { return push_uuid(L, uuid_v4()); }
static int fn_new_v6(lua_State *L) { return push_uuid(L, uuid_v6()); }
static int fn_new_v7(lua_State *L) { return push_uuid(L, uuid_v7()); }

static const luaL_Reg FUNCTIONS[] = {
	{ "parse", fn_parse }, { "new_v1", fn_new_v1 }, { "new_v4", fn_new_v4 }, { "new_v6", fn_new_v6 }, { "new_v7", fn_new_v7 }, { NULL, NULL },
};
const struct policy_module mod_uuid = { "kumo.uuid", FUNCTIONS, NULL };

void mod_uuid_register(void)
{
	policy_obj_methods(&UUID_OBJ, METHODS);
}
