/* SPDX-License-Identifier: Apache-2.0 */
/* Python's two ways to format: "%5d"|format(n) and "{:>5}".format(x). */
#include <stdio.h>

#include "base/utf8.h"
#include "codec/template/tpl.h"

#define WIDTH_MAX 10000

struct spec {
	char fill, align, sign, type;
	bool zero, alternate;
	int width, precision;	/* -1: not given */
};

static void put_times(struct buf *b, char c, int n)
{
	for (; n > 0; n--)
		buf_putc(b, c);
}

static void put_padded(struct buf *b, struct slice s, const struct spec *f, char dflt_align)
{
	int pad = f->width - (int)MIN(utf8_count(s), (size_t)WIDTH_MAX);
	char align = f->align != '\0' ? f->align : dflt_align;
	pad = MAX(pad, 0);
	if (align == '=') {	/* between the sign and the digits */
		bool sign = s.len > 0 && (s.ptr[0] == '-' || s.ptr[0] == '+' || s.ptr[0] == ' ');
		buf_put(b, s.ptr, sign);
		put_times(b, f->fill, pad);
		buf_slice(b, slice_sub(s, sign, SIZE_MAX));
		return;
	}
	int before = align == '<' ? 0 : align == '^' ? pad / 2 : pad;
	put_times(b, f->fill, before);
	buf_slice(b, s);
	put_times(b, f->fill, pad - before);
}

static void put_int_base(struct buf *b, int128 i, const struct spec *f)
{
	unsigned base = f->type == 'x' || f->type == 'X' ? 16 : f->type == 'o' ? 8 : f->type == 'b' ? 2 : 10;
	unsigned __int128 n = i < 0 ? 0 - (unsigned __int128)i : (unsigned __int128)i;
	char text[140], *p = text + sizeof text;
	do
		*--p = (f->type == 'X' ? "0123456789ABCDEF" : "0123456789abcdef")[(unsigned)(n % base)];
	while ((n /= base) != 0);
	if (i < 0)
		buf_putc(b, '-');
	else if (f->sign == '+' || f->sign == ' ')
		buf_putc(b, f->sign);
	if (f->alternate && base != 10)
		buf_printf(b, "0%c", f->type);
	buf_put(b, p, (size_t)(text + sizeof text - p));
}

static void put_float(struct buf *b, double v, const struct spec *f)
{
	char fmt[] = "%+.*f", type = f->type == 'F' ? 'f' : f->type;
	if (f->sign != '+' && f->sign != ' ')
		memmove(fmt + 1, fmt + 2, sizeof fmt - 2);
	else
		fmt[1] = f->sign;
	fmt[strlen(fmt) - 1] = type == '%' ? 'f' : type;
	int precision = f->precision < 0 ? 6 : MIN(f->precision, 300);
	char text[700];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	int n = snprintf(text, sizeof text, fmt, precision, type == '%' ? v * 100 : v);
#pragma GCC diagnostic pop
	buf_put(b, text, (size_t)MIN(n, (int)sizeof text - 1));
	if (type == '%')
		buf_putc(b, '%');
}

/* One value by its spec into B. */
static int put_value(struct render *r, struct buf *b, const struct tv *v, const struct spec *f)
{
	struct buf text = { 0 };
	bool number = v->kind == TV_BOOL || tv_is_number(v);
	struct spec padded = *f;
	if (strchr("dixXob", f->type) != NULL && f->type != '\0') {
		if (!number)
			return tpl_fail(r, "invalid operation", "cannot format %s as a number", tv_kind_name(v));
		put_int_base(&text, v->kind == TV_FLOAT ? (int128)v->f : v->kind == TV_BOOL ? v->b : v->i, f);
	} else if (strchr("fFeEgG%", f->type) != NULL && f->type != '\0') {
		if (!number)
			return tpl_fail(r, "invalid operation", "cannot format %s as a number", tv_kind_name(v));
		put_float(&text, tv_number(v), f);
	} else if (f->type == 'c' && v->kind == TV_INT) {
		utf8_put(&text, v->i >= 0 && v->i <= 0x10ffff ? (uint32_t)v->i : 0xfffd);
	} else if (f->type == 'r' || f->type == 'a') {
		tv_put_debug(&text, v, -1);
	} else {
		tv_put(&text, v);
		if (number && tv_is_number(v) && (f->sign == '+' || f->sign == ' ') && text.len > 0 && text.ptr[0] != '-') {
			struct slice digits = tpl_keep(r, &text);
			buf_printf(&text, "%c%.*s", f->sign, SLICE_ARG(digits));
		}
		number = tv_is_number(v);
		if (f->precision >= 0 && !number) {
			size_t i = 0;
			for (int n = f->precision; i < text.len && ((text.ptr[i] & 0xc0) == 0x80 || n-- > 0);)
				i++;
			text.len = i;
		}
	}
	if (f->zero && number && f->align == '\0') {
		padded.fill = '0';
		padded.align = '=';
	}
	put_padded(b, buf_view(&text), &padded, number ? '>' : '<');
	buf_fini(&text);
	return 0;
}

