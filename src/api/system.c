/* SPDX-License-Identifier: Apache-2.0 */
/* Endpoints about the process itself: liveness, metrics, the policy's epoch, the diagnostic filter. */
#include "api/api.h"
#include "api/inject.h"
#include "policy/host.h"
#include "queue/intake.h"
#include "rt/diag.h"
#include "rt/fiber.h"
#include "rt/metrics.h"
#include <stdlib.h>

void api_check_liveness(struct api_call *c)
{
	const char *refusal = intake_refusal();

	c->resp->status = refusal ? 503 : 200;
	buf_cstr_put(&c->resp->body, !refusal ? "OK" : intake_state() == INTAKE_DISK ? "storage is too full" : refusal);
}

struct metrics_query {
	struct slice prefix;
};
static const struct opt_field METRICS_FIELDS[] = { OPT_STR(struct metrics_query, prefix, "", "put in front of each name"), OPT_END };
static const struct opt_desc METRICS_QUERY = { .name = "", .fields = METRICS_FIELDS, .size = sizeof(struct metrics_query), .open = true };

static void put_metrics(struct api_call *c, const char *type, void (*put)(struct buf *b, const char *prefix))
{
	struct metrics_query q;

	if (api_query(c, &METRICS_QUERY, &q) < 0)
		return;
	c->resp->content_type = slice_from_cstr(type);
	put(&c->resp->body, arena_strdup(c->arena, q.prefix));
}

void api_metrics(struct api_call *c) { put_metrics(c, "text/plain; charset=utf-8", metrics_put_prometheus); }
void api_metrics_json(struct api_call *c) { put_metrics(c, "application/json; charset=utf-8", metrics_put_json); }

void api_task_dump(struct api_call *c)
{
	c->resp->content_type = SLICE("text/plain; charset=utf-8");
	rt_fibers_dump(&c->resp->body);
}

void api_bump_config_epoch(struct api_call *c)
{
	policy_bump_epoch();
}

struct log_filter {
	struct slice filter;
};
static const struct opt_field LOG_FILTER_FIELDS[] = {
	OPT_STR(struct log_filter, filter, NULL, "what KUMOD_LOG would say: \"kumod=debug,info\"", .required = true),
	OPT_END
};
static const struct opt_desc API_LOG_FILTER_REQUEST = { .name = "", .fields = LOG_FILTER_FIELDS, .size = sizeof(struct log_filter), .open = true };

void api_set_diagnostic_log_filter(struct api_call *c)
{
	struct log_filter f;

	if (api_body(c, &API_LOG_FILTER_REQUEST, &f) < 0)
		return;
	if (diag_set_filter(arena_strdup(c->arena, f.filter)) < 0)
		http_respond(c->resp, 500, "Error: %s", err_text());
}
