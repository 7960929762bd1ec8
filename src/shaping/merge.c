/* SPDX-License-Identifier: Apache-2.0 */
/* merge - blocks of later files over those of earlier ones; see docs/userguide/trafficshaping/resolution. */
#include <stdarg.h>
#include <stdlib.h>
#include "base/xalloc.h"
#include "shaping/internal.h"

/* Limits that cut across paths add up; every other option replaces what was there. */
static bool is_additive(struct slice option)
{
	return slice_eq(option, SLICE("additional_connection_limits")) || slice_eq(option, SLICE("additional_message_rate_throttles")) ||
		slice_eq(option, SLICE("additional_source_selection_rates"));
}

void shaping_params_merge(struct arena *a, struct val *into, const struct val *from)
{
	for (uint32_t i = 0; i < from->n; i++) {
		const struct val_member *m = &from->members[i];
		const struct val *old = val_get(into, m->key);

		if (!old || old->type != VAL_OBJ || m->val.type != VAL_OBJ || !is_additive(m->key)) {
			val_put(a, into, m->key, val_copy(a, &m->val));
			continue;
		}
		struct val both = val_copy(a, old);
		for (uint32_t j = 0; j < m->val.n; j++)
			val_put(a, &both, m->val.members[j].key, val_copy(a, &m->val.members[j].val));
		val_put(a, into, m->key, both);
	}
}

static void merge_sources(struct arena *a, struct val *into, const struct val *from)
{
	for (uint32_t i = 0; i < from->n; i++) {
		const struct val_member *m = &from->members[i];
		const struct val *old = val_get(into, m->key);
		struct val both = old ? val_copy(a, old) : val_obj();

		shaping_params_merge(a, &both, &m->val);
		val_put(a, into, m->key, both);
	}
}

void rule_list_add(struct arena *a, struct rule_list *l, const struct shaping_rule *r)
{
	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 4;
		struct shaping_rule *items = arena_alloc(a, cap * sizeof(*items));

		if (l->n)
			memcpy(items, l->items, l->n * sizeof(*items));
		l->items = items;
		l->cap = cap;
	}
	l->items[l->n++] = *r;
}

static void merge_matches(struct arena *a, struct shaping_block *into, const struct shaping_block *from)
{
	size_t n = into->n_matches + from->n_matches;
	struct provider_match *all = arena_alloc(a, n * sizeof(*all) + 1);

	if (into->n_matches)
		memcpy(all, into->matches, into->n_matches * sizeof(*all));
	if (from->n_matches)
		memcpy(all + into->n_matches, from->matches, from->n_matches * sizeof(*all));
	into->matches = all;
	into->n_matches = n;
}

static void shaping_block_merge(struct arena *a, struct shaping_block *into, const struct shaping_block *from)
{
	if (from->replace_base) {
		struct shaping_block replaced = *from;

		replaced.name = into->name;
		replaced.key = into->key;
		*into = replaced;
		return;
	}
	shaping_params_merge(a, &into->params, &from->params);
	merge_sources(a, &into->sources, &from->sources);
	merge_matches(a, into, from);
	for (size_t i = 0; i < from->rules.n; i++)
		rule_list_add(a, &into->rules, &from->rules.items[i]);
	if (from->has_connection_limit) {
		into->has_connection_limit = true;
		into->connection_limit = from->connection_limit;
	}
	if (from->has_message_rate) {
		into->has_message_rate = true;
		into->message_rate = from->message_rate;
	}
}

struct shaping_block *block_table_get(const struct block_table *t, struct slice key)
{
	return map_get(&t->by_key, key);
}

void block_table_merge(struct arena *a, struct block_table *t, struct slice key, const struct shaping_block *b)
{
	struct shaping_block *old = block_table_get(t, key);

	if (old) {
		shaping_block_merge(a, old, b);
		return;
	}
	if (t->n == t->cap) {
		t->cap = t->cap ? t->cap * 2 : 16;
		t->items = xreallocarray(t->items, t->cap, sizeof(*t->items));
	}
	struct shaping_block *copy = arena_alloc(a, sizeof(*copy));

	*copy = *b;
	copy->key = arena_dup(a, key);
	t->items[t->n++] = copy;
	map_put(&t->by_key, key, copy);
}

void block_table_fini(struct block_table *t)
{
	free(t->items);
	map_fini(&t->by_key);
}

void text_list_add(struct arena *a, struct text_list *l, const char *fmt, ...)
{
	struct buf b = { 0 };
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(&b, fmt, ap);
	va_end(ap);
	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 8;
		const char **items = arena_alloc(a, cap * sizeof(*items));

		if (l->n)
			memcpy(items, l->items, l->n * sizeof(*items));
		l->items = items;
		l->cap = cap;
	}
	l->items[l->n++] = arena_strdup(a, buf_view(&b));
	buf_fini(&b);
}
