/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sink - the way of lines from many sessions into segments: a bounded buffer, and one fiber that writes from it on the offload pool.
 *
 * A writer that comes while the buffer is full waits; nothing is dropped. While the disk fails, lines stay in the buffer and are tried again
 * every second; sink_write can then refuse what its caller can still refuse (a message not yet accepted).
 *
 * Thread:  sink_write from fibers of any shard.   Memory: up to BACK_PRESSURE lines.   Yields: where it says so.
 */
#pragma once
#include "base/slice.h"
#include "base/err.h"

struct sink;
struct sink_opts {
	const char *prefix;		/* of file names */
	int level;
	uint64_t max_bytes;
	int64_t max_ms;			/* of a segment; 0: none */
	uint64_t back_pressure;
};

struct sink *sink_create(const struct sink_opts *o);
/* A kind of lines: where they go, and what a segment begins with that a line of this kind opens. Before the first write. */
unsigned sink_class(struct sink *s, const char *dir, const char *suffix, struct slice header);
void sink_start(struct sink *s);
/* Adds a line (with or without LF). *WAITED (may be NULL): the buffer was full. Yields when it is full. */
int sink_write(struct sink *s, unsigned class_id, struct slice line, bool may_refuse, bool *waited) WARN_UNUSED;
bool sink_is_failing(const struct sink *s);
void sink_destroy(struct sink **s);		/* writes and completes everything. Yields. */
