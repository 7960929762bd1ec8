/* SPDX-License-Identifier: Apache-2.0 */
/* connect - from a host of the plan to a connection that takes mail. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/xalloc.h"
#include "policy/keysource.h"
#include "queue/health.h"
#include "rt/fiber.h"
#include "smtp/client/session.h"

#define NS_PER_MS 1000000

static int64_t ms(int64_t ns)
{
	return ns / NS_PER_MS;
}

void smtp_drop(struct dispatcher *d)
{
	struct smtp_session *s = d->state;

	if (s->client)
		dispatch_disconnected(d);
	smtp_client_destroy(&s->client);
	tls_info_fini(&s->tls);
	s->has_tls = false;
}

bool smtp_reconnect(struct dispatcher *d)
{
	struct smtp_session *s = d->state;

	switch ((enum path_reconnect)dispatch_path(d)->reconnect_strategy) {
	case RECONNECT_TERMINATE_SESSION:
		s->next = s->n_hosts;
		break;
	case RECONNECT_SAME_HOST:
		if (s->host)
			s->next = (size_t)(s->host - s->hosts);
		break;
	case RECONNECT_NEXT_HOST:
		break;
	}
	smtp_drop(d);
	bool more = s->next < s->n_hosts;
	if (!more)
		s->finished = s->attempted; /* it was of use: the next message deserves a new session, not "no more hosts" */
	return more;
}

/* A connection that stood idle: is it still there? 0: it is; 1: *RESULT says what to do. */
static int check_standing(struct dispatcher *d, int *result)
{
	struct smtp_session *s = d->state;

	if (s->client == NULL)
		return -1;
	if (!smtp_client_connected(s->client)) {
		smtp_drop(d);
		return -1;
	}
	int rc = smtp_client_check(s->client);
	if (rc == 0)
		return 0;
	if (rc == -E_CANCELED) {
		*result = rc;
		return 1;
	}
	smtp_reconnect(d);
	*result = rc == 1 && s->finished ? CONNECT_PEER_CLOSED : CONNECT_PEER_CLOSED_CONTINUE;
	return 1;
}

static int wait_connection_rate(struct dispatcher *d)
{
	const struct rate_spec *rate = &dispatch_path(d)->max_connection_rate;
	struct buf name = { 0 };

	if (!rate_given(rate))
		return 0;
	buf_printf(&name, "%.*s-connection-rate", SLICE_ARG(d->rq->name));
	int rc = dispatch_wait_rate(d, buf_view(&name), rate, PHASE_CONN_THROTTLED, WHY_CONN_RATE);
	buf_fini(&name);
	dispatch_phase(d, PHASE_CONNECTING);
	return rc;
}

static int open_stream(struct dispatcher *d, struct rt_io **io)
{
	struct smtp_session *s = d->state;
	const struct source_opts *o = source_opts_of(d->rq->source);
	char to[128];
	struct buf from = { 0 };
	int fd, rc;

	netaddr_text(&s->remote, to);
	if (source_suspended_ms(d->rq->source_name) > 0)
		return err_set(E_IO, "source %.*s is unhealthy and suspended", SLICE_ARG(d->rq->source_name));
	s->via = NULL;
	if (smtp_proxy_used(o))
		return smtp_proxy_open(d, io);
	rc = rt_connect(&s->remote, o->source_address.family ? &o->source_address : NULL, ms(dispatch_path(d)->connect_timeout), &fd);
	if (rc == 0) {
		if (rt_fd_addrs(fd, &s->source, NULL) < 0)
			s->source = (struct netaddr){ 0 };
		*io = rt_io_from_fd(fd);
		return 0;
	}
	if (rc == -E_CANCELED)
		return rc;
	if (strstr(err_text(), strerror(EADDRNOTAVAIL)) && o->source_address.family) {
		smtp_count_failure(SMTP_FAILED_BIND);
		source_failed(o, SOURCE_UNPLUMBED);
	}
	if (o->source_address.family)
		ipaddr_put(&from, &o->source_address);
	char *why = xstrdup(err_text());
	if (o->source_address.family)
		err_set(-rc, "failed to connect to %s Some(%s): %s", to, buf_cstr(&from), why);
	else
		err_set(-rc, "failed to connect to %s None: %s", to, why);
	free(why);
	buf_fini(&from);
	return rc;
}

static struct smtp_client_conf client_conf(struct dispatcher *d)
{
	const struct path_opts *p = dispatch_path(d);

