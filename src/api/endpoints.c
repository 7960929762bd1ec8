/* SPDX-License-Identifier: Apache-2.0 */
/* The table of kumod's endpoints. Methods of a path stand in the order in which "allow" names them. */
#include "api/api.h"
#include "api/inject.h"

#define ADMIN "/api/admin/"

static const struct api_endpoint KUMOD_ENDPOINTS[] = {
	{ "GET", "/api/check-liveness/v1", api_check_liveness, "200 when mail can be taken, 503 when not", .statuses = "503" },
	{ "POST", "/api/inject/v1", api_inject, "inject a message to a list of recipients", .request = "InjectV1Request", .response = "InjectV1Response", .statuses = "422" },
	{ "GET", "/metrics", api_metrics, "metrics as Prometheus reads them", .response = "text/plain" },
	{ "GET", "/metrics.json", api_metrics_json, "metrics as JSON", .response = "application/json" },
	{ "POST", ADMIN "bounce/v1", api_bounce_post, "bounce what waits in matching queues", .request = "BounceV1Request", .response = "BounceV1Response" },
	{ "DELETE", ADMIN "bounce/v1", api_bounce_delete, "end a bounce entry", .request = "BounceV1CancelRequest", .statuses = "404" },
	{ "GET", ADMIN "bounce/v1", api_bounce_get, "list bounce entries", .response = "[BounceV1ListEntry]" },
	{ "POST", ADMIN "suspend/v1", api_suspend_post, "suspend delivery of matching queues", .request = "SuspendV1Request", .response = "SuspendV1Response" },
	{ "DELETE", ADMIN "suspend/v1", api_suspend_delete, "end a suspension", .request = "SuspendV1CancelRequest", .statuses = "404" },
	{ "GET", ADMIN "suspend/v1", api_suspend_get, "list suspensions", .response = "SuspendV1ListEntry" },
	{ "POST", ADMIN "suspend-ready-q/v1", api_suspend_ready_q_post, "suspend a ready queue", .request = "SuspendReadyQueueV1Request", .response = "SuspendV1Response" },
	{ "DELETE", ADMIN "suspend-ready-q/v1", api_suspend_ready_q_delete, "end the suspension of a ready queue", .request = "SuspendV1CancelRequest", .statuses = "404" },
	{ "GET", ADMIN "suspend-ready-q/v1", api_suspend_ready_q_get, "list suspended ready queues", .response = "SuspendReadyQueueV1ListEntry" },
	{ "GET", ADMIN "ready-q-states/v1", api_ready_q_states, "what ready queues wait for", .params = "(queues [string])", .response = "ReadyQueueStateResponse" },
	{ "POST", ADMIN "rebind/v1", api_rebind, "move messages to other queues", .request = "RebindV1Request", .response = "RebindV1Response" },
	{ "POST", ADMIN "xfer/v1", api_xfer, "move messages to another node", .request = "XferV1Request", .response = "XferV1Response" },
	{ "POST", ADMIN "xfer/cancel/v1", api_xfer_cancel, "stop moving messages to another node", .request = "XferCancelV1Request", .response = "XferCancelV1Response" },
	{ "POST", "/api/xfer/inject/v1", api_xfer_inject, "take a message over from another node", .request = "text/plain: string", .response = "XferResponseV1" },
	{ "POST", ADMIN "bump-config-epoch", api_bump_config_epoch, "have the policy read again" },
	{ "POST", ADMIN "set_diagnostic_log_filter/v1", api_set_diagnostic_log_filter, "change what is logged for diagnosis", .request = "SetDiagnosticFilterRequest" },
	{ "POST", ADMIN "spool-compact/v1", api_spool_compact, "flush and compact a spool", .request = "SpoolCompactV1Request" },
	{ "GET", ADMIN "memory/stats", api_memory_stats, "memory in use, for people to read" },
	{ "GET", ADMIN "task-dump", api_task_dump, "what all fibers wait for, for people to read" },
	{ "GET", "/api/machine-info", api_machine_info, "what machine and version this is", .response = "MachineInfoV1" },
	{ "GET", ADMIN "inspect-message/v1", api_inspect_message, "show a message", .params = "(id! SpoolId; want_body boolean)", .response = "InspectMessageV1Response" },
	{ "GET", ADMIN "inspect-sched-q/v1", api_inspect_sched_q, "show a scheduled queue", .params = "(queue_name! string; want_body boolean; limit integer?)",
	  .response = "InspectQueueV1Response" },
	{ "GET", ADMIN "inspect-ready-q/v1", api_inspect_ready_q, "show a ready queue and its connections", .params = "(queue_name! string; include_scheduled_queues boolean)",
	  .response = "InspectReadyQV1Response", .statuses = "404" },
	{ "POST", ADMIN "abort-ready-q-conn/v1", api_abort_ready_q_conn, "end one connection of a ready queue", .request = "AbortReadyQConnV1Request", .statuses = "404" },
	{ "GET", ADMIN "resolve-egress-path/v1", api_resolve_egress_path, "how mail would go from a source to a domain", .params = "(domain! string; source string?)",
	  .response = "ResolveEgressPathV1Response" },
	{ "GET", ADMIN "trace-smtp-server/v1", api_trace_smtp_server, "a WebSocket that tells what receptions do", .upgrades = true },
	{ "GET", ADMIN "trace-smtp-client/v1", api_trace_smtp_client, "a WebSocket that tells what deliveries do", .upgrades = true },
	{ "GET", "/api-docs/openapi.json", api_openapi, "this interface as an OpenAPI document", .hidden = true },
	{ "GET", "/rapidoc", api_rapidoc, "this interface as a page", .hidden = true },
	{ NULL, NULL, NULL, NULL },
};

void api_kumod_register(void)
{
	api_register();
	inject_register();
	xfer_register();
	api_trace_register();
	api_set_endpoints(KUMOD_ENDPOINTS);
}
