/* SPDX-License-Identifier: Apache-2.0 */
/*
 * segment - one log file: a zstd frame of lines, named after the time it was begun.
 *
 * Complete means: the frame has ended and the file has lost its write permission, which tells tailers that nothing will follow.
 * What is compressed but not on disk yet stays in memory, so that a write to a full disk can be repeated.
 *
 * Thread:  one owner; everything here blocks.   Memory: the compressor's state, about 1 MiB.   Yields: never.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"

struct segment;

/* Creates DIR (and what PREFIX or SUFFIX add to it) when it is missing. OFFSET_S: of the time in its name, seconds east of UTC. */
int segment_open(const char *dir, const char *prefix, const char *suffix, int level, int32_t offset_s, struct segment **out) WARN_UNUSED;
void segment_put(struct segment *s, struct slice text);	/* into memory; see segment_drain */
int segment_drain(struct segment *s) WARN_UNUSED;		/* what is compressed goes to disk */
int segment_flush(struct segment *s) WARN_UNUSED;		/* everything so far can be decompressed from the file */
int segment_finish(struct segment **s) WARN_UNUSED;		/* completes and frees; on failure it is still there: try again */
void segment_abandon(struct segment **s);			/* frees; the frame stays incomplete */
size_t segment_undrained(const struct segment *s);		/* bytes that segment_drain would write */
uint64_t segment_bytes(const struct segment *s);		/* uncompressed */
const char *segment_path(const struct segment *s);

int segment_make_dir(const char *dir) WARN_UNUSED;
/* Files that an earlier process left open are complete now. */
int segment_complete_old(const char *dir) WARN_UNUSED;
