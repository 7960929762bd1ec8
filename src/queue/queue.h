/* SPDX-License-Identifier: Apache-2.0 */
/*
 * queue - what sessions, endpoints and Lua see of the queues: put a message in, ask and steer.
 *
 * Inside: scheduled queues (sched.h) hold what waits for its time, ready queues (ready.h) what may go now from one source to one site by one
 * protocol, dispatchers (dispatch.h) are the connections that empty them. The configuration of each comes from policy events as
 * immutable objects (config.h).
 *
 * Thread:  fibers of any shard.   Memory: a queued message holds a reference of its own.   Yields: as said.
 */
#pragma once
#include "logs/record.h"
#include "msg/msg.h"

/* Takes over M (the queue's reference), whose parts are stored already unless its spooling is deferred. NAME as msg_queue_name gives it. Resolves
   the queue's configuration (policy) when it is new or stale, the egress path too when M is due now. 0, or the policy's error: then nothing was
   queued and the reference is the caller's still. Yields. */
int queue_insert(struct msg *m, struct slice name) WARN_UNUSED;
/* Makes sure that the queue NAME exists and has a configuration that can be read, so that a session can refuse before it stores anything.
   0, or the policy's error. Yields on a miss. */
int queue_prepare(struct slice name) WARN_UNUSED;
/* The same for messages met at start in the spool. */
int queue_insert_spooled(struct msg *m) WARN_UNUSED;

/* Registers events, metrics and the protocols that live here: before the policy is loaded. */
void queue_init(void);
/* Starts the maintainers; queue_stop ends intake of work, closes connections at message borders, returns messages to the spool. Yields. */
int queue_start(void) WARN_UNUSED;
void queue_stop(void);
void queue_stop_now(void);	/* deliveries that queue_stop waits for are cut off: they will be tried again after the next start */

int64_t queue_messages(void);		/* waiting anywhere */
