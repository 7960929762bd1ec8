/* SPDX-License-Identifier: Apache-2.0 */
/* Scanning and editing of header blocks. */
#include <stdlib.h>
#include "base/timefmt.h"
#include "codec/rfc5322_int.h"

#define LINE_WISH 78	/* RFC 5322 2.1.1 wishes for; counted with the CR */

static const struct { const char *name; unsigned bit; } FLAGS[] = {	/* sorted by name */
	{ "INVALID_MIME_HEADERS", MAIL_INVALID_MIME_HEADERS },
	{ "LINE_TOO_LONG", MAIL_LINE_TOO_LONG },
	{ "MISSING_COLON_VALUE", MAIL_MISSING_COLON_VALUE },
	{ "MISSING_DATE_HEADER", MAIL_MISSING_DATE_HEADER },
	{ "MISSING_MESSAGE_ID_HEADER", MAIL_MISSING_MESSAGE_ID_HEADER },
	{ "MISSING_MIME_VERSION", MAIL_MISSING_MIME_VERSION },
	{ "NAME_ENDS_WITH_SPACE", MAIL_NAME_ENDS_WITH_SPACE },
	{ "NEEDS_TRANSFER_ENCODING", MAIL_NEEDS_TRANSFER_ENCODING },
	{ "NON_CANONICAL_LINE_ENDINGS", MAIL_NON_CANONICAL_LINE_ENDINGS },
};

int mail_conformance_parse(struct slice s, unsigned *out)
{
	struct slice part;
	unsigned set = 0;
	while (slice_split_next(&s, '|', &part)) {
		size_t i = 0;
		if (part.len == 0)
			continue;
		while (i < ARRAY_LEN(FLAGS) && !slice_eq_cstr(part, FLAGS[i].name))
			i++;
		if (i == ARRAY_LEN(FLAGS)) {
			struct buf b = { 0 };
			for (i = 0; i < ARRAY_LEN(FLAGS); i++)
				buf_printf(&b, "%s'%s'", i ? ", " : "", FLAGS[i].name);
			err_set(E_INVAL, "invalid MessageConformance flag '%.*s', possible values are %s", SLICE_ARG(part), buf_cstr(&b));
			buf_fini(&b);
			return -E_INVAL;
		}
		set |= FLAGS[i].bit;
	}
	*out = set;
	return 0;
}

void mail_conformance_put(struct buf *b, unsigned set)
{
	bool first = true;
	for (size_t i = 0; i < ARRAY_LEN(FLAGS); i++) {
		if (!(set & FLAGS[i].bit))
			continue;
		buf_printf(b, "%s%s", first ? "" : "|", FLAGS[i].name);
		first = false;
	}
}

static bool is_wsp(char c)
{
	return c == ' ' || c == '\t';
}

/* The length of the field at the start of S: its lines and those that begin with white space. */
static size_t field_len(struct slice s, unsigned *conformance, size_t *longest)
{
	size_t at = 0;
	do {
		const char *lf = memchr(s.ptr + at, '\n', s.len - at);
		size_t end = lf != NULL ? (size_t)(lf - s.ptr) : s.len;
		*longest = MAX(*longest, end - at);
		if (lf == NULL)
			return s.len;
		if (end == at || s.ptr[end - 1] != '\r')
			*conformance |= MAIL_NON_CANONICAL_LINE_ENDINGS;
		at = end + 1;
	} while (at < s.len && is_wsp(s.ptr[at]));
	return at;
}

/* Splits the field in H->raw into name, separator and value. */
static int split_field(struct mail_header *h)
{
	struct slice s = h->raw;
	size_t i = 0, name_end = SIZE_MAX;

	for (; i < s.len && s.ptr[i] != ':' && s.ptr[i] != '\n'; i++) {
		unsigned char c = s.ptr[i];
		if (is_wsp(c)) {
			name_end = MIN(name_end, i);
			h->conformance |= MAIL_NAME_ENDS_WITH_SPACE;
		} else if (c != '\r' && (c < 33 || c > 126)) {
			return err_set(E_INVAL, "header name must be comprised of printable US-ASCII characters. Found 0x%02x", c);
		}
	}
	if (i == s.len || s.ptr[i] == '\n') {
		/* a line without colon; what follows it is no continuation of anything */
		h->conformance |= MAIL_MISSING_COLON_VALUE;
		h->raw = slice_sub(s, 0, i < s.len ? i + 1 : i);
		h->name = slice_sub(s, 0, i);
		if (slice_ends(h->name, SLICE("\r")))
			h->name.len--;
		h->sep = h->value = slice_sub(s, i, 0);
		return 0;
	}
	h->name = slice_sub(s, 0, MIN(i, name_end));
	size_t from = i + 1, to = s.len;
	while (from < s.len && s.ptr[from] == ' ')
		from++;
	if (to > from && s.ptr[to - 1] == '\n')
		to--;
	while (to > from && s.ptr[to - 1] == '\r')
		to--;
	h->sep = slice_sub(s, h->name.len, from - h->name.len);
	h->value = slice_sub(s, from, to - from);
	return 0;
}

