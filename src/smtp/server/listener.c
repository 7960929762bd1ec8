/* SPDX-License-Identifier: Apache-2.0 */
/*
 * listener - sockets, the dealing of connections to shards, the beginning and end of a session.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/xalloc.h"
#include "queue/intake.h"
#include "rt/diag.h"
#include "rt/loop.h"
#include "rt/sync.h"
#include "smtp/server/deferred.h"
#include "smtp/server/metrics.h"
#include "smtp/server/watch.h"
#include "spool/spool.h"

#define NSEC_PER_MSEC 1000000
#define LISTENERS_MAX 256

static struct {
	struct rt_lock lock;
	struct rt_cond none_left;
	struct smtp_listener *list[LISTENERS_MAX];
	size_t n;
	int64_t sessions;
	bool stopping;
} server = { .lock = RT_LOCK_INIT(RANK_LEAF) };

/* owned by the shard */
static __thread struct list shard_sessions;

struct arrival {
	struct smtp_listener *listener;
	int fd;
	struct netaddr peer;
};

void smtp_server_register(void)
{
	events_register();
	smtp_metrics_register();
	smtp_deferred_register();
	rt_cond_init(&server.none_left);
}

static int64_t sessions_changed(int by)
{
	rt_lock(&server.lock);
	int64_t n = server.sessions += by;
	if (n == 0)
		rt_cond_broadcast(&server.none_left);
	rt_unlock(&server.lock);
	return n;
}

static void put_addresses(struct smtp_session *s)
{
	char text[128];
	conn_meta_set_str(s->meta, "received_from", slice_from_cstr(netaddr_text(&s->peer, text)));
	conn_meta_set_str(s->meta, "received_via", slice_from_cstr(netaddr_text(&s->local, text)));
}

static void apply_params(struct smtp_session *s, struct smtp_params *p)
{
	smtp_params_unref(&s->params);
	s->params = p;
	conn_meta_set_str(s->meta, "hostname", p->hostname);
	for (uint32_t i = 0; p->meta != NULL && i < p->meta->n; i++)
		conn_meta_set(s->meta, p->meta->members[i].key, &p->meta->members[i].val);
}

static int apply_dynamic(struct smtp_session *s)
{
	struct policy_call c;
	struct val given;
	struct smtp_params *p = NULL;
	if (!policy_event_wanted(&EV_SMTP_DYNAMIC)) {
		watch_dynamic(s, NULL);
		return 0;
	}
	if (policy_call_begin(&c, &EV_SMTP_DYNAMIC) < 0)
		return reply_trouble(s, EV_SMTP_DYNAMIC.name);
	char via[128];
	lua_pushstring(c.L, netaddr_text(&s->local, via));
	policy_obj_push(c.L, &CONN_META_OBJ, s->meta);
	int rc = policy_call_run(&c, 2, 1);
	if (rc == 0) {
		rc = policy_to_val(c.L, -1, session_arena(s), &given);
		if (rc == 0 && given.type != VAL_NULL && !(given.type == VAL_LIST && given.n == 0)) {
			rc = given.type == VAL_OBJ ? smtp_params_check_overlay(&given)
						   : err_set(E_POLICY, "%s must return a table of listener options", EV_SMTP_DYNAMIC.name);
			if (rc == 0)
				rc = smtp_params_resolve(&s->listener->opts->root, &given, &s->local.ip, &s->peer.ip, &p);
		}
		if (rc < 0)
			rc = -E_POLICY;
	}
	if (p != NULL)
		apply_params(s, p);
	if (rc == 0)
		watch_dynamic(s, &given);
	else
		watch_call(s, &c, rc, NULL);
	return event_outcome_quiet(s, &c, rc, SLICE_NONE);
}

static int apply_static(struct smtp_session *s)
{
	struct smtp_params *p;
	struct netaddr local, peer;
	char text[128];
	int rc = rt_fd_addrs(rt_io_fd(s->io), &local, &peer);
	if (rc == 0 && memcmp(&peer, &s->peer, sizeof peer) != 0)
		conn_meta_set_str(s->meta, "orig_received_from", slice_from_cstr(netaddr_text(&peer, text)));
	if (rc == 0 && memcmp(&local, &s->local, sizeof local) != 0)
		conn_meta_set_str(s->meta, "orig_received_via", slice_from_cstr(netaddr_text(&local, text)));
	put_addresses(s);
	relay_forget(s);
	if (s->listener->uniform)
		p = smtp_params_ref(s->listener->params);
	else if (smtp_params_resolve(&s->listener->opts->root, NULL, &s->local.ip, &s->peer.ip, &p) < 0)
		return reply_trouble(s, "listener options");
	apply_params(s, p);
	return 0;
}

