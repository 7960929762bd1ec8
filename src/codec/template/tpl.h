/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tpl - inside the Jinja dialect: values, syntax tree, and the state of a rendering.
 *
 * A template is a tree of nodes in an arena; rendering walks it. Values live in the rendering's arena; lists and objects of the
 * context are wrapped as they are and looked into only where the template does.
 */
#pragma once
#include "codec/template.h"

enum tv_kind { TV_UNDEF, TV_NONE, TV_BOOL, TV_INT, TV_FLOAT, TV_STR, TV_LIST, TV_MAP, TV_OBJ, TV_VLIST, TV_VOBJ };

struct tv;
struct tmap;
struct tobj;
typedef __int128 int128;

struct tv {
	enum tv_kind kind;
	bool safe;		/* TV_STR: not escaped any more */
	bool lazy;		/* TV_LIST: one that prints as "<iterator>" */
	bool dynamic;		/* TV_LIST: iterable, but no sequence */
	bool group;		/* TV_LIST of two: also .grouper and .list */
	union {
		bool b;
		double f;
		int128 i;
		struct slice s;
		struct { struct tv *items; size_t n; } l;
		struct tmap *map;
		struct tobj *obj;
		const struct val *v;	/* TV_VLIST, TV_VOBJ: of the context */
	};
};

/* Sorted by key, so that it prints and iterates in order. */
struct tmap {
	size_t n, cap;
	struct tpair *pairs;
};
struct tpair {
	struct tv key, value;
};

struct render;
struct call;
typedef int (*tpl_fn)(struct render *r, struct call *c, struct tv *out);

/* Arguments of a filter, test, function or method; for filters and tests, args[0] is what they are applied to. */
struct call {
	struct tv *args;
	int n;
	struct tmap *kwargs;	/* never NULL */
	uint64_t used;		/* kwargs asked for, by position */
};

struct tpl_builtin {
	const char *name;	/* NULL ends */
	tpl_fn fn;
	int min, max;		/* arguments, args[0] included; max -1: any */
	bool kwargs;		/* takes named ones; else they count as one more argument, a map */
};

enum tobj_kind { OBJ_NAMESPACE, OBJ_MACRO, OBJ_FUNCTION, OBJ_LOOP, OBJ_CYCLER, OBJ_JOINER, OBJ_MODULE, OBJ_SELF };
struct tobj {
	enum tobj_kind kind;
	union {
		struct tmap *map;			/* OBJ_NAMESPACE, OBJ_MODULE */
		struct { const struct node *node; struct frame *closure; const struct template *t; bool escape; } macro;
		const struct tpl_builtin *fn;
		struct loop *loop;
		struct { struct tv *items; size_t n, at; } cycler;
		struct { struct tv sep; bool used; } joiner;
	};
	struct slice body;				/* OBJ_MODULE: what it printed */
};

enum escape_mode { ESCAPE_NONE, ESCAPE_HTML, ESCAPE_JSON };

/* Expressions. */
enum expr_kind { E_CONST, E_VAR, E_LIST, E_MAP, E_NEG, E_NOT, E_BIN, E_AND, E_OR, E_IF, E_FILTER, E_TEST, E_ATTR, E_ITEM, E_SLICE, E_CALL };
enum binop { B_ADD, B_SUB, B_MUL, B_DIV, B_FLOORDIV, B_MOD, B_POW, B_CONCAT, B_EQ, B_NE, B_LT, B_LE, B_GT, B_GE, B_IN };

struct expr;
struct arg {
	enum { ARG_POS, ARG_NAMED, ARG_SPLAT, ARG_NAMED_SPLAT } kind;
	struct slice name;
	struct expr *e;
};
struct expr {
	enum expr_kind kind;
	uint32_t line;
	enum binop op;
	bool negated;			/* E_TEST: "is not" */
	struct slice name;		/* E_VAR, E_FILTER, E_TEST, E_ATTR */
	struct tv value;		/* E_CONST */
	struct expr *a, *b, *c, *d;	/* operands; E_IF: then, condition, else; E_SLICE: of, from, to, step */
	struct expr **items;		/* E_LIST; E_MAP: keys and values in turn */
	struct arg *args;		/* E_CALL, E_FILTER, E_TEST */
	size_t n;			/* of items or args */
	const struct tpl_builtin *fn;	/* E_FILTER, E_TEST; NULL: unknown */
	template_filter_cb hook;	/* E_FILTER of a higher layer */
};

/* Statements. */
enum node_kind { N_TEXT, N_PRINT, N_IF, N_FOR, N_SET, N_SETBLOCK, N_WITH, N_FILTER, N_AUTOESCAPE, N_BLOCK, N_EXTENDS, N_INCLUDE, N_IMPORT, N_FROM,
	N_MACRO, N_CALLBLOCK, N_DO, N_BREAK, N_CONTINUE };

