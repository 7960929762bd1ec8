/* SPDX-License-Identifier: Apache-2.0 */
/* What happened to a message goes to every logger that wants it. */
#include "logs/accounting.h"
#include "logs/classify.h"
#include "logs/internal.h"
#include "policy/objects.h"
#include "rt/clock.h"
#include "rt/diag.h"

/* Replies of the destination, and what ends a message without one. */
static const bool CLASSIFIED[LOG_TYPE_COUNT] = {
	[LOG_BOUNCE] = true, [LOG_TRANSIENT_FAILURE] = true, [LOG_EXPIRATION] = true, [LOG_ADMIN_BOUNCE] = true,
	[LOG_OOB] = true, [LOG_FEEDBACK] = true, [LOG_REJECTION] = true,
};

static bool filter_allows(const struct logger *l, struct msg *m)
{
	if (l->event == NULL || m == NULL)
		return true;
	struct policy_call c;
	int rc = policy_call_begin_name(&c, slice_from_cstr(l->event));
	bool yes = false;
	if (rc == 0) {
		policy_obj_push(c.L, &MSG_OBJ, m);
		rc = policy_call_run(&c, 1, 1);
		yes = rc == 0 && lua_toboolean(c.L, -1);
		policy_call_end(&c);
	}
	if (rc < 0)
		diag_error("kumo.logs", "error while calling %s event for log filter: %s", l->event, err_text());
	return yes;
}

static int write_file(struct logger *l, const struct log_draft *d)
{
	/* one buffer a thread: records are composed without waiting, and sink_write copies before it waits */
	static _Thread_local struct buf text;
	buf_clear(&text);
	int rc = logger_put_text(l, d, &text);
	if (rc < 0) {
		diag_error("kumo.logs", "failed to log: %s", err_text());
		return 0;	/* a template that fails must not stop the mail */
	}
	bool waited = false;
	rc = sink_write(l->sink, l->types[d->ev->type].class_id, buf_view(&text), d->ev->type == LOG_RECEPTION, &waited);
	if (waited)
		logger_count_full(l);
	return rc;
}

static void account(const struct log_draft *d)
{
	static const struct slice HOOK = SLICE_INIT("LogRecord");
	if (d->ev->type == LOG_RECEPTION && !slice_eq(d->reception_protocol, HOOK))
		accounting_received(d->n_recipients);
	else if (d->ev->type == LOG_DELIVERY && !slice_eq(d->ev->delivery_protocol, HOOK))
		accounting_delivered(d->n_recipients);
}

static int submit(struct logger *l, struct log_draft *d)
{
	if (l->kind == LOGGER_FILE && !filter_allows(l, d->ev->msg))
		return 0;
	if (l->headers.n > 0)
		draft_load_headers(d);
	int64_t start = rt_now_us_exact();
	int rc = 0;
	if (l->kind == LOGGER_FILE)
		rc = write_file(l, d);
	else if (l->kind == LOGGER_HOOK)
		hook_submit(l, d);
	else
		disposition_call(l, d);
	metric_observe(l->latency, (double)(rt_now_us_exact() - start) / 1e6);
	return rc;
}

int log_disposition(const struct log_event *ev)
{
	struct log_draft d;
	struct buf class = { 0 };
	int rc = 0;
	draft_begin(&d, ev);
	if (CLASSIFIED[ev->type] && logger_first() != NULL) {
		classify_response(&ev->response, &class);
		d.classification = buf_view(&class);
	}
	for (struct logger *l = logger_first(); l != NULL; l = __atomic_load_n(&l->next, __ATOMIC_ACQUIRE)) {
		int one = l->types[ev->type].enable ? submit(l, &d) : 0;
		if (one < 0)
			rc = one;
	}
	if (rc == 0)
		account(&d);
	buf_fini(&class);
	draft_end(&d);
	return rc;
}
