/* SPDX-License-Identifier: Apache-2.0 */
/* context - why a message is put into a queue: the reasons of Delayed records and of the requeue_message event, in order. */
#pragma once
#include "base/buf.h"

#define QUEUE_REASONS(X) \
	X(WHY_RECEIVED, "Received") X(WHY_ENUMERATED, "Enumerated") X(WHY_SCHEDULED, "ScheduledForLater") \
	X(WHY_READY_SUSPENDED, "ReadyQueueWasSuspended") X(WHY_MESSAGE_RATE, "MessageRateThrottle") \
	X(WHY_THROTTLE_EVENT, "ThrottledByThrottleInsertReadyQueue") X(WHY_READY_FULL, "ReadyQueueWasFull") \
	X(WHY_READY_FAILED, "FailedToInsertIntoReadyQueue") X(WHY_NAME_FAILED, "MessageGetQueueNameFailed") \
	X(WHY_REBIND, "AdminRebind") X(WHY_DUE, "DueTimeWasReached") X(WHY_MAX_READY, "MaxReadyWasReducedByConfigUpdate") \
	X(WHY_LOW_MEMORY, "ReadyQueueWasDelayedDueToLowMemory") X(WHY_NULL_MX, "FailedDueToNullMx") \
	X(WHY_NO_HOSTS, "MxResolvedToZeroHosts") X(WHY_MX_PROHIBITED, "MxWasProhibited") X(WHY_MX_SKIPPED, "MxWasSkipped") \
	X(WHY_CONN_FAILURES, "TooManyConnectionFailures") X(WHY_TOO_MANY_RCPT, "TooManyRecipients") \
	X(WHY_CONN_RATE, "ConnectionRateThrottle") X(WHY_LOGGED, "LoggedTransientFailure") X(WHY_REAPED, "ReadyQueueWasReaped") \
	X(WHY_DISPATCHER, "DispatcherDrop") X(WHY_PEER_CLOSED, "PeerClosedConnection") X(WHY_PROTOCOL, "ProtocolChanged") \
	X(WHY_SPOOL, "SpoolUnhealthy") X(WHY_SOURCE, "SourceIsUnhealthyAndSuspended")
enum queue_reason {
#define X(n, t) n,
	QUEUE_REASONS(X)
#undef X
	WHY_COUNT
};
struct queue_context {
	uint8_t n, why[15];
};
static inline void context_add(struct queue_context *c, enum queue_reason r)
{
	if (c->n < sizeof(c->why) && (c->n == 0 || c->why[c->n - 1] != r))
		c->why[c->n++] = r;
}
static inline struct queue_context context_of(enum queue_reason r) { return (struct queue_context){ 1, { r } }; }
static inline struct queue_context context_with(struct queue_context c, enum queue_reason r)
{
	context_add(&c, r);
	return c;
}
static inline bool context_has(const struct queue_context *c, enum queue_reason r) { return memchr(c->why, r, c->n) != NULL; }
static inline bool context_only(const struct queue_context *c, enum queue_reason r) { return c->n == 1 && c->why[0] == r; }
const char *queue_reason_name(enum queue_reason r);
void context_put(struct buf *b, const struct queue_context *c);	/* "Received, DueTimeWasReached" */
