/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/xalloc.h"

#define ARENA_MAGIC OBJ_MAGIC('a', 'r', 'n', 'a')
#define CHUNK_FIRST 1024 /* most sessions and messages need less */
#define CHUNK_LEAST 256
#define CHUNK_MAX   65536
#define ALIGNMENT   16

struct chunk {
	struct chunk *next;	/* older */
	size_t size;		/* of the space behind this header */
} __attribute__((aligned(ALIGNMENT)));

/* The arena sits in its own first chunk, so that an idle session costs one allocation. */
struct arena {
	uint32_t magic;
	uint32_t first_size;	/* of the first chunk, with this struct */
	struct chunk *chunks;	/* newest first; the last is the arena's own and freed with it */
	char *at, *end;
	size_t next_size;
	size_t handed_out;
} __attribute__((aligned(ALIGNMENT)));

static char *first_space(struct arena *a)
{
	return (char *)(a + 1);
}

static void use_first(struct arena *a)
{
	a->chunks = NULL;
	a->at = first_space(a);
	a->end = (char *)a + a->first_size;
	a->next_size = MIN((size_t)a->first_size * 2, (size_t)CHUNK_MAX);
	a->handed_out = 0;
}

struct arena *arena_create_sized(size_t first)
{
	first = MAX(MIN(first, (size_t)CHUNK_MAX), (size_t)CHUNK_LEAST) & ~(size_t)(ALIGNMENT - 1);
	struct arena *a = xmalloc(first);
	a->magic = ARENA_MAGIC;
	a->first_size = (uint32_t)first;
	use_first(a);
	return a;
}

struct arena *arena_create(void)
{
	return arena_create_sized(CHUNK_FIRST);
}

void arena_reset(struct arena *a)
{
	OBJ_CHECK(a, ARENA_MAGIC);
	for (struct chunk *c = a->chunks, *next; c != NULL; c = next) {
		next = c->next;
		free(c);
	}
	use_first(a);
}

void arena_destroy(struct arena **ap)
{
	struct arena *a = *ap;
	if (a == NULL)
		return;
	arena_reset(a);
	OBJ_FINI(a, ARENA_MAGIC);
	free(a);
	*ap = NULL;
}

size_t arena_bytes(const struct arena *a)
{
	OBJ_CHECK(a, ARENA_MAGIC);
	return a->handed_out;
}

static void *alloc_chunk(struct arena *a, size_t size)
{
	/* What is large gets a chunk of its own, and the current one goes on being filled. */
	bool own = size > a->next_size / 4;
	size_t space = own ? size : a->next_size - sizeof(struct chunk);
	struct chunk *c = xmalloc(sizeof *c + space);
	c->size = space;
	c->next = a->chunks;
	a->chunks = c;
	if (!own) {
		a->at = (char *)(c + 1) + size;
		a->end = (char *)(c + 1) + space;
		a->next_size = MIN(a->next_size * 2, (size_t)CHUNK_MAX);
	}
	return c + 1;
}

void *arena_alloc(struct arena *a, size_t size)
{
	OBJ_CHECK(a, ARENA_MAGIC);
	assert(size < SIZE_MAX / 2);
	size = (MAX(size, (size_t)1) + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
	a->handed_out += size;
	void *p;
	if (size <= (size_t)(a->end - a->at)) {
		p = a->at;
		a->at += size;
	} else {
		p = alloc_chunk(a, size);
	}
	return memset(p, 0, size);
}

char *arena_strdup(struct arena *a, struct slice s)
{
	char *p = arena_alloc(a, s.len + 1);
	if (s.len > 0)
		memcpy(p, s.ptr, s.len);
	return p;
}

struct slice arena_dup(struct arena *a, struct slice s)
{
	return slice_new(arena_strdup(a, s), s.len);
}

static struct slice arena_vslicef(struct arena *a, const char *fmt, va_list ap) PRINTF(2, 0);
static struct slice arena_vslicef(struct arena *a, const char *fmt, va_list ap)
{
	char small[256];	/* nearly all texts fit, and are formatted once */
	va_list again;
	assert(fmt != NULL);
	va_copy(again, ap);
	int n = vsnprintf(small, sizeof small, fmt, ap);
	assert(n >= 0);
	char *p = arena_alloc(a, (size_t)n + 1);
	if ((size_t)n < sizeof small)
		memcpy(p, small, (size_t)n);
	else
		vsnprintf(p, (size_t)n + 1, fmt, again);
	va_end(again);
	return slice_new(p, (size_t)n);
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	struct slice s = arena_vslicef(a, fmt, ap);
	va_end(ap);
	return (char *)s.ptr;
}

struct slice arena_slicef(struct arena *a, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	struct slice s = arena_vslicef(a, fmt, ap);
	va_end(ap);
	return s;
}
