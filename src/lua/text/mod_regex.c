/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mod_regex - kumo.regex (and "regex"): compiled expressions.
 *
 * Expressions are cached for the process: policies compile theirs in every event.
 */
#include <stdatomic.h>
#include <stdlib.h>
#include "base/map.h"
#include "codec/regex.h"
#include "lua/util.h"
#include "rt/sync.h"

#define CACHE_MAX 1024

struct regex_obj {
	_Atomic uint32_t refs;
	struct regex *re;
};

static struct rt_lock cache_lock = RT_LOCK_INIT(RANK_CACHE);
static struct map cache;	/* pattern -> struct regex_obj with a reference; under cache_lock */

static void *ref_regex(void *p)
{
	((struct regex_obj *)p)->refs++;
	return p;
}

static void unref_regex(void *p)
{
	struct regex_obj *r = p;
	if (atomic_fetch_sub(&r->refs, 1) > 1)
		return;
	regex_destroy(&r->re);
	free(r);
}

static const struct policy_obj_type REGEX_OBJ = { .name = "RegexWrap", .ref = ref_regex, .unref = unref_regex };

static struct regex *check_regex(lua_State *L)
{
	return ((struct regex_obj *)policy_obj_check(L, 1, &REGEX_OBJ))->re;
}

/* The next match at or behind FROM; raises when the expression takes too much work. */
static bool find(lua_State *L, const struct regex *re, struct slice s, size_t from, struct regex_match *m)
{
	int rc = regex_find(re, s, from, m);
	if (rc < 0)
		policy_raise(L, rc);
	return rc > 0;
}

/* Where to look after a match: behind it, and behind one character more when it was empty. */
static size_t behind(struct slice s, struct slice match)
{
	size_t at = (size_t)(match.ptr - s.ptr) + match.len;
	uint32_t cp;
	if (match.len == 0)
		at += MAX(utf8_decode(slice_sub(s, at, SIZE_MAX), &cp), (size_t)1);
	return at;
}

static int re_is_match(lua_State *L)
{
	struct regex *re = check_regex(L);
	lua_pushboolean(L, find(L, re, policy_check_text(L, 2), 0, NULL));
	return 1;
}

static int re_find(lua_State *L)
{
	struct regex *re = check_regex(L);
	struct regex_match m;
	if (!find(L, re, policy_check_text(L, 2), 0, &m))
		return 0;
	policy_push_slice(L, m.group[0]);
	return 1;
}

static int re_find_all(lua_State *L)
{
	struct regex *re = check_regex(L);
	struct slice s = policy_check_text(L, 2);
	struct regex_match m;
	lua_newtable(L);
	lua_Integer n = 0;
	size_t last_end = SIZE_MAX;
	for (size_t from = 0; from <= s.len && find(L, re, s, from, &m); from = behind(s, m.group[0])) {
		size_t end = (size_t)(m.group[0].ptr - s.ptr) + m.group[0].len;
		if (m.group[0].len == 0 && end == last_end)
			continue;	/* an empty match right behind the one before */
		last_end = end;
		policy_push_slice(L, m.group[0]);
		lua_rawseti(L, -2, ++n);
	}
	return 1;
}

static int re_captures(lua_State *L)
{
	struct regex *re = check_regex(L);
	struct regex_match m;
	if (!find(L, re, policy_check_text(L, 2), 0, &m))
		return 0;
	lua_newtable(L);
	for (size_t i = 0; i < m.n; i++) {
		struct slice name = regex_group_name(re, i);
		if (!m.group[i].ptr)
			continue;
		policy_push_slice(L, m.group[i]);
		if (name.ptr) {
			lua_pushlstring(L, name.ptr, name.len);
			lua_pushvalue(L, -2);
			lua_rawset(L, -4);
		}
		lua_rawseti(L, -2, (lua_Integer)i);
	}
	return 1;
}

static struct slice group_text(const struct regex *re, const struct regex_match *m, struct slice name)
{
	uint64_t n;
	if (slice_to_u64(name, &n) == 0)
		return n < m->n ? m->group[n] : SLICE_NONE;
	for (size_t i = 0; i < m->n; i++)	/* names may stand for several groups */
		if (m->group[i].ptr && slice_eq(regex_group_name(re, i), name))
			return m->group[i];
	return SLICE_NONE;
}

/* "$1", "$name", "${name}" and "$$" in TEMPLATE. */
static void put_expanded(struct buf *b, const struct regex *re, const struct regex_match *m, struct slice template)
{
	for (size_t i = 0; i < template.len; i++) {
		char c = template.ptr[i];
		if (c != '$' || i + 1 == template.len) {
			buf_putc(b, c);
			continue;
		}
		size_t from = i + 1, end = from;
		if (template.ptr[from] == '$') {
			buf_putc(b, '$');
			i++;
			continue;
		}
		if (template.ptr[from] == '{') {
			end = ++from;
			while (end < template.len && template.ptr[end] != '}')
				end++;
			if (end == template.len) {
				buf_putc(b, '$');
				continue;
			}
			buf_slice(b, group_text(re, m, slice_sub(template, from, end - from)));
			i = end;
			continue;
		}
		bool digits = ascii_is_digit(template.ptr[from]);
		while (end < template.len && (digits ? ascii_is_digit(template.ptr[end]) : ascii_is_alnum(template.ptr[end]) || template.ptr[end] == '_'))
			end++;
		if (digits && end < template.len && (ascii_is_alpha(template.ptr[end]) || template.ptr[end] == '_')) {	/* $1a is the name "1a" */
			while (end < template.len && (ascii_is_alnum(template.ptr[end]) || template.ptr[end] == '_'))
				end++;
		}
		if (end == from) {
			buf_putc(b, '$');
			continue;
		}
		buf_slice(b, group_text(re, m, slice_sub(template, from, end - from)));
		i = end - 1;
	}
}

