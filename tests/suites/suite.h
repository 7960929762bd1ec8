/* SPDX-License-Identifier: Apache-2.0 */
/*
 * suite - what the drivers of outside test vectors share.
 *
 * The vectors are not in this repository: they are looked for in the folder given as first argument, in $KUMO_SUITES and beside the
 * checkout. A driver without its folder is skipped (77, as Meson understands it).
 */
#pragma once
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/buf.h"

#define SUITE_SKIP 77

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
