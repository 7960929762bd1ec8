/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/memory.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include "base/xalloc.h"
#include "net/ttl_cache.h"
#include "policy/arg.h"
#include "queue/memlimit.h"
#include "queue/ready/ready.h"
#include "rt/diag.h"
#include "rt/fiber.h"
#include "rt/loop.h"
#include "rt/metrics.h"
#include "spool/spool.h"

#define SAMPLE_MS 250
#define STATE_SHARE 8		/* one Lua state may hold this part of the hard limit */
#define SHORT_PAUSE_MS 3000	/* between two times of making room */

static struct {			/* immutable once found */
	struct memlimit limit;
	int rc;
	char *error;
} found;
static struct {
	_Atomic int64_t set_hard, set_soft, set_low;	/* by the operator; 0: not */
	_Atomic int64_t usage;
	_Atomic bool is_short, is_low;
	void (*helpers[4])(void);
	unsigned n_helpers;
	/* owned by the shard that samples */
	bool making_room;
	int64_t room_made_ms;
	struct rt_timer timer;
	struct metric *m_usage, *m_limit, *m_low;
	_Atomic(struct metric *) m_allocated, m_low_count, m_over_count;
} mem;

static struct metric_family USAGE = METRIC_GAUGE("memory_usage", "number of bytes of used memory");
static int collect_allocated(struct metric_family *f);
static struct metric_family ALLOCATED = { .name = "memory_usage_rust", .help = "number of bytes that the program holds, as its allocator counts them",
					  .kind = METRIC_GAUGE_K, .collect = collect_allocated };
static struct metric_family LIMIT = METRIC_GAUGE("memory_limit", "soft memory limit measured in bytes");
static struct metric_family LOW = METRIC_GAUGE("memory_low_thresh", "low memory threshold measured in bytes");
static struct metric_family LOW_COUNT = METRIC_COUNTER("memory_low_count", "how many times the low memory threshold was exceeded");
static struct metric_family OVER_COUNT = METRIC_COUNTER("memory_over_limit_count", "how many times the soft memory limit was exceeded");

/* --- limits -------------------------------------------------------------------------------------------------------------------------- */

/* An environment variable that holds bytes; 0: not set. -E_INVAL. */
static int read_env(const char *name, int64_t *out)
{
	const char *text = getenv(name);
	uint64_t n;
	if (!text)
		return 0;
	if (slice_to_u64(slice_from_cstr(text), &n) < 0 || n > INT64_MAX)
		return err_set(E_INVAL, "the environment variable %s is `%s`, expected a number of bytes", name, text);
	*out = (int64_t)n;
	return 0;
}

static void find(void)
{
	int64_t hard = 0, soft = 0;
	memlimit_find(&found.limit, "");
	found.rc = read_env("KUMOD_MEMORY_HARD_LIMIT", &hard);
	if (found.rc == 0)
		found.rc = read_env("KUMOD_MEMORY_SOFT_LIMIT", &soft);
	if (found.rc < 0)
		found.error = xstrdup(err_text());
	if (hard) {
		found.limit.hard = hard;
		found.limit.soft = hard / 4 * 3;
	}
	if (soft)
		found.limit.soft = soft;
}

static const struct memlimit *limit(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, find);
	return &found.limit;
}

/* What the operator has not set follows from the limit above it. */
int64_t memory_hard_limit(void)
{
	int64_t set = atomic_load(&mem.set_hard);
	return set ? set : limit()->hard;
}

int64_t memory_soft_limit(void)
{
	int64_t set = atomic_load(&mem.set_soft), hard = atomic_load(&mem.set_hard);
	return set ? set : hard ? hard / 4 * 3 : limit()->soft;
}

int64_t memory_low_thresh(void)
{
	int64_t set = atomic_load(&mem.set_low);
	return set ? set : memory_soft_limit() / 5 * 4;
}

void memory_set_hard_limit(int64_t bytes)
{
	atomic_store(&mem.set_hard, bytes);
	policy_set_max_bytes(memory_hard_limit() / STATE_SHARE);
}

void memory_set_soft_limit(int64_t bytes) { atomic_store(&mem.set_soft, bytes); }
void memory_set_low_thresh(int64_t bytes) { atomic_store(&mem.set_low, bytes); }

/* jemalloc's; sanitizers bring an allocator of their own. */
extern int mallctl(const char *name, void *old, size_t *old_len, void *new, size_t new_len) __attribute__((weak));

/* What the allocator has given out; -1: it does not say. */
static int64_t memory_allocated(void)
{
	uint64_t epoch = 1;
	size_t bytes = 0, len = sizeof(bytes);
	if (!mallctl || mallctl("epoch", NULL, NULL, &epoch, sizeof(epoch)) != 0 || mallctl("stats.allocated", &bytes, &len, NULL, 0) != 0)
		return -1;
	return (int64_t)bytes;
}

