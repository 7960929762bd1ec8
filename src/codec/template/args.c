/* SPDX-License-Identifier: Apache-2.0 */
/* Arguments of filters, tests, functions and methods. */
#include <math.h>

#include "codec/template/tpl.h"

struct slice to_text(struct render *r, const struct tv *v)
{
	struct buf b = { 0 };
	if (v->kind == TV_STR)
		return v->s;
	tv_put(&b, v);
	return tpl_keep(r, &b);
}

bool arg_given(const struct call *c, int i)
{
	return i < c->n && c->args[i].kind != TV_NONE && c->args[i].kind != TV_UNDEF;
}

int tv_to_int(struct render *r, const struct tv *v, const char *type, int64_t *out)
{
	if (v->kind == TV_INT && v->i >= INT64_MIN && v->i <= INT64_MAX)
		*out = (int64_t)v->i;
	else if (v->kind == TV_BOOL)
		*out = v->b;
	else if (v->kind == TV_FLOAT && v->f == floor(v->f) && fabs(v->f) < 9e15)
		*out = (int64_t)v->f;
	else
		return tpl_fail(r, "invalid operation", "cannot convert %s to %s", tv_kind_name(v), type);
	return 0;
}

int arg_int(struct render *r, struct call *c, int i, const char *type, int64_t *out)
{
	assert(i < c->n);
	return tv_to_int(r, &c->args[i], type, out);
}

int tv_to_bool(struct render *r, const struct tv *v, bool *out)
{
	if (v->kind != TV_BOOL)
		return tpl_fail(r, "invalid operation", "cannot convert %s to bool", tv_kind_name(v));
	*out = v->b;
	return 0;
}

const struct tv *kwarg(struct call *c, const char *name)
{
	for (size_t i = 0; i < c->kwargs->n; i++)
		if (c->kwargs->pairs[i].key.kind == TV_STR && slice_eq_cstr(c->kwargs->pairs[i].key.s, name)) {
			c->used |= i < 64 ? (uint64_t)1 << i : 0;
			const struct tv *v = &c->kwargs->pairs[i].value;
			return v->kind == TV_UNDEF ? NULL : v;
		}
	return NULL;
}

static int kwargs_done(struct render *r, const struct call *c)
{
	for (size_t i = 0; i < c->kwargs->n; i++)
		if (i >= 64 || !(c->used >> i & 1)) {
			struct slice name = to_text(r, &c->kwargs->pairs[i].key);
			return tpl_fail(r, "too many arguments", "unknown keyword argument '%.*s'", SLICE_ARG(name));
		}
	return 0;
}

const struct tpl_builtin *builtin_find(const struct tpl_builtin *table, struct slice name)
{
	for (; table->name != NULL; table++)
		if (slice_eq_cstr(name, table->name))
			return table;
	return NULL;
}

const struct tpl_builtin *filter_find(struct slice name)
{
	static const struct tpl_builtin *const tables[] = { TPL_TEXT_FILTERS, TPL_LIST_FILTERS, TPL_NUMBER_FILTERS, TPL_TIME_FILTERS };
	const struct tpl_builtin *found = NULL;
	for (size_t i = 0; i < ARRAY_LEN(tables) && found == NULL; i++)
		found = builtin_find(tables[i], name);
	return found;
}

int call_builtin(struct render *r, const struct tpl_builtin *fn, struct call *c, struct tv *out)
{
	struct call more;
	if (!fn->kwargs && c->kwargs->n > 0) {
		more = *c;
		more.args = arena_alloc(r->a, (size_t)(c->n + 1) * sizeof *more.args);
		if (c->n > 0)
			memcpy(more.args, c->args, (size_t)c->n * sizeof *more.args);
		more.args[more.n++] = tv_map(c->kwargs);
		more.kwargs = tmap_new(r);
		c = &more;
	}
	if (c->n < fn->min)
		return tpl_fail_kind(r, "missing argument");
	if (fn->max >= 0 && c->n > fn->max)
		return tpl_fail_kind(r, "too many arguments");
	*out = tv_undef();
	int rc = fn->fn(r, c, out);
	return rc == 0 && fn->kwargs ? kwargs_done(r, c) : rc;
}
