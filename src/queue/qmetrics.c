/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/qmetrics.h"
#include "queue/health.h"
#include <stdatomic.h>
#include "base/buf.h"
#include "rt/clock.h"

#define PROVIDER_SOURCE_POOL "provider", "source", "pool"

static struct metric_family CONNS_PROVIDER = METRIC_GAUGE("connection_count_by_provider", "number of active connections", "provider");
static struct metric_family CONNS_PROVIDER_POOL = METRIC_GAUGE("connection_count_by_provider_and_pool", "number of active connections", "provider", "pool");
static struct metric_family READY_COUNT = METRIC_GAUGE("ready_count", "number of messages in the ready queue", "service");
static struct metric_family READY_FULL = METRIC_COUNTER("ready_full", "number of times a message could not fit in the ready queue", "service");
static struct metric_family QUEUED_PROVIDER = METRIC_GAUGE("queued_count_by_provider", "number of messages in the scheduled and ready queue", "provider");
static struct metric_family QUEUED_PROVIDER_POOL =
	METRIC_GAUGE("queued_count_by_provider_and_pool", "number of messages in the scheduled and ready queue", "provider", "pool");
static struct metric_family WATCHDOG =
	METRIC_COUNTER("dispatcher_watchdog_aborted_total", "total number of dispatcher tasks aborted by the progress watchdog", "service");
static struct metric_family LATENCY =
	METRIC_HISTOGRAM("deliver_message_latency_rollup", "how many seconds a deliver_message call takes for a given protocol", "service");

#define DELIVERED "total number of messages ever delivered"
#define TRANSFAIL "total number of message delivery attempts that transiently failed"
#define FAILED "total number of message delivery attempts that permanently failed"
static struct metric_family OUT[OUTCOMES][3] = {
	[OUT_DELIVERED] = { METRIC_COUNTER("total_messages_delivered", DELIVERED, "service"),
			    METRIC_COUNTER("total_messages_delivered_by_provider", DELIVERED, "provider"),
			    METRIC_COUNTER("total_messages_delivered_by_provider_and_source", DELIVERED, PROVIDER_SOURCE_POOL) },
	[OUT_TRANSFAIL] = { METRIC_COUNTER("total_messages_transfail", TRANSFAIL, "service"),
			    METRIC_COUNTER("total_messages_transfail_by_provider", TRANSFAIL, "provider"),
			    METRIC_COUNTER("total_messages_transfail_by_provider_and_source", TRANSFAIL, PROVIDER_SOURCE_POOL) },
	[OUT_FAIL] = { METRIC_COUNTER("total_messages_fail", FAILED, "service"),
		       METRIC_COUNTER("total_messages_fail_by_provider", FAILED, "provider"),
		       METRIC_COUNTER("total_messages_fail_by_provider_and_source", FAILED, PROVIDER_SOURCE_POOL) },
};

static struct metric_family SCHED_COUNT = METRIC_GAUGE("scheduled_count", "number of messages in the scheduled queue.", "queue");
static struct metric_family SCHED_DOMAIN = METRIC_GAUGE("scheduled_by_domain", "number of messages in the scheduled queue for a specific domain", "domain");
static struct metric_family SCHED_TENANT = METRIC_GAUGE("scheduled_by_tenant", "number of messages in the scheduled queue for a specific tenant", "tenant");
static struct metric_family SCHED_TENANT_CAMPAIGN = METRIC_GAUGE(
	"scheduled_by_tenant_campaign", "number of messages in the scheduled queue for a specific tenant and campaign combination", "tenant", "campaign");
static struct metric_family SCHED_TOTAL = METRIC_GAUGE("scheduled_count_total", "total number of messages across all scheduled queues.");
static struct metric_family SCHED_QUEUES = METRIC_GAUGE("scheduled_queue_count", "how many scheduled queues are tracked by the QueueManager");
static struct metric_family SCHED_MAINTAINERS = METRIC_GAUGE("scheduled_queue_maintainer_count", "how many scheduled queues have active maintainer tasks");
static struct metric_family DELAYED[DELAY_CAUSES] = {
	[DELAY_READY_FULL] = METRIC_COUNTER("delayed_due_to_ready_queue_full",
					    "number of times a message was delayed due to the corresponding ready queue being full", "queue"),
	[DELAY_MESSAGE_RATE] = METRIC_COUNTER("delayed_due_to_message_rate_throttle", "number of times a message was delayed due to max_message_rate", "queue"),
	[DELAY_THROTTLE_EVENT] = METRIC_COUNTER("delayed_due_to_throttle_insert_ready",
						"number of times a message was delayed due to the throttle_insert_ready_queue event", "queue"),
};
static struct metric_family LAT[LATENCIES] = {
	[LAT_INSERT] = METRIC_HISTOGRAM("queue_insert_latency", "latency of QueueManager::insert operations"),
	[LAT_RESOLVE] = METRIC_HISTOGRAM("queue_resolve_latency", "latency of QueueManager::resolve operations"),
	[LAT_READY_INSERT] = METRIC_HISTOGRAM("ready_queue_insert_latency", "latency of ReadyQueue::insert operations"),
};
static struct metric_family RUNS[2] = {
	METRIC_COUNTER("total_qmaint_runs", "total number of times a scheduled queue maintainer was run"),
	METRIC_COUNTER("total_readyq_runs", "total number of times a readyq maintainer was run"),
};
static struct metric_family SOURCE_FAILURES =
	METRIC_COUNTER("egress_source_connection_failures_total", "connection failures that speak against the health of a source", "source", "kind");
