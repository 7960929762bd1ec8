/* SPDX-License-Identifier: Apache-2.0 */
/*
 * glob - file names that match a pattern.
 *
 * The dialect of upstream's policies: "*" and "?" within a name, "[a-z]" and "[!a-z]", "{one,two}", and "**" for any number of folders.
 * A name that begins with a dot matches only what spells its dot, except under "**".
 *
 * Thread:  any.   Memory: glob_list_fini frees.   Yields: glob_eval, when called on a fiber: it runs offloaded.
 */
#pragma once
#include "base/err.h"
#include "base/slice.h"

struct glob_list {
	char **paths;
	size_t n, cap;
};
void glob_list_fini(struct glob_list *l);
void glob_list_put(struct glob_list *l, const char *path, size_t len);
void glob_list_sort(struct glob_list *l);

/* Paths that match PATTERN; relative to ROOT (not part of the result) unless the pattern is absolute. A folder that is not there has no matches. */
int glob_eval(struct slice pattern, struct slice root, struct glob_list *out) WARN_UNUSED;
bool glob_match(struct slice pattern, struct slice path);	/* the whole path */
