/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api - HTTP endpoints: one table from which routing, access and the OpenAPI document follow.
 *
 * An endpoint is a function over a request whose caller is known and admitted already. It reads its arguments through an option table, which
 * also says what the document shows, and answers with a value.
 *
 * Thread:  fibers of any shard.   Memory: the request's arena.   Yields: endpoints may.
 */
#pragma once
#include "codec/opt.h"
#include "net/http_server.h"
#include "rt/io.h"

struct api_call {
	struct http_request *req;
	struct http_response *resp;
	struct arena *arena;
	struct val auth;		/* AuthInfo, see api/aaa.h */
};
struct api_endpoint {
	const char *method, *path;
	void (*fn)(struct api_call *c);
	const char *summary;
	/* for the document, in the notation of schemas.c: */
	const char *params;		/* of the query, as an object */
	const char *request, *response;	/* a shape; "text/plain: shape" or "text/plain" where it is no JSON; NULL: nothing */
	const char *statuses;		/* besides 200 */
	bool hidden;			/* not in the document */
	bool upgrades;			/* to a WebSocket: no 200 */
};

/* Reads the body or the query as the table says, after checks of the content type. Negative: the response says what is wrong. Yields. */
int api_body(struct api_call *c, const struct opt_desc *d, void *out) WARN_UNUSED;
int api_body_with_val(struct api_call *c, const struct opt_desc *d, void *out, struct val *v) WARN_UNUSED;	/* both */
struct slice api_listener_hostname(const struct api_call *c);			/* of the listener that the request came in by */
int api_query(struct api_call *c, const struct opt_desc *d, void *out) WARN_UNUSED;
void api_json(struct api_call *c, const struct val *v);
void api_fail(struct api_call *c, int rc);					/* "Error: …": 404 for -E_NOENT, 400 for -E_INVAL, else 500 */
int opt_read_uuid(struct opt_ctx *c, const struct val *in, void *out);		/* struct uuid */

/* The table of this program; ends with an entry without a method. Set before a listener is started. */
void api_set_endpoints(const struct api_endpoint *table);
#define API_PROCESS_KIND "kumod"
const struct api_endpoint *api_endpoints(void);

/* kumo.start_http_listener: binds and serves from now on; prints "http listener on ADDRESS". */
int api_listener_check(const struct val *opts) WARN_UNUSED;	/* the options only */
int api_listener_start(const struct val *opts) WARN_UNUSED;
void api_listeners_stop(void);
void api_register(void);	/* events; before the policy is loaded */
void api_kumod_register(void);	/* the same, and kumod's endpoints and injection */

/* --- endpoints, a file each ------------------------------------------------------------------------------------------- */
void api_metrics(struct api_call *c);
void api_metrics_json(struct api_call *c);
void api_check_liveness(struct api_call *c);
void api_bump_config_epoch(struct api_call *c);
void api_set_diagnostic_log_filter(struct api_call *c);
void api_machine_info(struct api_call *c);
void api_memory_stats(struct api_call *c);
void api_task_dump(struct api_call *c);
void api_spool_compact(struct api_call *c);
void api_openapi(struct api_call *c);
void api_rapidoc(struct api_call *c);
void api_openapi_put(struct buf *b, const struct api_endpoint *table, const char *title);	/* --dump-openapi-spec */
void api_inject(struct api_call *c);
void api_bounce_post(struct api_call *c);
void api_bounce_get(struct api_call *c);
void api_bounce_delete(struct api_call *c);
void api_suspend_post(struct api_call *c);
void api_suspend_get(struct api_call *c);
void api_suspend_delete(struct api_call *c);
void api_suspend_ready_q_post(struct api_call *c);
void api_suspend_ready_q_get(struct api_call *c);
void api_suspend_ready_q_delete(struct api_call *c);
void api_rebind(struct api_call *c);
void api_xfer(struct api_call *c);
void api_trace_smtp_server(struct api_call *c);
void api_trace_smtp_client(struct api_call *c);
void api_xfer_inject(struct api_call *c);
void api_trace_register(void);	/* takes what deliveries tell */
void xfer_register(void);	/* its event and the queues' protocol */
void api_xfer_cancel(struct api_call *c);
void api_ready_q_states(struct api_call *c);
void api_inspect_message(struct api_call *c);
void api_inspect_sched_q(struct api_call *c);
void api_inspect_ready_q(struct api_call *c);
void api_abort_ready_q_conn(struct api_call *c);
void api_resolve_egress_path(struct api_call *c);
