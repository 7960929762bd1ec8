/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dispatch - dispatchers: a fiber each that holds a connection and takes messages from a ready queue.
 *
 * What a connection is, the delivery protocol says: a table of functions that higher layers register (SMTP stands in src/smtp/client, the HTTP
 * generator in src/api). The dispatcher does the rest: leases, throttles, batches, idle time, suspensions, records, requeueing.
 *
 * Thread:  a dispatcher's own fiber, but for fields marked otherwise.
 * Memory:  a dispatcher lives as long as its fiber.
 * Yields:  everything here unless it says not.
 */
#pragma once
#include "logs/record.h"
#include "queue/ready/ready.h"

#define DISPATCH_PHASES(X) \
	X(PHASE_STARTING, "Starting") X(PHASE_LEASE, "AcquiringLease") X(PHASE_IDLE, "Idle") X(PHASE_BATCH, "AccumulatingBatch") \
	X(PHASE_CONNECTING, "AttemptingConnection") X(PHASE_THROTTLED, "MessageRateThrottled") X(PHASE_CONN_THROTTLED, "ConnectionRateThrottled") \
	X(PHASE_DELIVERING, "DeliveringMessage") X(PHASE_CLOSING, "Closing")
enum dispatch_phase {
#define X(n, t) n,
	DISPATCH_PHASES(X)
#undef X
};

struct queue_protocol;
struct dispatcher {
	uint32_t magic;
	struct ready_queue *rq;		/* a reference */
	const struct queue_protocol *proto;
	void *state;			/* the protocol's */
	struct conf *path;		/* as of the last message border; a reference */
	struct conf *queue_conf;	/* a reference */
	struct uuid session_id;
	char session_text[40];
	struct msg **msgs;		/* in hand: references; the protocol takes out what it has dealt with */
	uint32_t n_msgs, cap_msgs;
	uint32_t delivered_this_connection;	/* attempts on the connection, as max_deliveries_per_connection counts them */
	struct lease *leases;
	uint32_t n_leases;
	char *failures;			/* why connections failed, joined by ", " */
	bool connected_once, counted;
	int64_t batch_started_ms;
	/* under the ready queue's lock */
	struct list in_conns, in_idle;
	struct rt_cond wake;
	struct rt_fiber *fiber;
	int shard;
	bool abort_asked, watchdog_fired;
	enum dispatch_phase phase, stuck_phase;	/* stuck_*: when the watchdog fired */
	int64_t started_us, phase_us, stuck_us;
	_Atomic int64_t progress_ms;
	char detail[96];
	_Atomic uint64_t out[OUTCOMES];
};
static inline const struct path_opts *dispatch_path(const struct dispatcher *d) { return path_opts_of(d->path); }
static inline const struct queue_protocol_opts *dispatch_protocol(const struct dispatcher *d) { return &queue_opts_of(d->queue_conf)->protocol; }

enum connect_result {
	CONNECT_NEW = 0,
	CONNECT_REUSED,
	CONNECT_PEER_CLOSED,		/* it was closed while idle: end this session, the messages go to another */
	CONNECT_PEER_CLOSED_CONTINUE,	/* the same, but there are more hosts in the plan: connect again */
	CONNECT_NOTHING_TO_DO,		/* the messages are gone (throttled, bulk failed): end this session */
};

struct queue_protocol {
	/* Before the first message is taken. 0, 1: there is nothing to do (the queue was dealt with), or negative. */
	int (*init)(struct dispatcher *d);
	/* An enum connect_result, or negative with err_text: why this candidate failed. */
	int (*connect)(struct dispatcher *d);
	bool (*more_candidates)(struct dispatcher *d);	/* does not wait */
	/* Delivers d->msgs; takes out those that it has dealt with (dispatch_done). Negative: those that are left failed for that. */
	int (*deliver)(struct dispatcher *d);
	bool (*close)(struct dispatcher *d);		/* orderly; whether there was a connection */
	bool (*finished)(struct dispatcher *d);		/* may be NULL. The session has to end. Does not wait */
	void (*fini)(struct dispatcher *d);		/* frees the state; the connection is dropped if it still stands */
	uint32_t (*max_batch)(struct dispatcher *d);	/* NULL: 1 */
};
void dispatch_register(enum queue_proto p, const struct queue_protocol *ops);	/* before queue_start */

/* --- for protocols --- */

void dispatch_phase(struct dispatcher *d, enum dispatch_phase p);	/* does not wait */
void dispatch_detail(struct dispatcher *d, const char *fmt, ...) PRINTF(2, 3);	/* does not wait; counts as progress */
/* A connection stands, or it is gone: for the gauges. */
void dispatch_connected(struct dispatcher *d);
void dispatch_disconnected(struct dispatcher *d);

/* A record with what the dispatcher knows (site, pool, source, protocol, session, provider) filled in; peer and TLS are the protocol's to add. */
struct log_event dispatch_event(const struct dispatcher *d, enum log_type type, struct msg *m, struct smtp_response r);
/* Message I of d->msgs is out of our hands; returns its reference. */
struct msg *dispatch_done(struct dispatcher *d, uint32_t i);
/* The ends of message I: each counts, and does with the message what follows. The record is the caller's, written before. */
void dispatch_delivered(struct dispatcher *d, uint32_t i);
void dispatch_bounced(struct dispatcher *d, uint32_t i);
void dispatch_transfail(struct dispatcher *d, uint32_t i, const struct smtp_response *r);
void dispatch_count(struct dispatcher *d, enum outcome o, int64_t n);	/* counts only */
/* All in hand and all that are ready: a record each with R, then bounced (5xx) or requeued. */
void dispatch_bulk(struct dispatcher *d, struct smtp_response r, enum queue_reason why);
/* Waits for RATE (the same for several), or gives the queue back when that would take longer than the idle time.
   0: go ahead; 1: the messages are gone; negative. */
int dispatch_wait_rate(struct dispatcher *d, struct slice name, const struct rate_spec *rate, enum dispatch_phase p, enum queue_reason why) WARN_UNUSED;

/* --- for the ready queue --- */

void dispatch_start(struct ready_queue *q);	/* the queue's lock is held */
bool dispatch_abort(struct ready_queue *q, struct uuid session_id);
void dispatch_check_progress(struct ready_queue *q);	/* ends those that hang */
int64_t dispatch_watchdog_ms(struct ready_queue *q);	/* the queue's lock is held */
void dispatch_print(struct dispatcher *d, struct arena *a, struct val *out);	/* the queue's lock is held */
