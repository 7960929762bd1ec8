/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mod_serde - kumo.serde: JSON, TOML and YAML to Lua values and back; kumo.json_*, kumo.toml_* are the same functions.
 */
#include <stdlib.h>
#include "codec/val.h"
#include "lua/util.h"

static struct val check_encodable(lua_State *L)
{
	struct val v;
	if (policy_to_val_mode(L, 1, POLICY_VAL_ENCODE, policy_arena(L), &v) < 0)
		policy_raise(L, -E_INVAL);
	return v;
}

static int push_buf(lua_State *L, struct buf *b)
{
	lua_pushlstring(L, b->ptr ? b->ptr : "", b->len);
	buf_fini(b);
	return 1;
}

/* --- JSON ----------------------------------------------------------------------------------------------------------- */

static int json_encode(lua_State *L)
{
	struct val v = check_encodable(L);
	struct buf b = { 0 };
	json_put(&b, &v, JSON_COMPACT | JSON_SORTED);
	return push_buf(L, &b);
}

static int json_encode_pretty(lua_State *L)
{
	struct val v = check_encodable(L);
	struct buf b = { 0 };
	json_put(&b, &v, JSON_PRETTY | JSON_SORTED);
	return push_buf(L, &b);
}

/* Comments in configuration files (// to the end of line, # too, and slash-star) become blanks, so that positions stay right. */
static int blank_comments(char *p, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (p[i] == '"') {
			for (i++; i < len && p[i] != '"'; i++)
				if (p[i] == '\\')
					i++;
			if (i >= len)
				return err_set(E_INVAL, "invalid data");
		} else if (p[i] == '#' || (p[i] == '/' && i + 1 < len && p[i + 1] == '/')) {
			for (; i < len && p[i] != '\n'; i++)
				p[i] = ' ';
		} else if (p[i] == '/' && i + 1 < len && p[i + 1] == '*') {
			size_t end = i + 2;
			while (end + 1 < len && !(p[end] == '*' && p[end + 1] == '/'))
				end++;
			if (end + 1 >= len)
				return err_set(E_INVAL, "invalid data");
			for (; i < end + 2; i++)
				if (p[i] != '\n')
					p[i] = ' ';
			i--;
		}
	}
	return 0;
}

static int parse_json(struct slice text, const char *name, struct arena *a, struct val *out)
{
	char *p = arena_strdup(a, text);
	int rc = blank_comments(p, text.len);
	return rc < 0 ? rc : json_parse(slice_new(p, text.len), a, out);
}

/* --- reading, any format -------------------------------------------------------------------------------------------- */

typedef int (*parse_cb)(struct slice text, const char *name, struct arena *a, struct val *out);

static int parse_text(lua_State *L, struct slice text, struct slice shown, const char *format, parse_cb parse)
{
	struct val v;
	struct arena *a = policy_arena(L);
	if (parse(text, NULL, a, &v) < 0)
		return policy_raisef(L, "parsing %.*s as %s: %s", SLICE_ARG(shown), format, err_text());
	policy_push_val(L, &v);
	return 1;
}

static int parse_arg(lua_State *L, const char *format, parse_cb parse)
{
	struct slice text = policy_check_text(L, 1);
	return parse_text(L, text, text, format, parse);
}

static int load_arg(lua_State *L, const char *format, parse_cb parse)
{
	struct slice path = policy_check_text(L, 1);
	struct buf b = { 0 };
	int rc = lua_read_file(path, "reading file", &b);
	if (rc < 0)
		return policy_raise(L, rc);
	struct slice text = arena_dup(policy_arena(L), buf_view(&b));
	buf_fini(&b);
	if (!utf8_valid(text))
		return policy_raisef(L, "reading file %.*s: stream did not contain valid UTF-8", SLICE_ARG(path));
	return parse_text(L, text, path, format, parse);
}

