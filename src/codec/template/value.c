/* SPDX-License-Identifier: Apache-2.0 */
/* Values of the Jinja dialect: kinds, truth, order, and how they print. */
#include <math.h>
#include <stdlib.h>
#include <utf8proc.h>

#include "base/utf8.h"
#include "base/xalloc.h"
#include "codec/template/tpl.h"
#include "codec/val_float.h"

struct tv tv_from_val(const struct val *v)
{
	switch (v->type) {
	case VAL_NULL:	return tv_none();
	case VAL_BOOL:	return tv_bool(v->b);
	case VAL_INT:	return tv_int(v->i);
	case VAL_UINT:	return tv_int((int128)v->u);
	case VAL_FLOAT:	return tv_float(v->f);
	case VAL_STR:
	case VAL_TIME:	return tv_str(v->s);
	case VAL_LIST:	return (struct tv){ .kind = TV_VLIST, .v = v };
	case VAL_OBJ:	return (struct tv){ .kind = TV_VOBJ, .v = v };
	}
	return tv_undef();
}

const char *tv_kind_name(const struct tv *v)
{
	switch (v->kind) {
	case TV_UNDEF:	return "undefined";
	case TV_NONE:	return "none";
	case TV_BOOL:	return "bool";
	case TV_INT:
	case TV_FLOAT:	return "number";
	case TV_STR:	return "string";
	case TV_LIST:	return v->dynamic ? "iterator" : "sequence";
	case TV_VLIST:	return "sequence";
	case TV_MAP:
	case TV_VOBJ:	return "map";
	case TV_OBJ:	return v->obj->kind == OBJ_NAMESPACE || v->obj->kind == OBJ_MODULE ? "map" : "plain object";
	}
	return "";
}

bool tv_is_number(const struct tv *v)
{
	return v->kind == TV_INT || v->kind == TV_FLOAT;
}

double tv_number(const struct tv *v)
{
	return v->kind == TV_FLOAT ? v->f : v->kind == TV_BOOL ? v->b : (double)v->i;
}

bool tv_is_list(const struct tv *v)
{
	return v->kind == TV_LIST || v->kind == TV_VLIST;
}

static const struct tmap *as_map(const struct tv *v)
{
	if (v->kind == TV_MAP)
		return v->map;
	if (v->kind == TV_OBJ && (v->obj->kind == OBJ_NAMESPACE || v->obj->kind == OBJ_MODULE))
		return v->obj->map;
	return NULL;
}

bool tv_is_map(const struct tv *v)
{
	return v->kind == TV_VOBJ || as_map(v) != NULL;
}

size_t tv_len(const struct tv *v)
{
	switch (v->kind) {
	case TV_STR:
		return utf8_count(v->s);
	case TV_LIST:
		return v->l.n;
	case TV_VLIST:
	case TV_VOBJ:
		return v->v->n;
	default:
		return as_map(v) != NULL ? as_map(v)->n : 0;
	}
}

bool tv_true(const struct tv *v)
{
	switch (v->kind) {
	case TV_UNDEF:
	case TV_NONE:	return false;
	case TV_BOOL:	return v->b;
	case TV_INT:	return v->i != 0;
	case TV_FLOAT:	return v->f != 0;
	case TV_STR:	return v->s.len > 0;
	case TV_OBJ:	return as_map(v) == NULL || as_map(v)->n > 0;
	default:	return tv_len(v) > 0;
	}
}

static struct tv item_at(const struct tv *v, size_t i)
{
	return v->kind == TV_LIST ? v->l.items[i] : tv_from_val(&v->v->items[i]);
}

static int by_key(const void *x, const void *y)
{
	const struct val_member *const *a = x, *const *b = y;
	return slice_cmp((*a)->key, (*b)->key);
}

const struct val_member **sorted_members(const struct val *obj)
{
	const struct val_member **order = xreallocarray(NULL, obj->n, sizeof *order);
	for (uint32_t i = 0; i < obj->n; i++)
		order[i] = &obj->members[i];
	qsort(order, obj->n, sizeof *order, by_key);
	return order;
}

