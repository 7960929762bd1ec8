/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/arg.h"
#include <lauxlib.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/timefmt.h"
#include "base/utf8.h"
#include "codec/opt.h"

const char *policy_type_name(lua_State *L, int idx)
{
	if (lua_type(L, idx) == LUA_TNUMBER)
		return lua_isinteger(L, idx) ? "integer" : "number";
	return lua_type(L, idx) == LUA_TNONE ? "nil" : luaL_typename(L, idx);
}

/* "bad argument #2 to `Time.format`: "; functions that are no methods are not named, the traceback does that. */
static void put_place(lua_State *L, int idx, const char *self, char *out, size_t len)
{
	lua_Debug ar;
	char fn[128] = "";
	bool called = lua_getstack(L, 0, &ar) && lua_getinfo(L, "nf", &ar);
	if (called && ar.name) {
		bool meta = strcmp(ar.namewhat, "metamethod") == 0;
		bool method = meta || strcmp(ar.namewhat, "method") == 0 || strcmp(ar.namewhat, "field") == 0;
		const struct policy_obj_type *t = NULL;
		if (self)
			snprintf(fn, sizeof fn, " to `%s.%s`", self, ar.name);
		else if (method && policy_obj_any(L, 1, &t))
			snprintf(fn, sizeof fn, " to `%s.%s%s`", t->name, meta ? "__" : "", ar.name);
	} else if (called) {	/* by C, as pcall does: Lua does not know the name then */
		const struct policy_obj_type *t = NULL;
		const char *name = policy_obj_any(L, 1, &t) ? policy_obj_method_name(t, lua_tocfunction(L, -1)) : NULL;
		if (name)
			snprintf(fn, sizeof fn, " to `%s.%s`", self ? self : t->name, name);
	}
	if (called)
		lua_pop(L, 1);
	if (self && *fn)
		snprintf(out, len, "bad argument `self`%s: ", fn);
	else
		snprintf(out, len, "bad argument #%d%s: ", idx, fn);
}

int policy_arg_errorf(lua_State *L, int idx, const char *fmt, ...)
{
	char place[192], text[1024];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	put_place(L, lua_absindex(L, idx), NULL, place, sizeof place);
	policy_raisef(L, "%s%s", place, text);
}

int policy_self_error(lua_State *L, const char *type)
{
	char place[192];
	put_place(L, 1, type, place, sizeof place);
	if (lua_type(L, 1) == LUA_TUSERDATA)
		policy_raisef(L, "%suserdata is not expected type", place);
	policy_raisef(L, "%serror converting Lua %s to userdata (expected userdata of type '%s')", place, lua_type(L, 1) == LUA_TNONE ? "nil" : luaL_typename(L, 1), type);
}

int policy_arg_error(lua_State *L, int idx, const char *type, const char *why)
{
	const char *got = policy_type_name(L, idx);
	if (why)
		policy_arg_errorf(L, idx, "error converting Lua %s to %s (%s)", got, type, why);
	policy_arg_errorf(L, idx, "error converting Lua %s to %s", got, type);
}

/* The length of the longest prefix of S that begins a valid sequence; *WHOLE: only the end is missing. */
static size_t begun(struct slice s, bool *whole)
{
	unsigned char c = (unsigned char)s.ptr[0], lo = 0x80, hi = 0xbf;
	size_t need = c >= 0xc2 && c <= 0xdf ? 2 : c >= 0xe0 && c <= 0xef ? 3 : c >= 0xf0 && c <= 0xf4 ? 4 : 1;
	lo = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : lo;
	hi = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : hi;
	size_t i = 1;
	for (; i < need && i < s.len; i++) {
		unsigned char d = (unsigned char)s.ptr[i];
		if (d < lo || d > hi)
			break;
		lo = 0x80;
		hi = 0xbf;
	}
	*whole = need > 1 && i == s.len;
	return i;
}

bool policy_utf8_fault(struct slice s, char *out, size_t out_len)
{
	if (utf8_valid(s))
		return false;
	size_t i = 0, n;
	uint32_t cp;
	while ((n = utf8_decode(slice_sub(s, i, SIZE_MAX), &cp)) > 0)
		i += n;
	bool incomplete;
	n = begun(slice_sub(s, i, SIZE_MAX), &incomplete);
	if (incomplete)
		snprintf(out, out_len, "incomplete utf-8 byte sequence from index %zu", i);
	else
		snprintf(out, out_len, "invalid utf-8 sequence of %zu bytes from index %zu", n, i);
	return true;
}

