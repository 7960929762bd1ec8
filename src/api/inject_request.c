/* SPDX-License-Identifier: Apache-2.0 */
/* Injection requests: what they hold, their checks, their templates. */
#include "api/inject.h"
#include "base/encode.h"
#include <stdlib.h>

/* --- option tables ----------------------------------------------------------------------------------------------------- */

static int read_text(struct opt_ctx *c, const struct val *in, void *out)
{
	if (in->type == VAL_NULL)
		return 0;
	if (in->type != VAL_STR)
		return opt_fail_type(c, in, "a string");
	*(struct slice *)out = in->s;
	return 0;
}

static int read_map(struct opt_ctx *c, const struct val *in, void *out)
{
	if (in->type != VAL_OBJ)
		return opt_fail_type(c, in, "a map");
	*(const struct val **)out = in;
	return 0;
}

static int read_strings(struct opt_ctx *c, const struct val *in, void *out)
{
	int rc = read_map(c, in, out);

	for (uint32_t i = 0; rc == 0 && i < in->n; i++) {
		if (in->members[i].val.type != VAL_STR)
			rc = opt_fail(c, &in->members[i].val, "a string for `%.*s`", SLICE_ARG(in->members[i].key));
	}
	return rc;
}

#define TEXT_OR_NULL(st, f, h) OPT_CUSTOM(st, f, read_text, NULL, h)

static const struct opt_field RECIPIENT_FIELDS[] = {
	OPT_STR(struct inject_recipient, email, NULL, "the address", .required = true),
	TEXT_OR_NULL(struct inject_recipient, name, "the name shown with it"),
	OPT_CUSTOM(struct inject_recipient, substitutions, read_map, NULL, "variables for this recipient"),
	OPT_CUSTOM(struct inject_recipient, metadata, read_map, NULL, "kept as the metadata `extra`"),
	OPT_END
};
static const struct opt_desc RECIPIENT = { .name = "Recipient", .fields = RECIPIENT_FIELDS, .size = sizeof(struct inject_recipient) };

static const struct opt_field MAILBOX_FIELDS[] = {
	OPT_STR(struct inject_mailbox, email, NULL, "the address", .required = true),
	TEXT_OR_NULL(struct inject_mailbox, name, "the name shown with it"),
	OPT_END
};
static const struct opt_desc MAILBOX = { .name = "FromHeader", .fields = MAILBOX_FIELDS, .size = sizeof(struct inject_mailbox) };

static int read_mailbox(struct opt_ctx *c, const struct val *in, void *out)
{
	struct inject_mailbox *m = out;

	if (in->type == VAL_NULL)
		return 0;
	int rc = opt_parse_struct(c, &MAILBOX, in, out);
	m->given = rc == 0;
	return rc;
}

static const struct opt_field ATTACHMENT_FIELDS[] = {
	OPT_STR(struct inject_attachment, data, NULL, "the content, as text or base64", .required = true),
	OPT_STR(struct inject_attachment, content_type, NULL, "its MIME type", .required = true),
	TEXT_OR_NULL(struct inject_attachment, content_id, "what cid: links refer to; makes it an inline part"),
	TEXT_OR_NULL(struct inject_attachment, file_name, "the name to save it under"),
	OPT_BOOL(struct inject_attachment, base64, "false", "data is base64"),
	OPT_END
};
static const struct opt_desc ATTACHMENT = { .name = "Attachment", .fields = ATTACHMENT_FIELDS, .size = sizeof(struct inject_attachment) };

static const struct opt_field BUILDER_FIELDS[] = {
	TEXT_OR_NULL(struct inject_builder, text_body, "the text part"),
	TEXT_OR_NULL(struct inject_builder, html_body, "the HTML part"),
	TEXT_OR_NULL(struct inject_builder, amp_html_body, "the AMP HTML part"),
	OPT_LIST(struct inject_builder, attachments, &ATTACHMENT, "attachments"),
	OPT_CUSTOM(struct inject_builder, headers, read_strings, NULL, "header fields"),
	OPT_CUSTOM(struct inject_builder, from, read_mailbox, NULL, "the From field"),
	TEXT_OR_NULL(struct inject_builder, subject, "the Subject field"),
	OPT_CUSTOM(struct inject_builder, reply_to, read_mailbox, NULL, "the Reply-To field"),
	OPT_END
};
static const struct opt_desc BUILDER = { .name = "content", .fields = BUILDER_FIELDS, .size = sizeof(struct inject_builder) };

