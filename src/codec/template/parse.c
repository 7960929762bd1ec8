/* SPDX-License-Identifier: Apache-2.0 */
/* Statements of Jinja. */
#include "codec/template/parse.h"

/* Where a body ends: at one of these words. */
struct ends {
	const char *words[4];
};

static struct node *node_new(struct parser *p, enum node_kind kind)
{
	struct node *n = arena_alloc(p->a, sizeof *n);
	n->kind = kind;
	n->line = p->tok.line;
	return n;
}

static void add_node(struct parser *p, struct nodes *list, struct node *n)
{
	list->items = parse_grow(p->a, list->items, list->n, sizeof *list->items);
	list->items[list->n++] = n;
}

static int end_tag(struct parser *p)
{
	return p->tok.kind == T_BLOCK_END ? parse_advance(p) : parse_unexpected(p, "end of block");
}

static bool is_end(const struct parser *p, const struct ends *ends)
{
	for (int i = 0; i < 4 && ends->words[i] != NULL; i++)
		if (parse_is_name(p, ends->words[i]))
			return true;
	return false;
}

static int parse_statement(struct parser *p, struct nodes *out);

/* Nodes up to "{% WORD", with WORD as the current token; the end of the template where ENDS has no word. */
static int parse_body(struct parser *p, const struct ends *ends, struct nodes *out)
{
	int rc;
	for (;;) {
		if (p->tok.kind == T_EOF) {
			if (ends->words[0] == NULL)
				return 0;
			return parse_unexpected(p, "end of block");
		}
		struct node *n = node_new(p, p->tok.kind == T_TEXT ? N_TEXT : N_PRINT);
		if (p->tok.kind == T_TEXT) {
			n->text = p->tok.text;
			add_node(p, out, n);
			rc = parse_advance(p);
		} else if (p->tok.kind == T_VAR_BEGIN) {
			if ((rc = parse_advance(p)) < 0 || (rc = parse_expr(p, &n->e)) < 0)
				return rc;
			if (p->tok.kind != T_VAR_END)
				return parse_unexpected(p, "end of variable block");
			add_node(p, out, n);
			rc = parse_advance(p);
		} else {
			if ((rc = parse_advance(p)) < 0)
				return rc;
			if (is_end(p, ends))
				return 0;
			rc = parse_statement(p, out);
		}
		if (rc < 0)
			return rc;
	}
}

/* Behind a statement's head: "%}", body, and the closing word, which is read. */
static int parse_block_body(struct parser *p, struct ends ends, struct nodes *out)
{
	int rc = end_tag(p);
	if (rc < 0 || (rc = parse_deeper(p)) < 0)
		return rc;
	rc = parse_body(p, &ends, out);
	p->depth--;
	return rc;
}

/* The same for one that nothing may follow on the closing tag. */
static int parse_simple_body(struct parser *p, const char *end, struct nodes *out)
{
	int rc = parse_block_body(p, (struct ends){ { end } }, out);
	if (rc < 0 || (rc = parse_advance(p)) < 0)
		return rc;
	return end_tag(p);
}

/* "a", "a.b" (with ATTRS), "a, b", "(a, (b, c))" */
static int parse_target(struct parser *p, bool attrs, struct target *out);

static int parse_one_target(struct parser *p, bool attrs, struct target *out)
{
	struct slice name;
	uint32_t line = p->tok.line;
	int rc;
	if (parse_skip_op(p, "(", &rc)) {
		if (rc < 0 || (rc = parse_deeper(p)) < 0)
			return rc;
		rc = parse_target(p, attrs, out);
		p->depth--;
		return rc < 0 ? rc : parse_need_op(p, ")");
	}
	if ((rc = parse_need_name(p, &name)) < 0)
		return rc;
	static const char *const reserved[] = { "true", "True", "false", "False", "none", "None", "loop", "self" };
	for (size_t i = 0; i < ARRAY_LEN(reserved); i++)
		if (slice_eq_cstr(name, reserved[i]))
			return lex_fail(&p->lex, line, "cannot assign to reserved variable name %s", reserved[i]);
	*out = (struct target){ TARGET_NAME, .name = name };
	while (attrs && parse_skip_op(p, ".", &rc)) {
		struct expr *of = parse_new(p, out->kind == TARGET_NAME ? E_VAR : E_ATTR);
		of->name = out->name;
		of->a = out->of;
		if (rc < 0)
			return rc;
		*out = (struct target){ TARGET_ATTR, .of = of };
		if ((rc = parse_need_name(p, &out->name)) < 0)
			return rc;
	}
	return rc;
}

