/* SPDX-License-Identifier: Apache-2.0 */
/* Operators, attributes, subscripts and iteration. */
#include <math.h>
#include <stdlib.h>

#include "base/utf8.h"
#include "codec/template/tpl.h"

#define REPEAT_MAX 10000000

static int fail_types(struct render *r, const char *op, const struct tv *a, const struct tv *b)
{
	return tpl_fail(r, "invalid operation", "tried to use %s operator on unsupported types %s and %s", op, tv_kind_name(a), tv_kind_name(b));
}

static int fail_math(struct render *r, const char *op, const struct tv *a, const struct tv *b)
{
	struct slice x = to_text(r, a), y = to_text(r, b);
	return tpl_fail(r, "invalid operation", "unable to calculate %.*s %s %.*s", SLICE_ARG(x), op, SLICE_ARG(y));
}

static bool is_numeric(const struct tv *v)
{
	return v->kind == TV_BOOL || tv_is_number(v);
}

static int128 as_int(const struct tv *v)
{
	return v->kind == TV_BOOL ? v->b : v->i;
}

static bool int_pow(int128 base, int128 exp, int128 *out)
{
	*out = 1;
	if (exp < 0 || exp > UINT32_MAX)
		return false;
	for (; exp > 0; exp >>= 1) {
		if ((exp & 1) && __builtin_mul_overflow(*out, base, out))
			return false;
		if (exp > 1 && __builtin_mul_overflow(base, base, &base))
			return false;
	}
	return true;
}

/* Euclid's: the remainder is never negative. */
static bool int_divide(int128 a, int128 b, bool want_rest, int128 *out)
{
	if (b == 0 || (b == -1 && a == (int128)((unsigned __int128)1 << 127)))
		return false;
	int128 quotient = a / b, rest = a % b;
	if (rest < 0) {
		rest += b > 0 ? b : -b;
		quotient += b > 0 ? -1 : 1;
	}
	*out = want_rest ? rest : quotient;
	return true;
}

static bool int_math(enum binop op, int128 a, int128 b, int128 *out)
{
	switch (op) {
	case B_ADD:	return !__builtin_add_overflow(a, b, out);
	case B_SUB:	return !__builtin_sub_overflow(a, b, out);
	case B_MUL:	return !__builtin_mul_overflow(a, b, out);
	case B_FLOORDIV: return int_divide(a, b, false, out);
	case B_MOD:	return int_divide(a, b, true, out);
	case B_POW:	return int_pow(a, b, out);
	default:	return false;
	}
}

static double float_math(enum binop op, double a, double b)
{
	double rest;
	switch (op) {
	case B_ADD:	return a + b;
	case B_SUB:	return a - b;
	case B_MUL:	return a * b;
	case B_DIV:	return a / b;
	case B_FLOORDIV: return floor(a / b);
	case B_POW:	return pow(a, b);
	default:
		rest = fmod(a, b);
		return rest < 0 ? rest + fabs(b) : rest;
	}
}

static const char *const OP_TEXT[] = { [B_ADD] = "+", [B_SUB] = "-", [B_MUL] = "*", [B_DIV] = "/", [B_FLOORDIV] = "//", [B_MOD] = "%", [B_POW] = "**" };

static int repeat(struct render *r, const struct tv *what, int128 times, struct tv *out)
{
	size_t len = what->kind == TV_STR ? what->s.len : what->l.n;
	if (times < 0)
		return tpl_fail(r, "invalid operation", "sequences and strings can only be multiplied with integers");
	if (times > REPEAT_MAX || (len > 0 && times > REPEAT_MAX / (int128)len))
		return tpl_fail(r, "invalid operation", "repeating gives too much");
	size_t n = (size_t)times;
	if (what->kind == TV_STR) {
		char *p = arena_alloc(r->a, len * n + 1);
		for (size_t i = 0; i < n && len > 0; i++)
			memcpy(p + i * len, what->s.ptr, len);
		*out = tv_str(slice_new(p, len * n));
		return 0;
	}
	struct tv *items = arena_alloc(r->a, len * n * sizeof *items);
	for (size_t i = 0; i < n && len > 0; i++)
		memcpy(items + i * len, what->l.items, len * sizeof *items);
	*out = tv_list(items, len * n);
	return 0;
}

