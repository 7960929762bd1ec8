/* SPDX-License-Identifier: Apache-2.0 */
/* A tree as YAML, over libyaml's emitter: texts plain where that reads back as the same text, else in single quotes, or as a block. */
#include <math.h>
#include <stdlib.h>
#include <yaml.h>

#include "base/utf8.h"
#include "codec/yaml_int.h"

static int append(void *data, unsigned char *text, size_t len)
{
	buf_put(data, text, len);
	return 1;
}

/* Only memory can run out: what goes in is valid. */
static void emit(yaml_emitter_t *e, yaml_event_t *event, int initialized)
{
	if (!initialized || !yaml_emitter_emit(e, event))
		abort();
}

static void put_scalar(yaml_emitter_t *e, struct slice s, yaml_scalar_style_t style)
{
	yaml_event_t event;
	emit(e, &event, yaml_scalar_event_initialize(&event, NULL, NULL, (const yaml_char_t *)(s.ptr != NULL ? s.ptr : ""), (int)MIN(s.len, (size_t)INT32_MAX),
		1, 1, style));
}

static bool all_digits(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!ascii_is_digit(s.ptr[i]))
			return false;
	return s.len > 0;
}

static void put_text(yaml_emitter_t *e, struct slice s)
{
	struct buf clean = { 0 };
	if (!utf8_valid(s)) {
		utf8_put_lossy(&clean, s);
		s = buf_view(&clean);
	}
	if (slice_chr(s, '\n') >= 0)
		put_scalar(e, s, YAML_LITERAL_SCALAR_STYLE);
	else if (yaml_resolve(s).type != VAL_STR || all_digits(s))
		put_scalar(e, s, YAML_SINGLE_QUOTED_SCALAR_STYLE);
	else
		put_scalar(e, s, YAML_ANY_SCALAR_STYLE);
	buf_fini(&clean);
}

static void put_number(yaml_emitter_t *e, const struct val *v)
{
	struct buf b = { 0 };
	if (v->type == VAL_INT)
		buf_i64(&b, v->i);
	else if (v->type == VAL_UINT)
		buf_u64(&b, v->u);
	else if (isnan(v->f))
		buf_lit(&b, ".nan");
	else if (isinf(v->f))
		buf_cstr_put(&b, v->f < 0 ? "-.inf" : ".inf");
	else
		json_put_float(&b, v->f);
	put_scalar(e, buf_view(&b), YAML_PLAIN_SCALAR_STYLE);
	buf_fini(&b);
}

static void put_node(yaml_emitter_t *e, const struct val *v)
{
	yaml_event_t event;
	switch (v->type) {
	case VAL_NULL:
		put_scalar(e, SLICE("null"), YAML_PLAIN_SCALAR_STYLE);
		break;
	case VAL_BOOL:
		put_scalar(e, v->b ? SLICE("true") : SLICE("false"), YAML_PLAIN_SCALAR_STYLE);
		break;
	case VAL_INT:
	case VAL_UINT:
	case VAL_FLOAT:
		put_number(e, v);
		break;
	case VAL_STR:
	case VAL_TIME:
		put_text(e, v->s);
		break;
	case VAL_LIST:
		emit(e, &event, yaml_sequence_start_event_initialize(&event, NULL, NULL, 1, YAML_ANY_SEQUENCE_STYLE));
		for (uint32_t i = 0; i < v->n; i++)
			put_node(e, &v->items[i]);
		emit(e, &event, yaml_sequence_end_event_initialize(&event));
		break;
	case VAL_OBJ:
		emit(e, &event, yaml_mapping_start_event_initialize(&event, NULL, NULL, 1, YAML_ANY_MAPPING_STYLE));
		for (uint32_t i = 0; i < v->n; i++) {
			if (v->members[i].val.plain_key)
				put_scalar(e, v->members[i].key, YAML_PLAIN_SCALAR_STYLE);
			else
				put_text(e, v->members[i].key);
			put_node(e, &v->members[i].val);
		}
		emit(e, &event, yaml_mapping_end_event_initialize(&event));
		break;
	}
}

void yaml_put(struct buf *b, const struct val *v)
{
	yaml_emitter_t e;
	yaml_event_t event;
	struct buf text = { 0 };
	if (!yaml_emitter_initialize(&e))
		abort();
	yaml_emitter_set_output(&e, append, &text);
	yaml_emitter_set_encoding(&e, YAML_UTF8_ENCODING);
	yaml_emitter_set_unicode(&e, 1);
	yaml_emitter_set_width(&e, -1);
	emit(&e, &event, yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING));
	emit(&e, &event, yaml_document_start_event_initialize(&event, NULL, NULL, NULL, 1));
	put_node(&e, v);
	emit(&e, &event, yaml_document_end_event_initialize(&event, 1));
	emit(&e, &event, yaml_stream_end_event_initialize(&event));
	yaml_emitter_delete(&e);
	/* libyaml ends a document whose last block keeps its line ends; alone it needs no end. */
	if (slice_ends(buf_view(&text), SLICE("\n...\n")))
		text.len -= 4;
	buf_slice(b, buf_view(&text));
	buf_fini(&text);
}
