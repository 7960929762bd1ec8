/* SPDX-License-Identifier: Apache-2.0 */
/* Filters for lists and maps. */
#include <stdlib.h>

#include "base/rand.h"
#include "codec/template/tpl.h"

static int filter_length(struct render *r, struct call *c, struct tv *out)
{
	const struct tv *v = &c->args[0];
	if (v->kind != TV_STR && !tv_is_list(v) && !tv_is_map(v))
		return tpl_fail(r, "invalid operation", "cannot calculate length of value of type %s", tv_kind_name(v));
	*out = tv_int((int128)tv_len(v));
	return 0;
}

static int filter_default(struct render *r, struct call *c, struct tv *out)
{
	bool missing = c->args[0].kind == TV_UNDEF || (c->n > 2 && tv_true(&c->args[2]) && !tv_true(&c->args[0]));
	(void)r;
	*out = !missing ? c->args[0] : c->n > 1 ? c->args[1] : tv_str(SLICE(""));
	return 0;
}

static int filter_list(struct render *r, struct call *c, struct tv *out)
{
	if (to_list(r, &c->args[0], out) == 0)
		return 0;
	tpl_fail(r, "invalid operation", "cannot convert value to list");
	err_put("%s: invalid operation: %s is not iterable", err_text(), tv_kind_name(&c->args[0]));
	return -E_INVAL;
}

static int filter_bool(struct render *r, struct call *c, struct tv *out)
{
	(void)r;
	*out = tv_bool(tv_true(&c->args[0]));
	return 0;
}

static int filter_join(struct render *r, struct call *c, struct tv *out)
{
	struct tv list;
	struct buf b = { 0 };
	struct slice sep = arg_given(c, 1) ? to_text(r, &c->args[1]) : SLICE("");
	if (to_list(r, &c->args[0], &list) < 0)
		return tpl_fail(r, "invalid operation", "cannot join value of type %s", tv_kind_name(&c->args[0]));
	for (size_t i = 0; i < list.l.n && b.len <= TEMPLATE_OUTPUT_MAX; i++) {
		if (i > 0)
			buf_slice(&b, sep);
		tv_put(&b, &list.l.items[i]);
	}
	*out = tv_str(tpl_keep(r, &b));
	return 0;
}

static int need_items(struct render *r, struct call *c, const char *what, struct tv *out)
{
	if (to_list(r, &c->args[0], out) < 0)
		return tpl_fail(r, "invalid operation", "cannot get %s item from value", what);
	return 0;
}

static int filter_first(struct render *r, struct call *c, struct tv *out)
{
	struct tv list;
	int rc = need_items(r, c, "first", &list);
	if (rc == 0 && list.l.n > 0)
		*out = list.l.items[0];
	return rc;
}

static int filter_last(struct render *r, struct call *c, struct tv *out)
{
	struct tv list;
	int rc = need_items(r, c, "last", &list);
	if (rc == 0 && list.l.n > 0)
		*out = list.l.items[list.l.n - 1];
	return rc;
}

static int filter_reverse(struct render *r, struct call *c, struct tv *out)
{
	struct tv list;
	int rc = to_list(r, &c->args[0], &list);
	if (rc < 0)
		return tpl_fail(r, "invalid operation", "cannot reverse values of type %s", tv_kind_name(&c->args[0]));
	struct tv *items = arena_alloc(r->a, list.l.n * sizeof *items);
	for (size_t i = 0; i < list.l.n; i++)
		items[i] = list.l.items[list.l.n - 1 - i];
	if (c->args[0].kind == TV_STR) {
		struct buf b = { 0 };
		for (size_t i = 0; i < list.l.n; i++)
			buf_slice(&b, items[i].s);
		*out = tv_str(tpl_keep(r, &b));
		return 0;
	}
	*out = tv_list(items, list.l.n);
	out->dynamic = true;
	return 0;
}

static int extreme(struct render *r, struct call *c, int sign, struct tv *out)
{
	struct tv list;
	int rc = to_list(r, &c->args[0], &list);
	for (size_t i = 0; rc == 0 && i < list.l.n; i++)
		if (i == 0 || tv_cmp(&list.l.items[i], out) * sign > 0)
			*out = list.l.items[i];
	return rc;
}

static int filter_min(struct render *r, struct call *c, struct tv *out)
{
	return extreme(r, c, -1, out);
}

static int filter_max(struct render *r, struct call *c, struct tv *out)
{
	return extreme(r, c, 1, out);
}

