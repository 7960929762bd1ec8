/* SPDX-License-Identifier: Apache-2.0 */
/* Hooks: records that become messages (should_enqueue_log_record), and records handed to a policy event (log_disposition_NAME). */
#include <stdatomic.h>
#include <stdlib.h>
#include "base/xalloc.h"
#include "logs/internal.h"
#include "policy/objects.h"
#include "rt/diag.h"
#include "rt/fiber.h"

#define STOP_MS 10000	/* without any hook ending */

const struct policy_event LOG_HOOK_EVENT = { "should_enqueue_log_record", POLICY_MULTI };
static int (*inserter)(struct msg *m);

/* Hook calls under way in all hooks, and who waits for their end. */
static struct rt_lock running_lock = RT_LOCK_INIT(RANK_LOG);
static struct rt_cond running_cond;
static int64_t running;
static bool cond_ready;

struct call {
	struct logger *l;
	struct msg *m;
	bool has_permit;
};

void logs_set_inserter(int (*insert)(struct msg *m))
{
	inserter = insert;
}

static void count_running(int n)
{
	rt_lock(&running_lock);
	if (!cond_ready)
		rt_cond_init(&running_cond);
	cond_ready = true;
	running += n;
	if (running == 0)
		rt_cond_broadcast(&running_cond);
	rt_unlock(&running_lock);
}

bool hooks_wait(void)
{
	rt_lock(&running_lock);
	while (running > 0)
		if (rt_cond_wait(&running_cond, &running_lock, STOP_MS) < 0)
			break;
	bool all = running == 0;
	if (!all)
		diag_error("kumo.logs", "%lld log hooks did not end in time", (long long)running);
	rt_unlock(&running_lock);
	return all;
}

static int ask_policy(struct call *c, bool *wanted)
{
	struct policy_call pc;
	int rc = policy_call_begin(&pc, &LOG_HOOK_EVENT);
	if (rc < 0)
		return rc;
	policy_obj_push(pc.L, &MSG_OBJ, c->m);
	lua_pushstring(pc.L, c->l->hook_name);
	rc = policy_call_run(&pc, 2, 1);
	if (rc == 0)
		*wanted = lua_toboolean(pc.L, -1);
	policy_call_end(&pc);
	return rc;
}

static int queue_message(struct call *c)
{
	int rc = c->l->deferred_spool ? 0 : msg_save(c->m);
	if (rc == 0 && inserter != NULL)
		rc = inserter(c->m);
	else if (rc < 0)
		msg_remove(c->m);
	return rc;
}

static void run_call(void *arg)
{
	struct call *c = arg;
	bool wanted = false;
	int rc = ask_policy(c, &wanted);
	/* before the insertion: that may log, and would wait for the permit that it holds */
	if (c->has_permit)
		rt_sem_post(&c->l->permits);
	if (rc == 0 && wanted)
		rc = queue_message(c);
	if (rc < 0)
		diag_error("kumo.logs", "Error while calling should_enqueue_log_record: %s", err_text());
	msg_unref(&c->m);
	free(c);
	count_running(-1);
}

/* The record as a message: text as its body, the record itself among the metadata. */
static struct msg *make_message(const struct logger *l, const struct log_draft *d)
{
	struct buf text = { 0 }, json = { 0 };
	int rc = logger_put_text(l, d, &text);
	if (rc < 0) {
		diag_error("kumo.logs", "failed to log: %s", err_text());
		buf_fini(&text);
		return NULL;
	}
	if (text.len == 0 || text.ptr[text.len - 1] != '\n')
		buf_putc(&text, '\n');
	struct msg_env *e = msg_env_create(d->sender, d->recipients, d->n_recipients);
	draft_meta(d, &l->meta, e->arena, &e->meta);
	draft_put_json(&json, d, &l->meta, &l->headers);
	struct val record;
	rc = json_parse(buf_view(&json), e->arena, &record);
	assert(rc == 0);
	buf_fini(&json);
	val_put_lit(e->arena, &e->meta, "log_record", record);
	val_put_lit(e->arena, &e->meta, "reception_protocol", val_cstr(e->arena, "LogRecord"));
	size_t len;
	char *body = buf_take(&text, &len);
	return msg_create(uuid_v1(), e, msg_body_take(body, len));
}

void hook_submit(struct logger *l, const struct log_draft *d)
{
	/* a record about a record would go on for ever */
	if (slice_eq(d->reception_protocol, SLICE("LogRecord")) || !policy_event_wanted(&LOG_HOOK_EVENT))
		return;
	struct msg *m = make_message(l, d);
	if (m == NULL)
		return;
	bool has_permit = rt_sem_try(&l->permits);
	if (!has_permit) {
		logger_count_backlog(l);
		has_permit = rt_sem_wait(&l->permits) == 0;	/* told to end: what has happened has happened, this one goes over the bound */
	}
	struct call *c = xmalloc(sizeof *c);
	*c = (struct call){ l, m, has_permit };
	count_running(1);
	rt_fiber_spawn("log hook", run_call, c);
}

void disposition_call(struct logger *l, const struct log_draft *d)
{
	if (d->ev->msg == NULL || slice_eq(d->reception_protocol, SLICE("LogRecord")) || !policy_event_wanted_name(slice_from_cstr(l->event)))
		return;
	struct buf json = { 0 };
	struct val record;
	draft_put_json(&json, d, &l->meta, &l->headers);
	int rc = json_parse(buf_view(&json), d->arena, &record);
	assert(rc == 0);
	buf_fini(&json);
	struct policy_call pc;
	rc = policy_call_begin_name(&pc, slice_from_cstr(l->event));
	if (rc == 0) {
		policy_obj_push(pc.L, &MSG_OBJ, d->ev->msg);
		policy_push_val(pc.L, &record);
		rc = policy_call_run(&pc, 2, 0);
		policy_call_end(&pc);
	}
	if (rc < 0)
		diag_error("kumo.logs", "failed to log: %s: %s", l->event, err_text());
}
