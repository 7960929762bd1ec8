/* SPDX-License-Identifier: Apache-2.0 */
/*
 * report - what other systems report about mail: delivery status notifications (RFC 3464) and feedback reports (ARF, RFC 5965).
 *
 * Both come out as values in the shape that log records and the Lua API show; fields that a report does not have are null.
 *
 *	DSN   {per_message = {reporting_mta = {mta_type, name}, original_envelope_id, dsn_gateway, received_from_mta, arrival_date, extensions},
 *	       per_recipient = [{final_recipient = {recipient_type, recipient}, original_recipient, action, status = {class, subject, detail, comment},
 *	       remote_mta, diagnostic_code = {diagnostic_type, diagnostic}, last_attempt_date, will_retry_until, final_log_id, extensions}],
 *	       original_message}
 *	ARF   {feedback_type, user_agent, version, arrival_date, incidents, original_envelope_id, original_mail_from, reporting_mta, source_ip,
 *	       authentication_results, original_rcpto_to, reported_domain, reported_uri, extensions, original_message, supplemental_trace}
 *
 * The trace is what our own X-KumoRef carried in the message that is reported about.
 *
 * Thread:  any.   Memory: values in the arena given.   Yields: never.
 */
#pragma once
#include "codec/rfc5321.h"
#include "codec/val.h"

/* 0; -E_NOENT: the message is no such report; -E_INVAL: it is one, but broken. */
int report_parse_dsn(struct slice message, struct arena *a, struct val *out) WARN_UNUSED;
int report_parse_arf(struct slice message, struct arena *a, struct val *out) WARN_UNUSED;

/* A failed recipient of a DSN, as an OOB record tells it. */
struct report_failure {
	struct slice recipient;		/* the original one, else the final one */
	struct smtp_response response;
	struct slice reporting_mta;	/* its name */
	int64_t last_attempt_us;	/* 0: not given */
};
uint32_t report_dsn_failures(const struct val *dsn, struct arena *a, struct report_failure **out);

/* The value of a trace header that names itself ours: base64 of JSON with the marker, which is cut out. false: it is none. */
bool report_parse_trace(struct slice value, struct arena *a, struct val *out);

/* A delivery status notification (RFC 3464) about what a log record tells. */
enum report_original { REPORT_ORIGINAL_NONE, REPORT_ORIGINAL_HEADERS, REPORT_ORIGINAL_FULL };
struct report_dsn_conf {
	int original;				/* enum report_original: how much of the message comes with it */
	bool expirations, bounces;		/* which records are reported */
	bool stable;				/* the same boundary and Message-ID each time, for tests */
	struct slice mta_type, mta_name;	/* who reports: "dns", "mx.example" */
};
/* Appends it. ORIGINAL: the message that the record is about, or SLICE_NONE. 1; 0: no report is due (the wrong kind of record or the null
   sender); -E_INVAL: the record lacks something. */
int report_put_dsn(struct buf *b, const struct report_dsn_conf *c, const struct val *record, struct slice original) WARN_UNUSED;
