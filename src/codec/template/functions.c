/* SPDX-License-Identifier: Apache-2.0 */
/* Functions that every template can call. */
#include <time.h>

#include "base/rand.h"
#include "codec/template/tpl.h"

#define RANGE_MAX 100000

static int fn_range(struct render *r, struct call *c, struct tv *out)
{
	int64_t lo = 0, hi = 0, step = 1;
	if (arg_int(r, c, 0, "isize", &hi) < 0)
		return -E_INVAL;
	if (arg_given(c, 1)) {
		lo = hi;
		if (arg_int(r, c, 1, "isize", &hi) < 0)
			return -E_INVAL;
	}
	if (arg_given(c, 2) && arg_int(r, c, 2, "isize", &step) < 0)
		return -E_INVAL;
	if (step == 0)
		return tpl_fail(r, "invalid operation", "cannot create range with step of 0");
	int128 span = step > 0 ? (int128)hi - lo : (int128)lo - hi, by = step > 0 ? step : -(int128)step;
	int128 n = span > 0 ? (span + by - 1) / by : 0;
	if (n > RANGE_MAX)
		return tpl_fail(r, "invalid operation", "range has too many elements");
	struct tv *items = arena_alloc(r->a, (size_t)n * sizeof *items);
	for (int64_t i = 0; i < (int64_t)n; i++)
		items[i] = tv_int((int128)lo + (int128)i * step);
	*out = tv_list(items, (size_t)n);
	out->dynamic = true;
	return 0;
}

/* A copy of the first argument, if any, with the named ones. */
static int filled_map(struct render *r, struct call *c, struct tmap **out)
{
	struct tmap *m = tmap_new(r);
	struct tv pairs;
	if (c->n > 0 && c->args[0].kind != TV_UNDEF) {
		if (!tv_is_map(&c->args[0]))
			return tpl_fail_kind(r, "invalid operation");
		if (map_pairs(r, &c->args[0], &pairs) < 0)
			return -E_INVAL;
		for (size_t i = 0; i < pairs.l.n; i++)
			tmap_put(r, m, pairs.l.items[i].l.items[0], pairs.l.items[i].l.items[1]);
	}
	for (size_t i = 0; i < c->kwargs->n; i++)
		tmap_put(r, m, c->kwargs->pairs[i].key, c->kwargs->pairs[i].value);
	c->used = UINT64_MAX;
	*out = m;
	return c->kwargs->n > 64 ? tpl_fail_kind(r, "too many arguments") : 0;
}

static int fn_dict(struct render *r, struct call *c, struct tv *out)
{
	struct tmap *m = NULL;
	int rc = filled_map(r, c, &m);
	*out = tv_map(m);
	return rc;
}

static int fn_namespace(struct render *r, struct call *c, struct tv *out)
{
	struct tobj *o = arena_alloc(r->a, sizeof *o);
	o->kind = OBJ_NAMESPACE;
	*out = tv_obj(o);
	return filled_map(r, c, &o->map);
}

static int fn_debug(struct render *r, struct call *c, struct tv *out)
{
	struct buf b = { 0 };
	if (c->n > 0) {
		struct tv list = c->n == 1 ? c->args[0] : tv_list(c->args, (size_t)c->n);
		tv_put_debug(&b, &list, 0);
	} else {
		buf_printf(&b, "State {\n    name: \"%.*s\",\n    ctx: {\n", SLICE_ARG(r->t->name));
		for (const struct frame *f = r->frame; f != NULL; f = f->up)
			for (size_t i = 0; i < f->vars.n; i++) {
				buf_lit(&b, "        ");
				tv_put_debug(&b, &f->vars.pairs[i].key, -1);
				buf_lit(&b, ": ");
				tv_put_debug(&b, &f->vars.pairs[i].value, 2);
				buf_lit(&b, ",\n");
			}
		buf_lit(&b, "    },\n}");
	}
	*out = tv_str(tpl_keep(r, &b));
	return 0;
}

static int fn_now(struct render *r, struct call *c, struct tv *out)
{
	struct timespec ts;
	(void)r;
	(void)c;
	clock_gettime(CLOCK_REALTIME, &ts);
	*out = tv_float((double)ts.tv_sec + (double)ts.tv_nsec / 1e9);
	return 0;
}

