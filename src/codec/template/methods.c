/* SPDX-License-Identifier: Apache-2.0 */
/* Methods that Python's strings, dicts and lists have, as templates written for Jinja use them. */
#include "base/utf8.h"
#include "codec/template/tpl.h"

/* All characters, and at least one, are of a kind. */
static bool all_are(struct slice s, bool (*is)(uint32_t cp))
{
	uint32_t cp;
	for (size_t i = 0, n; i < s.len; i += n)
		if ((n = utf8_decode(slice_sub(s, i, SIZE_MAX), &cp)) == 0 || !is(cp))
			return false;
	return s.len > 0;
}

static bool is_digit(uint32_t cp)
{
	return cp >= '0' && cp <= '9';
}

static bool is_alnum(uint32_t cp)
{
	return cp_is_alpha(cp) || is_digit(cp);
}

static bool is_ascii(uint32_t cp)
{
	return cp < 0x80;
}

static bool is_not_upper(uint32_t cp)
{
	return cp_lower(cp) == cp;
}

static bool is_not_lower(uint32_t cp)
{
	return cp_upper(cp) == cp;
}

static bool has_letters(struct slice s)
{
	uint32_t cp;
	for (size_t i = 0, n; i < s.len && (n = utf8_decode(slice_sub(s, i, SIZE_MAX), &cp)) > 0; i += n)
		if (cp_lower(cp) != cp || cp_upper(cp) != cp)
			return true;
	return false;
}

static const struct {
	const char *name;
	bool (*is)(uint32_t cp);
	bool letters;	/* and a letter among them */
} PREDICATES[] = {
	{ "isdigit", is_digit }, { "isnumeric", is_digit }, { "isalpha", cp_is_alpha }, { "isalnum", is_alnum }, { "isspace", cp_is_space },
	{ "isascii", is_ascii }, { "islower", is_not_upper, true }, { "isupper", is_not_lower, true },
};

static int str_strip(struct render *r, struct call *c, bool start, bool end, struct tv *out)
{
	struct slice set;
	bool given = arg_given(c, 1);
	if (given)
		set = to_text(r, &c->args[1]);
	*out = tv_str(text_trim(c->args[0].s, given ? &set : NULL, start, end));
	return 0;
}

static int str_strip_both(struct render *r, struct call *c, struct tv *out)
{
	return str_strip(r, c, true, true, out);
}

static int str_lstrip(struct render *r, struct call *c, struct tv *out)
{
	return str_strip(r, c, true, false, out);
}

static int str_rstrip(struct render *r, struct call *c, struct tv *out)
{
	return str_strip(r, c, false, true, out);
}

/* Methods that are filters under the same name. */
static int as_filter(struct render *r, struct call *c, const char *name, struct tv *out)
{
	return apply_filter(r, slice_from_cstr(name), c, out);
}

static int str_upper(struct render *r, struct call *c, struct tv *out) { return as_filter(r, c, "upper", out); }
static int str_lower(struct render *r, struct call *c, struct tv *out) { return as_filter(r, c, "lower", out); }
static int str_title(struct render *r, struct call *c, struct tv *out) { return as_filter(r, c, "title", out); }
static int str_capitalize(struct render *r, struct call *c, struct tv *out) { return as_filter(r, c, "capitalize", out); }

static int str_replace(struct render *r, struct call *c, struct tv *out)
{
	int64_t max = -1;
	if (arg_given(c, 3) && arg_int(r, c, 3, "i64", &max) < 0)
		return -E_INVAL;
	if (max < 0) {
		c->n = 3;
		return as_filter(r, c, "replace", out);
	}
	struct slice from = to_text(r, &c->args[1]), to = to_text(r, &c->args[2]);
	struct tv parts = text_split(r, c->args[0].s, &from, max);
	struct buf b = { 0 };
	for (size_t i = 0; i < parts.l.n; i++) {
		if (i > 0)
			buf_slice(&b, to);
		buf_slice(&b, parts.l.items[i].s);
	}
	*out = tv_str(tpl_keep(r, &b));
	return 0;
}

