/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TOML 1.1 into a tree.
 *
 * Who may extend which table is most of the language: tables are first built as nodes that know how they came to be, and
 * turned into values at the end.
 */
#include <stdarg.h>
#include <stdio.h>

#include "base/utf8.h"
#include "codec/toml_int.h"

#define DEPTH_MAX 100

enum origin {
	BY_HEADER,		/* [a.b] */
	BY_PARENT,		/* a of [a.b]: may still be defined */
	BY_DOTS,		/* a of a.b = 1: grows by more dots */
	INLINE,			/* { … }: closed */
};

struct node {
	enum { SCALAR, TABLE, TABLES } kind;
	enum origin origin;
	struct val scalar;	/* and arrays of values */
	struct val names;	/* TABLE: an object from names to numbers of kids */
	struct node **kids;	/* TABLE: the members, TABLES: the elements */
	uint32_t n, cap;
};

void toml_set_error(const struct toml_reader *r, const char *from, const char *until, const char *fmt, ...)
{
	struct buf what = { 0 };
	va_list ap;
	va_start(ap, fmt);
	buf_vprintf(&what, fmt, ap);
	va_end(ap);
	from = MIN(from, r->end);
	const char *bol = from;
	while (bol > r->start && bol[-1] != '\n')
		bol--;
	/* What ends at the last newline is told on the line before it. */
	if (from == r->end && from > r->start && bol == from) {
		from--;
		for (bol = from; bol > r->start && bol[-1] != '\n'; )
			bol--;
	}
	size_t line = 1;
	for (const char *p = r->start; p < bol; p++)
		line += *p == '\n';
	if (r->name != NULL) {
		err_put("%s:%zu: %s", r->name, line, buf_cstr(&what));
	} else {
		const char *eol = memchr(bol, '\n', (size_t)(r->end - bol));
		struct slice text = slice_new(bol, MIN((size_t)((eol != NULL ? eol : r->end) - bol), (size_t)1000));
		size_t column = utf8_count(slice_new(bol, (size_t)(from - bol)));
		size_t width = until > from ? utf8_count(slice_new(from, (size_t)(MIN(until, r->end) - from))) : 1;
		char number[24];
		int digits = snprintf(number, sizeof number, "%zu", line);
		struct buf carets = { 0 };
		for (size_t i = 0; i < MIN(MAX(width, (size_t)1), (size_t)200); i++)
			buf_putc(&carets, '^');
		err_put("TOML parse error at line %zu, column %zu\n%*s |\n%s | %.*s\n%*s | %*s%s\n%s\n", line, column + 1, digits, "", number,
			SLICE_ARG(text), digits, "", (int)MIN(column, (size_t)1000), "", buf_cstr(&carets), buf_cstr(&what));
		buf_fini(&carets);
	}
	buf_fini(&what);
}

static struct node *node_new(struct toml_reader *r, int kind, enum origin origin)
{
	struct node *n = arena_alloc(r->tmp, sizeof *n);
	n->kind = (__typeof__(n->kind))kind;
	n->origin = origin;
	n->names = val_obj();
	return n;
}

static struct node *node_get(const struct node *t, struct slice name)
{
	const struct val *v = val_get(&t->names, name);
	return v != NULL ? t->kids[v->i] : NULL;
}

static void node_append(struct toml_reader *r, struct node *t, struct node *kid)
{
	if (t->n == t->cap) {
		t->cap = t->cap > 0 ? t->cap * 2 : 4;
		struct node **kids = arena_alloc(r->tmp, t->cap * sizeof *kids);
		if (t->n > 0)
			memcpy(kids, t->kids, t->n * sizeof *kids);
		t->kids = kids;
	}
	t->kids[t->n++] = kid;
}

static struct node *node_add(struct toml_reader *r, struct node *t, struct slice name, struct node *kid)
{
	val_put(r->tmp, &t->names, name, val_int(t->n));
	node_append(r, t, kid);
	return kid;
}

static struct val node_val(struct toml_reader *r, const struct node *n)
{
	if (n->kind == SCALAR)
		return n->scalar;
	struct val v = n->kind == TABLE ? val_obj() : val_list();
	for (uint32_t i = 0; i < n->n; i++) {
		struct val kid = node_val(r, n->kids[i]);
		if (n->kind == TABLE)
			val_put(r->a, &v, n->names.members[i].key, kid);
		else
			val_push(r->a, &v, kid);
	}
	return v;
}

static void skip_blanks(struct toml_reader *r)
{
	while (r->at < r->end && (*r->at == ' ' || *r->at == '\t'))
		r->at++;
}

static bool at_newline(const struct toml_reader *r)
{
	return toml_peek(r) == '\n' || slice_starts(toml_rest(r), SLICE("\r\n"));
}

static int skip_comment(struct toml_reader *r)
{
	if (toml_peek(r) != '#')
		return 0;
	for (; r->at < r->end && !at_newline(r); r->at++)
		if (toml_is_control(*r->at))
			return toml_fail(r, r->at, r->at + 1, "invalid comment: control character 0x%02x", (unsigned char)*r->at);
	return 0;
}

