/* SPDX-License-Identifier: Apache-2.0 */
/*
 * YAML into a tree, over libyaml's events.
 *
 * An alias shares what its anchor made, so that the tree stays small; but whoever walks the tree walks all copies, so their number is
 * bounded by what the text's length could reasonably mean.
 */
#include <stdlib.h>
#include <yaml.h>

#include "codec/yaml_int.h"

#define DEPTH_MAX      127
#define REPEATS_MAX    100	/* nodes an event may stand for, on average */

struct anchor {
	struct anchor *next;
	struct slice name;
	struct val val;
	size_t nodes;
};

struct reader {
	yaml_parser_t parser;
	yaml_event_t event;
	bool has_event;
	const char *name;
	struct arena *a;
	struct anchor *anchors;
	size_t events, nodes;
	int depth;
};

static bool is_start(yaml_mark_t m)
{
	return m.line == 0 && m.column == 0;
}

static void put_mark(struct buf *b, yaml_mark_t m)
{
	if (!is_start(m))
		buf_printf(b, " at line %zu column %zu", m.line + 1, m.column + 1);
}

static int fail_text(const struct reader *r, struct buf *b)
{
	int rc = r->name != NULL ? err_set(E_INVAL, "%s: %s", r->name, buf_cstr(b)) : err_set(E_INVAL, "%s", buf_cstr(b));
	buf_fini(b);
	return rc;
}

static int fail(const struct reader *r, const char *what)
{
	struct buf b = { 0 };
	buf_cstr_put(&b, what);
	if (r->has_event)
		put_mark(&b, r->event.start_mark);
	return fail_text(r, &b);
}

/* A type where it cannot be has no place in upstream's words. */
static int fail_plain(const struct reader *r, const char *what)
{
	struct buf b = { 0 };
	buf_cstr_put(&b, what);
	return fail_text(r, &b);
}

static int fail_syntax(const struct reader *r)
{
	const yaml_parser_t *p = &r->parser;
	struct buf b = { 0 };
	buf_cstr_put(&b, p->problem != NULL ? p->problem : "no valid YAML");
	if (!is_start(p->problem_mark))
		put_mark(&b, p->problem_mark);
	else if (p->problem_offset != 0)
		buf_printf(&b, " at position %zu", p->problem_offset);
	if (p->context != NULL) {
		buf_printf(&b, ", %s", p->context);
		if (p->context_mark.line != p->problem_mark.line || p->context_mark.column != p->problem_mark.column)
			put_mark(&b, p->context_mark);
	}
	return fail_text(r, &b);
}

static int next(struct reader *r)
{
	if (r->has_event)
		yaml_event_delete(&r->event);
	r->has_event = false;
	if (!yaml_parser_parse(&r->parser, &r->event))
		return fail_syntax(r);
	r->has_event = true;
	r->events++;
	return 0;
}

static struct slice text_of(const struct reader *r)
{
	return slice_new(r->event.data.scalar.value, r->event.data.scalar.length);
}

/* "!!str 5" is text, whatever it looks like. */
static struct val scalar_val(struct reader *r)
{
	const char *tag = (const char *)r->event.data.scalar.tag;
	bool text = r->event.data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
	if (tag != NULL && strcmp(tag, "!!str") != 0 && strcmp(tag, YAML_STR_TAG) != 0 && strncmp(tag, "tag:yaml.org", 12) == 0)
		text = false;
	else if (tag != NULL)
		text = true;
	struct val v = text ? (struct val){ .type = VAL_STR, .s = text_of(r) } : yaml_resolve(text_of(r));
	if (v.type == VAL_STR)
		v.s = arena_dup(r->a, v.s);
	return v;
}

static int count_nodes(struct reader *r, size_t n)
{
	r->nodes += n;
	return r->nodes > REPEATS_MAX * r->events + 1000 ? fail(r, "repetition limit exceeded") : 0;
}

static int read_alias(struct reader *r, struct val *out)
{
	struct slice name = slice_from_cstr((const char *)r->event.data.alias.anchor);
	for (const struct anchor *n = r->anchors; n != NULL; n = n->next)
		if (slice_eq(n->name, name)) {
			*out = n->val;
			return count_nodes(r, n->nodes);
		}
	return fail(r, "unknown anchor");
}

static int read_node(struct reader *r, struct val *out);

