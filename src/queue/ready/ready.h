/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ready - ready queues: messages that may go now from one source to one site by one protocol: "source->site@protocol".
 *
 * Bounded by max_ready. An insertion wakes an idle connection (one on the same shard when there is one), or starts another as long as the
 * number of messages asks for more. Connections are dispatchers (dispatch.h).
 *
 * Thread:  any; fields as marked.
 * Memory:  the manager's map, routes and dispatchers hold references.
 * Yields:  where it says so.
 */
#pragma once
#include "net/dns.h"
#include "queue/sched/sched.h"
#include "queue/throttle.h"

struct ready_state {
	int64_t since_us;	/* 0: not in that state */
	char context[160];
};
struct ready_queue {
	uint32_t magic;
	_Atomic uint32_t refs;
	/* immutable */
	struct slice name, source_name, site, pool, provider;
	struct slice route_domain;	/* what get_egress_path_config is asked with */
	enum queue_proto proto;
	struct conf *queue_conf;	/* whose protocol options hold here */
	struct conf *source;
	struct mx_site *mx;		/* NULL unless found by MX lookup */
	/* under lock */
	struct rt_lock lock;
	struct list fifo;		/* msg_link */
	uint32_t n;
	struct conf *path;
	struct conf_term term;
	bool refreshing, retired;
	struct list conns, idle;	/* dispatchers */
	uint32_t n_conns, n_waiting;	/* all; those that wait for a lease */
	int64_t last_change_ms, no_conn_until_ms;
	struct ready_state limited, throttled;
	/* counters */
	_Atomic uint32_t conn_failures;	/* in a row */
	struct ready_metrics metrics;
	struct tick tick;
};

/* What a ready queue is made from. */
struct ready_key {
	struct slice source, site, pool, route_domain;
	struct conf *queue_conf;
	struct mx_site *mx;		/* may be NULL */
};
/* Finds or makes it. Yields when it must be made. A reference. */
int ready_get(const struct ready_key *k, struct ready_queue **out) WARN_UNUSED;
struct ready_queue *ready_find(struct slice name);
struct ready_queue *ready_ref(struct ready_queue *q);
void ready_unref(struct ready_queue **q);
struct ready_queue **ready_all(size_t *n);
void ready_name_put(struct buf *b, const struct ready_key *k);
struct conf *ready_path(struct ready_queue *q);		/* a reference */
size_t ready_len(struct ready_queue *q);

/* Takes the reference of M over when it returns 0; -E_FULL, -E_AGAIN (retired: look the queue up again). Yields only when memory is low. */
int ready_insert(struct ready_queue *q, struct msg *m) WARN_UNUSED;
bool ready_has_room(struct ready_queue *q);		/* a hint; counts ready_full when there is none */
struct msg *ready_pop(struct ready_queue *q);		/* the reference is the caller's; NULL: empty */
/* Takes all messages out into TO (a list of msg_link). */
size_t ready_take_all(struct ready_queue *q, struct list *to);
void ready_wake(struct ready_queue *q);			/* conditions may have changed: assess the number of connections */
void ready_assess(struct ready_queue *q);		/* the same without waking the idle */
void ready_set_state(struct ready_queue *q, bool limited, const char *fmt, ...) PRINTF(3, 4);	/* FMT NULL: left the state */
/* Puts all messages back into their scheduled queues, on a fiber. */
void ready_reinsert_all(struct ready_queue *q, enum queue_reason why);

unsigned ready_ideal_connections(size_t queue_size, uint64_t limit);
void ready_init(void);
void ready_hurry(void);	/* and no longer than until now */
void ready_stop(void);	/* Deliveries under way may end, each within its path's system_shutdown_timeout. Yields. */
