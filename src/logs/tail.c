/* SPDX-License-Identifier: Apache-2.0 */
#include "logs/tail.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>
#include "base/map.h"
#include "base/xalloc.h"
#include "codec/val.h"
#include "policy/glob.h"
#include "rt/diag.h"

#define READ_BYTES 65536
#define RECORD_MAX (16 << 20)
#define CHECKPOINT_MAX 65536

/* --- positions and checkpoints */

void tail_pos_set(struct tail_pos *p, const char *file, uint64_t line)
{
	char *copy = file ? xstrdup(file) : NULL;	/* FILE may be P's own */
	free(p->file);
	p->file = copy;
	p->line = line;
}

void tail_pos_fini(struct tail_pos *p)
{
	tail_pos_set(p, NULL, 0);
}

int tail_pos_cmp(const struct tail_pos *a, const struct tail_pos *b)
{
	int c = strcmp(a->file ? a->file : "", b->file ? b->file : "");
	return c != 0 ? c : a->line < b->line ? -1 : a->line > b->line;
}

static int parse_checkpoint(struct slice text, struct tail_pos *p)
{
	struct arena *a = arena_create();
	struct val v;
	int rc = json_parse(text, a, &v);
	if (rc == 0) {
		struct slice file = val_get_str(&v, SLICE("file"));
		const struct val *line = val_get_lit(&v, "line");
		if (file.ptr == NULL || memchr(file.ptr, 0, file.len) || line == NULL || line->type != VAL_INT || line->i < 0)
			rc = err_set(E_CORRUPT, "expected {\"file\":PATH,\"line\":NUMBER}");
		else
			tail_pos_set(p, file.ptr, (uint64_t)line->i);
	}
	arena_destroy(&a);
	return rc;
}

int checkpoint_load(const char *dir, const char *name, struct tail_pos *p)
{
	char *path = xasprintf("%s/.%s", dir, name), *text = xmalloc(CHECKPOINT_MAX);
	int rc = 0, fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		rc = errno == ENOENT ? 0 : err_errno(E_IO, "checkpoint %s", path);
	} else {
		ssize_t n = read(fd, text, CHECKPOINT_MAX);
		rc = n < 0 ? err_errno(E_IO, "checkpoint %s", path) : parse_checkpoint(slice_new(text, (size_t)n), p);
		if (rc < 0 && n >= 0)
			err_prefix("checkpoint %s", path);
		close(fd);
	}
	free(path);
	free(text);
	return rc;
}

int checkpoint_save(const char *dir, const char *name, const struct tail_pos *p)
{
	char *path = xasprintf("%s/.%s", dir, name), *tmp = xasprintf("%s/.%s.%d", dir, name, (int)getpid());
	struct buf b = { 0 };
	buf_lit(&b, "{\"file\":");
	json_put_string(&b, slice_from_cstr(p->file));
	buf_printf(&b, ",\"line\":%llu}", (unsigned long long)p->line);
	int rc = 0, fd = open(tmp, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, b.ptr, b.len) != (ssize_t)b.len || rename(tmp, path) != 0)
		rc = err_errno(E_IO, "checkpoint %s", path);
	if (fd >= 0)
		close(fd);
	if (rc < 0)
		unlink(tmp);
	buf_fini(&b);
	free(path);
	free(tmp);
	return rc;
}

/* --- which files */

/* Full paths of the matching files, sorted; hidden ones are checkpoints. */
static int list_files(const char *dir, struct slice pattern, struct glob_list *out)
{
	struct glob_list found = { 0 };
	int rc = glob_eval(pattern, slice_from_cstr(dir), &found);
	for (size_t i = 0; rc == 0 && i < found.n; i++) {
		const char *base = strrchr(found.paths[i], '/');
		char *path = found.paths[i][0] == '/' ? xstrdup(found.paths[i]) : xasprintf("%s/%s", dir, found.paths[i]);
		struct stat st;
		if ((base ? base[1] : found.paths[i][0]) != '.' && stat(path, &st) == 0 && S_ISREG(st.st_mode))
			glob_list_put(out, path, strlen(path));
		free(path);
	}
	glob_list_sort(out);
	glob_list_fini(&found);
	return rc;
}

int tail_newest(const char *dir, struct slice pattern, struct tail_pos *p)
{
	struct glob_list files = { 0 };
	int rc = list_files(dir, pattern, &files);
	if (rc == 0 && files.n > 0)
		tail_pos_set(p, files.paths[files.n - 1], 0);
	glob_list_fini(&files);
	return rc;
}

/* --- reading */

struct tail {
	char *dir, *pattern;
	struct tail_pos at;
	bool past;		/* AT.file is done: what follows has a greater name */
	struct map bad;		/* files that cannot be read */
	int fd;
	ZSTD_DCtx *zstd;
	char *in;
	size_t in_len, in_pos;
	struct buf text;	/* decompressed, from text_pos not given out yet */
	size_t text_pos;
	uint64_t skip;		/* lines of this file to pass over */
};

