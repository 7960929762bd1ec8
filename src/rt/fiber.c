/* SPDX-License-Identifier: Apache-2.0 */
#include "rt/fiber.h"
#include <stdlib.h>
#include "base/xalloc.h"
#include "rt/diag.h"
#include "rt/internal.h"

#define IDLE_TRIM_MS 500
#define IMMEDIATE_MAX 64

static __thread void *thread_locals[RT_LOCAL_COUNT];
static __thread int nowait_depth;

static struct rt_fiber *self(void)
{
	struct rt_fiber *f = rt_fiber_self();
	assert(f != NULL && "waiting is for fibers");
	return f;
}

/* -- life -- */

struct rt_fiber *fiber_create(struct rt_shard *s, const char *name, rt_fiber_cb fn, void *arg)
{
	struct rt_fiber *f = xzalloc(sizeof *f);

	OBJ_INIT(f, FIBER_MAGIC);
	atomic_init(&f->refs, 1); /* the shard's, until it has ended */
	f->shard = s;
	f->name = name;
	f->fn = fn;
	f->arg = arg;
	rt_lock_init(&f->join_lock, RANK_RT);
	rt_cond_init(&f->join_cond);
	list_init(&f->ready);
	list_init(&f->idle);
	list_init(&f->all);
	atomic_fetch_add(&s->live, 1);
	return f;
}

static void start(struct rt_fiber *f)
{
	struct rt_shard *s = f->shard;

	if (rt_tl_shard == s) {
		fiber_adopt(s, f);
	} else {
		f->inbox.kind = INBOX_SPAWN;
		shard_enqueue(s, &f->inbox);
	}
}

void rt_fiber_spawn_on(struct rt_shard *s, const char *name, rt_fiber_cb fn, void *arg)
{
	start(fiber_create(s, name, fn, arg));
}

static struct rt_shard *here(void)
{
	assert(rt_global.n > 0);
	return rt_tl_shard ? rt_tl_shard : rt_global.shards[0];
}

void rt_fiber_spawn(const char *name, rt_fiber_cb fn, void *arg)
{
	rt_fiber_spawn_on(here(), name, fn, arg);
}

struct rt_fiber *rt_fiber_start(const char *name, rt_fiber_cb fn, void *arg)
{
	struct rt_fiber *f = rt_fiber_ref(fiber_create(here(), name, fn, arg));
	start(f);
	return f;
}

struct rt_fiber *rt_fiber_ref(struct rt_fiber *f)
{
	OBJ_CHECK(f, FIBER_MAGIC);
	atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
	return f;
}

void rt_fiber_unref(struct rt_fiber **fp)
{
	struct rt_fiber *f = *fp;

	*fp = NULL;
	if (f == NULL)
		return;
	OBJ_CHECK(f, FIBER_MAGIC);
	if (atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel) != 1)
		return;
	assert(f->ended && f->stack == NULL);
	OBJ_FINI(f, FIBER_MAGIC);
	rt_lock_fini(&f->join_lock);
	free(f->err);
	free(f);
}

static void wake_by_timer(struct rt_timer *t)
{
	struct rt_fiber *f = CONTAINER_OF(t, struct rt_fiber, timer);
	fiber_wake(f, atomic_load_explicit(&f->wait, memory_order_relaxed) >> WAIT_STATE_BITS, WOKEN_TIMEOUT);
}

void fiber_adopt(struct rt_shard *s, struct rt_fiber *f)
{
	rt_timer_init(&f->timer, wake_by_timer);
	list_push(&s->fibers, &f->all);
	list_push(&s->ready, &f->ready);
	if (s->stopping)
		atomic_store(&f->canceled, true);
}

static void body(void *arg)
{
	struct rt_fiber *f = arg;

	context_started(&f->shard->loop_ctx);
	f->fn(f->arg);
	assert(nowait_depth == 0 && f->deadline == NULL && f->shields == 0);
	rt_lock(&f->join_lock);
	f->ended = true;
	rt_cond_broadcast(&f->join_cond);
	rt_unlock(&f->join_lock);
	context_exit(&f->ctx, &f->shard->loop_ctx);
}

