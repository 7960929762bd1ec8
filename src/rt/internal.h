/* SPDX-License-Identifier: Apache-2.0 */
/*
 * internal - what the runtime's own files share: fibers, shards, and how a waiting fiber is woken. Nobody else includes this.
 *
 * Waking. A fiber's `wait` word holds the number of its present wait and a state. To wait, a fiber opens a new wait (prepare), makes itself
 * known to whoever may wake it, and parks (commit). Wakers, on any thread, compete with one compare-and-swap from WAITING to WOKEN_x with
 * the same number; the one who wins puts the fiber into the run queue (its own shard's) or the inbox (another's), exactly once. A late
 * timer or signal of an earlier wait carries an old number and does nothing.
 */
#pragma once
#include <pthread.h>
#include <stdatomic.h>
#include "base/err.h"
#include "base/list.h"
#include "rt/context.h"
#include "rt/fiber.h"
#include "rt/loop.h"
#include "rt/stack.h"
#include "rt/sync.h"
#include "rt/wheel.h"

enum wait_state { WAIT_NONE, WAIT_OPEN, WAIT_SHIELDED, WOKEN_EVENT, WOKEN_TIMEOUT, WOKEN_CANCEL };
#define WAIT_STATE_BITS 3

enum inbox_kind { INBOX_WAKE, INBOX_SPAWN, INBOX_POST };
struct inbox_node {
	struct inbox_node *next;
	enum inbox_kind kind;
};

#define FIBER_MAGIC OBJ_MAGIC('F', 'I', 'B', 'R')
struct rt_fiber {
	uint32_t magic;
	/* shared */
	atomic_uint refs;
	_Atomic uint64_t wait;		/* number << WAIT_STATE_BITS | enum wait_state */
	atomic_bool canceled;
	struct inbox_node inbox;
	struct rt_lock join_lock;
	struct rt_cond join_cond;	/* under join_lock */
	bool ended;			/* under join_lock */
	/* immutable */
	struct rt_shard *shard;
	const char *name;
	rt_fiber_cb fn;
	void *arg;
	/* owned by the shard */
	struct context ctx;
	char *stack;			/* NULL until it first runs */
	struct list all;
	struct list ready;		/* run queue, or waiting for a stack */
	struct rt_timer timer;
	const char *waits_for;		/* a literal, for diagnostics; since when, and on which descriptor (-1: none) */
	int64_t waits_since_ms;
	int waits_fd;
	struct rt_deadline *deadline;
	int shields;
	uint32_t immediate;		/* operations since the fiber last waited */
	void *locals[RT_LOCAL_COUNT];
	char *err;			/* the cause text while another fiber runs */
	uint32_t err_len, err_cap;
	struct rt_io *reading;		/* streams whose empty buffers may go while this waits long */
	struct list idle;
	int64_t idle_since_ms;
};

#define SHARD_MAGIC OBJ_MAGIC('S', 'H', 'R', 'D')
struct rt_shard {
	uint32_t magic;
	int index;
	pthread_t thread;
	/* shared */
	_Atomic(struct inbox_node *) inbox;
	atomic_bool sleeping;
	atomic_int live;		/* fibers, from before they are in `all` */
	_Atomic int64_t idle_until_ms;	/* virtual clock: -1 while something can run */
	int event_fd;
	/* owned by the shard's thread */
	int epoll_fd;
	int64_t now_ms;
	struct wheel wheel;
	struct list ready;
	struct list fibers;
	struct list no_stack;
	struct rt_fiber *current;
	struct context loop_ctx;
	struct stack_pool stacks;
	struct err_text err;
	struct list idle;		/* fibers that wait for input, longest first */
	struct rt_timer idle_timer;
	bool stopping;
	uint32_t turns;
};

struct rt_runtime {
	struct rt_shard **shards;
	int n;
	atomic_uint next;
	atomic_bool stopping;
	_Atomic(struct rt_fiber *) main_fiber;
	atomic_bool stop_asked;
};
extern struct rt_runtime rt_global;
extern __thread struct rt_shard *rt_tl_shard;

/* fiber.c */
struct rt_fiber *fiber_create(struct rt_shard *s, const char *name, rt_fiber_cb fn, void *arg);
void fiber_run(struct rt_shard *s, struct rt_fiber *f);	/* from the loop */
void fiber_adopt(struct rt_shard *s, struct rt_fiber *f);	/* a new fiber has arrived on its shard */
uint64_t fiber_wait_prepare(bool shielded);
/* WHAT is waited for (a literal) and FD (-1: none) are told in dumps. Yields. 0, -E_TIMEOUT, -E_CANCELED */
int fiber_wait_commit(int64_t timeout_ms, const char *what, int fd);
void fiber_forget_timeout(void);				/* the wait that just timed out has succeeded all the same */
bool fiber_wake(struct rt_fiber *f, uint64_t wait, enum wait_state why); /* any thread; whether this call woke it */
void fiber_count_immediate(void);				/* Yields now and then, for who never has to wait */
void fiber_idle_enter(void);					/* about to wait for input, perhaps long */
void fiber_idle_leave(void);
void fiber_idle_trim(struct rt_timer *t);
void fiber_err_take(struct rt_shard *s, const char *text, size_t len);

/* io.c */
void io_release_idle(struct rt_io *chain);

/* loop.c */
void shard_enqueue(struct rt_shard *s, struct inbox_node *n);	/* any thread */
struct poll_slot;
int shard_poll_add(struct rt_shard *s, int fd, uint32_t events, struct poll_slot *slot);

/* clock.c */
int64_t clock_read_ms(void);
int64_t clock_real_ms(void);		/* monotonic, whatever rt_clock_virtual said */
void clock_advance(int64_t to_ms);
void clock_unset_virtual(void);		/* for tests */

/* crash.c */
void crash_thread_init(void);
void crash_thread_fini(void);

/* offload.c */
int offload_start(int threads);
void offload_stop(void);
int offload_pending(void);
int offload_threads(void);
int offload_idle(void);

/* What epoll reports for one descriptor, and who waits for it. */
struct poll_waiter {
	struct rt_fiber *fiber;		/* NULL: nobody */
	uint64_t wait;
};
struct poll_slot {
	bool registered;
	bool hangup;			/* the peer has ended or an error stands: reads do not block any more */
	bool readable, writable;	/* as far as is known */
	struct poll_waiter reader, writer;
};