/* Blanks, line ends and comments. */
static int skip_lines(struct toml_reader *r)
{
	for (;;) {
		skip_blanks(r);
		int rc = skip_comment(r);
		if (rc < 0)
			return rc;
		if (!at_newline(r))
			return 0;
		r->at += *r->at == '\r' ? 2 : 1;
	}
}

/* Behind a header or a value nothing may stand but a comment. */
static int end_line(struct toml_reader *r)
{
	skip_blanks(r);
	int rc = skip_comment(r);
	if (rc < 0 || r->at == r->end)
		return rc;
	if (!at_newline(r))
		return toml_fail(r, r->at, r->at + 1, "unexpected text, expected a newline or `#`");
	r->at += *r->at == '\r' ? 2 : 1;
	return 0;
}

struct key {
	struct slice parts[DEPTH_MAX];
	const char *from[DEPTH_MAX];	/* where each stands */
	int n;
};

static int read_key_part(struct toml_reader *r, struct slice *out)
{
	int c = toml_peek(r);
	const char *from = r->at;
	if (c == '"' || c == '\'')
		return toml_read_string(r, true, out);
	while (r->at < r->end && toml_is_bare(*r->at))
		r->at++;
	if (r->at == from)
		return toml_fail(r, from, from + 1, "invalid key: letters, digits, `_`, `-` or a quoted string expected");
	*out = arena_dup(r->a, slice_new(from, (size_t)(r->at - from)));
	return 0;
}

static int read_key(struct toml_reader *r, struct key *k)
{
	for (k->n = 0;; r->at++) {
		skip_blanks(r);
		if (k->n == DEPTH_MAX - r->depth)
			return toml_fail(r, r->at, r->at, "nested too deep");
		k->from[k->n] = r->at;
		int rc = read_key_part(r, &k->parts[k->n]);
		if (rc < 0)
			return rc;
		k->n++;
		skip_blanks(r);
		if (toml_peek(r) != '.')
			return 0;
	}
}

static int fail_duplicate(struct toml_reader *r, const struct key *k, int i)
{
	return toml_fail(r, k->from[i], k->from[i] + 1, "duplicate key");
}

/* The table that the last part of a dotted key belongs in. */
static int walk_dots(struct toml_reader *r, struct node *t, const struct key *k, struct node **out)
{
	for (int i = 0; i < k->n - 1; i++) {
		struct node *next = node_get(t, k->parts[i]);
		if (next == NULL)
			next = node_add(r, t, k->parts[i], node_new(r, TABLE, BY_DOTS));
		else if (next->kind != TABLE || next->origin != BY_DOTS)
			return fail_duplicate(r, k, i);
		t = next;
	}
	*out = t;
	return 0;
}

static int read_value(struct toml_reader *r, struct node **out);

static int read_pair(struct toml_reader *r, struct node *table)
{
	struct key k;
	struct node *t, *v;
	int rc = read_key(r, &k);
	if (rc < 0)
		return rc;
	if (toml_peek(r) != '=')
		return toml_fail(r, r->at, r->at, "key with no value, expected `=`");
	r->at++;
	if ((rc = walk_dots(r, table, &k, &t)) < 0)
		return rc;
	if (node_get(t, k.parts[k.n - 1]) != NULL)
		return fail_duplicate(r, &k, k.n - 1);
	skip_blanks(r);
	if ((rc = read_value(r, &v)) < 0)
		return rc;
	node_add(r, t, k.parts[k.n - 1], v);
	return 0;
}

static int read_array(struct toml_reader *r, struct node **out)
{
	struct node *n = node_new(r, SCALAR, INLINE), *item;
	int rc;
	n->scalar = val_list();
	r->at++;
	for (;;) {
		if ((rc = skip_lines(r)) < 0)
			return rc;
		if (toml_peek(r) == ']')
			break;
		if (toml_peek(r) == -1)
			return toml_fail(r, r->at, r->at, "unclosed array, expected `]`");
		if ((rc = read_value(r, &item)) < 0)
			return rc;
		val_push(r->a, &n->scalar, node_val(r, item));
		if ((rc = skip_lines(r)) < 0)
			return rc;
		if (toml_peek(r) == ',')
			r->at++;
		else if (toml_peek(r) == -1)
			return toml_fail(r, r->at, r->at, "unclosed array, expected `]`");
		else if (toml_peek(r) != ']')
			return toml_fail(r, r->at, r->at + 1, "missing comma between array elements, expected `,`");
	}
	r->at++;
	*out = n;
	return 0;
}

