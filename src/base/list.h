/* SPDX-License-Identifier: Apache-2.0 */
/*
 * list - intrusive doubly linked circular list; the head is a node of its own.
 * Thread: one owner or the caller's lock.   Memory: nodes are embedded.   Yields: never.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "base/obj.h"

struct list {
	struct list *next, *prev;
};

#define LIST_ENTRY(node, type, member) CONTAINER_OF(node, type, member)
#define LIST_EACH(it, head) for (struct list *it = (head)->next; it != (head); it = it->next)
#define LIST_EACH_SAFE(it, head) for (struct list *it = (head)->next, *it##_next = it->next; it != (head); it = it##_next, it##_next = it->next)

static inline void list_init(struct list *l) { l->next = l->prev = l; }
static inline bool list_empty(const struct list *l) { return l->next == l; }
static inline bool list_linked(const struct list *n) { return n->next != NULL && n->next != n; }
static inline void list_insert(struct list *prev, struct list *n)
{
	n->prev = prev;
	n->next = prev->next;
	prev->next->prev = n;
	prev->next = n;
}
static inline void list_push(struct list *head, struct list *n) { list_insert(head->prev, n); }	/* at the tail */
static inline void list_push_front(struct list *head, struct list *n) { list_insert(head, n); }
static inline void list_remove(struct list *n)
{
	n->prev->next = n->next;
	n->next->prev = n->prev;
	n->next = n->prev = n;
}
static inline struct list *list_pop(struct list *head)						/* from the front; NULL when empty */
{
	if (list_empty(head))
		return NULL;
	struct list *n = head->next;
	list_remove(n);
	return n;
}
static inline void list_splice(struct list *to, struct list *from)				/* all of FROM behind TO's tail */
{
	if (list_empty(from))
		return;
	from->next->prev = to->prev;
	from->prev->next = to;
	to->prev->next = from->next;
	to->prev = from->prev;
	list_init(from);
}