static int concat_lists(struct render *r, const struct tv *a, const struct tv *b, struct tv *out)
{
	struct tv x, y;
	int rc;
	if ((rc = to_list(r, a, &x)) < 0 || (rc = to_list(r, b, &y)) < 0)
		return rc;
	struct tv *items = arena_alloc(r->a, (x.l.n + y.l.n) * sizeof *items);
	if (x.l.n > 0)
		memcpy(items, x.l.items, x.l.n * sizeof *items);
	if (y.l.n > 0)
		memcpy(items + x.l.n, y.l.items, y.l.n * sizeof *items);
	*out = tv_list(items, x.l.n + y.l.n);
	return 0;
}

static struct tv concat_text(struct render *r, const struct tv *a, const struct tv *b)
{
	struct slice x = to_text(r, a), y = to_text(r, b);
	char *p = arena_alloc(r->a, x.len + y.len + 1);
	if (x.len > 0)
		memcpy(p, x.ptr, x.len);
	if (y.len > 0)
		memcpy(p + x.len, y.ptr, y.len);
	return tv_str(slice_new(p, x.len + y.len));
}

static int math(struct render *r, enum binop op, const struct tv *a, const struct tv *b, struct tv *out)
{
	if (op == B_ADD && a->kind == TV_STR && b->kind == TV_STR) {
		*out = concat_text(r, a, b);
		return 0;
	}
	if (op == B_ADD && tv_is_list(a) && tv_is_list(b))
		return concat_lists(r, a, b, out);
	if (op == B_MUL && (a->kind == TV_STR || tv_is_list(a) || b->kind == TV_STR || tv_is_list(b))) {
		const struct tv *what = a->kind == TV_STR || tv_is_list(a) ? a : b, *times = what == a ? b : a;
		struct tv list = *what;
		if (times->kind != TV_INT)
			return tpl_fail(r, "invalid operation", "sequences and strings can only be multiplied with integers");
		if (what->kind != TV_STR && to_list(r, what, &list) < 0)
			return -E_INVAL;
		return repeat(r, &list, times->i, out);
	}
	if (!is_numeric(a) || !is_numeric(b))
		return fail_types(r, OP_TEXT[op], a, b);
	if (op == B_DIV || a->kind == TV_FLOAT || b->kind == TV_FLOAT) {
		*out = tv_float(float_math(op, tv_number(a), tv_number(b)));
		return 0;
	}
	*out = tv_int(0);
	return int_math(op, as_int(a), as_int(b), &out->i) ? 0 : fail_math(r, OP_TEXT[op], a, b);
}

int contains(struct render *r, const struct tv *in, const struct tv *what, bool *out)
{
	struct tv item;
	*out = false;
	if (in->kind == TV_UNDEF)
		return 0;
	if (in->kind == TV_STR) {
		struct slice needle = to_text(r, what);
		*out = slice_find(in->s, needle) >= 0;
		return 0;
	}
	if (tv_is_map(in)) {
		if (get_item(r, in, what, &item) < 0)
			return -E_INVAL;
		*out = item.kind != TV_UNDEF;
		return 0;
	}
	if (!tv_is_list(in))
		return tpl_fail(r, "invalid operation", "cannot perform a containment check on this value");
	for (size_t i = 0; i < tv_len(in) && !*out; i++) {
		item = in->kind == TV_LIST ? in->l.items[i] : tv_from_val(&in->v->items[i]);
		*out = tv_eq(&item, what);
		if ((i & 1023) == 0 && tpl_step(r) < 0)
			return -E_INVAL;
	}
	return 0;
}