static int take_int(struct slice s, size_t *i)
{
	int n = 0;
	for (; *i < s.len && ascii_is_digit(s.ptr[*i]); ++*i)
		n = MIN(n * 10 + (s.ptr[*i] - '0'), WIDTH_MAX);
	return n;
}

/* "*": the next argument is the number. */
static int take_star(struct render *r, struct slice fmt, size_t *i, struct call *c, int *next, int *out)
{
	int64_t n = 0;
	if (*i >= fmt.len || fmt.ptr[*i] != '*') {
		*out = take_int(fmt, i);
		return 0;
	}
	++*i;
	if (*next >= c->n)
		return tpl_fail(r, "invalid operation", "missing an argument for a width or precision");
	if (tv_to_int(r, &c->args[(*next)++], "i32", &n) < 0)
		return -E_INVAL;
	*out = (int)(n < 0 ? 0 : MIN(n, (int64_t)WIDTH_MAX));
	return 0;
}

/* Behind a '%'. */
static int percent_spec(struct render *r, struct slice fmt, size_t *i, struct call *c, int *next, struct buf *b)
{
	struct spec f = { .fill = ' ', .precision = -1, .align = '>' };
	struct slice name = SLICE_NONE;
	size_t start = *i;
	const struct tv *v;
	if (*i < fmt.len && fmt.ptr[*i] == '(') {
		ptrdiff_t end = slice_chr(slice_sub(fmt, *i, SIZE_MAX), ')');
		if (end < 0)
			return tpl_fail(r, "invalid operation", "unclosed name in format spec at offset %zu", start);
		name = slice_sub(fmt, *i + 1, (size_t)end - 1);
		*i += (size_t)end + 1;
	}
	for (; *i < fmt.len && strchr("-+ 0#", fmt.ptr[*i]) != NULL && fmt.ptr[*i] != '\0'; ++*i) {
		char flag = fmt.ptr[*i];
		f.align = flag == '-' ? '<' : f.align;
		f.sign = flag == '+' || (flag == ' ' && f.sign != '+') ? flag : f.sign;
		f.zero |= flag == '0';
		f.alternate |= flag == '#';
	}
	if (take_star(r, fmt, i, c, next, &f.width) < 0)
		return -E_INVAL;
	if (*i < fmt.len && fmt.ptr[*i] == '.') {
		++*i;
		if (take_star(r, fmt, i, c, next, &f.precision) < 0)
			return -E_INVAL;
	}
	f.type = *i < fmt.len ? fmt.ptr[*i] : '\0';
	if (f.type == '%') {
		buf_putc(b, '%');
		return 0;
	}
	if (f.type == '\0' || strchr("diouxXeEfFgGcrsa", f.type) == NULL)
		return tpl_fail(r, "invalid operation", "invalid conversion type '%c' in format spec at offset %zu", f.type == '\0' ? ' ' : f.type, *i);
	if (f.type == 'i' || f.type == 'u')
		f.type = 'd';
	if (f.type == 's')
		f.type = '\0';
	if (name.ptr != NULL) {
		v = c->n > 0 && tv_is_map(&c->args[0]) ? NULL : tmap_get_str(c->kwargs, name);
		struct tv found;
		if (v == NULL && c->n > 0 && get_attr(r, &c->args[0], name, &found) == 0 && found.kind != TV_UNDEF)
			return put_value(r, b, &found, &f);
	} else {
		v = *next < c->n ? &c->args[*next] : NULL;
		++*next;
	}
	if (v == NULL)
		return tpl_fail(r, "invalid operation", "missing an argument for format spec at offset '%zu'", start);
	if (f.zero && f.align == '>')
		f.align = '\0';
	return put_value(r, b, v, &f);
}

int format_percent(struct render *r, struct slice fmt, struct call *c, struct tv *out)
{
	struct buf b = { 0 };
	int next = 0;
	for (size_t i = 0; i < fmt.len; i++) {
		if (fmt.ptr[i] != '%') {
			buf_putc(&b, fmt.ptr[i]);
			continue;
		}
		i++;
		if (percent_spec(r, fmt, &i, c, &next, &b) < 0) {
			buf_fini(&b);
			return -E_INVAL;
		}
	}
	*out = tv_str(tpl_keep(r, &b));
	return 0;
}

