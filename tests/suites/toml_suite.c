/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TOML against toml-lang/toml-test: files of invalid/ must be refused, those of valid/ must give the tree that the JSON beside them
 * describes, and give it again when printed and parsed once more. The list for 1.1 is used, as upstream accepts its forms too.
 */
#include <math.h>

#include "base/timefmt.h"
#include "codec/val.h"
#include "suite.h"

static const char *time_kind(struct slice s)
{
	if (s.len > 2 && s.ptr[2] == ':')
		return "time-local";
	if (s.len == 10)
		return "date-local";
	struct slice behind = slice_sub(s, 19, SIZE_MAX);
	return slice_chr(behind, 'Z') >= 0 || slice_chr(behind, '+') >= 0 || slice_chr(behind, '-') >= 0 ? "datetime" : "datetime-local";
}

static bool float_equals(double f, struct slice want)
{
	char text[64];
	snprintf(text, sizeof text, "%.*s", SLICE_ARG(want));
	double w = strtod(text, NULL);
	return isnan(f) ? isnan(w) : f == w;
}

static bool time_equals(struct slice got, struct slice want)
{
	struct buf g = { 0 }, w = { 0 };
	struct time_ns x, y;
	const char *kind = time_kind(got);
	const char *before = *kind == 't' ? "2000-01-01T" : "", *behind = strcmp(kind, "date-local") == 0 ? "T00:00:00Z" : strcmp(kind, "datetime") == 0 ? "" : "Z";
	buf_printf(&g, "%s%.*s%s", before, SLICE_ARG(got), behind);
	buf_printf(&w, "%s%.*s%s", before, SLICE_ARG(want), behind);
	bool same = time_parse_rfc3339_ns(buf_view(&g), &x) == 0 && time_parse_rfc3339_ns(buf_view(&w), &y) == 0 && x.sec == y.sec && x.nsec == y.nsec;
	buf_fini(&g);
	buf_fini(&w);
	return same;
}

static bool scalar_equals(const struct val *got, struct slice type, struct slice want)
{
	int64_t i;
	switch (got->type) {
	case VAL_BOOL:
		return slice_eq_cstr(type, "bool") && slice_eq_cstr(want, got->b ? "true" : "false");
	case VAL_INT:
		return slice_eq_cstr(type, "integer") && slice_to_i64(want, &i) == 0 && i == got->i;
	case VAL_FLOAT:
		return slice_eq_cstr(type, "float") && float_equals(got->f, want);
	case VAL_STR:
		return slice_eq_cstr(type, "string") && slice_eq(got->s, want);
	case VAL_TIME:
		return slice_eq_cstr(type, time_kind(got->s)) && time_equals(got->s, want);
	default:
		return false;
	}
}

static bool equals(const struct val *got, const struct val *want)
{
	const struct val *type = val_get_lit(want, "type"), *value = val_get_lit(want, "value");
	if (want->type == VAL_OBJ && want->n == 2 && type != NULL && value != NULL && type->type == VAL_STR && value->type == VAL_STR)
		return scalar_equals(got, type->s, value->s);
	if (got->type != want->type || got->n != want->n)
		return false;
	for (uint32_t i = 0; i < got->n; i++) {
		const struct val *g = got->type == VAL_LIST ? &got->items[i] : &got->members[i].val;
		const struct val *w = got->type == VAL_LIST ? &want->items[i] : val_get(want, got->members[i].key);
		if (w == NULL || !equals(g, w))
			return false;
	}
	return true;
}

static int run_valid(struct arena *a, const char *path, const struct val *got)
{
	char beside[8192];
	struct slice text;
	struct val want, again;
	snprintf(beside, sizeof beside, "%.*s.json", (int)strlen(path) - 5, path);
	if (!suite_read(beside, &text) || json_parse(text, a, &want) < 0) {
		printf("%s: %s\n", beside, err_text());
		return 1;
	}
	suite_free(text);
	int wrong = !equals(got, &want);
	if (wrong)
		printf("%s: another tree\n", path);
	for (int flags = 0; flags < 4; flags++) {
		struct buf b = { 0 };
		if (toml_put(&b, got, flags) < 0 || toml_parse(buf_view(&b), NULL, a, &again) < 0 || !equals(&again, &want)) {
			printf("%s: does not survive printing:\n%s\n%s\n", path, buf_cstr(&b), err_text());
			wrong++;
		}
		buf_fini(&b);
	}
	return wrong;
}

static int run_file(const char *folder, const char *name)
{
	char path[8000];
	struct slice text;
	struct val v;
	snprintf(path, sizeof path, "%s/%s", folder, name);
	if (!suite_read(path, &text)) {
		printf("%s is missing\n", path);
		return 1;
	}
	struct arena *a = arena_create();
	int rc = toml_parse(text, name, a, &v), wrong = 0;
	suite_free(text);
	if (strncmp(name, "invalid", 7) == 0) {
		wrong = rc == 0;
		if (wrong)
			printf("%s: accepted\n", name);
	} else if (rc < 0) {
		wrong = 1;
		printf("%s\n", err_text());
	} else {
		wrong = run_valid(a, path, &v);
	}
	arena_destroy(&a);
	return wrong;
}

int main(int argc, char **argv)
{
	const char *folder = suite_folder(argc, argv, "toml-test");
	char list_path[8000];
	struct slice list, rest, line;
	int files = 0, wrong = 0;
	if (folder == NULL)
		return SUITE_SKIP;
	snprintf(list_path, sizeof list_path, "%s/files-toml-1.1.0", folder);
	if (!suite_read(list_path, &list))
		return SUITE_SKIP;
	rest = list;
	while (slice_split_next(&rest, '\n', &line)) {
		char name[1000];
		if (!slice_ends(line, SLICE(".toml")))
			continue;
		snprintf(name, sizeof name, "%.*s", SLICE_ARG(line));
		files++;
		wrong += run_file(folder, name);
	}
	suite_free(list);
	printf("%d files, %d wrong\n", files, wrong);
	return wrong > 0 || files < 600;
}