static int filter_sum(struct render *r, struct call *c, struct tv *out)
{
	struct tv list, sum = tv_int(0);
	int rc = to_list(r, &c->args[0], &list);
	for (size_t i = 0; rc == 0 && i < list.l.n; i++) {
		const struct tv *v = &list.l.items[i];
		struct tv before = sum;
		if (v->kind == TV_UNDEF)
			continue;
		if (!tv_is_number(v))
			return tpl_fail(r, "invalid operation", "can only sum numbers, got %s", tv_kind_name(v));
		rc = binary(r, B_ADD, &before, v, &sum);
	}
	*out = sum;
	return rc;
}

/* What an item is ordered by. */
struct keyed {
	struct tv key, item;
	size_t at;		/* keeps equal ones in order */
};

static struct tv fold(struct render *r, const struct tv *v, bool case_sensitive)
{
	struct buf b = { 0 };
	if (case_sensitive || v->kind != TV_STR)
		return *v;
	text_case(&b, v->s, false);
	return tv_str(tpl_keep(r, &b));
}

static int by_key(const void *x, const void *y)
{
	const struct keyed *a = x, *b = y;
	int c = tv_cmp(&a->key, &b->key);
	return c != 0 ? c : a->at < b->at ? -1 : 1;
}

static int by_key_down(const void *x, const void *y)
{
	const struct keyed *a = x, *b = y;
	int c = tv_cmp(&b->key, &a->key);
	return c != 0 ? c : a->at < b->at ? -1 : 1;
}

static bool flag_of(struct call *c, const char *name)
{
	const struct tv *v = kwarg(c, name);
	return v != NULL && tv_true(v);
}

/* Items with the keys that ATTRIBUTE (or they themselves) give. */
static int keyed_items(struct render *r, const struct tv *list, const struct tv *attribute, const struct tv *dflt, bool case_sensitive, struct keyed **out)
{
	struct keyed *k = arena_alloc(r->a, list->l.n * sizeof *k);
	for (size_t i = 0; i < list->l.n; i++) {
		struct tv v = list->l.items[i];
		if (attribute != NULL && get_path(r, &list->l.items[i], attribute, &v) < 0)
			return -E_INVAL;
		if (v.kind == TV_UNDEF && dflt != NULL)
			v = *dflt;
		k[i] = (struct keyed){ fold(r, &v, case_sensitive), list->l.items[i], i };
	}
	*out = k;
	return 0;
}

static void unkey(struct render *r, const struct keyed *k, size_t n, struct tv *out)
{
	struct tv *items = arena_alloc(r->a, n * sizeof *items);
	for (size_t i = 0; i < n; i++)
		items[i] = k[i].item;
	*out = tv_list(items, n);
}

static int filter_sort(struct render *r, struct call *c, struct tv *out)
{
	struct tv list;
	struct keyed *k = NULL;
	bool down = flag_of(c, "reverse"), case_sensitive = flag_of(c, "case_sensitive");
	const struct tv *attribute = kwarg(c, "attribute");
	if (to_list(r, &c->args[0], &list) < 0 || keyed_items(r, &list, attribute, NULL, case_sensitive, &k) < 0)
		return -E_INVAL;
	qsort(k, list.l.n, sizeof *k, down ? by_key_down : by_key);
	unkey(r, k, list.l.n, out);
	return 0;
}

static int filter_unique(struct render *r, struct call *c, struct tv *out)
{
	struct tv list;
	struct keyed *k = NULL;
	bool case_sensitive = flag_of(c, "case_sensitive");
	const struct tv *attribute = kwarg(c, "attribute");
	size_t n = 0;
	if (to_list(r, &c->args[0], &list) < 0 || keyed_items(r, &list, attribute, NULL, case_sensitive, &k) < 0)
		return -E_INVAL;
	struct tmap *seen = tmap_new(r);
	for (size_t i = 0; i < list.l.n; i++) {
		if (tmap_get(seen, &k[i].key) != NULL)
			continue;
		if (seen->n % 256 == 0 && tpl_step(r) < 0)
			return -E_INVAL;
		tmap_put(r, seen, k[i].key, tv_none());
		k[n++] = k[i];
	}
	unkey(r, k, n, out);
	return 0;
}

static struct tv pair(struct render *r, struct tv a, struct tv b)
{
	struct tv *items = arena_alloc(r->a, 2 * sizeof *items);
	items[0] = a;
	items[1] = b;
	return tv_list(items, 2);
}

