/* SPDX-License-Identifier: Apache-2.0 */
/* dispatch_int - what the files that make up dispatchers share. */
#pragma once
#include "queue/ready/dispatch.h"

#define DISPATCH_MAGIC OBJ_MAGIC('D', 'I', 'S', 'P')

/* "dispatcher watchdog aborted task; phase=… detail=… session=… age=… time_in_phase=…" */
void dispatch_put_watchdog(struct dispatcher *d, struct buf *b);
