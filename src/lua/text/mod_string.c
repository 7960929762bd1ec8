/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mod_string - kumo.string: splitting, trimming, replacing, wrapping of UTF-8 text; registrable domains.
 */
#include <stdlib.h>
#include "codec/normalize.h"
#include "codec/template.h"
#include "lua/util.h"
#include "mailauth/org_domain.h"

/* --- splitting ------------------------------------------------------------------------------------------------------ */

/* Offset of the next PATTERN at or behind FROM; an empty one matches at each character. SIZE_MAX: none. */
static size_t find_from(struct slice s, size_t from, struct slice pattern)
{
	if (from > s.len)
		return SIZE_MAX;
	ptrdiff_t at = pattern.len ? slice_find(slice_sub(s, from, SIZE_MAX), pattern) : 0;
	return at < 0 ? SIZE_MAX : from + (size_t)at;
}

static size_t char_len(struct slice s, size_t at)
{
	uint32_t cp;
	return MAX(utf8_decode(slice_sub(s, at, SIZE_MAX), &cp), (size_t)1);
}

static void add(lua_State *L, lua_Integer *n, struct slice part)
{
	policy_push_slice(L, part.ptr ? part : SLICE(""));
	lua_rawseti(L, -2, ++*n);
}

static int split(lua_State *L, struct slice s, struct slice pattern, int64_t limit)
{
	lua_Integer n = 0;
	size_t start = 0, look = 0;
	lua_newtable(L);
	if (limit == 0)
		return 1;
	for (size_t at; n + 1 < limit && (at = find_from(s, look, pattern)) != SIZE_MAX;) {
		add(L, &n, slice_sub(s, start, at - start));
		start = at + pattern.len;
		look = pattern.len ? start : at + (at < s.len ? char_len(s, at) : 1);
	}
	add(L, &n, slice_sub(s, start, SIZE_MAX));
	return 1;
}

/* The last PATTERN that ends at or before END. */
static size_t find_back(struct slice s, size_t end, struct slice pattern)
{
	for (size_t at = end - pattern.len + 1; end >= pattern.len && at-- > 0;)
		if (memcmp(s.ptr + at, pattern.ptr, pattern.len) == 0)
			return at;
	return SIZE_MAX;
}

static int rsplit(lua_State *L, struct slice s, struct slice pattern, int64_t limit)
{
	lua_Integer n = 0;
	size_t end = s.len;
	lua_newtable(L);
	if (limit == 0)
		return 1;
	if (pattern.len == 0) {		/* before the first, between all, behind the last character */
		size_t at = s.len;
		bool more = n + 1 < limit;
		if (more)
			add(L, &n, SLICE(""));
		while (n + 1 < limit && at > 0) {
			size_t from = at - 1;
			while (from > 0 && ((unsigned char)s.ptr[from] & 0xc0) == 0x80)
				from--;
			add(L, &n, slice_sub(s, from, at - from));
			at = from;
		}
		add(L, &n, slice_sub(s, 0, at));
		return 1;
	}
	for (size_t at; n + 1 < limit && (at = find_back(s, end, pattern)) != SIZE_MAX; end = at)
		add(L, &n, slice_sub(s, at + pattern.len, end - at - pattern.len));
	add(L, &n, slice_sub(s, 0, end));
	return 1;
}

static int fn_split(lua_State *L)
{
	struct slice s = policy_check_text(L, 1);
	return split(L, s, policy_check_text(L, 2), INT64_MAX);
}

static int fn_splitn(lua_State *L)
{
	struct slice s = policy_check_text(L, 1);
	int64_t limit = policy_check_int(L, 2, "usize", 0, INT64_MAX);
	return split(L, s, policy_check_text(L, 3), limit);
}

static int fn_rsplit(lua_State *L)
{
	struct slice s = policy_check_text(L, 1);
	return rsplit(L, s, policy_check_text(L, 2), INT64_MAX);
}

static int fn_rsplitn(lua_State *L)
{
	struct slice s = policy_check_text(L, 1);
	int64_t limit = policy_check_int(L, 2, "usize", 0, INT64_MAX);
	return rsplit(L, s, policy_check_text(L, 3), limit);
}

static bool is_white(uint32_t c)
{
	return (c >= 9 && c <= 13) || c == ' ' || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 ||
	       c == 0x202f || c == 0x205f || c == 0x3000;
}

static bool is_ascii_white(uint32_t c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\f' || c == '\r';
}

