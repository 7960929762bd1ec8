/* SPDX-License-Identifier: Apache-2.0 */
/*
 * route - from a scheduled queue to a ready queue: pool, weighted round robin over its sources, mail exchangers, site.
 *
 * What was found is kept with the queue until the configuration or the MX answer has run out, so that the usual insertion looks nothing up.
 *
 * Thread:  any.   Memory: pool_state belongs to its queue (under its lock).   Yields: when something has to be asked for.
 */
#pragma once
#include "queue/ready/ready.h"

enum route_result {
	ROUTE_INSERTED = 0,
	ROUTE_FULL,		/* every eligible ready queue is full */
	ROUTE_DELAY,		/* all sources are suspended or throttled: *DELAY_MS until one is not */
	ROUTE_NO_SOURCES,
	ROUTE_FAILED,		/* err_text says why */
};
/* Inserts M into one of the queue's ready queues; takes the reference over when ROUTE_INSERTED. Yields unless all is cached. */
enum route_result route_insert(struct sched_queue *q, struct conf *conf, struct msg *m, int64_t *delay_ms);

void pool_state_free(struct pool_state **p);
bool route_feeds(struct sched_queue *q, const struct ready_queue *r);	/* whether Q has sent there lately */

/* Weighted round robin as the Linux Virtual Server does it: the index of the next of N weights (0: not eligible); -1: none is. */
struct wrr {
	uint32_t index, weight;
};
int wrr_next(struct wrr *w, const uint32_t *weights, int n);

/* The site name and mail exchangers of a domain under CONF's protocol. *MX may come out NULL. Yields on a miss. */
int route_site(const struct conf *conf, struct slice route_domain, struct mx_site **mx, struct slice *site) WARN_UNUSED;
