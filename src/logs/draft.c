/* SPDX-License-Identifier: Apache-2.0 */
/* A record: gathered once for all loggers, written straight into a buffer. */
#include "base/timefmt.h"
#include "codec/rfc5322.h"
#include "logs/internal.h"
#include "policy/nodeid.h"
#include "rt/clock.h"

const char *log_type_name(enum log_type t)
{
	static const char *const NAMES[] = {
#define X(n, t) [n] = t,
		LOG_TYPES(X)
#undef X
	};
	return NAMES[t];
}

static struct slice arena_buf(struct arena *a, struct buf *b)
{
	struct slice s = arena_dup(a, buf_view(b));
	buf_fini(b);
	return s;
}

static void take_id(struct log_draft *d, struct uuid id)
{
	static const struct uuid NIL;
	struct buf b = { 0 };
	if (!uuid_eq(id, NIL))
		uuid_put_simple(&b, id);
	memcpy(d->id, b.ptr ? b.ptr : "", b.len);
	buf_fini(&b);
}

static void take_message(struct log_draft *d, struct msg *m)
{
	const struct log_event *ev = d->ev;
	take_id(d, msg_id(m));
	d->created_us = msg_created_us(m);
	if (msg_env(m, &d->env) < 0)
		d->env = NULL;
	d->body = msg_body_if_loaded(m);
	if (ev->type != LOG_OOB) {	/* a report's records speak of other messages */
		d->num_attempts = msg_num_attempts(m);
		d->size = d->body ? d->body->len : 0;
	}
	if (d->env == NULL)
		return;
	d->sender = ev->sender.ptr ? ev->sender : d->env->sender;
	d->meta = &d->env->meta;
	if (ev->n_recipients == 0) {
		d->recipients = d->env->recipients;
		d->n_recipients = d->env->n_recipients;
	}
	d->reception_protocol = val_get_str(d->meta, SLICE("reception_protocol"));
	if (ev->queue.ptr == NULL) {
		struct buf b = { 0 };
		if (msg_queue_name(m, &b) < 0)
			buf_cstr_put(&b, err_text());
		d->queue = arena_buf(d->arena, &b);
	}
}

void draft_begin(struct log_draft *d, const struct log_event *ev)
{
	static const struct slice NOBODY = SLICE_INIT("");
	static const struct val EMPTY = { .type = VAL_OBJ };
	*d = (struct log_draft){ .ev = ev, .arena = arena_create(), .sender = ev->sender, .queue = ev->queue, .recipients = ev->recipients,
		.n_recipients = ev->n_recipients, .event_us = ev->event_us ? ev->event_us : rt_wall_us(), .meta = ev->meta ? ev->meta : &EMPTY };
	d->created_us = d->event_us;
	if (ev->msg != NULL)
		take_message(d, ev->msg);
	else
		take_id(d, ev->id);
	if (d->n_recipients == 0) {
		d->recipients = &NOBODY;
		d->n_recipients = 1;
	}
	if (ev->reception_protocol.ptr != NULL)
		d->reception_protocol = ev->reception_protocol;
	d->classification = SLICE("Uncategorized");
}

void draft_end(struct log_draft *d)
{
	msg_env_unref(&d->env);
	msg_body_unref(&d->body);
	arena_destroy(&d->arena);
}

/* --- header fields */

static struct val *find_nocase(struct val *obj, struct slice name)
{
	for (uint32_t i = 0; i < obj->n; i++)
		if (slice_eq_nocase(obj->members[i].key, name))
			return &obj->members[i].val;
	return NULL;
}

static void add_header(struct arena *a, struct val *all, const struct mail_header *h)
{
	struct buf text = { 0 };
	if (mail_parse_unstructured(h->value, &text) < 0) {
		buf_clear(&text);
		buf_slice(&text, slice_trim(h->value));
	}
	struct val v = val_str(a, buf_view(&text)), *old = find_nocase(all, h->name);
	buf_fini(&text);
	if (old == NULL) {
		val_put(a, all, h->name, v);
		return;
	}
	if (old->type != VAL_LIST) {
		struct val first = *old;
		*old = val_list();
		val_push(a, old, first);
	}
	val_push(a, old, v);
}