static int read_content(struct opt_ctx *c, const struct val *in, void *out)
{
	struct inject_content *content = out;

	if (in->type == VAL_STR) {
		content->text = in->s;
		return 0;
	}
	if (in->type != VAL_OBJ)
		return opt_fail(c, in, "a message as text, or an object that says how to build one");
	return opt_parse_struct(c, &BUILDER, in, &content->b);
}

static const struct opt_field TRACE_FIELDS[] = {
	OPT_BOOL(struct inject_trace, received_header, "true", "prepend a Received field; not done when there are no trace_headers at all"),
	OPT_BOOL(struct inject_trace, supplemental_header, "true", "prepend the supplemental field"),
	OPT_STR(struct inject_trace, header_name, "X-KumoRef", "its name"),
	OPT_LIST(struct inject_trace, include_meta_names, NULL, "metadata in it"),
	OPT_END
};
static const struct opt_desc TRACE = { .name = "trace_headers", .fields = TRACE_FIELDS, .size = sizeof(struct inject_trace) };

/* Given, even as {}: with a Received field. Not given: without, so that the injector's address stays hidden. */
static int read_trace(struct opt_ctx *c, const struct val *in, void *out)
{
	struct inject_trace *t = out;
	int rc = opt_parse_struct(c, &TRACE, in, out);

	t->given = rc == 0;
	return rc;
}

static const struct opt_field REQUEST_FIELDS[] = {
	OPT_STR(struct inject_request, envelope_sender, NULL, "the envelope's sender", .required = true),
	OPT_LIST(struct inject_request, recipients, &RECIPIENT, "a message for each", .required = true),
	OPT_CUSTOM(struct inject_request, content, read_content, NULL, "the message: text, or what to build it of", .required = true),
	OPT_CUSTOM(struct inject_request, substitutions, read_map, NULL, "variables for all recipients"),
	OPT_BOOL(struct inject_request, deferred_spool, "false", "store only after the first failure: may lose mail"),
	OPT_BOOL(struct inject_request, deferred_generation, "false", "queue the request, make the messages later"),
	OPT_CUSTOM(struct inject_request, trace_headers, read_trace, NULL, "trace fields"),
	OPT_F_(struct inject_request, template_dialect, OPT_T_ENUM, "Jinja", "the language of the templates", .choices = TEMPLATE_DIALECTS),
	OPT_END
};
const struct opt_desc API_INJECT_REQUEST = { .name = "", .fields = REQUEST_FIELDS, .size = sizeof(struct inject_request) };

/* --- compiling --------------------------------------------------------------------------------------------------------- */

static int compile(const struct inject_job *j, const char *name, struct slice source, const char *field, struct template **out)
{
	int rc = template_compile(j->req.template_dialect, slice_from_cstr(name), source, out);

	if (rc < 0)
		err_prefix("failed parsing %s as template", field);
	return rc;
}

int inject_mailbox_put(struct buf *b, struct arena *a, struct slice email, struct slice name);
int inject_mailbox_put(struct buf *b, struct arena *a, struct slice email, struct slice name)
{
	struct val mailbox;
	int rc = mail_parse_mailbox(email, a, &mailbox);

	if (rc < 0)
		return rc;
	if (val_get_lit(&mailbox, "name") || (email.len && email.ptr[0] == '<'))
		return err_set(E_INVAL, "%.*s is not just an address", SLICE_ARG(email));
	if (name.len)
		val_put_lit(a, &mailbox, "name", val_str(a, name));
	else if (name.ptr)
		buf_putc(b, ' ');	/* an empty name leaves its blank, as it always did */
	return mail_put_mailbox(b, &mailbox);
}

static int put_mailbox_header(struct inject_job *j, const struct inject_mailbox *m, const char *header, const char *field)
{
	struct buf b = { 0 };
	int rc = m->given ? inject_mailbox_put(&b, j->arena, m->email, m->name) : 0;

	if (rc < 0)
		err_prefix("failed parsing %s", field);
	else if (m->given)
		val_put(j->arena, &j->headers, slice_from_cstr(header), val_str(j->arena, buf_view(&b)));
	buf_fini(&b);
	return rc;
}

