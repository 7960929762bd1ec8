/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/memory.h"
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <unistd.h>
#include "base/map.h"
#include "policy/arg.h"
#include "queue/ready/ready.h"
#include "rt/diag.h"
#include "rt/fiber.h"
#include "rt/loop.h"
#include "rt/metrics.h"
#include "spool/spool.h"

#define SAMPLE_MS 250
#define NO_LIMIT (INT64_MAX / 2)
#define STATE_SHARE 8		/* one Lua state may hold this part of the hard limit */
#define SHORT_PAUSE_MS 30000	/* between two times of making room */

static struct {
	_Atomic int64_t hard, soft, low, usage;
	_Atomic bool is_short, is_low;
	bool soft_set, low_set;		/* by the operator: no longer follow from the limit above */
	char current[PATH_MAX], stat[PATH_MAX];	/* files of our cgroup; empty: the process' own size counts */
	bool v1, making_room;
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

/* --- files of the kernel ----------------------------------------------------------------------------------------------------------- */

static struct slice read_file(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, size - 1);
	if (fd >= 0)
		close(fd);
	if (n < 0)
		return SLICE_NONE;
	buf[n] = 0;
	return slice_new(buf, n);
}

/* A number alone in a file; -1: unreadable, or "max". */
static int64_t read_number(const char *path)
{
	char buf[64];
	uint64_t n;
	struct slice s = slice_trim(read_file(path, buf, sizeof(buf)));
	return s.ptr && slice_to_u64(s, &n) == 0 && n < NO_LIMIT ? (int64_t)n : -1;
}

/* The value behind "KEY " in memory.stat. */
static int64_t stat_value(struct slice text, const char *key)
{
	struct slice line;
	size_t len = strlen(key);
	uint64_t n;
	while (slice_split_next(&text, '\n', &line))
		if (line.len > len && line.ptr[len] == ' ' && memcmp(line.ptr, key, len) == 0)
			return slice_to_u64(slice_sub(line, len + 1, SIZE_MAX), &n) == 0 ? (int64_t)n : -1;
	return -1;
}

/* --- limits -------------------------------------------------------------------------------------------------------------------------- */

/* The tightest limit of the cgroup and those around it. */
static int64_t cgroup_limit(const char *root, struct slice path, const char *limit_file)
{
	char file[PATH_MAX];
	int64_t limit = -1;
	for (;;) {
		if (snprintf(file, sizeof(file), "%s%.*s/%s", root, SLICE_ARG(path), limit_file) < (int)sizeof(file)) {
			int64_t n = read_number(file);
			if (n > 0 && (limit < 0 || n < limit))
				limit = n;
		}
		ptrdiff_t slash = slice_rchr(path, '/');
		if (slash < 0 || path.len <= 1)
			return limit;
		path = slice_sub(path, 0, slash);
	}
}

static bool use_cgroup(const char *root, struct slice path, bool v1)
{
	const char *limit_file = v1 ? "memory.limit_in_bytes" : "memory.max", *now_file = v1 ? "memory.usage_in_bytes" : "memory.current";
	int64_t limit = cgroup_limit(root, path, limit_file);
	if (limit <= 0)
		return false;
	if (path.len == 1)
		path.len = 0;
	if (snprintf(mem.current, sizeof(mem.current), "%s%.*s/%s", root, SLICE_ARG(path), now_file) >= (int)sizeof(mem.current) ||
	    snprintf(mem.stat, sizeof(mem.stat), "%s%.*s/memory.stat", root, SLICE_ARG(path)) >= (int)sizeof(mem.stat))
		return false;
	mem.v1 = v1;
	atomic_store(&mem.hard, limit);
	return true;
}

static bool limit_from_cgroup(void)
{
	char buf[8192];
	struct slice text = read_file("/proc/self/cgroup", buf, sizeof(buf)), line, rest = text;
	while (slice_split_next(&rest, '\n', &line))
		if (slice_starts(line, SLICE("0::")) && use_cgroup("/sys/fs/cgroup", slice_sub(line, 3, SIZE_MAX), false))
			return true;
	rest = text;
	while (slice_split_next(&rest, '\n', &line)) {
		ptrdiff_t at = slice_find(line, SLICE(":memory:"));
		if (at >= 0 && use_cgroup("/sys/fs/cgroup/memory", slice_sub(line, at + 8, SIZE_MAX), true))
			return true;
	}
	mem.current[0] = 0;
	return false;
}

static bool limit_from_rlimit(void)
{
	static const int which[] = { RLIMIT_RSS, RLIMIT_AS, RLIMIT_DATA };
	struct rlimit r;
	int64_t limit = -1;
	for (size_t i = 0; i < ARRAY_LEN(which); i++)
		if (getrlimit(which[i], &r) == 0 && r.rlim_cur != RLIM_INFINITY && r.rlim_cur < NO_LIMIT && (limit < 0 || (int64_t)r.rlim_cur < limit))
			limit = (int64_t)r.rlim_cur;
	if (limit > 0)
		atomic_store(&mem.hard, limit);
	return limit > 0;
}

static void limit_from_machine(void)
{
	struct sysinfo si;
	if (sysinfo(&si) == 0)
		atomic_store(&mem.hard, (int64_t)si.totalram * si.mem_unit);
}

