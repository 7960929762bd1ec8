/* SPDX-License-Identifier: Apache-2.0 */
/* The syntax of Handlebars. */
#include <stdio.h>
#include <stdlib.h>

#include "base/utf8.h"
#include "codec/template/hbs.h"
#include "codec/template/parse.h"

#define DEPTH_MAX 40

#define WANT_NAME  "expected identifier, subexpression, leading_tilde_to_omit_whitespace, or path_inline"
#define WANT_PARAM "expected identifier, helper_parameter, or trailing_tilde_to_omit_whitespace"
#define WANT_ELEMENT "expected escape, expression, html_expression, decorator_expression, partial_expression, invert_tag, invert_chain_tag, " \
	"helper_block_start, helper_block_end, decorator_block_start, partial_block_start, raw_block_start, hbs_comment, or hbs_comment_compact"

struct hparser {
	struct template *t;
	struct arena *a;
	struct slice src;
	size_t at;
	size_t tag_at;		/* where the tag that is being read begins: for messages */
	struct slice tag;	/* what is left of the tag's inside */
	bool trim;		/* the tag before ended with "~" */
	bool eat_line;		/* the tag before stood alone on its line: its line end is not text */
	int depth;
};

static void place(const struct hparser *p, size_t at, struct hbs_node *n)
{
	n->line = 1;
	n->col = 1;
	for (size_t i = 0; i < at; i++) {
		n->col = p->src.ptr[i] == '\n' ? 1 : n->col + 1;
		n->line += p->src.ptr[i] == '\n';
	}
}

static int fail(struct hparser *p, const char *want)
{
	struct hbs_node n;
	place(p, p->tag_at, &n);
	return err_set(E_INVAL, "Template error: invalid handlebars syntax: %s (in %.*s:%u)", want, SLICE_ARG(p->t->name), n.line);
}

static struct hbs_node *node_new(struct hparser *p, enum hbs_kind kind)
{
	struct hbs_node *n = arena_alloc(p->a, sizeof *n);
	n->kind = kind;
	return n;
}

static void add_node(struct hparser *p, struct hbs_list *list, struct hbs_node *n)
{
	list->items = parse_grow(p->a, list->items, list->n, sizeof *list->items);
	list->items[list->n++] = n;
}

static void add_text(struct hparser *p, struct hbs_list *list, struct slice text)
{
	if (text.len == 0)
		return;
	struct hbs_node *n = node_new(p, HBS_TEXT);
	n->text = text;
	add_node(p, list, n);
}

static void skip_space(struct hparser *p)
{
	while (p->tag.len > 0 && ascii_is_space(*p->tag.ptr))
		p->tag = slice_sub(p->tag, 1, SIZE_MAX);
}

static bool is_id_char(char c)
{
	return ascii_is_alnum(c) || c == '_' || c == '-' || c == '$' || c == ':' || (c & 0x80);
}

static void add_seg(struct hparser *p, struct hbs_path *path, struct slice seg)
{
	path->segs = parse_grow(p->a, path->segs, path->n, sizeof *path->segs);
	path->segs[path->n++] = seg;
}

/* a.b, a/b, [a b].c, ../a, this.a, ./a, @root.a */
static int parse_path(struct hparser *p, struct hbs_path *out)
{
	struct slice start = p->tag, s = p->tag;
	*out = (struct hbs_path){ 0 };
	if (s.len > 0 && s.ptr[0] == '@') {
		out->at = true;
		s = slice_sub(s, 1, SIZE_MAX);
	}
	while (slice_starts(s, SLICE(".."))) {
		out->up++;
		s = slice_sub(s, slice_starts(s, SLICE("../")) ? 3 : 2, SIZE_MAX);
	}
	if (slice_starts(s, SLICE("./"))) {
		out->this = true;
		s = slice_sub(s, 2, SIZE_MAX);
	} else if (slice_starts(s, SLICE("."))) {
		out->this = true;
		s = slice_sub(s, 1, SIZE_MAX);
	}
	while (s.len > 0) {
		size_t n = 0;
		if (s.ptr[0] == '[') {
			ptrdiff_t end = slice_chr(s, ']');
			if (end < 0)
				return fail(p, WANT_NAME);
			add_seg(p, out, slice_sub(s, 1, (size_t)end - 1));
			s = slice_sub(s, (size_t)end + 1, SIZE_MAX);
		} else {
			while (n < s.len && is_id_char(s.ptr[n]))
				n++;
			if (n == 0)
				break;
			struct slice seg = slice_sub(s, 0, n);
			if (slice_eq_cstr(seg, "this") && out->n == 0 && !out->at)
				out->this = true;
			else
				add_seg(p, out, seg);
			s = slice_sub(s, n, SIZE_MAX);
		}
		if (s.len == 0 || (s.ptr[0] != '.' && s.ptr[0] != '/'))
			break;
		s = slice_sub(s, 1, SIZE_MAX);
		if (out->n > 200)
			return fail(p, WANT_NAME);
	}
	out->raw = slice_sub(start, 0, (size_t)(s.ptr - start.ptr));
	if (out->raw.len == 0 || (out->n == 0 && out->up == 0 && !out->this))
		return fail(p, WANT_NAME);
	p->tag = s;
	return 0;
}

