/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/opt.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/nearest.h"
#include "base/timefmt.h"
#include "codec/opt_int.h"

/* One step of the path to the value that is being read. */
struct step {
	const struct step *up;
	struct slice name;	/* of a field, or a key of a map when QUOTED */
	bool quoted;
	uint32_t index;		/* of a list, when name.ptr is NULL */
};

struct opt_ctx {
	struct arena *a;
	const char *root;
	const struct step *path;
};

static void put_path(struct buf *b, const struct step *s)
{
	if (s == NULL)
		return;
	put_path(b, s->up);
	if (s->name.ptr == NULL) {
		buf_printf(b, "[%u]", s->index + 1);	/* as Lua counts */
	} else if (s->quoted) {
		buf_putc(b, '[');
		json_put_string(b, s->name);
		buf_putc(b, ']');
	} else {
		buf_putc(b, '.');
		buf_slice(b, s->name);
	}
}

/* "start_esmtp_listener.relay_hosts[2]: " */
static void put_place(struct opt_ctx *c, struct buf *b)
{
	buf_cstr_put(b, c->root);
	put_path(b, c->path);
	buf_lit(b, ": ");
}

static int fail(struct buf *b)
{
	int rc = err_set(E_INVAL, "%s", buf_cstr(b));
	buf_fini(b);
	return rc;
}

int opt_error(struct opt_ctx *c, const char *fmt, ...)
{
	struct buf b = { 0 };
	va_list ap;
	put_place(c, &b);
	va_start(ap, fmt);
	buf_vprintf(&b, fmt, ap);
	va_end(ap);
	return fail(&b);
}

static void describe(struct buf *b, const struct val *v)
{
	switch (v->type) {
	case VAL_NULL:
		buf_lit(b, "null");
		break;
	case VAL_BOOL:
		buf_printf(b, "boolean `%s`", v->b ? "true" : "false");
		break;
	case VAL_INT:
		buf_printf(b, "integer `%lld`", (long long)v->i);
		break;
	case VAL_UINT:
		buf_printf(b, "integer `%llu`", (unsigned long long)v->u);
		break;
	case VAL_FLOAT:
		buf_lit(b, "floating point `");
		json_put_float(b, v->f);
		buf_putc(b, '`');
		break;
	case VAL_STR:
	case VAL_TIME:
		buf_lit(b, "string ");
		json_put_string(b, slice_sub(v->s, 0, 200));
		break;
	case VAL_LIST:
		buf_lit(b, "sequence");
		break;
	case VAL_OBJ:
		buf_lit(b, "map");
		break;
	}
}

static int fail_expected(struct opt_ctx *c, const char *kind, const struct val *given, const char *fmt, va_list ap) PRINTF(4, 0);
static int fail_expected(struct opt_ctx *c, const char *kind, const struct val *given, const char *fmt, va_list ap)
{
	struct buf b = { 0 };
	put_place(c, &b);
	buf_printf(&b, "invalid %s: ", kind);
	describe(&b, given);
	buf_lit(&b, ", expected ");
	buf_vprintf(&b, fmt, ap);
	return fail(&b);
}

int opt_fail(struct opt_ctx *c, const struct val *given, const char *expected_fmt, ...)
{
	va_list ap;
	va_start(ap, expected_fmt);
	int rc = fail_expected(c, "value", given, expected_fmt, ap);
	va_end(ap);
	return rc;
}

int opt_fail_type(struct opt_ctx *c, const struct val *given, const char *expected_fmt, ...)
{
	va_list ap;
	va_start(ap, expected_fmt);
	int rc = fail_expected(c, "type", given, expected_fmt, ap);
	va_end(ap);
	return rc;
}

struct arena *opt_arena(struct opt_ctx *c)
{
	return c->a;
}

/* "`a`", "`a` or `b`", "one of `a`, `b`, `c`" */
static void put_choices(struct buf *b, const char *const *names)
{
	size_t n = 0;
	while (names[n] != NULL)
		n++;
	if (n == 0)
		buf_lit(b, "nothing");
	if (n > 2)
		buf_lit(b, "one of ");
	for (size_t i = 0; i < n; i++)
		buf_printf(b, "%s`%s`", i == 0 ? "" : n == 2 ? " or " : ", ", names[i]);
}