/* From, Reply-To and Subject become header fields like the others. */
static int collect_headers(struct inject_job *j)
{
	const struct inject_builder *b = &j->req.content.b;

	j->headers = b->headers ? val_copy(j->arena, b->headers) : val_obj();
	int rc = put_mailbox_header(j, &b->from, "From", "content.from");
	if (rc == 0)
		rc = put_mailbox_header(j, &b->reply_to, "Reply-To", "content.reply_to");
	if (rc == 0 && b->subject.ptr)
		val_put_lit(j->arena, &j->headers, "Subject", val_str(j->arena, b->subject));
	val_sort(&j->headers);
	return rc;
}

static int compile_headers(struct inject_job *j)
{
	j->header_templates = arena_alloc(j->arena, (j->headers.n + 1) * sizeof *j->header_templates);
	for (uint32_t i = 0; i < j->headers.n; i++) {
		const struct val_member *m = &j->headers.members[i];
		const char *name = arena_printf(j->arena, "headers[%.*s]", SLICE_ARG(m->key));
		const char *field = arena_printf(j->arena, "field headers['%.*s']", SLICE_ARG(m->key));
		int rc = compile(j, name, m->val.s, field, &j->header_templates[i]);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int decode_attachments(struct inject_job *j)
{
	const struct inject_attachment *a = j->req.content.b.attachments.items;
	size_t n = j->req.content.b.attachments.n;

	j->attached = arena_alloc(j->arena, (n + 1) * sizeof *j->attached);
	for (size_t i = 0; i < n; i++) {
		struct buf plain = { 0 };
		j->attached[i] = a[i].data;
		if (!a[i].base64)
			continue;
		if (base64_decode(&plain, a[i].data, BASE64_STD) < 0) {
			buf_fini(&plain);
			return err_set(E_INVAL, "content.attachments[%zu].data is not valid base64", i);
		}
		j->attached[i] = arena_dup(j->arena, buf_view(&plain));
		buf_fini(&plain);
	}
	return 0;
}

static int compile_builder(struct inject_job *j)
{
	const struct inject_builder *b = &j->req.content.b;
	int rc;

	if (!b->text_body.ptr && !b->html_body.ptr)
		return err_set(E_INVAL, "at least one of text_body and/or html_body must be given");
	if (b->text_body.ptr && (rc = compile(j, "text_body.txt", b->text_body, "field 'content.text_body'", &j->text)) < 0)
		return rc;
	if (b->html_body.ptr && (rc = compile(j, "html_body.html", b->html_body, "field 'content.html_body'", &j->html)) < 0)
		return rc;
	if (b->amp_html_body.ptr && (rc = compile(j, "amp_html_body.html", b->amp_html_body, "field 'content.amp_html_body'", &j->amp)) < 0)
		return rc;
	if ((rc = compile_headers(j)) < 0)
		return rc;
	return decode_attachments(j);
}

int inject_job_init(struct inject_job *j, struct arena *a, const struct val *source, const struct inject_request *req, const struct inject_origin *o)
{
	*j = (struct inject_job){ .arena = a, .req = *req, .source = source, .origin = *o };
	if (!req->trace_headers.given) {
		opt_defaults(&TRACE, a, &j->req.trace_headers);
		j->req.trace_headers.received_header = false;
	}
	int rc = smtp_address_parse(req->envelope_sender, a, &j->sender);
	if (rc < 0) {
		err_prefix("envelope_sender");
		return rc;
	}
	if (req->content.text.ptr)
		return compile(j, "content", req->content.text, "field 'content'", &j->text);
	if ((rc = collect_headers(j)) < 0)
		return rc;
	return compile_builder(j);
}

void inject_job_fini(struct inject_job *j)
{
	if (j->text)
		template_unref(&j->text);
	if (j->html)
		template_unref(&j->html);
	if (j->amp)
		template_unref(&j->amp);
	for (uint32_t i = 0; j->header_templates && i < j->headers.n; i++) {
		if (j->header_templates[i])
			template_unref(&j->header_templates[i]);
	}
}