/* What an assignment fills: a name, a namespace's attribute or several of these. */
struct target {
	enum { TARGET_NAME, TARGET_ATTR, TARGET_LIST } kind;
	struct slice name;
	struct expr *of;		/* TARGET_ATTR */
	struct target *items;
	size_t n;
};
struct assign {
	struct target target;
	struct expr *value;
};
struct nodes {
	struct node **items;
	size_t n;
};
struct import_name {
	struct slice name, as;
};
struct node {
	enum node_kind kind;
	uint32_t line;
	struct slice text;		/* N_TEXT; name of N_BLOCK, N_MACRO */
	struct expr *e, *e2;		/* main expression; N_FOR: filter */
	struct nodes body, other;	/* other: else */
	struct target target;
	struct assign *assigns;		/* N_WITH; parameters of N_MACRO and N_CALLBLOCK with their defaults (value may be NULL) */
	size_t n;
	struct import_name *names;	/* N_FROM */
	size_t n_names;
	bool flag;			/* N_FOR recursive; N_INCLUDE ignore missing; N_BLOCK required; N_MACRO uses caller */
};

struct tpl_block {
	struct slice name;
	const struct node *node;
};

struct template {
	uint32_t magic;
	_Atomic uint32_t refs;
	enum template_dialect dialect;
	struct arena *arena;
	struct slice name, source;
	enum escape_mode escape;
	struct nodes body;		/* Jinja */
	struct tpl_block *blocks;
	size_t n_blocks;
	struct hbs_node *hbs;		/* Handlebars */
};

int jinja_compile(struct template *t) WARN_UNUSED;
int jinja_render(const struct template *t, const struct val *context, template_loader_cb loader, void *loader_ctx, struct buf *out) WARN_UNUSED;
int hbs_compile(struct template *t) WARN_UNUSED;
int hbs_render(const struct template *t, const struct val *context, struct buf *out) WARN_UNUSED;

/* Values (value.c, ops.c). */
static inline struct tv tv_undef(void) { return (struct tv){ .kind = TV_UNDEF }; }
static inline struct tv tv_none(void) { return (struct tv){ .kind = TV_NONE }; }
static inline struct tv tv_bool(bool b) { return (struct tv){ .kind = TV_BOOL, .b = b }; }
static inline struct tv tv_int(int128 i) { return (struct tv){ .kind = TV_INT, .i = i }; }
static inline struct tv tv_float(double f) { return (struct tv){ .kind = TV_FLOAT, .f = f }; }
static inline struct tv tv_str(struct slice s) { return (struct tv){ .kind = TV_STR, .s = s }; }
static inline struct tv tv_safe(struct slice s) { return (struct tv){ .kind = TV_STR, .s = s, .safe = true }; }
static inline struct tv tv_list(struct tv *items, size_t n) { return (struct tv){ .kind = TV_LIST, .l = { items, n } }; }
static inline struct tv tv_map(struct tmap *m) { return (struct tv){ .kind = TV_MAP, .map = m }; }
static inline struct tv tv_obj(struct tobj *o) { return (struct tv){ .kind = TV_OBJ, .obj = o }; }
struct tv tv_from_val(const struct val *v);
const char *tv_kind_name(const struct tv *v);		/* "string", "sequence", … as messages name them */
bool tv_true(const struct tv *v);
bool tv_eq(const struct tv *a, const struct tv *b);
int tv_cmp(const struct tv *a, const struct tv *b);	/* total order: kinds first, numbers with one another */
bool tv_is_number(const struct tv *v);
double tv_number(const struct tv *v);			/* of a number or bool */
bool tv_is_map(const struct tv *v);
bool tv_is_list(const struct tv *v);
size_t tv_len(const struct tv *v);			/* of a list, map or text (characters); 0 for others */
void tv_put(struct buf *b, const struct tv *v);		/* as printed without escaping */
void tv_put_debug(struct buf *b, const struct tv *v, int indent);	/* texts in quotes; INDENT -1: on one line */
void html_put(struct buf *b, struct slice s);
int tv_put_json(struct render *r, struct buf *b, const struct tv *v, int indent, bool html) WARN_UNUSED;	/* indent 0: compact */

const struct val_member **sorted_members(const struct val *obj);	/* by key; the caller frees */
struct tmap *tmap_new(struct render *r);
void tmap_put(struct render *r, struct tmap *m, struct tv key, struct tv value);
const struct tv *tmap_get(const struct tmap *m, const struct tv *key);
const struct tv *tmap_get_str(const struct tmap *m, struct slice key);

/* Rendering (render.c, eval.c). */
struct frame {			/* a scope */
	struct frame *up;
	struct tmap vars;
	struct loop *loop;	/* of a for */
	bool barrier;		/* a macro's: names above come from its closure, loops end here */
};
struct loop {
	size_t index, n;
	int depth;
	struct tv *items;
	const struct node *node;	/* of a recursive one */
	struct frame *outer;
	struct tv changed;
	bool has_changed;
};
struct block_chain;