static int kind_rank(const struct tv *v)
{
	switch (v->kind) {
	case TV_UNDEF:	return 0;
	case TV_NONE:	return 1;
	case TV_BOOL:	return 2;
	case TV_INT:
	case TV_FLOAT:	return 3;
	case TV_STR:	return 4;
	case TV_LIST:
	case TV_VLIST:	return 5;
	case TV_MAP:
	case TV_VOBJ:	return 6;
	case TV_OBJ:	return as_map(v) != NULL ? 6 : 7;
	}
	return 8;
}

static int cmp_numbers(const struct tv *a, const struct tv *b)
{
	if (a->kind != TV_FLOAT && b->kind != TV_FLOAT) {
		int128 x = a->kind == TV_BOOL ? a->b : a->i, y = b->kind == TV_BOOL ? b->b : b->i;
		return x < y ? -1 : x > y;
	}
	double x = tv_number(a), y = tv_number(b);
	return x < y ? -1 : x > y;
}

static int cmp_lists(const struct tv *a, const struct tv *b)
{
	size_t n = MIN(tv_len(a), tv_len(b));
	for (size_t i = 0; i < n; i++) {
		struct tv x = item_at(a, i), y = item_at(b, i);
		int c = tv_cmp(&x, &y);
		if (c != 0)
			return c;
	}
	return tv_len(a) < tv_len(b) ? -1 : tv_len(a) > tv_len(b);
}

static bool is_numeric(const struct tv *v)
{
	return v->kind == TV_BOOL || tv_is_number(v);
}

static bool map_get(const struct tv *m, const struct tv *key, struct tv *out)
{
	if (m->kind == TV_VOBJ) {
		const struct val *v = key->kind == TV_STR ? val_get(m->v, key->s) : NULL;
		if (v != NULL)
			*out = tv_from_val(v);
		return v != NULL;
	}
	const struct tv *v = tmap_get(as_map(m), key);
	if (v != NULL)
		*out = *v;
	return v != NULL;
}

static struct tv key_at(const struct tv *m, size_t i)
{
	return m->kind == TV_VOBJ ? tv_str(m->v->members[i].key) : as_map(m)->pairs[i].key;
}

static bool maps_eq(const struct tv *a, const struct tv *b)
{
	if (tv_len(a) != tv_len(b))
		return false;
	for (size_t i = 0; i < tv_len(a); i++) {
		struct tv key = key_at(a, i), x, y;
		if (!map_get(a, &key, &x) || !map_get(b, &key, &y) || !tv_eq(&x, &y))
			return false;
	}
	return true;
}

bool tv_eq(const struct tv *a, const struct tv *b)
{
	if (is_numeric(a) && is_numeric(b))
		return cmp_numbers(a, b) == 0;
	if (tv_is_map(a) && tv_is_map(b))
		return maps_eq(a, b);
	if (a->kind == TV_OBJ || b->kind == TV_OBJ)
		return a->kind == b->kind && a->obj == b->obj;
	return tv_cmp(a, b) == 0;
}

int tv_cmp(const struct tv *a, const struct tv *b)
{
	int x = kind_rank(a), y = kind_rank(b);
	if (is_numeric(a) && is_numeric(b) && x != y) {
		int c = cmp_numbers(a, b);
		return c != 0 ? c : x < y ? -1 : 1;
	}
	if (x != y)
		return x < y ? -1 : 1;
	switch (x) {
	case 2:
	case 3:
		return cmp_numbers(a, b);
	case 4:
		return slice_cmp(a->s, b->s);
	case 5:
		return cmp_lists(a, b);
	case 6:
		return maps_eq(a, b) ? 0 : tv_len(a) < tv_len(b) ? -1 : 1;
	default:
		return 0;
	}
}

static void int128_put(struct buf *b, int128 i)
{
	char text[40], *p = text + sizeof text;
	unsigned __int128 n = i < 0 ? 0 - (unsigned __int128)i : (unsigned __int128)i;
	do
		*--p = (char)('0' + (int)(n % 10));
	while ((n /= 10) != 0);
	if (i < 0)
		buf_putc(b, '-');
	buf_put(b, p, (size_t)(text + sizeof text - p));
}

