/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sync_pair - makes what was written to two stores durable, both at the same time.
 *
 * A sync is milliseconds of waiting for the disk, and a journaling file system commits two that meet for little more than the price of one.
 * The second store's sync runs on a thread that exists for nothing else.
 *
 * Thread:  start, run and stop from one thread.   Memory: start to stop.   Yields: never, it blocks.
 */
#pragma once
#include "spool/store.h"

struct sync_pair;
struct sync_pair *sync_pair_start(void);
void sync_pair_stop(struct sync_pair **p);
/* Syncs those that are not NULL, tries a busy one again until its deadline. RC[i], TEXT[i] (malloc'd, of a failure) are the outcome of S[i]. */
void sync_pair_run(struct sync_pair *p, struct store *const s[2], int rc[2], char *text[2]);