	return (struct smtp_client_conf){
		.banner_ms = ms(p->banner_timeout), .hello_ms = ms(p->ehlo_timeout), .starttls_ms = ms(p->starttls_timeout), .auth_ms = ms(p->auth_timeout),
		.mail_ms = ms(p->mail_from_timeout), .rcpt_ms = ms(p->rcpt_to_timeout), .data_ms = ms(p->data_timeout),
		.data_dot_ms = ms(p->data_dot_timeout), .rset_ms = ms(p->rset_timeout),
		.pipelining = p->enable_pipelining, .rset = p->enable_rset, .ignore_8bit = p->ignore_8bit_checks,
		.trace = atomic_load(&smtp_session_watchers) ? smtp_session_client_trace : NULL, .trace_arg = d,
	};
}

static uint16_t port_of(struct dispatcher *d, const struct candidate *c)
{
	const struct source_opts *o = source_opts_of(d->rq->source);

	if (o->has_remote_port)
		return (uint16_t)o->remote_port;
	return c->addr.port ? c->addr.port : (uint16_t)dispatch_path(d)->smtp_port;
}

/* Stream and banner. */
static int open_client(struct dispatcher *d)
{
	struct smtp_session *s = d->state;
	struct rt_io *io;
	char to[128];

	s->remote = s->host->addr;
	s->remote.port = port_of(d, s->host);
	netaddr_text(&s->remote, to);
	smtp_session_note(d, "INFO", "Attempting connection to %s", to);
	dispatch_detail(d, "connect+banner");
	int rc = open_stream(d, &io);
	if (rc == 0) {
		struct smtp_client_conf conf = client_conf(d);
		s->client = smtp_client_create(io, &conf);
		smtp_session_trace(d, SMTP_SESSION_CONNECTED, SLICE_NONE, NULL);
		rc = smtp_client_banner(s->client);
	}
	if (rc < 0)
		err_prefix("connect to %s and read initial banner", to);
	return rc;
}

static int hello(struct dispatcher *d, const char *when)
{
	struct smtp_session *s = d->state;
	bool lmtp = dispatch_path(d)->use_lmtp;
	const char *verb = lmtp ? "LHLO" : "EHLO";
	char to[128];

	dispatch_detail(d, "%s", verb);
	int rc = smtp_client_hello(s->client, slice_from_cstr(s->ehlo_name), lmtp);
	if (rc < 0)
		err_prefix("%s: %s after %s", netaddr_text(&s->remote, to), verb, when);
	return rc;
}

static int authenticate(struct dispatcher *d, bool tls)
{
	const struct path_opts *p = dispatch_path(d);
	struct smtp_session *s = d->state;
	struct buf password = { 0 };
	char to[128];
	int rc = 0;

	if (p->smtp_auth_plain_username.len == 0)
		return 0;
	netaddr_text(&s->remote, to);
	if (!tls && !p->allow_smtp_auth_plain_without_tls)
		return err_set(E_ACCESS, "TLS is not enabled and AUTH PLAIN is required. Skipping (%s)", to);
	if (tls && !s->tls.authenticated && !p->allow_smtp_auth_plain_without_valid_certificate)
		return err_set(E_ACCESS, "TLS peer certificate was not validated and AUTH PLAIN requires a valid certificate. Skipping (%s)", to);
	if (p->smtp_auth_plain_password && (rc = policy_key_load(p->smtp_auth_plain_password, &password)) < 0) {
		err_prefix("fetching smtp_auth_plain_password");
	} else {
		dispatch_detail(d, "AUTH PLAIN");
		rc = smtp_client_auth_plain(s->client, p->smtp_auth_plain_username, buf_view(&password));
		if (rc < 0)
			err_prefix("authenticating as %.*s via SMTP AUTH PLAIN to %s", SLICE_ARG(p->smtp_auth_plain_username), to);
	}
	if (password.ptr)
		explicit_bzero(password.ptr, password.len);
	buf_fini(&password);
	return rc;
}

static int connect_next(struct dispatcher *d)
{
	struct smtp_session *s = d->state;
	bool tls;
	int rc;

	if (s->next >= s->n_hosts)
		return err_set(E_NOENT, "no more addresses to try!");
	s->host = &s->hosts[s->next++];
	if ((rc = open_client(d)) < 0 || (rc = hello(d, "banner")) < 0 || (rc = smtp_negotiate_tls(d, &tls)) < 0 || (rc = authenticate(d, tls)) < 0)
		return rc;
	dispatch_connected(d);
	return CONNECT_NEW;
}

int smtp_connect(struct dispatcher *d)
{
	int result, rc = check_standing(d, &result);

	if (rc >= 0)
		return rc == 0 ? CONNECT_REUSED : result;
	rc = wait_connection_rate(d);
	if (rc != 0)
		return rc < 0 ? rc : CONNECT_NOTHING_TO_DO;
	rc = connect_next(d);
	if (rc < 0) {
		char *why = xstrdup(err_text());
		smtp_session_note(d, "ERROR", "%s", why);
		smtp_drop(d);
		err_set(-rc, "%s", why);
		free(why);
	}
	return rc;
}
