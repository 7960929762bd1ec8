/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lua_pattern - the patterns of Lua 5.4, matched in counted steps.
 *
 * Lua's own matcher cannot be interrupted, and a pattern over a text that a stranger chose may take quadratic or exponential time. This one
 * keeps what it may have to come back to in a list of its own and tells its owner each PATTERN_STEPS steps, who may then let
 * others run, or give up. Which patterns are accepted, when a mistake in one is noticed, and how deep one may be are as in
 * Lua 5.4 (manual, section 6.4.1); mistakes are -E_INVAL with Lua's words as text.
 *
 * Thread:  any.
 * Memory:  views of the pattern and the text, which the caller keeps; nothing is allocated, so that SPENT may leave by longjmp.
 * Yields:  where SPENT does.
 */
#pragma once
#include "base/err.h"
#include "base/slice.h"

#define PATTERN_STEPS 10000	/* some 50 µs */
#define PATTERN_CAPTURES 32

struct pattern_steps {		/* shared by matches that come one after the other */
	unsigned left;
	void (*spent)(void *arg);
};
enum { PATTERN_OPEN = -1, PATTERN_POSITION = -2 };	/* instead of a capture's length */
struct pattern_capture {
	const char *at;
	ptrdiff_t len;
};
struct lua_pattern {
	struct slice pattern, text;
	bool anchored;
	struct pattern_steps *steps;
	void *arg;
	const char *last;		/* where the match before ended; NULL: none. No empty match is found there */
	const char *start, *end;	/* of the match */
	unsigned n_captures;
	struct pattern_capture captures[PATTERN_CAPTURES];
};
/* A '^' in front anchors only if MAY_ANCHOR (not in gmatch). ARG is for SPENT. */
void lua_pattern_init(struct lua_pattern *m, struct slice text, struct slice pattern, bool may_anchor, struct pattern_steps *steps, void *arg);
/* The first match at or behind FROM; only there, when anchored. 1, 0 or -E_INVAL. */
int lua_pattern_find(struct lua_pattern *m, const char *from) WARN_UNUSED;
bool lua_pattern_is_plain(struct slice pattern);	/* no character of it is special */
