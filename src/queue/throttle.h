/* SPDX-License-Identifier: Apache-2.0 */
/*
 * throttle - rates (so many in a time) and leases (so many at a time), by name, process-wide or shared between nodes.
 *
 * A rate is the generic cell rate algorithm on one 64-bit time, moved by compare-and-swap. Its key is "name:limit:burst:period", so that a changed
 * rate starts afresh. A lease counts against a limit until it is given back or expires.
 *
 * With Redis each call is a round trip, so every function here may wait. The shared backend plugs in as a function table.
 *
 * Thread:  fibers of any shard.   Memory: cells go when they have been idle for longer than they remember.
 * Yields:  with a shared backend; lease_acquire when it has to wait.
 */
#pragma once
#include "base/uuid.h"
#include "codec/opt.h"

struct throttle_result {
	bool throttled;
	uint64_t limit, remaining;
	int64_t reset_after_ns;		/* until it is as if never used */
	int64_t retry_after_ns;		/* 0: go ahead; else how long to wait */
};
int throttle_check(struct slice name, const struct rate_spec *rate, uint64_t quantity, struct throttle_result *out) WARN_UNUSED;
static inline bool rate_given(const struct rate_spec *r) { return r->limit != 0; }
static inline double rate_per_second(const struct rate_spec *r) { return (double)r->limit * 1e9 / (double)(r->period_ns ? r->period_ns : 1); }

/* Several rates that hold together: asked from the smallest up, so that no larger one is used up in vain. */
#define THROTTLE_SLOTS 32
struct throttle_slot {
	struct slice name;
	const struct rate_spec *rate;
};
/* PRIMARY (under NAME) unless it is not given, and those of MORE; sorted. How many there are; beyond THROTTLE_SLOTS the largest are dropped. */
size_t throttle_collect(struct throttle_slot *slots, struct slice name, const struct rate_spec *primary, const struct opt_map *more);

struct lease {
	char *name;
	struct uuid id;
	bool shared;
	struct lease_set *set;
};
/* Waits up to TIMEOUT_MS for one of SPEC->limit places; it is held for DURATION_NS unless extended. -E_LIMIT when none came free, -E_CANCELED.
   Yields. */
int lease_acquire(struct slice name, const struct limit_spec *spec, int64_t duration_ns, int64_t timeout_ms, struct lease *out) WARN_UNUSED;
int lease_extend(const struct lease *l, int64_t duration_ns) WARN_UNUSED;	/* -E_NOENT: it has expired */
void lease_release(struct lease *l);						/* a zeroed lease is ignored */
uint64_t lease_count(struct slice name);					/* local ones, for tests and inspection */

/* The backend that nodes share; installed by kumo.configure_redis_throttles. All yield. */
struct throttle_backend {
	int (*check)(struct slice key, const struct rate_spec *rate, uint64_t burst, uint64_t quantity, struct throttle_result *out);
	int (*acquire)(struct slice name, uint64_t limit, int64_t duration_ns, int64_t timeout_ms, struct uuid *id);
	int (*extend)(struct slice name, struct uuid id, int64_t duration_ns);
	void (*release)(struct slice name, struct uuid id);
};
void throttle_set_backend(const struct throttle_backend *b);
bool throttle_is_shared(void);
const struct throttle_backend *throttle_backend_get(void);	/* NULL: none */