int map_pairs(struct render *r, const struct tv *map, struct tv *out)
{
	struct tv keys;
	int rc = to_list(r, map, &keys);
	struct tv *items = rc == 0 ? arena_alloc(r->a, keys.l.n * sizeof *items) : NULL;
	for (size_t i = 0; rc == 0 && i < keys.l.n; i++) {
		struct tv v;
		rc = get_item(r, map, &keys.l.items[i], &v);
		items[i] = pair(r, keys.l.items[i], v);
	}
	if (rc == 0)
		*out = tv_list(items, keys.l.n);
	return rc;
}

static int filter_items(struct render *r, struct call *c, struct tv *out)
{
	if (!tv_is_map(&c->args[0]))
		return tpl_fail(r, "invalid operation", "cannot convert value into pairs");
	int rc = map_pairs(r, &c->args[0], out);
	out->dynamic = true;
	return rc;
}

static int filter_dictsort(struct render *r, struct call *c, struct tv *out)
{
	struct tv pairs, place = tv_int(0);
	struct keyed *k = NULL;
	const struct tv *by = kwarg(c, "by");
	bool down = flag_of(c, "reverse"), case_sensitive = flag_of(c, "case_sensitive");
	if (!tv_is_map(&c->args[0]))
		return tpl_fail(r, "invalid operation", "cannot convert value into pair list");
	if (by != NULL && by->kind == TV_STR && slice_eq_cstr(by->s, "value"))
		place = tv_int(1);
	else if (by != NULL && !(by->kind == TV_STR && slice_eq_cstr(by->s, "key")))
		return tpl_fail(r, "invalid operation", "invalid value '%.*s' for 'by' parameter", SLICE_ARG(to_text(r, by)));
	if (map_pairs(r, &c->args[0], &pairs) < 0 || keyed_items(r, &pairs, &place, NULL, case_sensitive, &k) < 0)
		return -E_INVAL;
	qsort(k, pairs.l.n, sizeof *k, down ? by_key_down : by_key);
	unkey(r, k, pairs.l.n, out);
	return 0;
}

static int filter_groupby(struct render *r, struct call *c, struct tv *out)
{
	struct tv list;
	struct keyed *k = NULL;
	const struct tv *named = kwarg(c, "attribute"), *attribute = c->n > 1 ? &c->args[1] : named, *dflt = kwarg(c, "default");
	bool case_sensitive = flag_of(c, "case_sensitive");
	size_t n = 0;
	if (attribute == NULL)
		return tpl_fail_kind(r, "missing argument");
	if (to_list(r, &c->args[0], &list) < 0 || keyed_items(r, &list, attribute, dflt, case_sensitive, &k) < 0)
		return -E_INVAL;
	qsort(k, list.l.n, sizeof *k, by_key);
	struct tv *groups = arena_alloc(r->a, list.l.n * sizeof *groups);
	for (size_t i = 0, end; i < list.l.n; i = end) {
		struct tv key, members;
		for (end = i + 1; end < list.l.n && tv_eq(&k[end].key, &k[i].key);)
			end++;
		unkey(r, k + i, end - i, &members);
		if (get_path(r, &k[end - 1].item, attribute, &key) < 0)
			return -E_INVAL;
		groups[n] = pair(r, key.kind == TV_UNDEF && dflt != NULL ? *dflt : key, members);
		groups[n++].group = true;
	}
	*out = tv_list(groups, n);
	return 0;
}

/* Parts of SIZE items each, or (by SLICES) that many parts; the last ones filled up. */
static int need_count(struct render *r, struct call *c, int64_t *out)
{
	if (arg_int(r, c, 1, "usize", out) < 0)
		return -E_INVAL;
	if (*out == 0)
		return tpl_fail(r, "invalid operation", "count cannot be 0");
	return *out < 0 || *out > 100000 ? tpl_fail(r, "invalid operation", "count is out of range") : 0;
}

static struct tv part_of(struct render *r, const struct tv *list, size_t from, size_t n, const struct tv *fill, size_t size)
{
	size_t total = fill != NULL ? MAX(n, size) : n;
	struct tv *items = arena_alloc(r->a, total * sizeof *items);
	for (size_t i = 0; i < total; i++)
		items[i] = i < n ? list->l.items[from + i] : *fill;
	return tv_list(items, total);
}

static int filter_batch(struct render *r, struct call *c, struct tv *out)
{
	struct tv list;
	int64_t size = 0;
	if (need_count(r, c, &size) < 0 || to_list(r, &c->args[0], &list) < 0)
		return -E_INVAL;
	size_t n = (list.l.n + (size_t)size - 1) / (size_t)size;
	struct tv *parts = arena_alloc(r->a, n * sizeof *parts);
	for (size_t i = 0; i < n; i++) {
		size_t from = i * (size_t)size;
		parts[i] = part_of(r, &list, from, MIN((size_t)size, list.l.n - from), arg_given(c, 2) ? &c->args[2] : NULL, (size_t)size);
	}
	*out = tv_list(parts, n);
	return 0;
}