static void err_save(struct rt_shard *s, struct rt_fiber *f)
{
	f->err_len = (uint32_t)s->err.len;
	if (s->err.len == 0)
		return;
	if (f->err_cap < f->err_len)
		f->err = xrealloc(f->err, f->err_cap = f->err_len);
	memcpy(f->err, s->err.text, f->err_len);
	s->err.len = 0;
	s->err.text[0] = '\0';
}

void fiber_err_take(struct rt_shard *s, const char *text, size_t len)
{
	if (len >= sizeof s->err.text)
		len = sizeof s->err.text - 1;
	if (len)
		memcpy(s->err.text, text, len);
	s->err.text[len] = '\0';
	s->err.len = len;
}

static void end(struct rt_shard *s, struct rt_fiber *f)
{
	stack_put(&s->stacks, f->stack);
	f->stack = NULL;
	context_fini(&f->ctx);
	list_remove(&f->all);
	s->err.len = 0;
	s->err.text[0] = '\0';
	atomic_fetch_sub(&s->live, 1);
	rt_fiber_unref(&f);
	if (!list_empty(&s->no_stack))
		list_push(&s->ready, list_pop(&s->no_stack));
}

static bool ensure_stack(struct rt_shard *s, struct rt_fiber *f)
{
	if (f->stack)
		return true;
	f->stack = stack_get(&s->stacks);
	if (f->stack == NULL) { /* it waits until another ends: better late than an error nobody handles */
		if (list_empty(&s->no_stack))
			diag_error("kumo.rt", "%s", err_text());
		err_clear();
		list_push(&s->no_stack, &f->ready);
		return false;
	}
	context_init(&f->ctx, f->stack, STACK_SIZE, body, f);
	return true;
}

void fiber_run(struct rt_shard *s, struct rt_fiber *f)
{
	OBJ_CHECK(f, FIBER_MAGIC);
	if (!ensure_stack(s, f))
		return;
	f->immediate = 0;
	fiber_err_take(s, f->err, f->err_len);
	s->current = f;
	context_switch(&s->loop_ctx, &f->ctx);
	s->current = NULL;
	if (f->ended)
		end(s, f);
}

/* -- waiting -- */

uint64_t fiber_wait_prepare(bool shielded)
{
	struct rt_fiber *f = self();
	uint64_t n = (atomic_load_explicit(&f->wait, memory_order_relaxed) >> WAIT_STATE_BITS) + 1;

	/* sequentially consistent, as are the store and load in rt_fiber_cancel: one of the two sees the other */
	atomic_store(&f->wait, n << WAIT_STATE_BITS | (shielded || f->shields ? WAIT_SHIELDED : WAIT_OPEN));
	return n;
}

bool fiber_wake(struct rt_fiber *f, uint64_t wait, enum wait_state why)
{
	uint64_t w = atomic_load(&f->wait);

	for (;;) {
		enum wait_state st = w & ((1 << WAIT_STATE_BITS) - 1);
		if (w >> WAIT_STATE_BITS != wait || (st != WAIT_OPEN && (st != WAIT_SHIELDED || why == WOKEN_CANCEL)))
			return false;
		if (atomic_compare_exchange_weak(&f->wait, &w, wait << WAIT_STATE_BITS | why))
			break;
	}
	if (f->shard == rt_tl_shard) {
		list_push(&f->shard->ready, &f->ready);
	} else {
		f->inbox.kind = INBOX_WAKE;
		shard_enqueue(f->shard, &f->inbox);
	}
	return true;
}

static int64_t nearest_deadline(const struct rt_fiber *f)
{
	int64_t at = INT64_MAX;

	for (struct rt_deadline *d = f->deadline; d; d = d->outer)
		at = MIN(at, d->at_ms);
	return at;
}

static void mark_fired(struct rt_fiber *f, int64_t now)
{
	for (struct rt_deadline *d = f->deadline; d; d = d->outer)
		if (d->at_ms <= now)
			d->fired = true;
}

void fiber_forget_timeout(void)
{
	struct rt_fiber *f = self();

	for (struct rt_deadline *d = f->deadline; d; d = d->outer)
		d->fired = false; /* if it has passed, the next wait finds out again */
	err_clear();
}

