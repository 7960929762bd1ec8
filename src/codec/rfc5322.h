/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rfc5322 - header fields of messages: scanning, editing, and what their values mean.
 *
 * Scanning copies nothing: a relay that adds a Received and a signature never builds a tree. Values are read on demand, by the
 * relaxed grammar that KumoMTA has always used (obsolete forms, UTF-8, RFC 2047 words in odd places), and written in its layout.
 * Structured values are `struct val`s in the shape that the Lua API shows:
 *	mailbox        {name = "A B" or absent, address = {local_part = "a", domain = "b.example"}}
 *	group          {name = "G", entries = [mailbox, …]}
 *	date           {us = microseconds since 1970, zone = seconds east of UTC}
 *	auth. results  {serv_id, version?, results = [{method, method_version?, result, reason?, props = {"header.d" = …}}]}
 *
 * Thread:  any.
 * Memory:  scanned slices point into the message; values go into the arena given.
 * Yields:  never.
 */
#pragma once
#include "codec/val.h"

enum mail_conformance {
	MAIL_MISSING_COLON_VALUE = 1,
	MAIL_NON_CANONICAL_LINE_ENDINGS = 2,
	MAIL_NAME_ENDS_WITH_SPACE = 4,
	MAIL_LINE_TOO_LONG = 8,
	MAIL_NEEDS_TRANSFER_ENCODING = 16,
	MAIL_MISSING_DATE_HEADER = 32,
	MAIL_MISSING_MESSAGE_ID_HEADER = 64,
	MAIL_MISSING_MIME_VERSION = 128,
	MAIL_INVALID_MIME_HEADERS = 256,
};
/* "A|B" to a set and back (sorted by name); -E_INVAL names the bad flag and the possible ones. */
int mail_conformance_parse(struct slice s, unsigned *out) WARN_UNUSED;
void mail_conformance_put(struct buf *b, unsigned set);

/* --- scanning ------------------------------------------------------------------------------------------------------- */

struct mail_header {
	struct slice name;	/* without the blanks that some put before the colon */
	struct slice sep;	/* the colon and the blanks around it */
	struct slice value;	/* raw: folded and encoded, without its last line end */
	struct slice raw;	/* all of it, with its last line end */
	unsigned conformance;
};
/* Takes one field off the front of *REST. 1: HDR is filled; 0: the header block ended, *REST is the body (a conformance bit for a bare
   LF is put into HDR->conformance); -E_INVAL: no header field (a lone CR, a name with other than printable ASCII, white space first). */
int mail_header_next(struct slice *rest, struct mail_header *hdr) WARN_UNUSED;
/* The first field of that name (any case) in a message. false: none, or the block is broken before it. */
bool mail_header_find(struct slice msg, struct slice name, struct mail_header *hdr);
/* Offset of the body: behind the empty line; the length where there is none. */
size_t mail_body_offset(struct slice msg);

/* --- editing: the new message is appended to OUT ---------------------------------------------------------------------- */

void mail_prepend_header(struct buf *out, struct slice msg, struct slice name, struct slice value);	/* value as it is */
int mail_append_header(struct buf *out, struct slice msg, struct slice name, struct slice value) WARN_UNUSED; /* -E_INVAL: no CRLF CRLF */
/* Leaves out the fields for which MATCH says yes. How many that were (0: OUT is untouched), or -E_INVAL of mail_header_next. */
typedef bool (*mail_match_cb)(const struct mail_header *h, void *arg);
int mail_remove_headers(struct buf *out, struct slice msg, mail_match_cb match, void *arg) WARN_UNUSED;
bool mail_match_name(const struct mail_header *h, void *arg);						/* ARG: struct slice * */

/* --- reading values: 0, or -E_INVAL with the place in err_text -------------------------------------------------------------- */

int mail_parse_unstructured(struct slice value, struct buf *out) WARN_UNUSED;		/* unfolded, RFC 2047 words decoded */
int mail_parse_mailbox(struct slice value, struct arena *a, struct val *out) WARN_UNUSED;
int mail_parse_mailbox_list(struct slice value, struct arena *a, struct val *out) WARN_UNUSED;
int mail_parse_address_list(struct slice value, struct arena *a, struct val *out) WARN_UNUSED;
int mail_parse_message_id(struct slice value, struct arena *a, struct val *out) WARN_UNUSED;		/* a string without brackets */
int mail_parse_message_id_list(struct slice value, struct arena *a, struct val *out) WARN_UNUSED;
int mail_parse_auth_results(struct slice value, struct arena *a, struct val *out) WARN_UNUSED;
/* A date-time of RFC 5322 in microseconds; comments are skipped. */
int mail_parse_date(struct slice value, int64_t *us) WARN_UNUSED;
int32_t mail_date_zone(struct slice value);			/* seconds east of UTC that a date-time names; 0 for what is none */