/* What the operator has not set follows from the limit above it. */
static void derive(void)
{
	if (!mem.soft_set)
		atomic_store(&mem.soft, atomic_load(&mem.hard) / 4 * 3);
	if (!mem.low_set)
		atomic_store(&mem.low, atomic_load(&mem.soft) / 5 * 4);
	if (atomic_load(&mem.hard) > 0)
		policy_set_max_bytes(atomic_load(&mem.hard) / STATE_SHARE);
	if (mem.m_limit) {
		metric_set(mem.m_limit, atomic_load(&mem.soft));
		metric_set(mem.m_low, atomic_load(&mem.low));
	}
}

/* --- use -------------------------------------------------------------------------------------------------------------------------------- */

/* What the cgroup holds without the cache of files that the kernel would drop first. */
static int64_t cgroup_usage(void)
{
	char buf[16384];
	int64_t now = read_number(mem.current);
	struct slice stat = read_file(mem.stat, buf, sizeof(buf));
	static bool warned;
	if (now < 0)
		return -1;
	if (!stat.ptr) {
		if (!warned)
			diag_warn("kumo.memory", "%s cannot be read: memory_usage counts the page cache too", mem.stat);
		warned = true;
		return now;
	}
	int64_t inactive = stat_value(stat, mem.v1 ? "total_inactive_file" : "inactive_file"), anon = stat_value(stat, mem.v1 ? "total_rss" : "anon");
	if (inactive > 0)
		now -= inactive;
	return MAX(now, anon);
}

static int64_t own_usage(void)
{
	char buf[128];
	struct slice s = read_file("/proc/self/statm", buf, sizeof(buf)), part;
	uint64_t pages;
	if (!slice_split_next(&s, ' ', &part) || !slice_split_next(&s, ' ', &part) || slice_to_u64(part, &pages) < 0)
		return 0;
	return (int64_t)pages * sysconf(_SC_PAGESIZE);
}

/* jemalloc's; sanitizers bring an allocator of their own. */
extern int mallctl(const char *name, void *old, size_t *old_len, void *new, size_t new_len) __attribute__((weak));

int64_t memory_allocated(void)
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

/* The limit was reached: bodies go to the spool, the spool gives back what it caches. */
static void make_room(void *arg)
{
	size_t n;
	struct ready_queue **all = ready_all(&n);
	diag_error("kumo.memory", "memory limit reached: %lld of %lld bytes; no messages are accepted until there is room again",
		   (long long)memory_usage(), (long long)memory_soft_limit());
	for (size_t i = 0; i < n; i++) {
		shrink_ready_queue(all[i]);
		ready_unref(&all[i]);
	}
	free(all);
	spool_advise_low_memory();
	mem.room_made_ms = rt_now_ms();
	mem.making_room = false;
}

static void sample(struct rt_timer *t)
{
	int64_t used = mem.current[0] ? cgroup_usage() : own_usage();
	if (used < 0)
		used = own_usage();
	atomic_store(&mem.usage, used);
	metric_set(mem.m_usage, used);
	int64_t soft = atomic_load(&mem.soft), low = atomic_load(&mem.low);
	bool is_low = low > 0 && used >= low, is_short = soft > 0 && used >= soft;
	if (is_low && !atomic_exchange(&mem.is_low, true))
		metric_add(metric_lazy(&LOW_COUNT, &mem.m_low_count), 1);
	if (is_short && !atomic_exchange(&mem.is_short, true)) {
		metric_add(metric_lazy(&OVER_COUNT, &mem.m_over_count), 1);
		if (!mem.making_room && (!mem.room_made_ms || rt_now_ms() - mem.room_made_ms > SHORT_PAUSE_MS)) {
			mem.making_room = true;
			rt_fiber_spawn("making room", make_room, NULL);
		}
	}
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

void memory_init(void)
{
	mem.m_usage = metric_get_n(&USAGE, NULL);
	mem.m_limit = metric_get_n(&LIMIT, NULL);
	mem.m_low = metric_get_n(&LOW, NULL);
	if (atomic_load(&mem.hard) == 0 && !limit_from_cgroup() && !limit_from_rlimit())
		limit_from_machine();
	derive();
	rt_timer_init(&mem.timer, sample);
	sample(&mem.timer);
}

bool memory_is_short(void) { return atomic_load_explicit(&mem.is_short, memory_order_relaxed); }
bool memory_is_low(void) { return atomic_load_explicit(&mem.is_low, memory_order_relaxed); }
int64_t memory_usage(void) { return atomic_load(&mem.usage); }
int64_t memory_hard_limit(void) { return atomic_load(&mem.hard); }
int64_t memory_soft_limit(void) { return atomic_load(&mem.soft); }
int64_t memory_low_thresh(void) { return atomic_load(&mem.low); }

int64_t memory_headroom(void)
{
	int64_t soft = atomic_load(&mem.soft);
	return soft > 0 ? MAX(soft - atomic_load(&mem.usage), 0) : INT64_MAX;
}

void memory_set_hard_limit(int64_t bytes)
{
	atomic_store(&mem.hard, bytes);
	derive();
}

void memory_set_soft_limit(int64_t bytes)
{
	mem.soft_set = true;
	atomic_store(&mem.soft, bytes);
	derive();
}

void memory_set_low_thresh(int64_t bytes)
{
	mem.low_set = true;
	atomic_store(&mem.low, bytes);
	derive();
}
