/* SPDX-License-Identifier: Apache-2.0 */
/*
 * heap - intrusive 4-ary min-heap of nodes with int64 keys (times).
 * Thread: one owner or the caller's lock.   Memory: nodes are embedded, the array of pointers is owned.   Yields: never.
 */
#pragma once
#include "base/slice.h"

struct heap_node {
	int64_t key;
	uint32_t pos;		/* 1-based; 0: not in a heap */
};
struct heap {
	struct heap_node **nodes;
	uint32_t n, cap;
};

void heap_fini(struct heap *h);
void heap_push(struct heap *h, struct heap_node *n, int64_t key);
void heap_update(struct heap *h, struct heap_node *n, int64_t key);
void heap_remove(struct heap *h, struct heap_node *n);	/* no-op when it is in none */
static inline struct heap_node *heap_min(const struct heap *h) { return h->n ? h->nodes[0] : NULL; }
static inline bool heap_has(const struct heap_node *n) { return n->pos != 0; }
