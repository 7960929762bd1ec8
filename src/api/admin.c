/* SPDX-License-Identifier: Apache-2.0 */
/* Endpoints that bounce, suspend, rebind and transfer: they parse and print, queue/admin.h does it. */
#include "api/api.h"
#include "base/timefmt.h"
#include "queue/admin.h"
#include "queue/name.h"
#include "rt/clock.h"

struct criteria_opts {
	struct slice campaign, tenant, domain, routing_domain, reason;
	int64_t duration;
	bool has_duration, suppress_logging;
	int64_t expires_us;		/* 0: not given */
	struct opt_list queue_names;
};

static int read_time(struct opt_ctx *c, const struct val *in, void *out)
{
	if (in->type == VAL_NULL)
		return 0;
	if (in->type != VAL_STR || time_parse_rfc3339(in->s, out) < 0)
		return opt_fail(c, in, "a time as RFC 3339 has it, such as 2026-01-02T03:04:05Z");
	return 0;
}

#define CRITERIA                                                                                        \
	OPT_STR(struct criteria_opts, campaign, NULL, "only queues of this campaign"),                  \
	OPT_STR(struct criteria_opts, tenant, NULL, "only queues of this tenant"),                      \
	OPT_STR(struct criteria_opts, domain, NULL, "only queues of this domain"),                      \
	OPT_STR(struct criteria_opts, routing_domain, NULL, "only queues of this routing domain"),      \
	OPT_STR(struct criteria_opts, reason, NULL, "why; shown in logs and lists", .required = true),  \
	OPT_DURATION(struct criteria_opts, duration, NULL, "how long the entry stays; 5 minutes by default", OPT_PRESENT(struct criteria_opts, has_duration))
#define EXPIRES                                                                                         \
	OPT_F_(struct criteria_opts, expires_us, OPT_T_CUSTOM, NULL, "until when; before duration", .name = "expires", .custom = read_time), \
	OPT_LIST(struct criteria_opts, queue_names, NULL, "exactly these queues; before the other criteria")

static const struct opt_field BOUNCE_FIELDS[] = {
	CRITERIA,
	OPT_BOOL(struct criteria_opts, suppress_logging, "false", "no AdminBounce records"),
	EXPIRES,
	OPT_END
};
static const struct opt_field SUSPEND_FIELDS[] = { CRITERIA, EXPIRES, OPT_END };
static const struct opt_desc API_BOUNCE_REQUEST = { .name = "", .fields = BOUNCE_FIELDS, .size = sizeof(struct criteria_opts) };
static const struct opt_desc API_SUSPEND_REQUEST = { .name = "", .fields = SUSPEND_FIELDS, .size = sizeof(struct criteria_opts) };

struct id_opts {
	struct uuid id;
};
static const struct opt_field ID_FIELDS[] = {
	OPT_CUSTOM(struct id_opts, id, opt_read_uuid, NULL, "which entry", .required = true),
	OPT_END
};
static const struct opt_desc API_ID_REQUEST = { .name = "", .fields = ID_FIELDS, .size = sizeof(struct id_opts) };

static struct queue_criteria criteria_of(const struct criteria_opts *o)
{
	return (struct queue_criteria){ .campaign = o->campaign, .tenant = o->tenant, .domain = o->domain, .routing_domain = o->routing_domain,
					.queue_names = o->queue_names.items, .n_queue_names = o->queue_names.n };
}

static int64_t lifetime_ns(const struct criteria_opts *o)
{
	if (o->expires_us)
		return MAX((o->expires_us - rt_wall_us()) * 1000, (int64_t)0);
	return o->has_duration ? o->duration : QUEUE_ADMIN_DEFAULT_NS;
}

static struct val id_text(struct arena *a, struct uuid id)
{
	struct buf b = { 0 };

	uuid_put(&b, id);
	struct val v = val_str(a, buf_view(&b));
	buf_fini(&b);
	return v;
}

static void answer_id(struct api_call *c, struct uuid id)
{
	struct val v = val_obj();

	val_put_lit(c->arena, &v, "id", id_text(c->arena, id));
	api_json(c, &v);
}

static void answer_list(struct api_call *c, void (*list)(struct arena *a, struct val *list))
{
	struct val v = val_list();

	list(c->arena, &v);
	api_json(c, &v);
}

static void cancel(struct api_call *c, const char *kind, bool (*fn)(struct uuid id))
{
	struct id_opts o;

	if (api_body(c, &API_ID_REQUEST, &o) < 0)
		return;
	struct val id = id_text(c->arena, o.id);
	if (fn(o.id))
		http_respond(c->resp, 200, "removed %.*s", SLICE_ARG(id.s));
	else
		http_respond(c->resp, 404, "%s entry %.*s not found", kind, SLICE_ARG(id.s));
}