static int read_inline(struct toml_reader *r, struct node **out)
{
	struct node *n = node_new(r, TABLE, INLINE);
	int rc;
	r->at++;
	for (;;) {
		if ((rc = skip_lines(r)) < 0)
			return rc;
		if (toml_peek(r) == '}')
			break;
		if (toml_peek(r) == -1)
			return toml_fail(r, r->at, r->at, "unclosed inline table, expected `}`");
		if ((rc = read_pair(r, n)) < 0 || (rc = skip_lines(r)) < 0)
			return rc;
		if (toml_peek(r) == ',')
			r->at++;
		else if (toml_peek(r) == -1)
			return toml_fail(r, r->at, r->at, "unclosed inline table, expected `}`");
		else if (toml_peek(r) != '}')
			return toml_fail(r, r->at, r->at + 1, "missing comma between key-value pairs, expected `,`");
	}
	r->at++;
	*out = n;
	return 0;
}

static int read_value(struct toml_reader *r, struct node **out)
{
	int c = toml_peek(r), rc;
	if (c == '[' || c == '{') {
		if (r->depth == DEPTH_MAX - 1)
			return toml_fail(r, r->at, r->at + 1, "nested too deep");
		r->depth++;
		rc = c == '[' ? read_array(r, out) : read_inline(r, out);
		r->depth--;
		return rc;
	}
	struct node *n = node_new(r, SCALAR, INLINE);
	if (c == '"' || c == '\'') {
		n->scalar.type = VAL_STR;
		rc = toml_read_string(r, false, &n->scalar.s);
	} else {
		rc = toml_read_plain(r, &n->scalar);
	}
	*out = n;
	return rc;
}

/* The table of a header: all but the last part, made where they are missing. */
static int walk_header(struct toml_reader *r, struct node *root, const struct key *k, struct node **out)
{
	struct node *t = root;
	for (int i = 0; i < k->n - 1; i++) {
		struct node *next = node_get(t, k->parts[i]);
		if (next == NULL)
			next = node_add(r, t, k->parts[i], node_new(r, TABLE, BY_PARENT));
		else if (next->kind == TABLES)
			next = next->kids[next->n - 1];
		else if (next->kind == SCALAR || next->origin == INLINE)
			return fail_duplicate(r, k, i);
		t = next;
	}
	*out = t;
	return 0;
}

static int define_table(struct toml_reader *r, struct node *parent, const struct key *k, struct node **out)
{
	struct node *t = node_get(parent, k->parts[k->n - 1]);
	if (t == NULL)
		t = node_add(r, parent, k->parts[k->n - 1], node_new(r, TABLE, BY_HEADER));
	else if (t->kind != TABLE || t->origin != BY_PARENT)
		return fail_duplicate(r, k, k->n - 1);
	t->origin = BY_HEADER;
	*out = t;
	return 0;
}

static int define_element(struct toml_reader *r, struct node *parent, const struct key *k, struct node **out)
{
	struct node *list = node_get(parent, k->parts[k->n - 1]);
	if (list == NULL)
		list = node_add(r, parent, k->parts[k->n - 1], node_new(r, TABLES, BY_HEADER));
	else if (list->kind != TABLES)
		return fail_duplicate(r, k, k->n - 1);
	*out = node_new(r, TABLE, BY_HEADER);
	node_append(r, list, *out);
	return 0;
}

/* [a.b] or [[a.b]]; *TABLE is what the lines behind it fill. */
static int read_header(struct toml_reader *r, struct node *root, struct node **table, int *depth)
{
	struct key k;
	struct node *parent;
	bool element = slice_starts(toml_rest(r), SLICE("[["));
	int rc;
	r->at += element ? 2 : 1;
	r->depth = 0;
	if ((rc = read_key(r, &k)) < 0)
		return rc;
	*depth = k.n;
	if (!slice_starts(toml_rest(r), element ? SLICE("]]") : SLICE("]")))
		return toml_fail(r, r->at, r->at, "unclosed %s, expected `%s`", element ? "array table" : "table", element ? "]]" : "]");
	r->at += element ? 2 : 1;
	if ((rc = walk_header(r, root, &k, &parent)) < 0)
		return rc;
	rc = element ? define_element(r, parent, &k, table) : define_table(r, parent, &k, table);
	return rc < 0 ? rc : end_line(r);
}

static int read_document(struct toml_reader *r, struct node *root)
{
	struct node *table = root;
	int rc;
	if (slice_starts(toml_rest(r), SLICE("\xef\xbb\xbf")))
		r->at += 3;
	for (;;) {
		if ((rc = skip_lines(r)) < 0 || r->at == r->end)
			return rc;
		if (*r->at == '[')
			rc = read_header(r, root, &table, &r->depth);
		else if ((rc = read_pair(r, table)) == 0)
			rc = end_line(r);
		if (rc < 0)
			return rc;
	}
}

int toml_parse(struct slice text, const char *name, struct arena *a, struct val *out)
{
	const char *start = text.ptr != NULL ? text.ptr : "";
	struct toml_reader r = { .start = start, .at = start, .end = start + text.len, .name = name, .a = a };
	if (!utf8_valid(text))
		return toml_fail(&r, start, start, "the text is not valid UTF-8");
	r.tmp = arena_create();
	struct node *root = node_new(&r, TABLE, BY_HEADER);
	int rc = read_document(&r, root);
	if (rc == 0)
		*out = node_val(&r, root);
	arena_destroy(&r.tmp);
	return rc;
}