int mail_header_next(struct slice *rest, struct mail_header *h)
{
	struct slice s = *rest;
	size_t longest = 0;
	int rc;

	*h = (struct mail_header){ 0 };
	if (s.len == 0)
		return 0;
	if (s.ptr[0] == '\n' || slice_starts(s, SLICE("\r\n"))) {
		if (s.ptr[0] == '\n')
			h->conformance |= MAIL_NON_CANONICAL_LINE_ENDINGS;
		*rest = slice_sub(s, s.ptr[0] == '\n' ? 1 : 2, SIZE_MAX);
		return 0;
	}
	if (s.ptr[0] == '\r')
		return err_set(E_INVAL, "lone CR in header");
	if (ascii_is_space(s.ptr[0]))
		return err_set(E_INVAL, "header block must not start with spaces");
	h->raw = slice_sub(s, 0, field_len(s, &h->conformance, &longest));
	if ((rc = split_field(h)) < 0)
		return rc;
	if (longest > LINE_WISH)
		h->conformance |= MAIL_LINE_TOO_LONG;
	*rest = slice_sub(s, h->raw.len, SIZE_MAX);
	return 1;
}

bool mail_header_find(struct slice msg, struct slice name, struct mail_header *h)
{
	while (mail_header_next(&msg, h) > 0)
		if (slice_eq_nocase(h->name, name))
			return true;
	return false;
}

size_t mail_body_offset(struct slice msg)
{
	struct slice rest = msg;
	for (;;) {
		if (rest.len > 0 && rest.ptr[0] == '\n')
			return msg.len - rest.len + 1;
		if (slice_starts(rest, SLICE("\r\n")))
			return msg.len - rest.len + 2;
		const char *lf = rest.len ? memchr(rest.ptr, '\n', rest.len) : NULL;
		if (lf == NULL)
			return msg.len;
		rest = slice_sub(rest, lf + 1 - rest.ptr, SIZE_MAX);
	}
}

void mail_prepend_header(struct buf *out, struct slice msg, struct slice name, struct slice value)
{
	buf_reserve(out, name.len + value.len + msg.len + 4);
	buf_slice(out, name);
	buf_lit(out, ": ");
	buf_slice(out, value);
	buf_lit(out, "\r\n");
	buf_slice(out, msg);
}

int mail_append_header(struct buf *out, struct slice msg, struct slice name, struct slice value)
{
	ptrdiff_t end = slice_find(msg, SLICE("\r\n\r\n"));
	if (end < 0)
		return err_set(E_INVAL, "append_header could not find the end of the header block");
	buf_reserve(out, name.len + value.len + msg.len + 4);
	buf_slice(out, slice_sub(msg, 0, end + 2));
	mail_prepend_header(out, slice_sub(msg, end + 2, SIZE_MAX), name, value);
	return 0;
}

int mail_remove_headers(struct buf *out, struct slice msg, mail_match_cb match, void *arg)
{
	struct mail_header h;
	struct slice rest = msg;
	size_t start = out->len, kept = 0;	/* KEPT: where the bytes not yet copied begin */
	int n = 0, rc;

	while ((rc = mail_header_next(&rest, &h)) > 0) {
		if (!match(&h, arg))
			continue;
		size_t at = h.raw.ptr - msg.ptr;
		buf_slice(out, slice_sub(msg, kept, at - kept));
		kept = at + h.raw.len;
		n++;
	}
	if (rc < 0) {
		buf_truncate(out, start);
		return rc;
	}
	if (n > 0)
		buf_slice(out, slice_sub(msg, kept, SIZE_MAX));
	return n;
}

bool mail_match_name(const struct mail_header *h, void *arg)
{
	return slice_eq_nocase(h->name, *(const struct slice *)arg);
}

const struct mail_field MAIL_FIELDS[] = {
	{ "From", "from", MAIL_MAILBOX_LIST },
	{ "Resent-From", "resent_from", MAIL_MAILBOX_LIST },
	{ "To", "to", MAIL_ADDRESS_LIST },
	{ "Reply-To", "reply_to", MAIL_ADDRESS_LIST },
	{ "Cc", "cc", MAIL_ADDRESS_LIST },
	{ "Bcc", "bcc", MAIL_ADDRESS_LIST },
	{ "Resent-To", "resent_to", MAIL_ADDRESS_LIST },
	{ "Resent-Cc", "resent_cc", MAIL_ADDRESS_LIST },
	{ "Resent-Bcc", "resent_bcc", MAIL_ADDRESS_LIST },
	{ "Date", NULL, MAIL_DATE },
	{ "Sender", "sender", MAIL_MAILBOX },
	{ "Resent-Sender", "resent_sender", MAIL_MAILBOX },
	{ "Message-ID", "message_id", MAIL_MESSAGE_ID },
	{ "Content-ID", "content_id", MAIL_MESSAGE_ID },
	{ "References", "references", MAIL_MESSAGE_ID_LIST },
	{ "Subject", "subject", MAIL_UNSTRUCTURED },
	{ "Comments", "comments", MAIL_UNSTRUCTURED },
	{ "Mime-Version", "mime_version", MAIL_UNSTRUCTURED },
	{ "Content-Transfer-Encoding", "content_transfer_encoding", MAIL_TOKEN_PARAMS },
	{ "Content-Disposition", "content_disposition", MAIL_TOKEN_PARAMS },
	{ "Content-Type", "content_type", MAIL_CONTENT_TYPE },
	{ "Authentication-Results", "authentication_results", MAIL_AUTH_RESULTS },
	{ NULL, NULL, MAIL_UNSTRUCTURED },
};

