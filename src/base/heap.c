/* SPDX-License-Identifier: Apache-2.0 */
#include "base/heap.h"

#include <stdlib.h>

#include "base/xalloc.h"

#define WIDTH 4

static void place(struct heap *h, uint32_t i, struct heap_node *n)
{
	h->nodes[i] = n;
	n->pos = i + 1;
}

static void sift_up(struct heap *h, uint32_t i, struct heap_node *n)
{
	while (i > 0) {
		uint32_t parent = (i - 1) / WIDTH;
		if (h->nodes[parent]->key <= n->key)
			break;
		place(h, i, h->nodes[parent]);
		i = parent;
	}
	place(h, i, n);
}

static void sift_down(struct heap *h, uint32_t i, struct heap_node *n)
{
	for (;;) {
		uint32_t first = i * WIDTH + 1;
		if (first >= h->n)
			break;
		uint32_t least = first, end = MIN(first + WIDTH, h->n);
		for (uint32_t c = first + 1; c < end; c++)
			if (h->nodes[c]->key < h->nodes[least]->key)
				least = c;
		if (h->nodes[least]->key >= n->key)
			break;
		place(h, i, h->nodes[least]);
		i = least;
	}
	place(h, i, n);
}

static void sift(struct heap *h, uint32_t i, struct heap_node *n)
{
	if (i > 0 && h->nodes[(i - 1) / WIDTH]->key > n->key)
		sift_up(h, i, n);
	else
		sift_down(h, i, n);
}

void heap_fini(struct heap *h)
{
	free(h->nodes);
	*h = (struct heap){ 0 };
}

void heap_push(struct heap *h, struct heap_node *n, int64_t key)
{
	assert(n->pos == 0);
	if (h->n == h->cap) {
		assert(h->cap < UINT32_MAX / 4);
		h->cap = h->cap ? h->cap * 2 : 16;
		h->nodes = xreallocarray(h->nodes, h->cap, sizeof *h->nodes);
	}
	n->key = key;
	sift_up(h, h->n++, n);
}

void heap_update(struct heap *h, struct heap_node *n, int64_t key)
{
	assert(n->pos > 0 && n->pos <= h->n && h->nodes[n->pos - 1] == n);
	n->key = key;
	sift(h, n->pos - 1, n);
}

void heap_remove(struct heap *h, struct heap_node *n)
{
	if (n->pos == 0)
		return;
	assert(n->pos <= h->n && h->nodes[n->pos - 1] == n);
	uint32_t i = n->pos - 1;
	struct heap_node *last = h->nodes[--h->n];
	n->pos = 0;
	if (last != n)
		sift(h, i, last);
}
