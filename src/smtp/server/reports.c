/* SPDX-License-Identifier: Apache-2.0 */
#include "smtp/server/reports.h"

#include "codec/report.h"
#include "logs/record.h"
#include "msg/msg.h"

int reports_inspect(struct smtp_session *s, struct msg *m, const struct relay_verdict *v, struct inbound_report *r, bool *dropped, bool *refused)
{
	struct arena *a = session_arena(s);
	struct msg_body *body;
	*r = (struct inbound_report){ 0 };
	*dropped = false;
	*refused = !v->relay;
	if (v->log_oob == REPORT_IGNORE && v->log_arf == REPORT_IGNORE)
		return 0;
	int rc = msg_body(m, &body);
	if (rc < 0)
		return rc;
	r->is_arf = v->log_arf != REPORT_IGNORE && report_parse_arf(msg_body_view(body), a, &r->content) == 0;
	r->is_dsn = !r->is_arf && v->log_oob != REPORT_IGNORE && report_parse_dsn(msg_body_view(body), a, &r->content) == 0;
	msg_body_unref(&body);
	if (r->is_arf || r->is_dsn) {
		*refused = false;
		*dropped = (r->is_arf ? v->log_arf : v->log_oob) == REPORT_LOG_THEN_DROP;
	}
	return 0;
}

static int log_feedback(struct smtp_session *s, struct log_event *ev, const struct inbound_report *r)
{
	struct buf addr = { 0 };
	ipaddr_put(&addr, &s->peer.ip);
	ev->type = LOG_FEEDBACK;
	ev->peer_name = session_peer_name(s);
	ev->peer_addr = buf_view(&addr);
	ev->response = (struct smtp_response){ .code = 250, .content = SLICE("") };
	ev->feedback_report = &r->content;
	int rc = log_disposition(ev);
	buf_fini(&addr);
	return rc;
}

/* One record for each recipient that the report says has failed, as if the far server had told us at once. */
static int log_failures(struct smtp_session *s, struct log_event *ev, const struct inbound_report *r, struct slice reported_to)
{
	struct report_failure *failed;
	struct buf addr = { 0 };
	uint32_t n = report_dsn_failures(&r->content, session_arena(s), &failed);
	int rc = 0;
	ipaddr_put(&addr, &s->peer.ip);
	ev->type = LOG_OOB;
	ev->peer_addr = buf_view(&addr);
	ev->sender = reported_to;
	for (uint32_t i = 0; rc == 0 && i < n; i++) {
		ev->recipients = &failed[i].recipient;
		ev->n_recipients = 1;
		ev->response = failed[i].response;
		ev->event_us = failed[i].last_attempt_us;
		ev->peer_name = failed[i].reporting_mta.ptr ? failed[i].reporting_mta : SLICE("");
		rc = log_disposition(ev);
	}
	buf_fini(&addr);
	return rc;
}

int reports_log(struct smtp_session *s, struct msg *m, struct slice queue, const struct inbound_report *r)
{
	struct msg_env *env;
	struct buf id = { 0 };
	if (!r->is_arf && !r->is_dsn)
		return 0;
	int rc = msg_env(m, &env);
	if (rc < 0)
		return rc;
	uuid_put(&id, s->id);
	struct log_event ev = { .msg = m, .queue = queue, .site = SLICE(""), .reception_protocol = SLICE("ESMTP"), .session_id = buf_view(&id) };
	rc = r->is_arf ? log_feedback(s, &ev, r) : log_failures(s, &ev, r, env->recipients[0]);
	msg_env_unref(&env);
	buf_fini(&id);
	return rc;
}
