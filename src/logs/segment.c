/* SPDX-License-Identifier: Apache-2.0 */
#include "logs/segment.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zstd.h>
#include "base/timefmt.h"
#include "base/xalloc.h"

#define WINDOW_LOG 19		/* of the light levels: records repeat within 512 KiB; zstd's own choice would take 4 MiB a stream */
#define DRAIN_AT 65536

struct segment {
	ZSTD_CCtx *zstd;
	int fd;
	char *path;
	uint64_t bytes;
	struct buf out;		/* compressed, not on disk yet */
	bool ended;
};

static int mkdir_parents(const char *path)
{
	char *p = xstrdup(path);
	int rc = 0;
	for (char *slash = strchr(p + 1, '/'); slash != NULL && rc == 0; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(p, 0755) != 0 && errno != EEXIST)
			rc = err_errno(E_IO, "creating log directory %s", p);
		*slash = '/';
	}
	free(p);
	return rc;
}

int segment_make_dir(const char *dir)
{
	char *inside = xasprintf("%s/", dir);
	int rc = mkdir_parents(inside);
	free(inside);
	return rc;
}

static int open_file(const char *path)
{
	int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_APPEND | O_CLOEXEC, 0644);
	if (fd >= 0 || errno != ENOENT)
		return fd;
	return mkdir_parents(path) < 0 ? -1 : open(path, O_CREAT | O_EXCL | O_WRONLY | O_APPEND | O_CLOEXEC, 0644);
}

static char *name_now(const char *dir, const char *prefix, const char *suffix, int32_t offset_s)
{
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	struct buf b = { 0 };
	buf_printf(&b, "%s/%s", dir, prefix);
	int rc = time_put_strftime(&b, "%Y%m%d-%H%M%S", t.tv_sec * USEC_PER_SEC, offset_s);
	assert(rc == 0);
	buf_printf(&b, ".%09ld%s", t.tv_nsec, suffix);
	size_t len;
	return buf_take(&b, &len);
}

int segment_open(const char *dir, const char *prefix, const char *suffix, int level, int32_t offset_s, struct segment **out)
{
	int fd;
	char *path = NULL;
	do {	/* the clock's next tick gives the next name */
		free(path);
		path = name_now(dir, prefix, suffix, offset_s);
	} while ((fd = open_file(path)) < 0 && errno == EEXIST);
	if (fd < 0) {
		int rc = err_errno(E_IO, "open log file %s", path);
		free(path);
		return rc;
	}
	struct segment *s = xzalloc(sizeof *s);
	s->fd = fd;
	s->path = path;
	s->zstd = ZSTD_createCCtx();
	assert(s->zstd != NULL);
	ZSTD_CCtx_setParameter(s->zstd, ZSTD_c_compressionLevel, level);
	if (level <= 3)
		ZSTD_CCtx_setParameter(s->zstd, ZSTD_c_windowLog, WINDOW_LOG);
	*out = s;
	return 0;
}

static void compress(struct segment *s, struct slice text, ZSTD_EndDirective how)
{
	ZSTD_inBuffer in = { text.ptr, text.len, 0 };
	size_t left;
	do {
		buf_reserve(&s->out, ZSTD_CStreamOutSize());
		ZSTD_outBuffer o = { s->out.ptr + s->out.len, ZSTD_CStreamOutSize(), 0 };
		left = ZSTD_compressStream2(s->zstd, &o, &in, how);
		assert(!ZSTD_isError(left));	/* only misuse and lack of memory fail */
		s->out.len += o.pos;
	} while (how == ZSTD_e_continue ? in.pos < in.size : left > 0);
}

void segment_put(struct segment *s, struct slice text)
{
	s->bytes += text.len;
	compress(s, text, ZSTD_e_continue);
}

int segment_drain(struct segment *s)
{
	while (s->out.len > 0) {
		ssize_t n = write(s->fd, s->out.ptr, s->out.len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(E_IO, "writing log file %s", s->path);
		buf_consume(&s->out, (size_t)n);
	}
	if (s->out.cap > 4 * DRAIN_AT)
		buf_fini(&s->out);
	return 0;
}

int segment_flush(struct segment *s)
{
	compress(s, SLICE(""), ZSTD_e_flush);
	return segment_drain(s);
}

void segment_abandon(struct segment **sp)
{
	struct segment *s = *sp;
	*sp = NULL;
	close(s->fd);
	ZSTD_freeCCtx(s->zstd);
	buf_fini(&s->out);
	free(s->path);
	free(s);
}

int segment_finish(struct segment **sp)
{
	struct segment *s = *sp;
	if (!s->ended)
		compress(s, SLICE(""), ZSTD_e_end);
	s->ended = true;
	int rc = segment_drain(s);
	if (rc < 0)
		return rc;
	fchmod(s->fd, 0444);
	segment_abandon(sp);
	return 0;
}

size_t segment_undrained(const struct segment *s)
{
	return s->out.len;
}

uint64_t segment_bytes(const struct segment *s)
{
	return s->bytes;
}

const char *segment_path(const struct segment *s)
{
	return s->path;
}

int segment_complete_old(const char *dir)
{
	DIR *d = opendir(dir);
	if (d == NULL)
		return errno == ENOENT ? 0 : err_errno(E_IO, "failed to mark existing logs as done in %s", dir);
	for (struct dirent *e; (e = readdir(d)) != NULL;) {
		struct stat st;
		if (e->d_name[0] == '.' || fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode))
			continue;
		if (st.st_mode & 0222)
			fchmodat(dirfd(d), e->d_name, st.st_mode & 07777 & ~0222u, 0);
	}
	closedir(d);
	return 0;
}
