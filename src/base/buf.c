/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/xalloc.h"

void buf_fini(struct buf *b)
{
	free(b->ptr);
	*b = (struct buf){ 0 };
}

void buf_reserve(struct buf *b, size_t more)
{
	size_t need;
	if (__builtin_add_overflow(b->len, more, &need) || __builtin_add_overflow(need, 1, &need))
		abort();
	if (need <= b->cap)
		return;
	size_t cap = b->cap + b->cap / 2;
	cap = MAX(cap, need);
	cap = MAX(cap, (size_t)64);
	b->ptr = xrealloc(b->ptr, cap);
	b->cap = cap;
}

void buf_put(struct buf *b, const void *ptr, size_t len)
{
	if (len == 0)
		return;
	buf_reserve(b, len);
	memcpy(b->ptr + b->len, ptr, len);
	b->len += len;
}

void buf_putc(struct buf *b, char c)
{
	if (b->len + 1 >= b->cap)
		buf_reserve(b, 1);
	b->ptr[b->len++] = c;
}

void buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
	va_list again;
	va_copy(again, ap);
	buf_reserve(b, 64);
	int n = vsnprintf(b->ptr + b->len, b->cap - b->len, fmt, ap);
	assert(n >= 0);
	if ((size_t)n >= b->cap - b->len) {
		buf_reserve(b, (size_t)n);
		n = vsnprintf(b->ptr + b->len, b->cap - b->len, fmt, again);
		assert(n >= 0);
	}
	va_end(again);
	b->len += (size_t)n;
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	buf_vprintf(b, fmt, ap);
	va_end(ap);
}

void buf_u64(struct buf *b, uint64_t n)
{
	char text[20], *p = text + sizeof text;
	do
		*--p = (char)('0' + n % 10);
	while ((n /= 10) != 0);
	buf_put(b, p, (size_t)(text + sizeof text - p));
}

void buf_i64(struct buf *b, int64_t n)
{
	if (n < 0)
		buf_putc(b, '-');
	buf_u64(b, n < 0 ? -(uint64_t)n : (uint64_t)n);
}

void buf_consume(struct buf *b, size_t n)
{
	assert(n <= b->len);
	b->len -= n;
	if (n > 0 && b->len > 0)
		memmove(b->ptr, b->ptr + n, b->len);
}

void buf_truncate(struct buf *b, size_t len)
{
	assert(len <= b->len);
	b->len = len;
}

const char *buf_cstr(struct buf *b)
{
	buf_reserve(b, 0);
	b->ptr[b->len] = '\0';
	return b->ptr;
}

char *buf_take(struct buf *b, size_t *len)
{
	buf_cstr(b);
	char *p = b->ptr;
	if (len != NULL)
		*len = b->len;
	*b = (struct buf){ 0 };
	return p;
}
