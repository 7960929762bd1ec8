/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory - how much memory the process may use, and what to do when it runs short.
 *
 * Limits are taken from the cgroup, the resource limits, or the machine's memory, in this order; the soft limit is 75 % of the hard one unless
 * set. Near it bodies leave memory as messages enter a ready queue; above it intake stops.
 *
 * Source:  docs/reference/memory.md
 * Thread:  any; usage is sampled by a maintainer, reading it costs one atomic load.   Memory: static.   Yields: never.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

void memory_register(void);		/* its metrics */
void memory_init(void);			/* finds the limits and starts the sampling */
bool memory_is_short(void);		/* no headroom: intake answers 421/503 "load shedding" */
bool memory_is_low(void);		/* beyond the low threshold: bodies are dropped on entry to a ready queue */
int64_t memory_headroom(void);		/* bytes; INT64_MAX without limits */
int64_t memory_usage(void);
int64_t memory_allocated(void);		/* what the allocator has given out; -1: it does not say */
/* 0: none. Setting: kumo.set_memory_hard_limit and friends. */
int64_t memory_hard_limit(void);
int64_t memory_soft_limit(void);
int64_t memory_low_thresh(void);
void memory_set_hard_limit(int64_t bytes);
void memory_set_soft_limit(int64_t bytes);
void memory_set_low_thresh(int64_t bytes);