static void put_float(struct buf *b, double f)
{
	if (isnan(f))
		buf_lit(b, "NaN");
	else
		float_put_plain(b, f);
}

static void put_quoted(struct buf *b, struct slice s)
{
	static const char from[] = "\"\\\n\r\t", to[] = "\"\\nrt";
	buf_putc(b, '"');
	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];
		const char *found = c != '\0' ? strchr(from, c) : NULL;
		if (found != NULL)
			buf_printf(b, "\\%c", to[found - from]);
		else if (c == '\0')
			buf_lit(b, "\\0");
		else if ((unsigned char)c < 0x20 || c == 0x7f)
			buf_printf(b, "\\u{%x}", (unsigned char)c);
		else
			buf_putc(b, c);
	}
	buf_putc(b, '"');
}

static void new_line(struct buf *b, int indent)
{
	buf_putc(b, '\n');
	for (int i = 0; i < indent * 4; i++)
		buf_putc(b, ' ');
}

/* Before an item: on a line of its own, or behind ", ". */
static void put_gap(struct buf *b, int indent, bool first)
{
	if (indent >= 0)
		new_line(b, indent + 1);
	else if (!first)
		buf_lit(b, ", ");
}

static void put_end(struct buf *b, int indent, bool empty, char close)
{
	if (indent >= 0 && !empty)
		new_line(b, indent);
	buf_putc(b, close);
}

static void put_list(struct buf *b, const struct tv *v, int indent)
{
	size_t n = tv_len(v);
	buf_putc(b, '[');
	for (size_t i = 0; i < n && b->len < TEMPLATE_OUTPUT_MAX; i++) {
		struct tv item = item_at(v, i);
		put_gap(b, indent, i == 0);
		tv_put_debug(b, &item, indent < 0 ? indent : indent + 1);
		if (indent >= 0)
			buf_putc(b, ',');
	}
	put_end(b, indent, n == 0, ']');
}

static void put_pair(struct buf *b, const struct tv *key, const struct tv *value, int indent, bool first)
{
	put_gap(b, indent, first);
	tv_put_debug(b, key, -1);
	buf_lit(b, ": ");
	tv_put_debug(b, value, indent < 0 ? indent : indent + 1);
	if (indent >= 0)
		buf_putc(b, ',');
}

static void put_map(struct buf *b, const struct tv *v, int indent)
{
	const struct tmap *m = as_map(v);
	buf_putc(b, '{');
	if (m != NULL) {
		for (size_t i = 0; i < m->n && b->len < TEMPLATE_OUTPUT_MAX; i++)
			put_pair(b, &m->pairs[i].key, &m->pairs[i].value, indent, i == 0);
	} else {
		const struct val_member **order = sorted_members(v->v);
		for (size_t i = 0; i < v->v->n && b->len < TEMPLATE_OUTPUT_MAX; i++) {
			struct tv key = tv_str(order[i]->key), value = tv_from_val(&order[i]->val);
			put_pair(b, &key, &value, indent, i == 0);
		}
		free(order);
	}
	put_end(b, indent, tv_len(v) == 0, '}');
}

static void put_object(struct buf *b, const struct tv *v, int indent)
{
	const struct tobj *o = v->obj;
	switch (o->kind) {
	case OBJ_NAMESPACE:
		put_map(b, v, indent);
		break;
	case OBJ_MODULE:
		buf_slice(b, o->body);
		break;
	case OBJ_MACRO:
		buf_printf(b, "<macro %.*s>", SLICE_ARG(o->macro.node->text));
		break;
	case OBJ_FUNCTION:
		buf_printf(b, "<function %s>", o->fn->name);
		break;
	case OBJ_LOOP:
		buf_printf(b, "<loop %zu/%zu>", o->loop->index, o->loop->n);
		break;
	case OBJ_CYCLER:
		buf_lit(b, "<cycler>");
		break;
	case OBJ_JOINER:
		buf_lit(b, "<joiner>");
		break;
	case OBJ_SELF:
		buf_lit(b, "<self>");
		break;
	}
}