int session_configure(struct smtp_session *s)
{
	int rc = apply_static(s);
	return rc == 0 ? apply_dynamic(s) : rc;
}

const char *session_intake_refusal(void)
{
	static const char *const WHY[INTAKE_STATES] = {
		[INTAKE_MEMORY] = "load shedding. Try later",
		[INTAKE_DISK] = "disk is too full. Try later",
		[INTAKE_STARTING] = "waiting for spool startup. Try again soon!",
		[INTAKE_SPOOL] = "the spool is not accepting writes. Try later",
		[INTAKE_LOGS] = "the logs cannot be written. Try later",
	};
	enum intake now = intake_state();
	if (now != INTAKE_OPEN && now != INTAKE_STARTING)
		metric_add(smtp_metrics.denied, 1);
	return WHY[now];
}

/* Why no mail is taken now; NULL: it is. */
static const char *why_not(struct smtp_session *s)
{
	if (atomic_load(&s->listener->connections) > s->listener->params->max_connections) {
		metric_add(smtp_metrics.denied, 1);
		return "too many concurrent sessions. Try later";
	}
	return server.stopping ? "shutting down" : session_intake_refusal();
}

static int greet(struct smtp_session *s)
{
	if (s->params->require_proxy_protocol) {
		struct rt_deadline d;
		rt_deadline_push(&d, s->params->client_timeout / NSEC_PER_MSEC);
		int rc = session_read_proxy_header(s);
		rt_deadline_pop(&d);
		if (rc < 0)
			return -E_CLOSED;
		rc = session_configure(s);
		if (rc != 0)
			return rc;
	}
	const char *reason = why_not(s);
	if (reason != NULL)
		return reply_goodbye(s, "4.3.2 ", reason);
	int rc = event_connection_accepted(s);
	if (rc != 0)
		return rc;
	return replyf(s, 220, SLICE_NONE, "%.*s %.*s", SLICE_ARG(s->params->hostname), SLICE_ARG(s->params->banner));
}

static void run_session(struct smtp_session *s)
{
	int rc = apply_static(s);
	watch_plain(s, "Connected");
	if (rc == 0)
		rc = apply_dynamic(s);
	if (rc == 0)
		rc = greet(s);
	/* a client that is refused before the greeting is closed, after a last 421 if that was asked for */
	if (rc == 0 || (rc == 1 && s->follow_with_421))
		rc = session_loop(s);
	if (rc == -E_CANCELED) {
		struct rt_shield shield;
		rt_shield_enter(&shield);
		(void)!reply_goodbye(s, "4.3.2 ", "shutting down");
		session_flush(s);
		rt_shield_leave(&shield);
		return;
	}
	session_flush(s);
}

static void init_meta(struct smtp_session *s)
{
	struct arena *a = session_arena(s);
	struct val info = val_obj();
	struct buf ip = { 0 };
	s->meta = conn_meta_create();
	conn_meta_set_str(s->meta, "reception_protocol", SLICE("ESMTP"));
	ipaddr_put(&ip, &s->peer.ip);
	val_put_lit(a, &info, "peer_address", val_str(a, buf_view(&ip)));
	val_put_lit(a, &info, "identities", val_list());
	val_put_lit(a, &info, "groups", val_list());
	conn_meta_set_auth_info(s->meta, &info);
	buf_fini(&ip);
}

static void session_main(void *arg)
{
	struct arrival *in = arg;
	struct smtp_session *s = xzalloc(sizeof *s);
	OBJ_INIT(s, SMTP_SESSION_MAGIC);
	s->listener = in->listener;
	s->peer = in->peer;
	s->id = uuid_v4();
	s->fiber = rt_fiber_self();
	s->params = smtp_params_ref(in->listener->params);
	s->io = rt_io_from_fd(in->fd);
	rt_io_set_timeout(s->io, s->params->client_timeout / NSEC_PER_MSEC, s->params->client_timeout / NSEC_PER_MSEC);
	free(in);
	if (shard_sessions.next == NULL)
		list_init(&shard_sessions);
	list_push(&shard_sessions, &s->node);
	atomic_fetch_add(&s->listener->connections, 1);
	metric_add(smtp_metrics.connections, 1);
	struct netaddr peer;
	if (rt_fd_addrs(rt_io_fd(s->io), &s->local, &peer) == 0) {
		s->peer = peer;
		init_meta(s);
		run_session(s);
		watch_plain(s, "Closed");
		conn_meta_unref(&s->meta);
	}
	metric_add(smtp_metrics.connections, -1);
	atomic_fetch_sub(&s->listener->connections, 1);
	list_remove(&s->node);
	txn_reset(s);
	arena_destroy(&s->arena);
	relay_forget(s);
	rt_io_close(&s->io);
	smtp_params_unref(&s->params);
	OBJ_FINI(s, SMTP_SESSION_MAGIC);
	free(s);
	sessions_changed(-1);
}

