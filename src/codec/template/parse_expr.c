/* SPDX-License-Identifier: Apache-2.0 */
/* Expressions of Jinja, by recursive descent; from "x if y else z" down to names and literals. */
#include <stdio.h>

#include "codec/template/parse.h"

void *parse_grow(struct arena *a, void *items, size_t n, size_t size)
{
	if (n != 0 && (n & (n - 1)) != 0)
		return items;	/* capacities are powers of two */
	void *more = arena_alloc(a, (n == 0 ? 1 : n * 2) * size);
	if (n > 0)
		memcpy(more, items, n * size);
	return more;
}

int parse_advance(struct parser *p)
{
	return lex_next(&p->lex, &p->tok);
}

bool parse_is_op(const struct parser *p, const char *op)
{
	return p->tok.kind == T_OP && slice_eq_cstr(p->tok.text, op);
}

bool parse_is_name(const struct parser *p, const char *name)
{
	return p->tok.kind == T_NAME && slice_eq_cstr(p->tok.text, name);
}

int parse_unexpected(struct parser *p, const char *expected)
{
	char buf[16];
	if (expected == NULL)
		return lex_fail(&p->lex, p->tok.line, "unexpected %s", tok_name(&p->tok, buf));
	return lex_fail(&p->lex, p->tok.line, "unexpected %s, expected %s", tok_name(&p->tok, buf), expected);
}

bool parse_skip_op(struct parser *p, const char *op, int *rc)
{
	*rc = 0;
	if (!parse_is_op(p, op))
		return false;
	*rc = parse_advance(p);
	return true;
}

bool parse_skip_name(struct parser *p, const char *name, int *rc)
{
	*rc = 0;
	if (!parse_is_name(p, name))
		return false;
	*rc = parse_advance(p);
	return true;
}

int parse_need_op(struct parser *p, const char *op)
{
	char expected[16];
	snprintf(expected, sizeof expected, "`%s`", op);
	return parse_is_op(p, op) ? parse_advance(p) : parse_unexpected(p, expected);
}

int parse_need_name(struct parser *p, struct slice *out)
{
	if (p->tok.kind != T_NAME)
		return parse_unexpected(p, "identifier");
	*out = p->tok.text;
	return parse_advance(p);
}

int parse_deeper(struct parser *p)
{
	if (p->depth >= PARSE_DEPTH_MAX)
		return lex_fail(&p->lex, p->tok.line, "template exceeds maximum recursion limits");
	p->depth++;
	return 0;
}

struct expr *parse_new(struct parser *p, enum expr_kind kind)
{
	struct expr *e = arena_alloc(p->a, sizeof *e);
	e->kind = kind;
	e->line = p->tok.line;
	return e;
}

static struct expr *constant(struct parser *p, struct tv v)
{
	struct expr *e = parse_new(p, E_CONST);
	e->value = v;
	return e;
}

static void add_arg(struct parser *p, struct expr *call, struct arg arg)
{
	call->args = parse_grow(p->a, call->args, call->n, sizeof *call->args);
	call->args[call->n++] = arg;
}

static void add_item(struct parser *p, struct expr *list, struct expr *item)
{
	list->items = parse_grow(p->a, list->items, list->n, sizeof *list->items);
	list->items[list->n++] = item;
}

/* Whether a name is followed by "=": a named argument. */
static bool is_named_arg(const struct parser *p)
{
	struct lexer ahead = p->lex;
	struct tok next;
	if (p->tok.kind != T_NAME)
		return false;
	return lex_next(&ahead, &next) == 0 && next.kind == T_OP && slice_eq_cstr(next.text, "=");
}

static int parse_arg(struct parser *p, struct arg *arg)
{
	int rc;
	*arg = (struct arg){ ARG_POS };
	if (parse_skip_op(p, "**", &rc)) {
		arg->kind = ARG_NAMED_SPLAT;
	} else if (parse_skip_op(p, "*", &rc)) {
		arg->kind = ARG_SPLAT;
	} else if (is_named_arg(p)) {
		arg->kind = ARG_NAMED;
		if ((rc = parse_need_name(p, &arg->name)) == 0)
			rc = parse_advance(p);
	}
	return rc < 0 ? rc : parse_expr(p, &arg->e);
}