void tv_put_debug(struct buf *b, const struct tv *v, int indent)
{
	switch (v->kind) {
	case TV_UNDEF:
		buf_lit(b, "undefined");
		break;
	case TV_STR:
		put_quoted(b, v->s);
		break;
	case TV_LIST:
	case TV_VLIST:
		put_list(b, v, indent);
		break;
	case TV_MAP:
	case TV_VOBJ:
		put_map(b, v, indent);
		break;
	case TV_OBJ:
		put_object(b, v, indent);
		break;
	default:
		tv_put(b, v);
	}
}

void tv_put(struct buf *b, const struct tv *v)
{
	switch (v->kind) {
	case TV_UNDEF:
		break;
	case TV_NONE:
		buf_lit(b, "none");
		break;
	case TV_BOOL:
		buf_cstr_put(b, v->b ? "true" : "false");
		break;
	case TV_INT:
		int128_put(b, v->i);
		break;
	case TV_FLOAT:
		put_float(b, v->f);
		break;
	case TV_STR:
		buf_slice(b, v->s);
		break;
	case TV_LIST:
		if (v->lazy) {
			buf_lit(b, "<iterator>");
			break;
		}
		put_list(b, v, -1);
		break;
	default:
		tv_put_debug(b, v, -1);
	}
}

void html_put(struct buf *b, struct slice s)
{
	size_t from = 0;
	for (size_t i = 0; i < s.len; i++) {
		const char *entity = NULL;
		switch (s.ptr[i]) {
		case '<':	entity = "&lt;"; break;
		case '>':	entity = "&gt;"; break;
		case '&':	entity = "&amp;"; break;
		case '"':	entity = "&quot;"; break;
		case '\'':	entity = "&#x27;"; break;
		case '/':	entity = "&#x2f;"; break;
		}
		if (entity == NULL)
			continue;
		buf_put(b, s.ptr + from, i - from);
		buf_cstr_put(b, entity);
		from = i + 1;
	}
	if (from < s.len)
		buf_put(b, s.ptr + from, s.len - from);
}

/* A tree for the JSON printer. Depth is that of the value, which literals bound. */
static int to_json_val(struct render *r, const struct tv *v, struct val *out, int depth)
{
	if (depth > 60)
		return tpl_fail(r, "invalid operation", "value is nested too deep to be serialized");
	switch (v->kind) {
	case TV_UNDEF:
	case TV_NONE:
		*out = val_null();
		return 0;
	case TV_BOOL:
		*out = val_bool(v->b);
		return 0;
	case TV_INT:
		*out = v->i >= 0 && v->i <= UINT64_MAX ? val_uint((uint64_t)v->i) : v->i >= INT64_MIN && v->i < 0 ? val_int((int64_t)v->i) : val_float((double)v->i);
		return 0;
	case TV_FLOAT:
		*out = val_float(v->f);
		return 0;
	case TV_STR:
		*out = (struct val){ .type = VAL_STR, .s = v->s };
		return 0;
	case TV_VLIST:
	case TV_VOBJ:
		*out = *v->v;
		return 0;
	case TV_LIST:
		*out = val_list();
		for (size_t i = 0; i < v->l.n; i++) {
			struct val item;
			int rc = to_json_val(r, &v->l.items[i], &item, depth + 1);
			if (rc < 0)
				return rc;
			val_push(r->a, out, item);
		}
		return 0;
	default:
		break;
	}
	const struct tmap *m = as_map(v);
	if (m == NULL)
		return tpl_fail(r, "could not serialize to value", "cannot serialize %s", tv_kind_name(v));
	*out = val_obj();
	for (size_t i = 0; i < m->n; i++) {
		struct val item;
		int rc = to_json_val(r, &m->pairs[i].value, &item, depth + 1);
		if (rc < 0)
			return rc;
		val_put(r->a, out, to_text(r, &m->pairs[i].key), item);
	}
	return 0;
}

