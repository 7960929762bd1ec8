/* SPDX-License-Identifier: Apache-2.0 */
/* Statements: a walk over the nodes of a template, with its scopes, loops, macros and inheritance. */
#include "codec/template/tpl.h"

/* The versions of a block, the most derived first. */
struct version {
	const struct node *node;
	const struct template *t;
	struct version *base;
};
struct block_chain {
	struct block_chain *next;
	struct slice name;
	struct version *first, *running;
};
/* Templates that the loader gave, in use until the end. */
struct held {
	struct held *next;
	struct template *t;
	bool parent;
};

static int run(struct render *r, const struct nodes *list);

static struct frame *push_frame(struct render *r, struct frame *up)
{
	struct frame *f = arena_alloc(r->a, sizeof *f), *before = r->frame;
	f->up = up;
	r->frame = f;
	return before;
}

static void assign_name(struct render *r, struct slice name, struct tv v)
{
	tmap_put(r, &r->frame->vars, tv_str(name), v);
}

int put_escaped(struct render *r, struct buf *b, const struct tv *v)
{
	if (r->escape == ESCAPE_NONE || (v->kind == TV_STR && v->safe)) {
		tv_put(b, v);
		return 0;
	}
	if (r->escape == ESCAPE_JSON)
		return tv_put_json(r, b, v, 0, false);
	if (v->kind == TV_STR) {
		html_put(b, v->s);
	} else if (v->kind == TV_INT || v->kind == TV_FLOAT || v->kind == TV_BOOL || v->kind == TV_NONE || v->kind == TV_UNDEF) {
		tv_put(b, v);
	} else {
		struct buf text = { 0 };
		tv_put(&text, v);
		html_put(b, buf_view(&text));
		buf_fini(&text);
	}
	return 0;
}

/* Runs a body into a text, which needs no escaping any more where escaping is on. */
static int capture(struct render *r, const struct nodes *body, struct tv *out)
{
	struct buf text = { 0 }, *before = r->out;
	r->out = &text;
	int rc = run(r, body);
	r->out = before;
	*out = tv_str(tpl_keep(r, &text));
	out->safe = r->escape != ESCAPE_NONE;
	return rc;
}

static int assign_attr(struct render *r, const struct target *t, struct tv v)
{
	struct tv of;
	int rc = eval(r, t->of, &of);
	if (rc < 0)
		return rc;
	if (of.kind != TV_OBJ || of.obj->kind != OBJ_NAMESPACE)
		return tpl_fail(r, "invalid operation", "can only assign to namespaces, not to %s", tv_kind_name(&of));
	tmap_put(r, of.obj->map, tv_str(t->name), v);
	return 0;
}

static int assign(struct render *r, const struct target *t, struct tv v)
{
	struct tv list;
	int rc;
	switch (t->kind) {
	case TARGET_NAME:
		assign_name(r, t->name, v);
		return 0;
	case TARGET_ATTR:
		return assign_attr(r, t, v);
	case TARGET_LIST:
		break;
	}
	if (!tv_is_list(&v) && !tv_is_map(&v))
		return tpl_fail(r, "cannot unpack", "value is not iterable");
	if ((rc = to_list(r, &v, &list)) < 0)
		return rc;
	if (list.l.n != t->n)
		return tpl_fail(r, "cannot unpack", "sequence of wrong length (expected %zu, got %zu)", t->n, list.l.n);
	for (size_t i = 0; i < t->n; i++)
		if ((rc = assign(r, &t->items[i], list.l.items[i])) < 0)
			return rc;
	return 0;
}

/* Keeps the items for which the loop's condition holds, judged in a scope of their own. */
static int filter_items(struct render *r, const struct node *n, struct tv *list)
{
	struct tv *kept = arena_alloc(r->a, list->l.n * sizeof *kept), v;
	struct frame *before = push_frame(r, r->frame);
	size_t k = 0;
	int rc = 0;
	for (size_t i = 0; i < list->l.n && rc == 0; i++)
		if ((rc = assign(r, &n->target, list->l.items[i])) == 0 && (rc = eval(r, n->e2, &v)) == 0 && tv_true(&v))
			kept[k++] = list->l.items[i];
	r->frame = before;
	*list = tv_list(kept, k);
	return rc;
}

