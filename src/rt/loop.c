/* SPDX-License-Identifier: Apache-2.0 */
#include "rt/loop.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "base/xalloc.h"
#include "rt/diag.h"
#include "rt/internal.h"

#define EVENTS_MAX 256
#define STOP_MAX_MS 5000
#define STOP_POLL_MS 10
#define TURNS_A_POLL 8	 /* while fibers can run, the kernel is asked only every so many turns */
#define VIRTUAL_GRACE_MS 2 /* real time given to sockets before the virtual clock jumps */

struct rt_runtime rt_global;
__thread struct rt_shard *rt_tl_shard;

_Static_assert(offsetof(struct rt_timer, node) == offsetof(struct wheel_entry, node) && offsetof(struct rt_timer, at_ms) == offsetof(struct wheel_entry, at_ms),
	       "a timer begins as a wheel entry does");

/* -- inbox -- */

static void shard_wake(struct rt_shard *s)
{
	uint64_t one = 1;
	ssize_t n = write(s->event_fd, &one, sizeof one);
	(void)n; /* it fails only when the counter is full, and then the shard wakes anyway */
}

void shard_enqueue(struct rt_shard *s, struct inbox_node *n)
{
	struct inbox_node *head = atomic_load_explicit(&s->inbox, memory_order_relaxed);

	do
		n->next = head;
	while (!atomic_compare_exchange_weak(&s->inbox, &head, n));
	/* N may be gone from here on. The shard says that it sleeps before it looks at the inbox a last time, so one of us sees the other. */
	if (atomic_load(&s->sleeping) && atomic_exchange(&s->sleeping, false))
		shard_wake(s);
}

struct post {
	struct inbox_node node;
	rt_post_cb fn;
	void *arg;
};

void rt_post(struct rt_shard *s, rt_post_cb fn, void *arg)
{
	struct post *p = xmalloc(sizeof *p);

	*p = (struct post){ .node.kind = INBOX_POST, .fn = fn, .arg = arg };
	shard_enqueue(s, &p->node);
}

static void inbox_handle(struct rt_shard *s, struct inbox_node *n)
{
	switch (n->kind) {
	case INBOX_WAKE:
		list_push(&s->ready, &CONTAINER_OF(n, struct rt_fiber, inbox)->ready);
		break;
	case INBOX_SPAWN:
		fiber_adopt(s, CONTAINER_OF(n, struct rt_fiber, inbox));
		break;
	case INBOX_POST: {
		struct post *p = CONTAINER_OF(n, struct post, node);
		p->fn(p->arg);
		free(p);
		break;
	}
	}
}

static void inbox_drain(struct rt_shard *s)
{
	if (atomic_load_explicit(&s->inbox, memory_order_relaxed) == NULL)
		return;
	struct inbox_node *newest = atomic_exchange(&s->inbox, NULL), *oldest = NULL;
	while (newest) {
		struct inbox_node *older = newest->next;
		newest->next = oldest;
		oldest = newest;
		newest = older;
	}
	while (oldest) {
		struct inbox_node *next = oldest->next;
		inbox_handle(s, oldest);
		oldest = next;
	}
}

/* -- timers -- */

void rt_timer_init(struct rt_timer *t, void (*fn)(struct rt_timer *t))
{
	*t = (struct rt_timer){ .fn = fn };
	list_init(&t->node);
}

void rt_timer_start(struct rt_timer *t, int64_t delay_ms)
{
	struct rt_shard *s = rt_tl_shard;

	assert(s != NULL && (t->shard == s || !list_linked(&t->node)));
	rt_timer_stop(t);
	t->shard = s;
	int64_t at = delay_ms >= INT64_MAX - s->now_ms ? INT64_MAX : s->now_ms + delay_ms;
	wheel_add(&s->wheel, (struct wheel_entry *)t, at);
}

void rt_timer_stop(struct rt_timer *t)
{
	if (list_linked(&t->node))
		wheel_del((struct wheel_entry *)t);
}

static void timers_run(struct rt_shard *s)
{
	struct wheel_entry *e;

	while ((e = wheel_pop(&s->wheel, s->now_ms)) != NULL) {
		struct rt_timer *t = (struct rt_timer *)e;
		t->fn(t);
	}
}

/* -- waiting for the kernel -- */

int shard_poll_add(struct rt_shard *s, int fd, uint32_t events, struct poll_slot *slot)
{
	struct epoll_event ev = { .events = events, .data.ptr = slot };

	if (epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0)
		return errno == EEXIST ? err_set(E_EXIST, "the descriptor is waited for already") : err_errno(E_IO, "registering a descriptor with epoll");
	slot->registered = true;
	return 0;
}

static void wake_waiter(struct poll_waiter *w)
{
	if (w->fiber)
		fiber_wake(w->fiber, w->wait, WOKEN_EVENT);
}

static void poll_slot_event(struct poll_slot *p, uint32_t events)
{
	if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		p->hangup = true;
	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
		p->readable = true;
		wake_waiter(&p->reader);
	}
	if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) {
		p->writable = true;
		wake_waiter(&p->writer);
	}
}

