/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tail - reads the lines of log segments, in the order of their names, as they come; with checkpoints.
 *
 * A segment without write permission is complete: behind its last line the next one follows. A file that is no zstd frame, or is
 * damaged, is reported once and passed over.
 *
 * A checkpoint is a hidden file in the folder, {"file":PATH,"line":N}: so many lines of that file have been dealt with.
 *
 * Thread:  one owner; everything here blocks on the disk, nothing waits for lines.   Memory: tail_close frees.   Yields: never.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"

struct tail_pos {
	char *file;		/* NULL: from the beginning */
	uint64_t line;
};
void tail_pos_set(struct tail_pos *p, const char *file, uint64_t line);
void tail_pos_fini(struct tail_pos *p);
int tail_pos_cmp(const struct tail_pos *a, const struct tail_pos *b);
int checkpoint_load(const char *dir, const char *name, struct tail_pos *p) WARN_UNUSED;	/* no file: P is the beginning */
int checkpoint_save(const char *dir, const char *name, const struct tail_pos *p) WARN_UNUSED;	/* replaced at once, never half */
/* The newest segment that matches, from its first line. */
int tail_newest(const char *dir, struct slice pattern, struct tail_pos *p) WARN_UNUSED;

struct tail;
/* -E_NOENT and the like when DIR cannot be read. */
int tail_open(const char *dir, struct slice pattern, const struct tail_pos *from, struct tail **out) WARN_UNUSED;
void tail_close(struct tail **t);
/* 1: *LINE is the next one (without LF; valid until the next call); 0: none now; -E_…: the folder cannot be read. */
int tail_next(struct tail *t, struct slice *line) WARN_UNUSED;
const struct tail_pos *tail_at(const struct tail *t);		/* behind the line that tail_next gave last */
