/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rules - an ordered set of regular expressions; the first that matches wins.
 *
 * One automaton for all (hyperscan: 0.6 us a line for 135 rules); what it cannot compile, texts that are not ASCII, and everything where
 * the library or the processor lacks it, are tried one by one (PCRE2: 17 us).
 *
 * Thread:  a compiled set is immutable and may be used by any thread.   Memory: reference counts.   Yields: never.
 */
#pragma once
#include "base/err.h"
#include "base/slice.h"

struct rules;

struct rules *rules_create(void);
/* VALUE is what a match means; both are copied. -E_INVAL: PATTERN cannot be compiled. */
int rules_add(struct rules *r, struct slice pattern, struct slice value) WARN_UNUSED;
void rules_compile(struct rules *r);			/* after the last rule; slow */
struct rules *rules_ref(struct rules *r);
void rules_unref(struct rules **r);
bool rules_is_fast(const struct rules *r);		/* no rule is tried one by one, for a text of ASCII */
/* The value of the first rule that matches TEXT; false when none does. */
bool rules_match(const struct rules *r, struct slice text, struct slice *value);