static bool can_run(const struct rt_shard *s)
{
	return !list_empty(&s->ready) || atomic_load(&s->inbox) != NULL;
}

/* Waits at most MAX_MS of real time. Returns the number of events. */
static int poll_events(struct rt_shard *s, int64_t max_ms)
{
	struct epoll_event ev[EVENTS_MAX];
	int timeout = max_ms > 60000 ? 60000 : (int)max_ms;

	if (timeout) {
		atomic_store(&s->sleeping, true);
		if (atomic_load(&s->inbox) != NULL)
			timeout = 0;
	}
	int n = epoll_wait(s->epoll_fd, ev, EVENTS_MAX, timeout);
	if (atomic_load_explicit(&s->sleeping, memory_order_relaxed))
		atomic_store(&s->sleeping, false);
	for (int i = 0; i < n; i++) {
		if (ev[i].data.ptr) {
			poll_slot_event(ev[i].data.ptr, ev[i].events);
		} else {
			uint64_t count;
			ssize_t got = read(s->event_fd, &count, sizeof count);
			(void)got;
		}
	}
	return n;
}

/* When every shard is idle, shard 0 sets the clock to whatever timer comes first. */
static void virtual_jump(struct rt_shard *s)
{
	int64_t first = INT64_MAX;

	if (offload_pending())
		return;
	for (int i = 0; i < rt_global.n; i++) {
		struct rt_shard *o = rt_global.shards[i];
		int64_t until = atomic_load(&o->idle_until_ms);
		if (until < 0 || atomic_load(&o->inbox) != NULL || atomic_load(&o->idle_until_ms) != until)
			return;
		first = MIN(first, until);
	}
	if (first == INT64_MAX)
		return;
	clock_advance(first);
	for (int i = 0; i < rt_global.n; i++)
		if (rt_global.shards[i] != s)
			shard_wake(rt_global.shards[i]);
}

static void poll_virtual(struct rt_shard *s)
{
	if (can_run(s)) {
		poll_events(s, 0);
		return;
	}
	atomic_store(&s->idle_until_ms, wheel_next(&s->wheel));
	int n = poll_events(s, s->index == 0 || s->stopping ? VIRTUAL_GRACE_MS : 1000);
	if (n == 0 && s->index == 0 && !can_run(s))
		virtual_jump(s);
	atomic_store(&s->idle_until_ms, -1);
}

static void poll_real(struct rt_shard *s)
{
	int64_t wait = 0;

	if (can_run(s)) {
		if (++s->turns % TURNS_A_POLL)
			return;
	} else {
		int64_t next = wheel_next(&s->wheel);
		wait = next == INT64_MAX ? INT64_MAX : MAX(next - clock_read_ms(), (int64_t)0);
		if (s->stopping)
			wait = MIN(wait, (int64_t)STOP_POLL_MS);
	}
	poll_events(s, wait);
}

/* -- the loop -- */

static void fibers_run(struct rt_shard *s)
{
	struct list turn, *n;

	list_init(&turn);
	list_splice(&turn, &s->ready); /* who becomes ready meanwhile waits for the next turn, after a look at the kernel */
	while ((n = list_pop(&turn)) != NULL)
		fiber_run(s, LIST_ENTRY(n, struct rt_fiber, ready));
}

static void stop_begin(struct rt_shard *s)
{
	s->stopping = true;
	LIST_EACH(n, &s->fibers)
		rt_fiber_cancel(LIST_ENTRY(n, struct rt_fiber, all));
}

static bool all_unwound(void)
{
	for (int i = 0; i < rt_global.n; i++)
		if (atomic_load(&rt_global.shards[i]->live) > 0)
			return false;
	return true;
}

static void report_leftovers(struct rt_shard *s)
{
	LIST_EACH(n, &s->fibers)
		diag_warn("kumo.rt", "fiber %s did not end within %d ms after it was canceled", LIST_ENTRY(n, struct rt_fiber, all)->name, STOP_MAX_MS);
}

static void check_stop_asked(struct rt_shard *s)
{
	struct rt_fiber *f;

	if (s->index == 0 && atomic_load_explicit(&rt_global.stop_asked, memory_order_relaxed) && (f = rt_global.main_fiber) != NULL)
		rt_fiber_cancel(f);
}

static void shard_loop(struct rt_shard *s)
{
	int64_t stop_at = INT64_MAX;

	rt_tl_shard = s;
	struct err_text *outer_err = err_swap(&s->err);
	context_init_thread(&s->loop_ctx);
	crash_thread_init();
	rt_timer_init(&s->idle_timer, fiber_idle_trim);
	for (;;) {
		s->now_ms = clock_read_ms();
		inbox_drain(s);
		timers_run(s);
		check_stop_asked(s);
		if (!s->stopping && atomic_load_explicit(&rt_global.stopping, memory_order_relaxed)) {
			stop_begin(s);
			stop_at = clock_real_ms() + STOP_MAX_MS;
		}
		fibers_run(s);
		if (s->stopping && !can_run(s) && all_unwound())
			break;
		if (s->stopping && clock_real_ms() >= stop_at) {
			report_leftovers(s);
			break;
		}
		if (rt_clock_is_virtual())
			poll_virtual(s);
		else
			poll_real(s);
	}
	rt_timer_stop(&s->idle_timer);
	crash_thread_fini();
	err_swap(outer_err);
	rt_tl_shard = NULL;
}