static int split_white(lua_State *L, bool (*white)(uint32_t))
{
	struct slice s = policy_check_text(L, 1);
	lua_Integer n = 0;
	size_t start = 0;
	lua_newtable(L);
	for (size_t i = 0; i < s.len;) {
		uint32_t cp = 0;
		size_t len = MAX(utf8_decode(slice_sub(s, i, SIZE_MAX), &cp), (size_t)1);
		if (white(cp)) {
			if (i > start)
				add(L, &n, slice_sub(s, start, i - start));
			start = i + len;
		}
		i += len;
	}
	if (s.len > start)
		add(L, &n, slice_sub(s, start, SIZE_MAX));
	return 1;
}

static int fn_split_whitespace(lua_State *L) { return split_white(L, is_white); }
static int fn_split_ascii_whitespace(lua_State *L) { return split_white(L, is_ascii_white); }

/* --- trimming, replacing -------------------------------------------------------------------------------------------- */

static int trim(lua_State *L, bool start, bool end)
{
	struct slice s = policy_check_text(L, 1);
	uint32_t cp;
	while (start && s.len) {
		size_t n = utf8_decode(s, &cp);
		if (!n || !is_white(cp))
			break;
		s = slice_sub(s, n, SIZE_MAX);
	}
	while (end && s.len) {
		size_t from = s.len - 1;
		while (from > 0 && ((unsigned char)s.ptr[from] & 0xc0) == 0x80)
			from--;
		if (!utf8_decode(slice_sub(s, from, SIZE_MAX), &cp) || !is_white(cp))
			break;
		s.len = from;
	}
	lua_pushlstring(L, s.ptr ? s.ptr : "", s.len);
	return 1;
}

static int fn_trim(lua_State *L) { return trim(L, true, true); }
static int fn_trim_start(lua_State *L) { return trim(L, true, false); }
static int fn_trim_end(lua_State *L) { return trim(L, false, true); }

static int replace(lua_State *L, struct slice s, struct slice from, struct slice to, int64_t limit)
{
	luaL_Buffer out;	/* Lua's own: it is bounded by what the state may hold */
	size_t done = 0, look = 0;
	luaL_buffinit(L, &out);
	for (size_t at; limit > 0 && (at = find_from(s, look, from)) != SIZE_MAX; limit--) {
		luaL_addlstring(&out, s.ptr + done, at - done);
		luaL_addlstring(&out, to.ptr, to.len);
		done = at + from.len;
		look = from.len ? done : at + (at < s.len ? char_len(s, at) : 1);
	}
	luaL_addlstring(&out, s.ptr + done, s.len - done);
	luaL_pushresult(&out);
	return 1;
}

static int fn_replace(lua_State *L)
{
	struct slice s = policy_check_text(L, 1), from = policy_check_text(L, 2);
	return replace(L, s, from, policy_check_text(L, 3), INT64_MAX);
}

static int fn_replacen(lua_State *L)
{
	struct slice s = policy_check_text(L, 1), from = policy_check_text(L, 2), to = policy_check_text(L, 3);
	return replace(L, s, from, to, policy_check_int(L, 4, "usize", 0, INT64_MAX));
}

static int fn_starts_with(lua_State *L)
{
	struct slice s = policy_check_text(L, 1);
	lua_pushboolean(L, slice_starts(s, policy_check_text(L, 2)));
	return 1;
}

static int fn_ends_with(lua_State *L)
{
	struct slice s = policy_check_text(L, 1);
	lua_pushboolean(L, slice_ends(s, policy_check_text(L, 2)));
	return 1;
}

/* --- wrapping ------------------------------------------------------------------------------------------------------- */

#define BREAK "\r\n\t"

/* At most MAX bytes of W that end between characters; at least one character. */
static size_t piece(struct slice w, size_t max)
{
	size_t n = MIN(w.len, max);
	while (n > 0 && n < w.len && ((unsigned char)w.ptr[n] & 0xc0) == 0x80)
		n--;
	return n ? n : char_len(w, 0);
}

static void put_wrapped(struct buf *b, struct slice s, size_t soft, size_t hard)
{
	size_t line = 0;
	for (size_t i = 0; i < s.len;) {
		size_t end = i;
		if (is_ascii_white((unsigned char)s.ptr[i]) || s.ptr[i] == '\v') {
			i++;
			continue;
		}
		while (end < s.len && !is_ascii_white((unsigned char)s.ptr[end]) && s.ptr[end] != '\v')
			end++;
		struct slice word = slice_sub(s, i, end - i);
		i = end;
		if (line && line + 1 + word.len > soft) {
			buf_lit(b, BREAK);
			line = 0;
		} else if (line) {
			buf_putc(b, ' ');
			line++;
		}
		while (word.len > hard) {
			size_t n = piece(word, hard);
			buf_put(b, word.ptr, n);
			buf_lit(b, BREAK);
			word = slice_sub(word, n, SIZE_MAX);
			line = 0;
		}
		buf_slice(b, word);
		line += word.len;
	}
}

