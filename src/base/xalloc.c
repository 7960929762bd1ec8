/* SPDX-License-Identifier: Apache-2.0 */
#include "base/xalloc.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void *alloc_checked(void *p, size_t size)
{
	if (p == NULL) {
		fprintf(stderr, "out of memory allocating %zu bytes\n", size);
		abort();
	}
	return p;
}

static size_t size_product(size_t n, size_t size)
{
	size_t total;
	if (__builtin_mul_overflow(n, size, &total))
		alloc_checked(NULL, SIZE_MAX);
	return total;
}

void *xmalloc(size_t size)
{
	return alloc_checked(malloc(size ? size : 1), size);
}

void *xcalloc(size_t n, size_t size)
{
	size_t total = size_product(n, size);
	return alloc_checked(calloc(1, total ? total : 1), total);
}

void *xzalloc(size_t size)
{
	return xcalloc(1, size);
}

void *xrealloc(void *ptr, size_t size)
{
	return alloc_checked(realloc(ptr, size ? size : 1), size);
}

void *xreallocarray(void *ptr, size_t n, size_t size)
{
	return xrealloc(ptr, size_product(n, size));
}

char *xstrdup(const char *s)
{
	return xmemdup0(s, strlen(s));
}

char *xmemdup0(const void *ptr, size_t len)
{
	char *p = xmalloc(len + 1);
	if (len > 0)
		memcpy(p, ptr, len);
	p[len] = '\0';
	return p;
}

char *xasprintf(const char *fmt, ...)
{
	va_list ap;
	char *p = NULL;
	va_start(ap, fmt);
	if (vasprintf(&p, fmt, ap) < 0)
		p = NULL;
	va_end(ap);
	return alloc_checked(p, 0);
}