/* Two blanks to INDENT ones; the printer knows only two. */
static void put_reindented(struct buf *b, struct slice s, int indent)
{
	struct slice line;
	for (bool first = true; slice_split_next(&s, '\n', &line); first = false) {
		size_t blanks = 0;
		while (blanks < line.len && line.ptr[blanks] == ' ')
			blanks++;
		if (!first)
			buf_putc(b, '\n');
		for (size_t i = 0; i < blanks / 2 * (size_t)indent; i++)
			buf_putc(b, ' ');
		buf_slice(b, slice_sub(line, blanks, SIZE_MAX));
	}
}

int tv_put_json(struct render *r, struct buf *b, const struct tv *v, int indent, bool html)
{
	struct buf text = { 0 };
	struct val tree;
	int rc = to_json_val(r, v, &tree, 0);
	if (rc < 0)
		return rc;
	json_put(&text, &tree, JSON_SORTED | (indent > 0 ? JSON_PRETTY : 0));
	if (indent > 0) {
		struct buf wide = { 0 };
		put_reindented(&wide, buf_view(&text), indent);
		buf_fini(&text);
		text = wide;
	}
	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];
		if (html && (c == '<' || c == '>' || c == '&' || c == '\''))
			buf_printf(b, "\\u%04x", (unsigned char)c);
		else
			buf_putc(b, c);
	}
	buf_fini(&text);
	return 0;
}

struct tmap *tmap_new(struct render *r)
{
	return arena_alloc(r->a, sizeof(struct tmap));
}

/* The place of KEY, or where it belongs. */
static size_t tmap_place(const struct tmap *m, const struct tv *key, bool *found)
{
	size_t low = 0, high = m->n;
	*found = false;
	while (low < high) {
		size_t mid = (low + high) / 2;
		int c = tv_cmp(&m->pairs[mid].key, key);
		if (c == 0) {
			*found = true;
			return mid;
		}
		if (c < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

void tmap_put(struct render *r, struct tmap *m, struct tv key, struct tv value)
{
	bool found;
	size_t i = tmap_place(m, &key, &found);
	if (!found) {
		if (m->n == m->cap) {
			m->cap = m->cap > 0 ? m->cap * 2 : 4;
			struct tpair *pairs = arena_alloc(r->a, m->cap * sizeof *pairs);
			if (m->n > 0)
				memcpy(pairs, m->pairs, m->n * sizeof *pairs);
			m->pairs = pairs;
		}
		memmove(&m->pairs[i + 1], &m->pairs[i], (m->n - i) * sizeof *m->pairs);
		m->pairs[i].key = key;
		m->n++;
	}
	m->pairs[i].value = value;
}

const struct tv *tmap_get(const struct tmap *m, const struct tv *key)
{
	bool found;
	size_t i = tmap_place(m, key, &found);
	return found ? &m->pairs[i].value : NULL;
}

const struct tv *tmap_get_str(const struct tmap *m, struct slice key)
{
	struct tv k = tv_str(key);
	return tmap_get(m, &k);
}

uint32_t cp_upper(uint32_t cp)
{
	return (uint32_t)utf8proc_toupper((utf8proc_int32_t)cp);
}

uint32_t cp_lower(uint32_t cp)
{
	return (uint32_t)utf8proc_tolower((utf8proc_int32_t)cp);
}

bool cp_is_alpha(uint32_t cp)
{
	utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)cp);
	return c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO;
}

bool cp_is_space(uint32_t cp)
{
	utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)cp);
	return (cp >= 9 && cp <= 13) || cp == 0x85 || c == UTF8PROC_CATEGORY_ZS || c == UTF8PROC_CATEGORY_ZL || c == UTF8PROC_CATEGORY_ZP;
}

void text_case(struct buf *b, struct slice s, bool upper)
{
	uint32_t cp;
	for (size_t i = 0, n; i < s.len; i += n) {
		n = utf8_decode(slice_sub(s, i, SIZE_MAX), &cp);
		if (n == 0) {
			buf_putc(b, s.ptr[i]);
			n = 1;
		} else if (cp == 0xdf && upper) {
			buf_lit(b, "SS");
		} else {
			utf8_put(b, upper ? cp_upper(cp) : cp_lower(cp));
		}
	}
}
