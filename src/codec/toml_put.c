/* SPDX-License-Identifier: Apache-2.0 */
/* A tree as TOML, in the layout of Rust's toml crate, which is what operators' files and dashboards hold. */
#include "codec/val_float.h"

#include "base/utf8.h"

struct printer {
	struct buf *b;
	int flags;
};

/* What a text would need in each of the four kinds of strings. */
struct needs {
	int quotes, double_quotes;	/* the longest run of ' and of " */
	bool control, backslash, newline;
};

static struct needs text_needs(struct slice s)
{
	struct needs n = { 0 };
	int single = 0, twice = 0;
	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];
		single = c == '\'' ? single + 1 : 0;
		twice = c == '"' ? twice + 1 : 0;
		n.quotes = MAX(n.quotes, single);
		n.double_quotes = MAX(n.double_quotes, twice);
		n.newline |= c == '\n';
		n.backslash |= c == '\\';
		n.control |= c != '\n' && c != '\t' && ((unsigned char)c < 0x20 || c == 0x7f);
	}
	return n;
}

static void put_escaped(struct buf *b, struct slice s, bool multi)
{
	static const char from[] = "\b\t\f\r\"\\", to[] = "btfr\"\\";
	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];
		const char *found = c != '\0' ? strchr(from, c) : NULL;
		if (found != NULL)
			buf_printf(b, "\\%c", to[found - from]);
		else if (c == '\n' && !multi)
			buf_lit(b, "\\n");
		else if (c != '\n' && ((unsigned char)c < 0x20 || c == 0x7f))
			buf_printf(b, "\\u%04X", (unsigned char)c);
		else
			buf_putc(b, c);
	}
}

static void put_raw(struct buf *b, struct slice s, const char *quotes, bool newline)
{
	buf_printf(b, "%s%s", quotes, newline ? "\n" : "");
	buf_slice(b, s);
	buf_cstr_put(b, quotes);
}

/* The first kind that shows the text as it is, else one with escapes. */
static void put_string(struct buf *b, struct slice s)
{
	struct needs n = text_needs(s);
	bool tabs = slice_chr(s, '\t') >= 0;
	if (!n.control && !n.backslash && !n.newline && n.double_quotes == 0 && !tabs) {
		put_raw(b, s, "\"", false);
	} else if (!n.control && !n.newline && n.quotes == 0 && (n.backslash || n.double_quotes > 0)) {
		put_raw(b, s, "'", false);
	} else if (!n.control && !n.backslash && n.double_quotes <= 2 && (n.newline || n.double_quotes > 0)) {
		put_raw(b, s, "\"\"\"", n.newline);
	} else if (!n.control && n.quotes <= 2 && (n.newline || n.backslash || n.double_quotes > 0)) {
		put_raw(b, s, "'''", n.newline);
	} else {
		buf_cstr_put(b, n.newline ? "\"\"\"\n" : "\"");
		put_escaped(b, s, n.newline);
		buf_cstr_put(b, n.newline ? "\"\"\"" : "\"");
	}
}

static void put_key(struct buf *b, struct slice s)
{
	struct needs n = text_needs(s);
	bool bare = s.len > 0;
	for (size_t i = 0; i < s.len; i++)
		bare = bare && (ascii_is_alnum(s.ptr[i]) || s.ptr[i] == '_' || s.ptr[i] == '-');
	if (bare) {
		buf_slice(b, s);
	} else if (!n.control && !n.newline && n.quotes == 0 && (n.backslash || n.double_quotes > 0)) {
		put_raw(b, s, "'", false);
	} else {
		buf_putc(b, '"');
		put_escaped(b, s, false);
		buf_putc(b, '"');
	}
}

static int put_value(struct printer *p, const struct val *v, int depth);

static void indent(struct printer *p, int depth)
{
	for (int i = 0; i < depth; i++)
		buf_lit(p->b, "    ");
}

static int put_list(struct printer *p, const struct val *v, int depth)
{
	bool lines = (p->flags & TOML_PRETTY) && v->n > 1;
	int rc;
	buf_cstr_put(p->b, lines ? "[\n" : "[");
	for (uint32_t i = 0; i < v->n; i++) {
		if (lines)
			indent(p, depth + 1);
		else if (i > 0)
			buf_lit(p->b, ", ");
		if ((rc = put_value(p, &v->items[i], depth + 1)) < 0)
			return rc;
		if (lines)
			buf_lit(p->b, ",\n");
	}
	if (lines)
		indent(p, depth);
	buf_putc(p->b, ']');
	return 0;
}