int binary(struct render *r, enum binop op, const struct tv *a, const struct tv *b, struct tv *out)
{
	bool found;
	int rc;
	switch (op) {
	case B_EQ:
		*out = tv_bool(tv_eq(a, b));
		return 0;
	case B_NE:
		*out = tv_bool(!tv_eq(a, b));
		return 0;
	case B_LT:
		*out = tv_bool(tv_cmp(a, b) < 0);
		return 0;
	case B_LE:
		*out = tv_bool(tv_cmp(a, b) <= 0);
		return 0;
	case B_GT:
		*out = tv_bool(tv_cmp(a, b) > 0);
		return 0;
	case B_GE:
		*out = tv_bool(tv_cmp(a, b) >= 0);
		return 0;
	case B_IN:
		rc = contains(r, b, a, &found);
		*out = tv_bool(found);
		return rc;
	case B_CONCAT:
		*out = concat_text(r, a, b);
		return 0;
	default:
		return math(r, op, a, b, out);
	}
}

/* The byte where character I of S begins, or its length. */
static size_t char_offset(struct slice s, size_t i)
{
	size_t at = 0;
	for (; at < s.len; at++)
		if ((s.ptr[at] & 0xc0) != 0x80 && i-- == 0)
			break;
	return at;
}

static struct tv char_at(struct slice s, size_t i)
{
	size_t from = char_offset(s, i), to = from + 1;
	while (to < s.len && (s.ptr[to] & 0xc0) == 0x80)
		to++;
	return tv_str(slice_sub(s, from, to - from));
}

static struct tv item_at(const struct tv *v, size_t i)
{
	if (v->kind == TV_STR)
		return char_at(v->s, i);
	return v->kind == TV_LIST ? v->l.items[i] : tv_from_val(&v->v->items[i]);
}

/* Python's rules: negative places count from the end, both ends are clamped. */
static int slice_bounds(struct render *r, const struct tv *from, const struct tv *to, const struct tv *step, int64_t n, int64_t out[3])
{
	int64_t by = 1, lo, hi;
	if (step->kind != TV_NONE && tv_to_int(r, step, "i64", &by) < 0)
		return -E_INVAL;
	if (by == 0)
		return tpl_fail(r, "invalid operation", "cannot slice by step size of 0");
	by = MAX(by, -INT32_MAX);
	by = MIN(by, INT32_MAX);
	int64_t low = by > 0 ? 0 : -1, high = by > 0 ? n : n - 1;
	lo = by > 0 ? low : high;
	hi = by > 0 ? high : low;
	if (from->kind != TV_NONE) {
		if (tv_to_int(r, from, "i64", &lo) < 0)
			return -E_INVAL;
		lo = lo < 0 ? lo + n : lo;
		lo = lo < low ? low : lo > high ? high : lo;
	}
	if (to->kind != TV_NONE) {
		if (tv_to_int(r, to, "i64", &hi) < 0)
			return -E_INVAL;
		hi = hi < 0 ? hi + n : hi;
		hi = hi < low ? low : hi > high ? high : hi;
	}
	out[0] = lo;
	out[1] = hi;
	out[2] = by;
	return 0;
}

int slice_value(struct render *r, const struct tv *v, const struct tv *from, const struct tv *to, const struct tv *step, struct tv *out)
{
	int64_t b[3] = { 0 };
	if (v->kind == TV_UNDEF || v->kind == TV_NONE) {
		*out = tv_list(NULL, 0);
		return 0;
	}
	if (v->kind != TV_STR && !tv_is_list(v))
		return tpl_fail(r, "invalid operation", "value of type %s cannot be sliced", tv_kind_name(v));
	if (slice_bounds(r, from, to, step, (int64_t)tv_len(v), b) < 0)
		return -E_INVAL;
	if (v->kind == TV_STR && b[2] == 1) {
		size_t start = char_offset(v->s, (size_t)b[0]);
		size_t end = b[1] > b[0] ? char_offset(v->s, (size_t)b[1]) : start;
		*out = tv_str(slice_sub(v->s, start, end - start));
		return 0;
	}
	struct tv chars = *v;
	if (v->kind == TV_STR && to_list(r, v, &chars) < 0)
		return -E_INVAL;
	size_t n = 0, count = (size_t)(b[2] > 0 ? MAX((b[1] - b[0] + b[2] - 1) / b[2], (int64_t)0) : MAX((b[0] - b[1] - b[2] - 1) / -b[2], (int64_t)0));
	struct tv *items = arena_alloc(r->a, count * sizeof *items);
	for (int64_t i = b[0]; b[2] > 0 ? i < b[1] : i > b[1]; i += b[2])
		items[n++] = item_at(&chars, (size_t)i);
	*out = tv_list(items, n);
	if (v->kind == TV_STR) {
		struct buf text = { 0 };
		for (size_t i = 0; i < n; i++)
			buf_slice(&text, items[i].s);
		*out = tv_str(tpl_keep(r, &text));
	}
	return 0;
}

