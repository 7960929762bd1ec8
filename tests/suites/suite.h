/* SPDX-License-Identifier: Apache-2.0 */
/*
 * suite - what the drivers of outside test vectors share.
 *
 * The vectors are not in this repository: they are looked for in the folder given as first argument, in $KUMO_SUITES and beside the
 * checkout. A driver without its folder is skipped (77, as Meson understands it).
 *
 * Where ours differs from a suite on purpose the driver lists the case with the reason. An exception that no longer differs is a failure too:
 * lists may only be as long as they must.
 */
#pragma once
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "codec/val.h"

#define SUITE_SKIP 77

struct suite_exception {
	const char *name, *reason;
};
struct suite {
	const char *folder;
	const struct suite_exception *exceptions;	/* ends with name NULL; NULL: none */
	int cases, wrong, excepted;
};

static inline bool suite_is_folder(const char *path)
{
	struct stat st;
	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* The folder of the suite NAME, or NULL. */
static inline const char *suite_folder(int argc, char **argv, const char *name)
{
	static char path[4096];
	const char *roots[] = { argc > 1 ? argv[1] : NULL, getenv("KUMO_SUITES"), "../shared/suites", "../../shared/suites" };
	for (size_t i = 0; i < ARRAY_LEN(roots); i++) {
		if (roots[i] == NULL)
			continue;
		snprintf(path, sizeof path, "%s/%s", roots[i], name);
		if (suite_is_folder(path))
			return path;
	}
	printf("no folder of vectors %s: skipped\n", name);
	return NULL;
}

/* The bytes of a file in exactly as much memory, so that a sanitizer sees a read past the end. False: there is none. */
static inline bool suite_read(const char *path, struct slice *out)
{
	FILE *f = fopen(path, "rb");
	struct buf b = { 0 };
	size_t n;
	if (f == NULL)
		return false;
	do {
		buf_reserve(&b, 65536);
		n = fread(b.ptr + b.len, 1, 65536, f);
		b.len += n;
	} while (n > 0);
	fclose(f);
	char *exact = malloc(b.len > 0 ? b.len : 1);
	if (exact == NULL)
		abort();
	if (b.len > 0)
		memcpy(exact, b.ptr, b.len);
	*out = slice_new(exact, b.len);
	buf_fini(&b);
	return true;
}

static inline void suite_free(struct slice s)
{
	free((void *)s.ptr);
}

/* The same of a file in a folder, for which there is no excuse. */
static inline struct slice suite_need(const char *folder, const char *name)
{
	char path[8192];
	struct slice s;
	snprintf(path, sizeof path, "%s/%s", folder, name);
	if (!suite_read(path, &s)) {
		printf("%s is missing\n", path);
		exit(1);
	}
	return s;
}

/* The tree in a JSON file of the suite. */
static inline struct val suite_json(const char *folder, const char *name, struct arena *a)
{
	struct slice text = suite_need(folder, name);
	struct val v;
	if (json_parse(text, a, &v) < 0) {
		printf("%s: %s\n", name, err_text());
		exit(1);
	}
	suite_free(text);
	return v;
}

/* Calls FN for every file in and below a folder, with its path. */
static inline void suite_walk(const char *path, void (*fn)(const char *path, void *arg), void *arg)
{
	if (!suite_is_folder(path)) {
		fn(path, arg);
		return;
	}
	DIR *d = opendir(path);
	for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
		char sub[4096];
		if (e->d_name[0] != '.' && snprintf(sub, sizeof sub, "%s/%s", path, e->d_name) < (int)sizeof sub)
			suite_walk(sub, fn, arg);
	}
	if (d != NULL)
		closedir(d);
}

/* Bare LFs as CRLF. */
static inline struct slice suite_crlf(struct slice s, struct arena *a)
{
	struct buf b = { 0 };
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] == '\n' && (i == 0 || s.ptr[i - 1] != '\r'))
			buf_putc(&b, '\r');
		buf_putc(&b, s.ptr[i]);
	}
	struct slice r = arena_dup(a, buf_view(&b));
	buf_fini(&b);
	return r;
}

static inline bool suite_excepted(const struct suite *s, struct slice name)
{
	for (const struct suite_exception *e = s->exceptions; e != NULL && e->name != NULL; e++)
		if (slice_eq_cstr(name, e->name))
			return true;
	return false;
}

/* Counts a case; what follows tells how it went wrong. */
PRINTF(4, 5) static inline void suite_case(struct suite *s, struct slice name, bool ok, const char *fmt, ...)
{
	bool excepted = suite_excepted(s, name);
	s->cases++;
	s->excepted += excepted;
	if (ok != excepted)
		return;
	s->wrong++;
	if (ok) {
		printf("%.*s: fits, and need not be an exception\n", SLICE_ARG(name));
		return;
	}
	va_list ap;
	va_start(ap, fmt);
	printf("%.*s: ", SLICE_ARG(name));
	vprintf(fmt, ap);
	printf("\n");
	va_end(ap);
}

/* The driver's exit status. LEAST: how many cases there must have been. */
static inline int suite_end(const struct suite *s, int least)
{
	printf("%d cases, %d wrong, %d excepted\n", s->cases, s->wrong, s->excepted);
	return s->wrong > 0 || s->cases < least;
}