/* --- bounce ------------------------------------------------------------------------------------------------------------ */

void api_bounce_post(struct api_call *c)
{
	struct criteria_opts o;
	struct uuid id;

	if (api_body(c, &API_BOUNCE_REQUEST, &o) < 0)
		return;
	struct queue_criteria which = criteria_of(&o);
	int rc = queue_admin_bounce(&which, o.reason, lifetime_ns(&o), o.suppress_logging, &id);
	if (rc < 0) {
		api_fail(c, rc);
		return;
	}
	struct val v = val_obj();
	val_put_lit(c->arena, &v, "id", id_text(c->arena, id));
	val_put_lit(c->arena, &v, "bounced", val_obj());
	val_put_lit(c->arena, &v, "total_bounced", val_int(0));
	api_json(c, &v);
}

void api_bounce_get(struct api_call *c) { answer_list(c, queue_admin_bounce_list); }
void api_bounce_delete(struct api_call *c) { cancel(c, "bounce", queue_admin_bounce_cancel); }

/* --- suspend ----------------------------------------------------------------------------------------------------------- */

void api_suspend_post(struct api_call *c)
{
	struct criteria_opts o;
	struct uuid id;

	if (api_body(c, &API_SUSPEND_REQUEST, &o) < 0)
		return;
	struct queue_criteria which = criteria_of(&o);
	int rc = queue_admin_suspend(&which, o.reason, lifetime_ns(&o), &id);
	if (rc < 0)
		api_fail(c, rc);
	else
		answer_id(c, id);
}

void api_suspend_get(struct api_call *c) { answer_list(c, queue_admin_suspend_list); }
void api_suspend_delete(struct api_call *c) { cancel(c, "suspend", queue_admin_suspend_cancel); }

struct ready_q_opts {
	struct slice name, reason;
	int64_t duration, expires_us;
	bool has_duration;
};
static const struct opt_field READY_Q_FIELDS[] = {
	OPT_STR(struct ready_q_opts, name, NULL, "the ready queue: source->site@protocol", .required = true),
	OPT_STR(struct ready_q_opts, reason, NULL, "why; shown in lists", .required = true),
	OPT_DURATION(struct ready_q_opts, duration, NULL, "how long; 5 minutes by default", OPT_PRESENT(struct ready_q_opts, has_duration)),
	OPT_F_(struct ready_q_opts, expires_us, OPT_T_CUSTOM, NULL, "until when; before duration", .name = "expires", .custom = read_time),
	OPT_END
};
static const struct opt_desc API_SUSPEND_READY_Q_REQUEST = { .name = "", .fields = READY_Q_FIELDS, .size = sizeof(struct ready_q_opts) };

void api_suspend_ready_q_post(struct api_call *c)
{
	struct ready_q_opts o;
	struct uuid id;

	if (api_body(c, &API_SUSPEND_READY_Q_REQUEST, &o) < 0)
		return;
	struct criteria_opts time = { .duration = o.duration, .has_duration = o.has_duration, .expires_us = o.expires_us };
	int rc = queue_admin_suspend_ready_q(o.name, o.reason, lifetime_ns(&time), &id);
	if (rc < 0)
		api_fail(c, rc);
	else
		answer_id(c, id);
}

void api_suspend_ready_q_get(struct api_call *c) { answer_list(c, queue_admin_suspend_ready_q_list); }
void api_suspend_ready_q_delete(struct api_call *c) { cancel(c, "suspend-ready-q", queue_admin_suspend_ready_q_cancel); }

/* --- rebind ------------------------------------------------------------------------------------------------------------ */

struct rebind_opts {
	struct slice campaign, tenant, domain, routing_domain, reason;
	const struct val *data;
	bool trigger_rebind_event, always_flush, suppress_logging;
};

static int read_strings(struct opt_ctx *c, const struct val *in, void *out)
{
	if (in->type != VAL_OBJ)
		return opt_fail_type(c, in, "a map");
	for (uint32_t i = 0; i < in->n; i++) {
		if (in->members[i].val.type != VAL_STR)
			return opt_fail(c, &in->members[i].val, "a string for `%.*s`", SLICE_ARG(in->members[i].key));
	}
	*(const struct val **)out = in;
	return 0;
}