static struct metric_family SOURCE_SUSPENDED =
	METRIC_GAUGE("egress_source_health_suspended", "1 while an egress source is auto-suspended, 0 otherwise", "source", "reason");
static struct metric_family SOURCE_SUSPENSIONS =
	METRIC_COUNTER("egress_source_health_suspensions_total", "how often an egress source was auto-suspended", "source", "reason");

static const double TARDY[] = { .25, .5, 1, 2.5, 3, 5, 10, 15, 0 }, TARDIER[] = { .25, .5, 1, 2.5, 3, 5, 10, 15, 30, 45, 60, 90, 180, 360, 720, 0 };
static const double INTERVAL[] = { 3, 4, 5, 8, 10, 12, 15, 20, 25, 30, 0 };
#define TIMEQ(n, h, b) { .name = "timeq_" n, .help = h, .kind = METRIC_HISTOGRAM_K, .buckets = b, .striped = true }
static struct metric_family TIMEQ[TIMEQS] = {
	[TIMEQ_POP_TARDINESS] = TIMEQ("pop_tardiness", "how many seconds after it was due a message was taken out of its scheduled queue", TARDY),
	[TIMEQ_REINSERT_TARDINESS] = TIMEQ("reinsert_tardiness", "how many seconds after it was due a message came into a ready queue", TARDIER),
	[TIMEQ_POP_LATENCY] = TIMEQ("pop_latency", "how many seconds taking a batch of due messages out of a scheduled queue took", NULL),
	[TIMEQ_POP_INTERVAL] = TIMEQ("pop_interval", "how many seconds passed between two such batches", INTERVAL),
};

static struct metric *total, *queues;
static _Atomic(struct metric *) lat[LATENCIES], runs[2], timeq[TIMEQS];

void qmetrics_init(void)
{
	struct metric_family *const all[] = { &CONNS_PROVIDER,
		&CONNS_PROVIDER_POOL, &READY_COUNT, &READY_FULL, &QUEUED_PROVIDER, &QUEUED_PROVIDER_POOL, &WATCHDOG, &SCHED_COUNT,
		&SCHED_DOMAIN, &SCHED_TENANT, &SCHED_TENANT_CAMPAIGN, &SCHED_TOTAL, &SCHED_QUEUES, &SCHED_MAINTAINERS, &RUNS[0], &RUNS[1] };
	struct metric_family *const kept[] = { &LATENCY, &SOURCE_FAILURES, &SOURCE_SUSPENDED, &SOURCE_SUSPENSIONS };
	SOURCE_SUSPENDED.collect = source_health_collect;
	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		metric_register(all[i]);
	for (size_t i = 0; i < ARRAY_LEN(kept); i++)
		metric_register_kept(kept[i]);
	for (int o = 0; o < OUTCOMES; o++)
		for (int i = 0; i < 3; i++)
			metric_register(&OUT[o][i]);
	for (int i = 0; i < DELAY_CAUSES; i++)
		metric_register(&DELAYED[i]);
	for (int i = 0; i < LATENCIES; i++)
		metric_register(&LAT[i]);
	for (int i = 0; i < TIMEQS; i++)
		metric_register(&TIMEQ[i]);
	total = metric_get_n(&SCHED_TOTAL, NULL);
	queues = metric_get_n(&SCHED_QUEUES, NULL);
}

static struct metric *get1(struct metric_family *f, struct slice a) { return metric_get_n(f, &a); }
static struct metric *get2(struct metric_family *f, struct slice a, struct slice b) { return metric_get_n(f, (struct slice[]){ a, b }); }
static struct metric *get3(struct metric_family *f, struct slice a, struct slice b, struct slice c) { return metric_get_n(f, (struct slice[]){ a, b, c }); }

void ready_metrics_init(struct ready_metrics *m, const char *proto, struct slice name, struct slice pool, struct slice source, struct slice provider)
{
	struct buf b = { 0 };
	struct slice all = slice_from_cstr(proto);
	buf_printf(&b, "%s:%.*s", proto, SLICE_ARG(name));
	struct slice service = buf_view(&b);

	m->ready = get1(&READY_COUNT, service);
	m->ready_all = get1(&READY_COUNT, all);
	m->queued_provider = get1(&QUEUED_PROVIDER, provider);
	m->queued_provider_pool = get2(&QUEUED_PROVIDER_POOL, provider, pool);
	m->conns = get1(&METRIC_CONNECTION_COUNT, service);
	m->conns_all = get1(&METRIC_CONNECTION_COUNT, all);
	m->conns_provider = get1(&CONNS_PROVIDER, provider);
	m->conns_provider_pool = get2(&CONNS_PROVIDER_POOL, provider, pool);
	m->conns_total = get1(&METRIC_CONNECTION_TOTAL, service);
	m->conns_total_all = get1(&METRIC_CONNECTION_TOTAL, all);
	m->full = get1(&READY_FULL, service);
	m->watchdog = get1(&WATCHDOG, service);
	m->latency = get1(&LATENCY, all);
	for (int o = 0; o < OUTCOMES; o++) {
		m->out[o][0] = get1(&OUT[o][0], service);
		m->out[o][1] = get1(&OUT[o][0], all);
		m->out[o][2] = get1(&OUT[o][1], provider);
		m->out[o][3] = get3(&OUT[o][2], provider, source, pool);
	}
	buf_fini(&b);
}

