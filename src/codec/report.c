/* SPDX-License-Identifier: Apache-2.0 */
#include "base/encode.h"
#include "base/timefmt.h"
#include "base/utf8.h"
#include "codec/mime.h"
#include "codec/report.h"

#define TRACE_MARKER "\\_/"

/* The fields of one block, by lower-case name: a list of values each. What is not taken becomes "extensions". */
static int read_block(struct slice block, struct arena *a, struct val *fields)
{
	struct mail_header h;
	int rc;
	*fields = val_obj();
	while ((rc = mail_header_next(&block, &h)) > 0) {
		struct buf name = { 0 }, value = { 0 };
		for (size_t i = 0; i < h.name.len; i++)
			buf_putc(&name, ascii_lower(h.name.ptr[i]));
		const struct val *old = val_get(fields, buf_view(&name));
		struct val list = old != NULL ? *old : val_list();
		if ((rc = mail_parse_unstructured(h.value, &value)) == 0) {
			val_push(a, &list, val_str(a, buf_view(&value)));
			val_put(a, fields, buf_view(&name), list);
		}
		buf_fini(&name);
		buf_fini(&value);
		if (rc < 0)
			return rc;
	}
	return rc;
}

/* How the text of a field becomes a value. */
typedef int (*convert_cb)(struct slice text, struct arena *a, struct val *out);

static int to_text(struct slice text, struct arena *a, struct val *out)
{
	*out = val_str(a, text);
	return 0;
}

static int to_pair(struct slice text, struct arena *a, struct val *out, const char *first, const char *second, const char *expected)
{
	ptrdiff_t semi = slice_chr(text, ';');
	if (semi < 0)
		return err_set(E_INVAL, "expected '%s', got %.*s", expected, SLICE_ARG(text));
	*out = val_obj();
	val_put(a, out, slice_from_cstr(first), val_str(a, slice_trim(slice_sub(text, 0, semi))));
	val_put(a, out, slice_from_cstr(second), val_str(a, slice_trim(slice_sub(text, semi + 1, SIZE_MAX))));
	return 0;
}

static int to_mta(struct slice text, struct arena *a, struct val *out)
{
	return to_pair(text, a, out, "mta_type", "name", "name-type; name");
}

static int to_diagnostic(struct slice text, struct arena *a, struct val *out)
{
	return to_pair(text, a, out, "diagnostic_type", "diagnostic", "diagnostic-type; diagnostic");
}

/* What is no address stands as it is: a report is about pipes, and about local parts with more dots than allowed, too. */
static int to_address(struct slice text, struct arena *a, struct val *out)
{
	struct smtp_path path;
	bool address = smtp_address_parse(text, a, &path) == 0;
	if (!address)
		err_clear();
	*out = val_str(a, address ? path.text : text);
	return 0;
}

static int to_recipient(struct slice text, struct arena *a, struct val *out)
{
	struct val address;
	int rc = to_pair(text, a, out, "recipient_type", "recipient", "recipient-type; recipient");
	if (rc < 0 || !slice_starts(text, SLICE("rfc822;")))
		return rc;
	if ((rc = to_address(val_get_str(out, SLICE("recipient")), a, &address)) == 0)
		val_put_lit(a, out, "recipient", address);
	return rc;
}

static int to_action(struct slice text, struct arena *a, struct val *out)
{
	static const char *const ACTIONS[] = { "failed", "delayed", "delivered", "relayed", "expanded" };
	for (size_t i = 0; i < ARRAY_LEN(ACTIONS); i++)
		if (slice_eq_nocase(text, slice_from_cstr(ACTIONS[i])))
			return to_text(slice_from_cstr(ACTIONS[i]), a, out);
	return err_set(E_INVAL, "invalid action type %.*s", SLICE_ARG(text));
}