static int parse_target(struct parser *p, bool attrs, struct target *out)
{
	struct target first, list = { TARGET_LIST };
	int rc = parse_one_target(p, attrs, &first);
	if (rc < 0)
		return rc;
	if (!parse_is_op(p, ",")) {
		*out = first;
		return 0;
	}
	for (;;) {
		list.items = parse_grow(p->a, list.items, list.n, sizeof *list.items);
		list.items[list.n++] = first;
		if (!parse_skip_op(p, ",", &rc) || parse_is_op(p, ")") || parse_is_op(p, "=") || parse_is_name(p, "in"))
			break;
		if (rc < 0 || (rc = parse_one_target(p, attrs, &first)) < 0)
			return rc;
	}
	*out = list;
	return rc;
}

static int parse_if(struct parser *p, struct node *n)
{
	int rc;
	n->kind = N_IF;
	if ((rc = parse_expr_noif(p, &n->e)) < 0 || (rc = parse_block_body(p, (struct ends){ { "endif", "else", "elif" } }, &n->body)) < 0)
		return rc;
	if (parse_is_name(p, "elif")) {
		struct node *inner = node_new(p, N_IF);
		if ((rc = parse_advance(p)) < 0 || (rc = parse_deeper(p)) < 0)
			return rc;
		rc = parse_if(p, inner);
		p->depth--;
		add_node(p, &n->other, inner);
		return rc;
	}
	if (parse_skip_name(p, "else", &rc))
		return rc < 0 ? rc : parse_simple_body(p, "endif", &n->other);
	return (rc = parse_advance(p)) < 0 ? rc : end_tag(p);
}

static int parse_for(struct parser *p, struct node *n)
{
	int rc;
	n->kind = N_FOR;
	if ((rc = parse_target(p, false, &n->target)) < 0)
		return rc;
	if (!parse_is_name(p, "in"))
		return parse_unexpected(p, "in");
	if ((rc = parse_advance(p)) < 0 || (rc = parse_expr_noif(p, &n->e)) < 0)
		return rc;
	if (parse_skip_name(p, "if", &rc) && (rc < 0 || (rc = parse_expr(p, &n->e2)) < 0))
		return rc;
	n->flag = parse_skip_name(p, "recursive", &rc);
	if (rc < 0)
		return rc;
	p->loops++;
	rc = parse_block_body(p, (struct ends){ { "endfor", "else" } }, &n->body);
	p->loops--;
	if (rc < 0)
		return rc;
	if (parse_skip_name(p, "else", &rc))
		return rc < 0 ? rc : parse_simple_body(p, "endfor", &n->other);
	return (rc = parse_advance(p)) < 0 ? rc : end_tag(p);
}

static int parse_set(struct parser *p, struct node *n)
{
	int rc = parse_target(p, true, &n->target);
	if (rc < 0)
		return rc;
	n->kind = N_SET;
	if (parse_skip_op(p, "=", &rc)) {
		struct expr *first;
		if (rc < 0 || (rc = parse_expr(p, &first)) < 0)
			return rc;
		n->e = first;
		if (parse_is_op(p, ",")) {	/* a tuple without brackets */
			n->e = parse_new(p, E_LIST);
			do {
				n->e->items = parse_grow(p->a, n->e->items, n->e->n, sizeof *n->e->items);
				n->e->items[n->e->n++] = first;
			} while (parse_skip_op(p, ",", &rc) && rc == 0 && p->tok.kind != T_BLOCK_END && (rc = parse_expr(p, &first)) == 0);
		}
		return rc < 0 ? rc : end_tag(p);
	}
	n->kind = N_SETBLOCK;
	if (parse_skip_op(p, "|", &rc) && (rc < 0 || (rc = parse_filters(p, &n->e, false)) < 0))
		return rc;
	return parse_simple_body(p, "endset", &n->body);
}