static int fn_cycler(struct render *r, struct call *c, struct tv *out)
{
	struct tv list;
	if (c->n == 0 || c->args[0].kind == TV_UNDEF)
		return tpl_fail(r, "invalid operation", "at least one value required");
	if (!tv_is_list(&c->args[0]))
		return tpl_fail(r, "invalid operation", "not iterable");
	if (to_list(r, &c->args[0], &list) < 0)
		return -E_INVAL;
	if (list.l.n == 0)
		return tpl_fail(r, "invalid operation", "at least one value required");
	struct tobj *o = arena_alloc(r->a, sizeof *o);
	o->kind = OBJ_CYCLER;
	o->cycler.items = list.l.items;
	o->cycler.n = list.l.n;
	*out = tv_obj(o);
	return 0;
}

static int fn_joiner(struct render *r, struct call *c, struct tv *out)
{
	struct tobj *o = arena_alloc(r->a, sizeof *o);
	o->kind = OBJ_JOINER;
	o->joiner.sep = arg_given(c, 0) ? c->args[0] : tv_str(SLICE(", "));
	*out = tv_obj(o);
	return 0;
}

/* Words that mean nothing, in sentences and paragraphs. */
static int fn_lipsum(struct render *r, struct call *c, struct tv *out)
{
	static const char *const words[] = { "lorem", "ipsum", "dolor", "sit", "amet", "elit", "sed", "nulla", "porta", "lectus", "magna", "vitae", "quis", "arcu" };
	const struct tv *n = kwarg(c, "n"), *html = kwarg(c, "html"), *min = kwarg(c, "min"), *max = kwarg(c, "max");
	int64_t paragraphs = 5, least = 20, most = 100;
	struct buf b = { 0 };
	if ((n != NULL && tv_to_int(r, n, "usize", &paragraphs) < 0) || (c->n > 0 && arg_int(r, c, 0, "usize", &paragraphs) < 0) ||
	    (min != NULL && tv_to_int(r, min, "usize", &least) < 0) || (max != NULL && tv_to_int(r, max, "usize", &most) < 0))
		return -E_INVAL;
	bool tags = html != NULL && tv_true(html);
	if (paragraphs < 0 || paragraphs > 1000 || least < 1 || most > 10000 || most <= least)
		return tpl_fail(r, "invalid operation", "range of words or paragraphs");
	for (int64_t p = 0; p < paragraphs; p++) {
		buf_cstr_put(&b, p == 0 ? "" : tags ? "\n" : "\n\n");
		buf_cstr_put(&b, tags ? "<p>" : "");
		for (int64_t i = least + (int64_t)rand_below((uint64_t)(most - least)); i > 0; i--)
			buf_printf(&b, "%s%s", words[rand_below(ARRAY_LEN(words))], i > 1 ? " " : ".");
		buf_cstr_put(&b, tags ? "</p>" : "");
	}
	*out = tv_str(tpl_keep(r, &b));
	out->safe = tags;
	return 0;
}

static int fn_randrange(struct render *r, struct call *c, struct tv *out)
{
	int64_t lo = 0, hi = 0;
	if (arg_int(r, c, 0, "i64", &hi) < 0)
		return -E_INVAL;
	if (arg_given(c, 1)) {
		lo = hi;
		if (arg_int(r, c, 1, "i64", &hi) < 0)
			return -E_INVAL;
	}
	if (hi <= lo)
		return tpl_fail(r, "invalid operation", "the range is empty");
	*out = tv_int((int128)lo + (int128)rand_below((uint64_t)hi - (uint64_t)lo));
	return 0;
}

const struct tpl_builtin TPL_FUNCTIONS[] = {
	{ "range", fn_range, 1, 3 }, { "dict", fn_dict, 0, 1, .kwargs = true }, { "namespace", fn_namespace, 0, 1, .kwargs = true },
	{ "debug", fn_debug, 0, -1 }, { "now", fn_now, 0, 0 }, { "cycler", fn_cycler, 0, -1 }, { "joiner", fn_joiner, 0, 1 },
	{ "lipsum", fn_lipsum, 0, 1, .kwargs = true }, { "randrange", fn_randrange, 1, 2 }, { NULL },
};