static int str_split(struct render *r, struct call *c, struct tv *out)
{
	struct slice sep;
	bool given = arg_given(c, 1);
	int64_t max = -1;
	if (given)
		sep = to_text(r, &c->args[1]);
	if (arg_given(c, 2) && arg_int(r, c, 2, "i64", &max) < 0)
		return -E_INVAL;
	*out = text_split(r, c->args[0].s, given ? &sep : NULL, max);
	return 0;
}

static int str_splitlines(struct render *r, struct call *c, struct tv *out)
{
	*out = text_lines(r, c->args[0].s);
	return 0;
}

static bool affix(struct render *r, struct call *c, bool (*matches)(struct slice, struct slice))
{
	struct tv list;
	if (!tv_is_list(&c->args[1]) || to_list(r, &c->args[1], &list) < 0)
		return matches(c->args[0].s, to_text(r, &c->args[1]));
	for (size_t i = 0; i < list.l.n; i++)
		if (matches(c->args[0].s, to_text(r, &list.l.items[i])))
			return true;
	return false;
}

static int str_startswith(struct render *r, struct call *c, struct tv *out)
{
	*out = tv_bool(affix(r, c, slice_starts));
	return 0;
}

static int str_endswith(struct render *r, struct call *c, struct tv *out)
{
	*out = tv_bool(affix(r, c, slice_ends));
	return 0;
}

/* In characters; -1: nowhere. */
static struct tv char_index(struct slice s, ptrdiff_t at)
{
	return tv_int(at < 0 ? -1 : (int128)utf8_count(slice_sub(s, 0, (size_t)at)));
}

static int str_find(struct render *r, struct call *c, struct tv *out)
{
	*out = char_index(c->args[0].s, slice_find(c->args[0].s, to_text(r, &c->args[1])));
	return 0;
}

static int str_rfind(struct render *r, struct call *c, struct tv *out)
{
	struct slice s = c->args[0].s, needle = to_text(r, &c->args[1]);
	ptrdiff_t at = -1;
	for (size_t i = s.len + 1; i-- > 0 && at < 0;)
		if (slice_starts(slice_sub(s, i, SIZE_MAX), needle))
			at = (ptrdiff_t)i;
	*out = char_index(s, at);
	return 0;
}

static int str_count(struct render *r, struct call *c, struct tv *out)
{
	struct slice needle = to_text(r, &c->args[1]);
	size_t n = needle.len == 0 ? utf8_count(c->args[0].s) + 1 : 0;
	if (needle.len > 0)
		n = text_split(r, c->args[0].s, &needle, -1).l.n - 1;
	*out = tv_int((int128)n);
	return 0;
}

static int str_join(struct render *r, struct call *c, struct tv *out)
{
	struct tv swapped[2] = { c->args[1], c->args[0] };
	struct call join = { swapped, 2, c->kwargs, 0 };
	return as_filter(r, &join, "join", out);
}

static int str_format(struct render *r, struct call *c, struct tv *out)
{
	struct call rest = *c;
	rest.args++;
	rest.n--;
	c->used = UINT64_MAX;
	return format_braces(r, c->args[0].s, &rest, out);
}

static const struct tpl_builtin STRING_METHODS[] = {
	{ "upper", str_upper, 1, 1 }, { "lower", str_lower, 1, 1 }, { "title", str_title, 1, 1 }, { "capitalize", str_capitalize, 1, 1 },
	{ "strip", str_strip_both, 1, 2 }, { "lstrip", str_lstrip, 1, 2 }, { "rstrip", str_rstrip, 1, 2 }, { "replace", str_replace, 3, 4 },
	{ "split", str_split, 1, 3 }, { "splitlines", str_splitlines, 1, 2 }, { "startswith", str_startswith, 2, 2 },
	{ "endswith", str_endswith, 2, 2 }, { "find", str_find, 2, 2 }, { "rfind", str_rfind, 2, 2 }, { "count", str_count, 2, 2 },
	{ "join", str_join, 2, 2 }, { "format", str_format, 1, -1, .kwargs = true }, { NULL },
};

static int map_keys(struct render *r, struct call *c, struct tv *out)
{
	return to_list(r, &c->args[0], out);
}