static void add_assign(struct parser *p, struct node *n, struct assign a)
{
	n->assigns = parse_grow(p->a, n->assigns, n->n, sizeof *n->assigns);
	n->assigns[n->n++] = a;
}

static int parse_with(struct parser *p, struct node *n)
{
	int rc;
	n->kind = N_WITH;
	while (p->tok.kind != T_BLOCK_END) {
		struct assign a = { 0 };
		if (n->n > 0 && (rc = parse_need_op(p, ",")) < 0)
			return rc;
		if ((rc = parse_one_target(p, false, &a.target)) < 0 || (rc = parse_need_op(p, "=")) < 0 || (rc = parse_expr(p, &a.value)) < 0)
			return rc;
		add_assign(p, n, a);
	}
	return parse_simple_body(p, "endwith", &n->body);
}

static int parse_filter_block(struct parser *p, struct node *n)
{
	n->kind = N_FILTER;
	int rc = parse_filters(p, &n->e, true);
	return rc < 0 ? rc : parse_simple_body(p, "endfilter", &n->body);
}

static int parse_autoescape(struct parser *p, struct node *n)
{
	n->kind = N_AUTOESCAPE;
	int rc = parse_expr(p, &n->e);
	return rc < 0 ? rc : parse_simple_body(p, "endautoescape", &n->body);
}

static int add_block(struct parser *p, const struct node *n)
{
	struct template *t = p->t;
	for (size_t i = 0; i < t->n_blocks; i++)
		if (slice_eq(t->blocks[i].name, n->text))
			return lex_fail(&p->lex, n->line, "block '%.*s' defined twice", SLICE_ARG(n->text));
	t->blocks = parse_grow(p->a, t->blocks, t->n_blocks, sizeof *t->blocks);
	t->blocks[t->n_blocks++] = (struct tpl_block){ n->text, n };
	return 0;
}

static int parse_block(struct parser *p, struct node *n)
{
	int rc;
	n->kind = N_BLOCK;
	if (p->in_macro)
		return lex_fail(&p->lex, n->line, "block tags in macros are not allowed");
	if ((rc = parse_need_name(p, &n->text)) < 0 || (rc = add_block(p, n)) < 0)
		return rc;
	n->flag = parse_skip_name(p, "required", &rc);
	if (rc < 0 || (rc = parse_block_body(p, (struct ends){ { "endblock" } }, &n->body)) < 0 || (rc = parse_advance(p)) < 0)
		return rc;
	for (size_t i = 0; n->flag && i < n->body.n; i++)
		if (n->body.items[i]->kind != N_TEXT || slice_trim(n->body.items[i]->text).len > 0)
			return lex_fail(&p->lex, n->line, "required blocks can only contain comments or whitespace");
	if (p->tok.kind == T_NAME) {
		if (!slice_eq(p->tok.text, n->text))
			return lex_fail(&p->lex, p->tok.line, "mismatching name on block. Got `%.*s`, expected `%.*s`", SLICE_ARG(p->tok.text), SLICE_ARG(n->text));
		if ((rc = parse_advance(p)) < 0)
			return rc;
	}
	return end_tag(p);
}

static int parse_extends(struct parser *p, struct node *n)
{
	n->kind = N_EXTENDS;
	int rc = parse_expr(p, &n->e);
	return rc < 0 ? rc : end_tag(p);
}

