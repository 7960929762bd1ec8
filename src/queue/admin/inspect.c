/* SPDX-License-Identifier: Apache-2.0 */
/* inspect - looks into queues and messages, as the inspection endpoints show them. */
#include <stdlib.h>
#include "base/timefmt.h"
#include "base/utf8.h"
#include "queue/admin/int.h"
#include "queue/ready/dispatch.h"
#include "queue/ready/route.h"
#include "rt/clock.h"
#include "spool/spool.h"

static struct val time_val(struct arena *a, int64_t us)
{
	struct buf b = { 0 };
	time_put_rfc3339(&b, us, 6, true);
	struct val v = val_str(a, buf_view(&b));
	buf_fini(&b);
	return v;
}

static struct val duration_val(struct arena *a, int64_t ns)
{
	struct val v;
	conf_print_duration(a, ns, &v);
	return v;
}

/* --- messages ------------------------------------------------------------------------------------------------------------------------- */

static void put_env(const struct msg_env *e, struct arena *a, struct val *v)
{
	struct val list = val_list();
	val_put_lit(a, v, "sender", val_str(a, e->sender));
	for (uint32_t i = 0; i < e->n_recipients; i++)
		val_push(a, &list, val_str(a, e->recipients[i]));
	val_put_lit(a, v, "recipient", e->n_recipients == 1 ? val_str(a, e->recipients[0]) : list);
	val_put_lit(a, v, "meta", val_copy(a, &e->meta));
}

static struct val body_val(struct arena *a, struct slice data)
{
	struct buf b = { 0 };
	utf8_put_lossy(&b, data);
	struct val v = val_str(a, buf_view(&b));
	buf_fini(&b);
	return v;
}

static int message_val(struct msg *m, bool queued, bool want_body, struct arena *a, struct val *out)
{
	struct msg_env *env;
	struct msg_body *body = NULL;
	struct buf id = { 0 };
	int rc = msg_env(m, &env);
	if (rc < 0)
		return rc;
	if (want_body && (rc = msg_body(m, &body)) < 0) {
		msg_env_unref(&env);
		return rc;
	}
	struct val in = val_obj();
	put_env(env, a, &in);
	val_put_lit(a, &in, "data", body ? body_val(a, msg_body_view(body)) : val_null());
	if (queued) {
		val_put_lit(a, &in, "due", msg_due_us(m) ? time_val(a, msg_due_us(m)) : val_null());
		val_put_lit(a, &in, "num_attempts", val_int(msg_num_attempts(m)));
	}
	uuid_put_simple(&id, msg_id(m));
	*out = val_obj();
	val_put_lit(a, out, "id", val_str(a, buf_view(&id)));
	val_put_lit(a, out, "message", in);
	buf_fini(&id);
	msg_env_unref(&env);
	msg_body_unref(&body);
	return 0;
}

int queue_admin_inspect_message(struct uuid id, bool want_body, struct arena *a, struct val *out)
{
	struct msg *m = msg_from_spool(id, NULL);
	int rc = message_val(m, false, want_body, a, out);
	msg_unref(&m);
	return rc;
}

int queue_admin_inspect_sched_q(struct slice name, int64_t limit, bool want_body, struct arena *a, struct val *out)
{
	struct sched_queue *q = sched_find(name);
	struct val list = val_list(), conf_v;
	size_t n;
	if (!q)
		return err_set(E_NOENT, "no such queue %.*s", SLICE_ARG(name));
	struct msg **msgs = sched_peek(q, limit, &n);
	for (size_t i = 0; i < n; i++) {
		struct val v;
		if (message_val(msgs[i], true, want_body, a, &v) == 0)	/* else it was delivered meanwhile */
			val_push(a, &list, v);
		msg_unref(&msgs[i]);
	}
	free(msgs);
	struct conf *conf = sched_conf(q);
	conf_print(conf, false, a, &conf_v);
	rt_lock(&q->lock);
	int64_t changed = rt_wall_us() - (rt_now_ms() - q->last_change_ms) * 1000;
	uint32_t waiting = q->waiting.n;
	rt_unlock(&q->lock);
	*out = val_obj();
	val_put_lit(a, out, "queue_name", val_str(a, q->name));
	val_put_lit(a, out, "messages", list);
	val_put_lit(a, out, "num_scheduled", val_int(waiting));
	val_put_lit(a, out, "queue_config", conf_v);
	val_put_lit(a, out, "delayed_metric", val_int(waiting));
	val_put_lit(a, out, "now", time_val(a, rt_wall_us()));
	val_put_lit(a, out, "last_changed", time_val(a, changed));
	conf_unref(&conf);
	sched_unref(&q);
	return 0;
}

