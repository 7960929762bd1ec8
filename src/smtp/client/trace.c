/* SPDX-License-Identifier: Apache-2.0 */
#include "smtp/client/trace.h"
#include <stdarg.h>
#include "smtp/client/session.h"

atomic_int smtp_session_watchers;
static void (*sink)(const struct smtp_session_event *ev);

void smtp_session_trace_set(void (*fn)(const struct smtp_session_event *ev))
{
	sink = fn;
}

static struct slice addr_slice(struct arena *a, const struct netaddr *n)
{
	char text[128];
	return arena_dup(a, slice_from_cstr(netaddr_text(n, text)));
}

static struct slice ip_slice(struct arena *a, const struct netaddr *n)
{
	struct buf b = { 0 };

	if (n->path[0])
		return slice_from_cstr(n->path);
	ipaddr_put(&b, &n->ip);
	struct slice s = arena_dup(a, buf_view(&b));
	buf_fini(&b);
	return s;
}

/* {"Addresses": [{"name": …, "addr": …, "is_secure": true}]}: the last one is tried first. */
static struct val plan_val(struct arena *a, const struct smtp_session *s)
{
	struct val plan = val_obj(), list = val_list();

	for (size_t i = s->n_hosts; i-- > 0;) {
		struct val h = val_obj();
		val_put(a, &h, SLICE("name"), val_cstr(a, s->hosts[i].name));
		val_put(a, &h, SLICE("addr"), val_str(a, ip_slice(a, &s->hosts[i].addr)));
		if (s->hosts[i].secure)
			val_put(a, &h, SLICE("is_secure"), val_bool(true));
		val_push(a, &list, h);
	}
	val_put(a, &plan, SLICE("Addresses"), list);
	return plan;
}

static struct val meta_val(struct arena *a, struct dispatcher *d)
{
	struct smtp_session *s = d->state;
	struct val m = val_obj();

	val_put(a, &m, SLICE("egress_pool"), val_str(a, d->rq->pool));
	val_put(a, &m, SLICE("egress_source"), val_str(a, d->rq->source_name));
	val_put(a, &m, SLICE("id"), val_cstr(a, d->session_text));
	val_put(a, &m, SLICE("ready_queue_name"), val_str(a, d->rq->name));
	val_put(a, &m, SLICE("mx_plan"), plan_val(a, s));
	if (s->host && s->client) {
		val_put(a, &m, SLICE("source_address"), val_str(a, addr_slice(a, &s->source)));
		val_put(a, &m, SLICE("mx_host"), val_cstr(a, s->host->name));
		val_put(a, &m, SLICE("mx_address"), val_str(a, ip_slice(a, &s->remote)));
	}
	for (uint32_t i = 0; s->trace_arena && i < s->msg_meta.n; i++)
		val_put(a, &m, s->msg_meta.members[i].key, s->msg_meta.members[i].val);
	return m;
}

void smtp_session_trace(struct dispatcher *d, enum smtp_session_event_kind kind, struct slice data, const char *level)
{
	if (atomic_load_explicit(&smtp_session_watchers, memory_order_relaxed) == 0 || sink == NULL)
		return;
	struct arena *a = arena_create();
	struct val meta = meta_val(a, d);
	sink(&(struct smtp_session_event){ kind, &meta, data, level });
	arena_destroy(&a);
}

void smtp_session_note(struct dispatcher *d, const char *level, const char *fmt, ...)
{
	struct buf b = { 0 };
	va_list ap;

	if (atomic_load_explicit(&smtp_session_watchers, memory_order_relaxed) == 0)
		return;
	va_start(ap, fmt);
	buf_vprintf(&b, fmt, ap);
	va_end(ap);
	smtp_session_trace(d, SMTP_SESSION_DIAGNOSTIC, buf_view(&b), level);
	buf_fini(&b);
}

void smtp_session_client_trace(void *arg, enum smtp_trace_kind kind, struct slice data)
{
	static const enum smtp_session_event_kind KINDS[] = {
		[SMTP_TRACE_READ] = SMTP_SESSION_READ, [SMTP_TRACE_WRITE] = SMTP_SESSION_WRITE,
		[SMTP_TRACE_TEXT] = SMTP_SESSION_TEXT, [SMTP_TRACE_CLOSED] = SMTP_SESSION_CLOSED,
		[SMTP_TRACE_ERROR] = SMTP_SESSION_DIAGNOSTIC, [SMTP_TRACE_INFO] = SMTP_SESSION_DIAGNOSTIC,
	};
	smtp_session_trace(arg, KINDS[kind], data, kind == SMTP_TRACE_ERROR ? "ERROR" : "INFO");
}