static int parse_string(struct hparser *p, struct val *out)
{
	char quote = p->tag.ptr[0];
	struct buf b = { 0 };
	size_t i = 1;
	for (; i < p->tag.len && p->tag.ptr[i] != quote; i++) {
		if (p->tag.ptr[i] == '\\' && i + 1 < p->tag.len && (p->tag.ptr[i + 1] == quote || p->tag.ptr[i + 1] == '\\'))
			i++;
		buf_putc(&b, p->tag.ptr[i]);
	}
	*out = val_str(p->a, buf_view(&b));
	buf_fini(&b);
	if (i >= p->tag.len)
		return fail(p, WANT_PARAM);
	p->tag = slice_sub(p->tag, i + 1, SIZE_MAX);
	return 0;
}

/* true, false, null or a number that ends where a word ends; false: it is none. */
static bool parse_word_literal(struct hparser *p, struct val *out)
{
	size_t n = 0;
	while (n < p->tag.len && (is_id_char(p->tag.ptr[n]) || p->tag.ptr[n] == '.' || p->tag.ptr[n] == '/'))
		n++;
	struct slice word = slice_sub(p->tag, 0, n);
	bool number = n > 0 && (ascii_is_digit(word.ptr[0]) || (word.ptr[0] == '-' && n > 1));
	if (!number && !slice_eq_cstr(word, "true") && !slice_eq_cstr(word, "false") && !slice_eq_cstr(word, "null"))
		return false;
	if (json_parse(word, p->a, out) < 0)
		return false;
	p->tag = slice_sub(p->tag, n, SIZE_MAX);
	return true;
}

static int parse_call(struct hparser *p, struct hbs_call *out);

static int parse_param(struct hparser *p, struct hbs_param *out)
{
	*out = (struct hbs_param){ HBS_PATH };
	if (p->tag.len == 0)
		return fail(p, WANT_PARAM);
	if (p->tag.ptr[0] == '"' || p->tag.ptr[0] == '\'') {
		out->kind = HBS_LITERAL;
		return parse_string(p, &out->literal);
	}
	if (parse_word_literal(p, &out->literal)) {
		out->kind = HBS_LITERAL;
		return 0;
	}
	if (p->tag.ptr[0] != '(')
		return parse_path(p, &out->path) < 0 ? fail(p, WANT_PARAM) : 0;
	if (p->depth++ >= DEPTH_MAX)
		return fail(p, "nested too deep");
	out->kind = HBS_CALL;
	out->call = arena_alloc(p->a, sizeof *out->call);
	p->tag = slice_sub(p->tag, 1, SIZE_MAX);
	int rc = parse_call(p, out->call);
	p->depth--;
	if (rc < 0)
		return rc;
	skip_space(p);
	if (p->tag.len == 0 || p->tag.ptr[0] != ')')
		return fail(p, WANT_PARAM);
	p->tag = slice_sub(p->tag, 1, SIZE_MAX);
	return 0;
}

/* "name=" */
static bool parse_name(struct hparser *p, struct slice *name)
{
	size_t n = 0;
	while (n < p->tag.len && is_id_char(p->tag.ptr[n]))
		n++;
	if (n == 0 || n >= p->tag.len || p->tag.ptr[n] != '=')
		return false;
	*name = slice_sub(p->tag, 0, n);
	p->tag = slice_sub(p->tag, n + 1, SIZE_MAX);
	return true;
}

/* "as |a b|" */
static int parse_locals(struct hparser *p, struct hbs_call *c)
{
	ptrdiff_t open = slice_chr(p->tag, '|');
	struct slice names = slice_sub(p->tag, (size_t)open + 1, SIZE_MAX), name;
	ptrdiff_t close = slice_chr(names, '|');
	if (open < 0 || close < 0)
		return fail(p, WANT_PARAM);
	p->tag = slice_sub(names, (size_t)close + 1, SIZE_MAX);
	names.len = (size_t)close;
	while (slice_split_next(&names, ' ', &name))
		if (name.len > 0 && c->n_locals < ARRAY_LEN(c->locals))
			c->locals[c->n_locals++] = name;
	return 0;
}