static int replace(lua_State *L, size_t limit)
{
	struct regex *re = check_regex(L);
	struct slice s = policy_check_text(L, 2), template = policy_check_text(L, 3);
	struct regex_match m;
	luaL_Buffer out;	/* Lua's own: an error in between must not leak */
	struct buf part = { 0 };
	size_t done = 0, last_end = SIZE_MAX;
	luaL_buffinit(L, &out);
	for (size_t from = 0; limit && from <= s.len && regex_find(re, s, from, &m) > 0; from = behind(s, m.group[0])) {
		size_t start = (size_t)(m.group[0].ptr - s.ptr), end = start + m.group[0].len;
		if (m.group[0].len == 0 && end == last_end)
			continue;
		last_end = end;
		limit--;
		buf_clear(&part);
		buf_put(&part, s.ptr + done, start - done);
		put_expanded(&part, re, &m, template);
		luaL_addlstring(&out, part.ptr ? part.ptr : "", part.len);
		done = end;
	}
	buf_fini(&part);
	luaL_addlstring(&out, s.ptr + done, s.len - done);
	luaL_pushresult(&out);
	return 1;
}

static int re_replace(lua_State *L) { return replace(L, 1); }
static int re_replace_all(lua_State *L) { return replace(L, SIZE_MAX); }

static int re_split(lua_State *L)
{
	struct regex *re = check_regex(L);
	struct slice s = policy_check_text(L, 2);
	struct regex_match m;
	lua_newtable(L);
	lua_Integer n = 0;
	size_t done = 0, last_end = SIZE_MAX;
	for (size_t from = 0; from <= s.len && find(L, re, s, from, &m); from = behind(s, m.group[0])) {
		size_t start = (size_t)(m.group[0].ptr - s.ptr), end = start + m.group[0].len;
		if (m.group[0].len == 0 && end == last_end)
			continue;
		last_end = end;
		policy_push_slice(L, slice_sub(s, done, start - done));
		lua_rawseti(L, -2, ++n);
		done = end;
	}
	policy_push_slice(L, slice_sub(s, done, SIZE_MAX));
	lua_rawseti(L, -2, ++n);
	return 1;
}

static const luaL_Reg METHODS[] = {
	{ "is_match", re_is_match }, { "find", re_find }, { "find_all", re_find_all }, { "captures", re_captures },
	{ "replace", re_replace }, { "replace_all", re_replace_all }, { "split", re_split }, { NULL, NULL },
};

/* --- functions ------------------------------------------------------------------------------------------------------ */

static struct regex_obj *cache_get(struct slice pattern)
{
	rt_lock(&cache_lock);
	struct regex_obj *r = map_get(&cache, pattern);
	if (r)
		r->refs++;
	rt_unlock(&cache_lock);
	return r;
}

static void cache_put(struct slice pattern, struct regex_obj *r)
{
	rt_lock(&cache_lock);
	if (map_len(&cache) >= CACHE_MAX) {	/* full: start afresh, what is in use comes back */
		for (struct map_iter it = { 0 }; map_next(&cache, &it);)
			unref_regex(it.value);
		map_fini(&cache);
		cache = (struct map){ 0 };
	}
	r->refs++;
	struct regex_obj *old = map_put(&cache, pattern, r);
	if (old)
		unref_regex(old);
	rt_unlock(&cache_lock);
}

static int fn_compile(lua_State *L)
{
	struct slice pattern = policy_check_text(L, 1);
	struct regex_obj *r = cache_get(pattern);
	if (!r) {
		struct regex *re;
		if (regex_create(pattern, REGEX_FULL, &re) < 0)
			return policy_raise(L, -E_INVAL);
		r = xzalloc(sizeof *r);
		r->refs = 1;
		r->re = re;
		cache_put(pattern, r);
	}
	policy_obj_push(L, &REGEX_OBJ, r);
	unref_regex(r);
	return 1;
}

static int fn_escape(lua_State *L)
{
	struct slice s = policy_check_text(L, 1);
	struct buf b = { 0 };
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] && strchr("\\.+*?()|[]{}^$#&-~", s.ptr[i]))
			buf_putc(&b, '\\');
		buf_putc(&b, s.ptr[i]);
	}
	lua_pushlstring(L, b.ptr ? b.ptr : "", b.len);
	buf_fini(&b);
	return 1;
}

static const luaL_Reg FUNCTIONS[] = { { "compile", fn_compile }, { "escape", fn_escape }, { NULL, NULL } };
const struct policy_module mod_regex = { "kumo.regex", FUNCTIONS, NULL };
const struct policy_module mod_regex_old = { "regex", FUNCTIONS, NULL };

void mod_regex_register(void)
{
	policy_obj_methods(&REGEX_OBJ, METHODS);
}
