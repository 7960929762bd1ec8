/* SPDX-License-Identifier: Apache-2.0 */
/* metrics - what the ESMTP server counts.  Thread: any.   Memory: for the life of the process.   Yields: never. */
#pragma once
#include "rt/metrics.h"

struct smtp_metrics {
	struct metric *connections, *denied, *received, *rejections_total;
	struct metric *transaction, *read_data, *process_data;	/* durations in seconds */
};
extern struct smtp_metrics smtp_metrics;
void smtp_metrics_register(void);
struct metric *smtp_metrics_received_by(const char *listener);
struct metric *smtp_metrics_rejections_by(const char *listener);