/* Behind "(". */
static int parse_args(struct parser *p, struct expr *call)
{
	struct arg arg;
	bool named = false;
	int rc;
	while (!parse_is_op(p, ")")) {
		if (call->n > 0 && (rc = parse_need_op(p, ",")) < 0)
			return rc;
		if (parse_is_op(p, ")"))
			break;
		if (call->n >= 2000)
			return lex_fail(&p->lex, p->tok.line, "Too many arguments in function call");
		if ((rc = parse_arg(p, &arg)) < 0)
			return rc;
		if (arg.kind == ARG_POS && named)
			return lex_fail(&p->lex, p->tok.line, "non-keyword arg after keyword arg");
		named |= arg.kind == ARG_NAMED;
		add_arg(p, call, arg);
	}
	return parse_advance(p);
}

/* Items up to CLOSE, behind the first where *LIST has one already. */
static int parse_items(struct parser *p, struct expr *list, const char *close)
{
	struct expr *e;
	int rc;
	while (!parse_is_op(p, close)) {
		if (list->n > 0 && (rc = parse_need_op(p, ",")) < 0)
			return rc;
		if (parse_is_op(p, close))
			break;
		if ((rc = parse_expr(p, &e)) < 0)
			return rc;
		add_item(p, list, e);
	}
	return parse_advance(p);
}

static int parse_paren(struct parser *p, struct expr **out)
{
	struct expr *list = parse_new(p, E_LIST), *first;
	int rc;
	if (parse_skip_op(p, ")", &rc)) {
		*out = list;
		return rc;
	}
	if ((rc = parse_expr(p, &first)) < 0)
		return rc;
	if (!parse_is_op(p, ",")) {
		*out = first;
		return parse_need_op(p, ")");
	}
	add_item(p, list, first);
	*out = list;
	return parse_items(p, list, ")");
}

static int parse_map(struct parser *p, struct expr **out)
{
	struct expr *map = parse_new(p, E_MAP), *e;
	int rc;
	while (!parse_is_op(p, "}")) {
		if (map->n > 0 && (rc = parse_need_op(p, ",")) < 0)
			return rc;
		if (parse_is_op(p, "}"))
			break;
		if ((rc = parse_expr(p, &e)) < 0)
			return rc;
		add_item(p, map, e);
		if ((rc = parse_need_op(p, ":")) < 0 || (rc = parse_expr(p, &e)) < 0)
			return rc;
		add_item(p, map, e);
	}
	*out = map;
	return parse_advance(p);
}

static int parse_string(struct parser *p, struct expr **out)
{
	*out = constant(p, tv_str(p->tok.text));
	int rc = parse_advance(p);
	while (rc == 0 && p->tok.kind == T_STR) {
		struct slice a = (*out)->value.s, b = p->tok.text;
		(*out)->value.s = arena_slicef(p->a, "%.*s%.*s", SLICE_ARG(a), SLICE_ARG(b));
		rc = parse_advance(p);
	}
	return rc;
}

static int parse_word(struct parser *p, struct expr **out)
{
	static const struct {
		const char *name;
		struct tv v;
	} words[] = {
		{ "true", { .kind = TV_BOOL, .b = true } }, { "True", { .kind = TV_BOOL, .b = true } }, { "false", { .kind = TV_BOOL } },
		{ "False", { .kind = TV_BOOL } }, { "none", { .kind = TV_NONE } }, { "None", { .kind = TV_NONE } }, { "null", { .kind = TV_NONE } },
	};
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (parse_is_name(p, words[i].name)) {
			*out = constant(p, words[i].v);
			return parse_advance(p);
		}
	*out = parse_new(p, E_VAR);
	return parse_need_name(p, &(*out)->name);
}

