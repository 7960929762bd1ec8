/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dkim_verify - verifies the DKIM signatures of a message (RFC 6376, 8301, 8463).
 *
 * Results are authentication results in the shape of codec/rfc5322: {method = "dkim", result, reason?, props = {"header.d" = …}}. The words of
 * results and reasons are KumoMTA's: a signature that does not fit is a permerror, not a fail.
 *
 * Thread:  fibers.   Memory: results in the arena given.   Yields: for key lookups.
 */
#pragma once
#include "codec/val.h"
#include "mailauth/auth_dns.h"
#include "mailauth/dkim_canon.h"
#include "mailauth/tags.h"
#include "tls/key.h"

#define DKIM_SIGNATURES_MAX 10	/* of one message: each costs a lookup and an RSA operation */

struct dkim_verify_opts {
	struct auth_dns dns;
	int64_t now_s;
	bool allow_weak;	/* rsa-sha1 and short keys, which RFC 8301 forbids: for old collections of samples */
};
/* 0 with a list in OUT; negative for a canceled lookup, or a header that cannot be read. Yields. */
int dkim_verify(struct slice msg, const struct dkim_verify_opts *o, struct arena *a, struct val *out) WARN_UNUSED;

/* --- for ARC, which signs the same way ---------------------------------------------------------------------------------------------- */

struct dkim_header_list {
	uint32_t n;
	struct mail_header *h;
};
/* All fields of a message, and its body. */
int dkim_headers(struct slice msg, struct arena *a, struct dkim_header_list *out, struct slice *body) WARN_UNUSED;
struct dkim_check {
	const char *field;			/* "DKIM-Signature" */
	const struct mail_header *header;	/* the signature's field */
	const struct auth_tags *tags;
	bool whole_body;			/* bh= is checked */
	bool seal;				/* the fields signed are SIGNED, relaxed */
	const struct dkim_header_list *signed_fields;	/* all of the message, or those sealed */
	struct slice body;
};
/* NULL: it fits. Else the reason, and *TEMPORARY when trying again may help. *RC negative: canceled. Yields. */
const char *dkim_check_signature(const struct dkim_check *c, const struct dkim_verify_opts *o, struct arena *a, bool *temporary, int *rc);
