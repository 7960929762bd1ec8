/* SPDX-License-Identifier: Apache-2.0 */
#include "rt/diag.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/err.h"
#include "base/timefmt.h"
#include "base/utf8.h"
#include "base/xalloc.h"
#include "rt/clock.h"
#include "rt/loop.h"

#define DIRECTIVES_MAX 64
#define LEVEL_OFF (-1)

struct directive {
	char *target;	/* "": everything */
	int level;	/* enum diag_level, or LEVEL_OFF */
};
struct filter {
	int n;
	struct directive d[DIRECTIVES_MAX];
};

static struct {
	pthread_rwlock_t lock;
	struct filter filter;	/* under lock */
	enum diag_format format;
	char *log_dir;
	pthread_mutex_t file_lock;
	int fd;			/* under file_lock */
	int64_t hour;		/* of the file that fd is */
	atomic_int most;	/* no directive lets more than this through */
} diag = {
	.lock = PTHREAD_RWLOCK_INITIALIZER, .filter = { 1, { { "", DIAG_INFO } } }, .file_lock = PTHREAD_MUTEX_INITIALIZER, .fd = STDERR_FILENO, .most = DIAG_INFO,
};
static const char *const LEVEL_NAME[] = { "ERROR", "WARN", "INFO", "DEBUG", "TRACE" };

/* -- filters -- */

static bool parse_level(struct slice s, int *level)
{
	static const char *const names[] = { "off", "error", "warn", "info", "debug", "trace" };
	uint64_t n;

	for (int i = 0; i < (int)ARRAY_LEN(names); i++)
		if (slice_eq_nocase(s, slice_from_cstr(names[i]))) {
			*level = i - 1;
			return true;
		}
	if (slice_to_u64(s, &n) == 0 && n < ARRAY_LEN(names)) {
		*level = (int)n - 1;
		return true;
	}
	return false;
}

/* "target[span]=level": what asks for spans matches nothing here. 1: a directive, 0: none, negative: bad. */
static int parse_directive(struct slice part, struct slice *target, int *level)
{
	ptrdiff_t eq = slice_chr(part, '='), open = slice_chr(part, '['), close = slice_chr(part, ']');

	*target = slice_sub(part, 0, eq >= 0 ? (size_t)eq : SIZE_MAX);
	*level = DIAG_TRACE;
	if (target->len == 0 || (open >= 0) != (close >= 0) || close < open)
		return err_set(E_INVAL, "invalid filter directive");
	if (eq < 0 && parse_level(part, level)) {
		*target = SLICE("");
		return 1;
	}
	if (eq >= 0 && (size_t)eq + 1 < part.len && !parse_level(slice_sub(part, (size_t)eq + 1, SIZE_MAX), level))
		return err_set(E_INVAL, "error parsing level filter");
	return open < 0;
}

static void filter_fini(struct filter *f)
{
	for (int i = 0; i < f->n; i++)
		if (f->d[i].target[0])
			free(f->d[i].target);
	f->n = 0;
}

static int filter_parse(struct slice text, struct filter *out)
{
	struct slice part, target;
	int level;

	out->n = 0;
	while (slice_split_next(&text, ',', &part)) {
		part = slice_trim(part);
		if (part.len == 0)
			continue;
		int rc = parse_directive(part, &target, &level);
		if (rc < 0 || (rc > 0 && out->n == DIRECTIVES_MAX)) {
			filter_fini(out);
			return rc < 0 ? rc : err_set(E_LIMIT, "more than %d directives", DIRECTIVES_MAX);
		}
		if (rc > 0)
			out->d[out->n++] = (struct directive){ target.len ? xmemdup0(target.ptr, target.len) : "", level };
	}
	return 0;
}

static void filter_install(const struct filter *f)
{
	int most = LEVEL_OFF;

	for (int i = 0; i < f->n; i++)
		most = MAX(most, f->d[i].level);
	pthread_rwlock_wrlock(&diag.lock);
	filter_fini(&diag.filter);
	diag.filter = *f;
	pthread_rwlock_unlock(&diag.lock);
	atomic_store(&diag.most, most);
}

int diag_set_filter(const char *filter)
{
	struct filter f;
	int rc = filter_parse(slice_from_cstr(filter), &f);

	if (rc < 0) {
		err_prefix("parsing log filter '%s'", filter);
		return rc;
	}
	filter_install(&f);
	return 0;
}

bool diag_enabled(enum diag_level level, const char *target)
{
	size_t longest = 0;
	int allowed = LEVEL_OFF;

	if ((int)level > atomic_load_explicit(&diag.most, memory_order_relaxed))
		return false;
	pthread_rwlock_rdlock(&diag.lock);
	for (int i = 0; i < diag.filter.n; i++) {
		const struct directive *d = &diag.filter.d[i];
		size_t len = strlen(d->target);
		if (len >= longest && strncmp(target, d->target, len) == 0) {
			longest = len;
			allowed = d->level;
		}
	}
	pthread_rwlock_unlock(&diag.lock);
	return (int)level <= allowed;
}

