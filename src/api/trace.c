/* SPDX-License-Identifier: Apache-2.0 */
/* GET /api/admin/trace-smtp-server/v1 and trace-smtp-client/v1: WebSockets that tell what sessions do. */
#include "api/api.h"
#include "base/utf8.h"
#include "net/trace.h"
#include "net/websocket.h"
#include "rt/fiber.h"
#include "smtp/client/trace.h"
#include <stdlib.h>

#define REQUEST_MAX 65536
#define PING_MS 30000
#define SNIPPET_MAX 256

/* What a watcher asks for: for each property of a session the values that it wants to see. */
struct wish {
	enum trace_kind kind;
	bool terse;
	struct cidr sources[32], mx_addrs[32];
	size_t n_sources, n_mx_addrs;
	const struct val *request;
};

/* A property that the session does not have yet does not hide it: here and below. */
static bool address_in(const struct val *meta, const char *key, const struct cidr *nets, size_t n)
{
	struct slice text = val_get_str(meta, slice_from_cstr(key));
	struct netaddr at;

	if (!n || !text.ptr)
		return true;
	if (netaddr_parse(text, 0, &at) < 0)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (cidr_has(&nets[i], &at.ip))
			return true;
	}
	return false;
}

static bool listed(const struct val *list, const struct val *v)
{
	for (uint32_t i = 0; i < list->n; i++) {
		if (v->type == VAL_STR && list->items[i].type == VAL_STR && slice_eq(list->items[i].s, v->s))
			return true;
		for (uint32_t k = 0; v->type == VAL_LIST && k < v->n; k++) {
			if (val_eq(&list->items[i], &v->items[k]))
				return true;
		}
	}
	return false;
}

static bool wanted(const struct val *meta, void *arg)
{
	static const char *const NAMES[][2] = {
		{ "mx_host", "mx_host" }, { "domain", "domain" }, { "routing_domain", "routing_domain" }, { "campaign", "campaign" }, { "tenant", "tenant" },
		{ "egress_pool", "egress_pool" }, { "egress_source", "egress_source" }, { "mail_from", "sender" }, { "rcpt_to", "recipient" },
		{ "ready_queue", "ready_queue_name" },
	};
	const struct wish *w = arg;

	if (!address_in(meta, w->kind == TRACE_SMTP_SERVER ? "received_from" : "source_address", w->sources, w->n_sources) ||
	    !address_in(meta, "mx_address", w->mx_addrs, w->n_mx_addrs))
		return false;
	for (size_t i = 0; w->kind == TRACE_SMTP_CLIENT && i < ARRAY_LEN(NAMES); i++) {
		const struct val *list = val_get(w->request, slice_from_cstr(NAMES[i][0])), *have = val_get(meta, slice_from_cstr(NAMES[i][1]));
		if (list && list->type == VAL_LIST && list->n && have && !listed(list, have))
			return false;
	}
	return true;
}

static int read_networks(const struct val *list, struct cidr *nets, size_t max, size_t *n)
{
	for (uint32_t i = 0; list && list->type == VAL_LIST && i < list->n; i++) {
		if (list->items[i].type != VAL_STR || *n == max || cidr_parse(list->items[i].s, &nets[*n]) < 0)
			return err_set(E_INVAL, "not a network");
		++*n;
	}
	return 0;
}

static int read_wish(struct rt_io *io, struct arena *a, struct wish *w)
{
	struct val *request = arena_alloc(a, sizeof *request);
	struct buf text = { 0 };
	enum ws_op op;
	int rc = ws_read(io, REQUEST_MAX, &op, &text);

	if (rc == 0 && op != WS_TEXT)
		rc = err_set(E_PROTO, "expected the request as text");
	if (rc == 0)
		rc = json_parse(buf_view(&text), a, request);
	buf_fini(&text);
	if (rc < 0)
		return rc;
	const struct val *terse = val_get_lit(request, "terse");
	w->request = request;
	w->terse = terse && terse->type == VAL_BOOL && terse->b;
	rc = read_networks(val_get_lit(request, "source_addr"), w->sources, ARRAY_LEN(w->sources), &w->n_sources);
	return rc < 0 ? rc : read_networks(val_get_lit(request, "mx_addr"), w->mx_addrs, ARRAY_LEN(w->mx_addrs), &w->n_mx_addrs);
}

struct reader {
	struct rt_io *io;
	struct trace_watcher *w;
};

/* Until the watcher goes away or says goodbye. */
static void read_on(void *arg)
{
	struct reader *r = arg;
	struct buf text = { 0 };
	enum ws_op op;

	while (ws_read(r->io, REQUEST_MAX, &op, &text) == 0 && op != WS_CLOSE)
		;
	buf_fini(&text);
	trace_end(r->w);
}

static int send_frame(struct rt_io *io, enum ws_op op, struct slice payload)
{
	struct buf frame = { 0 };

	ws_frame_put(&frame, op, payload, false);
	rt_io_put(io, buf_view(&frame));
	buf_fini(&frame);
	return rt_io_flush(io);
}

