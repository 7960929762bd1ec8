/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop - shards: a thread each with an epoll loop, timers, a run queue of fibers and an inbox.
 *
 * Thread:  rt_post and rt_stop from any; the rest says so.
 * Memory:  shards live from rt_init to rt_fini.
 */
#pragma once
#include "base/err.h"
#include "base/list.h"
#include "rt/clock.h"

struct rt_shard;
struct rt_conf {
	int shards;		/* 0: one a core */
	int offload_threads;	/* 0: 4 + cores */
};
typedef void (*rt_post_cb)(void *arg);

int rt_init(const struct rt_conf *conf) WARN_UNUSED;
/* Starts the other shards, runs shard 0 on the calling thread, with MAIN as its first fiber; returns when MAIN has returned and rt_stop was
   called (or MAIN returned: that stops too): every fiber still alive is canceled and unwound first, for at most 5 s. */
void rt_run(void (*main_fn)(void *arg), void *arg);
void rt_stop(void);	/* cancels MAIN, which unwinds and so ends rt_run; from any thread, and from signal handlers */
void rt_fini(void);

int rt_shard_count(void);
struct rt_shard *rt_shard_self(void);	/* NULL on other threads */
struct rt_shard *rt_shard_at(int i);
int rt_shard_index(void);		/* of the calling thread; 0 on other threads */
struct rt_shard *rt_shard_next(void);	/* round robin over all */

/* Runs FN(ARG) on shard S's loop, outside of any fiber (it must not wait). In order for each sender; wake-ups are batched. */
void rt_post(struct rt_shard *s, rt_post_cb fn, void *arg);

/* Timers of the calling shard; embedded, 1 ms steps, O(1) start and stop. */
struct rt_timer {
	struct list node;
	int64_t at_ms;
	void (*fn)(struct rt_timer *t);	/* runs on the loop, outside of fibers: must not wait; may spawn */
	struct rt_shard *shard;
};
void rt_timer_init(struct rt_timer *t, void (*fn)(struct rt_timer *t));
void rt_timer_start(struct rt_timer *t, int64_t delay_ms);	/* restarts when running */
void rt_timer_stop(struct rt_timer *t);				/* no-op when not running */

/* SIGINT, SIGTERM, SIGHUP wake rt_wait_signal; returns the number. They are blocked from rt_init on, and SIGPIPE is ignored: call it before threads start. Yields. */
int rt_wait_signal(void);