static int to_status(struct slice text, struct arena *a, struct val *out)
{
	static const struct { const char *name; uint64_t max; } PARTS[] = { { "class", UINT8_MAX }, { "subject", UINT16_MAX }, { "detail", UINT16_MAX } };
	ptrdiff_t blank = slice_chr(text, ' ');
	struct slice code = slice_sub(text, 0, blank < 0 ? text.len : (size_t)blank), part;

	*out = val_obj();
	for (size_t i = 0; i < ARRAY_LEN(PARTS); i++) {
		uint64_t n;
		if (!slice_split_next(&code, '.', &part))
			return err_set(E_INVAL, "invalid Status: %.*s", SLICE_ARG(text));
		if (slice_to_u64(part, &n) < 0 || n > PARTS[i].max)
			return err_set(E_INVAL, "parsing status.%s: invalid digit found in string", PARTS[i].name);
		val_put(a, out, slice_from_cstr(PARTS[i].name), val_int((int64_t)n));
	}
	val_put_lit(a, out, "comment", blank < 0 ? val_null() : val_str(a, slice_sub(text, blank + 1, SIZE_MAX)));
	return 0;
}

/* The name of the day is not held against a date: those who write reports get it wrong. */
static int to_date(struct slice text, struct arena *a, struct val *out)
{
	int64_t us;
	struct buf b = { 0 };
	ptrdiff_t comma = slice_chr(text, ',');
	int rc = mail_parse_date(slice_sub(text, comma == 3 ? 4 : 0, SIZE_MAX), &us);
	if (rc < 0)
		return rc;
	time_put_rfc3339(&b, us, us % USEC_PER_SEC ? 6 : 0, true);
	*out = val_str(a, buf_view(&b));
	buf_fini(&b);
	return 0;
}

static int to_count(struct slice text, struct arena *a, struct val *out)
{
	uint64_t n;
	if (slice_to_u64(text, &n) < 0 || n > UINT32_MAX)
		return err_set(E_INVAL, "invalid digit found in string");
	*out = val_int((int64_t)n);
	return 0;
}

enum field_use { ONE, NEEDED, MANY, LENIENT /* one that is left out when it is wrong */ };
struct field {
	const char *header, *key;
	convert_cb convert;
	enum field_use use;
	const char *instead;	/* another header that serves when this one is not there */
};

static int convert(const struct field *f, const struct val *text, struct arena *a, struct val *out)
{
	int rc = f->convert(text->s, a, out);
	if (rc < 0)
		err_prefix("failed to convert '%.*s'", (int)MIN(text->s.len, (size_t)400), text->s.ptr);
	return rc;
}

/* Takes FIELD out of FIELDS into OUT. */
static int take_field(const struct field *f, struct val *fields, struct arena *a, struct val *out)
{
	const struct val *found = val_get(fields, slice_from_cstr(f->header));
	const char *header = f->header;
	struct val texts, v = f->use == MANY ? val_list() : val_null(), one;
	int rc = 0;

	if (found == NULL && f->instead != NULL)
		found = val_get(fields, slice_from_cstr(header = f->instead));
	if (found != NULL) {
		texts = *found;
		val_remove(fields, slice_from_cstr(header));
		if (f->use != MANY && texts.n != 1)
			rc = err_set(E_INVAL, "header %s should have only a single value", header);
		for (uint32_t i = 0; rc == 0 && i < texts.n; i++) {
			if ((rc = convert(f, &texts.items[i], a, &one)) < 0)
				break;
			if (f->use == MANY)
				val_push(a, &v, one);
			else
				v = one;
		}
	} else if (f->use == NEEDED) {
		rc = err_set(E_INVAL, "required header %s is not present", f->header);
	}
	if (rc < 0 && f->use != LENIENT)
		return rc;
	val_put(a, out, slice_from_cstr(f->key), rc < 0 ? val_null() : v);
	return 0;
}

