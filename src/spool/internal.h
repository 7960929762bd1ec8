/* SPDX-License-Identifier: Apache-2.0 */
/* internal - what the files of this folder share. */
#pragma once
#include "spool/commit.h"

struct spool_state {
	struct store *store[SPOOL_WHICH_COUNT];	/* immutable between spool_start and spool_fini */
	int64_t start_us;			/* entries made later are not the walks' business */
	int64_t recheck_ms;			/* after which the sweep looks again at what it found */
};
extern struct spool_state spool_state;

void spool_sweep_stop(void);				/* Yields. */
/* Runs FN on the pool; its error text is the caller's afterwards. Yields. */
int spool_blocking(int (*fn)(void *arg), void *arg);
