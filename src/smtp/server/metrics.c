/* SPDX-License-Identifier: Apache-2.0 */
#include "smtp/server/metrics.h"

#include <stdatomic.h>

#include "rt/metrics_shared.h"

#define SERVICE "esmtp_listener"

static struct metric_family REJECTIONS = METRIC_COUNTER("smtp_server_rejections", "how many commands of clients were refused", "service");
static struct metric_family DURATIONS[SMTP_DUR_COUNT] = {
	[SMTP_DUR_TRANSACTION] = METRIC_HISTOGRAM("smtpsrv_transaction_duration", "seconds from MAIL FROM to the answer to the message", NULL),
	[SMTP_DUR_READ_DATA] = METRIC_HISTOGRAM("smtpsrv_read_data_duration", "seconds it took to read a message", NULL),
	[SMTP_DUR_PROCESS_DATA] = METRIC_HISTOGRAM("smtpsrv_process_data_duration", "seconds from the end of a message to its answer", NULL),
};
static _Atomic(struct metric *) durations[SMTP_DUR_COUNT];
struct smtp_metrics smtp_metrics;

/* The last listener that counted, by thread: nearly always the same. */
struct by_listener {
	const char *listener;
	struct metric *own, *total;
};
static __thread struct by_listener received, rejected;

void smtp_metrics_register(void)
{
	metric_register_kept(&REJECTIONS);
	for (int i = 0; i < SMTP_DUR_COUNT; i++)
		metric_register(&DURATIONS[i]);
	smtp_metrics.connections = metric_get(&METRIC_CONNECTION_COUNT, SERVICE);
	smtp_metrics.denied = metric_get(&METRIC_CONNECTIONS_DENIED, SERVICE);
}

static void count(struct by_listener *by, struct metric_family *f, const char *total, const char *prefix, const char *listener)
{
	if (by->listener != listener) {
		struct buf name = { 0 };
		metric_unref(&by->own);
		buf_printf(&name, "%s%s", prefix, listener);
		by->own = metric_get(f, buf_cstr(&name));
		buf_fini(&name);
		if (by->total == NULL)
			by->total = metric_get(f, total);
		by->listener = listener;
	}
	metric_add(by->own, 1);
	metric_add(by->total, 1);
}

void smtp_metrics_count_received(const char *listener)
{
	count(&received, &METRIC_MESSAGES_RECEIVED, SERVICE, SERVICE ":", listener);
}

void smtp_metrics_count_rejection(const char *listener)
{
	count(&rejected, &REJECTIONS, "total", "", listener);
}

void smtp_metrics_observe(enum smtp_duration d, double seconds)
{
	struct metric *m = atomic_load_explicit(&durations[d], memory_order_acquire);
	if (m == NULL) {
		m = metric_get(&DURATIONS[d]);
		atomic_store_explicit(&durations[d], m, memory_order_release);
	}
	metric_observe(m, seconds);
}
