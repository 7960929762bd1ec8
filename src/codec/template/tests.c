/* SPDX-License-Identifier: Apache-2.0 */
/* Tests: "x is NAME". */
#include "base/utf8.h"
#include "codec/template/tpl.h"

#define TEST(name, condition)                                                       \
	static int test_##name(struct render *r, struct call *c, struct tv *out)    \
	{                                                                           \
		const struct tv *v = &c->args[0];                                   \
		(void)r;                                                            \
		(void)v;                                                            \
		*out = tv_bool(condition);                                          \
		return 0;                                                           \
	}

static bool is_int(const struct tv *v)
{
	return v->kind == TV_INT;
}

static bool is_odd(const struct tv *v)
{
	return is_int(v) && v->i % 2 != 0;
}

static bool has_case(struct slice s, bool upper)
{
	uint32_t cp;
	for (size_t i = 0, n; i < s.len; i += n) {
		if ((n = utf8_decode(slice_sub(s, i, SIZE_MAX), &cp)) == 0)
			return false;
		if ((upper ? cp_lower(cp) : cp_upper(cp)) == cp)
			return false;
	}
	return true;
}

/* The same thing: of lists and maps nothing is but the thing itself. */
static bool same_as(const struct tv *a, const struct tv *b)
{
	if (a->kind != b->kind)
		return false;
	switch (a->kind) {
	case TV_LIST:
		return a->l.items == b->l.items && a->l.n == b->l.n && a->l.n > 0;
	case TV_MAP:
		return a->map == b->map;
	case TV_OBJ:
		return a->obj == b->obj;
	case TV_VLIST:
	case TV_VOBJ:
		return a->v == b->v;
	default:
		return tv_eq(a, b);
	}
}

static bool divisible(const struct tv *a, const struct tv *b)
{
	if (is_int(a) && is_int(b))
		return b->i != 0 && a->i % b->i == 0;
	double x = tv_is_number(a) ? tv_number(a) : 1, y = tv_is_number(b) ? tv_number(b) : 0;
	return y != 0 && (double)(int64_t)(x / y) * y == x;
}

TEST(undefined, v->kind == TV_UNDEF)
TEST(defined, v->kind != TV_UNDEF)
TEST(none, v->kind == TV_NONE)
TEST(safe, v->kind == TV_STR && v->safe)
TEST(boolean, v->kind == TV_BOOL)
TEST(odd, is_odd(v))
TEST(even, is_int(v) && !is_odd(v))
TEST(divisibleby, divisible(v, &c->args[1]))
TEST(number, tv_is_number(v))
TEST(integer, is_int(v))
TEST(float, v->kind == TV_FLOAT)
TEST(string, v->kind == TV_STR)
TEST(sequence, tv_is_list(v) && !(v->kind == TV_LIST && v->dynamic))
TEST(iterable, tv_is_list(v) || tv_is_map(v) || v->kind == TV_STR || v->kind == TV_UNDEF)
TEST(mapping, tv_is_map(v))
TEST(true, v->kind == TV_BOOL && v->b)
TEST(false, v->kind == TV_BOOL && !v->b)
TEST(lower, v->kind == TV_STR && has_case(v->s, false))
TEST(upper, v->kind == TV_STR && has_case(v->s, true))
TEST(startingwith, slice_starts(to_text(r, v), to_text(r, &c->args[1])))
TEST(endingwith, slice_ends(to_text(r, v), to_text(r, &c->args[1])))
TEST(sameas, same_as(v, &c->args[1]))
TEST(eq, tv_eq(v, &c->args[1]))
TEST(ne, !tv_eq(v, &c->args[1]))
TEST(gt, tv_cmp(v, &c->args[1]) > 0)
TEST(ge, tv_cmp(v, &c->args[1]) >= 0)
TEST(lt, tv_cmp(v, &c->args[1]) < 0)
TEST(le, tv_cmp(v, &c->args[1]) <= 0)
TEST(filter, filter_find(to_text(r, v)) != NULL || filter_hook(to_text(r, v)) != NULL)
TEST(test, builtin_find(TPL_TESTS, to_text(r, v)) != NULL)

static int test_in(struct render *r, struct call *c, struct tv *out)
{
	bool found = false;
	int rc = contains(r, &c->args[1], &c->args[0], &found);
	*out = tv_bool(found);
	return rc;
}

const struct tpl_builtin TPL_TESTS[] = {
	{ "undefined", test_undefined, 1, 1 }, { "defined", test_defined, 1, 1 }, { "none", test_none, 1, 1 }, { "safe", test_safe, 1, 1 },
	{ "escaped", test_safe, 1, 1 }, { "boolean", test_boolean, 1, 1 }, { "odd", test_odd, 1, 1 }, { "even", test_even, 1, 1 },
	{ "divisibleby", test_divisibleby, 2, 2 }, { "number", test_number, 1, 1 }, { "integer", test_integer, 1, 1 }, { "int", test_integer, 1, 1 },
	{ "float", test_float, 1, 1 }, { "string", test_string, 1, 1 }, { "sequence", test_sequence, 1, 1 }, { "iterable", test_iterable, 1, 1 },
	{ "mapping", test_mapping, 1, 1 }, { "true", test_true, 1, 1 }, { "false", test_false, 1, 1 }, { "lower", test_lower, 1, 1 },
	{ "upper", test_upper, 1, 1 }, { "startingwith", test_startingwith, 2, 2 }, { "endingwith", test_endingwith, 2, 2 },
	{ "sameas", test_sameas, 2, 2 }, { "eq", test_eq, 2, 2 }, { "equalto", test_eq, 2, 2 }, { "==", test_eq, 2, 2 }, { "ne", test_ne, 2, 2 },
	{ "!=", test_ne, 2, 2 }, { "gt", test_gt, 2, 2 }, { "greaterthan", test_gt, 2, 2 }, { ">", test_gt, 2, 2 }, { "ge", test_ge, 2, 2 },
	{ ">=", test_ge, 2, 2 }, { "lt", test_lt, 2, 2 }, { "lessthan", test_lt, 2, 2 }, { "<", test_lt, 2, 2 }, { "le", test_le, 2, 2 },
	{ "<=", test_le, 2, 2 }, { "in", test_in, 2, 2 }, { "filter", test_filter, 1, 1 }, { "test", test_test, 1, 1 }, { NULL },
};
