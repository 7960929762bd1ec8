/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qmetrics - what queues and their connections count (docs/reference/metrics/kumod).
 *
 * A queue fetches its metrics once and lets go of them when it is reaped: gauges and counters of short-lived names don't pile up.
 *
 * Thread:  any.   Memory: references in the structs, released by the _fini functions.   Yields: never.
 */
#pragma once
#include "base/slice.h"
#include "rt/metrics_shared.h"

void qmetrics_init(void);	/* registers the families, but for the shared ones */

enum outcome { OUT_DELIVERED, OUT_TRANSFAIL, OUT_FAIL, OUTCOMES };

/* Of a ready queue; those of its protocol and provider are shared with others. */
struct ready_metrics {
	struct metric *ready, *ready_all, *queued_provider, *queued_provider_pool;
	struct metric *conns, *conns_all, *conns_provider, *conns_provider_pool, *conns_total, *conns_total_all;
	struct metric *full, *watchdog, *latency;
	struct metric *out[OUTCOMES][4];	/* service, all of the protocol, provider, provider and source */
};
/* PROVIDER: provider_name, else the site. */
void ready_metrics_init(struct ready_metrics *m, const char *proto, struct slice name, struct slice pool, struct slice source, struct slice provider);
void ready_metrics_fini(struct ready_metrics *m);
void ready_metrics_count(struct ready_metrics *m, int64_t delta);
void ready_metrics_conn(struct ready_metrics *m, int delta);
void ready_metrics_outcome(struct ready_metrics *m, enum outcome o, int64_t n);

/* Of a scheduled queue: made when a message first waits there. */
struct sched_metrics {
	struct metric *count, *domain, *tenant, *tenant_campaign, *provider, *provider_pool;
	struct metric *delayed[3];	/* by enum delay_cause */
};
void sched_metrics_init(struct sched_metrics *m, struct slice name, struct slice domain, struct slice tenant, struct slice campaign,
			struct slice provider, struct slice pool);
void sched_metrics_fini(struct sched_metrics *m);
void sched_metrics_count(struct sched_metrics *m, int64_t delta);
enum delay_cause { DELAY_READY_FULL, DELAY_MESSAGE_RATE, DELAY_THROTTLE_EVENT, DELAY_CAUSES };
void sched_metrics_delayed(struct sched_metrics *m, struct slice queue, enum delay_cause why);	/* the owner's lock is held */
void qmetrics_queues(int delta);	/* scheduled_queue_count */
int64_t qmetrics_scheduled_total(void);

enum queue_latency { LAT_INSERT, LAT_RESOLVE, LAT_READY_INSERT, LATENCIES };
void qmetrics_latency(enum queue_latency l, int64_t us);
/* Of messages that waited: how late they were when taken out of their queue and when put into a ready queue, how long taking a batch out took, and
   how long that was after the last one. Ours is no wheel that turns all the time: what is not due is not looked at, and so not counted. */
enum queue_timeq { TIMEQ_POP_TARDINESS, TIMEQ_REINSERT_TARDINESS, TIMEQ_POP_LATENCY, TIMEQ_POP_INTERVAL, TIMEQS };
void qmetrics_timeq(enum queue_timeq t, int64_t us);
void qmetrics_popped(int64_t begun_us);	/* a batch of due messages was taken out */
void qmetrics_run(bool ready);		/* a maintenance pass over a ready (else scheduled) queue */
/* Of a source's health: failures by kind, whether it is suspended, how often it was. Kept for the process. */
struct source_metrics {
	struct metric *failures, *suspended, *suspensions;
};
void source_metrics_init(struct source_metrics *m, struct slice source, const char *reason);