static int filter_slice(struct render *r, struct call *c, struct tv *out)
{
	struct tv list;
	int64_t count = 0;
	if (need_count(r, c, &count) < 0 || to_list(r, &c->args[0], &list) < 0)
		return -E_INVAL;
	size_t least = list.l.n / (size_t)count, more = list.l.n % (size_t)count, from = 0;
	struct tv *parts = arena_alloc(r->a, (size_t)count * sizeof *parts);
	for (size_t i = 0; i < (size_t)count; i++) {
		size_t n = least + (i < more);
		const struct tv *fill = arg_given(c, 2) && i >= more ? &c->args[2] : NULL;
		parts[i] = part_of(r, &list, from, n, fill, least + 1);
		from += n;
	}
	*out = tv_list(parts, (size_t)count);
	return 0;
}

/* The call of a test or filter that a filter applies to each item: ARGS behind the first SKIP ones. */
static struct call inner_call(struct render *r, const struct call *c, int skip, struct tv item)
{
	int n = c->n > skip ? c->n - skip : 0;
	struct call inner = { .args = arena_alloc(r->a, (size_t)(n + 1) * sizeof *inner.args), .n = n + 1, .kwargs = c->kwargs };
	inner.args[0] = item;
	for (int i = 0; i < n; i++)
		inner.args[i + 1] = c->args[skip + i];
	return inner;
}

/* select, reject, selectattr, rejectattr */
static int choose(struct render *r, struct call *c, bool by_attr, bool keep, struct tv *out)
{
	struct tv list;
	int test = by_attr ? 2 : 1, rc = to_list(r, &c->args[0], &list);
	struct tv *kept = rc == 0 ? arena_alloc(r->a, list.l.n * sizeof *kept) : NULL;
	size_t n = 0;
	for (size_t i = 0; rc == 0 && i < list.l.n; i++) {
		struct tv v = list.l.items[i];
		bool passes;
		if ((rc = tpl_step(r)) < 0 || (by_attr && (rc = get_path(r, &list.l.items[i], &c->args[1], &v)) < 0))
			return rc;
		if (c->n > test) {
			struct call inner = inner_call(r, c, test + 1, v);
			if ((rc = apply_test(r, to_text(r, &c->args[test]), &inner, &passes)) < 0)
				return rc;
		} else {
			passes = tv_true(&v);
		}
		if (passes == keep)
			kept[n++] = list.l.items[i];
	}
	*out = tv_list(kept, n);
	return rc;
}

static int filter_select(struct render *r, struct call *c, struct tv *out)
{
	return choose(r, c, false, true, out);
}

static int filter_reject(struct render *r, struct call *c, struct tv *out)
{
	return choose(r, c, false, false, out);
}

static int filter_selectattr(struct render *r, struct call *c, struct tv *out)
{
	return choose(r, c, true, true, out);
}

static int filter_rejectattr(struct render *r, struct call *c, struct tv *out)
{
	return choose(r, c, true, false, out);
}

static int map_one(struct render *r, struct call *c, const struct tv *attribute, const struct tv *dflt, struct tv item, struct tv *out)
{
	if (attribute != NULL) {
		int rc = get_path(r, &item, attribute, out);
		if (rc == 0 && out->kind == TV_UNDEF && dflt != NULL)
			*out = *dflt;
		return rc;
	}
	struct call inner = inner_call(r, c, 2, item);
	return apply_filter(r, to_text(r, &c->args[1]), &inner, out);
}

static int filter_map(struct render *r, struct call *c, struct tv *out)
{
	struct tv list;
	const struct tv *attribute = kwarg(c, "attribute"), *dflt = kwarg(c, "default");
	if (attribute == NULL && c->n < 2)
		return tpl_fail(r, "invalid operation", "filter name is required");
	if (attribute == NULL)
		c->used = UINT64_MAX;	/* for the filter */
	int rc = to_list(r, &c->args[0], &list);
	struct tv *items = rc == 0 ? arena_alloc(r->a, list.l.n * sizeof *items) : NULL;
	for (size_t i = 0; rc == 0 && i < list.l.n; i++)
		if ((rc = tpl_step(r)) == 0)
			rc = map_one(r, c, attribute, dflt, list.l.items[i], &items[i]);
	if (rc == 0)
		*out = tv_list(items, list.l.n);
	return rc;
}