static void park(struct rt_shard *s, struct rt_fiber *f)
{
	err_save(s, f);
	context_switch(&f->ctx, &s->loop_ctx);
}

int fiber_wait_commit(int64_t timeout_ms, const char *what, int fd)
{
	struct rt_fiber *f = self();
	struct rt_shard *s = f->shard;
	uint64_t w = atomic_load(&f->wait), n = w >> WAIT_STATE_BITS;
	enum wait_state st = w & ((1 << WAIT_STATE_BITS) - 1);

	assert(nowait_depth == 0 && "waiting with a short lock held");
	assert(st != WAIT_NONE);
	f->waits_for = what;
	f->waits_since_ms = s->now_ms;
	f->waits_fd = fd;
	if (st == WAIT_OPEN && atomic_load(&f->canceled)) {
		fiber_wake(f, n, WOKEN_CANCEL);
	} else if (st == WAIT_OPEN || st == WAIT_SHIELDED) {
		int64_t at = timeout_ms >= INT64_MAX - s->now_ms ? INT64_MAX : s->now_ms + MAX(timeout_ms, (int64_t)0);
		at = MIN(at, nearest_deadline(f));
		if (at <= s->now_ms)
			fiber_wake(f, n, WOKEN_TIMEOUT);
		else if (at != INT64_MAX)
			rt_timer_start(&f->timer, at - s->now_ms);
	}
	park(s, f);
	rt_timer_stop(&f->timer);
	st = atomic_load(&f->wait) & ((1 << WAIT_STATE_BITS) - 1);
	atomic_store_explicit(&f->wait, n << WAIT_STATE_BITS | WAIT_NONE, memory_order_relaxed);
	switch (st) {
	case WOKEN_TIMEOUT:
		mark_fired(f, s->now_ms);
		return err_set(E_TIMEOUT, "timed out");
	case WOKEN_CANCEL:
		return err_set(E_CANCELED, "canceled");
	default:
		assert(st == WOKEN_EVENT);
		return 0;
	}
}

void fiber_count_immediate(void)
{
	struct rt_fiber *f = rt_fiber_self();

	if (f && ++f->immediate >= IMMEDIATE_MAX)
		rt_yield();
}

int rt_check(void)
{
	struct rt_fiber *f = rt_fiber_self();

	if (f == NULL)
		return 0;
	if (!f->shields && atomic_load_explicit(&f->canceled, memory_order_relaxed))
		return err_set(E_CANCELED, "canceled");
	if (f->deadline && nearest_deadline(f) <= f->shard->now_ms) {
		mark_fired(f, f->shard->now_ms);
		return err_set(E_TIMEOUT, "timed out");
	}
	return 0;
}

int rt_yield(void)
{
	struct rt_fiber *f = self();

	assert(nowait_depth == 0 && "waiting with a short lock held");
	list_push(&f->shard->ready, &f->ready);
	park(f->shard, f);
	return rt_check();
}

int rt_sleep_ms(int64_t ms)
{
	struct rt_fiber *f = self();
	int rc;

	if ((rc = rt_check()) < 0)
		return rc;
	int64_t until = f->shard->now_ms + ms;
	fiber_wait_prepare(false);
	rc = fiber_wait_commit(ms, "time to pass", -1);
	/* its own time is over, unless a deadline came before it */
	if (rc == -E_TIMEOUT && f->shard->now_ms >= until && nearest_deadline(f) > f->shard->now_ms) {
		err_clear();
		return 0;
	}
	return rc;
}

/* -- cancellation, deadlines, joining -- */

void rt_fiber_cancel(struct rt_fiber *f)
{
	OBJ_CHECK(f, FIBER_MAGIC);
	atomic_store(&f->canceled, true);
	fiber_wake(f, atomic_load(&f->wait) >> WAIT_STATE_BITS, WOKEN_CANCEL);
}

int rt_fiber_join(struct rt_fiber *f)
{
	int rc = 0;

	OBJ_CHECK(f, FIBER_MAGIC);
	assert(f != rt_fiber_self());
	rt_lock(&f->join_lock);
	while (!f->ended && rc == 0)
		rc = rt_cond_wait(&f->join_cond, &f->join_lock, INT64_MAX);
	rt_unlock(&f->join_lock);
	return rc;
}

