/* SPDX-License-Identifier: Apache-2.0 */
/*
 * maildir - delivery into local folders: one file for each recipient, straight from the scheduled queue.
 *
 * There is no ready queue and no connection: writing a file is done when it is done. Files are written on the offload threads, first in tmp/,
 * then moved to new/.
 *
 * Thread:  fibers of any shard.   Memory: takes the message's reference over.   Yields.
 */
#pragma once
#include "queue/sched/sched.h"

void maildir_deliver(struct sched_queue *q, struct conf *conf, struct msg *m, struct queue_context why);