static int read_sequence(struct reader *r, struct val *out)
{
	struct val item;
	int rc;
	*out = val_list();
	for (;;) {
		if ((rc = next(r)) < 0)
			return rc;
		if (r->event.type == YAML_SEQUENCE_END_EVENT)
			return 0;
		if ((rc = read_node(r, &item)) < 0)
			return rc;
		val_push(r->a, out, item);
	}
}

/* The text of a key as it is written; an alias to a text will do. */
static int read_key(struct reader *r, struct slice *out)
{
	struct val v;
	int rc;
	switch (r->event.type) {
	case YAML_SCALAR_EVENT:
		*out = arena_dup(r->a, text_of(r));
		return 0;
	case YAML_ALIAS_EVENT:
		if ((rc = read_alias(r, &v)) < 0)
			return rc;
		*out = v.s;
		return v.type == VAL_STR ? 0 : fail_plain(r, "invalid type: alias, expected a string key");
	case YAML_SEQUENCE_START_EVENT:
		return fail_plain(r, "invalid type: sequence, expected a string key");
	default:
		return fail_plain(r, "invalid type: map, expected a string key");
	}
}

static int read_mapping(struct reader *r, struct val *out)
{
	struct slice key;
	struct val item;
	int rc;
	*out = val_obj();
	for (;;) {
		if ((rc = next(r)) < 0)
			return rc;
		if (r->event.type == YAML_MAPPING_END_EVENT)
			return 0;
		if ((rc = read_key(r, &key)) < 0 || (rc = next(r)) < 0 || (rc = read_node(r, &item)) < 0)
			return rc;
		val_put(r->a, out, key, item);
	}
}

static const char *event_anchor(const struct reader *r)
{
	switch (r->event.type) {
	case YAML_SCALAR_EVENT:
		return (const char *)r->event.data.scalar.anchor;
	case YAML_SEQUENCE_START_EVENT:
		return (const char *)r->event.data.sequence_start.anchor;
	case YAML_MAPPING_START_EVENT:
		return (const char *)r->event.data.mapping_start.anchor;
	default:
		return NULL;
	}
}

/* The node whose first event is the current one. */
static int read_node(struct reader *r, struct val *out)
{
	const char *anchor = event_anchor(r);
	struct anchor *keep = NULL;
	size_t before = r->nodes;
	int rc = count_nodes(r, 1);
	if (rc < 0)
		return rc;
	if (anchor != NULL) {
		keep = arena_alloc(r->a, sizeof *keep);
		keep->name = arena_dup(r->a, slice_from_cstr(anchor));
	}
	if (r->depth == DEPTH_MAX)
		return fail(r, "recursion limit exceeded");
	r->depth++;
	switch (r->event.type) {
	case YAML_SCALAR_EVENT:
		*out = scalar_val(r);
		break;
	case YAML_SEQUENCE_START_EVENT:
		rc = read_sequence(r, out);
		break;
	case YAML_MAPPING_START_EVENT:
		rc = read_mapping(r, out);
		break;
	case YAML_ALIAS_EVENT:
		rc = read_alias(r, out);
		break;
	default:
		rc = fail(r, "unexpected end of the document");
	}
	r->depth--;
	if (rc == 0 && keep != NULL) {
		keep->val = *out;
		keep->nodes = r->nodes - before;
		keep->next = r->anchors;
		r->anchors = keep;
	}
	return rc;
}

static int read_stream(struct reader *r, struct val *out)
{
	int rc;
	*out = val_null();
	do
		if ((rc = next(r)) < 0)
			return rc;
	while (r->event.type == YAML_STREAM_START_EVENT || r->event.type == YAML_DOCUMENT_START_EVENT);
	if (r->event.type == YAML_STREAM_END_EVENT)
		return 0;
	if ((rc = read_node(r, out)) < 0 || (rc = next(r)) < 0 || (rc = next(r)) < 0)
		return rc;
	if (r->event.type != YAML_STREAM_END_EVENT)
		return fail_plain(r, "deserializing from YAML containing more than one document is not supported");
	return 0;
}

int yaml_parse(struct slice text, const char *name, struct arena *a, struct val *out)
{
	struct reader r = { .name = name, .a = a };
	struct val v;
	if (!yaml_parser_initialize(&r.parser))
		abort();
	yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&r.parser, (const unsigned char *)(text.ptr != NULL ? text.ptr : ""), text.len);
	int rc = read_stream(&r, &v);
	if (r.has_event)
		yaml_event_delete(&r.event);
	yaml_parser_delete(&r.parser);
	if (rc == 0)
		*out = v;
	return rc;
}
