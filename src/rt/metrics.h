/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metrics - counters, gauges and histograms, as Prometheus text and JSON.
 *
 * A family is a static table entry in the module that counts; a metric is the family with its label values. Objects that live long (a
 * queue, a listener) fetch their metrics once and add to them with one atomic; a metric goes when its last user lets go of it, except
 * in families marked `keep` (set it where a metric is fetched, counted in and let go at once).
 *
 * Families marked `striped` are counted in by every shard many times a message: each shard adds to a cell of its own, and a dump sums them.
 *
 *	static struct metric_family CONNS = METRIC_GAUGE("connection_count", "number of active connections", "service");
 *	struct metric *m = metric_get(&CONNS, "smtp_client");
 *	metric_add(m, 1);
 *
 * Thread:  any.   Memory: reference counts.   Yields: never.
 */
#pragma once
#include <stdatomic.h>
#include "base/buf.h"

#define METRIC_LABELS_MAX 4
enum metric_kind { METRIC_COUNTER_K, METRIC_GAUGE_K, METRIC_HISTOGRAM_K };
struct metric;
struct metric_family {
	const char *name, *help;
	enum metric_kind kind;
	const char *labels[METRIC_LABELS_MAX + 1];
	const double *buckets;		/* upper bounds, ends with 0; NULL: Prometheus' defaults .005 … 10 */
	bool keep, striped;	/* striped: no metric_set */
	struct metric_family *next;	/* registry */
	void *table;
	int (*collect)(struct metric_family *f); /* refreshes computed gauges before a dump; may be NULL */
};
#define METRIC_COUNTER(n, h, ...) { .name = n, .help = h, .kind = METRIC_COUNTER_K, .labels = { __VA_ARGS__ } }
#define METRIC_GAUGE(n, h, ...) { .name = n, .help = h, .kind = METRIC_GAUGE_K, .labels = { __VA_ARGS__ } }
#define METRIC_HISTOGRAM(n, h, ...) { .name = n, .help = h, .kind = METRIC_HISTOGRAM_K, .labels = { __VA_ARGS__ } }

void metric_register(struct metric_family *f);			/* once, at start; families without a metric show nothing */
void metric_register_kept(struct metric_family *f);		/* the same, and marks it `keep` */
struct metric *metric_get_n(struct metric_family *f, const struct slice *values); /* one for each label; a reference for the caller */
struct metric *metric_get(struct metric_family *f, ...);	/* const char * for each label */
/* The metric without labels, made when it first counts: what never happened is not shown. AT keeps its reference for good. */
struct metric *metric_lazy(struct metric_family *f, _Atomic(struct metric *) *at);
void metric_unref(struct metric **m);
void metric_add(struct metric *m, int64_t n);			/* NULL is ignored */
void metric_set(struct metric *m, int64_t n);
int64_t metric_value(const struct metric *m);
void metric_observe(struct metric *m, double v);		/* histograms */
int64_t metric_read(struct metric_family *f, ...);		/* by label values; 0 when there is none */

void metrics_put_prometheus(struct buf *b, const char *prefix);	/* text format 0.0.4 */
void metrics_put_json(struct buf *b, const char *prefix);	/* upstream's shape: {"name":{"help":…,"type":…,"value":{…}}} */
struct metric_family *metrics_first(void);			/* for --dump-metric-metadata */
const double *metric_buckets(const struct metric_family *f);	/* ends with 0 */