static const struct opt_field REBIND_FIELDS[] = {
	OPT_STR(struct rebind_opts, campaign, NULL, "only queues of this campaign"),
	OPT_STR(struct rebind_opts, tenant, NULL, "only queues of this tenant"),
	OPT_STR(struct rebind_opts, domain, NULL, "only queues of this domain"),
	OPT_STR(struct rebind_opts, routing_domain, NULL, "only queues of this routing domain"),
	OPT_STR(struct rebind_opts, reason, NULL, "why; in the AdminRebind records", .required = true),
	OPT_CUSTOM(struct rebind_opts, data, read_strings, NULL, "metadata to set, or what the event rebind_message is given", .required = true),
	OPT_BOOL(struct rebind_opts, trigger_rebind_event, "false", "let the policy decide, by the event rebind_message"),
	OPT_BOOL(struct rebind_opts, always_flush, "false", "due at once, even if the queue stays the same"),
	OPT_BOOL(struct rebind_opts, suppress_logging, "false", "no AdminRebind records"),
	OPT_END
};
static const struct opt_desc API_REBIND_REQUEST = { .name = "", .fields = REBIND_FIELDS, .size = sizeof(struct rebind_opts) };

static void answer_empty(struct api_call *c, int rc)
{
	struct val v = val_obj();

	if (rc < 0)
		api_fail(c, rc);
	else
		api_json(c, &v);
}

void api_rebind(struct api_call *c)
{
	struct rebind_opts o;

	if (api_body(c, &API_REBIND_REQUEST, &o) < 0)
		return;
	struct queue_rebind r = {
		.which = { .campaign = o.campaign, .tenant = o.tenant, .domain = o.domain, .routing_domain = o.routing_domain },
		.reason = o.reason, .data = o.data,
		.trigger_rebind_event = o.trigger_rebind_event, .always_flush = o.always_flush, .suppress_logging = o.suppress_logging,
	};
	answer_empty(c, queue_admin_rebind(&r));
}

/* --- transfer ---------------------------------------------------------------------------------------------------------- */

struct xfer_opts {
	struct slice campaign, tenant, domain, routing_domain, reason, target;
	struct opt_list queue_names;
};

static int read_url(struct opt_ctx *c, const struct val *in, void *out)
{
	if (in->type != VAL_STR)
		return opt_fail_type(c, in, "a string representing an URL");
	struct buf name = { 0 };
	int rc = queue_name_xfer_put(&name, in->s);
	buf_fini(&name);
	if (rc < 0)
		return opt_fail(c, in, "an absolute URL of the other node, such as http://10.0.0.1:8000/");
	*(struct slice *)out = in->s;
	return 0;
}

static const struct opt_field XFER_FIELDS[] = {
	OPT_STR(struct xfer_opts, campaign, NULL, "only queues of this campaign"),
	OPT_STR(struct xfer_opts, tenant, NULL, "only queues of this tenant"),
	OPT_STR(struct xfer_opts, domain, NULL, "only queues of this domain"),
	OPT_STR(struct xfer_opts, routing_domain, NULL, "only queues of this routing domain"),
	OPT_LIST(struct xfer_opts, queue_names, NULL, "exactly these queues"),
	OPT_STR(struct xfer_opts, reason, NULL, "why; in the logs", .required = true),
	OPT_CUSTOM(struct xfer_opts, target, read_url, NULL, "URL of the node that takes over", .required = true),
	OPT_END
};
static const struct opt_desc API_XFER_REQUEST = { .name = "", .fields = XFER_FIELDS, .size = sizeof(struct xfer_opts) };

void api_xfer(struct api_call *c)
{
	struct xfer_opts o;

	if (api_body(c, &API_XFER_REQUEST, &o) < 0)
		return;
	struct queue_criteria which = { .campaign = o.campaign, .tenant = o.tenant, .domain = o.domain, .routing_domain = o.routing_domain,
					.queue_names = o.queue_names.items, .n_queue_names = o.queue_names.n };
	answer_empty(c, queue_admin_xfer(&which, o.reason, o.target));
}

struct xfer_cancel_opts {
	struct slice queue_name, reason;
};
static const struct opt_field XFER_CANCEL_FIELDS[] = {
	OPT_STR(struct xfer_cancel_opts, queue_name, NULL, "the queue that waits for the other node", .required = true),
	OPT_STR(struct xfer_cancel_opts, reason, NULL, "why; in the logs", .required = true),
	OPT_END
};
static const struct opt_desc API_XFER_CANCEL_REQUEST = { .name = "", .fields = XFER_CANCEL_FIELDS, .size = sizeof(struct xfer_cancel_opts) };

void api_xfer_cancel(struct api_call *c)
{
	struct xfer_cancel_opts o;

	if (api_body(c, &API_XFER_CANCEL_REQUEST, &o) == 0)
		answer_empty(c, queue_admin_xfer_cancel(o.queue_name, o.reason));
}