static int map_values(struct render *r, struct call *c, struct tv *out)
{
	int rc = map_pairs(r, &c->args[0], out);
	for (size_t i = 0; rc == 0 && i < out->l.n; i++)
		out->l.items[i] = out->l.items[i].l.items[1];
	return rc;
}

static int map_items(struct render *r, struct call *c, struct tv *out)
{
	return map_pairs(r, &c->args[0], out);
}

static int map_get(struct render *r, struct call *c, struct tv *out)
{
	int rc = get_item(r, &c->args[0], &c->args[1], out);
	if (rc == 0 && out->kind == TV_UNDEF)
		*out = c->n > 2 ? c->args[2] : tv_none();
	return rc;
}

static const struct tpl_builtin MAP_METHODS[] = {
	{ "keys", map_keys, 1, 1 }, { "values", map_values, 1, 1 }, { "items", map_items, 1, 1 }, { "get", map_get, 2, 3 }, { NULL },
};

static int list_count(struct render *r, struct call *c, struct tv *out)
{
	struct tv list;
	int rc = to_list(r, &c->args[0], &list);
	*out = tv_int(0);
	for (size_t i = 0; rc == 0 && i < list.l.n; i++)
		out->i += tv_eq(&list.l.items[i], &c->args[1]);
	return rc;
}

static const struct tpl_builtin LIST_METHODS[] = { { "count", list_count, 2, 2 }, { NULL } };

static int loop_method(struct render *r, struct loop *l, struct slice name, struct call *c, struct tv *out, bool *known)
{
	*known = true;
	if (slice_eq_cstr(name, "cycle")) {
		*out = c->n > 0 ? c->args[l->index % (size_t)c->n] : tv_undef();
		return 0;
	}
	if (slice_eq_cstr(name, "changed")) {
		struct tv now = tv_list(c->args, (size_t)c->n);
		*out = tv_bool(!l->has_changed || !tv_eq(&l->changed, &now));
		l->has_changed = true;
		l->changed = now;
		return 0;
	}
	*known = false;
	(void)r;
	return 0;
}

static bool cycler_method(struct tobj *o, struct slice name, struct tv *out)
{
	if (slice_eq_cstr(name, "next")) {
		*out = o->cycler.items[o->cycler.at];
		o->cycler.at = (o->cycler.at + 1) % o->cycler.n;
		return true;
	}
	if (slice_eq_cstr(name, "reset")) {
		o->cycler.at = 0;
		*out = tv_undef();
		return true;
	}
	return false;
}

int call_method(struct render *r, const struct tv *v, struct slice name, struct call *c, struct tv *out)
{
	const struct tpl_builtin *m = NULL;
	if (v->kind == TV_STR) {
		for (size_t i = 0; i < ARRAY_LEN(PREDICATES); i++)
			if (slice_eq_cstr(name, PREDICATES[i].name)) {
				*out = tv_bool(all_are(v->s, PREDICATES[i].is) && (!PREDICATES[i].letters || has_letters(v->s)));
				return c->n > 0 ? tpl_fail_kind(r, "too many arguments") : 0;
			}
		m = builtin_find(STRING_METHODS, name);
	} else if (tv_is_map(v)) {
		m = builtin_find(MAP_METHODS, name);
	} else if (tv_is_list(v)) {
		m = builtin_find(LIST_METHODS, name);
	} else if (v->kind == TV_OBJ && v->obj->kind == OBJ_LOOP) {
		bool known;
		int rc = loop_method(r, v->obj->loop, name, c, out, &known);
		if (known)
			return rc;
	} else if (v->kind == TV_OBJ && v->obj->kind == OBJ_CYCLER && cycler_method(v->obj, name, out)) {
		return 0;
	}
	if (m == NULL)
		return tpl_fail(r, "unknown method", "%s has no method named %.*s", tv_kind_name(v), SLICE_ARG(name));
	struct call with_self = *c;
	with_self.args = arena_alloc(r->a, (size_t)(c->n + 1) * sizeof *with_self.args);
	with_self.args[0] = *v;
	if (c->n > 0)
		memcpy(with_self.args + 1, c->args, (size_t)c->n * sizeof *c->args);
	with_self.n++;
	return call_builtin(r, m, &with_self, out);
}