static int loop_attr(struct render *r, const struct loop *l, struct slice name, struct tv *out)
{
	const struct {
		const char *name;
		struct tv v;
	} attrs[] = {
		{ "index", tv_int((int128)l->index + 1) }, { "index0", tv_int((int128)l->index) }, { "revindex", tv_int((int128)(l->n - l->index)) },
		{ "revindex0", tv_int((int128)(l->n - l->index) - 1) }, { "first", tv_bool(l->index == 0) }, { "last", tv_bool(l->index + 1 == l->n) },
		{ "length", tv_int((int128)l->n) }, { "depth", tv_int(l->depth + 1) }, { "depth0", tv_int(l->depth) },
		{ "previtem", l->index > 0 ? l->items[l->index - 1] : tv_undef() }, { "nextitem", l->index + 1 < l->n ? l->items[l->index + 1] : tv_undef() },
	};
	(void)r;
	*out = tv_undef();
	for (size_t i = 0; i < ARRAY_LEN(attrs); i++)
		if (slice_eq_cstr(name, attrs[i].name))
			*out = attrs[i].v;
	return 0;
}

static bool uses_caller_nodes(const struct nodes *list);

static bool uses_caller(const struct expr *e)
{
	if (e == NULL)
		return false;
	if (e->kind == E_VAR && slice_eq_cstr(e->name, "caller"))
		return true;
	for (size_t i = 0; i < e->n; i++)
		if ((e->args != NULL && uses_caller(e->args[i].e)) || (e->items != NULL && uses_caller(e->items[i])))
			return true;
	return uses_caller(e->a) || uses_caller(e->b) || uses_caller(e->c) || uses_caller(e->d);
}

static bool uses_caller_nodes(const struct nodes *list)
{
	for (size_t i = 0; i < list->n; i++) {
		const struct node *n = list->items[i];
		if (uses_caller(n->e) || uses_caller(n->e2) || uses_caller_nodes(&n->body) || uses_caller_nodes(&n->other))
			return true;
		for (size_t k = 0; k < n->n; k++)
			if (uses_caller(n->assigns[k].value))
				return true;
	}
	return false;
}

static int macro_attr(struct render *r, const struct node *macro, struct slice name, struct tv *out)
{
	*out = tv_undef();
	if (slice_eq_cstr(name, "name")) {
		*out = tv_str(macro->text);
	} else if (slice_eq_cstr(name, "arguments")) {
		struct tv *items = arena_alloc(r->a, macro->n * sizeof *items);
		for (size_t i = 0; i < macro->n; i++)
			items[i] = tv_str(macro->assigns[i].target.name);
		*out = tv_list(items, macro->n);
	} else if (slice_eq_cstr(name, "caller")) {
		*out = tv_bool(uses_caller_nodes(&macro->body));
	}
	return 0;
}

static int object_attr(struct render *r, const struct tobj *o, struct slice name, struct tv *out)
{
	const struct tv *found;
	switch (o->kind) {
	case OBJ_NAMESPACE:
	case OBJ_MODULE:
		found = tmap_get_str(o->map, name);
		*out = found != NULL ? *found : tv_undef();
		return 0;
	case OBJ_LOOP:
		return loop_attr(r, o->loop, name, out);
	case OBJ_MACRO:
		return macro_attr(r, o->macro.node, name, out);
	default:
		*out = tv_undef();
		return 0;
	}
}