const struct mail_field *mail_field_find(struct slice name)
{
	for (const struct mail_field *f = MAIL_FIELDS; f->name != NULL; f++)
		if (slice_eq_nocase(name, slice_from_cstr(f->name)))
			return f;
	return NULL;
}

static int parse_unstructured(struct slice value, struct arena *a, struct val *out)
{
	struct buf b = { 0 };
	int rc = mail_parse_unstructured(value, &b);
	if (rc == 0)
		*out = val_str(a, buf_view(&b));
	buf_fini(&b);
	return rc;
}

static int parse_content_type(struct slice value, struct arena *a, struct val *out)
{
	struct mime_params p;
	int rc = mime_parse_content_type(value, a, &p);
	if (rc == 0)
		mime_params_to_val(&p, a, out);
	return rc;
}

static int parse_token_params(struct slice value, struct arena *a, struct val *out)
{
	struct mime_params p;
	int rc = mime_parse_token_params(value, a, &p);
	if (rc == 0)
		mime_params_to_val(&p, a, out);
	return rc;
}

static int parse_date(struct slice value, struct arena *a, struct val *out)
{
	int64_t us;
	int rc = mail_parse_date(value, &us);
	if (rc == 0) {
		*out = val_obj();
		val_put_lit(a, out, "us", val_int(us));
		val_put_lit(a, out, "zone", val_int(mail_date_zone(value)));
	}
	return rc;
}

static int put_params(struct buf *b, const struct val *v)
{
	struct arena *a = arena_create();
	struct mime_params p;
	int rc = mime_params_from_val(v, a, &p);
	if (rc == 0)
		mime_params_put(b, &p);
	arena_destroy(&a);
	return rc;
}

static int put_unstructured(struct buf *b, const struct val *v)
{
	if (v->type != VAL_STR)
		return err_set(E_INVAL, "deserialize error: invalid type: %s, expected a string", val_type_name(v->type));
	mail_put_unstructured(b, v->s);
	return 0;
}

static int put_date(struct buf *b, const struct val *v)
{
	const struct val *us = val_get_lit(v, "us"), *zone = val_get_lit(v, "zone");
	if (us == NULL || us->type != VAL_INT)
		return err_set(E_INVAL, "deserialize error: invalid type: %s, expected a time", val_type_name(v->type));
	/* Thu, 1 Jan 2026: no leading zero in the day, as this rebuilder has always written it */
	struct buf t = { 0 };
	time_put_rfc2822(&t, us->i, zone != NULL ? (int)zone->i : 0);
	const char *s = buf_cstr(&t);
	buf_put(b, s, 5);
	buf_cstr_put(b, s[5] == '0' ? s + 6 : s + 5);
	buf_fini(&t);
	return 0;
}

static const struct kind_desc {
	int (*parse)(struct slice value, struct arena *a, struct val *out);
	int (*put)(struct buf *b, const struct val *v);
} KINDS[] = {
	[MAIL_UNSTRUCTURED] = { parse_unstructured, put_unstructured },
	[MAIL_MAILBOX] = { mail_parse_mailbox, mail_put_mailbox },
	[MAIL_MAILBOX_LIST] = { mail_parse_mailbox_list, mail_put_mailbox_list },
	[MAIL_ADDRESS_LIST] = { mail_parse_address_list, mail_put_address_list },
	[MAIL_MESSAGE_ID] = { mail_parse_message_id, mail_put_message_id },
	[MAIL_MESSAGE_ID_LIST] = { mail_parse_message_id_list, mail_put_message_id_list },
	[MAIL_CONTENT_TYPE] = { parse_content_type, put_params },
	[MAIL_TOKEN_PARAMS] = { parse_token_params, put_params },
	[MAIL_AUTH_RESULTS] = { mail_parse_auth_results, mail_put_auth_results },
	[MAIL_DATE] = { parse_date, put_date },
};

int mail_parse_kind(enum mail_kind k, struct slice value, struct arena *a, struct val *out)
{
	assert(k < ARRAY_LEN(KINDS));
	return KINDS[k].parse(value, a, out);
}

int mail_put_kind(struct buf *b, enum mail_kind k, const struct val *v)
{
	assert(k < ARRAY_LEN(KINDS));
	return KINDS[k].put(b, v);
}
