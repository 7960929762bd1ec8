/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fiber - stackful fibers: code that waits reads top to bottom.
 *
 * One for each connection, session, request or policy call, never for a queued message. A fiber stays on the shard (thread) it was
 * started on. It runs until it waits; waiting functions say "Yields." and return -E_CANCELED or -E_TIMEOUT when the fiber was
 * canceled or a deadline around it passed.
 *
 * Cancellation is sticky: once canceled, every further wait fails at once, so that a stack unwinds whatever swallows the first error.
 * rt_shield_enter/leave suspends this for cleanup that must wait (returning a lease, removing a half-stored message).
 *
 * Deadlines nest: the nearest wins, and which one fired can be told apart:
 *
 *	struct rt_deadline d;
 *	rt_deadline_push(&d, 5000);
 *	rc = do_something_that_waits();
 *	if (rt_deadline_pop(&d))
 *		…it was this deadline that passed (rc == -E_TIMEOUT)…
 *
 * Stacks: 512 KiB of address space (Lua calling C calling Lua may need 430), committed lazily, a guard below, pooled; when a fiber has waited
 * half a second for input, what lies under its stack pointer is given back with MADV_DONTNEED. When no stack can be had (vm.max_map_count), a
 * new fiber waits until another one ends, and the diagnostic log says what to raise.
 *
 * The cause text (err_text) is one buffer a shard; a fiber keeps a copy while another runs, and only if there is a text.
 *
 * rt_fibers_dump shows them in a running program, script/gdb/fibers.py in gdb with their calls.
 *
 * Thread:  rt_fiber_cancel, _ref, _unref, _join and rt_fiber_spawn_on from any; the rest on the fiber's own shard.
 * Memory:  a fiber is freed when it has ended and its last reference is gone.
 */
#pragma once
#include "base/err.h"
#include "base/slice.h"
#include "rt/clock.h"

struct rt_fiber;
struct rt_shard;
typedef void (*rt_fiber_cb)(void *arg);

/* Starts FN(ARG) on this shard; it first runs when the caller waits. NAME is a literal, for diagnostics. No reference is returned. */
void rt_fiber_spawn(const char *name, rt_fiber_cb fn, void *arg);
/* The same with a reference for the caller (to cancel or join). */
struct rt_fiber *rt_fiber_start(const char *name, rt_fiber_cb fn, void *arg) WARN_UNUSED;
void rt_fiber_spawn_on(struct rt_shard *s, const char *name, rt_fiber_cb fn, void *arg);
struct rt_fiber *rt_fiber_self(void);		/* NULL outside of fibers */
struct rt_fiber *rt_fiber_ref(struct rt_fiber *f);
void rt_fiber_unref(struct rt_fiber **f);
void rt_fiber_cancel(struct rt_fiber *f);
int rt_fiber_join(struct rt_fiber *f);		/* Yields. */
const char *rt_fiber_name(void);
size_t rt_fiber_stack_left(void);		/* bytes below the current stack pointer; SIZE_MAX outside of fibers */

int rt_check(void) WARN_UNUSED;			/* 0, -E_CANCELED or -E_TIMEOUT, without waiting */
int rt_yield(void);				/* Yields to whoever else can run. */
int rt_sleep_ms(int64_t ms) WARN_UNUSED;	/* Yields. 0 after MS */

struct buf;
void rt_fibers_dump(struct buf *b);		/* a line for each, for people: name, state, what it waits for and since when. Yields. */

struct rt_deadline {
	int64_t at_ms;
	bool fired;
	struct rt_deadline *outer;
};
void rt_deadline_push(struct rt_deadline *d, int64_t ms);	/* from now; INT64_MAX: none */
bool rt_deadline_pop(struct rt_deadline *d);			/* whether it passed */
int64_t rt_deadline_left_ms(void);				/* of the nearest; INT64_MAX: none */
struct rt_shield { int saved; struct rt_deadline *saved_deadline; };
void rt_shield_enter(struct rt_shield *s);
void rt_shield_leave(struct rt_shield *s);

/* Values that belong to the running fiber, inherited by nobody. Outside of fibers: the thread's. */
enum rt_local { RT_LOCAL_POLICY, RT_LOCAL_SESSION, RT_LOCAL_TRACE, RT_LOCAL_COUNT };
void *rt_local_get(enum rt_local slot);
void rt_local_set(enum rt_local slot, void *value);

/* A debug counter: entering a section in which waiting is forbidden (a short lock is held). */
void rt_nowait_enter(void);
void rt_nowait_leave(void);
