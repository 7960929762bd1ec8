/* SPDX-License-Identifier: Apache-2.0 */
/* The table of kumod's endpoints. Methods of a path stand in the order in which "allow" names them. */
#include "api/api.h"
#include "api/inject.h"

const struct api_endpoint KUMOD_ENDPOINTS[] = {
	{ "GET", "/api/check-liveness/v1", api_check_liveness, NULL, NULL, "200 when mail can be taken, 503 when not" },
	{ "POST", "/api/inject/v1", api_inject, NULL, &API_INJECT_REQUEST, "inject a message to a list of recipients" },
	{ "GET", "/metrics", api_metrics, NULL, NULL, "metrics as Prometheus reads them" },
	{ "GET", "/metrics.json", api_metrics_json, NULL, NULL, "metrics as JSON" },
	{ "POST", "/api/admin/bounce/v1", api_bounce_post, NULL, &API_BOUNCE_REQUEST, "bounce what waits in matching queues" },
	{ "DELETE", "/api/admin/bounce/v1", api_bounce_delete, NULL, &API_ID_REQUEST, "end a bounce entry" },
	{ "GET", "/api/admin/bounce/v1", api_bounce_get, NULL, NULL, "list bounce entries" },
	{ "POST", "/api/admin/suspend/v1", api_suspend_post, NULL, &API_SUSPEND_REQUEST, "suspend delivery of matching queues" },
	{ "DELETE", "/api/admin/suspend/v1", api_suspend_delete, NULL, &API_ID_REQUEST, "end a suspension" },
	{ "GET", "/api/admin/suspend/v1", api_suspend_get, NULL, NULL, "list suspensions" },
	{ "POST", "/api/admin/suspend-ready-q/v1", api_suspend_ready_q_post, NULL, &API_SUSPEND_READY_Q_REQUEST, "suspend a ready queue" },
	{ "DELETE", "/api/admin/suspend-ready-q/v1", api_suspend_ready_q_delete, NULL, &API_ID_REQUEST, "end the suspension of a ready queue" },
	{ "GET", "/api/admin/suspend-ready-q/v1", api_suspend_ready_q_get, NULL, NULL, "list suspended ready queues" },
	{ "GET", "/api/admin/ready-q-states/v1", api_ready_q_states, &API_READY_Q_STATES_QUERY, NULL, "what ready queues wait for" },
	{ "POST", "/api/admin/rebind/v1", api_rebind, NULL, &API_REBIND_REQUEST, "move messages to other queues" },
	{ "POST", "/api/admin/xfer/v1", api_xfer, NULL, &API_XFER_REQUEST, "move messages to another node" },
	{ "POST", "/api/xfer/inject/v1", api_xfer_inject, NULL, NULL, "take a message over from another node" },
	{ "POST", "/api/admin/xfer/cancel/v1", api_xfer_cancel, NULL, &API_XFER_CANCEL_REQUEST, "stop moving messages to another node" },
	{ "POST", "/api/admin/bump-config-epoch", api_bump_config_epoch, NULL, NULL, "have the policy read again" },
	{ "POST", "/api/admin/set_diagnostic_log_filter/v1", api_set_diagnostic_log_filter, NULL, &API_LOG_FILTER_REQUEST, "change what is logged for diagnosis" },
	{ "POST", "/api/admin/spool-compact/v1", api_spool_compact, NULL, &API_SPOOL_COMPACT_REQUEST, "flush and compact a spool" },
	{ "GET", "/api/admin/memory/stats", api_memory_stats, NULL, NULL, "memory in use, for people to read" },
	{ "GET", "/api/machine-info", api_machine_info, NULL, NULL, "what machine and version this is" },
	{ "GET", "/api-docs/openapi.json", api_openapi, NULL, NULL, "this interface as an OpenAPI document" },
	{ "GET", "/rapidoc", api_rapidoc, NULL, NULL, "this interface as a page" },
	{ "GET", "/api/admin/inspect-message/v1", api_inspect_message, &API_INSPECT_MESSAGE_QUERY, NULL, "show a message" },
	{ "GET", "/api/admin/inspect-sched-q/v1", api_inspect_sched_q, &API_INSPECT_SCHED_Q_QUERY, NULL, "show a scheduled queue" },
	{ "GET", "/api/admin/inspect-ready-q/v1", api_inspect_ready_q, &API_INSPECT_READY_Q_QUERY, NULL, "show a ready queue and its connections" },
	{ "POST", "/api/admin/abort-ready-q-conn/v1", api_abort_ready_q_conn, NULL, &API_ABORT_READY_Q_CONN_REQUEST, "end one connection of a ready queue" },
	{ "GET", "/api/admin/resolve-egress-path/v1", api_resolve_egress_path, &API_RESOLVE_EGRESS_PATH_QUERY, NULL, "how mail would go from a source to a domain" },
	{ NULL, NULL, NULL, NULL, NULL, NULL },
};

void api_kumod_register(void)
{
	api_register();
	inject_register();
	xfer_register();
	api_set_endpoints(KUMOD_ENDPOINTS);
}