static int loop_over(struct render *r, const struct node *n, const struct tv *over, int depth, struct frame *outer)
{
	struct tv list;
	int rc = to_list(r, over, &list);
	if (rc == 0 && n->e2 != NULL)
		rc = filter_items(r, n, &list);
	if (rc < 0)
		return rc;
	if (list.l.n == 0)
		return run(r, &n->other);
	struct loop *l = arena_alloc(r->a, sizeof *l);
	struct tobj *o = arena_alloc(r->a, sizeof *o);
	*l = (struct loop){ .n = list.l.n, .items = list.l.items, .depth = depth, .node = n->flag ? n : NULL, .outer = outer };
	o->kind = OBJ_LOOP;
	o->loop = l;
	struct frame *before = push_frame(r, outer);
	r->frame->loop = l;
	assign_name(r, SLICE("loop"), tv_obj(o));
	for (; l->index < l->n && rc == 0; l->index++) {
		r->line = n->line;
		if ((rc = assign(r, &n->target, l->items[l->index])) == 0)
			rc = run(r, &n->body);
		bool stop = r->flow == FLOW_BREAK;
		r->flow = FLOW_ON;
		if (stop)
			break;
	}
	r->frame = before;
	return rc;
}

static int run_for(struct render *r, const struct node *n)
{
	struct tv over;
	int rc = eval(r, n->e, &over), depth = 0;
	for (const struct frame *f = r->frame; f != NULL && !f->barrier; f = f->up)
		if (f->loop != NULL) {
			depth = f->loop->depth + (f->loop->node != NULL && f->loop->node == n);
			break;
		}
	r->line = n->line;
	return rc < 0 ? rc : loop_over(r, n, &over, depth, r->frame);
}

int call_loop(struct render *r, struct loop *l, struct call *c, struct tv *out)
{
	struct buf text = { 0 }, *before = r->out;
	if (l->node == NULL)
		return tpl_fail(r, "invalid operation", "cannot call non-recursive loop");
	if (c->n != 1 || c->kwargs->n > 0)
		return tpl_fail_kind(r, c->n < 1 ? "missing argument" : "too many arguments");
	struct frame *frame = r->frame;
	r->out = &text;
	int rc = loop_over(r, l->node, &c->args[0], l->depth + 1, l->outer);
	r->out = before;
	r->frame = frame;
	*out = tv_str(tpl_keep(r, &text));
	out->safe = r->escape != ESCAPE_NONE;
	return rc;
}

static struct tv macro_value(struct render *r, const struct node *n)
{
	struct tobj *o = arena_alloc(r->a, sizeof *o);
	o->kind = OBJ_MACRO;
	o->macro.node = n;
	o->macro.closure = r->frame;
	o->macro.t = r->t;
	return tv_obj(o);
}

/* The value of parameter I: by place, by name, or its default. */
static int bind_param(struct render *r, const struct node *n, size_t i, struct call *c)
{
	const struct assign *p = &n->assigns[i];
	const struct tv *named = NULL;
	struct tv v = tv_undef();
	for (size_t k = 0; k < c->kwargs->n; k++)
		if (slice_eq(c->kwargs->pairs[k].key.s, p->target.name)) {
			named = &c->kwargs->pairs[k].value;
			c->used |= k < 64 ? (uint64_t)1 << k : 0;
		}
	if ((int)i < c->n && named != NULL)
		return tpl_fail(r, "too many arguments", "duplicate argument `%.*s`", SLICE_ARG(p->target.name));
	if ((int)i < c->n)
		v = c->args[i];
	else if (named != NULL)
		v = *named;
	if (v.kind == TV_UNDEF && p->value != NULL) {
		int rc = eval(r, p->value, &v);
		if (rc < 0)
			return rc;
	}
	assign_name(r, p->target.name, v);
	return 0;
}

