/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Templates against minijinja's own: files of a JSON context, a line "---" and a template, with what they must print beside them.
 *
 * The recorded outputs come from a later version, which prints as Python does (True, None, 'x', tuples): both sides are brought to one
 * spelling before they are compared. Of errors only the line counts. VECTORS as first argument: a JSON list of {name, dialect, source,
 * context, want} to run instead.
 */
#include "codec/template.h"
#include "suite.h"

static const char *const EXCEPTIONS[] = {
	"debug.txt",			/* internals of another program */
	"literals.txt",			/* null prints as nothing there; integers of 128 bits without sign */
	"err_strict_undefined_for.txt", "err_strict_undefined_for_filter.txt", "err_strict_undefined_if.txt", "err_strict_undefined_print.txt", /* a mode of its own */
	"calls-and-literals.txt",	/* get_args and one_shot_iterator are the test program's */
	"loop_break_one_shot_iter.txt", "loop_break_one_shot_iter_peek.txt",
	"coerce.txt", "dict.txt",	/* 0 < true is true; dict(loop) */
	"filters.txt",			/* urlencode, which upstream leaves out */
	"block_super.html",		/* upper keeps a text safe */
	"macro_include.txt",		/* an included macro keeps the values of then */
	"loop-recursion-error.txt",	/* the line is that of the call */
	NULL,
};

static const char *folder;

static struct template *load_ref(void *ctx, struct slice name)
{
	char path[8192];
	struct slice text;
	struct template *t = NULL;
	snprintf(path, sizeof path, "%s/inputs/refs/%.*s", folder, SLICE_ARG(name));
	bool found = suite_read(path, &text);
	if (!found) {
		const char *own = ctx;	/* the template itself */
		if (!slice_eq_cstr(name, own))
			return NULL;
		snprintf(path, sizeof path, "%s/inputs/%s", folder, own);
		if (!suite_read(path, &text))
			return NULL;
	}
	struct slice source = text;
	if (!found)
		source = slice_sub(text, (size_t)slice_find(text, SLICE("\n---\n")) + 5, SIZE_MAX);
	if (template_compile(TEMPLATE_JINJA, name, source, &t) < 0)
		t = NULL;
	suite_free(text);
	return t;
}

/* One spelling: True is true, 'x' is "x", (1,) is [1]; no white space at the end. */
static void normalize(struct buf *b, struct slice s)
{
	static const char *const words[][2] = { { "True", "true" }, { "False", "false" }, { "None", "none" }, { "'", "\"" }, { ",)", "]" }, { "(", "[" }, { ")", "]" },
		{ ": ", ":" }, { ", ", "," } };
	while (s.len > 0 && ascii_is_space(s.ptr[s.len - 1]))
		s.len--;
	while (s.len > 0 && ascii_is_space(s.ptr[0]))
		s = slice_sub(s, 1, SIZE_MAX);
	while (s.len > 0) {
		size_t i = 0;
		while (i < ARRAY_LEN(words) && !slice_starts(s, slice_from_cstr(words[i][0])))
			i++;
		buf_cstr_put(b, i < ARRAY_LEN(words) ? words[i][1] : "");
		if (i == ARRAY_LEN(words))
			buf_putc(b, s.ptr[0]);
		s = slice_sub(s, i < ARRAY_LEN(words) ? strlen(words[i][0]) : 1, SIZE_MAX);
	}
}

static bool same(struct slice a, struct slice b)
{
	struct buf x = { 0 }, y = { 0 };
	normalize(&x, a);
	normalize(&y, b);
	bool equal = slice_eq(buf_view(&x), buf_view(&y));
	buf_fini(&x);
	buf_fini(&y);
	return equal;
}

/* "line: 3," of a recorded error; 0: none told. */
static unsigned error_line(struct slice snap)
{
	ptrdiff_t at = slice_find(snap, SLICE("\n    line: "));
	return at < 0 ? 0 : (unsigned)atoi(snap.ptr + at + 11);
}