void draft_load_headers(struct log_draft *d)
{
	if (d->headers != NULL || d->ev->msg == NULL)
		return;
	if (d->body == NULL && msg_body(d->ev->msg, &d->body) < 0)
		return;
	if (d->ev->type != LOG_OOB)
		d->size = d->body->len;
	struct val *all = arena_alloc(d->arena, sizeof *all);
	*all = val_obj();
	struct slice rest = msg_body_view(d->body);
	for (struct mail_header h; mail_header_next(&rest, &h) == 1;)
		add_header(d->arena, all, &h);
	d->headers = all;
}

/* --- selections: names, or prefixes that end in '*'. Null counts as unset, but a prefix takes it along. */

static bool selected(const struct opt_list *names, struct slice key, const struct val *v, bool nocase)
{
	const struct slice *list = names->items;
	for (size_t i = 0; i < names->n; i++) {
		struct slice want = list[i];
		if (want.len > 0 && want.ptr[want.len - 1] == '*') {
			want.len--;
			if (nocase ? slice_starts_nocase(key, want) : slice_starts(key, want))
				return true;
		} else if (v->type != VAL_NULL && (nocase ? slice_eq_nocase(key, want) : slice_eq(key, want))) {
			return true;
		}
	}
	return false;
}

static void put_selected(struct buf *b, const struct val *obj, const struct opt_list *names, bool nocase)
{
	bool first = true;
	buf_putc(b, '{');
	for (uint32_t i = 0; names->n > 0 && obj != NULL && obj->type == VAL_OBJ && i < obj->n; i++) {
		const struct val_member *m = &obj->members[i];
		if (!selected(names, m->key, &m->val, nocase))
			continue;
		json_put_key(b, &first, m->key);
		json_put(b, &m->val, JSON_COMPACT | JSON_SORTED);
	}
	buf_putc(b, '}');
}

void draft_meta(const struct log_draft *d, const struct opt_list *names, struct arena *a, struct val *out)
{
	*out = val_obj();
	for (uint32_t i = 0; d->meta->type == VAL_OBJ && i < d->meta->n; i++) {
		const struct val_member *m = &d->meta->members[i];
		if (m->val.type != VAL_NULL && selected(names, m->key, &m->val, false))
			val_put(a, out, m->key, val_copy(a, &m->val));
	}
}

/* --- JSON. The keys are literals: no tree, no sorting, no escaping of names. */

static void put_text(struct buf *b, const char *key, struct slice s)
{
	buf_cstr_put(b, key);
	if (s.ptr == NULL)
		buf_lit(b, "null");
	else
		json_put_string(b, s);
}

static void put_if(struct buf *b, const char *key, struct slice s)
{
	if (s.ptr != NULL)
		put_text(b, key, s);
}

static void put_time(struct buf *b, const char *seconds_key, const char *full_key, int64_t us)
{
	buf_cstr_put(b, seconds_key);
	buf_i64(b, us / USEC_PER_SEC);
	buf_cstr_put(b, full_key);
	buf_putc(b, '"');
	time_put_rfc3339(b, us, 6, true);
	buf_putc(b, '"');
}

static void put_recipients(struct buf *b, const struct log_draft *d)
{
	buf_lit(b, ",\"recipient\":");
	if (d->n_recipients == 1) {
		json_put_string(b, d->recipients[0]);
		return;
	}
	for (uint32_t i = 0; i < d->n_recipients; i++) {
		buf_putc(b, i ? ',' : '[');
		json_put_string(b, d->recipients[i]);
	}
	buf_putc(b, ']');
}

/* Lines of a reply become one, with blanks: what parses logs expects it so. */
static void put_single_line(struct buf *b, struct slice s)
{
	if (slice_chr(s, '\n') < 0 && slice_chr(s, '\r') < 0) {
		json_put_string(b, s);
		return;
	}
	struct buf line = { 0 };
	smtp_single_line_put(&line, s);
	json_put_string(b, buf_view(&line));
	buf_fini(&line);
}

