/* SPDX-License-Identifier: Apache-2.0 */
/* Delivery status notifications (RFC 3464) made from log records. What a peer said is cut to one line: it must not add fields of its own. */
#include "base/timefmt.h"
#include "base/uuid.h"
#include "codec/mime.h"
#include "codec/report.h"

/* What is used of a log record. */
struct facts {
	struct slice kind, protocol, sender, peer_name, peer_addr;
	const struct val *recipients;		/* a string or a list of them */
	struct smtp_response response;
	int64_t created_s, logged_s;
};

static struct slice one_line(struct arena *a, struct slice s)
{
	struct buf b = { 0 };
	smtp_single_line_put(&b, s);
	struct slice out = arena_dup(a, buf_view(&b));
	buf_fini(&b);
	return out;
}

static int missing(const char *field, const char *what)
{
	return err_set(E_INVAL, "log record: `%s` must be %s", field, what);
}

static int read_response(const struct val *v, struct arena *a, struct smtp_response *out)
{
	const struct val *code = val_get_lit(v, "code"), *enh = val_get_lit(v, "enhanced_code"), *part;
	uint16_t digits[3];
	static const char *const NAMES[] = { "class", "subject", "detail" };

	if (!code || code->type != VAL_INT || code->i < 0 || code->i > 999)
		return missing("response.code", "a number up to 999");
	*out = (struct smtp_response){ .code = (uint16_t)code->i, .content = one_line(a, val_get_str(v, SLICE("content"))) };
	if (!enh || enh->type != VAL_OBJ)
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(NAMES); i++) {
		part = val_get(enh, slice_from_cstr(NAMES[i]));
		if (!part || part->type != VAL_INT || part->i < 0 || part->i > 999)
			return missing("response.enhanced_code", "three numbers up to 999");
		digits[i] = (uint16_t)part->i;
	}
	out->has_enhanced = true;
	out->enh_class = (uint8_t)digits[0];
	out->enh_subject = digits[1];
	out->enh_detail = digits[2];
	return 0;
}

static bool is_address(const struct val *v, struct arena *a)
{
	struct smtp_path path;
	return v->type == VAL_STR && smtp_address_parse(v->s, a, &path) == 0;
}

static int check_recipients(const struct val *v, struct arena *a)
{
	bool ok = v && (v->type == VAL_LIST ? v->n > 0 : is_address(v, a));
	for (uint32_t i = 0; ok && v->type == VAL_LIST && i < v->n; i++)
		ok = is_address(&v->items[i], a);
	return ok ? 0 : missing("recipient", "an address or a list of them");
}

static int read_time(const struct val *record, const char *field, int64_t *out)
{
	const struct val *v = val_get(record, slice_from_cstr(field));
	if (!v || v->type != VAL_INT || v->i < 0 || v->i > INT64_MAX / USEC_PER_SEC)
		return missing(field, "a time in seconds since 1970");
	*out = v->i;
	return 0;
}

static int read_facts(const struct val *record, struct arena *a, struct facts *f)
{
	const struct val *peer = val_get_lit(record, "peer_address"), *response = val_get_lit(record, "response");
	struct val sender = val_str(a, f->sender);

	f->recipients = val_get_lit(record, "recipient");
	if (!is_address(&sender, a))
		return missing("sender", "an address");
	if (!response)
		return missing("response", "there");
	int rc = check_recipients(f->recipients, a);
	if (rc == 0)
		rc = read_response(response, a, &f->response);
	if (rc == 0)
		rc = read_time(record, "created", &f->created_s);
	if (rc == 0)
		rc = read_time(record, "timestamp", &f->logged_s);
	if (rc == 0 && peer && peer->type == VAL_OBJ) {
		f->peer_name = one_line(a, val_get_str(peer, SLICE("name")));
		f->peer_addr = one_line(a, val_get_str(peer, SLICE("addr")));
	}
	return rc;
}

