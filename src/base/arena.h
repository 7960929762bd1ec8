/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arena - many small allocations that end together.
 *
 * One for a session, reset for each transaction: most functions then free nothing. Pointers stay valid until reset or destroy.
 *
 * Thread:  one owner.   Memory: chunks of 1 KiB doubling to 64 KiB; the first is kept over a reset.   Yields: never.
 */
#pragma once
#include "base/slice.h"

struct arena;

struct arena *arena_create(void);
struct arena *arena_create_sized(size_t first);	/* a first chunk of FIRST bytes (at least 256) instead of 1 KiB: for what many wait with */
void arena_destroy(struct arena **a);
void arena_reset(struct arena *a);
size_t arena_bytes(const struct arena *a);	/* handed out since the last reset */
void *arena_alloc(struct arena *a, size_t size) __attribute__((returns_nonnull, warn_unused_result)); /* zeroed, 16-byte aligned */
char *arena_strdup(struct arena *a, struct slice s) __attribute__((returns_nonnull));		       /* with a NUL behind */
struct slice arena_dup(struct arena *a, struct slice s);					       /* with a NUL behind, not counted */
char *arena_printf(struct arena *a, const char *fmt, ...) PRINTF(2, 3) __attribute__((returns_nonnull));
struct slice arena_slicef(struct arena *a, const char *fmt, ...) PRINTF(2, 3);