/* unknown WHAT `GIVEN`, did you mean `x`? expected one of … */
static int fail_unknown(struct opt_ctx *c, const char *what, struct slice given, const char *const *names)
{
	struct buf b = { 0 };
	const char *near = nearest_name(given, names);
	put_place(c, &b);
	buf_printf(&b, "unknown %s `%.*s`, ", what, (int)MIN(given.len, (size_t)200), given.ptr);
	if (near != NULL)
		buf_printf(&b, "did you mean `%s`? ", near);
	buf_lit(&b, "expected ");
	put_choices(&b, names);
	return fail(&b);
}

static int read_int(struct opt_ctx *c, const struct opt_field *f, const struct val *v, int64_t *out)
{
	int64_t min = f->min, max = f->min == 0 && f->max == 0 ? INT64_MAX : f->max;
	if (v->type != VAL_INT && v->type != VAL_UINT)
		return max == INT64_MAX ? opt_fail_type(c, v, "an integer") : opt_fail_type(c, v, "an integer from %lld to %lld", (long long)min, (long long)max);
	if (v->type == VAL_UINT || v->i < min || v->i > max)
		return max == INT64_MAX ? opt_fail(c, v, "an integer of at least %lld", (long long)min) :
			opt_fail(c, v, "an integer from %lld to %lld", (long long)min, (long long)max);
	*out = v->i;
	return 0;
}

static int read_float(struct opt_ctx *c, const struct val *v, double *out)
{
	if (v->type == VAL_FLOAT)
		*out = v->f;
	else if (v->type == VAL_INT)
		*out = (double)v->i;
	else if (v->type == VAL_UINT)
		*out = (double)v->u;
	else
		return opt_fail_type(c, v, "a number");
	return 0;
}

static int read_duration(struct opt_ctx *c, const struct val *v, int64_t *out)
{
	double seconds;
	if (v->type == VAL_STR) {
		if (duration_parse(v->s, out) == 0)
			return 0;
		return opt_fail(c, v, "a duration such as \"5m\" or \"1h 30m\" (%s)", err_text());
	}
	if (v->type != VAL_INT && v->type != VAL_FLOAT && v->type != VAL_UINT)
		return opt_fail_type(c, v, "a duration such as \"5m\", or a number of seconds");
	if (read_float(c, v, &seconds) < 0)
		return -E_INVAL;
	if (!(seconds >= 0)) {
		struct buf b = { 0 };
		put_place(c, &b);
		buf_lit(&b, "duration must either be a string or a positive integer specifying the number of seconds. (error: out of range integral type conversion attempted)");
		return fail(&b);
	}
	*out = seconds >= (double)INT64_MAX / NSEC_PER_SEC ? INT64_MAX : v->type == VAL_INT ? v->i * NSEC_PER_SEC :
		(int64_t)(seconds * NSEC_PER_SEC);
	return 0;
}

static int read_enum(struct opt_ctx *c, const struct opt_choice *choices, const struct val *v, int *out)
{
	size_t n = 0;
	if (v->type != VAL_STR)
		return opt_fail_type(c, v, "a string");
	for (; choices[n].name != NULL; n++)
		if (slice_eq_cstr(v->s, choices[n].name)) {
			*out = choices[n].value;
			return 0;
		}
	const char **names = arena_alloc(c->a, (n + 1) * sizeof *names);
	for (size_t i = 0; i < n; i++)
		names[i] = choices[i].name;
	return fail_unknown(c, "variant", v->s, names);
}