static int bind_params(struct render *r, const struct tobj *macro, struct call *c)
{
	const struct node *n = macro->macro.node;
	struct tv self = { .kind = TV_OBJ, .obj = (struct tobj *)macro }, uses;
	int rc;
	if (c->n > (int)n->n)
		return tpl_fail_kind(r, "too many arguments");
	for (size_t i = 0; i < n->n; i++)
		if ((rc = bind_param(r, n, i, c)) < 0)
			return rc;
	if ((rc = get_attr(r, &self, SLICE("caller"), &uses)) < 0)
		return rc;
	if (tv_true(&uses)) {
		const struct tv *caller = kwarg(c, "caller");
		assign_name(r, SLICE("caller"), caller != NULL ? *caller : tv_undef());
	}
	for (size_t k = 0; k < c->kwargs->n; k++)
		if (k >= 64 || !(c->used >> k & 1)) {
			struct slice name = to_text(r, &c->kwargs->pairs[k].key);
			return tpl_fail(r, "too many arguments", "unknown keyword argument `%.*s`", SLICE_ARG(name));
		}
	return 0;
}

int call_macro(struct render *r, const struct tobj *macro, struct call *c, struct tv *out)
{
	const struct template *t = r->t;
	uint32_t line = r->line;
	struct frame *before = push_frame(r, macro->macro.closure);
	r->frame->barrier = true;
	int rc = bind_params(r, macro, c);
	if (rc == 0) {
		r->t = macro->macro.t;
		rc = capture(r, &macro->macro.node->body, out);
	}
	if (rc == 0) {
		r->t = t;
		r->line = line;
	}
	r->frame = before;
	return rc;
}

/* {% call(args) macro(…) %}body{% endcall %}: the body is a macro too. */
static int run_call_block(struct render *r, const struct node *n)
{
	struct arg caller = { ARG_NAMED, SLICE("caller"), NULL };
	struct expr call = *n->e, value = { .kind = E_CONST, .line = n->line, .value = macro_value(r, n) };
	struct tv v;
	caller.e = &value;
	call.args = arena_alloc(r->a, (call.n + 1) * sizeof *call.args);
	if (call.n > 0)
		memcpy(call.args, n->e->args, call.n * sizeof *call.args);
	call.args[call.n++] = caller;
	int rc = eval(r, &call, &v);
	return rc < 0 ? rc : put_escaped(r, r->out, &v);
}

static struct block_chain *find_chain(struct render *r, struct slice name)
{
	struct block_chain *c = r->blocks;
	while (c != NULL && !slice_eq(c->name, name))
		c = c->next;
	return c;
}

/* The blocks of a template behind those that extend it. */
static void add_blocks(struct render *r, const struct template *t)
{
	for (size_t i = 0; i < t->n_blocks; i++) {
		struct block_chain *c = find_chain(r, t->blocks[i].name);
		struct version *v = arena_alloc(r->a, sizeof *v), **end;
		*v = (struct version){ t->blocks[i].node, t, NULL };
		if (c == NULL) {
			c = arena_alloc(r->a, sizeof *c);
			c->name = t->blocks[i].name;
			c->next = r->blocks;
			r->blocks = c;
		}
		for (end = &c->first; *end != NULL; end = &(*end)->base)
			;
		*end = v;
	}
}

static int run_version(struct render *r, struct block_chain *c, struct version *v)
{
	const struct template *t = r->t;
	struct slice name = r->current_block;
	struct version *running = c->running;
	const struct template *parent = r->parent;
	if (v->node->flag && c->first->base == NULL)
		return tpl_fail(r, "invalid operation", "required block '%.*s' not overridden", SLICE_ARG(c->name));
	struct frame *before = push_frame(r, r->frame);
	r->t = v->t;
	r->current_block = c->name;
	r->parent = NULL;
	c->running = v;
	int rc = run(r, &v->node->body);
	c->running = running;
	r->parent = parent;
	r->current_block = name;
	r->frame = before;
	if (rc == 0)
		r->t = t;
	return rc;
}

static int capture_version(struct render *r, struct block_chain *c, struct version *v, struct tv *out)
{
	struct buf text = { 0 }, *before = r->out;
	r->out = &text;
	int rc = run_version(r, c, v);
	r->out = before;
	*out = tv_str(tpl_keep(r, &text));
	out->safe = r->escape != ESCAPE_NONE;
	return rc;
}