static int parse_primary(struct parser *p, struct expr **out)
{
	int rc;
	switch (p->tok.kind) {
	case T_NAME:
		return parse_word(p, out);
	case T_STR:
		return parse_string(p, out);
	case T_INT:
		*out = constant(p, tv_int(p->tok.i));
		return parse_advance(p);
	case T_FLOAT:
		*out = constant(p, tv_float(p->tok.f));
		return parse_advance(p);
	default:
		break;
	}
	if (parse_skip_op(p, "(", &rc))
		return rc < 0 ? rc : parse_paren(p, out);
	if (parse_skip_op(p, "[", &rc)) {
		*out = parse_new(p, E_LIST);
		return rc < 0 ? rc : parse_items(p, *out, "]");
	}
	if (parse_skip_op(p, "{", &rc))
		return rc < 0 ? rc : parse_map(p, out);
	return parse_unexpected(p, NULL);
}

/* Behind "[": an index, or from:to:step. */
static int parse_subscript(struct parser *p, struct expr *of, struct expr **out)
{
	struct expr *parts[3] = { NULL }, *e = parse_new(p, E_ITEM);
	int n = 0, rc;
	bool slice = false;
	for (;;) {
		if (parse_is_op(p, ":") && n < 2) {
			slice = true;
			n++;
			if ((rc = parse_advance(p)) < 0)
				return rc;
		} else if (parse_is_op(p, "]") && (slice || parts[0] != NULL)) {
			break;
		} else if (parts[n] == NULL) {
			if ((rc = parse_expr(p, &parts[n])) < 0)
				return rc;
		} else {
			return parse_unexpected(p, "`]`");
		}
	}
	e->kind = slice ? E_SLICE : E_ITEM;
	e->a = of;
	e->b = parts[0];
	e->c = parts[1];
	e->d = parts[2];
	*out = e;
	return parse_advance(p);
}

static int parse_attr(struct parser *p, struct expr *of, struct expr **out)
{
	struct expr *e = parse_new(p, E_ATTR);
	e->a = of;
	*out = e;
	if (p->tok.kind != T_INT)
		return parse_need_name(p, &e->name);
	e->kind = E_ITEM;
	e->b = constant(p, tv_int(p->tok.i));
	return parse_advance(p);
}

/* a.b, a[b], a(b); a number read as ".5" behind a dot cannot happen: digits begin numbers. */
static int parse_postfix(struct parser *p, struct expr **e)
{
	int rc;
	for (int links = 0;; links++) {
		if (links > 1000)
			return lex_fail(&p->lex, p->tok.line, "template exceeds maximum recursion limits");
		if (parse_skip_op(p, ".", &rc)) {
			if (rc < 0 || (rc = parse_attr(p, *e, e)) < 0)
				return rc;
		} else if (parse_skip_op(p, "[", &rc)) {
			if (rc < 0 || (rc = parse_subscript(p, *e, e)) < 0)
				return rc;
		} else if (parse_is_op(p, "(")) {
			struct expr *call = parse_new(p, E_CALL);
			call->a = *e;
			*e = call;
			if ((rc = parse_advance(p)) < 0 || (rc = parse_args(p, call)) < 0)
				return rc;
		} else {
			return 0;
		}
	}
}

static int parse_unary(struct parser *p, struct expr **out)
{
	int rc;
	if (!parse_is_op(p, "-")) {
		rc = parse_primary(p, out);
		return rc < 0 ? rc : parse_postfix(p, out);
	}
	struct expr *neg = parse_new(p, E_NEG);
	if ((rc = parse_advance(p)) < 0 || (rc = parse_deeper(p)) < 0)
		return rc;
	rc = parse_unary(p, &neg->a);
	p->depth--;
	*out = neg;
	return rc;
}

/* A filter's or test's argument list is optional. */
static int parse_call_of(struct parser *p, struct expr *e)
{
	int rc;
	return parse_skip_op(p, "(", &rc) ? rc < 0 ? rc : parse_args(p, e) : 0;
}

