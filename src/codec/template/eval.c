/* SPDX-License-Identifier: Apache-2.0 */
/* Expressions: names, calls, filters and tests. */
#include "codec/template/tpl.h"

#include <stdarg.h>

#define STACK_MAX (88 * 1024)	/* fibers have 256 KiB, and somebody has called us */

static void set_error(struct render *r, const char *kind, const char *detail)
{
	r->failed = true;
	err_put("%s%s%s (in %.*s:%u)", kind, detail != NULL ? ": " : "", detail != NULL ? detail : "", SLICE_ARG(r->t->name), r->line);
}

int tpl_fail(struct render *r, const char *kind, const char *fmt, ...)
{
	struct buf b = { 0 };
	va_list ap;
	va_start(ap, fmt);
	buf_vprintf(&b, fmt, ap);
	va_end(ap);
	set_error(r, kind, buf_cstr(&b));
	buf_fini(&b);
	return -E_INVAL;
}

int tpl_fail_kind(struct render *r, const char *kind)
{
	set_error(r, kind, NULL);
	return -E_INVAL;
}

int tpl_step(struct render *r)
{
	char here;
	ptrdiff_t used = r->stack_base - &here;
	if (used > STACK_MAX || -used > STACK_MAX)
		return tpl_fail(r, "invalid operation", "recursion limit exceeded");
	if (++r->steps > TEMPLATE_STEPS_MAX)
		return tpl_fail(r, "engine ran out of fuel", "more than %d steps", TEMPLATE_STEPS_MAX);
	if (r->out->len > TEMPLATE_OUTPUT_MAX)
		return tpl_fail(r, "invalid operation", "more than %u bytes of output", TEMPLATE_OUTPUT_MAX);
	if (arena_bytes(r->a) > TEMPLATE_ARENA_MAX)
		return tpl_fail(r, "invalid operation", "more than %u bytes of values", TEMPLATE_ARENA_MAX);
	return 0;
}

struct slice tpl_keep(struct render *r, struct buf *b)
{
	struct slice s = arena_dup(r->a, buf_view(b));
	buf_fini(b);
	return s;
}

struct tv lookup(struct render *r, struct slice name)
{
	const struct tv *found;
	const struct val *member;
	const struct tpl_builtin *fn;
	for (const struct frame *f = r->frame; f != NULL; f = f->up)
		if ((found = tmap_get_str(&f->vars, name)) != NULL)
			return *found;
	if ((member = val_get(r->context, name)) != NULL)
		return tv_from_val(member);
	if ((fn = builtin_find(TPL_FUNCTIONS, name)) != NULL) {
		struct tobj *o = arena_alloc(r->a, sizeof *o);
		o->kind = OBJ_FUNCTION;
		o->fn = fn;
		return tv_obj(o);
	}
	if (slice_eq_cstr(name, "self")) {
		struct tobj *o = arena_alloc(r->a, sizeof *o);
		o->kind = OBJ_SELF;
		return tv_obj(o);
	}
	return tv_undef();
}

static void push_arg(struct render *r, struct call *c, int *cap, struct tv v)
{
	if (c->n == *cap) {
		struct tv *more = arena_alloc(r->a, (size_t)*cap * 2 * sizeof *more);
		memcpy(more, c->args, (size_t)c->n * sizeof *more);
		c->args = more;
		*cap *= 2;
	}
	c->args[c->n++] = v;
}

static int splat(struct render *r, const struct tv *v, struct call *c, int *cap)
{
	struct tv list;
	if (!tv_is_list(v) && !tv_is_map(v))
		return tpl_fail(r, "invalid operation", "cannot unpack %s into arguments", tv_kind_name(v));
	int rc = to_list(r, v, &list);
	for (size_t i = 0; rc == 0 && i < list.l.n; i++)
		push_arg(r, c, cap, list.l.items[i]);
	return rc;
}

static int splat_named(struct render *r, const struct tv *v, struct call *c)
{
	struct tv keys, value;
	if (!tv_is_map(v))
		return tpl_fail(r, "invalid operation", "attempted to apply keyword arguments from non map (got %s)", tv_kind_name(v));
	int rc = to_list(r, v, &keys);
	for (size_t i = 0; rc == 0 && i < keys.l.n; i++)
		if ((rc = get_item(r, v, &keys.l.items[i], &value)) == 0)
			tmap_put(r, c->kwargs, keys.l.items[i], value);
	return rc;
}

