/* SPDX-License-Identifier: Apache-2.0 */
#include "rt/clock.h"
#include <time.h>
#include "rt/internal.h"

static atomic_bool is_virtual;
static _Atomic int64_t virtual_ms;	/* the monotonic time under a virtual clock */
static int64_t virtual_wall_us;		/* wall time at virtual_ms == VIRTUAL_START; immutable after init */
#define VIRTUAL_START 1000000

static int64_t read_us(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t clock_read_ms(void)
{
	if (atomic_load_explicit(&is_virtual, memory_order_relaxed))
		return atomic_load(&virtual_ms);
	return read_us(CLOCK_MONOTONIC) / 1000;
}

int64_t clock_real_ms(void)
{
	return read_us(CLOCK_MONOTONIC) / 1000;
}

int64_t rt_now_ms(void)
{
	return rt_tl_shard ? rt_tl_shard->now_ms : clock_read_ms();
}

int64_t rt_now_us_exact(void)
{
	if (atomic_load_explicit(&is_virtual, memory_order_relaxed))
		return atomic_load(&virtual_ms) * 1000;
	return read_us(CLOCK_MONOTONIC);
}

int64_t rt_wall_us(void)
{
	if (atomic_load_explicit(&is_virtual, memory_order_relaxed))
		return virtual_wall_us + (atomic_load(&virtual_ms) - VIRTUAL_START) * 1000;
	return read_us(CLOCK_REALTIME);
}

void rt_clock_virtual(int64_t wall_us)
{
	virtual_wall_us = wall_us;
	atomic_store(&virtual_ms, VIRTUAL_START);
	atomic_store(&is_virtual, true);
}

void clock_unset_virtual(void)
{
	atomic_store(&is_virtual, false);
}

bool rt_clock_is_virtual(void)
{
	return atomic_load_explicit(&is_virtual, memory_order_relaxed);
}

void clock_advance(int64_t to_ms)
{
	int64_t now = atomic_load(&virtual_ms);
	while (to_ms > now && !atomic_compare_exchange_weak(&virtual_ms, &now, to_ms))
		;
}