/* "with context" and "without context" change nothing: templates see all. */
static int skip_context_words(struct parser *p)
{
	int rc = 0;
	if (parse_is_name(p, "with") || parse_is_name(p, "without")) {
		if ((rc = parse_advance(p)) < 0)
			return rc;
		if (!parse_skip_name(p, "context", &rc))
			return parse_unexpected(p, "context");
	}
	return rc;
}

static int parse_include(struct parser *p, struct node *n)
{
	int rc;
	n->kind = N_INCLUDE;
	if ((rc = parse_expr(p, &n->e)) < 0)
		return rc;
	if (parse_skip_name(p, "ignore", &rc)) {
		if (rc < 0)
			return rc;
		n->flag = parse_skip_name(p, "missing", &rc);
		if (!n->flag)
			return parse_unexpected(p, "missing keyword");
	}
	if (rc < 0 || (rc = skip_context_words(p)) < 0)
		return rc;
	return end_tag(p);
}

static int parse_import(struct parser *p, struct node *n)
{
	int rc;
	n->kind = N_IMPORT;
	if ((rc = parse_expr(p, &n->e)) < 0)
		return rc;
	if (!parse_skip_name(p, "as", &rc))
		return parse_unexpected(p, "as");
	if (rc < 0 || (rc = parse_one_target(p, false, &n->target)) < 0 || (rc = skip_context_words(p)) < 0)
		return rc;
	return end_tag(p);
}

static int parse_from(struct parser *p, struct node *n)
{
	int rc;
	n->kind = N_FROM;
	if ((rc = parse_expr(p, &n->e)) < 0)
		return rc;
	if (!parse_skip_name(p, "import", &rc))
		return parse_unexpected(p, "import");
	while (rc == 0 && p->tok.kind != T_BLOCK_END) {
		struct import_name in;
		if (n->n_names > 0 && (rc = parse_need_op(p, ",")) < 0)
			return rc;
		if (p->tok.kind == T_BLOCK_END)
			break;
		if (n->n_names > 0 && (parse_is_name(p, "with") || parse_is_name(p, "without")))
			break;
		if ((rc = parse_need_name(p, &in.name)) < 0)
			return rc;
		in.as = in.name;
		if (parse_skip_name(p, "as", &rc) && (rc < 0 || (rc = parse_need_name(p, &in.as)) < 0))
			return rc;
		n->names = parse_grow(p->a, n->names, n->n_names, sizeof *n->names);
		n->names[n->n_names++] = in;
		if (parse_is_name(p, "with") || parse_is_name(p, "without"))
			break;
	}
	if (rc < 0 || (rc = skip_context_words(p)) < 0)
		return rc;
	return end_tag(p);
}

/* Behind "(" : parameters with defaults. */
static int parse_params(struct parser *p, struct node *n)
{
	int rc;
	while (!parse_is_op(p, ")")) {
		struct assign a = { 0 };
		if (n->n > 0 && (rc = parse_need_op(p, ",")) < 0)
			return rc;
		if (parse_is_op(p, ")"))
			break;
		uint32_t line = p->tok.line;
		if ((rc = parse_one_target(p, false, &a.target)) < 0)
			return rc;
		for (size_t i = 0; i < n->n; i++)
			if (slice_eq(n->assigns[i].target.name, a.target.name))
				return lex_fail(&p->lex, line, "duplicate argument '%.*s'", SLICE_ARG(a.target.name));
		if (parse_skip_op(p, "=", &rc))
			rc = rc < 0 ? rc : parse_expr(p, &a.value);
		else if (n->n > 0 && n->assigns[n->n - 1].value != NULL)
			return parse_unexpected(p, "`=`");
		if (rc < 0)
			return rc;
		add_assign(p, n, a);
	}
	return parse_advance(p);
}

/* Loops and blocks around a macro are not its own. */
static int parse_macro_body(struct parser *p, const char *end, struct node *n)
{
	int loops = p->loops;
	bool in_macro = p->in_macro;
	p->loops = 0;
	p->in_macro = true;
	int rc = parse_simple_body(p, end, &n->body);
	p->loops = loops;
	p->in_macro = in_macro;
	return rc;
}