static int eval_args(struct render *r, const struct expr *e, const struct tv *first, struct call *c)
{
	int cap = (int)e->n + 2, rc;
	*c = (struct call){ .args = arena_alloc(r->a, (size_t)cap * sizeof *c->args), .kwargs = tmap_new(r) };
	if (first != NULL)
		c->args[c->n++] = *first;
	for (size_t i = 0; i < e->n; i++) {
		const struct arg *arg = &e->args[i];
		struct tv v;
		if ((rc = eval(r, arg->e, &v)) < 0)
			return rc;
		switch (arg->kind) {
		case ARG_POS:
			push_arg(r, c, &cap, v);
			break;
		case ARG_NAMED:
			tmap_put(r, c->kwargs, tv_str(arg->name), v);
			break;
		case ARG_SPLAT:
			rc = splat(r, &v, c, &cap);
			break;
		case ARG_NAMED_SPLAT:
			rc = splat_named(r, &v, c);
			break;
		}
		if (rc < 0)
			return rc;
	}
	r->line = e->line;
	return 0;
}

int apply_filter(struct render *r, struct slice name, struct call *c, struct tv *out)
{
	const struct tpl_builtin *fn = filter_find(name);
	return fn != NULL ? call_builtin(r, fn, c, out) : tpl_fail(r, "unknown filter", "filter %.*s is unknown", SLICE_ARG(name));
}

int apply_test(struct render *r, struct slice name, struct call *c, bool *out)
{
	const struct tpl_builtin *fn = builtin_find(TPL_TESTS, name);
	struct tv v;
	if (fn == NULL)
		return tpl_fail_kind(r, "unknown test");
	int rc = call_builtin(r, fn, c, &v);
	*out = rc == 0 && tv_true(&v);
	return rc;
}

static int call_hook(struct render *r, const struct expr *e, const struct tv *v, struct tv *out)
{
	struct buf b = { 0 };
	if (e->n > 0)
		return tpl_fail_kind(r, "too many arguments");
	if (v->kind != TV_STR)
		return tpl_fail(r, "invalid operation", "value is not a string");
	e->hook(&b, v->s);
	*out = tv_str(tpl_keep(r, &b));
	return 0;
}

static int eval_filter(struct render *r, const struct expr *e, struct tv *out)
{
	struct tv v;
	struct call c;
	int rc = eval(r, e->a, &v);
	if (rc < 0)
		return rc;
	r->line = e->line;
	if (e->hook != NULL)
		return call_hook(r, e, &v, out);
	if (e->fn == NULL)
		return tpl_fail(r, "unknown filter", "filter %.*s is unknown", SLICE_ARG(e->name));
	rc = eval_args(r, e, &v, &c);
	return rc < 0 ? rc : call_builtin(r, e->fn, &c, out);
}

static int eval_test(struct render *r, const struct expr *e, struct tv *out)
{
	struct tv v;
	struct call c;
	int rc = eval(r, e->a, &v);
	if (rc < 0)
		return rc;
	r->line = e->line;
	if (e->fn == NULL)
		return tpl_fail(r, "unknown test", "test %.*s is unknown", SLICE_ARG(e->name));
	if ((rc = eval_args(r, e, &v, &c)) < 0 || (rc = call_builtin(r, e->fn, &c, out)) < 0)
		return rc;
	if (e->negated)
		*out = tv_bool(!tv_true(out));
	return 0;
}

static int call_value(struct render *r, const struct tv *f, struct call *c, struct tv *out)
{
	if (f->kind == TV_OBJ) {
		switch (f->obj->kind) {
		case OBJ_MACRO:
			return call_macro(r, f->obj, c, out);
		case OBJ_FUNCTION:
			return call_builtin(r, f->obj->fn, c, out);
		case OBJ_LOOP:
			return call_loop(r, f->obj->loop, c, out);
		case OBJ_JOINER:
			*out = f->obj->joiner.used ? f->obj->joiner.sep : tv_str(SLICE(""));
			f->obj->joiner.used = true;
			return 0;
		default:
			break;
		}
	}
	return tpl_fail(r, "invalid operation", "value of type %s is not callable", tv_kind_name(f));
}

/* obj.name(args): what the object holds under that name, else a method of its kind. */
static int eval_method(struct render *r, const struct expr *e, struct tv *out)
{
	struct slice name = e->a->name;
	struct tv obj, held;
	struct call c;
	int rc = eval(r, e->a->a, &obj);
	if (rc < 0 || (rc = eval_args(r, e, NULL, &c)) < 0)
		return rc;
	r->line = e->a->line;
	if (obj.kind == TV_UNDEF)
		return tpl_fail_kind(r, "undefined value");
	if (obj.kind == TV_OBJ && obj.obj->kind == OBJ_SELF)
		return call_self_block(r, name, out);
	if (tv_is_map(&obj) && get_attr(r, &obj, name, &held) == 0 && held.kind != TV_UNDEF)
		return call_value(r, &held, &c, out);
	return call_method(r, &obj, name, &c, out);
}