/* --- ready queues ---------------------------------------------------------------------------------------------------------------------------- */

static struct val mx_val(const struct mx_site *mx, struct arena *a)
{
	struct val v = val_obj(), by = val_obj();
	if (!mx)
		return val_null();
	for (uint32_t i = 0; i < mx->n; i++) {
		struct slice key = arena_slicef(a, "%u", mx->hosts[i].preference);
		struct val *list = (struct val *)(uintptr_t)val_get(&by, key);
		if (!list)
			list = val_put(a, &by, key, val_list());
		val_push(a, list, val_str(a, mx->hosts[i].name));
	}
	val_put_lit(a, &v, "site_name", val_str(a, mx->site_name));
	val_put_lit(a, &v, "by_preference", by);
	val_put_lit(a, &v, "is_domain_literal", val_bool(mx->is_domain_literal));
	val_put_lit(a, &v, "is_mx", val_bool(mx->is_mx));
	val_put_lit(a, &v, "is_secure", val_bool(mx->is_secure));
	return v;
}

static struct val state_val(const struct ready_state *s, struct arena *a)
{
	struct val v = val_obj();
	if (!s->since_us)
		return val_null();
	val_put_lit(a, &v, "context", val_cstr(a, s->context));
	val_put_lit(a, &v, "since", time_val(a, s->since_us));
	return v;
}

void queue_admin_ready_q_states(const struct slice *names, size_t n_names, struct arena *a, struct val *out)
{
	size_t n;
	struct val by = val_obj();
	struct ready_queue **all = ready_all(&n);
	for (size_t i = 0; i < n; i++) {
		struct ready_queue *q = all[i];
		bool want = n_names == 0;
		for (size_t j = 0; j < n_names && !want; j++)
			want = slice_eq(names[j], q->name);
		struct val v = val_obj();
		rt_lock(&q->lock);
		if (want && q->throttled.since_us)
			val_put_lit(a, &v, "connection_rate_throttled", state_val(&q->throttled, a));
		if (want && q->limited.since_us)
			val_put_lit(a, &v, "connection_limited", state_val(&q->limited, a));
		rt_unlock(&q->lock);
		if (v.n > 0)
			val_put(a, &by, q->name, v);
		ready_unref(&all[i]);
	}
	free(all);
	*out = val_obj();
	val_put_lit(a, out, "states_by_ready_queue", by);
}

static struct val feeders_val(struct ready_queue *r, struct arena *a)
{
	size_t n;
	struct val list = val_list();
	struct sched_queue **all = sched_all(&n);
	for (size_t i = 0; i < n; i++) {
		if (route_feeds(all[i], r))
			val_push(a, &list, val_str(a, all[i]->name));
		sched_unref(&all[i]);
	}
	free(all);
	return list;
}