static int read_scalar(struct opt_ctx *c, const struct opt_field *f, const struct val *v, void *out)
{
	switch (f->type) {
	case OPT_T_BOOL:
		if (v->type != VAL_BOOL)
			return opt_fail_type(c, v, "a boolean");
		*(bool *)out = v->b;
		return 0;
	case OPT_T_INT:
	case OPT_T_SIZE:
		return read_int(c, f, v, out);
	case OPT_T_FLOAT:
		return read_float(c, v, out);
	case OPT_T_STR:
		if (v->type != VAL_STR)
			return opt_fail_type(c, v, "a string");
		*(struct slice *)out = arena_dup(c->a, v->s);
		return 0;
	case OPT_T_DURATION:
		return read_duration(c, v, out);
	case OPT_T_ENUM:
		return read_enum(c, f->choices, v, out);
	case OPT_T_VAL: {
		struct val *copy = arena_alloc(c->a, sizeof *copy);
		*copy = val_copy(c->a, v);
		*(const struct val **)out = copy;
		return 0;
	}
	default:
		assert(!"not a scalar");
		return -E_INVAL;
	}
}

/* An element of a list or map. */
static int read_element(struct opt_ctx *c, const struct opt_desc *d, const struct val *v, void *out)
{
	if (d != NULL && d->custom != NULL)
		return d->custom(c, v, out);
	if (d != NULL && d->fields != NULL)
		return opt_parse_struct(c, d, v, out);
	return read_scalar(c, &(struct opt_field){ .type = opt_element_type(d) }, v, out);
}

static bool is_empty(const struct val *v)
{
	return (v->type == VAL_LIST || v->type == VAL_OBJ) && v->n == 0;
}

