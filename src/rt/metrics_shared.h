/* SPDX-License-Identifier: Apache-2.0 */
/* metrics_shared - families in which several modules count, each under a service of its own.  Thread: any.   Memory: static.   Yields: never. */
#pragma once
#include "rt/metrics.h"

extern struct metric_family METRIC_CONNECTION_COUNT;	/* service */
extern struct metric_family METRIC_CONNECTION_TOTAL;	/* service */
extern struct metric_family METRIC_CONNECTIONS_DENIED;	/* service */
extern struct metric_family METRIC_MESSAGES_RECEIVED;	/* service */
void metrics_shared_register(void);
void pool_metrics_register(void);	/* thread_pool_*, after rt_init */