int parse_filters(struct parser *p, struct expr **e, bool required)
{
	int rc = 0, n = 0;
	do {
		struct expr *f = parse_new(p, E_FILTER);
		if (n++ > 1000)
			return lex_fail(&p->lex, p->tok.line, "template exceeds maximum recursion limits");
		if (p->tok.kind != T_NAME && required)
			return lex_fail(&p->lex, p->tok.line, "expected a filter");
		if ((rc = parse_need_name(p, &f->name)) < 0 || (rc = parse_call_of(p, f)) < 0)
			return rc;
		f->a = *e;
		f->fn = filter_find(f->name);
		f->hook = f->fn == NULL ? filter_hook(f->name) : NULL;
		*e = f;
	} while (parse_skip_op(p, "|", &rc) && rc == 0);
	return rc;
}

/* What can begin the one argument of a test without brackets: "is divisibleby 3". */
static bool begins_argument(const struct parser *p)
{
	switch (p->tok.kind) {
	case T_NAME:
		return !parse_is_name(p, "and") && !parse_is_name(p, "or") && !parse_is_name(p, "else") && !parse_is_name(p, "is") && !parse_is_name(p, "if") &&
			!parse_is_name(p, "in") && !parse_is_name(p, "not") && !parse_is_name(p, "recursive");
	case T_STR:
	case T_INT:
	case T_FLOAT:
		return true;
	default:
		return parse_is_op(p, "[") || parse_is_op(p, "{") || parse_is_op(p, "-");
	}
}

static int parse_test(struct parser *p, struct expr **e)
{
	struct expr *t = parse_new(p, E_TEST);
	int rc;
	t->negated = parse_skip_name(p, "not", &rc);
	if (rc < 0)
		return rc;
	if (parse_is_name(p, "in"))	/* "is in list" */
		t->name = p->tok.text;
	if ((rc = parse_need_name(p, &t->name)) < 0)
		return rc;
	if (parse_is_op(p, "(")) {
		rc = parse_call_of(p, t);
	} else if (begins_argument(p)) {
		struct arg arg = { ARG_POS };
		if ((rc = parse_unary(p, &arg.e)) == 0)
			add_arg(p, t, arg);
	}
	t->a = *e;
	t->fn = builtin_find(TPL_TESTS, t->name);
	*e = t;
	return rc;
}

static int parse_filtered(struct parser *p, struct expr **out)
{
	int rc = parse_unary(p, out);
	for (int n = 0; rc == 0; n++) {
		if (n > 1000)
			return lex_fail(&p->lex, p->tok.line, "template exceeds maximum recursion limits");
		if (parse_skip_op(p, "|", &rc))
			rc = rc < 0 ? rc : parse_filters(p, out, false);
		else if (parse_skip_name(p, "is", &rc))
			rc = rc < 0 ? rc : parse_test(p, out);
		else
			break;
	}
	return rc;
}

/* Binary operators by level, the loosest first. */
static const struct {
	const char *text;
	enum binop op;
	int level;
} BINARY[] = {
	{ "==", B_EQ, 0 }, { "!=", B_NE, 0 }, { "<=", B_LE, 0 }, { ">=", B_GE, 0 }, { "<", B_LT, 0 }, { ">", B_GT, 0 }, { "+", B_ADD, 1 }, { "-", B_SUB, 1 },
	{ "~", B_CONCAT, 2 }, { "*", B_MUL, 3 }, { "//", B_FLOORDIV, 3 }, { "/", B_DIV, 3 }, { "%", B_MOD, 3 }, { "**", B_POW, 4 },
};

static struct expr *new_binary(struct parser *p, enum expr_kind kind, enum binop op, struct expr *a)
{
	struct expr *e = parse_new(p, kind);
	e->op = op;
	e->a = a;
	return e;
}

/* "in" and "not in" stand with the comparisons. False: none of them comes. */
static bool parse_in(struct parser *p, struct expr **e, bool *negated, int *rc)
{
	*rc = 0;
	*negated = false;
	if (parse_is_name(p, "not")) {
		struct lexer ahead = p->lex;
		struct tok next;
		if (lex_next(&ahead, &next) < 0 || next.kind != T_NAME || !slice_eq_cstr(next.text, "in"))
			return false;
		*negated = true;
		if ((*rc = parse_advance(p)) < 0)
			return true;
	}
	if (!parse_is_name(p, "in"))
		return false;
	*e = new_binary(p, E_BIN, B_IN, *e);
	*rc = parse_advance(p);
	return true;
}