/* One block of fields as an object; what the table does not know goes to "extensions". */
static int read_fields(struct slice block, const struct field *table, size_t n, struct arena *a, struct val *out)
{
	struct val fields;
	int rc = read_block(block, a, &fields);
	*out = val_obj();
	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = take_field(&table[i], &fields, a, out);
	if (rc == 0)
		val_put_lit(a, out, "extensions", fields);
	return rc;
}

static const struct field PER_MESSAGE[] = {
	{ "reporting-mta", "reporting_mta", to_mta, NEEDED, NULL }, { "original-envelope-id", "original_envelope_id", to_text, ONE, NULL },
	{ "dsn-gateway", "dsn_gateway", to_mta, LENIENT, NULL }, { "received-from-mta", "received_from_mta", to_mta, LENIENT, NULL },
	{ "arrival-date", "arrival_date", to_date, ONE, NULL },
};
static const struct field PER_RECIPIENT[] = {
	{ "original-recipient", "original_recipient", to_recipient, LENIENT, NULL }, { "final-recipient", "final_recipient", to_recipient, NEEDED, NULL },
	{ "remote-mta", "remote_mta", to_mta, LENIENT, NULL }, { "last-attempt-date", "last_attempt_date", to_date, ONE, NULL },
	{ "will-retry-until", "will_retry_until", to_date, ONE, NULL }, { "final-log-id", "final_log_id", to_text, ONE, NULL },
	{ "action", "action", to_action, NEEDED, NULL }, { "status", "status", to_status, NEEDED, NULL },
	{ "diagnostic-code", "diagnostic_code", to_diagnostic, LENIENT, NULL },
};
static const struct field FEEDBACK[] = {
	{ "feedback-type", "feedback_type", to_text, NEEDED, NULL }, { "user-agent", "user_agent", to_text, NEEDED, NULL }, { "version", "version", to_text, NEEDED, NULL },
	{ "arrival-date", "arrival_date", to_date, LENIENT, "received-date" }, { "incidents", "incidents", to_count, ONE, NULL },
	{ "original-envelope-id", "original_envelope_id", to_text, ONE, NULL }, { "original-mail-from", "original_mail_from", to_address, ONE, NULL },
	{ "reporting-mta", "reporting_mta", to_mta, ONE, NULL }, { "source-ip", "source_ip", to_text, ONE, NULL },
	{ "authentication-results", "authentication_results", to_text, MANY, NULL }, { "original-rcpt-to", "original_rcpto_to", to_address, MANY, NULL },
	{ "reported-domain", "reported_domain", to_text, MANY, NULL }, { "reported-uri", "reported_uri", to_text, MANY, NULL },
};

/* --- the parts of a report ------------------------------------------------------------------------------------------------------------- */

static bool is_type(const struct mime_part *p, struct arena *a, const char *const *types)
{
	struct mime_info info;
	mime_info(p, a, &info);
	for (; info.has_type && *types != NULL; types++)
		if (slice_eq_nocase(info.type.value, slice_from_cstr(*types)))
			return true;
	return false;
}

static const struct mime_part *find_part(const struct mime_part *root, struct arena *a, const char *const *types)
{
	for (uint32_t i = 0; i < root->n_parts; i++)
		if (is_type(root->parts[i], a, types))
			return root->parts[i];
	return NULL;
}

static struct slice with_lf(struct slice s, struct arena *a)
{
	char *out = arena_alloc(a, s.len + 1);
	size_t n = 0;
	for (size_t i = 0; i < s.len; i++)
		if (!(s.ptr[i] == '\r' && i + 1 < s.len && s.ptr[i + 1] == '\n'))
			out[n++] = s.ptr[i];
	return slice_new(out, n);
}

/* Text that may be in any charset, for JSON: octets that are no UTF-8 become U+FFFD. */
static struct val lossy(struct slice s, struct arena *a)
{
	struct buf b = { 0 };
	if (utf8_valid(s))
		return val_str(a, s);
	utf8_put_lossy(&b, s);
	struct val v = val_str(a, buf_view(&b));
	buf_fini(&b);
	return v;
}

