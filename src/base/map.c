/* SPDX-License-Identifier: Apache-2.0 */
#include "base/map.h"

#include <stdlib.h>

#include "base/xalloc.h"

struct map_entry {
	uint64_t hash;
	char *key;		/* NULL: free */
	size_t len;
	void *value;
};

static size_t distance(const struct map *m, size_t pos, uint64_t hash)
{
	return (pos - hash) & (m->cap - 1);
}

/* The position of KEY, or SIZE_MAX. */
static size_t find(const struct map *m, uint64_t hash, struct slice key)
{
	if (m->n == 0)
		return SIZE_MAX;
	size_t pos = hash & (m->cap - 1);
	for (size_t dist = 0;; dist++, pos = (pos + 1) & (m->cap - 1)) {
		const struct map_entry *e = &m->entries[pos];
		if (e->key == NULL || distance(m, pos, e->hash) < dist)
			return SIZE_MAX;
		if (e->hash == hash && e->len == key.len && memcmp(e->key, key.ptr ? key.ptr : "", key.len) == 0)
			return pos;
	}
}

/* Robin hood: whoever is farther from home keeps the place. */
static void insert(struct map *m, struct map_entry new)
{
	size_t pos = new.hash & (m->cap - 1);
	for (size_t dist = 0;; dist++, pos = (pos + 1) & (m->cap - 1)) {
		struct map_entry *e = &m->entries[pos];
		if (e->key == NULL) {
			*e = new;
			m->n++;
			return;
		}
		size_t theirs = distance(m, pos, e->hash);
		if (theirs < dist) {
			struct map_entry evicted = *e;
			*e = new;
			new = evicted;
			dist = theirs;
		}
	}
}

static void resize(struct map *m, size_t cap)
{
	struct map old = *m;
	m->entries = xcalloc(cap, sizeof *m->entries);
	m->cap = cap;
	m->n = 0;
	for (size_t i = 0; i < old.cap; i++)
		if (old.entries[i].key != NULL)
			insert(m, old.entries[i]);
	free(old.entries);
}

void map_fini(struct map *m)
{
	for (size_t i = 0; i < m->cap; i++)
		free(m->entries[i].key);
	free(m->entries);
	*m = (struct map){ 0 };
}

void *map_get(const struct map *m, struct slice key)
{
	size_t pos = find(m, slice_hash(key), key);
	return pos == SIZE_MAX ? NULL : m->entries[pos].value;
}

void *map_put(struct map *m, struct slice key, void *value)
{
	assert(value != NULL);
	uint64_t hash = slice_hash(key);
	size_t pos = find(m, hash, key);
	if (pos != SIZE_MAX) {
		void *old = m->entries[pos].value;
		m->entries[pos].value = value;
		return old;
	}
	if ((m->n + 1) * 8 > m->cap * 7)
		resize(m, m->cap > 0 ? m->cap * 2 : 8);
	insert(m, (struct map_entry){ hash, xmemdup0(key.ptr, key.len), key.len, value });
	return NULL;
}

void *map_del(struct map *m, struct slice key)
{
	size_t pos = find(m, slice_hash(key), key);
	if (pos == SIZE_MAX)
		return NULL;
	void *value = m->entries[pos].value;
	free(m->entries[pos].key);
	/* Those behind move one back until one is at home or the place is free. */
	for (;;) {
		size_t next = (pos + 1) & (m->cap - 1);
		const struct map_entry *e = &m->entries[next];
		if (e->key == NULL || distance(m, next, e->hash) == 0)
			break;
		m->entries[pos] = *e;
		pos = next;
	}
	m->entries[pos].key = NULL;
	m->n--;
	return value;
}

bool map_next(const struct map *m, struct map_iter *it)
{
	while (it->pos < m->cap) {
		const struct map_entry *e = &m->entries[it->pos++];
		if (e->key == NULL)
			continue;
		it->key = slice_new(e->key, e->len);
		it->value = e->value;
		return true;
	}
	return false;
}
