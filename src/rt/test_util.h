/* SPDX-License-Identifier: Apache-2.0 */
/* test_util - runs a test's body as the main fiber of a fresh runtime. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "rt/internal.h"

static inline void run_in_runtime(int shards, void (*fn)(void *arg), void *arg)
{
	struct rt_conf conf = { .shards = shards, .offload_threads = 2 };

	assert_int_equal(rt_init(&conf), 0);
	rt_run(fn, arg);
	rt_fini();
}

/* The same at 2026-01-01 under a virtual clock. */
static inline void run_in_virtual_time(int shards, void (*fn)(void *arg), void *arg)
{
	rt_clock_virtual(1767225600000000);
	run_in_runtime(shards, fn, arg);
	clock_unset_virtual();
}