static int read_list(struct opt_ctx *c, const struct opt_field *f, const struct val *v, struct opt_list *out)
{
	size_t size = opt_element_size(f->sub);
	*out = (struct opt_list){ 0 };
	if (is_empty(v))	/* Lua's {} is either */
		return 0;
	if (v->type != VAL_LIST)
		return opt_fail_type(c, v, "a sequence");
	out->n = v->n;
	out->items = arena_alloc(c->a, v->n * size);
	for (uint32_t i = 0; i < v->n; i++) {
		struct step here = { .up = c->path, .index = i };
		c->path = &here;
		int rc = read_element(c, f->sub, &v->items[i], (char *)out->items + i * size);
		c->path = here.up;
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int read_map(struct opt_ctx *c, const struct opt_field *f, const struct val *v, struct opt_map *out)
{
	size_t size = opt_element_size(f->sub);
	*out = (struct opt_map){ 0 };
	if (is_empty(v))
		return 0;
	if (v->type != VAL_OBJ)
		return opt_fail_type(c, v, "a map");
	out->n = v->n;
	out->keys = arena_alloc(c->a, v->n * sizeof *out->keys);
	out->items = arena_alloc(c->a, v->n * size);
	for (uint32_t i = 0; i < v->n; i++) {
		struct step here = { .up = c->path, .name = v->members[i].key, .quoted = true };
		c->path = &here;
		out->keys[i] = arena_dup(c->a, v->members[i].key);
		int rc = read_element(c, f->sub, &v->members[i].val, (char *)out->items + i * size);
		c->path = here.up;
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int read_value(struct opt_ctx *c, const struct opt_field *f, const struct val *v, void *out)
{
	switch (f->type) {
	case OPT_T_LIST:
		return read_list(c, f, v, out);
	case OPT_T_MAP:
		return read_map(c, f, v, out);
	case OPT_T_STRUCT:
		return f->sub->custom != NULL ? f->sub->custom(c, v, out) : opt_parse_struct(c, f->sub, v, out);
	case OPT_T_CUSTOM:
		return f->custom(c, v, out);
	default:
		return read_scalar(c, f, v, out);
	}
}

static int read_field(struct opt_ctx *c, const struct opt_field *f, const struct val *v, void *out)
{
	struct step here = { .up = c->path, .name = slice_from_cstr(f->name) };
	c->path = &here;
	int rc = read_value(c, f, v, (char *)out + f->offset);
	c->path = here.up;
	return rc;
}

/* A default as the table spells it: bare text where the option is text, else JSON. */
static struct val default_val(const struct opt_field *f, struct arena *a)
{
	struct val v;
	bool text = f->type == OPT_T_STR || f->type == OPT_T_DURATION || f->type == OPT_T_ENUM;
	if (text || json_parse(slice_from_cstr(f->dflt), a, &v) < 0)
		v = val_cstr(a, f->dflt);
	return v;
}

static void set_defaults(struct opt_ctx *c, const struct opt_desc *d, void *out)
{
	memset(out, 0, d->size);
	for (const struct opt_field *f = d->fields; f != NULL && f->name != NULL; f++) {
		if (f->dflt != NULL) {
			struct val v = default_val(f, c->a);
			if (read_field(c, f, &v, out) < 0) {
				fprintf(stderr, "the table of options is wrong: %s\n", err_text());
				abort();
			}
		} else if (f->type == OPT_T_STRUCT) {
			set_defaults(c, f->sub, (char *)out + f->offset);
		}
	}
}

static const struct opt_field *find_field(const struct opt_desc *d, struct slice name)
{
	for (const struct opt_field *f = d->fields; f->name != NULL; f++)
		if (slice_eq_cstr(name, f->name) || (f->alias != NULL && slice_eq_cstr(name, f->alias)))
			return f;
	return NULL;
}

static const char **field_names(const struct opt_desc *d, struct arena *a)
{
	size_t n = 0;
	while (d->fields[n].name != NULL)
		n++;
	const char **names = arena_alloc(a, (n + 1) * sizeof *names);
	for (size_t i = 0; i < n; i++)
		names[i] = d->fields[i].name;
	return names;
}

static int check_required(struct opt_ctx *c, const struct opt_desc *d, const struct val *v)
{
	for (const struct opt_field *f = d->fields; f->name != NULL; f++) {
		if (!f->required)
			continue;
		const struct val *given = val_get(v, slice_from_cstr(f->name));
		if (given == NULL && f->alias != NULL)
			given = val_get(v, slice_from_cstr(f->alias));
		if (given == NULL || given->type == VAL_NULL)
			return opt_error(c, "missing field `%s`", f->name);
	}
	return 0;
}

static int read_members(struct opt_ctx *c, const struct opt_desc *d, const struct val *v, void *out)
{
	for (uint32_t i = 0; i < v->n; i++) {
		const struct val_member *m = &v->members[i];
		const struct opt_field *f = find_field(d, m->key);
		if (f == NULL && d->open)
			continue;
		if (f == NULL)
			return fail_unknown(c, "field", m->key, field_names(d, c->a));
		if (m->val.given_twice)
			return opt_error(c, "duplicate field `%s`", f->name);
		if (m->val.type == VAL_NULL)
			continue;
		if (f->alias != NULL && slice_eq_cstr(m->key, f->alias) && val_get(v, slice_from_cstr(f->name)) != NULL)
			return opt_error(c, "duplicate field `%s`, which `%s` is another name for", f->name, f->alias);
		if (read_field(c, f, &m->val, out) < 0)
			return -E_INVAL;
		if (f->present_offset != SIZE_MAX)
			*(bool *)((char *)out + f->present_offset) = true;
	}
	return 0;
}

int opt_parse_struct(struct opt_ctx *c, const struct opt_desc *d, const struct val *v, void *out)
{
	set_defaults(c, d, out);
	if (v->type == VAL_LIST && v->n > 0)
		return opt_fail_type(c, &v->items[0], "a field name");
	if (v->type != VAL_OBJ && !is_empty(v))
		return opt_fail_type(c, v, "a table");
	if (v->type == VAL_OBJ && read_members(c, d, v, out) < 0)
		return -E_INVAL;
	return check_required(c, d, v);
}

int opt_parse(const struct opt_desc *d, const struct val *v, struct arena *a, void *out)
{
	struct opt_ctx c = { .a = a, .root = d->name };
	return d->custom != NULL ? d->custom(&c, v, out) : opt_parse_struct(&c, d, v, out);
}

void opt_defaults(const struct opt_desc *d, struct arena *a, void *out)
{
	set_defaults(&(struct opt_ctx){ .a = a, .root = d->name }, d, out);
}
