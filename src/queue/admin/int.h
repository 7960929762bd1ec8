/* SPDX-License-Identifier: Apache-2.0 */
/*
 * admin_int - what the queues themselves ask the administration: is this queue to be bounced, suspended?
 *
 * Nearly always nothing is: the check is then one load.
 *
 * Thread:  any.   Memory: a bounce is reference-counted.   Yields: admin_bounce_message.
 */
#pragma once
#include "queue/admin.h"
#include "queue/name.h"
#include "msg/msg.h"

extern _Atomic uint32_t admin_n_bounces, admin_n_suspends, admin_n_ready_suspends;

struct bounce;
struct bounce *admin_bounce_match_slow(struct slice name, const struct queue_name *parts);	/* a reference, or NULL */
static inline struct bounce *admin_bounce_match(struct slice name, const struct queue_name *parts)
{
	return atomic_load_explicit(&admin_n_bounces, memory_order_relaxed) ? admin_bounce_match_slow(name, parts) : NULL;
}
/* Logs AdminBounce, removes the message, counts. Takes both references over. Yields. */
void admin_bounce_message(struct bounce *b, struct msg *m, struct slice queue);

bool admin_suspend_match_slow(struct slice name, const struct queue_name *parts, struct buf *reason);
static inline bool admin_suspend_match(struct slice name, const struct queue_name *parts, struct buf *reason)
{
	return atomic_load_explicit(&admin_n_suspends, memory_order_relaxed) && admin_suspend_match_slow(name, parts, reason);
}

bool admin_ready_suspended_slow(struct slice name, int64_t *left_ms, struct buf *reason);
/* LEFT_MS and REASON may be NULL. */
static inline bool admin_ready_suspended(struct slice name, int64_t *left_ms, struct buf *reason)
{
	return atomic_load_explicit(&admin_n_ready_suspends, memory_order_relaxed) && admin_ready_suspended_slow(name, left_ms, reason);
}
