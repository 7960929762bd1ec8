/* SPDX-License-Identifier: Apache-2.0 */
/* Filters for text. */
#include "base/utf8.h"
#include "codec/template/tpl.h"

static int filter_safe(struct render *r, struct call *c, struct tv *out)
{
	*out = tv_safe(to_text(r, &c->args[0]));
	return 0;
}

static int filter_escape(struct render *r, struct call *c, struct tv *out)
{
	struct buf b = { 0 };
	if (c->args[0].kind == TV_STR && c->args[0].safe) {
		*out = c->args[0];
		return 0;
	}
	enum escape_mode before = r->escape;
	r->escape = before == ESCAPE_NONE ? ESCAPE_HTML : before;
	int rc = put_escaped(r, &b, &c->args[0]);
	r->escape = before;
	*out = tv_safe(tpl_keep(r, &b));
	return rc;
}

static int change_case(struct render *r, struct call *c, bool upper, struct tv *out)
{
	struct buf b = { 0 };
	text_case(&b, to_text(r, &c->args[0]), upper);
	*out = tv_str(tpl_keep(r, &b));
	return 0;
}

static int filter_upper(struct render *r, struct call *c, struct tv *out)
{
	return change_case(r, c, true, out);
}

static int filter_lower(struct render *r, struct call *c, struct tv *out)
{
	return change_case(r, c, false, out);
}

/* The first letter large, the others small; with WORDS after each blank or punctuation mark anew. */
static struct tv capitalized(struct render *r, struct slice s, bool words)
{
	struct buf b = { 0 };
	bool start = true;
	uint32_t cp;
	for (size_t i = 0, n; i < s.len; i += n) {
		n = utf8_decode(slice_sub(s, i, SIZE_MAX), &cp);
		if (n == 0)
			n = utf8_decode(SLICE("?"), &cp);
		bool gap = cp_is_space(cp) || (cp < 0x80 && !ascii_is_alnum((char)cp));
		utf8_put(&b, start ? cp_upper(cp) : cp_lower(cp));
		start = words && gap;
	}
	return tv_str(tpl_keep(r, &b));
}

static int filter_title(struct render *r, struct call *c, struct tv *out)
{
	*out = capitalized(r, to_text(r, &c->args[0]), true);
	return 0;
}

static int filter_capitalize(struct render *r, struct call *c, struct tv *out)
{
	*out = capitalized(r, to_text(r, &c->args[0]), false);
	return 0;
}

static int filter_replace(struct render *r, struct call *c, struct tv *out)
{
	struct slice s = to_text(r, &c->args[0]), from = to_text(r, &c->args[1]), to = to_text(r, &c->args[2]);
	struct buf b = { 0 };
	ptrdiff_t at;
	while (from.len > 0 && (at = slice_find(s, from)) >= 0) {
		buf_put(&b, s.ptr, (size_t)at);
		buf_slice(&b, to);
		s = slice_sub(s, (size_t)at + from.len, SIZE_MAX);
		if (b.len > TEMPLATE_OUTPUT_MAX)
			break;
	}
	buf_slice(&b, s);
	*out = tv_str(tpl_keep(r, &b));
	return 0;
}

static bool has_char(struct slice set, uint32_t cp)
{
	uint32_t c;
	for (size_t i = 0, n; i < set.len && (n = utf8_decode(slice_sub(set, i, SIZE_MAX), &c)) > 0; i += n)
		if (c == cp)
			return true;
	return false;
}

static bool is_trimmed(uint32_t cp, const struct slice *set)
{
	return set != NULL ? has_char(*set, cp) : cp_is_space(cp);
}

struct slice text_trim(struct slice s, const struct slice *set, bool start, bool end)
{
	uint32_t cp;
	size_t n;
	while (start && s.len > 0 && (n = utf8_decode(s, &cp)) > 0 && is_trimmed(cp, set))
		s = slice_sub(s, n, SIZE_MAX);
	while (end && s.len > 0) {
		n = 1;
		while (n < s.len && (s.ptr[s.len - n] & 0xc0) == 0x80)
			n++;
		if (utf8_decode(slice_sub(s, s.len - n, SIZE_MAX), &cp) == 0 || !is_trimmed(cp, set))
			break;
		s.len -= n;
	}
	return s;
}