static const struct mime_part *original_part(const struct mime_part *root, struct arena *a)
{
	static const char *const TYPES[] = { "message/rfc822", "text/rfc822-headers", NULL };
	const struct mime_part *found = NULL;
	for (uint32_t i = 0; i < root->n_parts; i++)
		if (is_type(root->parts[i], a, TYPES))
			found = root->parts[i];
	return found;
}

static bool is_report(const struct mime_part *root, struct arena *a, const char *report_type)
{
	static const char *const REPORT[] = { "multipart/report", NULL };
	struct mime_info info;
	struct slice type;
	if (!is_type(root, a, REPORT))
		return false;
	mime_info(root, a, &info);
	return report_type == NULL || (mime_params_get(&info.type, SLICE("report-type"), a, &type) && slice_eq_nocase(type, slice_from_cstr(report_type)));
}

/* The blocks of a delivery status, divided by empty lines. */
static bool next_block(struct slice *rest, struct slice *block)
{
	*rest = slice_trim_start(*rest);
	if (rest->len == 0)
		return false;
	ptrdiff_t end = slice_find(*rest, SLICE("\n\n"));
	*block = slice_sub(*rest, 0, end < 0 ? rest->len : (size_t)end);
	*rest = slice_sub(*rest, end < 0 ? rest->len : (size_t)end + 2, SIZE_MAX);
	return true;
}

static int read_status(const struct mime_part *part, struct arena *a, struct val *out)
{
	struct slice body, block = SLICE("");
	bool is_text;
	struct val message, list = val_list(), one;
	int rc = mime_body(part, a, &body, &is_text);
	if (rc < 0)
		return rc;
	body = with_lf(body, a);
	next_block(&body, &block);
	rc = read_fields(block, PER_MESSAGE, ARRAY_LEN(PER_MESSAGE), a, &message);
	while (rc == 0 && next_block(&body, &block)) {
		rc = read_fields(block, PER_RECIPIENT, ARRAY_LEN(PER_RECIPIENT), a, &one);
		if (rc == 0)
			val_push(a, &list, one);
	}
	val_put_lit(a, out, "per_message", message);
	val_put_lit(a, out, "per_recipient", list);
	return rc;
}

int report_parse_dsn(struct slice message, struct arena *a, struct val *out)
{
	static const char *const STATUS[] = { "message/delivery-status", "message/global-delivery-status", NULL };
	struct mime_doc *d;
	int rc = mime_parse(message, &d);
	if (rc < 0)
		return rc;
	*out = val_obj();
	if (!is_report(d->root, a, NULL)) {
		rc = err_set(E_NOENT, "the message is no report");
	} else {
		const struct mime_part *original = original_part(d->root, a), *status = find_part(d->root, a, STATUS);
		rc = status != NULL ? read_status(status, a, out) : err_set(E_INVAL, "delivery-status part missing");
		if (rc == 0)
			val_put_lit(a, out, "original_message", original != NULL ? lossy(with_lf(original->body, a), a) : val_null());
	}
	mime_doc_unref(&d);
	return rc;
}

bool report_parse_trace(struct slice value, struct arena *a, struct val *out)
{
	struct buf text = { 0 }, json = { 0 };
	bool ours = false;
	for (size_t i = 0; i < value.len; i++)
		if (!ascii_is_space(value.ptr[i]))
			buf_putc(&text, value.ptr[i]);
	if (text.len > 0 && base64_decode(&json, buf_view(&text), BASE64_STD) == 0 && json_parse(buf_view(&json), a, out) == 0) {
		ours = slice_eq_cstr(val_get_str(out, SLICE("_@_")), TRACE_MARKER);
		if (ours)
			val_remove(out, SLICE("_@_"));
	}
	err_clear();
	buf_fini(&text);
	buf_fini(&json);
	return ours;
}

