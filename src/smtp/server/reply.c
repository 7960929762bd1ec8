/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>

#include "logs/record.h"
#include "rt/diag.h"
#include "smtp/server/metrics.h"
#include "smtp/server/watch.h"

struct slice session_peer_name(struct smtp_session *s)
{
	struct slice name = val_get_str(conn_meta_all(s->meta), SLICE("ehlo_domain"));
	return name.ptr ? arena_dup(session_arena(s), name) : SLICE("");
}

static void log_rejection(struct smtp_session *s, unsigned code, struct slice text, struct slice command)
{
	struct buf addr = { 0 };
	struct arena *a = session_arena(s);
	struct val meta = val_copy(a, conn_meta_all(s->meta));	/* a hook's handler may have kept the connection, and change it */
	struct slice last_rcpt = s->txn.active && s->txn.n ? s->txn.rcpts[s->txn.n - 1].text : SLICE("");
	struct log_event ev = {
		.type = LOG_REJECTION,
		.sender = s->txn.active ? s->txn.sender.text : SLICE(""),
		.recipients = &last_rcpt,
		.n_recipients = 1,
		.queue = SLICE(""),
		.site = SLICE(""),
		.peer_name = session_peer_name(s),
		.meta = &meta,
		.event_us = rt_wall_us(),
	};
	ipaddr_put(&addr, &s->peer.ip);
	ev.peer_addr = buf_view(&addr);
	smtp_response_from_text(&ev.response, (uint16_t)code, text, a);
	ev.response.command = command;
	struct buf id = { 0 };
	uuid_put(&id, s->id);
	ev.session_id = buf_view(&id);
	if (log_disposition(&ev) < 0)
		diag_error("smtpsrv", "a Rejection record was not written: %s", err_text());
	buf_fini(&addr);
	buf_fini(&id);
	smtp_metrics_count_rejection(s->listener->name);
}

int reply(struct smtp_session *s, unsigned code, struct slice text, struct slice command)
{
	event_rewrite(s, &code, &text, command);
	if (code >= 400)
		log_rejection(s, code, text, command);
	struct buf b = { 0 };
	smtp_reply_put(&b, code, text);
	rt_io_put(s->io, buf_view(&b));
	watch_write(s, buf_view(&b));
	buf_fini(&b);
	if (code != 421)
		return 0;
	s->over = true;
	return -E_CLOSED;
}

int replyf(struct smtp_session *s, unsigned code, struct slice command, const char *fmt, ...)
{
	struct buf text = { 0 };
	va_list ap;
	va_start(ap, fmt);
	buf_vprintf(&text, fmt, ap);
	va_end(ap);
	int rc = reply(s, code, buf_view(&text), command);
	buf_fini(&text);
	return rc;
}

int reply_trouble(struct smtp_session *s, const char *what)
{
	char peer[128];
	diag_error("smtpsrv", "%s: client %s: %s", what, netaddr_text(&s->peer, peer), err_text());
	return replyf(s, 421, SLICE_NONE, "4.3.0 %.*s technical difficulties", SLICE_ARG(s->params->hostname));
}

int reply_goodbye(struct smtp_session *s, const char *enhanced, const char *text)
{
	struct buf b = { 0 };
	buf_printf(&b, "421 %s%.*s %s\r\n", enhanced, SLICE_ARG(s->params->hostname), text);
	rt_io_put(s->io, buf_view(&b));
	watch_write(s, buf_view(&b));
	buf_fini(&b);
	s->over = true;
	return -E_CLOSED;
}

int session_flush(struct smtp_session *s)
{
	return rt_io_flush(s->io);
}
