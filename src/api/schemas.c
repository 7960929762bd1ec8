/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shapes of requests and answers, for the OpenAPI document, in a short notation:
 *
 *	string, string:uuid, integer, …	a type, with its format	T?	or null		Name	another shape of this table
 *	[T]	a list			{T}	a map of them		'a' 'b'	one of these words
 *	(a! T; b T)	an object; a must be there			A | B	one of them	A & B	all of them
 */
#include "api/openapi.h"

const struct api_schema API_SCHEMAS[] = {
	{ "AbortReadyQConnV1Request", "(queue_name! string; session_id! string:uuid)" },
	{ "Attachment", "(base64 boolean; content_id string?; content_type! string; data! string; file_name string?)" },
	{ "BounceV1CancelRequest", "(id! string:uuid)" },
	{ "BounceV1ListEntry", "(bounced! {integer}; campaign string?; domain string?; duration! string; id! string:uuid; reason! string; routing_domain string?; tenant string?; "
	  "total_bounced! integer)" },
	{ "BounceV1Request", "(campaign string?; domain string?; duration string?; expires string:date-time?; queue_names [string]; reason! string; routing_domain string?; "
	  "suppress_logging boolean; tenant string?)" },
	{ "BounceV1Response", "(bounced! {integer}; id! string:uuid; total_bounced! integer)" },
	{ "CeilingSource", "(kind! 'additional'; name! string) | (kind! 'other'; name! string) | (kind! 'primary') | (kind! 'reconnect_cycling')" },
	{ "Content", "string | (amp_html_body string?; attachments [Attachment]; from FromHeader?; headers {string}; html_body string?; reply_to FromHeader?; "
	  "subject string?; text_body string?)" },
	{ "DispatcherPhase", "'AttemptingConnection' | 'Closing' | 'ConnectionRateThrottled' | 'DeliveringMessage' | 'Idle' | 'MessageRateThrottled' | 'Starting' | (AccumulatingBatch! (have! integer:u-int32; "
	  "want! integer:u-int32)) | (AcquiringLease! (label! string))" },
	{ "DispatcherSummary", "(age! string; delivered_this_connection! integer:u-int64; detail string?; messages_delivered! integer:u-int64; messages_failed! integer:u-int64; "
	  "messages_transfailed! integer:u-int64; overall_rate_per_sec! number:double; phase! DispatcherPhase; session_id! string:uuid; "
	  "started_at! string:date-time; time_in_current_phase! string)" },
	{ "EffectiveCeiling", "(display! string; source! CeilingSource; value! number:double)" },
	{ "EffectiveConstraints", "(max_concurrent_dispatchers! EffectiveCeiling; max_connection_rate EffectiveCeiling?; max_message_rate EffectiveCeiling?; "
	  "max_message_rate_declared string?; max_source_selection_rate EffectiveCeiling?)" },
	{ "FromHeader", "(email! string:email; name string?)" },
	{ "HttpTraceHeaders", "TraceHeaders" },
	{ "InjectV1Request", "(content! Content; deferred_generation boolean; deferred_spool boolean; envelope_sender! string:email; recipients! [Recipient]; substitutions object; "
	  "template_dialect TemplateDialectWithSchema |; trace_headers HttpTraceHeaders)" },
	{ "InjectV1Response", "(errors! [string]; fail_count! integer; failed_recipients! [string:email]; success_count! integer)" },
	{ "InspectMessageV1Response", "(id! SpoolId; message! MessageInformation)" },
	{ "InspectQueueV1Response", "(delayed_metric! integer; last_changed! string:date-time; messages! [InspectMessageV1Response]; now! string:date-time; num_scheduled! integer; "
	  "queue_config! object; queue_name! string)" },
	{ "InspectReadyQV1Response", "(constraints! EffectiveConstraints; dispatchers! [DispatcherSummary]; egress_pool! string; egress_source! string; mx MxResolution?; "
	  "now! string:date-time; path_config! object; protocol! string; queue_name! string; scheduled_queue_names [string]?; state! ReadyQueueStateSnapshot)" },
	{ "MachineInfoV1", "(container_runtime string?; cpu_brand! string; distribution! string; fingerprint! string; hostname! string; kernel_version string?; "
	  "mac_address! string; node_id! string; num_cores! integer; online_since! string:date-time; os_version! string; platform! string; process_kind! string; "
	  "total_memory_bytes! integer:u-int64; version! string)" },
	{ "MessageInformation", "(data string?; due string:date-time?; meta! object; num_attempts integer:u-int16?; recipient! [string:email]; scheduling object; sender! string)" },
	{ "MxResolution", "(by_preference! {[string]}; is_domain_literal! boolean; is_mx! boolean; is_secure! boolean; site_name! string)" },
	{ "QueueState", "(context! string; since! string:date-time)" },
	{ "ReadyQueueStateResponse", "(states_by_ready_queue! {{QueueState}})" },
	{ "ReadyQueueStateSnapshot", "(connection_count! integer; connection_limited QueueState?; connection_rate_throttled QueueState?; ready_count! integer; "
	  "suspended SuspendReadyQueueV1ListEntry?; watchdog_threshold! string)" },
	{ "RebindV1Request", "(always_flush boolean; campaign string?; data! {string}; domain string?; reason! string; routing_domain string?; suppress_logging boolean; "
	  "tenant string?; trigger_rebind_event boolean)" },
	{ "RebindV1Response", "object" },
	{ "Recipient", "(email! string:email; metadata object; name string?; substitutions object)" },
	{ "ResolveEgressPathV1Response", "(constraints! EffectiveConstraints; domain! string; mx MxResolution?; path_config! object; queue_config! object; queue_name! string; source! string)" },
	{ "SetDiagnosticFilterRequest", "(filter! string)" },
	{ "SpoolCompactV1Request", "(name! string)" },
	{ "SpoolId", "string" },
	{ "SuspendReadyQueueV1ListEntry", "(duration! string; expires! string:date-time; id! string:uuid; name! string; reason! string)" },
	{ "SuspendReadyQueueV1Request", "(duration string?; expires string:date-time?; name! string; reason! string)" },
	{ "SuspendV1CancelRequest", "(id! string:uuid)" },
	{ "SuspendV1ListEntry", "(campaign string?; domain string?; duration! string; id! string:uuid; reason! string; tenant string?)" },
	{ "SuspendV1Request", "(campaign string?; domain string?; duration string?; expires string:date-time?; queue_names [string]; reason! string; tenant string?)" },
	{ "SuspendV1Response", "(id! string:uuid)" },
	{ "TemplateDialectWithSchema", "'Jinja' 'Static' 'Handlebars'" },
	{ "TraceHeaders", "(header_name string; include_meta_names [string]; received_header boolean; supplemental_header boolean)" },
	{ "XferCancelV1Request", "(queue_name! string; reason! string)" },
	{ "XferCancelV1Response", "object" },
	{ "XferProtocol", "(target! string:uri)" },
	{ "XferResponseV1", "(id! SpoolId)" },
	{ "XferV1Request", "XferProtocol & (campaign string?; domain string?; queue_names [string]; reason! string; routing_domain string?; tenant string?)" },
	{ "XferV1Response", "object" },
	{ NULL, NULL },
};