struct render {
	const struct template *t;	/* whose code runs: errors name it */
	uint32_t line;
	struct arena *a;
	struct buf *out;
	const struct val *context;
	struct frame *frame;
	enum escape_mode escape;
	template_loader_cb loader;
	void *loader_ctx;
	size_t steps;
	const char *stack_base;
	struct block_chain *blocks;
	struct slice current_block;
	const struct template *parent;	/* set by extends */
	struct held *held;		/* loaded templates, given back at the end */
	enum { FLOW_ON, FLOW_BREAK, FLOW_CONTINUE } flow;
	bool failed;
};

int tpl_fail(struct render *r, const char *kind, const char *fmt, ...) PRINTF(3, 4);	/* "KIND: DETAIL (in NAME:LINE)" */
int tpl_fail_kind(struct render *r, const char *kind);					/* "KIND (in NAME:LINE)" */
int tpl_step(struct render *r) WARN_UNUSED;		/* counts, and looks at output, memory and stack */
struct slice tpl_keep(struct render *r, struct buf *b);	/* the bytes into the arena; the buffer is empty again */

int eval(struct render *r, const struct expr *e, struct tv *out) WARN_UNUSED;
int call_builtin(struct render *r, const struct tpl_builtin *fn, struct call *c, struct tv *out) WARN_UNUSED;
int call_macro(struct render *r, const struct tobj *macro, struct call *c, struct tv *out) WARN_UNUSED;
int call_loop(struct render *r, struct loop *l, struct call *c, struct tv *out) WARN_UNUSED;
int call_super(struct render *r, struct tv *out) WARN_UNUSED;
int call_self_block(struct render *r, struct slice name, struct tv *out) WARN_UNUSED;
int apply_filter(struct render *r, struct slice name, struct call *c, struct tv *out) WARN_UNUSED;
int apply_test(struct render *r, struct slice name, struct call *c, bool *out) WARN_UNUSED;
int binary(struct render *r, enum binop op, const struct tv *a, const struct tv *b, struct tv *out) WARN_UNUSED;
int contains(struct render *r, const struct tv *in, const struct tv *what, bool *out) WARN_UNUSED;
int slice_value(struct render *r, const struct tv *v, const struct tv *from, const struct tv *to, const struct tv *step, struct tv *out) WARN_UNUSED;
int get_attr(struct render *r, const struct tv *v, struct slice name, struct tv *out) WARN_UNUSED;
int get_item(struct render *r, const struct tv *v, const struct tv *key, struct tv *out) WARN_UNUSED;
int get_path(struct render *r, const struct tv *v, const struct tv *path, struct tv *out) WARN_UNUSED;	/* "a.0.b" or a number */
int to_list(struct render *r, const struct tv *v, struct tv *out) WARN_UNUSED;				/* TV_LIST of what iterating gives */
int call_method(struct render *r, const struct tv *v, struct slice name, struct call *c, struct tv *out) WARN_UNUSED;
int put_escaped(struct render *r, struct buf *b, const struct tv *v) WARN_UNUSED;
struct tv lookup(struct render *r, struct slice name);

/* Arguments (args.c). */
bool arg_given(const struct call *c, int i);		/* there, and not none */
int arg_int(struct render *r, struct call *c, int i, const char *type, int64_t *out) WARN_UNUSED;
int tv_to_int(struct render *r, const struct tv *v, const char *type, int64_t *out) WARN_UNUSED;
int tv_to_bool(struct render *r, const struct tv *v, bool *out) WARN_UNUSED;
const struct tv *kwarg(struct call *c, const char *name);	/* NULL: not given */
struct slice to_text(struct render *r, const struct tv *v);

/* Shared by filters, functions and methods. */
struct slice text_trim(struct slice s, const struct slice *set, bool start, bool end);		/* SET NULL: white space */
struct tv text_split(struct render *r, struct slice s, const struct slice *sep, int64_t max);	/* SEP NULL: white space */
struct tv text_lines(struct render *r, struct slice s);
int map_pairs(struct render *r, const struct tv *map, struct tv *out) WARN_UNUSED;		/* lists of key and value */

/* Tables. */
const struct tpl_builtin *builtin_find(const struct tpl_builtin *table, struct slice name);
extern const struct tpl_builtin TPL_TEXT_FILTERS[], TPL_LIST_FILTERS[], TPL_NUMBER_FILTERS[], TPL_TIME_FILTERS[], TPL_TESTS[], TPL_FUNCTIONS[];
const struct tpl_builtin *filter_find(struct slice name);
template_filter_cb filter_hook(struct slice name);

/* printf and str.format (format.c). */
int format_percent(struct render *r, struct slice fmt, struct call *c, struct tv *out) WARN_UNUSED;
int format_braces(struct render *r, struct slice fmt, struct call *c, struct tv *out) WARN_UNUSED;
/* Letters beyond ASCII (value.c). */
void text_case(struct buf *b, struct slice s, bool upper);
bool cp_is_alpha(uint32_t cp);
bool cp_is_space(uint32_t cp);
uint32_t cp_upper(uint32_t cp);
uint32_t cp_lower(uint32_t cp);
/* Seconds east of UTC in the zone NAME at SEC (tz.c). */
int tz_offset(struct slice name, int64_t sec, int *offset_s) WARN_UNUSED;