/* The operator that comes next and binds at least as tightly as LEVEL; -1: none. */
static int next_binary(const struct parser *p, int level)
{
	for (size_t i = 0; p->tok.kind == T_OP && i < ARRAY_LEN(BINARY); i++)
		if (BINARY[i].level >= level && parse_is_op(p, BINARY[i].text))
			return (int)i;
	return -1;
}

/* By precedence climbing: one C frame for a run of operators of any levels. */
static int parse_binary(struct parser *p, int level, struct expr **out)
{
	int rc = parse_filtered(p, out), i;
	for (int n = 0; rc == 0; n++) {
		bool negated;
		if (n > 1000)
			return lex_fail(&p->lex, p->tok.line, "template exceeds maximum recursion limits");
		if (level == 0 && parse_in(p, out, &negated, &rc)) {
			struct expr *in = *out;
			if (rc < 0 || (rc = parse_binary(p, 1, &in->b)) < 0)
				return rc;
			if (negated)
				*out = new_binary(p, E_NOT, B_IN, in);
			continue;
		}
		if ((i = next_binary(p, level)) < 0)
			break;
		struct expr *e = new_binary(p, E_BIN, BINARY[i].op, *out);
		if ((rc = parse_advance(p)) < 0 || (rc = parse_binary(p, BINARY[i].level + 1, &e->b)) < 0)
			return rc;
		*out = e;
	}
	return rc;
}

static int parse_not(struct parser *p, struct expr **out)
{
	int rc;
	if (!parse_is_name(p, "not"))
		return parse_binary(p, 0, out);
	struct expr *e = parse_new(p, E_NOT);
	if ((rc = parse_advance(p)) < 0 || (rc = parse_deeper(p)) < 0)
		return rc;
	rc = parse_not(p, &e->a);
	p->depth--;
	*out = e;
	return rc;
}

static int parse_and(struct parser *p, struct expr **out)
{
	int rc = parse_not(p, out);
	for (int n = 0; rc == 0 && parse_is_name(p, "and"); n++) {
		struct expr *e = new_binary(p, E_AND, B_ADD, *out);
		if (n > 1000 || (rc = parse_advance(p)) < 0 || (rc = parse_not(p, &e->b)) < 0)
			return n > 1000 ? lex_fail(&p->lex, p->tok.line, "template exceeds maximum recursion limits") : rc;
		*out = e;
	}
	return rc;
}

static int parse_or(struct parser *p, struct expr **out)
{
	int rc = parse_and(p, out);
	for (int n = 0; rc == 0 && parse_is_name(p, "or"); n++) {
		struct expr *e = new_binary(p, E_OR, B_ADD, *out);
		if (n > 1000 || (rc = parse_advance(p)) < 0 || (rc = parse_and(p, &e->b)) < 0)
			return n > 1000 ? lex_fail(&p->lex, p->tok.line, "template exceeds maximum recursion limits") : rc;
		*out = e;
	}
	return rc;
}

int parse_expr_noif(struct parser *p, struct expr **out)
{
	int rc = parse_deeper(p);
	if (rc < 0)
		return rc;
	rc = parse_or(p, out);
	p->depth--;
	return rc;
}

/* x if y else z */
int parse_expr(struct parser *p, struct expr **out)
{
	int rc = parse_deeper(p);
	if (rc < 0)
		return rc;
	rc = parse_or(p, out);
	while (rc == 0 && parse_is_name(p, "if")) {
		struct expr *e = parse_new(p, E_IF);
		e->a = *out;
		if ((rc = parse_advance(p)) < 0 || (rc = parse_or(p, &e->b)) < 0)
			break;
		if (parse_skip_name(p, "else", &rc))
			rc = rc < 0 ? rc : parse_expr(p, &e->c);
		*out = e;
	}
	p->depth--;
	return rc;
}
