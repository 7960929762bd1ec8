/* SPDX-License-Identifier: Apache-2.0 */
#include "smtp/client/proto.h"
#include <stdlib.h>
#include <unistd.h>
#include "base/xalloc.h"
#include "policy/host.h"
#include "smtp/client/session.h"

#define QUIT_MAX_MS 2000

static char *ehlo_name(struct dispatcher *d)
{
	struct slice name = dispatch_path(d)->ehlo_domain;
	char host[256];

	if (name.len == 0)
		name = source_opts_of(d->rq->source)->ehlo_domain;
	if (name.len)
		return xmemdup0(name.ptr, name.len);
	if (gethostname(host, sizeof host) < 0)
		return xstrdup("[127.0.0.1]");
	host[sizeof host - 1] = '\0';
	return xstrdup(host);
}

static int session_init(struct dispatcher *d)
{
	struct smtp_session *s = xzalloc(sizeof *s);

	OBJ_INIT(s, SMTP_SESSION_MAGIC);
	d->state = s;
	s->msg_arena = arena_create();
	s->ehlo_name = ehlo_name(d);
	return smtp_plan(d);
}

static bool session_more(struct dispatcher *d)
{
	const struct smtp_session *s = d->state;
	return s->next < s->n_hosts;
}

static bool session_close(struct dispatcher *d)
{
	struct smtp_session *s = d->state;

	if (s == NULL || s->client == NULL)
		return false;
	smtp_client_quit(s->client, QUIT_MAX_MS);
	smtp_drop(d);
	return true;
}

static bool session_finished(struct dispatcher *d)
{
	const struct smtp_session *s = d->state;
	return s->finished;
}

static void session_fini(struct dispatcher *d)
{
	struct smtp_session *s = d->state;

	if (s == NULL)
		return;
	smtp_drop(d);
	for (size_t i = 0; i < s->n_hosts; i++)
		free(s->hosts[i].name);
	free(s->hosts);
	free(s->ehlo_name);
	arena_destroy(&s->msg_arena);
	arena_destroy(&s->trace_arena);
	arena_destroy(&s->last_arena);
	OBJ_FINI(s, SMTP_SESSION_MAGIC);
	free(s);
	d->state = NULL;
}

static const struct queue_protocol SMTP_PROTOCOL = {
	.init = session_init,
	.connect = smtp_connect,
	.more_candidates = session_more,
	.deliver = smtp_deliver,
	.close = session_close,
	.finished = session_finished,
	.fini = session_fini,
};

void proto_smtp_register(void)
{
	smtp_tls_init();
	policy_event_register(&SMTP_CLIENT_REWRITE);
	smtp_failures_init();
	dispatch_register(PROTO_SMTP, &SMTP_PROTOCOL);
}
