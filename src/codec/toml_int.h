/* SPDX-License-Identifier: Apache-2.0 */
/* toml_int - what the files of the TOML reader share: where it stands, and how it fails. */
#pragma once
#include "codec/val.h"

struct toml_reader {
	const char *start, *at, *end;
	const char *name;	/* of the file; NULL: a text */
	struct arena *a;	/* of the result */
	struct arena *tmp;	/* of the tables being built */
	int depth;
};

/* Fails for the text between FROM and UNTIL, which may be equal. */
#define toml_fail(...) (toml_set_error(__VA_ARGS__), -E_INVAL)
void toml_set_error(const struct toml_reader *r, const char *from, const char *until, const char *fmt, ...) PRINTF(4, 5);

static inline int toml_peek(const struct toml_reader *r) { return r->at < r->end ? (unsigned char)*r->at : -1; }
static inline struct slice toml_rest(const struct toml_reader *r) { return slice_new(r->at, (size_t)(r->end - r->at)); }

/* Strings; r->at is at the opening quote. KEY: no multi-line forms. */
int toml_read_string(struct toml_reader *r, bool key, struct slice *out) WARN_UNUSED;
/* Booleans, numbers, dates and times: a run of characters that are none of those that can follow a value. */
int toml_read_plain(struct toml_reader *r, struct val *out) WARN_UNUSED;
/* Characters that a comment or string may not hold. */
static inline bool toml_is_control(char c) { return ((unsigned char)c < 0x20 && c != '\t') || c == 0x7f; }
static inline bool toml_is_bare(char c) { return ascii_is_alnum(c) || c == '_' || c == '-'; }
