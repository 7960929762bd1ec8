/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metrics - what the ESMTP server counts. A metric that has counted nothing yet is not shown, so most are made when they are first needed.
 *
 * Thread:  any.   Memory: for the life of the process.   Yields: never.
 */
#pragma once
#include "rt/metrics.h"

struct smtp_metrics {
	struct metric *connections, *denied;
};
extern struct smtp_metrics smtp_metrics;
void smtp_metrics_register(void);
void smtp_metrics_count_received(const char *listener);		/* a transaction that was answered with 250 */
void smtp_metrics_count_rejection(const char *listener);
enum smtp_duration { SMTP_DUR_TRANSACTION, SMTP_DUR_READ_DATA, SMTP_DUR_PROCESS_DATA, SMTP_DUR_COUNT };
void smtp_metrics_observe(enum smtp_duration d, double seconds);