int get_attr(struct render *r, const struct tv *v, struct slice name, struct tv *out)
{
	const struct tv *found;
	const struct val *member;
	*out = tv_undef();
	switch (v->kind) {
	case TV_UNDEF:
		return tpl_fail_kind(r, "undefined value");
	case TV_VOBJ:
		if ((member = val_get(v->v, name)) != NULL)
			*out = tv_from_val(member);
		return 0;
	case TV_MAP:
		if ((found = tmap_get_str(v->map, name)) != NULL)
			*out = *found;
		return 0;
	case TV_OBJ:
		return object_attr(r, v->obj, name, out);
	case TV_LIST:
		if (v->group && slice_eq_cstr(name, "grouper"))
			*out = v->l.items[0];
		else if (v->group && slice_eq_cstr(name, "list"))
			*out = v->l.items[1];
		return 0;
	default:
		return 0;
	}
}

static int index_item(const struct tv *v, int128 i, struct tv *out)
{
	int128 n = (int128)tv_len(v);
	i = i < 0 ? i + n : i;
	*out = i >= 0 && i < n ? item_at(v, (size_t)i) : tv_undef();
	return 0;
}

int get_item(struct render *r, const struct tv *v, const struct tv *key, struct tv *out)
{
	const struct tv *found;
	*out = tv_undef();
	if (v->kind == TV_UNDEF)
		return tpl_fail_kind(r, "undefined value");
	if ((tv_is_list(v) || v->kind == TV_STR) && key->kind == TV_INT)
		return index_item(v, key->i, out);
	if (v->kind == TV_MAP || (v->kind == TV_OBJ && v->obj->kind == OBJ_NAMESPACE)) {
		found = tmap_get(v->kind == TV_MAP ? v->map : v->obj->map, key);
		if (found != NULL)
			*out = *found;
		return 0;
	}
	return key->kind == TV_STR ? get_attr(r, v, key->s, out) : 0;
}

int get_path(struct render *r, const struct tv *v, const struct tv *path, struct tv *out)
{
	struct slice rest, part;
	int64_t n;
	if (path->kind != TV_STR)
		return get_item(r, v, path, out);
	rest = path->s;
	*out = *v;
	while (slice_split_next(&rest, '.', &part)) {
		struct tv here = *out, key = slice_to_i64(part, &n) == 0 && tv_is_list(&here) ? tv_int(n) : tv_str(part);
		int rc = get_item(r, &here, &key, out);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int chars_list(struct render *r, struct slice s, struct tv *out)
{
	size_t n = utf8_count(s), k = 0;
	if (n > REPEAT_MAX)
		return tpl_fail(r, "invalid operation", "too many characters to iterate over");
	struct tv *items = arena_alloc(r->a, n * sizeof *items);
	for (size_t i = 0, len; i < s.len && k < n; i += len) {
		len = 1;
		while (i + len < s.len && (s.ptr[i + len] & 0xc0) == 0x80)
			len++;
		items[k++] = tv_str(slice_sub(s, i, len));
	}
	*out = tv_list(items, k);
	return 0;
}

static void keys_list(struct render *r, const struct tv *v, struct tv *out)
{
	size_t n = tv_len(v);
	struct tv *items = arena_alloc(r->a, n * sizeof *items);
	if (v->kind == TV_VOBJ) {
		const struct val_member **order = sorted_members(v->v);
		for (size_t i = 0; i < n; i++)
			items[i] = tv_str(order[i]->key);
		free(order);
	} else {
		const struct tmap *m = v->kind == TV_MAP ? v->map : v->obj->map;
		for (size_t i = 0; i < n; i++)
			items[i] = m->pairs[i].key;
	}
	*out = tv_list(items, n);
}

int to_list(struct render *r, const struct tv *v, struct tv *out)
{
	switch (v->kind) {
	case TV_UNDEF:
	case TV_NONE:
		*out = tv_list(NULL, 0);
		return 0;
	case TV_LIST:
		*out = *v;
		out->lazy = out->dynamic = out->group = false;
		return 0;
	case TV_VLIST: {
		struct tv *items = arena_alloc(r->a, v->v->n * sizeof *items);
		for (size_t i = 0; i < v->v->n; i++)
			items[i] = tv_from_val(&v->v->items[i]);
		*out = tv_list(items, v->v->n);
		return 0;
	}
	case TV_STR:
		return chars_list(r, v->s, out);
	default:
		if (!tv_is_map(v))
			return tpl_fail(r, "invalid operation", "%s is not iterable", tv_kind_name(v));
		keys_list(r, v, out);
		return 0;
	}
}
