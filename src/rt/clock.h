/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clock - what time it is; tests put a virtual clock in its place.
 *
 * Under a virtual clock timers fire when it is advanced: the loop jumps to the next timer when nothing else can run, so a test of
 * a six-hour schedule takes milliseconds.
 *
 * Thread:  any.   Memory: none.   Yields: never.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

int64_t rt_now_ms(void);	/* monotonic; read once a loop turn, so it may lag by the turn's length */
int64_t rt_now_us_exact(void);	/* monotonic, read now */
int64_t rt_wall_us(void);	/* since 1970, read now */
void rt_clock_virtual(int64_t wall_us);	/* before rt_run: from here on virtual, advanced by the loop when idle */
bool rt_clock_is_virtual(void);
