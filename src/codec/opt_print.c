/* SPDX-License-Identifier: Apache-2.0 */
#include "base/timefmt.h"
#include "codec/opt_int.h"

enum opt_type opt_element_type(const struct opt_desc *d)
{
	/* OPT_T_BOOL is 0, which is also what a table says that names no scalar; no list of booleans exists. */
	return d == NULL || d->scalar == OPT_T_BOOL ? OPT_T_STR : d->scalar;
}

size_t opt_element_size(const struct opt_desc *d)
{
	if (d != NULL && (d->fields != NULL || d->custom != NULL))
		return d->size;
	switch (opt_element_type(d)) {
	case OPT_T_STR:
		return sizeof(struct slice);
	case OPT_T_VAL:
		return sizeof(const struct val *);
	default:
		return sizeof(int64_t);	/* OPT_T_INT, OPT_T_SIZE, OPT_T_FLOAT, OPT_T_DURATION */
	}
}

static const char *choice_name(const struct opt_choice *choices, int value)
{
	for (; choices->name != NULL; choices++)
		if (choices->value == value)
			return choices->name;
	assert(!"a value that is none of the choices");
	return "";
}

static void print_duration(struct arena *a, int64_t ns, struct val *out)
{
	struct buf b = { 0 };
	duration_put(&b, ns);
	*out = val_str(a, buf_view(&b));
	buf_fini(&b);
}

/* False: there is nothing to tell. */
static bool print_scalar(const struct opt_field *f, const void *in, struct arena *a, struct val *out)
{
	switch (f->type) {
	case OPT_T_BOOL:
		*out = val_bool(*(const bool *)in);
		return true;
	case OPT_T_INT:
	case OPT_T_SIZE:
		*out = val_int(*(const int64_t *)in);
		return true;
	case OPT_T_FLOAT:
		*out = val_float(*(const double *)in);
		return true;
	case OPT_T_STR: {
		struct slice s = *(const struct slice *)in;
		*out = val_str(a, s);
		return s.ptr != NULL;
	}
	case OPT_T_DURATION:
		print_duration(a, *(const int64_t *)in, out);
		return true;
	case OPT_T_ENUM:
		*out = val_cstr(a, choice_name(f->choices, *(const int *)in));
		return true;
	case OPT_T_VAL: {
		const struct val *v = *(const struct val *const *)in;
		if (v != NULL)
			*out = val_copy(a, v);
		return v != NULL;
	}
	default:
		assert(!"not a scalar");
		return false;
	}
}

static void print_element(const struct opt_desc *d, const void *in, bool sparse, struct arena *a, struct val *out)
{
	*out = val_null();
	if (d != NULL && d->custom_print != NULL)
		d->custom_print(a, in, out);
	else if (d != NULL && d->fields != NULL)
		opt_print(d, in, sparse, a, out);
	else
		print_scalar(&(struct opt_field){ .type = opt_element_type(d) }, in, a, out);
}

static bool print_field(const struct opt_field *f, const void *in, bool sparse, struct arena *a, struct val *out)
{
	size_t size = f->type == OPT_T_LIST || f->type == OPT_T_MAP ? opt_element_size(f->sub) : 0;
	const struct opt_list *list = in;
	const struct opt_map *map = in;
	struct val item;
	switch (f->type) {
	case OPT_T_LIST:
		*out = val_list();
		for (size_t i = 0; i < list->n; i++) {
			print_element(f->sub, (const char *)list->items + i * size, sparse, a, &item);
			val_push(a, out, item);
		}
		return true;
	case OPT_T_MAP:
		*out = val_obj();
		for (size_t i = 0; i < map->n; i++) {
			print_element(f->sub, (const char *)map->items + i * size, sparse, a, &item);
			val_put(a, out, map->keys[i], item);
		}
		return true;
	case OPT_T_STRUCT:
		print_element(f->sub, in, sparse, a, out);
		return true;
	case OPT_T_CUSTOM:
		*out = val_null();
		if (f->custom_print != NULL)
			f->custom_print(a, in, out);
		return out->type != VAL_NULL;
	default:
		return print_scalar(f, in, a, out);
	}
}

void opt_print(const struct opt_desc *d, const void *in, bool sparse, struct arena *a, struct val *out)
{
	void *dflt = NULL;
	if (sparse) {
		dflt = arena_alloc(a, d->size);
		opt_defaults(d, a, dflt);
	}
	*out = val_obj();
	for (const struct opt_field *f = d->fields; f->name != NULL; f++) {
		struct val v, usual;
		if (f->present_offset != SIZE_MAX && f->dflt == NULL && !*(const bool *)((const char *)in + f->present_offset))
			continue;
		if (!print_field(f, (const char *)in + f->offset, sparse, a, &v))
			continue;
		if (sparse && print_field(f, (const char *)dflt + f->offset, sparse, a, &usual) && val_eq(&v, &usual))
			continue;
		val_put(a, out, slice_from_cstr(f->name), v);
	}
}
