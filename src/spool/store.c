/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/store.h"
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "base/xalloc.h"

void store_init(struct store *s, const struct store_kind *kind, const struct spool_opts *o)
{
	s->kind = kind;
	s->name = xmemdup0(o->name.ptr, o->name.len);
	s->path = xmemdup0(o->path.ptr, o->path.len);
	s->flush = o->flush;
	s->deadline_ms = o->rocks_params.store_deadline / 1000000;
}

void store_fini(struct store *s)
{
	free(s->name);
	free(s->path);
}

#define BACKOFF_MIN_US 500u
#define BACKOFF_MAX_US 50000u

int64_t store_mono_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000) + t.tv_nsec / 1000000;
}

struct patience patience_until(const struct store *s)
{
	return (struct patience){ .until_ms = store_mono_ms() + s->deadline_ms, .pause_us = BACKOFF_MIN_US };
}

bool patience_again(struct patience *p, int rc)
{
	if (rc != -E_AGAIN || store_mono_ms() >= p->until_ms)
		return false;
	usleep(p->pause_us);
	p->pause_us = MIN(2 * p->pause_us, BACKOFF_MAX_US);
	return true;
}

int store_mkdirs(const char *path)
{
	char *p = xstrdup(path);
	int rc = 0;
	for (char *slash = p; rc == 0 && slash != NULL;) {
		slash = strchr(slash + 1, '/');
		if (slash != NULL)
			*slash = '\0';
		struct stat st;
		/* a file on the way makes the next one fail, with ENOTDIR; one at the end is noticed here */
		if (mkdir(p, 0755) != 0 && (errno != EEXIST || (slash == NULL && stat(p, &st) == 0 && !S_ISDIR(st.st_mode))))
			rc = err_errno(E_IO, "while creating directory structure: %s", path);
		if (slash != NULL)
			*slash = '/';
	}
	free(p);
	return rc;
}

int store_probe(const char *path)
{
	char *file = xasprintf("%s/.probe-%d", path, (int)getpid());
	int fd = open(file, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
	bool ok = fd >= 0 && write(fd, "x", 1) == 1;
	int saved = errno;
	if (fd >= 0) {
		close(fd);
		if (unlink(file) != 0 && ok) {
			ok = false;
			saved = errno;
		}
	}
	free(file);
	if (ok)
		return 0;
	struct passwd pw, *who = NULL;
	char text[1024];
	getpwuid_r(geteuid(), &pw, text, sizeof text, &who);
	errno = saved;
	int rc = err_errno(E_IO, "spool directory %s is not usable: cannot create and delete a file in it as user %s (uid %u)", path,
	    who ? who->pw_name : "?", (unsigned)geteuid());
	if (rc == -E_ACCESS)
		return err_set(E_ACCESS, "%s. Give the directory to that user: chown -R %s %s", err_text(), who ? who->pw_name : "USER", path);
	return rc;
}