static int json_parse_(lua_State *L) { return parse_arg(L, "json", parse_json); }
static int json_load(lua_State *L) { return load_arg(L, "json", parse_json); }
static int toml_parse_(lua_State *L) { return parse_arg(L, "toml", toml_parse); }
static int toml_load(lua_State *L) { return load_arg(L, "toml", toml_parse); }
static int yaml_parse_(lua_State *L) { return parse_arg(L, "yaml", yaml_parse); }
static int yaml_load(lua_State *L) { return load_arg(L, "yaml", yaml_parse); }

/* --- TOML and YAML -------------------------------------------------------------------------------------------------- */

static int encode_toml(lua_State *L, int style, const char *lead)
{
	static const char *const names[] = { [VAL_NULL] = "unit", [VAL_BOOL] = "bool", [VAL_INT] = "i64", [VAL_UINT] = "u64", [VAL_FLOAT] = "f64", [VAL_STR] = "str", [VAL_LIST] = "array" };
	struct val v = check_encodable(L);
	if (v.type != VAL_OBJ)
		return policy_raisef(L, "%sunsupported %s type", lead, v.type < ARRAY_LEN(names) ? names[v.type] : "datetime");
	struct buf b = { 0 };
	val_sort(&v);
	if (toml_put(&b, &v, style) < 0) {
		buf_fini(&b);
		return policy_raisef(L, "%s%s", lead, err_text());
	}
	return push_buf(L, &b);
}

static int toml_encode(lua_State *L) { return encode_toml(L, TOML_PLAIN, ""); }
static int toml_encode_pretty(lua_State *L) { return encode_toml(L, TOML_PRETTY, ""); }
static int toml_encode_pretty_compact(lua_State *L) { return encode_toml(L, TOML_INLINE_EMPTY, "serializing value as TOML: "); }

static bool has_bytes(const struct val *v)
{
	if (v->type == VAL_STR)
		return !utf8_valid(v->s);
	for (uint32_t i = 0; i < v->n; i++)
		if ((v->type == VAL_LIST && has_bytes(&v->items[i])) || (v->type == VAL_OBJ && has_bytes(&v->members[i].val)))
			return true;
	return false;
}

static int yaml_encode(lua_State *L)
{
	struct val v = check_encodable(L), raw;
	if (policy_to_val_mode(L, 1, POLICY_VAL_RAW, policy_arena(L), &raw) == 0 && has_bytes(&raw))
		return policy_raisef(L, "serialization and deserialization of bytes in YAML is not implemented");
	struct buf b = { 0 };
	val_sort(&v);
	yaml_put(&b, &v);
	return push_buf(L, &b);
}

static const luaL_Reg FUNCTIONS[] = {
	{ "json_encode", json_encode },
	{ "json_encode_pretty", json_encode_pretty },
	{ "json_parse", json_parse_ },
	{ "json_load", json_load },
	{ "toml_encode", toml_encode },
	{ "toml_encode_pretty", toml_encode_pretty },
	{ "toml_encode_pretty_compact", toml_encode_pretty_compact },
	{ "toml_parse", toml_parse_ },
	{ "toml_load", toml_load },
	{ "yaml_encode", yaml_encode },
	{ "yaml_parse", yaml_parse_ },
	{ "yaml_load", yaml_load },
	{ NULL, NULL },
};
const struct policy_module mod_serde = { "kumo.serde", FUNCTIONS, NULL };

/* The older names, in the module kumo itself. */
static const luaL_Reg ALIASES[] = {
	{ "json_encode", json_encode },
	{ "json_encode_pretty", json_encode_pretty },
	{ "json_parse", json_parse_ },
	{ "json_load", json_load },
	{ "toml_encode", toml_encode },
	{ "toml_encode_pretty", toml_encode_pretty },
	{ "toml_parse", toml_parse_ },
	{ "toml_load", toml_load },
	{ NULL, NULL },
};
const struct policy_module mod_serde_aliases = { "kumo", ALIASES, NULL };