struct slice policy_check_slice(lua_State *L, int idx)
{
	size_t len;
	const char *p = lua_tolstring(L, idx, &len);
	if (!p)
		policy_arg_error(L, idx, "String", "expected string or number");
	return slice_new(p, len);
}

struct slice policy_check_text(lua_State *L, int idx)
{
	char why[96];
	struct slice s = policy_check_slice(L, idx);
	if (policy_utf8_fault(s, why, sizeof why))
		policy_arg_error(L, idx, "String", why);
	return s;
}

struct slice policy_opt_text(lua_State *L, int idx)
{
	return lua_isnoneornil(L, idx) ? SLICE_NONE : policy_check_text(L, idx);
}

double policy_check_number(lua_State *L, int idx)
{
	int ok;
	double d = lua_tonumberx(L, idx, &ok);
	if (!ok)
		policy_arg_error(L, idx, "f64", "expected number or string coercible to number");
	return d;
}

int64_t policy_check_int(lua_State *L, int idx, const char *type, int64_t min, int64_t max)
{
	int ok;
	lua_Integer i = lua_tointegerx(L, idx, &ok);
	if (!ok) {
		double d = lua_tonumberx(L, idx, &ok);
		if (!ok)
			policy_arg_error(L, idx, type, "expected number or string coercible to number");
		if (!(d > -9.2e18 && d < 9.2e18))
			policy_arg_error(L, idx, type, "out of range");
		i = (lua_Integer)d;
	}
	if (i < min || i > max)
		policy_arg_error(L, idx, type, "out of range");
	return i;
}

void policy_check_function(lua_State *L, int idx)
{
	if (lua_type(L, idx) != LUA_TFUNCTION)
		policy_arg_error(L, idx, "function", NULL);
}

void policy_check_table(lua_State *L, int idx, const char *type)
{
	if (lua_type(L, idx) != LUA_TTABLE)
		policy_arg_error(L, idx, type, "expected table");
}

bool policy_check_bool(lua_State *L, int idx)
{
	return lua_toboolean(L, idx);
}

int64_t policy_check_duration(lua_State *L, int idx)
{
	int64_t ns;
	if (lua_type(L, idx) == LUA_TNUMBER) {
		double d = lua_tonumber(L, idx);
		if (!(d >= 0) || d > 9e9)
			policy_raisef(L, "duration must either be a string or a positive integer specifying the number of seconds.");
		return lua_isinteger(L, idx) ? lua_tointeger(L, idx) * NSEC_PER_SEC : (int64_t)(d * NSEC_PER_SEC);
	}
	struct slice s = policy_check_text(L, idx);
	if (duration_parse(s, &ns) < 0)
		policy_raisef(L, "invalid value: string \"%.*s\", expected a duration", SLICE_ARG(s));
	return ns;
}

/* Upstream's short form of what we explain at more length: in TEXT, WORDS becomes SHORT and the explanation goes to the end. */
struct short_form {
	const char *words, *form;
	bool without_value;	/* "invalid type: string "x"" loses its value */
};
static const struct short_form SHORT_FORMS[] = {
	{ ", expected a duration such as ", ", expected a duration", false },
	{ ", expected an integer from 0 to 65535", ", expected u16", false },
	{ ", expected an integer from 0 to 4294967295", ", expected u32", false },
	{ ", expected an integer from 0 to 255", ", expected u8", false },
	{ ", expected an integer", ", expected usize", false },
	{ ", expected a table", ", expected table", true },
	{ ", expected a sequence", ", expected table", true },
	{ ", expected a map", ", expected table", true },
	{ ", expected a list of addresses and networks", ", expected table", true },
	{ ", in a rate such as ", "", false },
	{ "invalid IP address syntax, in ", "invalid IP address syntax", false },
	{ ", expected a field name", ", expected field identifier", false },
};

