/* SPDX-License-Identifier: Apache-2.0 */
/* Endpoints that look into queues. */
#include "api/api.h"
#include "queue/admin.h"

struct states_opts {
	struct opt_list queues;
};
static const struct opt_field STATES_FIELDS[] = {
	OPT_LIST(struct states_opts, queues, NULL, "names of ready queues, separated by commas; all by default"),
	OPT_END
};
static const struct opt_desc API_READY_Q_STATES_QUERY = { .name = "", .fields = STATES_FIELDS, .size = sizeof(struct states_opts), .open = true };

void api_ready_q_states(struct api_call *c)
{
	struct states_opts o;
	struct val v = val_obj();

	if (api_query(c, &API_READY_Q_STATES_QUERY, &o) < 0)
		return;
	queue_admin_ready_q_states(o.queues.items, o.queues.n, c->arena, &v);
	api_json(c, &v);
}

struct message_opts {
	struct uuid id;
	bool want_body;
};
static const struct opt_field MESSAGE_FIELDS[] = {
	OPT_CUSTOM(struct message_opts, id, opt_read_uuid, NULL, "the message's id", .required = true),
	OPT_BOOL(struct message_opts, want_body, "false", "with its content"),
	OPT_END
};
static const struct opt_desc API_INSPECT_MESSAGE_QUERY = { .name = "", .fields = MESSAGE_FIELDS, .size = sizeof(struct message_opts), .open = true };

/* Configurations are shown with their options in alphabetical order. */
static void answer(struct api_call *c, int rc, struct val *v)
{
	static const char *const SORTED[] = { "queue_config", "path_config" };

	if (rc < 0) {
		api_fail(c, rc);
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(SORTED); i++) {
		struct val *conf = (struct val *)val_get(v, slice_from_cstr(SORTED[i]));
		if (conf)
			val_sort(conf);
	}
	api_json(c, v);
}

void api_inspect_message(struct api_call *c)
{
	struct message_opts o;
	struct val v = val_obj();

	if (api_query(c, &API_INSPECT_MESSAGE_QUERY, &o) < 0)
		return;
	int rc = queue_admin_inspect_message(o.id, o.want_body, c->arena, &v);
	answer(c, rc == -E_NOENT ? -E_IO : rc, &v);	/* 500, as clients know it */
}

struct sched_q_opts {
	struct slice queue_name;
	int64_t limit;
	bool has_limit, want_body;
};
static const struct opt_field SCHED_Q_FIELDS[] = {
	OPT_STR(struct sched_q_opts, queue_name, NULL, "the scheduled queue", .required = true),
	OPT_INT(struct sched_q_opts, limit, NULL, "at most so many messages", OPT_PRESENT(struct sched_q_opts, has_limit)),
	OPT_BOOL(struct sched_q_opts, want_body, "false", "with their content"),
	OPT_END
};
static const struct opt_desc API_INSPECT_SCHED_Q_QUERY = { .name = "", .fields = SCHED_Q_FIELDS, .size = sizeof(struct sched_q_opts), .open = true };

void api_inspect_sched_q(struct api_call *c)
{
	struct sched_q_opts o;
	struct val v = val_obj();

	if (api_query(c, &API_INSPECT_SCHED_Q_QUERY, &o) == 0)
		answer(c, queue_admin_inspect_sched_q(o.queue_name, o.has_limit ? o.limit : -1, o.want_body, c->arena, &v), &v);
}

struct ready_q_opts {
	struct slice queue_name;
	bool include_scheduled_queues;
};
static const struct opt_field READY_Q_FIELDS[] = {
	OPT_STR(struct ready_q_opts, queue_name, NULL, "the ready queue: source->site@protocol", .required = true),
	OPT_BOOL(struct ready_q_opts, include_scheduled_queues, "false", "with the names of the scheduled queues that feed it"),
	OPT_END
};
static const struct opt_desc API_INSPECT_READY_Q_QUERY = { .name = "", .fields = READY_Q_FIELDS, .size = sizeof(struct ready_q_opts), .open = true };

void api_inspect_ready_q(struct api_call *c)
{
	struct ready_q_opts o;
	struct val v = val_obj();

	if (api_query(c, &API_INSPECT_READY_Q_QUERY, &o) == 0)
		answer(c, queue_admin_inspect_ready_q(o.queue_name, o.include_scheduled_queues, c->arena, &v), &v);
}

struct abort_opts {
	struct slice queue_name;
	struct uuid session_id;
};
static const struct opt_field ABORT_FIELDS[] = {
	OPT_STR(struct abort_opts, queue_name, NULL, "the ready queue", .required = true),
	OPT_CUSTOM(struct abort_opts, session_id, opt_read_uuid, NULL, "the connection's session", .required = true),
	OPT_END
};
static const struct opt_desc API_ABORT_READY_Q_CONN_REQUEST = { .name = "", .fields = ABORT_FIELDS, .size = sizeof(struct abort_opts) };

void api_abort_ready_q_conn(struct api_call *c)
{
	struct abort_opts o;
	struct buf id = { 0 };

	if (api_body(c, &API_ABORT_READY_Q_CONN_REQUEST, &o) < 0)
		return;
	uuid_put(&id, o.session_id);
	if (queue_admin_abort_conn(o.queue_name, o.session_id))
		http_respond(c->resp, 200, "aborted %s", buf_cstr(&id));
	else
		http_respond(c->resp, 404, "no matching dispatcher for queue=%.*s session=%s", SLICE_ARG(o.queue_name), buf_cstr(&id));
	buf_fini(&id);
}

struct resolve_opts {
	struct slice domain, source;
};
static const struct opt_field RESOLVE_FIELDS[] = {
	OPT_STR(struct resolve_opts, domain, NULL, "the destination", .required = true),
	OPT_STR(struct resolve_opts, source, NULL, "the egress source; `unspecified` by default"),
	OPT_END
};
static const struct opt_desc API_RESOLVE_EGRESS_PATH_QUERY = { .name = "", .fields = RESOLVE_FIELDS, .size = sizeof(struct resolve_opts), .open = true };

void api_resolve_egress_path(struct api_call *c)
{
	struct resolve_opts o;
	struct val v = val_obj();

	if (api_query(c, &API_RESOLVE_EGRESS_PATH_QUERY, &o) == 0)
		answer(c, queue_admin_resolve_egress_path(o.domain, o.source, c->arena, &v), &v);
}