static void accept_loop(void *arg)
{
	struct smtp_listener *l = arg;
	for (;;) {
		struct arrival *in = xzalloc(sizeof *in);
		in->listener = l;
		if (rt_accept(l->sock, &in->fd, &in->peer) < 0) {
			free(in);
			break;
		}
		sessions_changed(1);
		rt_fiber_spawn_on(rt_shard_next(), "smtp session", session_main, in);
	}
	rt_listener_close(&l->sock);
	sessions_changed(-1);
}

static int remember(struct smtp_listener *l)
{
	rt_lock(&server.lock);
	bool room = server.n < LISTENERS_MAX;
	if (room)
		server.list[server.n++] = l;
	rt_unlock(&server.lock);
	return room ? 0 : err_set(E_LIMIT, "more than %d ESMTP listeners", LISTENERS_MAX);
}

int smtp_server_check(const struct val *opts)
{
	struct smtp_params *p;
	int rc = smtp_params_parse(opts, &p);
	if (rc == 0)
		smtp_params_unref(&p);
	return rc;
}

/* An address with a port, or a path; the words are those that scripts around the server look for. */
static int bind_to(struct slice listen, struct netaddr *at, struct rt_listener **out)
{
	ptrdiff_t colon = slice_rchr(listen, ':');
	uint64_t port;
	bool path = listen.len && (listen.ptr[0] == '/' || listen.ptr[0] == '@');
	if (!path && colon >= 0 && (slice_to_u64(slice_sub(listen, (size_t)colon + 1, SIZE_MAX), &port) < 0 || port > UINT16_MAX))
		return err_set(E_INVAL, "failed to bind to %.*s: invalid port value", SLICE_ARG(listen));
	if ((!path && colon < 0) || netaddr_parse(listen, 25, at) < 0)
		return err_set(E_INVAL, "failed to bind to %.*s: invalid socket address", SLICE_ARG(listen));
	int rc = rt_listen(at, 1024, out);
	if (rc < 0) {
		ptrdiff_t why = slice_find(slice_from_cstr(err_text()), SLICE(": "));
		err_set((enum err_code)-rc, "failed to bind to %.*s: %s", SLICE_ARG(listen), why < 0 ? err_text() : err_text() + why + 2);
	}
	return rc;
}

int smtp_server_listen(const struct val *opts)
{
	struct smtp_listener *l = xzalloc(sizeof *l);
	struct netaddr at;
	int rc = smtp_params_parse(opts, &l->params);
	if (rc < 0)
		goto fail;
	rc = bind_to(l->params->listen, &at, &l->sock);
	if (rc == 0)
		rc = remember(l);
	if (rc < 0)
		goto fail;
	rt_listener_addr(l->sock, &at);
	netaddr_text(&at, l->name);
	l->opts = vdoc_copy_of(opts);
	l->uniform = smtp_params_is_uniform(opts);
	diag_info("kumod::smtp_server", "smtp listener on %s", l->name);
	sessions_changed(1);
	l->acceptor = rt_fiber_start("smtp accept", accept_loop, l);
	return 0;
fail:
	smtp_params_unref(&l->params);
	free(l);
	return rc;
}

/* On each shard: those that wait for their client are woken; a message that is being taken in is finished first. */
static void stop_sessions(void *arg)
{
	if (shard_sessions.next == NULL)
		return;
	LIST_EACH(it, &shard_sessions) {
		struct smtp_session *s = LIST_ENTRY(it, struct smtp_session, node);
		if (s->waiting)
			rt_fiber_cancel(s->fiber);
	}
}

void smtp_server_stop(int64_t timeout_ms)
{
	int64_t end = rt_now_ms() + timeout_ms;
	rt_lock(&server.lock);
	server.stopping = true;
	for (size_t i = 0; i < server.n; i++)
		rt_fiber_cancel(server.list[i]->acceptor);
	while (server.sessions > 0 && rt_now_ms() < end) {
		rt_unlock(&server.lock);
		for (int i = 0; i < rt_shard_count(); i++)
			rt_post(rt_shard_at(i), stop_sessions, NULL);
		rt_lock(&server.lock);
		if (server.sessions > 0 && rt_cond_wait(&server.none_left, &server.lock, 100) == -E_CANCELED)
			break;
	}
	rt_unlock(&server.lock);
}
