/* SPDX-License-Identifier: Apache-2.0 */
/* Rendering of Handlebars: paths, helpers, blocks and partials. */
#include <stdarg.h>
#include <stdlib.h>

#include "codec/template/hbs.h"

#define STACK_MAX (88 * 1024)

/* What each and with open: another "this", and what "@" and the locals name. */
struct scope {
	struct scope *up;
	const struct val *this;
	struct val data;		/* of @index, @key, @first, @last */
	struct slice names[4];
	const struct val *values[4];
	size_t n;
};

struct partial {
	struct partial *next;
	struct slice name;
	const struct hbs_list *body;
};

struct hrender {
	const struct template *t;
	struct arena *a;
	struct buf *out;
	const struct val *root;
	struct scope *scope;
	struct partial *partials;
	const struct hbs_node *at;	/* for messages */
	bool escape;
	size_t steps;
	const char *stack_base;
};

static const struct val NOTHING = { .type = VAL_NULL };

static int run(struct hrender *r, const struct hbs_list *list);
static int eval_call(struct hrender *r, const struct hbs_call *c, const struct val **out);

static int fail(struct hrender *r, const char *fmt, ...) PRINTF(2, 3);
static int fail(struct hrender *r, const char *fmt, ...)
{
	struct buf b = { 0 };
	va_list ap;
	va_start(ap, fmt);
	buf_vprintf(&b, fmt, ap);
	va_end(ap);
	int rc = err_set(E_INVAL, "Error rendering \"%.*s\" line %u, col %u: %s: %s", SLICE_ARG(r->t->name), r->at->line, r->at->col, buf_cstr(&b), buf_cstr(&b));
	buf_fini(&b);
	return rc;
}

static int step(struct hrender *r)
{
	char here;
	ptrdiff_t used = r->stack_base - &here;
	if (used > STACK_MAX || -used > STACK_MAX)
		return fail(r, "nested too deep");
	if (++r->steps > TEMPLATE_STEPS_MAX || r->out->len > TEMPLATE_OUTPUT_MAX || arena_bytes(r->a) > TEMPLATE_ARENA_MAX)
		return fail(r, "limit of steps, output or memory reached");
	return 0;
}

static const struct val *keep(struct hrender *r, struct val v)
{
	struct val *p = arena_alloc(r->a, sizeof *p);
	*p = v;
	return p;
}

static const struct val *get(const struct val *v, struct slice seg)
{
	uint64_t i;
	if (v->type == VAL_LIST && slice_to_u64(seg, &i) == 0)
		return i < v->n ? &v->items[i] : NULL;
	return val_get(v, seg);
}

static const struct val *walk(const struct val *v, const struct hbs_path *p, size_t from)
{
	for (size_t i = from; i < p->n && v != NULL; i++)
		v = get(v, p->segs[i]);
	return v;
}

static const struct val *resolve_data(struct hrender *r, const struct hbs_path *p)
{
	if (slice_eq_cstr(p->segs[0], "root"))
		return walk(r->root, p, 1);
	const struct scope *s = r->scope;
	for (int up = p->up; up > 0 && s->up != NULL; up--)
		s = s->up;
	for (; s != NULL; s = s->up) {
		const struct val *v = val_get(&s->data, p->segs[0]);
		if (v != NULL)
			return walk(v, p, 1);
	}
	return NULL;
}

/* NULL: there is nothing of that name. */
static const struct val *resolve(struct hrender *r, const struct hbs_path *p)
{
	const struct scope *s = r->scope;
	if (p->at)
		return p->n > 0 ? resolve_data(r, p) : NULL;
	for (int up = p->up; up > 0 && s->up != NULL; up--)
		s = s->up;
	if (p->n == 0)
		return s->this;
	for (const struct scope *l = s; l != NULL && p->up == 0 && !p->this; l = l->up)
		for (size_t i = 0; i < l->n; i++)
			if (slice_eq(l->names[i], p->segs[0]))
				return walk(l->values[i], p, 1);
	/* what this level does not have, those around it may */
	for (; s != NULL; s = s->up) {
		const struct val *v = walk(s->this, p, 0);
		if (v != NULL || p->this)
			return v;
	}
	return NULL;
}