int call_super(struct render *r, struct tv *out)
{
	struct block_chain *c = r->current_block.ptr != NULL ? find_chain(r, r->current_block) : NULL;
	if (c == NULL)
		return tpl_fail(r, "invalid operation", "cannot super outside of block");
	if (c->running->base == NULL)
		return tpl_fail(r, "invalid operation", "no parent block exists");
	const struct template *t = r->t;
	uint32_t line = r->line;
	int rc = capture_version(r, c, c->running->base, out);
	if (rc < 0)
		err_put("could not render block: error in super block (in %.*s:%u): %s", SLICE_ARG(t->name), line, err_text());
	return rc;
}

int call_self_block(struct render *r, struct slice name, struct tv *out)
{
	struct block_chain *c = find_chain(r, name);
	if (c == NULL)
		return tpl_fail(r, "unknown block", "block '%.*s' not found", SLICE_ARG(name));
	return capture_version(r, c, c->first, out);
}

static int run_block(struct render *r, const struct node *n)
{
	if (r->parent != NULL)	/* the parent's text has a place for it */
		return 0;
	struct block_chain *c = find_chain(r, n->text);
	return run_version(r, c, c->first);
}

/* A template of the loader's, or NULL. */
static struct template *load(struct render *r, struct slice name)
{
	struct template *t = r->loader != NULL ? r->loader(r->loader_ctx, name) : NULL;
	if (t == NULL)
		return NULL;
	struct held *h = arena_alloc(r->a, sizeof *h);
	h->t = t;
	h->next = r->held;
	r->held = h;
	return t;
}

static int run_extends(struct render *r, const struct node *n)
{
	struct tv name;
	int rc = eval(r, n->e, &name);
	if (rc < 0)
		return rc;
	r->line = n->line;
	if (r->parent != NULL)
		return tpl_fail(r, "invalid operation", "tried to extend a second time in a template");
	struct slice text = to_text(r, &name);
	for (const struct held *h = r->held; h != NULL; h = h->next)
		if (h->parent && slice_eq(h->t->name, text))
			return tpl_fail(r, "invalid operation", "cycle in template inheritance. \"%.*s\" was referenced more than once", SLICE_ARG(text));
	struct template *t = load(r, text);
	if (t == NULL)
		return tpl_fail(r, "template not found", "template \"%.*s\" does not exist", SLICE_ARG(text));
	r->held->parent = true;
	add_blocks(r, t);
	r->parent = t;
	return 0;
}

/* What a template and those that it extends print. */
static int run_template(struct render *r, const struct template *t)
{
	const struct template *parent = r->parent;
	int rc;
	for (;;) {
		r->t = t;
		r->parent = NULL;
		rc = run(r, &t->body);
		if (rc < 0 || r->parent == NULL)
			break;
		t = r->parent;
	}
	r->parent = parent;
	return rc;
}

/* Another template within this one: its blocks are its own. */
static int run_inner(struct render *r, const struct template *t)
{
	const struct template *outer = r->t;
	struct block_chain *blocks = r->blocks;
	struct slice block = r->current_block;
	enum escape_mode escape = r->escape;
	r->blocks = NULL;
	r->current_block = SLICE_NONE;
	r->escape = t->escape;
	add_blocks(r, t);
	uint32_t line = r->line;
	int rc = run_template(r, t);
	if (rc < 0)
		err_put("could not render include: error in \"%.*s\" (in %.*s:%u): %s", SLICE_ARG(t->name), SLICE_ARG(outer->name), line, err_text());
	r->blocks = blocks;
	r->current_block = block;
	r->escape = escape;
	if (rc == 0)
		r->t = outer;
	return rc;
}

