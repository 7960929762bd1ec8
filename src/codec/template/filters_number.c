/* SPDX-License-Identifier: Apache-2.0 */
/* Filters for numbers. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "codec/template/tpl.h"

/* A decimal number that fills all of S. */
static bool parse_float(struct slice s, double *out)
{
	char text[64], *end;
	if (s.len == 0 || s.len >= sizeof text || ascii_is_space(s.ptr[0]) || memchr(s.ptr, 'x', s.len) != NULL || memchr(s.ptr, 'X', s.len) != NULL)
		return false;
	memcpy(text, s.ptr, s.len);
	text[s.len] = '\0';
	*out = strtod(text, &end);
	return *end == '\0';
}

static int filter_abs(struct render *r, struct call *c, struct tv *out)
{
	const struct tv *v = &c->args[0];
	if (v->kind == TV_INT)
		*out = tv_int(v->i < 0 ? (int128)(0 - (unsigned __int128)v->i) : v->i);
	else if (v->kind == TV_FLOAT)
		*out = tv_float(fabs(v->f));
	else
		return tpl_fail(r, "invalid operation", "cannot get absolute value");
	return 0;
}

static int filter_int(struct render *r, struct call *c, struct tv *out)
{
	const struct tv *v = &c->args[0];
	int64_t i;
	double f;
	switch (v->kind) {
	case TV_UNDEF:
		*out = tv_int(0);
		return 0;
	case TV_BOOL:
		*out = tv_int(v->b);
		return 0;
	case TV_INT:
		*out = *v;
		return 0;
	case TV_FLOAT:
		*out = tv_int(fabs(v->f) < 1e38 ? (int128)v->f : 0);
		return 0;
	case TV_STR:
		if (slice_to_i64(v->s, &i) == 0)
			*out = tv_int(i);
		else if (parse_float(v->s, &f))
			*out = tv_int(fabs(f) < 1e38 ? (int128)f : 0);
		else
			return tpl_fail(r, "invalid operation", "invalid float literal");
		return 0;
	default:
		return tpl_fail(r, "invalid operation", "cannot convert %s to integer", tv_kind_name(v));
	}
}

static int filter_float(struct render *r, struct call *c, struct tv *out)
{
	const struct tv *v = &c->args[0];
	double f;
	if (v->kind == TV_UNDEF)
		*out = tv_float(0);
	else if (v->kind == TV_BOOL || tv_is_number(v))
		*out = tv_float(tv_number(v));
	else if (v->kind == TV_STR && parse_float(v->s, &f))
		*out = tv_float(f);
	else if (v->kind == TV_STR)
		return tpl_fail(r, "invalid operation", "invalid float literal");
	else
		return tpl_fail(r, "invalid operation", "cannot convert %s to float", tv_kind_name(v));
	return 0;
}

static int filter_round(struct render *r, struct call *c, struct tv *out)
{
	const struct tv *v = &c->args[0];
	int64_t digits = 0;
	if (c->n > 1 && c->args[1].kind != TV_NONE && tv_to_int(r, &c->args[1], "i32", &digits) < 0)
		return -E_INVAL;
	digits = digits > 300 ? 300 : digits < -300 ? -300 : digits;
	double scale = pow(10, (double)digits);
	if (v->kind == TV_INT && digits >= 0)
		*out = *v;
	else if (v->kind == TV_INT)
		*out = tv_int((int128)(round((double)v->i * scale) / scale));
	else if (v->kind == TV_FLOAT)
		*out = tv_float(digits == 0 ? round(v->f) : round(v->f * scale) / scale);
	else
		return tpl_fail(r, "invalid operation", "cannot round value (%s)", tv_kind_name(v));
	return 0;
}

static int filter_filesizeformat(struct render *r, struct call *c, struct tv *out)
{
	static const char *const decimal[] = { "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB" };
	static const char *const binary_units[] = { "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB" };
	bool binary_base = false;
	if (!tv_is_number(&c->args[0]))
		return tpl_fail(r, "invalid operation", "cannot convert %s to f64", tv_kind_name(&c->args[0]));
	if (arg_given(c, 1) && tv_to_bool(r, &c->args[1], &binary_base) < 0)
		return -E_INVAL;
	double size = tv_number(&c->args[0]), base = binary_base ? 1024 : 1000;
	if (size == 1) {
		*out = tv_str(SLICE("1 Byte"));
	} else if (fabs(size) < base) {
		*out = tv_str(arena_slicef(r->a, "%.0f Bytes", size));
	} else {
		size_t i = 0;
		for (size /= base; fabs(size) >= base && i + 1 < ARRAY_LEN(decimal); i++)
			size /= base;
		*out = tv_str(arena_slicef(r->a, "%.1f %s", size, binary_base ? binary_units[i] : decimal[i]));
	}
	return 0;
}

const struct tpl_builtin TPL_NUMBER_FILTERS[] = {
	{ "abs", filter_abs, 1, 1 }, { "int", filter_int, 1, 1 }, { "float", filter_float, 1, 1 }, { "round", filter_round, 1, 2 },
	{ "filesizeformat", filter_filesizeformat, 1, 2 }, { NULL },
};