static int filter_trim(struct render *r, struct call *c, struct tv *out)
{
	struct slice set;
	bool given = arg_given(c, 1);
	if (given)
		set = to_text(r, &c->args[1]);
	*out = tv_str(text_trim(to_text(r, &c->args[0]), given ? &set : NULL, true, true));
	return 0;
}

/* An argument that may be given by place or by name. */
static const struct tv *arg_or_kwarg(struct call *c, int i, const char *name)
{
	const struct tv *named = kwarg(c, name);
	return i < c->n ? &c->args[i] : named;
}

static int filter_indent(struct render *r, struct call *c, struct tv *out)
{
	const struct tv *width = arg_or_kwarg(c, 1, "width"), *first = arg_or_kwarg(c, 2, "first"), *blank = arg_or_kwarg(c, 3, "blank");
	struct slice s = to_text(r, &c->args[0]), line;
	int64_t n = 4;
	struct buf b = { 0 };
	if (width != NULL && tv_to_int(r, width, "usize", &n) < 0)
		return -E_INVAL;
	if (n < 0 || n > 10000)
		return tpl_fail(r, "invalid operation", "cannot indent by %lld", (long long)n);
	for (size_t i = 0; slice_split_next(&s, '\n', &line); i++) {
		if (i > 0)
			buf_putc(&b, '\n');
		bool wanted = i > 0 || (first != NULL && tv_true(first));
		if (wanted && (line.len > 0 || (blank != NULL && tv_true(blank))))
			for (int64_t k = 0; k < n; k++)
				buf_putc(&b, ' ');
		buf_slice(&b, line);
		if (b.len > TEMPLATE_OUTPUT_MAX)
			break;
	}
	*out = tv_str(tpl_keep(r, &b));
	return 0;
}

struct items {
	struct tv *at;
	size_t n, cap;
};

static void add_item(struct render *r, struct items *list, struct tv v)
{
	if (list->n == list->cap) {
		list->cap = list->cap > 0 ? list->cap * 2 : 8;
		struct tv *more = arena_alloc(r->a, list->cap * sizeof *more);
		if (list->n > 0)
			memcpy(more, list->at, list->n * sizeof *more);
		list->at = more;
	}
	list->at[list->n++] = v;
}

struct tv text_lines(struct render *r, struct slice s)
{
	struct items list = { 0 };
	struct slice line;
	while (s.len > 0 && slice_split_next(&s, '\n', &line)) {
		if (line.len > 0 && line.ptr[line.len - 1] == '\r')
			line.len--;
		add_item(r, &list, tv_str(line));
	}
	return tv_list(list.at, list.n);
}

static int filter_lines(struct render *r, struct call *c, struct tv *out)
{
	*out = text_lines(r, to_text(r, &c->args[0]));
	return 0;
}

/* At SEP, or at runs of white space; at most MAX times (-1: any). */
struct tv text_split(struct render *r, struct slice s, const struct slice *sep, int64_t max)
{
	struct items list = { 0 };
	if (sep != NULL && sep->len > 0) {
		for (ptrdiff_t at; max != 0 && (at = slice_find(s, *sep)) >= 0; max--) {
			add_item(r, &list, tv_str(slice_sub(s, 0, (size_t)at)));
			s = slice_sub(s, (size_t)at + sep->len, SIZE_MAX);
		}
		add_item(r, &list, tv_str(s));
		return tv_list(list.at, list.n);
	}
	for (;; max--) {
		s = text_trim(s, NULL, true, false);
		if (s.len == 0)
			break;
		size_t n = 0, len;
		uint32_t cp;
		while (max != 0 && n < s.len && ((len = utf8_decode(slice_sub(s, n, SIZE_MAX), &cp)) == 0 || !cp_is_space(cp)))
			n += MAX(len, (size_t)1);
		if (max == 0)
			n = s.len;
		add_item(r, &list, tv_str(slice_sub(s, 0, n)));
		s = slice_sub(s, n, SIZE_MAX);
	}
	return tv_list(list.at, list.n);
}