static int fn_wrap(lua_State *L)
{
	struct slice s = policy_check_text(L, 1);
	int64_t soft = lua_isnoneornil(L, 2) ? 75 : policy_check_int(L, 2, "usize", 0, INT64_MAX);
	int64_t hard = lua_isnoneornil(L, 3) ? 900 : policy_check_int(L, 3, "usize", 1, INT64_MAX);
	struct buf b = { 0 };
	put_wrapped(&b, s, (size_t)soft, (size_t)hard);
	lua_pushlstring(L, b.ptr ? b.ptr : "", b.len);
	buf_fini(&b);
	return 1;
}

/* --- domains -------------------------------------------------------------------------------------------------------- */

static int push_part(lua_State *L, const char *(*part)(const char *domain))
{
	lua_pushstring(L, part(org_domain_normal(policy_check_text(L, 1), policy_arena(L))));
	return 1;
}

static int fn_psl_domain(lua_State *L) { return push_part(L, org_domain_of); }
static int fn_psl_suffix(lua_State *L) { return push_part(L, org_domain_suffix); }

static int fn_normalize_smtp_response(lua_State *L)
{
	struct slice s = policy_check_text(L, 1);
	struct buf b = { 0 };
	normalize_smtp_response(&b, s);
	lua_pushlstring(L, b.ptr ? b.ptr : "", b.len);
	buf_fini(&b);
	return 1;
}

/* --- templates ------------------------------------------------------------------------------------------------------ */

struct eval_opts {
	int dialect;
};
static const struct opt_field EVAL_FIELDS[] = { OPT_ENUM(struct eval_opts, dialect, TEMPLATE_DIALECTS, "Jinja", "Jinja, Static or Handlebars"), OPT_END };
static const struct opt_desc EVAL = { .name = "eval_template", .fields = EVAL_FIELDS, .size = sizeof(struct eval_opts) };

/* eval_template(NAME, SOURCE, CONTEXT, DIALECT) */
static int fn_eval_template(lua_State *L)
{
	struct arena *a = policy_arena(L);
	struct slice name = policy_check_text(L, 1), source = policy_check_text(L, 2), dialect = policy_opt_text(L, 4);
	struct val context, opts = val_obj();
	struct eval_opts o;
	struct template *t;
	struct buf b = { 0 };
	if (policy_to_val(L, 3, a, &context) < 0)
		return policy_raise(L, -E_INVAL);
	if (dialect.ptr)
		val_put_lit(a, &opts, "dialect", val_str(a, dialect));
	policy_check_opts_val(L, &opts, &EVAL, a, &o);
	int rc = template_compile((enum template_dialect)o.dialect, name, source, &t);
	if (rc == 0) {
		rc = template_render(t, &context, &b);
		template_unref(&t);
	}
	if (rc < 0) {
		buf_fini(&b);
		return policy_raise(L, rc);
	}
	lua_pushlstring(L, b.ptr ? b.ptr : "", b.len);
	buf_fini(&b);
	return 1;
}

static const luaL_Reg FUNCTIONS[] = {
	{ "eval_template", fn_eval_template },
	{ "split", fn_split },
	{ "splitn", fn_splitn },
	{ "rsplit", fn_rsplit },
	{ "rsplitn", fn_rsplitn },
	{ "split_whitespace", fn_split_whitespace },
	{ "split_ascii_whitespace", fn_split_ascii_whitespace },
	{ "trim", fn_trim },
	{ "trim_start", fn_trim_start },
	{ "trim_end", fn_trim_end },
	{ "replace", fn_replace },
	{ "replacen", fn_replacen },
	{ "starts_with", fn_starts_with },
	{ "ends_with", fn_ends_with },
	{ "wrap", fn_wrap },
	{ "psl_domain", fn_psl_domain },
	{ "psl_suffix", fn_psl_suffix },
	{ "normalize_smtp_response", fn_normalize_smtp_response },
	{ NULL, NULL },
};
const struct policy_module mod_string = { "kumo.string", FUNCTIONS, NULL };

void mod_string_register(void)
{
	template_add_filter("normalize_smtp_response", normalize_smtp_response);
}