/* -- writing -- */

static void write_all(int fd, struct slice s)
{
	while (s.len) {
		ssize_t n = write(fd, s.ptr, s.len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return; /* there is nobody left to tell */
		s = slice_sub(s, (size_t)n, SIZE_MAX);
	}
}

static int open_hour(int64_t us)
{
	struct buf path = { 0 };

	buf_printf(&path, "%s/log.", diag.log_dir);
	if (time_put_strftime(&path, "%Y-%m-%d-%H", us, 0) < 0)
		buf_lit(&path, "unknown");
	int fd = open(buf_cstr(&path), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (fd < 0)
		(void)!err_errno(E_IO, "opening %s", buf_cstr(&path));
	buf_fini(&path);
	return fd;
}

static void emit(struct slice line, int64_t us)
{
	if (diag.log_dir == NULL) {
		write_all(STDERR_FILENO, line);
		return;
	}
	pthread_mutex_lock(&diag.file_lock);
	int64_t hour = us / (3600 * USEC_PER_SEC);
	if (hour != diag.hour) {
		int fd = open_hour(us);
		if (fd >= 0) {
			if (diag.fd != STDERR_FILENO)
				close(diag.fd);
			diag.fd = fd;
			diag.hour = hour;
		}
	}
	write_all(diag.fd, line);
	pthread_mutex_unlock(&diag.file_lock);
}

static void put_json_text(struct buf *b, struct slice s)
{
	struct buf clean = { 0 };

	utf8_put_lossy(&clean, s);
	buf_putc(b, '"');
	for (size_t i = 0; i < clean.len; i++) {
		unsigned char c = (unsigned char)clean.ptr[i];
		if (c == '"' || c == '\\')
			buf_printf(b, "\\%c", c);
		else if (c == '\n')
			buf_lit(b, "\\n");
		else if (c < 0x20)
			buf_printf(b, "\\u%04x", c);
		else
			buf_putc(b, (char)c);
	}
	buf_putc(b, '"');
	buf_fini(&clean);
}

static const char *thread_name(char out[24])
{
	if (rt_shard_self())
		snprintf(out, 24, "shard-%d", rt_shard_index());
	else
		snprintf(out, 24, "main");
	return out;
}

static void put_line(struct buf *b, enum diag_level level, const char *target, struct slice text, int64_t us)
{
	char name[24];

	switch (diag.format) {
	case DIAG_FULL:
	case DIAG_COMPACT:
		time_put_rfc3339(b, us, 6, true);
		buf_printf(b, " %5s %s %s: ", LEVEL_NAME[level], thread_name(name), target);
		utf8_put_lossy(b, text);
		buf_putc(b, '\n');
		break;
	case DIAG_PRETTY:
		buf_lit(b, "  ");
		time_put_rfc3339(b, us, 6, true);
		buf_printf(b, " %5s %s: ", LEVEL_NAME[level], target);
		utf8_put_lossy(b, text);
		buf_printf(b, "\n    on %s\n\n", thread_name(name));
		break;
	case DIAG_JSON:
		buf_lit(b, "{\"timestamp\":\"");
		time_put_rfc3339(b, us, 6, true);
		buf_printf(b, "\",\"level\":\"%s\",\"fields\":{\"message\":", LEVEL_NAME[level]);
		put_json_text(b, text);
		buf_printf(b, "},\"target\":\"%s\",\"threadName\":\"%s\"}\n", target, thread_name(name));
		break;
	}
}

void diag_write(enum diag_level level, const char *target, const char *fmt, ...)
{
	struct buf text = { 0 }, line = { 0 };
	int saved = errno;
	va_list ap;

	if (!diag_enabled(level, target))
		return;
	va_start(ap, fmt);
	buf_vprintf(&text, fmt, ap);
	va_end(ap);
	int64_t us = rt_wall_us();
	put_line(&line, level, target, buf_view(&text), us);
	emit(buf_view(&line), us);
	buf_fini(&text);
	buf_fini(&line);
	errno = saved;
}

int diag_init(const char *filter, enum diag_format format, const char *log_dir)
{
	struct filter f;
	int rc = filter_parse(slice_from_cstr(filter), &f);

	if (rc < 0)
		return rc;
	filter_install(&f);
	diag.format = format;
	free(diag.log_dir);
	diag.log_dir = log_dir ? xstrdup(log_dir) : NULL;
	diag.hour = 0;
	if (log_dir == NULL)
		return 0;
	int64_t us = rt_wall_us();
	int fd = open_hour(us);
	if (fd < 0)
		return -E_IO;
	diag.fd = fd;
	diag.hour = us / (3600 * USEC_PER_SEC);
	return 0;
}
