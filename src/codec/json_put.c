/* SPDX-License-Identifier: Apache-2.0 */
/* A tree as JSON text, byte for byte as serde_json writes it: scripts compare and sign such texts. */
#include <math.h>
#include <stdlib.h>

#include "base/utf8.h"
#include "base/xalloc.h"
#include "codec/val_float.h"

void json_put_float(struct buf *b, double f)
{
	char digits[20];
	int point, n;
	if (!isfinite(f)) {
		buf_lit(b, "null");
		return;
	}
	if (signbit(f))
		buf_putc(b, '-');
	if (f == 0) {
		buf_lit(b, "0.0");
		return;
	}
	n = float_digits(fabs(f), digits, &point);
	if (point > -5 && point <= 16) {
		float_put_plain(b, fabs(f));
	} else {					/* 1.234e+30 */
		buf_putc(b, digits[0]);
		if (n > 1) {
			buf_putc(b, '.');
			buf_put(b, digits + 1, (size_t)n - 1);
		}
		buf_printf(b, "e%s%d", point > 0 ? "+" : "", point - 1);
	}
}

static void put_escaped(struct buf *b, unsigned char c)
{
	static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
	const char *found = c != '\0' ? strchr(from, c) : NULL;
	if (found != NULL) {
		buf_putc(b, '\\');
		buf_putc(b, to[found - from]);
	} else {
		buf_printf(b, "\\u%04x", c);
	}
}

static bool is_plain(unsigned char c)
{
	return c >= 0x20 && c != '"' && c != '\\';
}

static void put_text(struct buf *b, struct slice s)
{
	size_t from = 0;
	buf_putc(b, '"');
	for (size_t i = 0; i < s.len; i++) {
		if (is_plain((unsigned char)s.ptr[i]))
			continue;
		buf_put(b, s.ptr + from, i - from);
		put_escaped(b, (unsigned char)s.ptr[i]);
		from = i + 1;
	}
	if (from < s.len)
		buf_put(b, s.ptr + from, s.len - from);
	buf_putc(b, '"');
}

void json_put_string(struct buf *b, struct slice s)
{
	if (utf8_valid(s)) {
		put_text(b, s);
		return;
	}
	struct buf clean = { 0 };
	utf8_put_lossy(&clean, s);
	put_text(b, buf_view(&clean));
	buf_fini(&clean);
}

void json_put_key(struct buf *b, bool *first, struct slice key)
{
	if (!*first)
		buf_putc(b, ',');
	*first = false;
	json_put_string(b, key);
	buf_putc(b, ':');
}

struct printer {
	struct buf *b;
	int flags;
	int depth;
};

static void new_line(struct printer *p)
{
	if (!(p->flags & JSON_PRETTY))
		return;
	buf_putc(p->b, '\n');
	for (int i = 0; i < p->depth; i++)
		buf_lit(p->b, "  ");
}

static void put_value(struct printer *p, const struct val *v);

static void put_list(struct printer *p, const struct val *v)
{
	buf_putc(p->b, '[');
	p->depth++;
	for (uint32_t i = 0; i < v->n; i++) {
		if (i > 0)
			buf_putc(p->b, ',');
		new_line(p);
		put_value(p, &v->items[i]);
	}
	p->depth--;
	if (v->n > 0)
		new_line(p);
	buf_putc(p->b, ']');
}

static int by_key(const void *x, const void *y)
{
	const struct val_member *const *a = x, *const *b = y;
	return slice_cmp((*a)->key, (*b)->key);
}

static void put_object(struct printer *p, const struct val *v)
{
	const struct val_member **order = NULL;
	if ((p->flags & JSON_SORTED) && v->n > 1) {
		order = xreallocarray(NULL, v->n, sizeof *order);
		for (uint32_t i = 0; i < v->n; i++)
			order[i] = &v->members[i];
		qsort(order, v->n, sizeof *order, by_key);
	}
	buf_putc(p->b, '{');
	p->depth++;
	for (uint32_t i = 0; i < v->n; i++) {
		const struct val_member *m = order != NULL ? order[i] : &v->members[i];
		if (i > 0)
			buf_putc(p->b, ',');
		new_line(p);
		json_put_string(p->b, m->key);
		buf_cstr_put(p->b, p->flags & JSON_PRETTY ? ": " : ":");
		put_value(p, &m->val);
	}
	p->depth--;
	if (v->n > 0)
		new_line(p);
	buf_putc(p->b, '}');
	free(order);
}

/* What is no text is told as its bytes, so that nothing is lost. */
static void put_bytes(struct printer *p, struct slice s)
{
	buf_putc(p->b, '[');
	p->depth++;
	for (size_t i = 0; i < s.len; i++) {
		if (i > 0)
			buf_putc(p->b, ',');
		new_line(p);
		buf_u64(p->b, (unsigned char)s.ptr[i]);
	}
	p->depth--;
	new_line(p);
	buf_putc(p->b, ']');
}

static void put_time(struct printer *p, const struct val *v)
{
	struct val_member m = { SLICE_INIT("$__toml_private_datetime"), { .type = VAL_STR, .s = v->s } };
	put_object(p, &(struct val){ .type = VAL_OBJ, .n = 1, .cap = 1, .members = &m });
}

static void put_value(struct printer *p, const struct val *v)
{
	switch (v->type) {
	case VAL_NULL:
		buf_lit(p->b, "null");
		break;
	case VAL_BOOL:
		buf_cstr_put(p->b, v->b ? "true" : "false");
		break;
	case VAL_INT:
		buf_i64(p->b, v->i);
		break;
	case VAL_UINT:
		buf_u64(p->b, v->u);
		break;
	case VAL_FLOAT:
		json_put_float(p->b, v->f);
		break;
	case VAL_STR:
		if (utf8_valid(v->s))
			put_text(p->b, v->s);
		else
			put_bytes(p, v->s);
		break;
	case VAL_TIME:
		put_time(p, v);
		break;
	case VAL_LIST:
		put_list(p, v);
		break;
	case VAL_OBJ:
		put_object(p, v);
		break;
	}
}

void json_put(struct buf *b, const struct val *v, int flags)
{
	put_value(&(struct printer){ b, flags, 0 }, v);
}