static int eval_param(struct hrender *r, const struct hbs_param *p, const struct val **out)
{
	int rc = 0;
	switch (p->kind) {
	case HBS_LITERAL:
		*out = &p->literal;
		break;
	case HBS_PATH:
		*out = resolve(r, &p->path);
		break;
	case HBS_CALL:
		rc = eval_call(r, p->call, out);
		break;
	}
	if (rc == 0 && *out == NULL)
		*out = &NOTHING;
	return rc;
}

static bool truthy(const struct val *v, bool include_zero)
{
	switch (v->type) {
	case VAL_NULL:	return false;
	case VAL_BOOL:	return v->b;
	case VAL_INT:	return include_zero || v->i != 0;
	case VAL_UINT:	return true;
	case VAL_FLOAT:	return include_zero || (v->f != 0 && v->f == v->f);
	case VAL_STR:
	case VAL_TIME:	return v->s.len > 0;
	default:	return v->n > 0;
	}
}

static void put_val(struct buf *b, const struct val *v)
{
	switch (v->type) {
	case VAL_NULL:
		break;
	case VAL_STR:
	case VAL_TIME:
		buf_slice(b, v->s);
		break;
	case VAL_OBJ:
		buf_lit(b, "[object]");
		break;
	case VAL_LIST:
		buf_putc(b, '[');
		for (uint32_t i = 0; i < v->n && b->len < TEMPLATE_OUTPUT_MAX; i++) {
			if (i > 0)
				buf_lit(b, ", ");
			put_val(b, &v->items[i]);
		}
		buf_putc(b, ']');
		break;
	default:
		json_put(b, v, JSON_COMPACT);
	}
}

static void put_html(struct buf *b, struct slice s)
{
	static const char from[] = "<>\"&'`=";
	static const char *const to[] = { "&lt;", "&gt;", "&quot;", "&amp;", "&#x27;", "&#x60;", "&#x3D;" };
	for (size_t i = 0; i < s.len; i++) {
		const char *found = s.ptr[i] != '\0' ? strchr(from, s.ptr[i]) : NULL;
		if (found != NULL)
			buf_cstr_put(b, to[found - from]);
		else
			buf_putc(b, s.ptr[i]);
	}
}

static void put(struct hrender *r, const struct val *v, bool raw)
{
	if (raw || !r->escape) {
		put_val(r->out, v);
		return;
	}
	struct buf text = { 0 };
	put_val(&text, v);
	put_html(r->out, buf_view(&text));
	buf_fini(&text);
}

/* Evaluated parameters of a helper. */
struct params {
	const struct val **at;
	size_t n;
};

