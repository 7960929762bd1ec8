/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mod_regex_set_map - kumo.regex_set_map: maps from regular expressions to values; the first expression that matches a text (in the order of
 * the expressions' own text) gives its value.
 */
#include <stdatomic.h>
#include <stdlib.h>
#include "codec/regex.h"
#include "lua/store/cached.h"
#include "lua/util.h"

struct set_entry {
	struct regex *re;
	struct cached *value;
	char *pattern;
	size_t pattern_len;
};
struct regex_set {		/* immutable once made */
	_Atomic uint32_t refs;
	size_t n;
	struct set_entry *entries;
};

static void *ref_set(void *p)
{
	((struct regex_set *)p)->refs++;
	return p;
}

static void unref_set(void *p)
{
	struct regex_set *s = p;
	if (atomic_fetch_sub(&s->refs, 1) > 1)
		return;
	for (size_t i = 0; i < s->n; i++) {
		regex_destroy(&s->entries[i].re);
		cached_unref(&s->entries[i].value);
		free(s->entries[i].pattern);
	}
	free(s->entries);
	free(s);
}

static const struct policy_obj_type SET_OBJ = { .name = "RegexSetMap", .ref = ref_set, .unref = unref_set };

static int set_index(lua_State *L)
{
	struct regex_set *s = policy_obj_check(L, 1, &SET_OBJ);
	struct slice text = policy_check_text(L, 2);
	for (size_t i = 0; i < s->n; i++) {
		if (!regex_is_match(s->entries[i].re, text))
			continue;
		cached_push(L, s->entries[i].value);
		return 1;
	}
	return 0;
}

static int by_pattern(const void *a, const void *b)
{
	const struct set_entry *x = a, *y = b;
	return slice_cmp(slice_new(x->pattern, x->pattern_len), slice_new(y->pattern, y->pattern_len));
}

static void add(lua_State *L, void *set, struct slice pattern, int value_idx)
{
	struct regex_set *s = set;
	struct cached *value = cached_check(L, value_idx);
	s->entries = xreallocarray(s->entries, s->n + 1, sizeof *s->entries);
	struct set_entry *e = &s->entries[s->n++];
	*e = (struct set_entry){ NULL, value, xmemdup0(pattern.ptr, pattern.len), pattern.len };
	if (regex_create(pattern, REGEX_PLAIN, &e->re) < 0)
		policy_raisef(L, "regex parse error in `%.*s`: %s", SLICE_ARG(pattern), err_text());
}

static int fn_new(lua_State *L)
{
	struct regex_set *s = xzalloc(sizeof *s);
	cached_push_map(L, &SET_OBJ, s, add);
	if (s->n)
		qsort(s->entries, s->n, sizeof *s->entries, by_pattern);
	return 1;
}

static const luaL_Reg METHODS[] = { { "__index", set_index }, { NULL, NULL } };
static const luaL_Reg FUNCTIONS[] = { { "new", fn_new }, { NULL, NULL } };
const struct policy_module mod_regex_set_map = { "kumo.regex_set_map", FUNCTIONS, NULL };

void mod_regex_set_map_register(void)
{
	policy_obj_methods(&SET_OBJ, METHODS);
	cached_shareable(&SET_OBJ);
}
