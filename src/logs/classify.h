/* SPDX-License-Identifier: Apache-2.0 */
/*
 * classify - what kind of failure a peer's reply is, by the rules of the operator's files (kumo.configure_bounce_classifier).
 *
 * A file maps class names to lists of regular expressions (TOML or JSON); the first rule, in the order of files and classes, that
 * matches "CODE ENHANCED TEXT" decides. All rules together are one automaton; results are cached, those without a class apart from the
 * others so that they cannot push them out. The files are read again when the configuration epoch moves on.
 *
 * Thread:  any.   Memory: the current set is shared and replaced whole.   Yields: classifier_configure.
 */
#pragma once
#include "codec/opt.h"
#include "logs/record.h"

struct classifier_opts {
	struct opt_list files;		/* of slices */
	int64_t back_pressure, pool_size, cache_size, uncategorized_cache_size;
};
extern const struct opt_desc CLASSIFIER_OPTS;

int classifier_configure(const struct classifier_opts *o) WARN_UNUSED;	/* -E_EXIST the second time. */
/* Appends the class, "Uncategorized" where nothing matches or nothing is configured. */
void classify_response(const struct smtp_response *r, struct buf *out);
void classify_text(struct slice line, struct buf *out);			/* the same for a line "550 5.1.1 text". */
void classifier_fini(void);