static bool wanted(const struct report_dsn_conf *c, const struct facts *f)
{
	if (slice_eq_cstr(f->kind, "Bounce"))
		return c->bounces && slice_eq_cstr(f->protocol, "ESMTP");
	return c->expirations && slice_eq_cstr(f->kind, "Expiration");
}

static uint32_t n_recipients(const struct facts *f) { return f->recipients->type == VAL_LIST ? f->recipients->n : 1; }

static struct slice recipient(const struct facts *f, uint32_t i)
{
	return f->recipients->type == VAL_LIST ? f->recipients->items[i].s : f->recipients->s;
}

/* --- for people ---------------------------------------------------------------------------------------------------------- */

static void put_explanation(struct buf *b, const struct facts *f)
{
	bool bounce = slice_eq_cstr(f->kind, "Bounce");

	buf_lit(b, "The message was received at ");
	time_put_rfc2822(b, f->created_s * USEC_PER_SEC, 0);
	buf_printf(b, "\r\nfrom %.*s and addressed to ", SLICE_ARG(f->sender));
	for (uint32_t i = 0; i < n_recipients(f); i++)
		buf_printf(b, "%s%.*s", i ? ", " : "", SLICE_ARG(recipient(f, i)));
	buf_lit(b, ".\r\n");
	if (bounce && f->peer_name.ptr)
		buf_printf(b, "While communicating with %.*s (%.*s):\r\nResponse: ", SLICE_ARG(f->peer_name), SLICE_ARG(f->peer_addr));
	else
		buf_lit(b, "Status: ");
	smtp_response_put_line(b, &f->response);
	buf_printf(b, "\r\n%sThe message will be deleted from the queue.\r\nNo further attempts will be made to deliver it.\r\n", bounce ? "\r\n" : "");
}

/* --- for programs -------------------------------------------------------------------------------------------------------- */

static void put_date(struct buf *b, const char *field, int64_t s)
{
	buf_printf(b, "%s: ", field);
	time_put_rfc2822(b, s * USEC_PER_SEC, 0);
	buf_lit(b, "\r\n");
}

static void put_status(struct buf *b, const struct smtp_response *r)
{
	unsigned class = r->code / 100;

	if (r->has_enhanced)
		buf_printf(b, "Status: %u.%u.%u", r->enh_class, r->enh_subject, r->enh_detail);
	else
		buf_printf(b, "Status: %u.0.0", class == 2 || class >= 5 ? MIN(class, 5u) : 4);
	buf_printf(b, " %.*s\r\n", SLICE_ARG(r->content));
}

static void put_recipient(struct buf *b, const struct facts *f, struct slice address)
{
	buf_printf(b, "Final-Recipient: rfc822;%.*s\r\nAction: failed\r\n", SLICE_ARG(address));
	put_status(b, &f->response);
	if (f->peer_name.ptr)
		buf_printf(b, "Remote-MTA: dns; %.*s\r\n", SLICE_ARG(f->peer_name));
	buf_lit(b, "Diagnostic-Code: smtp; ");
	smtp_response_put_line(b, &f->response);
	buf_lit(b, "\r\n");
	put_date(b, "Last-Attempt-Date", f->logged_s);
	buf_lit(b, "\r\n");
}

static void put_delivery_status(struct buf *b, const struct report_dsn_conf *c, const struct facts *f)
{
	buf_printf(b, "Reporting-MTA: %.*s; %.*s\r\n", SLICE_ARG(c->mta_type), SLICE_ARG(c->mta_name));
	put_date(b, "Arrival-Date", f->created_s);
	buf_lit(b, "\r\n");
	for (uint32_t i = 0; i < n_recipients(f); i++)
		put_recipient(b, f, recipient(f, i));
}

/* --- the whole ----------------------------------------------------------------------------------------------------------- */

static struct slice headers_of(struct slice msg)
{
	struct slice h = slice_sub(msg, 0, mail_body_offset(msg));
	size_t blank = slice_ends(h, SLICE("\r\n\r\n")) ? 2 : slice_ends(h, SLICE("\n\n")) ? 1 : 0;
	return slice_sub(h, 0, h.len - blank);
}