int queue_admin_inspect_ready_q(struct slice name, bool include_scheduled_queues, struct arena *a, struct val *out)
{
	struct ready_queue *q = ready_find(name);
	struct val path_v, limits, list = val_list(), state = val_obj();
	struct buf reason = { 0 };
	if (!q)
		return err_set(E_NOENT, "no such ready queue %.*s", SLICE_ARG(name));
	bool suspended = admin_ready_suspended(q->name, NULL, &reason);
	*out = val_obj();
	rt_lock(&q->lock);
	const struct path_opts *o = path_opts_of(q->path);
	LIST_EACH(l, &q->conns) {
		struct val v;
		dispatch_print(LIST_ENTRY(l, struct dispatcher, in_conns), a, &v);
		val_push(a, &list, v);
	}
	conf_print(q->path, false, a, &path_v);
	path_constraints(o, queue_opts_of(q->queue_conf), a, &limits);
	val_put_lit(a, &state, "connection_count", val_int(q->n_conns));
	val_put_lit(a, &state, "ready_count", val_int(q->n));
	val_put_lit(a, &state, "connection_limited", state_val(&q->limited, a));
	val_put_lit(a, &state, "connection_rate_throttled", state_val(&q->throttled, a));
	val_put_lit(a, &state, "suspended", suspended ? val_str(a, buf_view(&reason)) : val_null());
	val_put_lit(a, &state, "watchdog_threshold", duration_val(a, dispatch_watchdog_ms(q) * 1000000));
	val_put_lit(a, out, "mx", mx_val(q->mx, a));
	rt_unlock(&q->lock);
	val_put_lit(a, out, "queue_name", val_str(a, q->name));
	val_put_lit(a, out, "egress_source", val_str(a, q->source_name));
	val_put_lit(a, out, "egress_pool", val_str(a, q->pool));
	val_put_lit(a, out, "protocol", val_str(a, queue_opts_of(q->queue_conf)->protocol.ready_name));
	val_put_lit(a, out, "path_config", path_v);
	val_put_lit(a, out, "constraints", limits);
	val_put_lit(a, out, "state", state);
	val_put_lit(a, out, "dispatchers", list);
	val_put_lit(a, out, "now", time_val(a, rt_wall_us()));
	if (include_scheduled_queues)
		val_put_lit(a, out, "scheduled_queue_names", feeders_val(q, a));
	buf_fini(&reason);
	ready_unref(&q);
	return 0;
}

bool queue_admin_abort_conn(struct slice queue_name, struct uuid session_id)
{
	struct ready_queue *q = ready_find(queue_name);
	bool found = q && dispatch_abort(q, session_id);
	ready_unref(&q);
	return found;
}

int queue_admin_resolve_egress_path(struct slice domain, struct slice source, struct arena *a, struct val *out)
{
	struct queue_name parts;
	struct ready_key k = { .source = source.ptr ? source : SLICE("unspecified") };
	struct conf *path = NULL;
	struct buf name = { 0 };
	struct val v;

	queue_name_parse(domain, &parts);
	k.route_domain = queue_name_route(&parts);
	int rc = fetch_queue(parts.domain, parts.tenant, parts.campaign, parts.routing_domain, &k.queue_conf);
	if (rc < 0)
		return rc;
	/* a domain that does not resolve is shown without mail exchangers, under its own name */
	if (route_site(k.queue_conf, k.route_domain, &k.mx, &k.site) < 0)
		k.site = k.route_domain;
	if ((rc = fetch_path(k.route_domain, k.source, k.site, &path)) < 0)
		goto out;
	ready_name_put(&name, &k);
	*out = val_obj();
	val_put_lit(a, out, "domain", val_str(a, domain));
	val_put_lit(a, out, "source", val_str(a, k.source));
	val_put_lit(a, out, "queue_name", val_str(a, buf_view(&name)));
	val_put_lit(a, out, "mx", mx_val(k.mx, a));
	conf_print(path, false, a, &v);
	val_put_lit(a, out, "path_config", v);
	conf_print(k.queue_conf, false, a, &v);
	val_put_lit(a, out, "queue_config", v);
	path_constraints(path_opts_of(path), queue_opts_of(k.queue_conf), a, &v);
	val_put_lit(a, out, "constraints", v);
out:
	buf_fini(&name);
	conf_unref(&path);
	conf_unref(&k.queue_conf);
	mx_site_unref(&k.mx);
	return rc;
}
