/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A preloaded library that writes down, in order, what a program does to the files below $SHIM_ROOT: test_lost_cache.py makes of that what a disk
 * may hold after a loss of power.
 *
 * The log ($SHIM_LOG): struct rec, the two paths, the data. A sync is logged when it begins and when it is over. One lock orders the operations and
 * their records alike.
 *
 * Thread:  any.   Memory: the table of descriptors.   Yields: never.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct rec {
	uint32_t op, file;
	uint64_t off, len, t_ns;
	uint32_t len1, len2;
};
enum { FD_MAX = 65536 };
static uint32_t files[FD_MAX];		/* the number of the open file; 0: not ours */
static uint32_t n_files;
static int log_fd = -1;
static char root[PATH_MAX];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

#define REAL(ret, name, ...)                                              \
	static ret (*real)(__VA_ARGS__);                                  \
	if (!real)                                                        \
		real = (ret (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

static void put(const void *p, size_t n)
{
	REAL(ssize_t, "write", int, const void *, size_t);
	while (n > 0) {
		ssize_t w = real(log_fd, p, n);
		if (w <= 0)
			abort();
		p = (const char *)p + w;
		n -= (size_t)w;
	}
}

__attribute__((constructor)) static void begin(void)
{
	REAL(int, "open", const char *, int, ...);
	const char *r = getenv("SHIM_ROOT"), *l = getenv("SHIM_LOG");
	if (!r || !l)
		return;
	snprintf(root, sizeof root, "%s/", r);
	log_fd = real(l, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
}

static void record(int op, uint32_t file, uint64_t off, uint64_t len, const char *a, const char *b, const void *data)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	struct rec r = { (uint32_t)op, file, off, len, (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec, a ? (uint32_t)strlen(a) : 0, b ? (uint32_t)strlen(b) : 0 };
	put(&r, sizeof r);
	put(a ? a : "", r.len1);
	put(b ? b : "", r.len2);
	if (data)
		put(data, len);
}

/* The absolute path of NAME below DIRFD; NULL when it is not ours. */
static const char *ours(int dirfd, const char *name, char out[2 * PATH_MAX])
{
	char link[64];
	ssize_t n = 0;
	if (log_fd < 0)
		return NULL;
	if (name[0] != '/' && dirfd != AT_FDCWD) {
		snprintf(link, sizeof link, "/proc/self/fd/%d", dirfd);
		if ((n = readlink(link, out, PATH_MAX)) < 0)
			return NULL;
		out[n++] = '/';
	}
	snprintf(out + n, PATH_MAX, "%s", name);
	return strncmp(out, root, strlen(root)) == 0 ? out : NULL;
}

static uint32_t file_of(int fd) { return log_fd >= 0 && fd >= 0 && fd < FD_MAX ? files[fd] : 0; }

static int opened(int fd, int dirfd, const char *name, int flags)
{
	char path[2 * PATH_MAX];
	const char *p = fd >= 0 && fd < FD_MAX ? ours(dirfd, name, path) : NULL;
	if (fd >= 0 && fd < FD_MAX)
		files[fd] = p ? ++n_files : 0;
	if (p)
		record('O', files[fd], (uint64_t)flags, 0, p, NULL, NULL);
	return fd;
}

#define MODE_ARG(flags)                                                   \
	mode_t mode = 0;                                                  \
	if ((flags) & O_CREAT) {                                          \
		va_list ap;                                               \
		va_start(ap, flags);                                      \
		mode = va_arg(ap, mode_t);                                \
		va_end(ap);                                               \
	}

#define OPEN(fn)                                                          \
	int fn(const char *name, int flags, ...)                          \
	{                                                                 \
		REAL(int, #fn, const char *, int, ...);                   \
		MODE_ARG(flags)                                           \
		pthread_mutex_lock(&lock);                                \
		int fd = opened(real(name, flags, mode), AT_FDCWD, name, flags); \
		pthread_mutex_unlock(&lock);                              \
		return fd;                                                \
	}
#define OPENAT(fn)                                                        \
	int fn(int dirfd, const char *name, int flags, ...)               \
	{                                                                 \
		REAL(int, #fn, int, const char *, int, ...);              \
		MODE_ARG(flags)                                           \
		pthread_mutex_lock(&lock);                                \
		int fd = opened(real(dirfd, name, flags, mode), dirfd, name, flags); \
		pthread_mutex_unlock(&lock);                              \
		return fd;                                                \
	}
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

int close(int fd)
{
	REAL(int, "close", int);
	if (log_fd >= 0 && fd == log_fd)
		return 0;
	pthread_mutex_lock(&lock);
	if (file_of(fd))
		files[fd] = 0;
	int rc = real(fd);
	pthread_mutex_unlock(&lock);
	return rc;
}

ssize_t write(int fd, const void *p, size_t n)
{
	REAL(ssize_t, "write", int, const void *, size_t);
	uint32_t file = file_of(fd);
	if (!file)
		return real(fd, p, n);
	pthread_mutex_lock(&lock);
	ssize_t w = real(fd, p, n);
	if (w > 0)
		record('W', file, (uint64_t)(lseek(fd, 0, SEEK_CUR) - w), (uint64_t)w, NULL, NULL, p);
	pthread_mutex_unlock(&lock);
	return w;
}

#define PWRITE(fn, off_type)                                              \
	ssize_t fn(int fd, const void *p, size_t n, off_type off)         \
	{                                                                 \
		REAL(ssize_t, #fn, int, const void *, size_t, off_type);  \
		uint32_t file = file_of(fd);                              \
		if (!file)                                                \
			return real(fd, p, n, off);                       \
		pthread_mutex_lock(&lock);                                \
		ssize_t w = real(fd, p, n, off);                          \
		if (w > 0)                                                \
			record('W', file, (uint64_t)off, (uint64_t)w, NULL, NULL, p); \
		pthread_mutex_unlock(&lock);                              \
		return w;                                                 \
	}
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

#define TRUNCATE(fn, off_type)                                            \
	int fn(int fd, off_type len)                                      \
	{                                                                 \
		REAL(int, #fn, int, off_type);                            \
		pthread_mutex_lock(&lock);                                \
		int rc = real(fd, len);                                   \
		if (rc == 0 && file_of(fd))                               \
			record('T', file_of(fd), (uint64_t)len, 0, NULL, NULL, NULL); \
		pthread_mutex_unlock(&lock);                              \
		return rc;                                                \
	}
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

#define SYNC(fn)                                                          \
	int fn(int fd)                                                    \
	{                                                                 \
		REAL(int, #fn, int);                                      \
		uint32_t file = file_of(fd);                              \
		if (!file)                                                \
			return real(fd);                                  \
		pthread_mutex_lock(&lock);                                \
		record('s', file, 0, 0, NULL, NULL, NULL);                \
		pthread_mutex_unlock(&lock);                              \
		int rc = real(fd);                                        \
		pthread_mutex_lock(&lock);                                \
		record(rc == 0 ? 'S' : 'E', file, 0, 0, NULL, NULL, NULL); \
		pthread_mutex_unlock(&lock);                              \
		return rc;                                                \
	}
SYNC(fsync)
SYNC(fdatasync)

static int named(int rc, int op, int dir1, const char *a, int dir2, const char *b)
{
	char p1[2 * PATH_MAX], p2[2 * PATH_MAX];
	const char *x = rc == 0 ? ours(dir1, a, p1) : NULL, *y = x && b ? ours(dir2, b, p2) : NULL;
	if (x)
		record(op, 0, 0, 0, x, y, NULL);
	pthread_mutex_unlock(&lock);
	return rc;
}
#define NAMED(fn, op, params, args, types, d1, a, d2, b)                  \
	int fn params                                                     \
	{                                                                 \
		REAL(int, #fn, types);                                    \
		pthread_mutex_lock(&lock);                                \
		return named(real args, op, d1, a, d2, b);                \
	}
#define T(...) __VA_ARGS__
NAMED(rename, 'R', (const char *a, const char *b), (a, b), T(const char *, const char *), AT_FDCWD, a, AT_FDCWD, b)
NAMED(renameat, 'R', (int d1, const char *a, int d2, const char *b), (d1, a, d2, b), T(int, const char *, int, const char *), d1, a, d2, b)
NAMED(link, 'L', (const char *a, const char *b), (a, b), T(const char *, const char *), AT_FDCWD, a, AT_FDCWD, b)
NAMED(unlink, 'U', (const char *a), (a), T(const char *), AT_FDCWD, a, 0, NULL)
NAMED(unlinkat, 'U', (int d, const char *a, int flags), (d, a, flags), T(int, const char *, int), d, a, 0, NULL)
NAMED(rmdir, 'U', (const char *a), (a), T(const char *), AT_FDCWD, a, 0, NULL)
NAMED(mkdir, 'M', (const char *a, mode_t m), (a, m), T(const char *, mode_t), AT_FDCWD, a, 0, NULL)
NAMED(mkdirat, 'M', (int d, const char *a, mode_t m), (d, a, m), T(int, const char *, mode_t), d, a, 0, NULL)