/* The head, then parameters by place and by name, up to ")" or the end of the tag. */
static int parse_call(struct hparser *p, struct hbs_call *c)
{
	int rc;
	skip_space(p);
	if (p->tag.len > 0 && p->tag.ptr[0] == '(')
		rc = parse_param(p, &c->head);
	else
		rc = parse_path(p, &c->head.path);
	for (skip_space(p); rc == 0 && p->tag.len > 0 && p->tag.ptr[0] != ')'; skip_space(p)) {
		struct hbs_named named;
		if (slice_starts(p->tag, SLICE("as |")) || slice_starts(p->tag, SLICE("as  |"))) {
			rc = parse_locals(p, c);
		} else if (parse_name(p, &named.name)) {
			if ((rc = parse_param(p, &named.value)) < 0)
				break;
			c->named = parse_grow(p->a, c->named, c->n_named, sizeof *c->named);
			c->named[c->n_named++] = named;
		} else {
			c->params = parse_grow(p->a, c->params, c->n, sizeof *c->params);
			rc = parse_param(p, &c->params[c->n]);
			c->n += rc == 0;
		}
	}
	return rc;
}

/* Where the tag ends that starts at AT with OPEN braces: the offset behind it, 0 when it does not. */
static size_t tag_end(const struct hparser *p, size_t at, const char *close, bool comment)
{
	struct slice s = slice_sub(p->src, at, SIZE_MAX);
	if (comment) {
		ptrdiff_t end = slice_find(s, SLICE("--}}"));
		ptrdiff_t tilde = slice_find(s, SLICE("--~}}"));
		if (tilde >= 0 && (end < 0 || tilde < end))
			return at + (size_t)tilde + 5;
		return end < 0 ? 0 : at + (size_t)end + 4;
	}
	char quote = '\0';
	struct slice mark = slice_from_cstr(close);
	for (size_t i = 0; i < s.len; i++) {
		if (quote != '\0') {
			quote = s.ptr[i] == quote ? '\0' : quote;
		} else if (s.ptr[i] == '"' || s.ptr[i] == '\'') {
			quote = s.ptr[i];
		} else if (slice_starts(slice_sub(s, i, SIZE_MAX), mark)) {
			return at + i + mark.len;
		}
	}
	/* an odd quote: it was none */
	ptrdiff_t end = slice_find(s, mark);
	return end < 0 ? 0 : at + (size_t)end + mark.len;
}

/* A tag, cut out of the source. */
struct htag {
	char kind;		/* '#', '/', '^', '!', '>', '&', '{', 'e' (else), '*' (#*), 'p' (#>), or ' ' for a value */
	struct slice inside;
	size_t start, end;
	bool trim_before, trim_after;
};

static int cut_tag(struct hparser *p, struct htag *t)
{
	struct slice s = slice_sub(p->src, t->start + 2, SIZE_MAX);
	t->trim_before = slice_starts(s, SLICE("~"));
	s = slice_sub(s, t->trim_before, SIZE_MAX);
	bool triple = slice_starts(s, SLICE("{")), comment = slice_starts(s, SLICE("!--")), bang = slice_starts(s, SLICE("!"));
	size_t from = (size_t)(s.ptr - p->src.ptr) + triple;
	ptrdiff_t plain = bang && !comment ? slice_find(s, SLICE("}}")) : -1;
	t->end = plain >= 0 ? from + (size_t)plain + 2 : tag_end(p, from, triple ? "}" : "}}", comment);
	if (t->end == 0)
		return fail(p, s.len > 0 && strchr("#/^>", s.ptr[0]) != NULL && s.ptr[0] != '\0' ? WANT_NAME : WANT_PARAM);
	size_t close = triple ? 1 : 2;
	t->inside = slice_new(p->src.ptr + from, t->end - close - from);
	if (triple) {	/* "}}}", or "}~}}" */
		struct slice rest = slice_sub(p->src, t->end, SIZE_MAX);
		t->trim_after = slice_starts(rest, SLICE("~"));
		if (!slice_starts(slice_sub(rest, t->trim_after, SIZE_MAX), SLICE("}}")))
			return fail(p, WANT_PARAM);
		t->end += 2 + t->trim_after;
		t->kind = '{';
		return 0;
	}
	t->trim_after = slice_ends(t->inside, SLICE("~"));
	t->inside.len -= t->trim_after;
	struct slice in = slice_trim(t->inside);
	t->kind = in.len > 0 && strchr("#/^!>&", in.ptr[0]) != NULL ? in.ptr[0] : ' ';
	if (t->kind != ' ')
		in = slice_sub(in, 1, SIZE_MAX);
	if (t->kind == '#' && slice_starts(in, SLICE("*"))) {
		t->kind = '*';
		in = slice_sub(in, 1, SIZE_MAX);
	} else if (t->kind == '#' && slice_starts(in, SLICE(">"))) {
		t->kind = 'p';
		in = slice_sub(in, 1, SIZE_MAX);
	} else if (t->kind == ' ' && (slice_eq_cstr(in, "else") || slice_starts(in, SLICE("else ")))) {
		t->kind = 'e';
		in = slice_sub(in, 4, SIZE_MAX);
	} else if (t->kind == '^') {
		if (slice_trim(in).len > 0)
			return fail(p, "expected keywords");
		t->kind = 'e';
	}
	t->inside = slice_trim(in);
	return 0;
}