static void put_response(struct buf *b, const struct smtp_response *r)
{
	buf_lit(b, ",\"response\":{\"code\":");
	buf_u64(b, r->code);
	buf_lit(b, ",\"enhanced_code\":");
	if (r->has_enhanced) {
		buf_lit(b, "{\"class\":");
		buf_u64(b, r->enh_class);
		buf_lit(b, ",\"subject\":");
		buf_u64(b, r->enh_subject);
		buf_lit(b, ",\"detail\":");
		buf_u64(b, r->enh_detail);
		buf_putc(b, '}');
	} else {
		buf_lit(b, "null");
	}
	buf_lit(b, ",\"content\":");
	put_single_line(b, r->content);
	put_text(b, ",\"command\":", r->command);
	buf_putc(b, '}');
}

static void put_peer(struct buf *b, const struct log_event *ev)
{
	buf_lit(b, ",\"peer_address\":");
	if (ev->peer_name.ptr == NULL && ev->peer_addr.ptr == NULL) {
		buf_lit(b, "null");
		return;
	}
	buf_lit(b, "{\"name\":");
	json_put_string(b, ev->peer_name);
	buf_lit(b, ",\"addr\":");
	json_put_string(b, ev->peer_addr);
	if (ev->peer_secure)
		buf_lit(b, ",\"is_secure\":true");
	buf_putc(b, '}');
}

static void put_source(struct buf *b, const struct log_event *ev)
{
	buf_lit(b, ",\"source_address\":");
	if (ev->source_address.ptr == NULL) {
		buf_lit(b, "null");
		return;
	}
	buf_lit(b, "{\"address\":");
	json_put_string(b, ev->source_address);
	put_if(b, ",\"server\":", ev->source_server);
	put_if(b, ",\"protocol\":", ev->source_protocol);
	buf_putc(b, '}');
}

static void put_tls(struct buf *b, const struct log_event *ev)
{
	if (ev->tls_cipher.ptr == NULL)
		return;
	put_text(b, ",\"tls_cipher\":", ev->tls_cipher);
	put_if(b, ",\"tls_protocol_version\":", ev->tls_protocol_version);
	buf_lit(b, ",\"tls_peer_subject_name\":");
	if (ev->tls_peer_subject_name != NULL)
		json_put(b, ev->tls_peer_subject_name, JSON_COMPACT);
	else
		buf_lit(b, "[]");
}

void draft_put_json(struct buf *b, const struct log_draft *d, const struct opt_list *meta, const struct opt_list *headers)
{
	const struct log_event *ev = d->ev;
	buf_reserve(b, 1024);
	buf_lit(b, "{\"type\":\"");
	buf_cstr_put(b, log_type_name(ev->type));
	buf_lit(b, "\",\"id\":\"");
	buf_cstr_put(b, d->id);
	buf_lit(b, "\",\"sender\":");
	json_put_string(b, d->sender);
	put_recipients(b, d);
	buf_lit(b, ",\"queue\":");
	json_put_string(b, d->queue);
	buf_lit(b, ",\"site\":");
	json_put_string(b, ev->site);
	buf_lit(b, ",\"size\":");
	buf_u64(b, d->size);
	put_response(b, &ev->response);
	put_peer(b, ev);
	put_time(b, ",\"timestamp\":", ",\"event_time\":", d->event_us);
	put_time(b, ",\"created\":", ",\"created_time\":", d->created_us);
	buf_lit(b, ",\"num_attempts\":");
	buf_u64(b, d->num_attempts);
	put_text(b, ",\"bounce_classification\":", d->classification);
	put_text(b, ",\"egress_pool\":", ev->egress_pool);
	put_text(b, ",\"egress_source\":", ev->egress_source);
	put_source(b, ev);
	buf_lit(b, ",\"feedback_report\":");
	if (ev->feedback_report != NULL)
		json_put(b, ev->feedback_report, JSON_COMPACT);
	else
		buf_lit(b, "null");
	buf_lit(b, ",\"meta\":");
	put_selected(b, d->meta, meta, false);
	buf_lit(b, ",\"headers\":");
	put_selected(b, d->headers, headers, true);
	put_text(b, ",\"delivery_protocol\":", ev->delivery_protocol);
	put_text(b, ",\"reception_protocol\":", d->reception_protocol);
	put_text(b, ",\"nodeid\":", slice_from_cstr(nodeid_text()));
	put_tls(b, ev);
	put_if(b, ",\"provider_name\":", ev->provider_name);
	put_if(b, ",\"session_id\":", ev->session_id);
	buf_putc(b, '}');
}
