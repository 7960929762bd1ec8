/* SPDX-License-Identifier: Apache-2.0 */
/*
 * xfer - what a message remembers of its place in the queues while it is transferred to another node: meta "xfer_queue_info".
 *
 * Thread: any.   Memory: none kept.   Yields: when the envelope must be loaded.
 */
#pragma once
#include "msg/msg.h"

int xfer_save_info(struct msg *m) WARN_UNUSED;		/* queue, routing_domain, tenant, campaign, schedule, attempts, due: saved and cleared */
int xfer_restore_info(struct msg *m) WARN_UNUSED;	/* -E_INVAL: there is none */

/*
 * For policies: the message goes to the node at URL, or no more. It is not moved: whoever asks is about to insert or requeue it. Nothing happens
 * when it is on its way there already. With a REASON (SLICE_NONE: without) an AdminRebind record tells of the change. -E_INVAL: no URL. Yields.
 */
int xfer_start(struct msg *m, struct slice url, struct slice reason) WARN_UNUSED;
int xfer_cancel(struct msg *m, struct slice reason) WARN_UNUSED;	/* nothing happens to a message that goes nowhere */
/* The same within requeue_message: first the schedule that the message would have had here is worked out, for it goes along. INCREMENT and DELAY_MS
   (< 0: none) as the event got them. */
int xfer_start_in_requeue(struct msg *m, struct slice url, bool increment, int64_t delay_ms, struct slice reason) WARN_UNUSED;
int xfer_target(struct msg *m, struct buf *url) WARN_UNUSED;		/* 1 and the URL; 0: it goes nowhere */