/* MIME parameters (RFC 2045, 2231), sections joined and decoded on reading. */
enum mime_param_encoding { MIME_PARAM_PLAIN, MIME_PARAM_2231, MIME_PARAM_WORD /* RFC 2047 */, MIME_PARAM_QUOTED_WORD };
struct mime_param {
	struct slice name, value, charset;
	bool has_section;
	uint32_t section;
	enum mime_param_encoding encoding;
};
struct mime_params {
	struct slice value;		/* "text/plain", "base64", "attachment" */
	uint32_t n, cap;
	struct mime_param *params;
};
int mime_parse_content_type(struct slice value, struct arena *a, struct mime_params *out) WARN_UNUSED;
int mime_parse_content_type_loosely(struct slice value, struct arena *a, struct mime_params *out) WARN_UNUSED;	/* stray ";" are no fault */
int mime_parse_token_params(struct slice value, struct arena *a, struct mime_params *out) WARN_UNUSED;	/* Content-Transfer-Encoding, Content-Disposition */
bool mime_params_get(const struct mime_params *p, struct slice name, struct arena *a, struct slice *out);
void mime_params_set(struct mime_params *p, struct arena *a, struct slice name, struct slice value);	/* replaces; slices are kept, not copied */
void mime_params_to_val(const struct mime_params *p, struct arena *a, struct val *out);		/* {value, parameters = {…}} */
int mime_params_from_val(const struct val *v, struct arena *a, struct mime_params *out) WARN_UNUSED;
void mime_params_put(struct buf *b, const struct mime_params *p);

/* --- writing values --------------------------------------------------------------------------------------------------------- */

/* ASCII is wrapped at blanks about column 75 (hard at 900), other UTF-8 becomes RFC 2047 words. */
void mail_put_unstructured(struct buf *b, struct slice text);
void mail_put_word(struct buf *b, struct slice utf8);					/* =?UTF-8?q?…?=, folded */
/* As it is, but a line break folds, whatever follows it: no value ends its field, nor the header. */
void mail_put_folded(struct buf *b, struct slice value);
void mail_put_wrapped(struct buf *b, struct slice text, size_t soft, size_t hard);
/* The shapes above; -E_INVAL when V is none. */
int mail_put_mailbox(struct buf *b, const struct val *v) WARN_UNUSED;
int mail_put_mailbox_list(struct buf *b, const struct val *v) WARN_UNUSED;
int mail_put_address_list(struct buf *b, const struct val *v) WARN_UNUSED;
int mail_put_message_id(struct buf *b, const struct val *v) WARN_UNUSED;
int mail_put_message_id_list(struct buf *b, const struct val *v) WARN_UNUSED;
int mail_put_auth_results(struct buf *b, const struct val *v) WARN_UNUSED;		/* an "instance" makes it ARC's */
void mail_put_addr_spec(struct buf *b, struct slice local, struct slice domain);	/* quoted where needed */

/* --- what a field is, by its name ----------------------------------------------------------------------------------------- */

enum mail_kind {
	MAIL_UNSTRUCTURED, MAIL_MAILBOX, MAIL_MAILBOX_LIST, MAIL_ADDRESS_LIST, MAIL_MESSAGE_ID, MAIL_MESSAGE_ID_LIST,
	MAIL_CONTENT_TYPE, MAIL_TOKEN_PARAMS, MAIL_AUTH_RESULTS, MAIL_DATE
};
struct mail_field {
	const char *name;	/* "Message-ID" */
	const char *lua;	/* "message_id": the accessor of a header map; NULL: it has none */
	enum mail_kind kind;
};
extern const struct mail_field MAIL_FIELDS[];		/* ends with name NULL */
const struct mail_field *mail_field_find(struct slice name);		/* NULL: unstructured */
int mail_parse_kind(enum mail_kind k, struct slice value, struct arena *a, struct val *out) WARN_UNUSED;
int mail_put_kind(struct buf *b, enum mail_kind k, const struct val *v) WARN_UNUSED;
