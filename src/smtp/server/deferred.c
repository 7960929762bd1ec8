/* SPDX-License-Identifier: Apache-2.0 */
/*
 * deferred - the second half of reception for listeners with deferred_queue: messages were accepted into an internal queue, and here the policy sees
 * them (smtp_server_message_deferred_inject) before they go to the queue that they belong to.
 *
 * Source:  docs/reference/events/smtp_server_message_deferred_inject
 */
#include <stdlib.h>
#include "base/xalloc.h"
#include "policy/objects.h"
#include "queue/queue.h"
#include "queue/ready/dispatch.h"
#include "queue/record.h"
#include "rt/diag.h"
#include "rt/fiber.h"
#include "smtp/server/conn_meta.h"
#include "smtp/server/deferred.h"

#define DEFERRED_QUEUE "deferred_smtp_inject.kumomta.internal"

static const struct policy_event EV_DEFERRED = { "smtp_server_message_deferred_inject", POLICY_SINGLE };

static int deferred_connect(struct dispatcher *d)
{
	if (d->state)
		return CONNECT_REUSED;
	d->state = d;
	dispatch_connected(d);
	return CONNECT_NEW;
}

static void deferred_fini(struct dispatcher *d)
{
	if (d->state)
		dispatch_disconnected(d);
	d->state = NULL;
}

static bool deferred_close(struct dispatcher *d)
{
	bool had = d->state != NULL;
	deferred_fini(d);
	return had;
}

static bool deferred_more(struct dispatcher *d) { return false; }

/* The connection's metadata and identities, as far as the message remembers them. */
static struct conn_meta *meta_of(const struct msg_env *env)
{
	struct conn_meta *cm = conn_meta_create();
	struct arena *a = arena_create();
	struct val info = val_obj(), list = val_list();
	static const char *const WHO[][2] = { { "authn_id", "SmtpAuthPlainAuthentication" }, { "authz_id", "SmtpAuthPlainAuthorization" } };

	for (uint32_t i = 0; i < env->meta.n; i++)
		conn_meta_set(cm, env->meta.members[i].key, &env->meta.members[i].val);
	struct slice from = val_get_str(&env->meta, SLICE("received_from"));
	struct netaddr na;
	if (from.ptr && netaddr_parse(from, 0, &na) == 0 && na.ip.family) {
		struct buf ip = { 0 };
		ipaddr_put(&ip, &na.ip);
		val_put_lit(a, &info, "peer_address", val_str(a, buf_view(&ip)));
		buf_fini(&ip);
	}
	for (size_t i = 0; i < ARRAY_LEN(WHO); i++) {
		struct slice id = val_get_str(&env->meta, slice_from_cstr(WHO[i][0]));
		struct val who = val_obj();
		if (!id.ptr)
			continue;
		val_put_lit(a, &who, "identity", val_str(a, id));
		val_put_lit(a, &who, "context", val_cstr(a, WHO[i][1]));
		val_push(a, &list, who);
	}
	val_put_lit(a, &info, "identities", list);
	val_put_lit(a, &info, "groups", val_list());
	conn_meta_set_auth_info(cm, &info);
	arena_destroy(&a);
	return cm;
}

/* What the policy says of it: 250, or why not. The text is malloc'd. */
static uint16_t ask_policy(struct msg *m, const struct msg_env *env, char **text)
{
	struct policy_call c;
	uint16_t code = 250;
	*text = NULL;
	if (!policy_event_wanted(&EV_DEFERRED)) {
		*text = xstrdup("ok");
		return code;
	}
	int rc = policy_call_begin(&c, &EV_DEFERRED);
	if (rc == 0) {
		struct conn_meta *cm = meta_of(env);
		policy_push_msg(c.L, m);
		policy_obj_push(c.L, &CONN_META_OBJ, cm);
		conn_meta_unref(&cm);
		rc = policy_call_run(&c, 2, 0);
		if (rc == -E_REJECT) {
			code = (uint16_t)c.reject_code;
			*text = xstrdup(c.reject_text ? c.reject_text : "");
		}
		policy_call_end(&c);
	}
	if (rc < 0 && rc != -E_REJECT)
		code = 450;
	if (!*text)
		*text = xstrdup(rc < 0 ? err_text() : "ok");
	return code;
}

/* Takes "queue" out of the metadata: the name then follows from what the policy sets. */
static int leave_queue(struct msg *m, struct msg_env **env)
{
	int rc = msg_env(m, env);
	if (rc < 0)
		return rc;
	struct msg_env *own = msg_env_clone(*env);
	val_remove(&own->meta, SLICE("queue"));
	msg_env_unref(env);
	*env = msg_env_ref(own);
	msg_set_env(m, own);
	return 0;
}

static void log_outcome(struct dispatcher *d, enum log_type type, struct msg *m, struct smtp_response r)
{
	struct log_event ev = dispatch_event(d, type, m, r);
	ev.egress_pool = ev.egress_source = ev.session_id = ev.provider_name = SLICE_NONE;
	record_write(&ev);
}

static void fail(struct dispatcher *d, uint16_t code, const char *text)
{
	struct smtp_response r = response_of(code, 0, slice_from_cstr(text));
	struct msg *m = d->msgs[0];
	struct val name = { .type = VAL_STR, .s = SLICE(DEFERRED_QUEUE) };
	log_outcome(d, code >= 500 ? LOG_BOUNCE : LOG_TRANSIENT_FAILURE, m, r);
	if (code >= 500) {
		dispatch_bounced(d, 0);
		return;
	}
	if (msg_meta_set(m, SLICE("queue"), &name) < 0)	/* it comes here again */
		diag_error("kumo.smtp", "deferred injection: %s", err_text());
	dispatch_transfail(d, 0, &r);
}

static void move_on(struct dispatcher *d, struct slice name, const char *text)
{
	struct msg *m = dispatch_done(d, 0);
	msg_set_due_us(m, 0);
	log_outcome(d, LOG_DEFERRED_INJECT_REBIND, m, response_of(250, 0, slice_from_cstr(text)));
	dispatch_count(d, OUT_DELIVERED, 1);
	if (queue_insert(m, name) < 0) {
		diag_error("kumo.smtp", "deferred injection into %.*s: %s; the message stays in the spool", SLICE_ARG(name), err_text());
		msg_unref(&m);
	}
}

static int deferred_deliver(struct dispatcher *d)
{
	struct msg *m = d->msgs[0];
	struct msg_env *env;
	struct buf name = { 0 };
	struct rt_shield sh;
	char *text;

	dispatch_detail(d, "deferred_smtp_inject");
	int rc = leave_queue(m, &env);
	if (rc < 0)
		return rc;
	uint16_t code = ask_policy(m, env, &text);
	msg_env_unref(&env);
	rt_shield_enter(&sh);
	if (code == 250 && ((rc = msg_save(m)) < 0 || (rc = msg_queue_name(m, &name)) < 0 || (rc = queue_prepare(buf_view(&name))) < 0)) {
		code = 450;
		free(text);
		text = xstrdup(err_text());
	}
	if (code == 250)
		move_on(d, buf_view(&name), text);
	else
		fail(d, code, text);
	rt_shield_leave(&sh);
	free(text);
	buf_fini(&name);
	return 0;
}

static const struct queue_protocol DEFERRED = {
	.connect = deferred_connect,
	.more_candidates = deferred_more,
	.deliver = deferred_deliver,
	.close = deferred_close,
	.fini = deferred_fini,
};

void smtp_deferred_register(void)
{
	policy_event_register(&EV_DEFERRED);
	dispatch_register(PROTO_DEFERRED_SMTP, &DEFERRED);
}
