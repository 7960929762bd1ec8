/* SPDX-License-Identifier: Apache-2.0 */
/*
 * slice - a view of bytes that somebody else owns.
 *
 * Mail data holds NULs and is rarely NUL-terminated, so everything below the Lua and libc borders passes {ptr, len}.
 * Case folding is ASCII only: protocol words, header names and domains (in A-label form) need nothing else.
 *
 * Thread:  any.   Memory: never owns.   Yields: never.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "base/obj.h"

struct slice {
	const char *ptr;
	size_t len;
};

#define SLICE(lit) ((struct slice){ "" lit, sizeof(lit) - 1 }) /* of a string literal */
#define SLICE_INIT(lit) { "" lit, sizeof(lit) - 1 }	       /* the same in a static initializer */
#define SLICE_NONE ((struct slice){ NULL, 0 })
#define SLICE_ARG(s) (int)(s).len, (s).ptr		       /* for "%.*s" */

static inline struct slice slice_new(const void *ptr, size_t len) { return (struct slice){ ptr, len }; }
static inline struct slice slice_from_cstr(const char *s) { return (struct slice){ s, s ? strlen(s) : 0 }; }
static inline bool slice_eq(struct slice a, struct slice b) { return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0); }
static inline bool slice_eq_cstr(struct slice a, const char *b) { return slice_eq(a, slice_from_cstr(b)); }
bool slice_eq_nocase(struct slice a, struct slice b);
int slice_cmp(struct slice a, struct slice b);		       /* bytewise, <0 0 >0 */
bool slice_starts(struct slice s, struct slice prefix);
bool slice_ends(struct slice s, struct slice suffix);
bool slice_starts_nocase(struct slice s, struct slice prefix);
bool slice_ends_nocase(struct slice s, struct slice suffix);

/* Offset of the first C / NEEDLE, or -1. */
ptrdiff_t slice_chr(struct slice s, char c);
ptrdiff_t slice_rchr(struct slice s, char c);
ptrdiff_t slice_find(struct slice s, struct slice needle);
ptrdiff_t slice_find_nocase(struct slice s, struct slice needle);

/* The part from FROM (clamped) of at most LEN bytes; SIZE_MAX for the rest. */
struct slice slice_sub(struct slice s, size_t from, size_t len);
struct slice slice_trim(struct slice s);		       /* space, tab, CR, LF at both ends */
struct slice slice_trim_start(struct slice s);
struct slice slice_trim_end(struct slice s);
/* Cuts the part before SEP off *REST into *PART; false when *REST is exhausted (ptr == NULL). "a,,b" gives "a", "", "b". */
bool slice_split_next(struct slice *rest, char sep, struct slice *part);

uint64_t slice_hash(struct slice s);			       /* SipHash-1-3 keyed at start: safe with hostile keys */

/* Decimal without sign, white space or overflow; 0 or -E_INVAL. */
int slice_to_u64(struct slice s, uint64_t *out) WARN_UNUSED;
int slice_to_i64(struct slice s, int64_t *out) WARN_UNUSED;    /* an optional leading '-' */

static inline char ascii_lower(char c) { return c >= 'A' && c <= 'Z' ? c | 0x20 : c; }
static inline char ascii_upper(char c) { return c >= 'a' && c <= 'z' ? c & ~0x20 : c; }
static inline bool ascii_is_alpha(char c) { return (unsigned char)((c | 0x20) - 'a') < 26; }
static inline bool ascii_is_digit(char c) { return (unsigned char)(c - '0') < 10; }
static inline bool ascii_is_alnum(char c) { return ascii_is_alpha(c) || ascii_is_digit(c); }
static inline bool ascii_is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
