/* SPDX-License-Identifier: Apache-2.0 */
/*
 * xalloc - allocation that aborts when a small request cannot be met.
 *
 * A mail server that cannot get 100 bytes cannot clean up either; what a peer's data sizes is bounded and checked before it
 * gets here. Sizes are multiplied with an overflow check.
 *
 * Thread:  any.   Memory: free() or xfree().   Yields: never.
 */
#pragma once
#include <stddef.h>

void *xmalloc(size_t size) __attribute__((malloc, returns_nonnull, warn_unused_result));
void *xzalloc(size_t size) __attribute__((malloc, returns_nonnull, warn_unused_result));
void *xcalloc(size_t n, size_t size) __attribute__((malloc, returns_nonnull, warn_unused_result));
void *xrealloc(void *ptr, size_t size) __attribute__((returns_nonnull, warn_unused_result));
void *xreallocarray(void *ptr, size_t n, size_t size) __attribute__((returns_nonnull, warn_unused_result));
char *xstrdup(const char *s) __attribute__((malloc, returns_nonnull, warn_unused_result));
char *xmemdup0(const void *ptr, size_t len) __attribute__((malloc, returns_nonnull, warn_unused_result)); /* copy with a NUL behind it */
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2), returns_nonnull, warn_unused_result));