static int filter_split(struct render *r, struct call *c, struct tv *out)
{
	struct slice sep;
	bool given = arg_given(c, 1);
	int64_t max = -1;
	if (given)
		sep = to_text(r, &c->args[1]);
	if (arg_given(c, 2) && arg_int(r, c, 2, "i64", &max) < 0)
		return -E_INVAL;
	*out = text_split(r, to_text(r, &c->args[0]), given ? &sep : NULL, max);
	out->lazy = out->dynamic = true;
	return 0;
}

static int filter_string(struct render *r, struct call *c, struct tv *out)
{
	*out = c->args[0].kind == TV_STR ? c->args[0] : tv_str(to_text(r, &c->args[0]));
	return 0;
}

static int filter_tojson(struct render *r, struct call *c, struct tv *out)
{
	const struct tv *given = arg_or_kwarg(c, 1, "indent");
	struct buf b = { 0 };
	int64_t indent = 0;
	if (given != NULL && given->kind == TV_BOOL)
		indent = given->b ? 2 : 0;
	else if (given != NULL && given->kind != TV_NONE && tv_to_int(r, given, "usize", &indent) < 0)
		return -E_INVAL;
	if (indent < 0 || indent > 100)
		return tpl_fail(r, "invalid operation", "cannot indent by %lld", (long long)indent);
	int rc = tv_put_json(r, &b, &c->args[0], (int)indent, true);
	*out = tv_safe(tpl_keep(r, &b));
	return rc;
}

static int filter_pprint(struct render *r, struct call *c, struct tv *out)
{
	struct buf b = { 0 };
	tv_put_debug(&b, &c->args[0], 0);
	*out = tv_str(tpl_keep(r, &b));
	return 0;
}

static int filter_format(struct render *r, struct call *c, struct tv *out)
{
	struct slice fmt = to_text(r, &c->args[0]);
	struct call rest = *c;
	rest.args++;
	rest.n--;
	c->used = UINT64_MAX;
	return format_percent(r, fmt, &rest, out);
}

static int filter_wordcount(struct render *r, struct call *c, struct tv *out)
{
	struct tv words = text_split(r, to_text(r, &c->args[0]), NULL, -1);
	*out = tv_int((int128)words.l.n);
	return 0;
}

/* A number among the named arguments, within reason. */
static int kwarg_int(struct render *r, struct call *c, const char *name, int64_t dflt, int64_t *out)
{
	const struct tv *v = kwarg(c, name);
	*out = dflt;
	if (v == NULL || v->kind == TV_NONE)
		return 0;
	if (tv_to_int(r, v, "usize", out) < 0)
		return -E_INVAL;
	return *out < 0 || *out > INT32_MAX ? tpl_fail(r, "invalid operation", "%s is out of range", name) : 0;
}

static bool kwarg_true(struct call *c, const char *name, bool dflt)
{
	const struct tv *v = kwarg(c, name);
	return v != NULL ? tv_true(v) : dflt;
}

static struct slice first_chars(struct slice s, size_t n)
{
	size_t i = 0;
	while (i < s.len && ((s.ptr[i] & 0xc0) == 0x80 || n-- > 0))
		i++;
	return slice_sub(s, 0, i);
}

static int filter_truncate(struct render *r, struct call *c, struct tv *out)
{
	struct slice s = to_text(r, &c->args[0]), end = SLICE("...");
	const struct tv *given = kwarg(c, "end");
	int64_t length, leeway;
	bool kill = kwarg_true(c, "killwords", false);
	if (kwarg_int(r, c, "length", 255, &length) < 0 || kwarg_int(r, c, "leeway", 5, &leeway) < 0)
		return -E_INVAL;
	if (given != NULL)
		end = to_text(r, given);
	*out = tv_str(s);
	if ((int64_t)utf8_count(s) <= length + leeway)
		return 0;
	if ((int64_t)utf8_count(end) > length)
		return tpl_fail(r, "invalid operation", "expected length >= %zu, got %lld", utf8_count(end), (long long)length);
	s = first_chars(s, (size_t)length - utf8_count(end));
	ptrdiff_t blank = slice_rchr(s, ' ');
	if (!kill && blank >= 0)
		s.len = (size_t)blank;
	*out = tv_str(arena_slicef(r->a, "%.*s%.*s", SLICE_ARG(s), SLICE_ARG(end)));
	return 0;
}