static int eval_params(struct hrender *r, const struct hbs_call *c, size_t need, struct params *out)
{
	*out = (struct params){ arena_alloc(r->a, (c->n + 1) * sizeof *out->at), c->n };
	if (c->n < need)
		return fail(r, "Helper/Decorator %.*s param at index %zu required but not found", SLICE_ARG(c->head.path.raw), c->n);
	for (size_t i = 0; i < c->n; i++) {
		int rc = eval_param(r, &c->params[i], &out->at[i]);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static double number_of(const struct val *v)
{
	return v->type == VAL_INT ? (double)v->i : v->type == VAL_UINT ? (double)v->u : v->f;
}

static bool is_number(const struct val *v)
{
	return v->type == VAL_INT || v->type == VAL_UINT || v->type == VAL_FLOAT;
}

/* -1, 0, 1; 2: they cannot be compared. */
static int compare(const struct val *a, const struct val *b)
{
	if (is_number(a) && is_number(b))
		return number_of(a) < number_of(b) ? -1 : number_of(a) > number_of(b);
	if (a->type == VAL_STR && b->type == VAL_STR) {
		int c = slice_cmp(a->s, b->s);
		return c < 0 ? -1 : c > 0;
	}
	return 2;
}

enum fn { FN_EQ, FN_NE, FN_GT, FN_GTE, FN_LT, FN_LTE, FN_AND, FN_OR, FN_NOT, FN_LEN, FN_LOOKUP, FN_LOG };
static const struct {
	const char *name;
	enum fn fn;
	size_t params;
} FUNCTIONS[] = {
	{ "eq", FN_EQ, 2 }, { "ne", FN_NE, 2 }, { "gt", FN_GT, 2 }, { "gte", FN_GTE, 2 }, { "lt", FN_LT, 2 }, { "lte", FN_LTE, 2 }, { "and", FN_AND, 0 },
	{ "or", FN_OR, 0 }, { "not", FN_NOT, 1 }, { "len", FN_LEN, 1 }, { "lookup", FN_LOOKUP, 2 }, { "log", FN_LOG, 0 },
};

static const struct val *lookup_in(struct hrender *r, const struct val *v, const struct val *key)
{
	struct buf b = { 0 };
	put_val(&b, key);
	const struct val *found = get(v, arena_dup(r->a, buf_view(&b)));
	buf_fini(&b);
	return found != NULL ? found : &NOTHING;
}

static bool all_or_any(const struct params *p, bool all)
{
	for (size_t i = 0; i < p->n; i++)
		if (truthy(p->at[i], false) != all)
			return !all;
	return all;
}

static struct val call_function(struct hrender *r, enum fn fn, const struct params *p)
{
	int c = p->n >= 2 ? compare(p->at[0], p->at[1]) : 2;
	switch (fn) {
	case FN_EQ:	return val_bool(val_eq(p->at[0], p->at[1]));
	case FN_NE:	return val_bool(!val_eq(p->at[0], p->at[1]));
	case FN_GT:	return val_bool(c == 1);
	case FN_GTE:	return val_bool(c == 1 || c == 0);
	case FN_LT:	return val_bool(c == -1);
	case FN_LTE:	return val_bool(c == -1 || c == 0);
	case FN_AND:	return val_bool(all_or_any(p, true));
	case FN_OR:	return val_bool(all_or_any(p, false));
	case FN_NOT:	return val_bool(!truthy(p->at[0], false));
	case FN_LEN:	return val_int(p->at[0]->type == VAL_STR ? (int64_t)p->at[0]->s.len : p->at[0]->type >= VAL_LIST ? p->at[0]->n : 0);
	case FN_LOOKUP:	return *lookup_in(r, p->at[0], p->at[1]);
	case FN_LOG:	return val_null();
	}
	return val_null();
}

/* The name that a call begins with, when it is a bare one. */
static struct slice helper_name(const struct hbs_call *c)
{
	const struct hbs_path *p = &c->head.path;
	return c->head.kind == HBS_PATH && !p->at && !p->this && p->up == 0 && p->n == 1 ? p->segs[0] : SLICE_NONE;
}

static int eval_call(struct hrender *r, const struct hbs_call *c, const struct val **out)
{
	struct slice name = helper_name(c);
	struct params p;
	int rc = step(r);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < ARRAY_LEN(FUNCTIONS); i++)
		if (slice_eq_cstr(name, FUNCTIONS[i].name) && (c->n > 0 || c->n_named > 0)) {
			if ((rc = eval_params(r, c, FUNCTIONS[i].params, &p)) == 0)
				*out = keep(r, call_function(r, FUNCTIONS[i].fn, &p));
			return rc;
		}
	if (c->n > 0 || c->n_named > 0)
		return fail(r, "Helper not found %.*s", SLICE_ARG(c->head.path.raw));
	return eval_param(r, &c->head, out);
}

static struct scope *push(struct hrender *r, const struct val *this)
{
	struct scope *s = arena_alloc(r->a, sizeof *s);
	s->up = r->scope;
	s->this = this;
	s->data = val_obj();
	r->scope = s;
	return s;
}

static void bind(struct scope *s, const struct hbs_call *c, size_t i, const struct val *v)
{
	if (i >= c->n_locals)
		return;
	s->names[s->n] = c->locals[i];
	s->values[s->n++] = v;
}

static int each_item(struct hrender *r, const struct hbs_node *n, const struct val *item, const struct val *key, size_t i, size_t total)
{
	struct scope *before = r->scope, *s = push(r, item);
	val_put_lit(r->a, &s->data, "index", val_int((int64_t)i));
	val_put_lit(r->a, &s->data, "key", *key);
	val_put_lit(r->a, &s->data, "first", val_bool(i == 0));
	val_put_lit(r->a, &s->data, "last", val_bool(i + 1 == total));
	bind(s, n->call, 0, item);
	bind(s, n->call, 1, key);
	int rc = step(r);
	if (rc == 0)
		rc = run(r, &n->body);
	r->scope = before;
	return rc;
}

static int run_each(struct hrender *r, const struct hbs_node *n, const struct params *p)
{
	const struct val *v = p->at[0];
	int rc = 0;
	if ((v->type != VAL_LIST && v->type != VAL_OBJ) || v->n == 0)
		return run(r, &n->other);
	if (v->type == VAL_LIST) {
		for (uint32_t i = 0; i < v->n && rc == 0; i++)
			rc = each_item(r, n, &v->items[i], keep(r, val_int(i)), i, v->n);
		return rc;
	}
	const struct val_member **order = sorted_members(v);
	for (uint32_t i = 0; i < v->n && rc == 0; i++)
		rc = each_item(r, n, &order[i]->val, keep(r, (struct val){ .type = VAL_STR, .s = order[i]->key }), i, v->n);
	free(order);
	return rc;
}

static int run_with(struct hrender *r, const struct hbs_node *n, const struct params *p)
{
	if (!truthy(p->at[0], false))
		return run(r, &n->other);
	struct scope *before = r->scope, *s = push(r, p->at[0]);
	bind(s, n->call, 0, p->at[0]);
	int rc = run(r, &n->body);
	r->scope = before;
	return rc;
}

static int run_condition(struct hrender *r, const struct hbs_node *n, const struct params *p, bool wanted)
{
	bool include_zero = false;
	for (size_t i = 0; i < n->call->n_named; i++) {
		const struct val *v;
		int rc = eval_param(r, &n->call->named[i].value, &v);
		if (rc < 0)
			return rc;
		if (slice_eq_cstr(n->call->named[i].name, "includeZero"))
			include_zero = truthy(v, false);
	}
	return run(r, truthy(p->at[0], include_zero) == wanted ? &n->body : &n->other);
}

/* A function used as a block: its body when it holds. */
static int run_function_block(struct hrender *r, const struct hbs_node *n)
{
	const struct val *v;
	int rc = eval_call(r, n->call, &v);
	return rc < 0 ? rc : run(r, truthy(v, false) ? &n->body : &n->other);
}

static int run_block(struct hrender *r, const struct hbs_node *n)
{
	struct slice name = helper_name(n->call);
	struct params p;
	int rc;
	for (size_t i = 0; i < ARRAY_LEN(FUNCTIONS); i++)
		if (slice_eq_cstr(name, FUNCTIONS[i].name))
			return run_function_block(r, n);
	if (!slice_eq_cstr(name, "if") && !slice_eq_cstr(name, "unless") && !slice_eq_cstr(name, "each") && !slice_eq_cstr(name, "with"))
		return fail(r, "Helper not found %.*s", SLICE_ARG(n->call->head.path.raw));
	if ((rc = eval_params(r, n->call, 1, &p)) < 0)
		return rc;
	if (slice_eq_cstr(name, "each"))
		return run_each(r, n, &p);
	if (slice_eq_cstr(name, "with"))
		return run_with(r, n, &p);
	return run_condition(r, n, &p, slice_eq_cstr(name, "if"));
}

static void add_partial(struct hrender *r, struct slice name, const struct hbs_list *body)
{
	struct partial *p = arena_alloc(r->a, sizeof *p);
	*p = (struct partial){ r->partials, name, body };
	r->partials = p;
}

/* A partial's name: a word, a text, or what a subexpression gives. */
static int partial_name(struct hrender *r, const struct hbs_call *c, struct slice *out)
{
	const struct val *v;
	struct buf b = { 0 };
	if (c->head.kind == HBS_PATH) {
		*out = c->head.path.raw;
		return 0;
	}
	int rc = eval_param(r, &c->head, &v);
	if (rc < 0)
		return rc;
	put_val(&b, v);
	*out = arena_dup(r->a, buf_view(&b));
	buf_fini(&b);
	return 0;
}

/* The context of a partial: its parameter, with the named ones put in. */
static int partial_context(struct hrender *r, const struct hbs_call *c, const struct val **out)
{
	*out = r->scope->this;
	int rc = c->n > 0 ? eval_param(r, &c->params[0], out) : 0;
	if (rc < 0 || c->n_named == 0)
		return rc;
	struct val *v = arena_alloc(r->a, sizeof *v);
	*v = (*out)->type == VAL_OBJ ? val_copy(r->a, *out) : val_obj();
	for (size_t i = 0; i < c->n_named && rc == 0; i++) {
		const struct val *item;
		if ((rc = eval_param(r, &c->named[i].value, &item)) == 0)
			val_put(r->a, v, c->named[i].name, *item);
	}
	*out = v;
	return rc;
}

static int run_partial(struct hrender *r, const struct hbs_node *n)
{
	struct slice name;
	const struct val *context;
	struct partial *before = r->partials, *p;
	int rc = partial_name(r, n->call, &name);
	if (rc < 0)
		return rc;
	for (p = r->partials; p != NULL && !slice_eq(p->name, name);)
		p = p->next;
	if (p == NULL && n->kind == HBS_PARTIAL_BLOCK)
		return run(r, &n->body);
	if (p == NULL)
		return fail(r, "Partial not found %.*s", SLICE_ARG(name));
	if ((rc = partial_context(r, n->call, &context)) < 0)
		return rc;
	struct scope *scope = r->scope;
	if (n->kind == HBS_PARTIAL_BLOCK)
		add_partial(r, SLICE("@partial-block"), &n->body);
	push(r, context);
	rc = run(r, p->body);
	r->scope = scope;
	r->partials = before;
	return rc;
}

/* {{#*inline "name"}} */
static int run_inline(struct hrender *r, const struct hbs_node *n)
{
	struct params p;
	struct buf b = { 0 };
	if (!slice_eq_cstr(helper_name(n->call), "inline"))
		return fail(r, "Decorator not found %.*s", SLICE_ARG(n->call->head.path.raw));
	int rc = eval_params(r, n->call, 1, &p);
	if (rc < 0)
		return rc;
	put_val(&b, p.at[0]);
	add_partial(r, arena_dup(r->a, buf_view(&b)), &n->body);
	buf_fini(&b);
	return 0;
}

static int run_node(struct hrender *r, const struct hbs_node *n)
{
	const struct val *v;
	int rc;
	r->at = n;
	switch (n->kind) {
	case HBS_TEXT:
		buf_slice(r->out, n->text);
		return 0;
	case HBS_VALUE:
	case HBS_RAW_VALUE:
		if ((rc = eval_call(r, n->call, &v)) == 0)
			put(r, v, n->kind == HBS_RAW_VALUE);
		return rc;
	case HBS_BLOCK:
		return run_block(r, n);
	case HBS_PARTIAL:
	case HBS_PARTIAL_BLOCK:
		return run_partial(r, n);
	case HBS_INLINE:
		return run_inline(r, n);
	}
	return 0;
}

static int run(struct hrender *r, const struct hbs_list *list)
{
	for (size_t i = 0; i < list->n; i++) {
		int rc = step(r);
		if (rc < 0 || (rc = run_node(r, list->items[i])) < 0)
			return rc;
	}
	return 0;
}

int hbs_render(const struct template *t, const struct val *context, struct buf *out)
{
	char here;
	struct hrender r = { .t = t, .a = arena_create(), .out = out, .root = context, .at = t->hbs, .escape = slice_ends(t->name, SLICE(".html")),
		.stack_base = &here };
	push(&r, context);
	int rc = run(&r, &t->hbs->body);
	if (rc == 0)
		rc = step(&r);	/* the last value may have been cut at the limit */
	arena_destroy(&r.a);
	return rc;
}
