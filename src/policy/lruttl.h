/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lruttl - the predefined caches by name: their sizes may be set by the policy, their names are taken.
 *
 * The caches themselves live with what they cache; those whose size matters read it here.
 *
 * Thread:  any.   Memory: static.   Yields: never.
 */
#pragma once
#include "base/err.h"
#include "base/slice.h"

struct lruttl_def {
	const char *name;
	int64_t capacity;	/* default */
	const char *doc;
};
const struct lruttl_def *lruttl_defs(void);		/* ends with a NULL name */
bool lruttl_exists(struct slice name);
int lruttl_set_capacity(struct slice name, int64_t n) WARN_UNUSED;	/* -E_NOENT */
int64_t lruttl_capacity(const char *name);		/* now in force; the name must exist */
