/* SPDX-License-Identifier: Apache-2.0 */
/*
 * commit - the one thread that writes to both stores, in batches gathered from all shards.
 *
 * One batch at a time: data of all its messages in one write, then all envelopes and removals in one write; the bodies of what was removed go
 * with the next batch's data. So a message needs a share of two writes to come and of two to go. Removals alone linger for some
 * milliseconds, because more are coming and nobody waits for them. What has to be durable is synced after both writes, both stores at once.
 *
 * Thread:  submit from fibers; the rest is the thread's own.   Yields: commit_store.
 */
#pragma once
#include "spool/store.h"

void commit_start(struct store *meta, struct store *data);
/* ENV: the envelope's JSON (taken over), SLICE_NONE: unchanged. BODY NULL: unchanged. */
int commit_store(struct uuid id, char *env, size_t env_len, const struct msg_body *body, bool force_sync) WARN_UNUSED;
int commit_remove(struct uuid id);
/* Everything submitted is written; the thread has ended. Blocks: call it through rt_offload. */
void commit_stop(void);