static int eval_call(struct render *r, const struct expr *e, struct tv *out)
{
	struct tv f;
	struct call c;
	int rc;
	if (e->a->kind == E_ATTR)
		return eval_method(r, e, out);
	if ((rc = eval(r, e->a, &f)) < 0)
		return rc;
	if (f.kind == TV_UNDEF && e->a->kind == E_VAR) {
		if (slice_eq_cstr(e->a->name, "super"))
			return call_super(r, out);
		return tpl_fail(r, "unknown function", "%.*s is unknown", SLICE_ARG(e->a->name));
	}
	rc = eval_args(r, e, NULL, &c);
	return rc < 0 ? rc : call_value(r, &f, &c, out);
}

static int eval_list(struct render *r, const struct expr *e, struct tv *out)
{
	struct tv *items = arena_alloc(r->a, e->n * sizeof *items);
	for (size_t i = 0; i < e->n; i++) {
		int rc = eval(r, e->items[i], &items[i]);
		if (rc < 0)
			return rc;
	}
	*out = tv_list(items, e->n);
	return 0;
}

static int eval_map(struct render *r, const struct expr *e, struct tv *out)
{
	struct tmap *m = tmap_new(r);
	for (size_t i = 0; i + 1 < e->n; i += 2) {
		struct tv key, value;
		int rc = eval(r, e->items[i], &key);
		if (rc < 0 || (rc = eval(r, e->items[i + 1], &value)) < 0)
			return rc;
		tmap_put(r, m, key, value);
	}
	*out = tv_map(m);
	return 0;
}

static int eval_neg(struct render *r, const struct expr *e, struct tv *out)
{
	struct tv v;
	int rc = eval(r, e->a, &v);
	if (rc < 0)
		return rc;
	r->line = e->line;
	if (v.kind == TV_INT)
		*out = tv_int((int128)(0 - (unsigned __int128)v.i));
	else if (v.kind == TV_FLOAT)
		*out = tv_float(-v.f);
	else
		return tpl_fail_kind(r, "invalid operation");
	return 0;
}

static int eval_binary(struct render *r, const struct expr *e, struct tv *out)
{
	struct tv a, b;
	int rc = eval(r, e->a, &a);
	if (rc < 0)
		return rc;
	if (e->kind == E_AND || e->kind == E_OR) {
		if (tv_true(&a) == (e->kind == E_OR)) {
			*out = a;
			return 0;
		}
		return eval(r, e->b, out);
	}
	if ((rc = eval(r, e->b, &b)) < 0)
		return rc;
	r->line = e->line;
	return binary(r, e->op, &a, &b, out);
}

static int eval_if(struct render *r, const struct expr *e, struct tv *out)
{
	struct tv v;
	int rc = eval(r, e->b, &v);
	if (rc < 0)
		return rc;
	if (tv_true(&v))
		return eval(r, e->a, out);
	*out = tv_undef();
	return e->c != NULL ? eval(r, e->c, out) : 0;
}

static int eval_slice(struct render *r, const struct expr *e, struct tv *out)
{
	struct tv v, part[3] = { tv_none(), tv_none(), tv_none() };
	const struct expr *parts[3] = { e->b, e->c, e->d };
	int rc = eval(r, e->a, &v);
	for (int i = 0; i < 3 && rc == 0; i++)
		if (parts[i] != NULL)
			rc = eval(r, parts[i], &part[i]);
	r->line = e->line;
	return rc < 0 ? rc : slice_value(r, &v, &part[0], &part[1], &part[2], out);
}

static int eval_item(struct render *r, const struct expr *e, struct tv *out)
{
	struct tv v, key;
	int rc = eval(r, e->a, &v);
	if (rc < 0 || (rc = eval(r, e->b, &key)) < 0)
		return rc;
	r->line = e->line;
	return get_item(r, &v, &key, out);
}

int eval(struct render *r, const struct expr *e, struct tv *out)
{
	struct tv v;
	int rc = tpl_step(r);
	if (rc < 0)
		return rc;
	r->line = e->line;
	switch (e->kind) {
	case E_CONST:
		*out = e->value;
		return 0;
	case E_VAR:
		*out = lookup(r, e->name);
		return 0;
	case E_LIST:
		return eval_list(r, e, out);
	case E_MAP:
		return eval_map(r, e, out);
	case E_NEG:
		return eval_neg(r, e, out);
	case E_NOT:
		rc = eval(r, e->a, &v);
		*out = tv_bool(rc == 0 && !tv_true(&v));
		return rc;
	case E_BIN:
	case E_AND:
	case E_OR:
		return eval_binary(r, e, out);
	case E_IF:
		return eval_if(r, e, out);
	case E_FILTER:
		return eval_filter(r, e, out);
	case E_TEST:
		return eval_test(r, e, out);
	case E_ATTR:
		if ((rc = eval(r, e->a, &v)) < 0)
			return rc;
		r->line = e->line;
		return get_attr(r, &v, e->name, out);
	case E_ITEM:
		return eval_item(r, e, out);
	case E_SLICE:
		return eval_slice(r, e, out);
	case E_CALL:
		return eval_call(r, e, out);
	}
	return 0;
}
