/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A preloaded library that makes a disk fail on command: test_disk.py fills it, makes it read-only, breaks it, and makes it well again.
 *
 * What is done below $SHIM_ROOT fails with the error numbers that stand in $SHIM_CONTROL, a file of five 32-bit numbers that both sides map: for what
 * changes the disk, for what reads it, and (for statvfs) how many percent are free, -1 being the truth; how many calls have failed so far; and for
 * mappings of stacks, wherever. Deleting fails on a full disk no more than it does on a real one.
 *
 * Thread:  any.   Memory: static.   Yields: never.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

static volatile struct {
	int32_t write_errno, read_errno, free_percent, failed, map_errno;
} *control;
static char root[PATH_MAX];
static size_t root_len;

#define REAL(ret, name, ...)                                              \
	static ret (*real)(__VA_ARGS__);                                  \
	if (!real)                                                        \
		real = (ret (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

__attribute__((constructor)) static void begin(void)
{
	REAL(int, "open", const char *, int, ...);
	const char *r = getenv("SHIM_ROOT"), *c = getenv("SHIM_CONTROL");
	int fd = r && c ? real(c, O_RDWR | O_CLOEXEC) : -1;
	void *p = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(*control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return;
	close(fd);
	root_len = (size_t)snprintf(root, sizeof root, "%s", r);
	control = p;
}

static bool below(const char *path) { return strncmp(path, root, root_len) == 0 && (path[root_len] == '/' || path[root_len] == 0); }

static bool fd_below(int fd)
{
	char link[40], path[PATH_MAX];
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, path, sizeof path - 1);
	if (n <= 0)
		return false;
	path[n] = 0;
	return below(path);
}

static bool at_below(int dir, const char *path) { return path[0] == '/' || dir == AT_FDCWD ? below(path) : fd_below(dir); }

/* True: it fails with E now, unless E is none. */
static bool fails(int e, bool ours)
{
	if (e == 0 || !ours)
		return false;
	control->failed++;
	errno = e;
	return true;
}
#define WRITE_FAILS(ours) (control && control->write_errno && fails(control->write_errno, ours))
#define READ_FAILS(ours) (control && control->read_errno && fails(control->read_errno, ours))
#define DELETE_FAILS(ours) (control && control->write_errno && control->write_errno != ENOSPC && fails(control->write_errno, ours))

#define T(...) __VA_ARGS__
#define CALL(ret, fn, params, args, types, check)                         \
	ret fn params                                                     \
	{                                                                 \
		REAL(ret, #fn, types);                                    \
		return check ? -1 : real args;                            \
	}
#define OPENS(fn)                                                         \
	int fn(const char *path, int flags, ...)                          \
	{                                                                 \
		REAL(int, #fn, const char *, int, ...);                   \
		va_list ap;                                               \
		va_start(ap, flags);                                      \
		mode_t mode = va_arg(ap, mode_t);                         \
		va_end(ap);                                               \
		bool changes = (flags & O_ACCMODE) != O_RDONLY || (flags & O_CREAT); \
		if (changes ? WRITE_FAILS(below(path)) : READ_FAILS(below(path))) \
			return -1;                                        \
		return real(path, flags, mode);                           \
	}
OPENS(open)
OPENS(open64)
#define OPENS_AT(fn)                                                      \
	int fn(int dir, const char *path, int flags, ...)                 \
	{                                                                 \
		REAL(int, #fn, int, const char *, int, ...);              \
		va_list ap;                                               \
		va_start(ap, flags);                                      \
		mode_t mode = va_arg(ap, mode_t);                         \
		va_end(ap);                                               \
		bool changes = (flags & O_ACCMODE) != O_RDONLY || (flags & O_CREAT); \
		if (changes ? WRITE_FAILS(at_below(dir, path)) : READ_FAILS(at_below(dir, path))) \
			return -1;                                        \
		return real(dir, path, flags, mode);                      \
	}
OPENS_AT(openat)
OPENS_AT(openat64)
CALL(ssize_t, write, (int fd, const void *p, size_t n), (fd, p, n), T(int, const void *, size_t), WRITE_FAILS(fd_below(fd)))
CALL(ssize_t, writev, (int fd, const struct iovec *v, int n), (fd, v, n), T(int, const struct iovec *, int), WRITE_FAILS(fd_below(fd)))
CALL(ssize_t, pwrite, (int fd, const void *p, size_t n, off_t o), (fd, p, n, o), T(int, const void *, size_t, off_t), WRITE_FAILS(fd_below(fd)))
CALL(ssize_t, pwrite64, (int fd, const void *p, size_t n, off64_t o), (fd, p, n, o), T(int, const void *, size_t, off64_t), WRITE_FAILS(fd_below(fd)))
CALL(int, fallocate, (int fd, int m, off_t o, off_t n), (fd, m, o, n), T(int, int, off_t, off_t), WRITE_FAILS(fd_below(fd)))
CALL(int, fallocate64, (int fd, int m, off64_t o, off64_t n), (fd, m, o, n), T(int, int, off64_t, off64_t), WRITE_FAILS(fd_below(fd)))
CALL(int, ftruncate, (int fd, off_t n), (fd, n), T(int, off_t), WRITE_FAILS(fd_below(fd)))
CALL(int, ftruncate64, (int fd, off64_t n), (fd, n), T(int, off64_t), WRITE_FAILS(fd_below(fd)))
CALL(int, fsync, (int fd), (fd), T(int), WRITE_FAILS(fd_below(fd)))
CALL(int, fdatasync, (int fd), (fd), T(int), WRITE_FAILS(fd_below(fd)))
CALL(int, mkdir, (const char *a, mode_t m), (a, m), T(const char *, mode_t), WRITE_FAILS(below(a)))
CALL(int, mkdirat, (int d, const char *a, mode_t m), (d, a, m), T(int, const char *, mode_t), WRITE_FAILS(at_below(d, a)))
CALL(int, rename, (const char *a, const char *b), (a, b), T(const char *, const char *), DELETE_FAILS(below(b)))
CALL(int, renameat, (int d, const char *a, int e, const char *b), (d, a, e, b), T(int, const char *, int, const char *), DELETE_FAILS(at_below(e, b)))
CALL(int, unlink, (const char *a), (a), T(const char *), DELETE_FAILS(below(a)))
CALL(int, unlinkat, (int d, const char *a, int f), (d, a, f), T(int, const char *, int), DELETE_FAILS(at_below(d, a)))
CALL(ssize_t, read, (int fd, void *p, size_t n), (fd, p, n), T(int, void *, size_t), READ_FAILS(fd_below(fd)))
CALL(ssize_t, pread, (int fd, void *p, size_t n, off_t o), (fd, p, n, o), T(int, void *, size_t, off_t), READ_FAILS(fd_below(fd)))
CALL(ssize_t, pread64, (int fd, void *p, size_t n, off64_t o), (fd, p, n, o), T(int, void *, size_t, off64_t), READ_FAILS(fd_below(fd)))

#define MAPS(fn, off_type)                                                \
	void *fn(void *at, size_t n, int prot, int flags, int fd, off_type off) \
	{                                                                 \
		REAL(void *, #fn, void *, size_t, int, int, int, off_type); \
		if (control && control->map_errno && (flags & MAP_STACK) && fails(control->map_errno, true)) \
			return MAP_FAILED;                                \
		return real(at, n, prot, flags, fd, off);                 \
	}
MAPS(mmap, off_t)
MAPS(mmap64, off64_t)

#define STATVFS(fn, type)                                                 \
	int fn(const char *path, struct type *v)                          \
	{                                                                 \
		REAL(int, #fn, const char *, struct type *);              \
		int rc = real(path, v);                                   \
		if (rc == 0 && control && control->free_percent >= 0 && below(path)) { \
			v->f_bavail = v->f_blocks * (unsigned)control->free_percent / 100 + 1; \
			v->f_files = 1000000;                             \
			v->f_favail = 10000 * (unsigned)control->free_percent; \
		}                                                         \
		return rc;                                                \
	}
STATVFS(statvfs, statvfs)
STATVFS(statvfs64, statvfs64)
