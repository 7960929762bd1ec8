/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory - how much memory the process may use, and what to do when it runs short.
 *
 * The limits are those of memlimit unless the operator sets others (kumo.set_memory_*, KUMOD_MEMORY_HARD_LIMIT, KUMOD_MEMORY_SOFT_LIMIT). Above the low
 * threshold bodies leave memory as messages enter a ready queue; above the soft limit intake stops and what is kept for speed only is given back.
 *
 * Source:  docs/reference/memory.md
 * Thread:  any; usage is sampled by a maintainer, reading it costs one atomic load.   Memory: static.   Yields: never.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/err.h"

void memory_register(void);		/* the metrics: before threads start */
int memory_init(void) WARN_UNUSED;	/* starts the sampling. -E_INVAL: an environment variable is wrong */
void memory_on_short(void (*fn)(void));	/* before memory_init: FN is called, on a fiber, when there is no headroom left */
bool memory_is_short(void);		/* no headroom: intake answers 421/503 "load shedding" */
bool memory_is_low(void);		/* beyond the low threshold: bodies are dropped on entry to a ready queue */
int64_t memory_headroom(void);		/* bytes */
int64_t memory_usage(void);
/* At any time, without memory_init too. Setting: kumo.set_memory_hard_limit and friends; 0: what follows from the rest. */
int64_t memory_hard_limit(void);
int64_t memory_soft_limit(void);
int64_t memory_low_thresh(void);
void memory_set_hard_limit(int64_t bytes);
void memory_set_soft_limit(int64_t bytes);
void memory_set_low_thresh(int64_t bytes);