/* A message inside of a message has no transfer encoding (RFC 2046, 5.2.1). */
static void append_original(struct mime_doc *d, const struct report_dsn_conf *c, struct slice original)
{
	bool full = c->original == REPORT_ORIGINAL_FULL;
	struct mime_part *p = arena_alloc(d->arena, sizeof *p);
	struct buf text = { 0 };

	mime_header_append(d, p, SLICE("Content-Type"), full ? SLICE("message/rfc822") : SLICE("text/rfc822-headers"));
	buf_slice(&text, full ? original : headers_of(original));
	if (!slice_ends(buf_view(&text), SLICE("\n")))
		buf_lit(&text, "\r\n");
	p->body = arena_dup(d->arena, buf_view(&text));
	mime_append_part(d, d->root, p);
	buf_fini(&text);
}

static void append_text(struct mime_doc *d, const char *type, struct buf *text)
{
	mime_append_part(d, d->root, mime_new_text(d, slice_from_cstr(type), buf_view(text)));
	buf_clear(text);
}

static void put_headers(struct mime_doc *d, const struct report_dsn_conf *c, const struct facts *f)
{
	struct arena *a = d->arena;
	struct mime_params type;
	struct buf b = { 0 };

	if (mime_parse_content_type(mime_header_find(d->root, "Content-Type")->value, a, &type) == 0) {
		mime_params_set(&type, a, SLICE("report-type"), SLICE("delivery-status"));
		mime_params_put(&b, &type);
		mime_header_set(d, d->root, SLICE("Content-Type"), buf_view(&b));
	}
	buf_clear(&b);
	if (c->stable)
		buf_lit(&b, "UUID");
	else
		uuid_put(&b, uuid_v1());
	mime_header_append(d, d->root, SLICE("Subject"), SLICE("Returned mail"));
	mime_header_append(d, d->root, SLICE("Mime-Version"), SLICE("1.0"));
	mime_header_append(d, d->root, SLICE("Message-ID"), arena_slicef(a, "<%.*s@%.*s>", SLICE_ARG(buf_view(&b)), SLICE_ARG(c->mta_name)));
	mime_header_append(d, d->root, SLICE("To"), f->sender);
	mime_header_append(d, d->root, SLICE("From"), arena_slicef(a, "Mail Delivery Subsystem <mailer-daemon@%.*s>", SLICE_ARG(c->mta_name)));
	buf_fini(&b);
}

static void put_report(struct buf *out, const struct report_dsn_conf *c, const struct facts *f, struct slice original)
{
	struct mime_doc *d = mime_doc_create();
	struct buf text = { 0 };

	d->root = mime_new_multipart(d, SLICE("multipart/report"), c->stable ? SLICE("report-boundary") : SLICE_NONE);
	put_headers(d, c, f);
	put_explanation(&text, f);
	append_text(d, "text/plain", &text);
	put_delivery_status(&text, c, f);
	append_text(d, "message/delivery-status", &text);
	buf_fini(&text);
	if (c->original != REPORT_ORIGINAL_NONE && original.ptr)
		append_original(d, c, original);
	mime_put(out, d->root);
	mime_doc_unref(&d);
}

int report_put_dsn(struct buf *b, const struct report_dsn_conf *c, const struct val *record, struct slice original)
{
	struct arena *a = arena_create();
	struct facts f = { .kind = val_get_str(record, SLICE("type")), .protocol = val_get_str(record, SLICE("delivery_protocol")),
			   .sender = val_get_str(record, SLICE("sender")) };
	int rc = 0;

	if (f.sender.len > 0 && wanted(c, &f) && (rc = read_facts(record, a, &f)) == 0) {
		put_report(b, c, &f, original);
		rc = 1;
	}
	arena_destroy(&a);
	return rc;
}