void ready_metrics_fini(struct ready_metrics *m)
{
	struct metric **all[] = { &m->ready, &m->ready_all, &m->queued_provider, &m->queued_provider_pool, &m->conns, &m->conns_all, &m->conns_provider,
				  &m->conns_provider_pool, &m->conns_total, &m->conns_total_all, &m->full, &m->watchdog, &m->latency };
	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		metric_unref(all[i]);
	for (int o = 0; o < OUTCOMES; o++)
		for (int i = 0; i < 4; i++)
			metric_unref(&m->out[o][i]);
}

void ready_metrics_count(struct ready_metrics *m, int64_t d)
{
	metric_add(m->ready, d);
	metric_add(m->ready_all, d);
	metric_add(m->queued_provider, d);
	metric_add(m->queued_provider_pool, d);
}

void ready_metrics_conn(struct ready_metrics *m, int d)
{
	metric_add(m->conns, d);
	metric_add(m->conns_all, d);
	metric_add(m->conns_provider, d);
	metric_add(m->conns_provider_pool, d);
	if (d > 0) {
		metric_add(m->conns_total, d);
		metric_add(m->conns_total_all, d);
	}
}

void ready_metrics_outcome(struct ready_metrics *m, enum outcome o, int64_t n)
{
	for (int i = 0; i < 4; i++)
		metric_add(m->out[o][i], n);
}

void sched_metrics_init(struct sched_metrics *m, struct slice name, struct slice domain, struct slice tenant, struct slice campaign,
			struct slice provider, struct slice pool)
{
	m->count = get1(&SCHED_COUNT, name);
	m->domain = get1(&SCHED_DOMAIN, domain);
	if (tenant.ptr)
		m->tenant = get1(&SCHED_TENANT, tenant);
	if (campaign.ptr)
		m->tenant_campaign = get2(&SCHED_TENANT_CAMPAIGN, tenant.ptr ? tenant : SLICE(""), campaign);
	m->provider = get1(&QUEUED_PROVIDER, provider);
	m->provider_pool = get2(&QUEUED_PROVIDER_POOL, provider, pool);
}

void sched_metrics_fini(struct sched_metrics *m)
{
	struct metric **all[] = { &m->count, &m->domain, &m->tenant, &m->tenant_campaign, &m->provider, &m->provider_pool,
				  &m->delayed[0], &m->delayed[1], &m->delayed[2] };
	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		if (*all[i])
			metric_unref(all[i]);
}

void sched_metrics_count(struct sched_metrics *m, int64_t d)
{
	metric_add(total, d);
	metric_add(m->count, d);
	metric_add(m->domain, d);
	metric_add(m->tenant, d);
	metric_add(m->tenant_campaign, d);
	metric_add(m->provider, d);
	metric_add(m->provider_pool, d);
}

void sched_metrics_delayed(struct sched_metrics *m, struct slice queue, enum delay_cause why)
{
	if (!m->delayed[why])
		m->delayed[why] = get1(&DELAYED[why], queue);
	metric_add(m->delayed[why], 1);
}

void qmetrics_queues(int d) { metric_add(queues, d); }
int64_t qmetrics_scheduled_total(void) { return metric_value(total); }

void qmetrics_latency(enum queue_latency l, int64_t us) { metric_observe(metric_lazy(&LAT[l], &lat[l]), (double)us / 1e6); }
void qmetrics_timeq(enum queue_timeq t, int64_t us) { metric_observe(metric_lazy(&TIMEQ[t], &timeq[t]), (double)MAX(us, (int64_t)0) / 1e6); }

void qmetrics_popped(int64_t begun_us)
{
	static _Atomic int64_t last_us;
	int64_t before_us = atomic_exchange_explicit(&last_us, begun_us, memory_order_relaxed);
	qmetrics_timeq(TIMEQ_POP_LATENCY, rt_now_us_exact() - begun_us);
	if (before_us)
		qmetrics_timeq(TIMEQ_POP_INTERVAL, begun_us - before_us);
}

void qmetrics_run(bool ready) { metric_add(metric_lazy(&RUNS[ready], &runs[ready]), 1); }

void source_metrics_init(struct source_metrics *m, struct slice source, const char *reason)
{
	struct slice r = slice_from_cstr(reason);
	m->failures = get2(&SOURCE_FAILURES, source, r);
	m->suspended = get2(&SOURCE_SUSPENDED, source, r);
	m->suspensions = get2(&SOURCE_SUSPENSIONS, source, r);
}
