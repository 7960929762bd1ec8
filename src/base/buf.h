/* SPDX-License-Identifier: Apache-2.0 */
/*
 * buf - a growable byte buffer.
 *
 * Zero-initialized is valid and empty. There is always room for (but no promise of) a NUL behind the bytes: buf_cstr() puts it.
 *
 * Thread:  one owner.   Memory: buf_fini() frees; buf_take() hands the bytes over.   Yields: never.
 */
#pragma once
#include <stdarg.h>
#include "base/slice.h"

struct buf {
	char *ptr;
	size_t len;
	size_t cap;
};

void buf_fini(struct buf *b);
void buf_reserve(struct buf *b, size_t more);		/* room for MORE bytes behind len */
static inline void buf_clear(struct buf *b) { b->len = 0; }
void buf_put(struct buf *b, const void *ptr, size_t len);
static inline void buf_slice(struct buf *b, struct slice s) { buf_put(b, s.ptr, s.len); }
static inline void buf_cstr_put(struct buf *b, const char *s) { buf_put(b, s, strlen(s)); }
#define buf_lit(b, lit) buf_put((b), "" lit, sizeof(lit) - 1)
void buf_putc(struct buf *b, char c);
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF(2, 3);
void buf_vprintf(struct buf *b, const char *fmt, va_list ap) PRINTF(2, 0);
void buf_u64(struct buf *b, uint64_t n);		/* decimal */
void buf_i64(struct buf *b, int64_t n);
void buf_consume(struct buf *b, size_t n);		/* drops N bytes at the front (moves the rest) */
void buf_truncate(struct buf *b, size_t len);
const char *buf_cstr(struct buf *b);			/* NUL-terminated view, valid until the next change */
static inline struct slice buf_view(const struct buf *b) { return (struct slice){ b->ptr, b->len }; }
char *buf_take(struct buf *b, size_t *len);		/* NUL-terminated; the caller frees; the buffer is empty again */
