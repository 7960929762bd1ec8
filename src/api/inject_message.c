/* SPDX-License-Identifier: Apache-2.0 */
/* One recipient's message: templates filled in, parts put together, line ends made right. */
#include "api/aaa.h"
#include "api/inject.h"
#include "base/timefmt.h"
#include "rt/clock.h"
#include <stdlib.h>
#include <unistd.h>

int inject_mailbox_put(struct buf *b, struct arena *a, struct slice email, struct slice name);

/* Later ones win: global, the recipient's own fields, then its substitutions. */
static void overlay(struct arena *a, struct val *to, const struct val *from)
{
	for (uint32_t i = 0; from && i < from->n; i++)
		val_put(a, to, from->members[i].key, from->members[i].val);
}

static int variables(const struct inject_job *j, const struct inject_recipient *r, struct arena *a, struct val *out, struct slice *to_header)
{
	struct buf b = { 0 };
	int rc = inject_mailbox_put(&b, a, r->email, r->name);

	if (rc < 0) {
		buf_fini(&b);
		return rc;
	}
	*to_header = arena_dup(a, buf_view(&b));
	buf_fini(&b);
	*out = val_obj();
	overlay(a, out, j->req.substitutions);
	val_put_lit(a, out, "email", val_str(a, r->email));
	if (r->name.ptr)
		val_put_lit(a, out, "name", val_str(a, r->name));
	val_put_lit(a, out, "to_header", val_str(a, *to_header));
	overlay(a, out, r->substitutions);
	return 0;
}

/* Bare CR and LF become CRLF: one message stays one message on its way. */
static void put_crlf(struct buf *out, struct slice in)
{
	size_t start = 0;

	buf_reserve(out, in.len + in.len / 32);
	for (size_t i = 0; i < in.len; i++) {
		char c = in.ptr[i];
		if (c != '\r' && c != '\n')
			continue;
		buf_put(out, in.ptr + start, i - start);
		buf_lit(out, "\r\n");
		if (c == '\r' && i + 1 < in.len && in.ptr[i + 1] == '\n')
			i++;
		start = i + 1;
	}
	buf_put(out, in.ptr + start, in.len - start);
}

static int expand_text(const struct inject_job *j, const struct val *vars, struct buf *out)
{
	struct mime_fix fix = { .now_us = rt_wall_us() };
	struct mime_doc *doc = NULL, *rebuilt = NULL;
	struct buf text = { 0 };

	int rc = template_render(j->text, vars, &text);
	if (rc == 0 && (rc = mime_parse(buf_view(&text), &doc)) < 0)
		err_prefix("failed to parse content");
	if (rc == 0 && (rc = mime_rebuild(doc->root, &fix, &rebuilt)) < 0)
		err_prefix("failed to rebuild content");
	if (rc == 0) {
		if (!mime_header_find(rebuilt->root, "Mime-Version"))
			mime_header_append(rebuilt, rebuilt->root, SLICE("Mime-Version"), SLICE("1.0"));
		mime_put(out, rebuilt->root);
	}
	if (doc)
		mime_doc_unref(&doc);
	if (rebuilt)
		mime_doc_unref(&rebuilt);
	buf_fini(&text);
	return rc;
}

static int render_part(struct template *t, const struct val *vars, struct mime_builder *b, const char *type, struct mime_part **out)
{
	struct buf text = { 0 };
	int rc = t ? template_render(t, vars, &text) : 0;

	if (rc == 0 && t)
		*out = mime_new_text(b->doc, slice_from_cstr(type), buf_view(&text));
	buf_fini(&text);
	return rc;
}

static int put_headers(const struct inject_job *j, const struct val *vars, struct slice to_header, struct mime_builder *b, struct mime_part *headers)
{
	struct buf text = { 0 }, value = { 0 };
	bool need_to = true;
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < j->headers.n; i++) {
		struct slice name = j->headers.members[i].key;
		need_to = need_to && !slice_eq_nocase(name, SLICE("to"));
		buf_clear(&text);
		buf_clear(&value);
		rc = template_render(j->header_templates[i], vars, &text);
		if (rc == 0) {
			mail_put_unstructured(&value, buf_view(&text));
			mime_header_append(b->doc, headers, name, buf_view(&value));
		}
	}
	if (rc == 0 && need_to)
		mime_header_append(b->doc, headers, SLICE("To"), to_header);
	buf_fini(&text);
	buf_fini(&value);
	return rc;
}

static void attach(const struct inject_job *j, struct mime_builder *b)
{
	const struct inject_attachment *a = j->req.content.b.attachments.items;

	for (size_t i = 0; i < j->req.content.b.attachments.n; i++) {
		struct mime_attachment opts = { .given = true, .file_name = a[i].file_name, .content_id = a[i].content_id, .is_inline = a[i].content_id.ptr != NULL };
		mime_builder_attach(b, mime_new_binary(b->doc, a[i].content_type, j->attached[i], &opts));
	}
}