/* A block, comment or partial alone on its line takes the line with it. */
static bool stands_alone(const struct hparser *p, const struct htag *t, struct slice *before)
{
	struct slice pre = *before, post = slice_sub(p->src, t->end, SIZE_MAX);
	if (t->kind == ' ' || t->kind == '{' || t->kind == '&')
		return false;
	while (pre.len > 0 && (pre.ptr[pre.len - 1] == ' ' || pre.ptr[pre.len - 1] == '\t'))
		pre.len--;
	bool line_start = pre.len > 0 ? pre.ptr[pre.len - 1] == '\n' : t->start == before->len || (pre.ptr > p->src.ptr && pre.ptr[-1] == '\n');
	size_t n = 0;
	while (n < post.len && (post.ptr[n] == ' ' || post.ptr[n] == '\t'))
		n++;
	bool line_end = n == post.len || post.ptr[n] == '\n' || slice_starts(slice_sub(post, n, SIZE_MAX), SLICE("\r\n"));
	if (!line_start || !line_end)
		return false;
	*before = pre;
	return true;
}

/* The text up to the next tag, with "\{{" taken for what it says; *TAG is cut, kind 0 at the end of the source. */
static int next_tag(struct hparser *p, struct hbs_list *out, struct htag *tag)
{
	struct slice s = slice_sub(p->src, p->at, SIZE_MAX);
	bool first = true;
	for (;;) {
		ptrdiff_t at = slice_find(s, SLICE("{{"));
		struct slice text = slice_sub(s, 0, at < 0 ? s.len : (size_t)at);
		bool escaped = at > 0 && s.ptr[at - 1] == '\\', twice = escaped && at > 1 && s.ptr[at - 2] == '\\';
		if (first && p->trim) {
			size_t n = 0;
			while (n < text.len && ascii_is_space(text.ptr[n]))
				n++;
			text = slice_sub(text, n, SIZE_MAX);
		} else if (first && p->eat_line) {
			ptrdiff_t eol = slice_chr(text, '\n');
			text = slice_sub(text, eol < 0 ? text.len : (size_t)eol + 1, SIZE_MAX);
		}
		first = false;
		p->tag_at = at < 0 ? p->src.len : (size_t)(s.ptr - p->src.ptr) + (size_t)at;
		*tag = (struct htag){ .start = at < 0 ? p->src.len : (size_t)(s.ptr - p->src.ptr) + (size_t)at };
		if (at < 0) {
			add_text(p, out, text);
			p->at = p->src.len;
			return 0;
		}
		if (escaped && !twice) {	/* the braces are text, up to the next tag */
			struct slice rest = slice_sub(s, (size_t)at + 2, SIZE_MAX);
			text.len -= text.len > 0;
			add_text(p, out, text);
			add_text(p, out, SLICE("{{"));
			s = rest;
			continue;
		}
		if (twice && text.len > 0)
			text.len--;
		int rc = 0;
		if (!slice_starts(slice_sub(s, (size_t)at, SIZE_MAX), SLICE("{{{{")) && (rc = cut_tag(p, tag)) < 0)
			return rc;
		if (tag->kind == 0) {	/* a raw block */
			tag->kind = 'r';
			add_text(p, out, text);
			return 0;
		}
		p->eat_line = stands_alone(p, tag, &text) && !tag->trim_after;
		if (tag->trim_before)
			while (text.len > 0 && ascii_is_space(text.ptr[text.len - 1]))
				text.len--;
		p->trim = tag->trim_after;
		add_text(p, out, text);
		p->at = tag->end;
		return 0;
	}
}

