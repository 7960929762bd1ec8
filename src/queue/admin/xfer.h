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