static int expand_builder(const struct inject_job *j, const struct val *vars, struct slice to_header, struct buf *out)
{
	struct mime_builder b = { 0 };
	struct mime_doc *scratch;

	mime_builder_init(&b);
	scratch = mime_doc_create();	/* the header fields' own place */
	int rc = render_part(j->text && j->req.content.b.text_body.ptr ? j->text : NULL, vars, &b, "text/plain", &b.text);
	if (rc == 0)
		rc = render_part(j->html, vars, &b, "text/html", &b.html);
	if (rc == 0)
		rc = render_part(j->amp, vars, &b, "text/x-amp-html", &b.amp_html);
	if (rc == 0) {
		b.headers = mime_copy(b.doc, scratch->root);
		rc = put_headers(j, vars, to_header, &b, b.headers);
	}
	if (rc == 0) {
		attach(j, &b);
		rc = mime_build(&b, rt_wall_us());
	}
	if (rc == 0)
		mime_put(out, b.doc->root);
	mime_doc_unref(&scratch);
	mime_builder_fini(&b);
	return rc;
}

static void put_received(const struct inject_job *j, const struct inject_recipient *r, struct uuid id, struct buf *out)
{
	char host[256] = "localhost";

	if (gethostname(host, sizeof host) == 0)
		host[sizeof host - 1] = 0;
	buf_printf(out, "Received: from %.*s (", SLICE_ARG(j->sender.domain));
	ipaddr_put(out, &j->origin.peer);
	buf_printf(out, ")\r\n  by %s (KumoMTA)\r\n  with HTTP id ", host);
	uuid_put_simple(out, id);
	buf_printf(out, " for <%.*s>;\r\n  ", SLICE_ARG(r->email));
	time_put_rfc2822(out, rt_wall_us(), 0);
	buf_lit(out, "\r\n");
}

/* The message of one recipient as text, with CRLF line ends and the Received field if it was asked for. */
static int inject_expand(const struct inject_job *j, const struct inject_recipient *r, struct uuid id, struct buf *out)
{
	struct arena *a = arena_create();
	struct buf text = { 0 };
	struct slice to_header;
	struct val vars;
	int rc = variables(j, r, a, &vars, &to_header);

	if (rc == 0)
		rc = j->req.content.text.ptr ? expand_text(j, &vars, &text) : expand_builder(j, &vars, to_header, &text);
	if (rc == 0) {
		if (j->req.trace_headers.received_header)
			put_received(j, r, id, out);
		put_crlf(out, buf_view(&text));
	}
	buf_fini(&text);
	arena_destroy(&a);
	return rc;
}

/* Who the metadata http_auth says it was: identities, else the peer's address. */
static struct val http_auth(const struct inject_job *j, struct arena *a)
{
	const struct val *ids = val_get_lit(j->origin.auth, "identities");
	struct buf b = { 0 };

	if (aaa_is_authenticated(j->origin.auth)) {
		for (uint32_t i = 0; i < ids->n; i++)
			buf_printf(&b, "%s%.*s", i ? ", " : "", SLICE_ARG(val_get_str(&ids->items[i], SLICE("identity"))));
	} else {
		ipaddr_put(&b, &j->origin.peer);
	}
	struct val v = val_str(a, buf_view(&b));
	buf_fini(&b);
	return v;
}

void inject_put_meta(const struct inject_job *j, struct msg_env *env);
void inject_put_meta(const struct inject_job *j, struct msg_env *env)
{
	struct buf peer = { 0 };

	ipaddr_put(&peer, &j->origin.peer);
	env->meta = val_obj();
	val_put_lit(env->arena, &env->meta, "http_auth", http_auth(j, env->arena));
	val_put_lit(env->arena, &env->meta, "reception_protocol", val_cstr(env->arena, "HTTP"));
	val_put_lit(env->arena, &env->meta, "received_from", val_str(env->arena, buf_view(&peer)));
	if (j->origin.via.ptr)
		val_put_lit(env->arena, &env->meta, "received_via", val_str(env->arena, j->origin.via));
	if (j->origin.hostname.ptr)
		val_put_lit(env->arena, &env->meta, "hostname", val_str(env->arena, j->origin.hostname));
	buf_fini(&peer);
}

int inject_make(const struct inject_job *j, const struct inject_recipient *r, struct msg **out)
{
	struct arena *a = arena_create();
	struct uuid id = uuid_v1();
	struct smtp_path to;
	struct buf text = { 0 };
	size_t len;

	int rc = smtp_address_parse(r->email, a, &to);
	if (rc == 0 && (to.kind != SMTP_PATH_MAILBOX || r->email.ptr[0] == '<'))
		rc = err_set(E_INVAL, "not the address of a mailbox");
	if (rc < 0)
		err_prefix("recipient email %.*s", SLICE_ARG(r->email));
	if (rc == 0)
		rc = inject_expand(j, r, id, &text);
	if (rc == 0) {
		struct msg_env *env = msg_env_create(j->sender.text, &to.text, 1);
		inject_put_meta(j, env);
		if (r->metadata && r->metadata->n)
			val_put_lit(env->arena, &env->meta, "extra", val_copy(env->arena, r->metadata));
		char *data = buf_take(&text, &len);
		*out = msg_create(id, env, msg_body_take(data, len));
	}
	buf_fini(&text);
	arena_destroy(&a);
	return rc;
}
