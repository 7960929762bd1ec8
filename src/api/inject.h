/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inject - messages out of injection requests (POST /api/inject/v1, kumo.api.inject): a content with holes, and recipients to fill them.
 *
 * A request is read once, its templates are compiled once; then each recipient's message is made, shown to the policy, stored and
 * queued. With deferred_generation the request itself is queued and this happens when it is "delivered".
 *
 * Source:  docs/reference/http/kumod/api_inject_v1_post
 * Thread:  fibers of any shard.   Memory: a request lives in the arena given.   Yields: making messages does not; all else does.
 */
#pragma once
#include "base/addr.h"
#include "codec/mime.h"
#include "codec/opt.h"
#include "codec/rfc5321.h"
#include "codec/template.h"
#include "msg/msg.h"

struct inject_recipient {
	struct slice email, name;	/* name.ptr NULL: none */
	const struct val *substitutions, *metadata;
};
struct inject_mailbox {
	struct slice email, name;
	bool given;
};
struct inject_attachment {
	struct slice data, content_type, content_id, file_name;
	bool base64;
};
struct inject_builder {
	struct slice text_body, html_body, amp_html_body, subject;
	struct opt_list attachments;
	const struct val *headers;
	struct inject_mailbox from, reply_to;
};
struct inject_content {
	struct slice text;		/* one string; else the builder's parts */
	struct inject_builder b;
};
struct inject_trace {
	bool given, received_header, supplemental_header;
	struct slice header_name;
	struct opt_list include_meta_names;
};
struct inject_request {
	struct slice envelope_sender;
	struct opt_list recipients;
	struct inject_content content;
	const struct val *substitutions;
	bool deferred_spool, deferred_generation;
	struct inject_trace trace_headers;
	int template_dialect;
};
extern const struct opt_desc API_INJECT_REQUEST;

/* Where a request comes from. */
struct inject_origin {
	const struct val *auth;		/* AuthInfo */
	struct ipaddr peer;
	struct slice via, hostname;	/* none: not set in the metadata */
};

/* The request with its templates compiled. */
struct inject_job {
	struct arena *arena;
	struct inject_request req;
	const struct val *source;	/* what REQ was read from, for deferred generation */
	struct inject_origin origin;
	struct smtp_path sender;
	struct template *text, *html, *amp;
	struct val headers;		/* names to texts, sorted */
	struct template **header_templates;
	struct slice *attached;		/* decoded data */
};
/* Compiles; -E_INVAL with a text for the client. inject_job_fini in any case. */
int inject_job_init(struct inject_job *j, struct arena *a, const struct val *source, const struct inject_request *req, const struct inject_origin *o) WARN_UNUSED;
void inject_job_fini(struct inject_job *j);

/* The message of one recipient, with CRLF line ends and the Received field if it was asked for; not stored. A reference. Yields. */
int inject_make(const struct inject_job *j, const struct inject_recipient *r, struct msg **out) WARN_UNUSED;

struct inject_result {
	int64_t success, fail;
	struct val failed_recipients, errors;	/* lists */
	bool *done;		/* by recipient: queued, or refused for good; in the job's arena */
	bool *refused;		/* by recipient */
	struct slice retry_why;	/* what the last of the others failed with */
};
/* Makes and queues all, or queues the request itself. Negative: nothing was done. Yields. */
int inject_run(struct inject_job *j, struct inject_result *out) WARN_UNUSED;
struct val inject_result_val(struct arena *a, const struct inject_result *r);

/* NULL: messages are taken. Else why not: "load shedding", … */
const char *intake_refusal(void);
void inject_set_rate(const struct rate_spec *r);	/* kumo.set_httpinject_recipient_rate_limit; limit 0: none */
void inject_register(void);				/* events, metrics, the generator's protocol */
