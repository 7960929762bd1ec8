/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sched - scheduled queues: messages that wait for their time, by campaign, tenant, domain and routing domain.
 *
 * A queue keeps its due times in a heap of its own under its own lock, and one tick for the earliest of them. A message that is due goes to a
 * ready queue (route.h) at once, on the fiber that inserts it when everything it needs is at hand, else on a fiber that drains the queue.
 *
 * Thread:  any; fields as marked.
 * Memory:  the manager's map holds a reference, as does whoever looked one up; sched_unref.
 * Yields:  where it says so.
 */
#pragma once
#include "msg/msg.h"
#include "queue/context.h"
#include "queue/conf/fetch.h"
#include "queue/name.h"
#include "queue/qmetrics.h"
#include "queue/tick.h"
#include "codec/rfc5321.h"

struct due_entry {
	int64_t due_ms;		/* rt_now_ms */
	struct msg *msg;	/* a reference */
};
struct due_heap {
	struct due_entry *e;
	uint32_t n, cap;
};
void due_push(struct due_heap *h, int64_t due_ms, struct msg *m);
struct msg *due_pop(struct due_heap *h);	/* the earliest; its reference is the caller's */

struct pool_state;
struct bounce;
struct sched_queue {
	uint32_t magic;
	_Atomic uint32_t refs;
	/* immutable */
	struct slice name;
	struct queue_name parts;	/* of name */
	/* under lock */
	struct rt_lock lock;
	bool draining, refreshing, reaped;
	bool has_metrics;
	struct due_heap waiting;
	struct conf *conf;		/* CONF_QUEUE */
	struct conf_term term;
	int64_t last_change_ms;
	struct sched_metrics metrics;
	struct pool_state *pool;	/* sources and the way to each; route.c */
	/* of the ticks */
	struct tick tick;
	struct list pending;		/* waits for a fiber that drains it */
};

/* The queue of that name, made when there is none (its configuration is asked for). A reference. Yields. */
int sched_get(struct slice name, struct sched_queue **out) WARN_UNUSED;
struct sched_queue *sched_find(struct slice name);	/* NULL: there is none. A reference */
struct sched_queue *sched_ref(struct sched_queue *q);
void sched_unref(struct sched_queue **q);
struct conf *sched_conf(struct sched_queue *q);		/* as it is now. A reference */
/* All queues (references in a malloc'd array). */
struct sched_queue **sched_all(size_t *n);

/* Puts a message in: waits there, or goes on to a ready queue when it is due. Takes the reference over when it returns 0; it fails only when
   everything stops and the message cannot be saved. Yields. */
int sched_insert(struct sched_queue *q, struct msg *m, struct queue_context why) WARN_UNUSED;
/* The same for those who have nobody to tell. Takes the reference over. Yields. */
void sched_insert_or_report(struct sched_queue *q, struct msg *m, struct queue_context why);
/* Takes all waiting messages out. */
struct msg **sched_drain(struct sched_queue *q, size_t *n);
/* References of up to LIMIT waiting messages (LIMIT < 0: all). */
struct msg **sched_peek(struct sched_queue *q, int64_t limit, size_t *n);

/*
 * A message could not be delivered now. Fires requeue_message, counts the attempt when INCREMENT, and puts it into its scheduled queue: due after
 * DELAY_MS, or as the retry schedule says (DELAY_MS < 0); expired messages end with an Expiration record. Takes the reference over. Yields.
 */
void sched_requeue(struct msg *m, bool increment, int64_t delay_ms, const struct smtp_response *why, struct queue_context ctx);
/* Counts the attempt and sets the due time as sched_requeue would, without a look at the message's age and without moving it. Yields. */
int sched_reschedule(struct sched_queue *q, struct msg *m, bool increment, int64_t delay_ms) WARN_UNUSED;
/* Puts it into Q without the event. Yields. */
void sched_requeue_into(struct sched_queue *q, struct msg *m, bool increment, int64_t delay_ms, struct queue_context ctx);
/* Looks its queue up again and inserts it as it is: for messages of a ready queue that has to be emptied. Yields. */
void sched_reinsert(struct msg *m, struct queue_context ctx);

/* Spawns a fiber that holds messages which stand in no queue: sched_stop waits for its end, so that it had better look at queue_stopping(). */
void sched_spawn(const char *name, void (*fn)(void *arg), void *arg);
/* Everything stops: the message is left to the spool. Takes the reference over. Yields. */
void sched_leave_to_spool(struct msg *m);

void sched_init(void);
void sched_begin_stop(void);	/* from now on insertions only save */
void sched_stop_hands(void);	/* waits for the fibers of sched_spawn. Yields. */
void sched_stop(void);		/* saves what the spool does not know yet, forgets all messages. Yields. */
bool queue_stopping(void);
