/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mod_address - envelope addresses, and the addresses of header fields (addressheader and its entries).
 */
#include "codec/rfc5322.h"
#include "lua/message/message.h"

static int unknown_field(lua_State *L)
{
	return policy_raisef(L, "attempt to get an unknown field '%s'", luaL_tolstring(L, 2, NULL));
}

static bool is_key(lua_State *L, const char *name)
{
	return lua_type(L, 2) == LUA_TSTRING && strcmp(lua_tostring(L, 2), name) == 0;
}

static void push_text(lua_State *L, struct slice s)
{
	lua_pushlstring(L, s.len ? s.ptr : "", s.len);
}

static int address_index(lua_State *L)
{
	struct policy_address *a = policy_obj_check(L, 1, &ADDRESS_OBJ);
	if (is_key(L, "user"))
		push_text(L, smtp_path_user(&a->path, policy_arena(L)));
	else if (is_key(L, "domain"))
		push_text(L, a->path.domain);
	else if (is_key(L, "email"))
		push_text(L, a->path.text);
	else
		return unknown_field(L);
	return 1;
}

static int address_tostring(lua_State *L)
{
	struct policy_address *a = policy_obj_check(L, 1, &ADDRESS_OBJ);
	push_text(L, a->path.text);
	return 1;
}

static int address_eq(lua_State *L)
{
	struct policy_address *a = policy_obj_get(L, 1, &ADDRESS_OBJ), *b = policy_obj_get(L, 2, &ADDRESS_OBJ);
	lua_pushboolean(L, a != NULL && b != NULL && slice_eq(a->path.text, b->path.text));
	return 1;
}

/* --- addresses of a header: a document with the list, or with one mailbox --------------------------------------------------------- */

static void *ref_doc(void *d)
{
	return vdoc_ref(d);
}

static void unref_doc(void *d)
{
	struct vdoc *doc = d;
	vdoc_unref(&doc);
}

static const struct policy_obj_type HEADER_LIST_OBJ = { .name = "HeaderAddressList", .ref = ref_doc, .unref = unref_doc };
static const struct policy_obj_type HEADER_ADDRESS_OBJ = { .name = "HeaderAddress", .ref = ref_doc, .unref = unref_doc };

static void push_doc(lua_State *L, const struct policy_obj_type *t, const struct val *v)
{
	struct vdoc *d = vdoc_copy_of(v);
	policy_obj_push(L, t, d);
	vdoc_unref(&d);
}

void message_push_address_header(lua_State *L, const struct val *list)
{
	push_doc(L, &HEADER_LIST_OBJ, list);
}

static struct slice email_of(struct arena *a, const struct val *mailbox)
{
	const struct val *addr = val_get_lit(mailbox, "address");
	struct buf b = { 0 };
	mail_put_addr_spec(&b, val_get_str(addr, SLICE("local_part")), val_get_str(addr, SLICE("domain")));
	struct slice s = arena_dup(a, buf_view(&b));
	buf_fini(&b);
	return s;
}

/* Pushes a field of a mailbox; false: it has none of that name. */
static bool push_mailbox_field(lua_State *L, const struct val *mailbox)
{
	const struct val *addr = val_get_lit(mailbox, "address");
	if (is_key(L, "user"))
		push_text(L, val_get_str(addr, SLICE("local_part")));
	else if (is_key(L, "domain"))
		push_text(L, val_get_str(addr, SLICE("domain")));
	else if (is_key(L, "email"))
		push_text(L, email_of(policy_arena(L), mailbox));
	else if (is_key(L, "name"))
		policy_push_slice(L, val_get_str(mailbox, SLICE("name")));
	else
		return false;
	return true;
}

static bool is_group(const struct val *v)
{
	return val_get_lit(v, "entries") != NULL;
}

static int push_list(lua_State *L, const struct val *list)
{
	lua_Integer n = 0;
	lua_newtable(L);
	for (uint32_t i = 0; i < list->n; i++) {
		const struct val *entries = val_get_lit(&list->items[i], "entries");
		uint32_t members = entries != NULL ? entries->n : 1;
		for (uint32_t k = 0; k < members; k++) {
			push_doc(L, &HEADER_ADDRESS_OBJ, entries != NULL ? &entries->items[k] : &list->items[i]);
			lua_rawseti(L, -2, ++n);
		}
	}
	return 1;
}