static int filter_attr(struct render *r, struct call *c, struct tv *out)
{
	return get_item(r, &c->args[0], &c->args[1], out);
}

static int chain_maps(struct render *r, struct call *c, struct tv *out)
{
	struct tmap *m = tmap_new(r);
	for (int i = 0; i < c->n; i++) {
		struct tv pairs;
		if (map_pairs(r, &c->args[i], &pairs) < 0)
			return -E_INVAL;
		for (size_t k = 0; k < pairs.l.n; k++)
			tmap_put(r, m, pairs.l.items[k].l.items[0], pairs.l.items[k].l.items[1]);
	}
	*out = tv_map(m);
	return 0;
}

static int filter_chain(struct render *r, struct call *c, struct tv *out)
{
	bool maps = true;
	size_t n = 0;
	for (int i = 0; i < c->n; i++)
		maps = maps && tv_is_map(&c->args[i]);
	if (maps)
		return chain_maps(r, c, out);
	struct tv *lists = arena_alloc(r->a, (size_t)c->n * sizeof *lists);
	for (int i = 0; i < c->n; i++) {
		if (to_list(r, &c->args[i], &lists[i]) < 0)
			return -E_INVAL;
		n += lists[i].l.n;
	}
	struct tv *items = arena_alloc(r->a, n * sizeof *items), *at = items;
	for (int i = 0; i < c->n; i++) {
		if (lists[i].l.n > 0)
			memcpy(at, lists[i].l.items, lists[i].l.n * sizeof *at);
		at += lists[i].l.n;
	}
	*out = tv_list(items, n);
	return 0;
}

static int filter_zip(struct render *r, struct call *c, struct tv *out)
{
	struct tv *lists = arena_alloc(r->a, (size_t)c->n * sizeof *lists);
	size_t n = SIZE_MAX;
	for (int i = 0; i < c->n; i++) {
		if (to_list(r, &c->args[i], &lists[i]) < 0)
			return tpl_fail(r, "invalid operation", "zip filter argument must be iterable, got %s", tv_kind_name(&c->args[i]));
		n = MIN(n, lists[i].l.n);
	}
	struct tv *rows = arena_alloc(r->a, n * sizeof *rows);
	for (size_t i = 0; i < n; i++) {
		struct tv *row = arena_alloc(r->a, (size_t)c->n * sizeof *row);
		for (int k = 0; k < c->n; k++)
			row[k] = lists[k].l.items[i];
		rows[i] = tv_list(row, (size_t)c->n);
	}
	*out = tv_list(rows, n);
	return 0;
}

static int filter_random(struct render *r, struct call *c, struct tv *out)
{
	struct tv list;
	int rc = to_list(r, &c->args[0], &list);
	if (rc == 0 && list.l.n > 0)
		*out = list.l.items[rand_below(list.l.n)];
	return rc;
}

const struct tpl_builtin TPL_LIST_FILTERS[] = {
	{ "length", filter_length, 1, 1 }, { "count", filter_length, 1, 1 }, { "default", filter_default, 1, 3 }, { "d", filter_default, 1, 3 },
	{ "list", filter_list, 1, 1 }, { "bool", filter_bool, 1, 1 }, { "join", filter_join, 1, 2 }, { "first", filter_first, 1, 1 },
	{ "last", filter_last, 1, 1 }, { "reverse", filter_reverse, 1, 1 }, { "min", filter_min, 1, 1 }, { "max", filter_max, 1, 1 },
	{ "sum", filter_sum, 1, 1 }, { "sort", filter_sort, 1, 1, .kwargs = true }, { "unique", filter_unique, 1, 1, .kwargs = true },
	{ "items", filter_items, 1, 1 }, { "dictsort", filter_dictsort, 1, 1, .kwargs = true }, { "groupby", filter_groupby, 1, 2, .kwargs = true },
	{ "batch", filter_batch, 2, 3 }, { "slice", filter_slice, 2, 3 }, { "select", filter_select, 1, -1 }, { "reject", filter_reject, 1, -1 },
	{ "selectattr", filter_selectattr, 2, -1 }, { "rejectattr", filter_rejectattr, 2, -1 }, { "map", filter_map, 1, -1, .kwargs = true },
	{ "attr", filter_attr, 2, 2 }, { "chain", filter_chain, 1, -1 }, { "zip", filter_zip, 1, -1 }, { "random", filter_random, 1, 1 }, { NULL },
};
