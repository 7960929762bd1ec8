/* SPDX-License-Identifier: Apache-2.0 */
/* sched_int - what the files that make up scheduled queues share. */
#pragma once
#include "queue/sched/sched.h"

#define SCHED_MAGIC OBJ_MAGIC('S', 'C', 'H', 'D')

void sched_map_init(void);
void sched_on_tick(struct tick *t);
void sched_reap(struct sched_queue *q);

/* What a due message goes through (promote.c). Takes the reference over. Yields unless everything is at hand. */
void sched_promote(struct sched_queue *q, struct msg *m, struct queue_context why);
/* Due again at some time within MAX_MS. Yields. */
void sched_wait_jitter(struct sched_queue *q, struct msg *m, int64_t max_ms, struct queue_context why);
void sched_count_delay(struct sched_queue *q, enum delay_cause cause);
/* Due DELAY_MS from now, moved as its schedule demands. Yields. */
int msg_delay_by(struct msg *m, int64_t delay_ms) WARN_UNUSED;
/* The message ends: an Expiration record, then it is removed. Takes the reference over. Yields. */
void sched_expire(struct msg *m, const struct conf *conf, struct slice site, struct slice text);

/* Register their events. */
void promote_init(void);
void requeue_init(void);
void requeue_stop(void);		/* saves and forgets what was set aside */
/* M's queue cannot be told now (WHAT failed, as the error text says): tried again every few seconds. Takes the reference over. Yields. */
void sched_set_aside(struct msg *m, const char *what);