static int header_list_index(lua_State *L)
{
	struct vdoc *d = policy_obj_check(L, 1, &HEADER_LIST_OBJ);
	if (is_key(L, "list"))
		return push_list(L, &d->root);
	if (!is_key(L, "user") && !is_key(L, "domain") && !is_key(L, "email") && !is_key(L, "name"))
		return unknown_field(L);
	if (d->root.n == 0)
		return policy_raisef(L, "no addresses");
	if (d->root.n > 1)
		return policy_raisef(L, "is not a simple single address");
	if (is_group(&d->root.items[0]))
		return policy_raisef(L, "is not a simple address");
	push_mailbox_field(L, &d->root.items[0]);
	return 1;
}

static int header_address_index(lua_State *L)
{
	struct vdoc *d = policy_obj_check(L, 1, &HEADER_ADDRESS_OBJ);
	return push_mailbox_field(L, &d->root) ? 1 : unknown_field(L);
}

static struct val name_or_null(const struct val *v)
{
	const struct val *name = val_get_lit(v, "name");
	return name != NULL && !(name->type == VAL_STR && name->s.len == 0) ? *name : val_null();
}

/* {"name":…,"address":"a@b"} */
static struct val wire_mailbox(struct arena *a, const struct val *mailbox)
{
	struct val v = val_obj();
	const struct val *name = val_get_lit(mailbox, "name");
	val_put_lit(a, &v, "name", name != NULL ? *name : val_null());
	val_put_lit(a, &v, "address", val_str(a, email_of(a, mailbox)));
	return v;
}

/* {"Address":{…}} or {"Group":{"name":…,"addresses":[…]}} */
static struct val wire_entry(struct arena *a, const struct val *v)
{
	struct val out = val_obj(), group = val_obj(), list = val_list();
	const struct val *entries = val_get_lit(v, "entries");
	if (entries == NULL) {
		val_put_lit(a, &out, "Address", wire_mailbox(a, v));
		return out;
	}
	for (uint32_t i = 0; i < entries->n; i++)
		val_push(a, &list, wire_mailbox(a, &entries->items[i]));
	val_put_lit(a, &group, "name", name_or_null(v));
	val_put_lit(a, &group, "addresses", list);
	val_put_lit(a, &out, "Group", group);
	return out;
}

static int push_json(lua_State *L, const struct val *v)
{
	struct buf b = { 0 };
	json_put(&b, v, JSON_COMPACT);
	lua_push_buf(L, &b);
	return 1;
}

static int header_list_tostring(lua_State *L)
{
	struct vdoc *d = policy_obj_check(L, 1, &HEADER_LIST_OBJ);
	struct val list = val_list();
	for (uint32_t i = 0; i < d->root.n; i++)
		val_push(policy_arena(L), &list, wire_entry(policy_arena(L), &d->root.items[i]));
	return push_json(L, &list);
}

static int header_address_tostring(lua_State *L)
{
	struct vdoc *d = policy_obj_check(L, 1, &HEADER_ADDRESS_OBJ);
	struct val v = wire_mailbox(policy_arena(L), &d->root);
	return push_json(L, &v);
}

static const luaL_Reg ADDRESS[] = { { "__index", address_index }, { "__tostring", address_tostring }, { "__eq", address_eq }, { NULL, NULL } };
static const luaL_Reg HEADER_LIST[] = { { "__index", header_list_index }, { "__tostring", header_list_tostring }, { NULL, NULL } };
static const luaL_Reg HEADER_ADDRESS[] = { { "__index", header_address_index }, { "__tostring", header_address_tostring }, { NULL, NULL } };

void mod_address_register(void)
{
	policy_obj_methods(&ADDRESS_OBJ, ADDRESS);
	policy_obj_methods(&HEADER_LIST_OBJ, HEADER_LIST);
	policy_obj_methods(&HEADER_ADDRESS_OBJ, HEADER_ADDRESS);
}
