/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/memlimit.h"
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <unistd.h>
#include "base/slice.h"
#include "rt/diag.h"

#define NO_LIMIT (INT64_MAX / 2)

/* --- files of the kernel --------------------------------------------------------------------------------------------------------- */

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

/* The value behind "KEY " in memory.stat; 0: there is none. */
static int64_t stat_value(struct slice text, const char *key)
{
	struct slice line;
	size_t len = strlen(key);
	uint64_t n;
	while (slice_split_next(&text, '\n', &line))
		if (line.len > len && line.ptr[len] == ' ' && memcmp(line.ptr, key, len) == 0)
			return slice_to_u64(slice_sub(line, len + 1, SIZE_MAX), &n) == 0 && n < NO_LIMIT ? (int64_t)n : 0;
	return 0;
}

/* --- cgroups ----------------------------------------------------------------------------------------------------------------------- */

/* What differs between the versions. */
struct cgroup_files {
	const char *mount, *hard, *soft, *current, *inactive, *anon;
};
static const struct cgroup_files V2 = { "/sys/fs/cgroup", "memory.max", "memory.high", "memory.current", "inactive_file", "anon" };
static const struct cgroup_files V1 = { "/sys/fs/cgroup/memory", "memory.limit_in_bytes", NULL, "memory.usage_in_bytes", "total_inactive_file", "total_rss" };

static bool join(char out[PATH_MAX], const char *root, const struct cgroup_files *f, struct slice path, const char *name)
{
	return snprintf(out, PATH_MAX, "%s%s%.*s/%s", root, f->mount, SLICE_ARG(path), name) < PATH_MAX;
}

static int64_t bound(const char *root, const struct cgroup_files *f, struct slice path, const char *name)
{
	char file[PATH_MAX];
	int64_t n = name && join(file, root, f, path, name) ? read_number(file) : -1;
	return n > 0 ? n : NO_LIMIT;
}

/* The tightest bounds of the cgroup at PATH and of those around it; usage is counted where the hard one is (or, without one, the soft one). */
static bool use_cgroup(struct memlimit *m, const char *root, const struct cgroup_files *f, struct slice path)
{
	int64_t tightest = NO_LIMIT;
	m->hard = m->soft = NO_LIMIT;
	for (;; path = slice_sub(path, 0, (size_t)slice_rchr(path, '/'))) {
		int64_t hard = bound(root, f, path, f->hard), soft = bound(root, f, path, f->soft);
		if (MIN(hard, soft) < tightest && join(m->current, root, f, path, f->current) && join(m->stat, root, f, path, "memory.stat"))
			tightest = MIN(hard, soft);
		m->hard = MIN(m->hard, hard);
		m->soft = MIN(m->soft, soft);
		if (slice_rchr(path, '/') < 0)
			break;
	}
	m->v1 = f == &V1;
	return tightest < NO_LIMIT;
}

static bool limit_from_cgroup(struct memlimit *m, const char *root)
{
	char buf[8192], path[PATH_MAX];
	struct slice line, rest;
	snprintf(path, sizeof(path), "%s/proc/self/cgroup", root);
	struct slice text = read_file(path, buf, sizeof(buf));
	for (rest = text; slice_split_next(&rest, '\n', &line);)
		if (slice_starts(line, SLICE("0::/")) && use_cgroup(m, root, &V2, slice_sub(line, 3, SIZE_MAX)))
			return true;
	for (rest = text; slice_split_next(&rest, '\n', &line);) {
		ptrdiff_t at = slice_find(line, SLICE(":memory:/"));
		if (at >= 0 && use_cgroup(m, root, &V1, slice_sub(line, (size_t)at + 8, SIZE_MAX)))
			return true;
	}
	m->hard = m->soft = NO_LIMIT;
	m->current[0] = 0;
	return false;
}

/* --- the others ----------------------------------------------------------------------------------------------------------------------- */

static int64_t limit_of(rlim_t n) { return n == RLIM_INFINITY || n >= NO_LIMIT || n == 0 ? NO_LIMIT : (int64_t)n; }

/* RLIMIT_RSS is only ever a wish; the other two make allocations fail. */
static void limit_from_rlimits(struct memlimit *m)
{
	struct rlimit r;
	if (getrlimit(RLIMIT_RSS, &r) == 0) {
		m->hard = MIN(m->hard, limit_of(r.rlim_max));
		m->soft = MIN(m->soft, limit_of(r.rlim_cur));
	}
	if (getrlimit(RLIMIT_AS, &r) == 0)
		m->hard = MIN(m->hard, limit_of(r.rlim_cur));
	if (getrlimit(RLIMIT_DATA, &r) == 0)
		m->hard = MIN(m->hard, limit_of(r.rlim_cur));
}

void memlimit_find(struct memlimit *m, const char *root)
{
	struct sysinfo si;
	limit_from_cgroup(m, root);
	limit_from_rlimits(m);
	if (m->hard == NO_LIMIT && sysinfo(&si) == 0)
		m->hard = (int64_t)si.totalram * si.mem_unit;
	if (m->soft == NO_LIMIT)
		m->soft = m->hard / 4 * 3;
}

/* --- use -------------------------------------------------------------------------------------------------------------------------------- */

/* -1: the cgroup is gone. */
static int64_t cgroup_usage(const struct memlimit *m)
{
	char buf[16384];
	const struct cgroup_files *f = m->v1 ? &V1 : &V2;
	int64_t now = read_number(m->current);
	struct slice stat = read_file(m->stat, buf, sizeof(buf));
	static bool warned;
	if (now < 0)
		return -1;
	if (stat.len == 0 && !warned) {
		diag_warn("kumo.memory", "%s cannot be read: memory_usage counts the page cache too", m->stat);
		warned = true;
	}
	return MAX(now - stat_value(stat, f->inactive), stat_value(stat, f->anon));
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

int64_t memlimit_usage(const struct memlimit *m)
{
	int64_t used = m->current[0] ? cgroup_usage(m) : -1;
	return used < 0 ? own_usage() : used;
}