int tail_open(const char *dir, struct slice pattern, const struct tail_pos *from, struct tail **out)
{
	if (access(dir, R_OK | X_OK) != 0)
		return err_errno(E_IO, "reading logs in %s", dir);
	struct tail *t = xzalloc(sizeof *t);
	t->dir = xstrdup(dir);
	t->pattern = xmemdup0(pattern.ptr, pattern.len);
	t->fd = -1;
	t->in = xmalloc(READ_BYTES);
	t->zstd = ZSTD_createDCtx();
	if (from != NULL && from->file != NULL)
		tail_pos_set(&t->at, from->file, from->line);
	*out = t;
	return 0;
}

static void close_file(struct tail *t)
{
	if (t->fd >= 0)
		close(t->fd);
	t->fd = -1;
	t->in_len = t->in_pos = t->text_pos = 0;
	t->skip = 0;
	buf_clear(&t->text);
	ZSTD_DCtx_reset(t->zstd, ZSTD_reset_session_only);
}

void tail_close(struct tail **tp)
{
	struct tail *t = *tp;
	*tp = NULL;
	if (t == NULL)
		return;
	close_file(t);
	ZSTD_freeDCtx(t->zstd);
	buf_fini(&t->text);
	map_fini(&t->bad);
	tail_pos_fini(&t->at);
	free(t->in);
	free(t->dir);
	free(t->pattern);
	free(t);
}

const struct tail_pos *tail_at(const struct tail *t)
{
	return &t->at;
}

static void pass_over(struct tail *t, const char *why)
{
	diag_warn("kumo.logs", "%s: %s; passing over the rest of it", t->at.file, why);
	map_put(&t->bad, slice_from_cstr(t->at.file), t);
	close_file(t);
	t->past = true;
}

/* Opens the next file. 1: done; 0: there is none. */
static int next_file(struct tail *t)
{
	struct glob_list files = { 0 };
	int rc = list_files(t->dir, slice_from_cstr(t->pattern), &files);
	const char *found = NULL;
	for (size_t i = 0; rc == 0 && found == NULL && i < files.n; i++) {
		int c = t->at.file ? strcmp(files.paths[i], t->at.file) : 1;
		if ((t->past ? c > 0 : c >= 0) && map_get(&t->bad, slice_from_cstr(files.paths[i])) == NULL)
			found = files.paths[i];
	}
	if (found != NULL) {
		t->skip = t->at.file && strcmp(found, t->at.file) == 0 ? t->at.line : 0;
		tail_pos_set(&t->at, found, t->skip);
		t->past = false;
		t->fd = open(found, O_RDONLY | O_CLOEXEC);
		rc = t->fd < 0 ? err_errno(E_IO, "opening %s", found) : 1;
	}
	glob_list_fini(&files);
	return rc;
}

/* Reads and decompresses some more. 1: there is more text; 0: not now; -1: the file is no good. */
static int fill(struct tail *t)
{
	if (t->in_pos == t->in_len) {
		ssize_t n;
		while ((n = read(t->fd, t->in, READ_BYTES)) < 0 && errno == EINTR) {
		}
		if (n < 0)
			return -1;
		t->in_pos = 0;
		t->in_len = (size_t)n;
		if (n == 0)
			return 0;
	}
	if (t->text_pos > 0) {
		buf_consume(&t->text, t->text_pos);
		t->text_pos = 0;
	}
	buf_reserve(&t->text, ZSTD_DStreamOutSize());
	ZSTD_outBuffer o = { t->text.ptr + t->text.len, ZSTD_DStreamOutSize(), 0 };
	ZSTD_inBuffer i = { t->in, t->in_len, t->in_pos };
	size_t rc = ZSTD_decompressStream(t->zstd, &o, &i);
	t->in_pos = i.pos;
	t->text.len += o.pos;
	return ZSTD_isError(rc) || t->text.len > RECORD_MAX ? -1 : 1;
}

/* Whether nothing will follow in the open file: asked before the read that found nothing is believed. */
static bool is_complete(const struct tail *t)
{
	struct stat st;
	return fstat(t->fd, &st) == 0 && (st.st_mode & 0222) == 0;
}

static bool take_line(struct tail *t, struct slice *line, bool last)
{
	struct slice rest = slice_new(t->text.ptr + t->text_pos, t->text.len - t->text_pos);
	ptrdiff_t lf = rest.len ? slice_chr(rest, '\n') : -1;
	if (lf < 0 && !(last && rest.len > 0))
		return false;
	*line = slice_sub(rest, 0, lf < 0 ? rest.len : (size_t)lf);
	t->text_pos += line->len + (lf >= 0);
	return true;
}

int tail_next(struct tail *t, struct slice *line)
{
	for (;;) {
		if (t->fd < 0) {
			int rc = next_file(t);
			if (rc <= 0)
				return rc;
		}
		bool complete = is_complete(t);
		int more = 1;
		while (!take_line(t, line, false) && (more = fill(t)) > 0) {
		}
		if (more < 0) {
			pass_over(t, "no zstd data, or damaged");
			continue;
		}
		if (more == 0 && !complete)
			return 0;
		if (more == 0 && !take_line(t, line, true)) {
			close_file(t);
			t->past = true;
			continue;
		}
		if (t->skip > 0) {
			t->skip--;
			continue;
		}
		t->at.line++;
		return 1;
	}
}
