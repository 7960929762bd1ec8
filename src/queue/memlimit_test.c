/* SPDX-License-Identifier: Apache-2.0 */
/* Bounds of memory on pretended file systems of the kernel: what a cgroup of either version says, and those around it. */
#include "queue/memlimit.h"
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#define MB (INT64_C(1) << 20)

static char root[32];

static void run(const char *command)
{
	char text[512];
	snprintf(text, sizeof text, "cd '%s' && %s", root, command);
	assert_int_equal(system(text), 0);
}

static int begin(void **state)
{
	strcpy(root, "/tmp/memlimit-XXXXXX");
	assert_non_null(mkdtemp(root));
	run("mkdir -p proc/self sys/fs/cgroup/memory");
	return 0;
}

static int end(void **state)
{
	run("rm -rf proc sys");
	return rmdir(root);
}

static void put(const char *path, const char *text)
{
	char full[256];
	snprintf(full, sizeof full, "mkdir -p \"$(dirname '%s')\"", path);
	run(full);
	snprintf(full, sizeof full, "%s/%s", root, path);
	FILE *f = fopen(full, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static struct memlimit found(void)
{
	struct memlimit m;
	memlimit_find(&m, root);
	return m;
}

static int64_t machine(void)
{
	struct sysinfo si;
	assert_int_equal(sysinfo(&si), 0);
	return (int64_t)si.totalram * si.mem_unit;
}

static int64_t resident(void)
{
	struct memlimit none = { 0 };
	return memlimit_usage(&none);
}

static void no_cgroup(void **state)
{
	struct memlimit m = found();
	assert_int_equal(m.hard, machine());
	assert_int_equal(m.soft, machine() / 4 * 3);
	assert_string_equal(m.current, "");
	assert_in_range(memlimit_usage(&m), MB / 2, 500 * MB);
	put("proc/self/cgroup", "0::/a\n");	/* there is none with that name */
	assert_int_equal(found().hard, machine());
	put("sys/fs/cgroup/a/memory.max", "max\n");
	put("sys/fs/cgroup/a/memory.high", "max\n");
	assert_int_equal(found().hard, machine());
}

static void v2(void **state)
{
	put("proc/self/cgroup", "0::/a/b\n");
	put("sys/fs/cgroup/a/b/memory.max", "104857600\n");
	put("sys/fs/cgroup/a/b/memory.current", "60000000\n");
	put("sys/fs/cgroup/a/b/memory.stat", "anon 20000000\nfile 30000000\nxinactive_file 5\ninactive_file 25000000\n");
	put("sys/fs/cgroup/a/memory.max", "max\n");
	struct memlimit m = found();
	assert_int_equal(m.hard, 100 * MB);
	assert_int_equal(m.soft, 75 * MB);
	assert_int_equal(memlimit_usage(&m), 35000000);		/* without the cache that goes first */
	put("sys/fs/cgroup/a/b/memory.stat", "anon 50000000\ninactive_file 25000000\n");
	assert_int_equal(memlimit_usage(&m), 50000000);		/* never less than what is anonymous */
	put("sys/fs/cgroup/a/b/memory.stat", "");
	assert_int_equal(memlimit_usage(&m), 60000000);
	put("sys/fs/cgroup/a/b/memory.high", "52428800\n");
	m = found();
	assert_int_equal(m.hard, 100 * MB);
	assert_int_equal(m.soft, 50 * MB);
	run("rm sys/fs/cgroup/a/b/memory.current");
	assert_in_range(memlimit_usage(&m), resident() / 2, 2 * resident());
}

/* A bound of a cgroup further out holds for all in it, and what they use together counts. */
static void v2_outer(void **state)
{
	put("proc/self/cgroup", "1:name=systemd:/x\n0::/a/b\n");
	put("sys/fs/cgroup/a/b/memory.max", "max\n");
	put("sys/fs/cgroup/a/b/memory.current", "1000\n");
	put("sys/fs/cgroup/a/memory.max", "104857600\n");
	put("sys/fs/cgroup/a/memory.current", "2000\n");
	put("sys/fs/cgroup/a/memory.stat", "anon 0\ninactive_file 0\n");
	struct memlimit m = found();
	assert_int_equal(m.hard, 100 * MB);
	assert_int_equal(memlimit_usage(&m), 2000);
	put("sys/fs/cgroup/a/b/memory.max", "52428800\n");
	m = found();
	assert_int_equal(m.hard, 50 * MB);
	assert_int_equal(memlimit_usage(&m), 1000);
}

/* In a container with a name space of its own the root is the container's. */
static void v2_root(void **state)
{
	put("proc/self/cgroup", "0::/\n");
	put("sys/fs/cgroup/memory.max", "104857600\n");
	put("sys/fs/cgroup/memory.current", "3000\n");
	put("sys/fs/cgroup/memory.stat", "anon 0\n");
	struct memlimit m = found();
	assert_int_equal(m.hard, 100 * MB);
	assert_int_equal(memlimit_usage(&m), 3000);
}

static void v1(void **state)
{
	put("proc/self/cgroup", "9:name=systemd:/\n4:memory:/a/b\n0::/\n");
	put("sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "104857600\n");
	put("sys/fs/cgroup/memory/a/b/memory.usage_in_bytes", "60000000\n");
	put("sys/fs/cgroup/memory/a/b/memory.stat", "inactive_file 1\nrss 1\ntotal_inactive_file 25000000\ntotal_rss 20000000\n");
	put("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "9223372036854771712\n");	/* none */
	struct memlimit m = found();
	assert_int_equal(m.hard, 100 * MB);
	assert_int_equal(m.soft, 75 * MB);
	assert_int_equal(memlimit_usage(&m), 35000000);
	/* both versions have one: v2 is asked first */
	put("sys/fs/cgroup/memory.max", "209715200\n");
	put("sys/fs/cgroup/memory.current", "7\n");
	assert_int_equal(found().hard, 200 * MB);
}

static void nonsense(void **state)
{
	static const char *const TEXTS[] = { "", "-1\n", "0\n", "0x10\n", "12 34\n", "99999999999999999999999\n", "\xff\n" };
	put("proc/self/cgroup", "0::/a\n0::\n0:\n\n4:memory:\n");
	put("sys/fs/cgroup/a/memory.current", "1\n");
	for (size_t i = 0; i < sizeof TEXTS / sizeof *TEXTS; i++) {
		put("sys/fs/cgroup/a/memory.max", TEXTS[i]);
		assert_int_equal(found().hard, machine());
	}
}

/* The tighter of cgroup and resource limits holds; the process' own limit on data is put back. */
static void rlimits(void **state)
{
	struct rlimit was, now;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	skip();		/* their shadow memory is beyond any such limit */
#endif
	assert_int_equal(getrlimit(RLIMIT_DATA, &was), 0);
	now = was;
	now.rlim_cur = 300 * MB;
	assert_int_equal(setrlimit(RLIMIT_DATA, &now), 0);
	struct memlimit m = found();
	assert_int_equal(m.hard, 300 * MB);
	assert_int_equal(m.soft, 225 * MB);
	put("proc/self/cgroup", "0::/a\n");
	put("sys/fs/cgroup/a/memory.max", "104857600\n");
	assert_int_equal(found().hard, 100 * MB);
	put("sys/fs/cgroup/a/memory.max", "1048576000\n");
	assert_int_equal(found().hard, 300 * MB);
	assert_int_equal(setrlimit(RLIMIT_DATA, &was), 0);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, begin, end)
	const struct CMUnitTest tests[] = { T(no_cgroup), T(v2), T(v2_outer), T(v2_root), T(v1), T(nonsense), T(rlimits) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
