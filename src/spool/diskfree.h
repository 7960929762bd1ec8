/* SPDX-License-Identifier: Apache-2.0 */
/*
 * diskfree - watches the free space and inodes of the folders that acceptance depends on (spools and logs).
 *
 * A check every 5 s; a folder below its minimum makes diskfree_is_low() true until it has recovered. Both transitions are reported once.
 *
 * Thread:  any.   Memory: the list of folders, until diskfree_stop.   Yields: never.
 */
#pragma once
#include "codec/opt.h"

struct diskfree_min {
	bool percent;
	uint64_t value;
};
int diskfree_read_min(struct opt_ctx *c, const struct val *in, void *out);	/* "10%", "1000", 1000: a custom option reader */
#define OPT_MIN_FREE(st, f, h) OPT_CUSTOM(st, f, diskfree_read_min, "10%", h)

void diskfree_metrics_init(void);		/* once, at start */
void diskfree_watch(const char *name, const char *path, struct diskfree_min space, struct diskfree_min inodes);
bool diskfree_is_low(void);			/* as of the last check */
void diskfree_start(void);			/* starts the periodic check; call from a fiber */
void diskfree_stop(void);			/* and forgets the folders. Yields. */