static int put_inline(struct printer *p, const struct val *v, int depth)
{
	bool any = false;
	int rc;
	buf_putc(p->b, '{');
	for (uint32_t i = 0; i < v->n; i++) {
		if (v->members[i].val.type == VAL_NULL)
			continue;
		buf_cstr_put(p->b, any ? ", " : " ");
		any = true;
		put_key(p->b, v->members[i].key);
		buf_lit(p->b, " = ");
		if ((rc = put_value(p, &v->members[i].val, depth)) < 0)
			return rc;
	}
	buf_cstr_put(p->b, any ? " }" : "}");
	return 0;
}

static int put_value(struct printer *p, const struct val *v, int depth)
{
	switch (v->type) {
	case VAL_NULL:
		return err_set(E_INVAL, "unsupported None value");
	case VAL_BOOL:
		buf_cstr_put(p->b, v->b ? "true" : "false");
		return 0;
	case VAL_INT:
		buf_i64(p->b, v->i);
		return 0;
	case VAL_UINT:
		return err_set(E_INVAL, "out-of-range value for u64 type");
	case VAL_FLOAT:
		float_put_plain(p->b, v->f);
		return 0;
	case VAL_STR:
		if (!utf8_valid(v->s))
			return err_set(E_INVAL, "a string that is not valid UTF-8");
		put_string(p->b, v->s);
		return 0;
	case VAL_TIME:
		buf_slice(p->b, v->s);
		return 0;
	case VAL_LIST:
		return put_list(p, v, depth);
	case VAL_OBJ:
		return put_inline(p, v, depth);
	}
	return 0;
}

static bool is_list_of_tables(const struct val *v)
{
	if (v->type != VAL_LIST || v->n == 0)
		return false;
	for (uint32_t i = 0; i < v->n; i++)
		if (v->items[i].type != VAL_OBJ)
			return false;
	return true;
}

/* Whether it stands under a header of its own instead of behind "key = ". */
static bool has_header(const struct printer *p, const struct val *v)
{
	if (v->type == VAL_OBJ)
		return v->n > 0 || !(p->flags & TOML_INLINE_EMPTY);
	return is_list_of_tables(v);
}

/* The names above a table. */
struct path {
	const struct path *up;
	struct slice name;
};

static void put_path(struct buf *b, const struct path *path)
{
	if (path->up != NULL) {
		put_path(b, path->up);
		buf_putc(b, '.');
	}
	put_key(b, path->name);
}

static void put_header(struct printer *p, const struct path *path, bool element)
{
	if (p->b->len > 0)
		buf_putc(p->b, '\n');
	buf_cstr_put(p->b, element ? "[[" : "[");
	put_path(p->b, path);
	buf_cstr_put(p->b, element ? "]]\n" : "]\n");
}

static int put_pairs(struct printer *p, const struct val *table)
{
	for (uint32_t i = 0; i < table->n; i++) {
		const struct val_member *m = &table->members[i];
		if (m->val.type == VAL_NULL || has_header(p, &m->val))
			continue;
		put_key(p->b, m->key);
		buf_lit(p->b, " = ");
		int rc = put_value(p, &m->val, 0);
		if (rc < 0)
			return rc;
		buf_putc(p->b, '\n');
	}
	return 0;
}

/* A header says nothing where only tables of tables follow it. */
static bool needs_header(const struct printer *p, const struct val *table)
{
	for (uint32_t i = 0; i < table->n; i++)
		if (table->members[i].val.type != VAL_NULL && !has_header(p, &table->members[i].val))
			return true;
	return table->n == 0;
}

static int put_table(struct printer *p, const struct val *table, const struct path *path)
{
	int rc = put_pairs(p, table);
	for (uint32_t i = 0; i < table->n && rc == 0; i++) {
		const struct val *v = &table->members[i].val;
		struct path here = { path, table->members[i].key };
		if (!has_header(p, v))
			continue;
		if (v->type == VAL_OBJ) {
			if (needs_header(p, v))
				put_header(p, &here, false);
			rc = put_table(p, v, &here);
			continue;
		}
		for (uint32_t k = 0; k < v->n && rc == 0; k++) {
			put_header(p, &here, true);
			rc = put_table(p, &v->items[k], &here);
		}
	}
	return rc;
}

int toml_put(struct buf *b, const struct val *v, int flags)
{
	static const char *const names[] = {
		[VAL_NULL] = "unit", [VAL_BOOL] = "bool", [VAL_INT] = "i64", [VAL_UINT] = "u64", [VAL_FLOAT] = "f64", [VAL_STR] = "str",
		[VAL_TIME] = "datetime", [VAL_LIST] = "array",
	};
	if (v->type != VAL_OBJ)
		return err_set(E_INVAL, "unsupported %s type", names[v->type]);
	struct buf text = { 0 };	/* a document of its own: the first header has no blank line before it */
	struct printer p = { &text, flags };
	int rc = put_table(&p, v, NULL);
	if (rc == 0)
		buf_slice(b, buf_view(&text));
	buf_fini(&text);
	return rc;
}