/* "invalid type: string "x", …" as "invalid type: string", */
static size_t cut_value(const char *text, size_t len)
{
	static const char *const kinds[] = { "string", "integer", "floating point", "boolean" };
	const char *lead = "invalid type: ";
	if (strncmp(text, lead, strlen(lead)) != 0)
		return len;
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (strncmp(text + strlen(lead), kinds[i], strlen(kinds[i])) == 0)
			return MIN(len, strlen(lead) + strlen(kinds[i]));
	return len;
}

/* "NAME.path: text" of an option error as "deserialize error: text, while processing NAME.path". Hints and explanations go last: what
   stands before "while processing" is what upstream says, and what other programs compare. */
static int raise_opts(lua_State *L, const char *lead, const char *name, bool with_values)
{
	struct slice all = slice_from_cstr(err_text());
	size_t i = strlen(name);
	bool ours = slice_starts(all, slice_from_cstr(name)) && i < all.len && strchr(":.[", all.ptr[i]);
	if (!ours)
		policy_raise(L, -E_INVAL);
	for (bool quoted = false; i + 1 < all.len && (quoted || all.ptr[i] != ':' || all.ptr[i + 1] != ' '); i++) {
		if (quoted && all.ptr[i] == '\\')
			i++;
		else if (all.ptr[i] == '"')
			quoted = !quoted;
	}
	char *text = arena_strdup(policy_arena(L), all), *rest = text + MIN(i + 2, all.len), *hint = strstr(rest, ", did you mean `");
	char *hint_end = hint ? strstr(hint, "`? ") : NULL;
	if (hint_end)
		policy_raisef(L, "%sdeserialize error: %.*s, %s, while processing %.*s%.*s", lead, (int)(hint - rest), rest, hint_end + 3, (int)i, text, (int)(hint_end + 2 - hint), hint);
	for (size_t f = 0; f < ARRAY_LEN(SHORT_FORMS); f++) {
		const struct short_form *s = &SHORT_FORMS[f];
		char *at = strstr(rest, s->words);
		if (!at)
			continue;
		size_t head = s->without_value && !with_values ? cut_value(rest, (size_t)(at - rest)) : (size_t)(at - rest);
		policy_raisef(L, "%sdeserialize error: %.*s%s, while processing %.*s: %s", lead, (int)head, rest, s->form, (int)i, text, rest);
	}
	policy_raisef(L, "%sdeserialize error: %s, while processing %.*s", lead, rest, (int)i, text);
}

int policy_raise_opts(lua_State *L, const char *name)
{
	raise_opts(L, "", name, false);
	abort();
}

int policy_raise_opts_values(lua_State *L, const char *name)
{
	raise_opts(L, "", name, true);
	abort();
}

void policy_check_opts_arg(lua_State *L, int idx, const struct opt_desc *d, struct arena *a, void *out)
{
	struct val v;
	char lead[32];
	snprintf(lead, sizeof lead, "bad argument #%d: ", idx);
	if (lua_type(L, idx) != LUA_TTABLE && lua_type(L, idx) != LUA_TUSERDATA)
		policy_raisef(L, "%sdeserialize error: invalid type: %s, expected table, while processing %s", lead, policy_type_name(L, idx), d->name);
	if (policy_to_val_mode(L, idx, POLICY_VAL_RAW, a, &v) < 0)
		policy_raise(L, -E_INVAL);
	if (opt_parse(d, &v, a, out) < 0)
		raise_opts(L, lead, d->name, false);
}

void policy_check_opts_val(lua_State *L, const struct val *v, const struct opt_desc *d, struct arena *a, void *out)
{
	if (opt_parse(d, v, a, out) < 0)
		policy_raise_opts(L, d->name);
}

void policy_check_opts_table(lua_State *L, int idx, const char *name)
{
	if (lua_type(L, idx) != LUA_TTABLE && lua_type(L, idx) != LUA_TUSERDATA)
		policy_raisef(L, "deserialize error: invalid type: %s, expected table, while processing %s", policy_type_name(L, idx), name);
}

void policy_check_opts(lua_State *L, int idx, const struct opt_desc *d, struct arena *a, void *out)
{
	struct val v;
	policy_check_opts_table(L, idx, d->name);
	if (policy_to_val_mode(L, idx, POLICY_VAL_RAW, a, &v) < 0)
		policy_raise(L, -E_INVAL);
	policy_check_opts_val(L, &v, d, a, out);
}