/* The first of the named templates that exists; *MISSING tells that there is none. */
static int load_choice(struct render *r, const struct tv *names, struct template **out)
{
	struct tv list;
	*out = NULL;
	if (!tv_is_list(names)) {
		*out = load(r, to_text(r, names));
		return *out != NULL ? 0 : tpl_fail(r, "template not found", "tried to include non-existing template \"%.*s\"", SLICE_ARG(to_text(r, names)));
	}
	int rc = to_list(r, names, &list);
	for (size_t i = 0; rc == 0 && i < list.l.n && *out == NULL; i++)
		*out = load(r, to_text(r, &list.l.items[i]));
	if (rc == 0 && *out == NULL) {
		struct slice text = to_text(r, &list);
		rc = tpl_fail(r, "template not found", "tried to include one of multiple templates, none of which existed %.*s", SLICE_ARG(text));
	}
	return rc;
}

static int run_include(struct render *r, const struct node *n)
{
	struct template *t;
	struct tv names;
	int rc = eval(r, n->e, &names);
	if (rc < 0)
		return rc;
	r->line = n->line;
	if ((rc = load_choice(r, &names, &t)) < 0) {
		if (t != NULL || !n->flag)
			return rc;
		r->failed = false;
		return 0;
	}
	return run_inner(r, t);	/* in this scope: what it sets and defines stays */
}

/* The module that importing a template gives: its names, and what it printed. */
static int import_module(struct render *r, const struct expr *e, uint32_t line, struct tobj **out)
{
	struct template *t;
	struct tv names;
	struct buf text = { 0 }, *before_out = r->out;
	int rc = eval(r, e, &names);
	if (rc < 0)
		return rc;
	r->line = line;
	if ((rc = load_choice(r, &names, &t)) < 0)
		return rc;
	struct frame *before = push_frame(r, r->frame);
	r->out = &text;
	rc = run_inner(r, t);
	r->out = before_out;
	*out = arena_alloc(r->a, sizeof **out);
	(*out)->kind = OBJ_MODULE;
	(*out)->map = &r->frame->vars;
	(*out)->body = tpl_keep(r, &text);
	r->frame = before;
	return rc;
}

static int run_import(struct render *r, const struct node *n)
{
	struct tobj *module;
	int rc = import_module(r, n->e, n->line, &module);
	return rc < 0 ? rc : assign(r, &n->target, tv_obj(module));
}

static int run_from(struct render *r, const struct node *n)
{
	struct tobj *module;
	int rc = import_module(r, n->e, n->line, &module);
	for (size_t i = 0; rc == 0 && i < n->n_names; i++) {
		const struct tv *v = tmap_get_str(module->map, n->names[i].name);
		assign_name(r, n->names[i].as, v != NULL ? *v : tv_undef());
	}
	return rc;
}

static int run_if(struct render *r, const struct node *n)
{
	struct tv v;
	int rc = eval(r, n->e, &v);
	return rc < 0 ? rc : run(r, tv_true(&v) ? &n->body : &n->other);
}

/* Applies the filters of E, whose innermost operand is missing, to V. */
static int apply_filters(struct render *r, const struct expr *e, struct tv *v)
{
	struct expr held = { .kind = E_CONST, .line = e->line, .value = *v }, *copy = arena_alloc(r->a, sizeof *copy), *inner = copy;
	*copy = *e;
	while (inner->a != NULL) {
		struct expr *next = arena_alloc(r->a, sizeof *next);
		*next = *inner->a;
		inner->a = next;
		inner = next;
	}
	inner->a = &held;
	return eval(r, copy, v);
}

static int run_set_block(struct render *r, const struct node *n)
{
	struct tv v;
	struct frame *before = push_frame(r, r->frame);
	int rc = capture(r, &n->body, &v);
	r->frame = before;
	if (rc == 0 && n->e != NULL)
		rc = apply_filters(r, n->e, &v);
	return rc < 0 ? rc : assign(r, &n->target, v);
}

static int run_with(struct render *r, const struct node *n)
{
	struct frame *before = push_frame(r, r->frame);
	int rc = 0;
	for (size_t i = 0; i < n->n && rc == 0; i++) {
		struct tv v;
		if ((rc = eval(r, n->assigns[i].value, &v)) == 0)
			rc = assign(r, &n->assigns[i].target, v);
	}
	if (rc == 0)
		rc = run(r, &n->body);
	r->frame = before;
	return rc;
}