static void *shard_thread(void *arg)
{
	shard_loop(arg);
	return NULL;
}

/* -- life -- */

static struct rt_shard *shard_create(int index)
{
	struct rt_shard *s = xzalloc(sizeof *s);

	OBJ_INIT(s, SHARD_MAGIC);
	s->index = index;
	s->now_ms = clock_read_ms();
	s->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	atomic_init(&s->idle_until_ms, -1);
	wheel_init(&s->wheel, s->now_ms);
	list_init(&s->ready);
	list_init(&s->fibers);
	list_init(&s->no_stack);
	list_init(&s->idle);
	struct epoll_event ev = { .events = EPOLLIN };
	if (s->event_fd < 0 || s->epoll_fd < 0 || epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, s->event_fd, &ev) < 0) {
		err_errno(E_IO, "making an event loop");
		return NULL;
	}
	return s;
}

static void signals_block(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
}

int rt_init(const struct rt_conf *conf)
{
	int cores = (int)sysconf(_SC_NPROCESSORS_ONLN), n = conf->shards ? conf->shards : MAX(cores, 1);

	assert(rt_global.n == 0);
	signals_block();
	atomic_store(&rt_global.stopping, false);
	atomic_store(&rt_global.stop_asked, false);
	rt_global.shards = xcalloc(n, sizeof *rt_global.shards);
	for (int i = 0; i < n; i++)
		if ((rt_global.shards[i] = shard_create(i)) == NULL)
			return -E_IO;
	rt_global.n = n;
	return offload_start(conf->offload_threads ? conf->offload_threads : 4 + MAX(cores, 1));
}

struct main_call {
	void (*fn)(void *arg);
	void *arg;
};

static void main_body(void *arg)
{
	struct main_call *m = arg;

	m->fn(m->arg);
	atomic_store(&rt_global.stopping, true);
	for (int i = 0; i < rt_global.n; i++)
		shard_wake(rt_global.shards[i]);
}

void rt_run(void (*main_fn)(void *arg), void *arg)
{
	struct main_call m = { main_fn, arg };
	struct rt_shard *s = rt_global.shards[0];

	assert(rt_global.n > 0 && rt_tl_shard == NULL);
	for (int i = 0; i < rt_global.n; i++)
		rt_global.shards[i]->stopping = false;
	atomic_store(&rt_global.stopping, false);
	struct rt_fiber *f = rt_fiber_ref(fiber_create(s, "main", main_body, &m));
	f->inbox.kind = INBOX_SPAWN;
	shard_enqueue(s, &f->inbox);
	atomic_store(&rt_global.main_fiber, f);
	for (int i = 1; i < rt_global.n; i++)
		if (pthread_create(&rt_global.shards[i]->thread, NULL, shard_thread, rt_global.shards[i]) != 0) {
			diag_error("kumo.rt", "cannot start a thread for each shard: %s", strerror(errno));
			abort();
		}
	shard_loop(s);
	for (int i = 1; i < rt_global.n; i++)
		pthread_join(rt_global.shards[i]->thread, NULL);
	atomic_store(&rt_global.main_fiber, NULL);
	if (f->ended)
		rt_fiber_unref(&f);
}

void rt_stop(void)
{
	atomic_store(&rt_global.stop_asked, true);
	shard_wake(rt_global.shards[0]);
}

static void inbox_discard(struct rt_shard *s)
{
	struct inbox_node *n = atomic_exchange(&s->inbox, NULL);

	while (n) {
		struct inbox_node *next = n->next;
		if (n->kind == INBOX_POST)
			free(CONTAINER_OF(n, struct post, node));
		n = next;
	}
}

void rt_fini(void)
{
	offload_stop();
	for (int i = 0; i < rt_global.n; i++) {
		struct rt_shard *s = rt_global.shards[i];
		inbox_discard(s);
		close(s->event_fd);
		close(s->epoll_fd);
		if (s->stacks.in_use) /* fibers that would not end: whatever they point to stays */
			continue;
		stack_pool_fini(&s->stacks);
		OBJ_FINI(s, SHARD_MAGIC);
		free(s);
	}
	free(rt_global.shards);
	rt_global.shards = NULL;
	rt_global.n = 0;
}

int rt_shard_count(void)
{
	return rt_global.n;
}

struct rt_shard *rt_shard_self(void)
{
	return rt_tl_shard;
}

struct rt_shard *rt_shard_at(int i)
{
	assert(i >= 0 && i < rt_global.n);
	return rt_global.shards[i];
}

int rt_shard_index(void)
{
	return rt_tl_shard ? rt_tl_shard->index : 0;
}

struct rt_shard *rt_shard_next(void)
{
	return rt_global.shards[atomic_fetch_add_explicit(&rt_global.next, 1, memory_order_relaxed) % (unsigned)rt_global.n];
}