static int run_case(const char *name, struct slice input, struct slice snap)
{
	struct arena *a = arena_create();
	struct buf out = { 0 };
	struct template *t = NULL;
	struct val context;
	ptrdiff_t split = slice_find(input, SLICE("\n---\n"));
	int wrong = 0;
	struct slice source = slice_sub(input, (size_t)split + 5, SIZE_MAX);
	bool want_error = slice_find(snap, SLICE("!!!ERROR!!!")) >= 0 || slice_find(snap, SLICE("!!!SYNTAX")) >= 0;
	ptrdiff_t head = slice_find(snap, SLICE("\n---\n"));
	struct slice want = slice_sub(snap, (size_t)head + 5, SIZE_MAX);
	if (json_parse(slice_sub(input, 0, (size_t)split), a, &context) < 0)
		context = val_obj();
	int rc = template_compile(TEMPLATE_JINJA, slice_from_cstr(name), source, &t);
	if (rc == 0)
		rc = template_render_with(t, &context, load_ref, (void *)name, &out);
	if (want_error) {
		char place[40];
		snprintf(place, sizeof place, ":%u)", error_line(snap));
		wrong = rc == 0 || (error_line(snap) > 0 && strstr(err_text(), place) == NULL);
		if (wrong)
			printf("%s: wants an error in line %u, has %s\n%.*s\n", name, error_line(snap), rc < 0 ? err_text() : "none", SLICE_ARG(buf_view(&out)));
	} else if (rc < 0) {
		wrong = 1;
		printf("%s: %s\n", name, err_text());
	} else if (!same(buf_view(&out), want)) {
		wrong = 1;
		printf("%s: prints\n%s\ninstead of\n%.*s\n", name, buf_cstr(&out), SLICE_ARG(want));
	}
	template_unref(&t);
	buf_fini(&out);
	arena_destroy(&a);
	return wrong;
}

static int run_file(const char *name)
{
	char path[8192];
	struct slice input, snap;
	for (size_t i = 0; EXCEPTIONS[i] != NULL; i++)
		if (strcmp(name, EXCEPTIONS[i]) == 0)
			return 0;
	snprintf(path, sizeof path, "%s/inputs/%s", folder, name);
	if (suite_is_folder(path) || !suite_read(path, &input))
		return 0;
	snprintf(path, sizeof path, "%s/snapshots/test_templates__vm@%s.snap", folder, name);
	int wrong = 1;
	if (suite_read(path, &snap)) {
		wrong = run_case(name, input, snap);
		suite_free(snap);
	} else {
		printf("%s is missing\n", path);
	}
	suite_free(input);
	return wrong;
}

static int run_vector(struct arena *a, const struct val *v)
{
	struct buf out = { 0 };
	struct template *t = NULL;
	struct slice name = val_get_str(v, SLICE("name")), source = val_get_str(v, SLICE("source")), want = val_get_str(v, SLICE("want"));
	struct slice dialect = val_get_str(v, SLICE("dialect"));
	enum template_dialect d = slice_eq_cstr(dialect, "Jinja") ? TEMPLATE_JINJA : slice_eq_cstr(dialect, "Static") ? TEMPLATE_STATIC : TEMPLATE_HANDLEBARS;
	int rc = template_compile(d, name, source, &t);
	if (rc == 0)
		rc = template_render(t, val_get_lit(v, "context"), &out);
	if (rc < 0)
		buf_printf(&out, "error: %s", err_text());
	template_unref(&t);
	bool equal = slice_eq(buf_view(&out), want);
	if (!equal)
		printf("%.*s\n   has %s\n   not %.*s\n", SLICE_ARG(source), buf_cstr(&out), SLICE_ARG(want));
	buf_fini(&out);
	(void)a;
	return !equal;
}

static int run_vectors(const char *path)
{
	struct arena *a = arena_create();
	struct slice text;
	struct val list;
	int wrong = 0;
	if (!suite_read(path, &text) || json_parse(text, a, &list) < 0 || list.type != VAL_LIST) {
		printf("%s: %s\n", path, err_text());
		return 1;
	}
	for (uint32_t i = 0; i < list.n; i++)
		wrong += run_vector(a, &list.items[i]);
	printf("%u templates, %d wrong\n", list.n, wrong);
	suite_free(text);
	arena_destroy(&a);
	return wrong > 0;
}

int main(int argc, char **argv)
{
	int files = 0, wrong = 0;
	if (argc > 1 && strstr(argv[1], ".json") != NULL)
		return run_vectors(argv[1]);
	folder = suite_folder(argc, argv, "templates/minijinja");
	if (folder == NULL)
		return SUITE_SKIP;
	char inputs[8192];
	snprintf(inputs, sizeof inputs, "%s/inputs", folder);
	DIR *d = opendir(inputs);
	for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;)
		if (e->d_name[0] != '.') {
			files++;
			wrong += run_file(e->d_name);
		}
	if (d != NULL)
		closedir(d);
	printf("%d files, %d wrong\n", files, wrong);
	return wrong > 0 || files < 100;
}