static int run_filter_block(struct render *r, const struct node *n)
{
	struct tv v;
	struct frame *before = push_frame(r, r->frame);
	int rc = capture(r, &n->body, &v);
	r->frame = before;
	if (rc == 0)
		rc = apply_filters(r, n->e, &v);
	return rc < 0 ? rc : put_escaped(r, r->out, &v);
}

static int run_autoescape(struct render *r, const struct node *n)
{
	enum escape_mode before = r->escape;
	struct tv v;
	int rc = eval(r, n->e, &v);
	if (rc < 0)
		return rc;
	if (v.kind == TV_STR && slice_eq_cstr(v.s, "html"))
		r->escape = ESCAPE_HTML;
	else if (v.kind == TV_STR && slice_eq_cstr(v.s, "json"))
		r->escape = ESCAPE_JSON;
	else if ((v.kind == TV_STR && slice_eq_cstr(v.s, "none")) || (v.kind == TV_BOOL && !v.b))
		r->escape = ESCAPE_NONE;
	else if (v.kind == TV_BOOL)
		r->escape = r->t->escape == ESCAPE_NONE ? ESCAPE_HTML : r->t->escape;
	else
		return tpl_fail(r, "invalid operation", "invalid value to autoescape tag");
	rc = run(r, &n->body);
	r->escape = before;
	return rc;
}

static int run_print(struct render *r, const struct node *n)
{
	struct tv v;
	int rc = eval(r, n->e, &v);
	return rc < 0 || r->parent != NULL ? rc : put_escaped(r, r->out, &v);
}

static int run_set(struct render *r, const struct node *n)
{
	struct tv v;
	int rc = eval(r, n->e, &v);
	return rc < 0 ? rc : assign(r, &n->target, v);
}

static int run_do(struct render *r, const struct node *n)
{
	struct tv v;
	return eval(r, n->e, &v);
}

static int run_node(struct render *r, const struct node *n)
{
	switch (n->kind) {
	case N_TEXT:
		if (r->parent == NULL)
			buf_slice(r->out, n->text);
		return 0;
	case N_PRINT:		return run_print(r, n);
	case N_IF:		return run_if(r, n);
	case N_FOR:		return run_for(r, n);
	case N_SET:		return run_set(r, n);
	case N_SETBLOCK:	return run_set_block(r, n);
	case N_WITH:		return run_with(r, n);
	case N_FILTER:		return run_filter_block(r, n);
	case N_AUTOESCAPE:	return run_autoescape(r, n);
	case N_BLOCK:		return run_block(r, n);
	case N_EXTENDS:		return run_extends(r, n);
	case N_INCLUDE:		return run_include(r, n);
	case N_IMPORT:		return run_import(r, n);
	case N_FROM:		return run_from(r, n);
	case N_CALLBLOCK:	return run_call_block(r, n);
	case N_DO:		return run_do(r, n);
	case N_MACRO:
		assign_name(r, n->text, macro_value(r, n));
		return 0;
	case N_BREAK:
		r->flow = FLOW_BREAK;
		return 0;
	case N_CONTINUE:
		r->flow = FLOW_CONTINUE;
		return 0;
	}
	return 0;
}

static int run(struct render *r, const struct nodes *list)
{
	for (size_t i = 0; i < list->n && r->flow == FLOW_ON; i++) {
		int rc = tpl_step(r);
		r->line = list->items[i]->line;
		if (rc < 0 || (rc = run_node(r, list->items[i])) < 0)
			return rc;
	}
	return 0;
}

int jinja_render(const struct template *t, const struct val *context, template_loader_cb loader, void *loader_ctx, struct buf *out)
{
	char here;
	struct render r = { .t = t, .line = 1, .a = arena_create(), .out = out, .context = context, .escape = t->escape, .loader = loader,
		.loader_ctx = loader_ctx, .stack_base = &here };
	push_frame(&r, NULL);
	add_blocks(&r, t);
	int rc = run_template(&r, t);
	if (rc == 0)
		rc = tpl_step(&r);	/* the last value may have been cut at the limit */
	for (struct held *h = r.held; h != NULL; h = h->next)
		template_unref(&h->t);
	arena_destroy(&r.a);
	return rc;
}