/* One line of a text into lines of at most WIDTH characters. */
static void wrap_line(struct buf *b, struct slice line, size_t width, bool break_long, struct slice wrap)
{
	size_t column = 0;
	struct slice word;
	while (slice_split_next(&line, ' ', &word)) {
		size_t n = utf8_count(word);
		if (column > 0 && column + 1 + n > width) {
			buf_slice(b, wrap);
			column = 0;
		} else if (column > 0) {
			buf_putc(b, ' ');
			column++;
		}
		while (break_long && n > width) {
			struct slice part = first_chars(word, width);
			buf_slice(b, part);
			buf_slice(b, wrap);
			word = slice_sub(word, part.len, SIZE_MAX);
			n -= width;
		}
		buf_slice(b, word);
		column += n;
	}
}

static int filter_wordwrap(struct render *r, struct call *c, struct tv *out)
{
	struct slice s = to_text(r, &c->args[0]), line, wrap = SLICE("\n");
	const struct tv *given = kwarg(c, "wrapstring");
	bool break_long = kwarg_true(c, "break_long_words", true);
	struct buf b = { 0 };
	int64_t width;
	kwarg_true(c, "break_on_hyphens", true);
	if (kwarg_int(r, c, "width", 79, &width) < 0)
		return -E_INVAL;
	if (given != NULL)
		wrap = to_text(r, given);
	for (bool first = true; slice_split_next(&s, '\n', &line); first = false) {
		if (!first)
			buf_putc(&b, '\n');
		wrap_line(&b, line, (size_t)MAX(width, (int64_t)1), break_long, wrap);
	}
	*out = tv_str(tpl_keep(r, &b));
	return 0;
}

static int filter_pluralize(struct render *r, struct call *c, struct tv *out)
{
	const struct tv *v = &c->args[0];
	bool one = v->kind == TV_STR ? slice_eq_cstr(v->s, "1") : v->kind == TV_INT ? v->i == 1 : v->kind == TV_FLOAT ? v->f == 1 : tv_len(v) == 1;
	if (!tv_is_number(v) && v->kind != TV_STR && !tv_is_list(v) && !tv_is_map(v))
		return tpl_fail(r, "invalid operation", "Pluralize argument must be an integer, or a sequence / object with a length but of type %s", tv_kind_name(v));
	if (one)
		*out = arg_given(c, 1) ? c->args[1] : tv_str(SLICE(""));
	else
		*out = arg_given(c, 2) ? c->args[2] : tv_str(SLICE("s"));
	return 0;
}

const struct tpl_builtin TPL_TEXT_FILTERS[] = {
	{ "safe", filter_safe, 1, 1 }, { "escape", filter_escape, 1, 1 }, { "e", filter_escape, 1, 1 }, { "upper", filter_upper, 1, 1 },
	{ "lower", filter_lower, 1, 1 }, { "title", filter_title, 1, 1 }, { "capitalize", filter_capitalize, 1, 1 }, { "replace", filter_replace, 3, 3 },
	{ "trim", filter_trim, 1, 2 }, { "indent", filter_indent, 1, 4, .kwargs = true }, { "lines", filter_lines, 1, 1 }, { "split", filter_split, 1, 3 },
	{ "string", filter_string, 1, 1 }, { "tojson", filter_tojson, 1, 2, .kwargs = true }, { "pprint", filter_pprint, 1, 1 },
	{ "format", filter_format, 1, -1, .kwargs = true }, { "wordcount", filter_wordcount, 1, 1 }, { "truncate", filter_truncate, 1, 1, .kwargs = true },
	{ "wordwrap", filter_wordwrap, 1, 1, .kwargs = true }, { "pluralize", filter_pluralize, 1, 3 }, { NULL },
};