static int parse_inside(struct hparser *p, const struct htag *tag, struct hbs_node *n)
{
	place(p, tag->start, n);
	n->call = arena_alloc(p->a, sizeof *n->call);
	p->tag = tag->inside;
	int rc = parse_call(p, n->call);
	return rc == 0 && p->tag.len > 0 ? fail(p, WANT_PARAM) : rc;
}

/* {{{{name}}}} text {{{{/name}}}} */
static int parse_raw_block(struct hparser *p, const struct htag *tag, struct hbs_list *out)
{
	struct slice s = slice_sub(p->src, tag->start + 4, SIZE_MAX);
	ptrdiff_t close = slice_find(s, SLICE("}}}}"));
	if (close < 0)
		return fail(p, WANT_NAME);
	struct slice name = slice_trim(slice_sub(s, 0, (size_t)close)), text = slice_sub(s, (size_t)close + 4, SIZE_MAX);
	struct slice mark = arena_slicef(p->a, "{{{{/%.*s}}}}", SLICE_ARG(name));
	ptrdiff_t end = slice_find(text, mark);
	if (end < 0 || name.len == 0)
		return fail(p, "expected raw_block_end or raw_block_text");
	add_text(p, out, slice_sub(text, 0, (size_t)end));
	p->at = (size_t)(text.ptr - p->src.ptr) + (size_t)end + mark.len;
	p->trim = p->eat_line = false;
	return 0;
}

static int parse_list(struct hparser *p, struct hbs_list *out, struct htag *stop);

/* A block's bodies, from behind its opening tag to its closing one. */
static int parse_block(struct hparser *p, struct hbs_node *n, struct slice name)
{
	struct htag stop;
	int rc;
	if (p->depth >= DEPTH_MAX)
		return fail(p, "nested too deep");
	p->depth++;
	rc = parse_list(p, &n->body, &stop);
	while (rc == 0 && stop.kind == 'e') {
		if (stop.inside.len > 0) {	/* else if …: a block of its own that shares the closing tag */
			struct hbs_node *inner = node_new(p, HBS_BLOCK);
			if ((rc = parse_inside(p, &stop, inner)) < 0)
				break;
			add_node(p, &n->other, inner);
			rc = parse_block(p, inner, name);
			p->depth--;
			return rc;
		}
		rc = parse_list(p, &n->other, &stop);
	}
	p->depth--;
	if (rc < 0)
		return rc;
	if (stop.kind != '/')
		return fail(p, WANT_ELEMENT);
	if (!slice_eq(stop.inside, name))
		return fail(p, arena_printf(p->a, "helper \"%.*s\" was opened, but \"%.*s\" is closing", SLICE_ARG(name), SLICE_ARG(stop.inside)));
	return 0;
}

static int parse_tag(struct hparser *p, const struct htag *tag, struct hbs_list *out)
{
	static const struct {
		char kind;
		enum hbs_kind node;
	} kinds[] = { { ' ', HBS_VALUE }, { '&', HBS_RAW_VALUE }, { '{', HBS_RAW_VALUE }, { '#', HBS_BLOCK }, { '*', HBS_INLINE }, { '>', HBS_PARTIAL },
		{ 'p', HBS_PARTIAL_BLOCK } };
	struct hbs_node *n = node_new(p, HBS_VALUE);
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (kinds[i].kind == tag->kind)
			n->kind = kinds[i].node;
	int rc = parse_inside(p, tag, n);
	if (rc < 0)
		return rc;
	add_node(p, out, n);
	if (n->kind == HBS_BLOCK || n->kind == HBS_INLINE || n->kind == HBS_PARTIAL_BLOCK)
		return parse_block(p, n, n->call->head.path.raw);
	return 0;
}

/* Elements up to a closing or an else tag, which becomes *STOP; kind 0: the source has ended. */
static int parse_list(struct hparser *p, struct hbs_list *out, struct htag *stop)
{
	for (;;) {
		int rc = next_tag(p, out, stop);
		if (rc < 0 || stop->kind == 0 || stop->kind == '/' || stop->kind == 'e')
			return rc;
		if (stop->kind == '!')
			continue;
		rc = stop->kind == 'r' ? parse_raw_block(p, stop, out) : parse_tag(p, stop, out);
		if (rc < 0)
			return rc;
	}
}

int hbs_compile(struct template *t)
{
	struct hparser p = { .t = t, .a = t->arena, .src = t->source };
	struct hbs_node *root = node_new(&p, HBS_BLOCK);
	struct htag stop;
	int rc = parse_list(&p, &root->body, &stop);
	if (rc == 0 && stop.kind != 0)
		rc = fail(&p, WANT_NAME);
	t->hbs = root;
	return rc;
}
