/* SPDX-License-Identifier: Apache-2.0 */
#include "rt/metrics_shared.h"

struct metric_family METRIC_CONNECTION_COUNT = METRIC_GAUGE("connection_count", "number of active connections", "service");
struct metric_family METRIC_CONNECTION_TOTAL = METRIC_COUNTER("total_connection_count", "total number of connections", "service");
struct metric_family METRIC_CONNECTIONS_DENIED = METRIC_COUNTER("total_connections_denied", "connections refused because of load or limits", "service");
struct metric_family METRIC_MESSAGES_RECEIVED = METRIC_COUNTER("total_messages_received", "total number of messages ever received", "service");

void metrics_shared_register(void)
{
	metric_register(&METRIC_CONNECTION_COUNT);
	metric_register(&METRIC_CONNECTION_TOTAL);
	metric_register(&METRIC_CONNECTIONS_DENIED);
	metric_register_kept(&METRIC_MESSAGES_RECEIVED);
}