static int parse_macro(struct parser *p, struct node *n)
{
	int rc;
	n->kind = N_MACRO;
	if ((rc = parse_need_name(p, &n->text)) < 0 || (rc = parse_need_op(p, "(")) < 0 || (rc = parse_params(p, n)) < 0)
		return rc;
	return parse_macro_body(p, "endmacro", n);
}

static const char *expr_name(const struct expr *e)
{
	switch (e->kind) {
	case E_VAR: return "variable";
	case E_CONST: return "constant";
	case E_LIST: return "list literal";
	case E_MAP: return "map literal";
	case E_FILTER: return "filter expression";
	case E_TEST: return "test expression";
	case E_ATTR: return "attribute expression";
	case E_ITEM: return "item expression";
	case E_SLICE: return "slice expression";
	case E_NEG:
	case E_NOT: return "unary operation";
	case E_IF: return "if expression";
	default: return "binary operation";
	}
}

static int need_call(struct parser *p, const struct expr *e)
{
	return e->kind == E_CALL ? 0 : lex_fail(&p->lex, e->line, "expected call expression in call block, got %s", expr_name(e));
}

static int parse_call(struct parser *p, struct node *n)
{
	int rc;
	n->kind = N_CALLBLOCK;
	n->text = SLICE("caller");
	if (parse_skip_op(p, "(", &rc) && (rc < 0 || (rc = parse_params(p, n)) < 0))
		return rc;
	if (rc < 0 || (rc = parse_expr(p, &n->e)) < 0 || (rc = need_call(p, n->e)) < 0)
		return rc;
	return parse_macro_body(p, "endcall", n);
}

static int parse_do(struct parser *p, struct node *n)
{
	int rc;
	n->kind = N_DO;
	if ((rc = parse_expr(p, &n->e)) < 0 || (rc = need_call(p, n->e)) < 0)
		return rc;
	return end_tag(p);
}

static int parse_jump(struct parser *p, struct node *n, const char *word)
{
	if (p->loops == 0)
		return lex_fail(&p->lex, n->line, "'%s' must be placed inside a loop", word);
	return end_tag(p);
}

static int parse_break(struct parser *p, struct node *n)
{
	n->kind = N_BREAK;
	return parse_jump(p, n, "break");
}

static int parse_continue(struct parser *p, struct node *n)
{
	n->kind = N_CONTINUE;
	return parse_jump(p, n, "continue");
}

static const struct {
	const char *word;
	int (*parse)(struct parser *p, struct node *n);
} STATEMENTS[] = {
	{ "if", parse_if }, { "for", parse_for }, { "set", parse_set }, { "with", parse_with }, { "filter", parse_filter_block },
	{ "autoescape", parse_autoescape }, { "block", parse_block }, { "extends", parse_extends }, { "include", parse_include }, { "import", parse_import },
	{ "from", parse_from }, { "macro", parse_macro }, { "call", parse_call }, { "do", parse_do }, { "break", parse_break }, { "continue", parse_continue },
};

/* Behind "{%". */
static int parse_statement(struct parser *p, struct nodes *out)
{
	struct node *n = node_new(p, N_TEXT);
	if (p->tok.kind != T_NAME)
		return parse_unexpected(p, "identifier");
	for (size_t i = 0; i < ARRAY_LEN(STATEMENTS); i++) {
		if (!parse_is_name(p, STATEMENTS[i].word))
			continue;
		int rc = parse_advance(p);
		if (rc < 0 || (rc = STATEMENTS[i].parse(p, n)) < 0)
			return rc;
		add_node(p, out, n);
		return 0;
	}
	return lex_fail(&p->lex, p->tok.line, "unknown statement %.*s", SLICE_ARG(p->tok.text));
}

int jinja_compile(struct template *t)
{
	struct parser p = { .t = t, .a = t->arena };
	lex_init(&p.lex, t);
	int rc = parse_advance(&p);
	return rc < 0 ? rc : parse_body(&p, &(struct ends){ { NULL } }, &t->body);
}
