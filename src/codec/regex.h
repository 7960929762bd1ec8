/* SPDX-License-Identifier: Apache-2.0 */
/*
 * regex - regular expressions by PCRE2: Unicode, "$" only at the very end, bounded work.
 *
 * Two dialects: REGEX_FULL knows look-around and back references (kumo.regex, shaping rules); REGEX_PLAIN refuses them, as the sets do
 * (regex_set_map, the bounce classifier), so that a set may be matched by an automaton.
 *
 * Thread:  a compiled expression is immutable and shared; matching uses a JIT stack of the thread's own (fibers' stacks are small).
 * Memory:  regex_create/_destroy.   Yields: never.
 */
#pragma once
#include "base/err.h"
#include "base/slice.h"

enum regex_dialect { REGEX_FULL, REGEX_PLAIN };
#define REGEX_GROUPS_MAX 128

struct regex;
struct regex_match {
	size_t n;			/* groups, with group 0: the whole */
	struct slice group[REGEX_GROUPS_MAX];	/* SLICE_NONE: took no part */
};

int regex_create(struct slice pattern, enum regex_dialect dialect, struct regex **out) WARN_UNUSED;	/* err_text: what is wrong, at which offset */
void regex_destroy(struct regex **r);
/* 1: matches at or behind FROM, M (may be NULL) filled; 0: no match; -E_LIMIT: too much work; -E_INVAL: S is no UTF-8. */
int regex_find(const struct regex *r, struct slice s, size_t from, struct regex_match *m) WARN_UNUSED;
bool regex_is_match(const struct regex *r, struct slice s);	/* failures count as no match */
size_t regex_n_groups(const struct regex *r);			/* with group 0 */
struct slice regex_group_name(const struct regex *r, size_t group);	/* SLICE_NONE: it has none */
