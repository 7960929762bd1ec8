/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Offsets of time zones, from the system's compiled zone files (RFC 8536).
 *
 * A file is read once and kept for ever: there are few zones, and templates name them again and again. Reading is a small local file,
 * so that no thread is worth the trouble.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/map.h"
#include "base/xalloc.h"
#include "codec/template/tpl.h"

#define FILE_MAX 65536

struct zone {
	size_t n;		/* transitions */
	int64_t *at;
	int32_t *offset;	/* behind each */
	int32_t first;		/* before the first */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct map zones;	/* under lock; entries are never removed */

static int64_t get_be(const unsigned char *p, int bytes)
{
	uint64_t n = 0;
	for (int i = 0; i < bytes; i++)
		n = n << 8 | p[i];
	return bytes == 4 ? (int32_t)n : (int64_t)n;
}

struct counts {
	size_t isut, isstd, leap, times, types, chars;
};

/* The block that starts at P: its sizes, and its length with times of WIDTH bytes; 0 when it does not fit. */
static size_t block_counts(const unsigned char *p, size_t left, int width, struct counts *c)
{
	if (left < 44 || memcmp(p, "TZif", 4) != 0)
		return 0;
	size_t *fields[] = { &c->isut, &c->isstd, &c->leap, &c->times, &c->types, &c->chars };
	for (int i = 0; i < 6; i++) {
		*fields[i] = (size_t)get_be(p + 20 + i * 4, 4);
		if (*fields[i] > FILE_MAX)
			return 0;
	}
	size_t len = 44 + c->times * (size_t)width + c->times + c->types * 6 + c->chars + c->leap * (size_t)(width + 4) + c->isstd + c->isut;
	return len <= left && c->types > 0 ? len : 0;
}

static struct zone *parse(const unsigned char *p, size_t len)
{
	struct counts c;
	int width = 4;
	size_t first = block_counts(p, len, 4, &c);
	if (first == 0)
		return NULL;
	if (p[4] >= '2') {	/* a second block has 64-bit times */
		p += first;
		len -= first;
		width = 8;
		if (block_counts(p, len, 8, &c) == 0)
			return NULL;
	}
	const unsigned char *times = p + 44, *kinds = times + c.times * (size_t)width, *types = kinds + c.times;
	struct zone *z = xzalloc(sizeof *z);
	z->n = c.times;
	z->at = xcalloc(MAX(c.times, (size_t)1), sizeof *z->at);
	z->offset = xcalloc(MAX(c.times, (size_t)1), sizeof *z->offset);
	z->first = (int32_t)get_be(types, 4);
	for (size_t i = 0; i < c.times; i++) {
		z->at[i] = get_be(times + i * (size_t)width, width);
		z->offset[i] = kinds[i] < c.types ? (int32_t)get_be(types + kinds[i] * 6, 4) : 0;
	}
	return z;
}

static struct zone *load(struct slice name)
{
	char path[300];
	static unsigned char data[FILE_MAX];	/* under lock */
	if (name.len == 0 || name.len > 200 || name.ptr[0] == '/' || slice_find(name, SLICE("..")) >= 0 || memchr(name.ptr, '\0', name.len) != NULL)
		return NULL;
	snprintf(path, sizeof path, "/usr/share/zoneinfo/%.*s", SLICE_ARG(name));
	FILE *f = fopen(path, "rb");
	if (f == NULL)
		return NULL;
	size_t n = fread(data, 1, sizeof data, f);
	fclose(f);
	return parse(data, n);
}

/* The rule string behind the last transition is not read: compilers of zone files list transitions up to 2037 (or "slim" ones none). */
static int32_t offset_at(const struct zone *z, int64_t sec)
{
	size_t low = 0, high = z->n;
	while (low < high) {
		size_t mid = (low + high) / 2;
		if (z->at[mid] <= sec)
			low = mid + 1;
		else
			high = mid;
	}
	return low == 0 ? z->first : z->offset[low - 1];
}

int tz_offset(struct slice name, int64_t sec, int *offset_s)
{
	if (slice_eq_cstr(name, "UTC")) {
		*offset_s = 0;
		return 0;
	}
	pthread_mutex_lock(&lock);
	struct zone *z = map_get(&zones, name);
	if (z == NULL && map_len(&zones) < 2000 && (z = load(name)) != NULL)
		map_put(&zones, name, z);
	pthread_mutex_unlock(&lock);
	if (z == NULL)
		return err_set(E_NOENT, "unknown timezone '%.*s'", SLICE_ARG(name));
	*offset_s = offset_at(z, sec);
	return 0;
}