static struct val find_trace(struct slice message, struct arena *a)
{
	struct mail_header h;
	struct val v;
	while (mail_header_next(&message, &h) > 0)
		if (slice_starts_nocase(h.name, SLICE("X-")) && report_parse_trace(h.value, a, &v))
			return v;
	return val_null();
}

int report_parse_arf(struct slice message, struct arena *a, struct val *out)
{
	static const char *const FEEDBACK_TYPE[] = { "message/feedback-report", NULL };
	struct mime_doc *d;
	int rc = mime_parse(message, &d);
	if (rc < 0)
		return rc;
	if (!is_report(d->root, a, "feedback-report")) {
		rc = err_set(E_NOENT, "the message is no feedback report");
	} else {
		const struct mime_part *original = original_part(d->root, a), *fields = find_part(d->root, a, FEEDBACK_TYPE);
		rc = fields != NULL ? read_fields(fields->body, FEEDBACK, ARRAY_LEN(FEEDBACK), a, out) : err_set(E_INVAL, "feedback-report part missing");
		if (rc == 0) {
			val_put_lit(a, out, "original_message", original != NULL ? lossy(with_lf(original->body, a), a) : val_null());
			val_put_lit(a, out, "supplemental_trace", original != NULL ? find_trace(original->body, a) : val_null());
		}
	}
	mime_doc_unref(&d);
	return rc;
}

/* --- failures ---------------------------------------------------------------------------------------------------------------------------- */

static uint16_t number(const struct val *obj, struct slice key)
{
	const struct val *v = val_get(obj, key);
	return v != NULL && v->type == VAL_INT ? (uint16_t)v->i : 0;
}

static void read_failure(const struct val *recipient, struct report_failure *f)
{
	const struct val *who = val_get_lit(recipient, "original_recipient"), *status = val_get_lit(recipient, "status");
	const struct val *diag = val_get_lit(recipient, "diagnostic_code");
	struct slice text = SLICE("");
	uint64_t code;

	if (who == NULL || who->type != VAL_OBJ)
		who = val_get_lit(recipient, "final_recipient");
	f->recipient = val_get_str(who, SLICE("recipient"));
	f->response = (struct smtp_response){ .code = 550, .has_enhanced = true, .command = SLICE_NONE };
	f->response.enh_class = (uint8_t)number(status, SLICE("class"));
	f->response.enh_subject = number(status, SLICE("subject"));
	f->response.enh_detail = number(status, SLICE("detail"));
	if (diag != NULL && diag->type == VAL_OBJ && slice_eq_nocase(val_get_str(diag, SLICE("diagnostic_type")), SLICE("smtp"))) {
		text = val_get_str(diag, SLICE("diagnostic"));
		if (text.len > 3 && (text.ptr[3] == ' ' || text.ptr[3] == '-') && slice_to_u64(slice_sub(text, 0, 3), &code) == 0) {
			f->response.code = (uint16_t)code;
			text = slice_sub(text, 4, SIZE_MAX);
		}
	}
	f->response.content = text;
	struct slice when = val_get_str(recipient, SLICE("last_attempt_date"));
	if (when.ptr == NULL || time_parse_rfc3339(when, &f->last_attempt_us) < 0)
		f->last_attempt_us = 0;
}

uint32_t report_dsn_failures(const struct val *dsn, struct arena *a, struct report_failure **out)
{
	const struct val *list = val_get_lit(dsn, "per_recipient"), *message = val_get_lit(dsn, "per_message");
	struct slice mta = val_get_str(val_get_lit(message, "reporting_mta"), SLICE("name"));
	uint32_t n = 0;

	*out = arena_alloc(a, (list->n + 1) * sizeof **out);
	for (uint32_t i = 0; i < list->n; i++) {
		if (!slice_eq_cstr(val_get_str(&list->items[i], SLICE("action")), "failed"))
			continue;
		read_failure(&list->items[i], &(*out)[n]);
		(*out)[n++].reporting_mta = mta;
	}
	return n;
}
