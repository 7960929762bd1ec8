/* SPDX-License-Identifier: Apache-2.0 */
#include "base/encode.h"
#include "base/timefmt.h"
#include "msg/msg.h"
#include "rt/clock.h"
#include "smtp/server/session.h"

/* RFC 5321 4.4, in the layout that log scrapers know: the "for" clause only where there is one recipient to name. */
void trace_put_received(struct buf *b, struct smtp_session *s, struct uuid id, const struct smtp_path *only_rcpt)
{
	struct slice from = session_peer_name(s);
	const struct val *cipher = conn_meta_get(s->meta, SLICE("tls_cipher"));
	buf_lit(b, "Received: from ");
	buf_slice(b, from.len ? from : SLICE("unspecified"));
	buf_lit(b, " (");
	ipaddr_put(b, &s->peer.ip);
	buf_lit(b, ")\r\n  by ");
	buf_slice(b, s->params->hostname);
	buf_lit(b, " (KumoMTA ");
	ipaddr_put(b, &s->local.ip);
	buf_lit(b, ") \r\n  with ESMTP");
	if (s->tls)
		buf_putc(b, 'S');
	if (s->authenticated)
		buf_putc(b, 'A');
	if (s->tls && cipher != NULL)
		buf_printf(b, " (%.*s:%.*s)", SLICE_ARG(val_get_str(conn_meta_all(s->meta), SLICE("tls_protocol_version"))), SLICE_ARG(cipher->s));
	buf_lit(b, " id ");
	uuid_put_simple(b, id);
	if (only_rcpt != NULL)
		buf_printf(b, " for <%.*s>", SLICE_ARG(only_rcpt->text));
	buf_lit(b, ";\r\n  ");
	time_put_rfc2822(b, rt_wall_us(), 0);
	buf_lit(b, "\r\n");
}

/* Base64 of key-sorted JSON with a marker, by which feedback reports are matched; folded well below 998 octets. */
#define FOLD_AT 75
void trace_put_supplemental(struct buf *b, const struct smtp_trace_opts *o, const struct msg_env *env)
{
	struct arena *a = arena_create();
	struct val ref = val_obj();
	struct buf json = { 0 }, text = { 0 };
	val_put_lit(a, &ref, "_@_", val_cstr(a, "\\_/"));
	struct val rcpt = env->n_recipients == 1 ? val_str(a, env->recipients[0]) : val_list();
	for (uint32_t i = 0; env->n_recipients != 1 && i < env->n_recipients; i++)
		val_push(a, &rcpt, val_str(a, env->recipients[i]));
	val_put_lit(a, &ref, "recipient", rcpt);
	const struct slice *names = o->include_meta_names.items;
	for (size_t i = 0; i < o->include_meta_names.n; i++) {
		const struct val *v = val_get(&env->meta, names[i]);
		val_put(a, &ref, names[i], v ? val_copy(a, v) : val_null());
	}
	json_put(&json, &ref, JSON_SORTED);
	base64_put(&text, buf_view(&json), BASE64_STD);
	buf_slice(b, o->header_name);
	buf_lit(b, ": ");
	for (size_t at = 0; at < text.len; at += FOLD_AT) {
		if (at > 0)
			buf_lit(b, "\r\n\t");
		buf_slice(b, slice_sub(buf_view(&text), at, FOLD_AT));
	}
	buf_lit(b, "\r\n");
	buf_fini(&json);
	buf_fini(&text);
	arena_destroy(&a);
}

struct msg_body *trace_body_with(struct slice header, const struct msg_body *body)
{
	struct buf b = { 0 };
	size_t len;
	buf_reserve(&b, header.len + body->len);
	buf_slice(&b, header);
	buf_slice(&b, msg_body_view(body));
	char *data = buf_take(&b, &len);
	return msg_body_take(data, len);
}

int trace_add_supplemental(struct msg *m, const struct smtp_trace_opts *o)
{
	struct msg_env *env;
	struct msg_body *body;
	struct buf header = { 0 };
	int rc = msg_env(m, &env);
	if (rc < 0)
		return rc;
	trace_put_supplemental(&header, o, env);
	msg_env_unref(&env);
	rc = msg_body(m, &body);
	if (rc == 0) {
		msg_set_body(m, trace_body_with(buf_view(&header), body));
		msg_body_unref(&body);
	}
	buf_fini(&header);
	return rc;
}

int smtp_trace_apply_supplemental(struct msg *m, const struct val *opts)
{
	struct arena *a = arena_create();
	struct smtp_trace_opts o;
	int rc = 0;
	if (opts != NULL)
		rc = opt_parse(&SMTP_TRACE_OPTS, opts, a, &o);
	else
		opt_defaults(&SMTP_TRACE_OPTS, a, &o);
	if (rc == 0 && o.supplemental_header)
		rc = trace_add_supplemental(m, &o);
	arena_destroy(&a);
	return rc;
}