/* [[fill]align][sign][#][0][width][.precision][type] */
static struct spec parse_brace_spec(struct slice s)
{
	struct spec f = { .fill = ' ', .precision = -1 };
	size_t i = 0;
	if (s.len > 1 && strchr("<>^=", s.ptr[1]) != NULL && s.ptr[1] != '\0') {
		f.fill = s.ptr[0];
		f.align = s.ptr[1];
		i = 2;
	} else if (s.len > 0 && strchr("<>^=", s.ptr[0]) != NULL && s.ptr[0] != '\0') {
		f.align = s.ptr[0];
		i = 1;
	}
	if (i < s.len && (s.ptr[i] == '+' || s.ptr[i] == '-' || s.ptr[i] == ' '))
		f.sign = s.ptr[i++];
	if (i < s.len && s.ptr[i] == '#') {
		f.alternate = true;
		i++;
	}
	if (i < s.len && s.ptr[i] == '0') {
		f.zero = true;
		i++;
	}
	f.width = take_int(s, &i);
	if (i < s.len && s.ptr[i] == '.') {
		i++;
		f.precision = take_int(s, &i);
	}
	f.type = i < s.len && s.ptr[i] != 's' ? s.ptr[i] : '\0';
	return f;
}

/* "name.attr[0]" : the value that a field names. */
static int brace_value(struct render *r, struct slice field, struct call *c, int *next, struct tv *out)
{
	size_t n = 0;
	uint64_t place;
	while (n < field.len && field.ptr[n] != '.' && field.ptr[n] != '[')
		n++;
	struct slice head = slice_sub(field, 0, n), rest = slice_sub(field, n, SIZE_MAX);
	const struct tv *v = NULL;
	if (head.len == 0)
		v = *next < c->n ? &c->args[(*next)++] : NULL;
	else if (slice_to_u64(head, &place) == 0)
		v = place < (uint64_t)c->n ? &c->args[place] : NULL;
	else
		v = tmap_get_str(c->kwargs, head);
	if (v == NULL)
		return tpl_fail(r, "invalid operation", "missing an argument for format field '%.*s'", SLICE_ARG(head));
	*out = *v;
	while (rest.len > 0) {
		struct tv here = *out;
		bool index = rest.ptr[0] == '[';
		n = 1;
		while (n < rest.len && (index ? rest.ptr[n] != ']' : rest.ptr[n] != '.' && rest.ptr[n] != '['))
			n++;
		struct slice name = slice_sub(rest, 1, n - 1);
		struct tv key = slice_to_u64(name, &place) == 0 ? tv_int((int128)place) : tv_str(name);
		if (get_item(r, &here, &key, out) < 0)
			return -E_INVAL;
		rest = slice_sub(rest, n + index, SIZE_MAX);
	}
	return 0;
}

static int brace_field(struct render *r, struct slice field, struct call *c, int *next, struct buf *b)
{
	ptrdiff_t colon = slice_chr(field, ':');
	struct slice name = colon < 0 ? field : slice_sub(field, 0, (size_t)colon);
	struct spec f = parse_brace_spec(colon < 0 ? SLICE("") : slice_sub(field, (size_t)colon + 1, SIZE_MAX));
	ptrdiff_t bang = slice_chr(name, '!');
	struct tv v;
	if (bang >= 0) {
		f.type = slice_sub(name, (size_t)bang + 1, 1).len == 1 && name.ptr[bang + 1] == 'r' ? 'r' : f.type;
		name.len = (size_t)bang;
	}
	int rc = brace_value(r, name, c, next, &v);
	return rc < 0 ? rc : put_value(r, b, &v, &f);
}

int format_braces(struct render *r, struct slice fmt, struct call *c, struct tv *out)
{
	struct buf b = { 0 };
	int next = 0, rc = 0;
	for (size_t i = 0; i < fmt.len && rc == 0; i++) {
		char ch = fmt.ptr[i];
		bool doubled = (ch == '{' || ch == '}') && i + 1 < fmt.len && fmt.ptr[i + 1] == ch;
		if (ch != '{' || doubled) {
			buf_putc(&b, ch);
			i += doubled;
			continue;
		}
		ptrdiff_t end = slice_chr(slice_sub(fmt, i, SIZE_MAX), '}');
		if (end < 0) {
			rc = tpl_fail(r, "invalid operation", "unclosed format field at offset %zu", i);
			break;
		}
		rc = brace_field(r, slice_sub(fmt, i + 1, (size_t)end - 1), c, &next, &b);
		i += (size_t)end;
	}
	*out = tv_str(tpl_keep(r, &b));
	return rc;
}
