/* SPDX-License-Identifier: Apache-2.0 */
#include "smtp/server/metrics.h"

#include "rt/metrics_shared.h"

#define SERVICE "esmtp_listener"

static struct metric_family REJECTIONS = METRIC_COUNTER("smtp_server_rejections", "how many commands of clients were refused", "service");
static struct metric_family TRANSACTION = METRIC_HISTOGRAM("smtpsrv_transaction_duration", "seconds from MAIL FROM to the answer to the message", NULL);
static struct metric_family READ_DATA = METRIC_HISTOGRAM("smtpsrv_read_data_duration", "seconds it took to read a message", NULL);
static struct metric_family PROCESS_DATA = METRIC_HISTOGRAM("smtpsrv_process_data_duration", "seconds from the end of a message to its answer", NULL);
struct smtp_metrics smtp_metrics;

void smtp_metrics_register(void)
{
	static struct metric_family *const ALL[] = { &REJECTIONS, &TRANSACTION, &READ_DATA, &PROCESS_DATA };
	for (size_t i = 0; i < sizeof ALL / sizeof ALL[0]; i++)
		metric_register(ALL[i]);
	smtp_metrics.connections = metric_get(&METRIC_CONNECTION_COUNT, SERVICE);
	smtp_metrics.denied = metric_get(&METRIC_CONNECTIONS_DENIED, SERVICE);
	smtp_metrics.received = metric_get(&METRIC_MESSAGES_RECEIVED, SERVICE);
	smtp_metrics.rejections_total = metric_get(&REJECTIONS, "total");
	smtp_metrics.transaction = metric_get(&TRANSACTION);
	smtp_metrics.read_data = metric_get(&READ_DATA);
	smtp_metrics.process_data = metric_get(&PROCESS_DATA);
}

struct metric *smtp_metrics_received_by(const char *listener)
{
	struct buf name = { 0 };
	buf_printf(&name, SERVICE ":%s", listener);
	struct metric *m = metric_get(&METRIC_MESSAGES_RECEIVED, buf_cstr(&name));
	buf_fini(&name);
	return m;
}

struct metric *smtp_metrics_rejections_by(const char *listener)
{
	return metric_get(&REJECTIONS, listener);
}
