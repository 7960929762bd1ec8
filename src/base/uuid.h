/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uuid - RFC 9562 identifiers of our own making (libuuid's version 1 takes a locked clock file).
 *
 * A message's id is a version 1: its 60-bit time is when the message was made and the spool's key order.
 * Times within a process never repeat; the node part comes from the MAC or is random, and may be set.
 *
 * Thread:  any (one atomic).   Memory: by value.   Yields: never.
 */
#pragma once
#include "base/buf.h"

struct uuid {
	uint8_t bytes[16];
};

struct uuid uuid_v1(void);
struct uuid uuid_v4(void);
struct uuid uuid_v6(void);
struct uuid uuid_v7(void);
struct uuid uuid_v1_at(int64_t us, uint16_t clock_seq, const uint8_t node[6]);
struct uuid uuid_v1_twin(struct uuid u);			/* of the same time, to the tick, and of no place; of now, when U has no time */
int64_t uuid_v1_us(struct uuid u);				/* microseconds since 1970 of versions 1 and 6; -1 for others */
void uuid_put_simple(struct buf *b, struct uuid u);		/* 32 hex digits, as message ids are written */
void uuid_put(struct buf *b, struct uuid u);			/* 8-4-4-4-12 */
int uuid_parse(struct slice s, struct uuid *out) WARN_UNUSED;	/* both forms, also {..} and urn:uuid: */
static inline bool uuid_eq(struct uuid a, struct uuid b) { return memcmp(&a, &b, sizeof a) == 0; }