void rt_deadline_push(struct rt_deadline *d, int64_t ms)
{
	struct rt_fiber *f = self();

	d->at_ms = ms >= INT64_MAX - f->shard->now_ms ? INT64_MAX : f->shard->now_ms + ms;
	d->fired = false;
	d->outer = f->deadline;
	f->deadline = d;
}

bool rt_deadline_pop(struct rt_deadline *d)
{
	struct rt_fiber *f = self();

	assert(f->deadline == d);
	f->deadline = d->outer;
	return d->fired;
}

int64_t rt_deadline_left_ms(void)
{
	struct rt_fiber *f = rt_fiber_self();
	int64_t at = f ? nearest_deadline(f) : INT64_MAX;

	if (at == INT64_MAX)
		return INT64_MAX;
	return MAX(at - f->shard->now_ms, (int64_t)0);
}

void rt_shield_enter(struct rt_shield *s)
{
	struct rt_fiber *f = self();

	s->saved = f->shields++;
	s->saved_deadline = f->deadline;
	f->deadline = NULL;
}

void rt_shield_leave(struct rt_shield *s)
{
	struct rt_fiber *f = self();

	assert(f->shields == s->saved + 1 && f->deadline == NULL);
	f->shields = s->saved;
	f->deadline = s->saved_deadline;
}

/* -- what a fiber knows of itself -- */

struct rt_fiber *rt_fiber_self(void)
{
	return rt_tl_shard ? rt_tl_shard->current : NULL;
}

const char *rt_fiber_name(void)
{
	struct rt_fiber *f = rt_fiber_self();
	return f ? f->name : "(no fiber)";
}

size_t rt_fiber_stack_left(void)
{
	struct rt_fiber *f = rt_fiber_self();

	if (f == NULL)
		return SIZE_MAX;
	char *here_ = __builtin_frame_address(0);
	return here_ >= f->stack && here_ < f->stack + STACK_SIZE ? (size_t)(here_ - f->stack) : STACK_SIZE;
}

void *rt_local_get(enum rt_local slot)
{
	struct rt_fiber *f = rt_fiber_self();
	return f ? f->locals[slot] : thread_locals[slot];
}

void rt_local_set(enum rt_local slot, void *value)
{
	struct rt_fiber *f = rt_fiber_self();
	*(f ? &f->locals[slot] : &thread_locals[slot]) = value;
}

void rt_nowait_enter(void)
{
	nowait_depth++;
}

void rt_nowait_leave(void)
{
	assert(nowait_depth > 0);
	nowait_depth--;
}

/* -- memory of fibers that wait long for input -- */

static void idle_timer_arm(struct rt_shard *s)
{
	if (list_empty(&s->idle))
		return;
	struct rt_fiber *f = LIST_ENTRY(s->idle.next, struct rt_fiber, idle);
	rt_timer_start(&s->idle_timer, MAX(f->idle_since_ms + IDLE_TRIM_MS - s->now_ms, (int64_t)1));
}

void fiber_idle_trim(struct rt_timer *t)
{
	struct rt_shard *s = t->shard;

	while (!list_empty(&s->idle)) {
		struct rt_fiber *f = LIST_ENTRY(s->idle.next, struct rt_fiber, idle);
		if (f->idle_since_ms + IDLE_TRIM_MS > s->now_ms)
			break;
		list_remove(&f->idle);
		io_release_idle(f->reading);
		stack_trim(f->stack, f->ctx.sp);
	}
	idle_timer_arm(s);
}

void fiber_idle_enter(void)
{
	struct rt_fiber *f = self();
	struct rt_shard *s = f->shard;

	f->idle_since_ms = s->now_ms;
	list_push(&s->idle, &f->idle);
	if (!list_linked(&s->idle_timer.node))
		idle_timer_arm(s);
}

void fiber_idle_leave(void)
{
	struct rt_fiber *f = self();

	if (list_linked(&f->idle))
		list_remove(&f->idle);
}