static int collect_allocated(struct metric_family *f)
{
	int64_t bytes = memory_allocated();
	if (bytes >= 0)
		metric_set(metric_lazy(f, &mem.m_allocated), bytes);
	return 0;
}

/* --- making room ----------------------------------------------------------------------------------------------------------------------- */

static void shrink_ready_queue(struct ready_queue *q)
{
	struct list msgs, *l;
	struct msg **refs;
	size_t n = 0;
	rt_lock(&q->lock);
	refs = calloc(q->n + 1, sizeof(*refs));
	list_init(&msgs);
	for (l = q->fifo.next; refs && l != &q->fifo; l = l->next)
		refs[n++] = msg_ref(msg_from_link(LIST_ENTRY(l, struct msg_link, node)));
	rt_unlock(&q->lock);
	for (size_t i = 0; i < n; i++) {
		if (msg_shrink_data(refs[i]) < 0)
			diag_error("kumo.memory", "a message could not be saved and stays in memory: %s", err_text());
		msg_unref(&refs[i]);
	}
	free(refs);
}

/* The limit was reached: bodies go to the spool, caches are emptied, the spool gives back what it buffers. */
static void make_room(void *arg)
{
	size_t n;
	struct ready_queue **all = ready_all(&n);
	for (size_t i = 0; i < n; i++) {
		shrink_ready_queue(all[i]);
		ready_unref(&all[i]);
	}
	free(all);
	ttl_cache_relieve();
	for (unsigned i = 0; i < mem.n_helpers; i++)
		mem.helpers[i]();
	spool_advise_low_memory();
	mem.room_made_ms = rt_now_ms();
	mem.making_room = false;
}

void memory_on_short(void (*fn)(void))
{
	assert(mem.n_helpers < ARRAY_LEN(mem.helpers));
	mem.helpers[mem.n_helpers++] = fn;
}

/* --- use ------------------------------------------------------------------------------------------------------------------------------- */

static void begin_short(int64_t used, int64_t soft)
{
	metric_add(metric_lazy(&OVER_COUNT, &mem.m_over_count), 1);
	diag_error("kumo.memory", "memory limit reached: %lld of %lld bytes are in use; no messages are accepted until there is room again",
		(long long)used, (long long)soft);
	if (mem.making_room || (mem.room_made_ms && rt_now_ms() - mem.room_made_ms < SHORT_PAUSE_MS))
		return;
	mem.making_room = true;
	rt_fiber_spawn("making room", make_room, NULL);
}

static void sample(struct rt_timer *t)
{
	int64_t used = memlimit_usage(limit()), soft = memory_soft_limit(), low = memory_low_thresh();
	bool is_low = used >= low, is_short = used >= soft;
	atomic_store(&mem.usage, used);
	metric_set(mem.m_usage, used);
	metric_set(mem.m_limit, soft);
	metric_set(mem.m_low, low);
	if (is_low && !atomic_exchange(&mem.is_low, true))
		metric_add(metric_lazy(&LOW_COUNT, &mem.m_low_count), 1);
	if (is_short && !atomic_exchange(&mem.is_short, true))
		begin_short(used, soft);
	else if (!is_short && atomic_load(&mem.is_short))
		diag_error("kumo.memory", "there is room again: %lld of %lld bytes are in use; messages are accepted", (long long)used, (long long)soft);
	atomic_store(&mem.is_low, is_low);
	atomic_store(&mem.is_short, is_short);
	rt_timer_start(t, SAMPLE_MS);
}

void memory_register(void)
{
	struct metric_family *const all[] = { &USAGE, &ALLOCATED, &LIMIT, &LOW, &LOW_COUNT, &OVER_COUNT };
	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		metric_register(all[i]);
}

int memory_init(void)
{
	mem.m_usage = metric_get_n(&USAGE, NULL);
	mem.m_limit = metric_get_n(&LIMIT, NULL);
	mem.m_low = metric_get_n(&LOW, NULL);
	policy_set_max_bytes(memory_hard_limit() / STATE_SHARE);
	if (found.rc < 0)
		return err_set(E_INVAL, "%s", found.error);
	rt_timer_init(&mem.timer, sample);
	sample(&mem.timer);
	return 0;
}

bool memory_is_short(void) { return atomic_load_explicit(&mem.is_short, memory_order_relaxed); }
bool memory_is_low(void) { return atomic_load_explicit(&mem.is_low, memory_order_relaxed); }
int64_t memory_usage(void) { return atomic_load(&mem.usage); }
int64_t memory_headroom(void) { return MAX(memory_soft_limit() - memory_usage(), 0); }