static void tell(struct rt_io *io, struct trace_watcher *w)
{
	struct buf text = { 0 };
	int rc = 0;

	while (rc == 0) {
		buf_clear(&text);
		rc = trace_next(w, &text, PING_MS);
		if (rc == 0)
			rc = send_frame(io, WS_TEXT, buf_view(&text));
		else if (rc == -E_TIMEOUT && rt_check() == 0)
			rc = send_frame(io, WS_PING, SLICE(""));
	}
	buf_fini(&text);
}

static void serve(struct api_call *c, enum trace_kind kind)
{
	struct slice key = http_request_header(c->req, "sec-websocket-key");
	struct wish *wish = arena_alloc(c->arena, sizeof *wish);
	struct buf accept = { 0 };

	if (!key.len || !slice_eq_nocase(http_request_header(c->req, "upgrade"), SLICE("websocket"))) {
		http_respond(c->resp, 400, "Connection header did not include 'upgrade'");
		return;
	}
	struct rt_io *io = http_take_over(c->req);
	rt_io_set_timeout(io, INT64_MAX, 60000);
	ws_accept_key_put(&accept, key);
	rt_io_printf(io, "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: %s\r\n\r\n", buf_cstr(&accept));
	buf_fini(&accept);
	wish->kind = kind;
	if (rt_io_flush(io) < 0 || read_wish(io, c->arena, wish) < 0)
		return;
	struct trace_watcher *w = trace_watch(kind, wish->terse, wanted, wish);
	if (kind == TRACE_SMTP_CLIENT)
		smtp_session_watchers++;
	struct reader r = { io, w };
	struct rt_fiber *f = rt_fiber_start("trace_reader", read_on, &r);
	tell(io, w);
	rt_fiber_cancel(f);
	struct rt_shield shield;
	rt_shield_enter(&shield);
	rt_fiber_join(f);
	rt_shield_leave(&shield);
	rt_fiber_unref(&f);
	trace_unwatch(&w);
	if (kind == TRACE_SMTP_CLIENT)
		smtp_session_watchers--;
}

static struct val tagged(struct arena *a, const char *tag, struct slice text)
{
	struct val o = val_obj();
	struct buf b = { 0 };

	utf8_put_lossy(&b, text);
	val_put(a, &o, slice_from_cstr(tag), val_str(a, buf_view(&b)));
	buf_fini(&b);
	return o;
}

static struct val diagnostic(struct arena *a, const struct smtp_session_event *ev)
{
	struct val d = val_obj(), o = val_obj();

	val_put_lit(a, &d, "level", val_cstr(a, ev->level));
	val_put_lit(a, &d, "message", val_str(a, ev->data));
	val_put_lit(a, &o, "Diagnostic", d);
	return o;
}

/* For terse watchers the text of a message is its first line and its length, and then the dot. */
static void text_sent(struct arena *a, const struct smtp_session_event *ev)
{
	struct val full = tagged(a, "Write", ev->data), dot = tagged(a, "Write", SLICE(".\r\n")), brief = val_obj(), o = val_obj();
	struct slice text = slice_sub(ev->data, 0, ev->data.len - SLICE(".\r\n").len);
	ptrdiff_t end = slice_find(text, SLICE("\r\n"));

	val_put_lit(a, &brief, "snippet", val_str(a, slice_sub(text, 0, end < 0 || end > SNIPPET_MAX ? SNIPPET_MAX : (size_t)end)));
	val_put_lit(a, &brief, "len", val_int((int64_t)text.len));
	val_put_lit(a, &o, "AbbreviatedWrite", brief);
	trace_emit(TRACE_SMTP_CLIENT, ev->conn_meta, &full, &o);
	trace_emit(TRACE_SMTP_CLIENT, ev->conn_meta, NULL, &dot);
}

static void session_event(const struct smtp_session_event *ev)
{
	struct arena *a = arena_create();
	struct val v;

	switch (ev->kind) {
	case SMTP_SESSION_BEGIN:	v = val_cstr(a, "BeginSession"); break;
	case SMTP_SESSION_CONNECTED:	v = val_cstr(a, "Connected"); break;
	case SMTP_SESSION_CLOSED:	v = val_cstr(a, "Closed"); break;
	case SMTP_SESSION_MESSAGE:	v = val_cstr(a, "MessageObtained"); break;
	case SMTP_SESSION_READ:		v = tagged(a, "Read", ev->data); break;
	case SMTP_SESSION_WRITE:	v = tagged(a, "Write", ev->data); break;
	case SMTP_SESSION_DIAGNOSTIC:	v = diagnostic(a, ev); break;
	case SMTP_SESSION_TEXT:		text_sent(a, ev); break;
	}
	if (ev->kind != SMTP_SESSION_TEXT)
		trace_emit(TRACE_SMTP_CLIENT, ev->conn_meta, &v, NULL);
	arena_destroy(&a);
}

void api_trace_register(void)
{
	smtp_session_trace_set(session_event);
}

void api_trace_smtp_server(struct api_call *c) { serve(c, TRACE_SMTP_SERVER); }
void api_trace_smtp_client(struct api_call *c) { serve(c, TRACE_SMTP_CLIENT); }
