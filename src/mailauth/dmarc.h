/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dmarc - what the author's domain wants done with a message, by the results of DKIM and SPF (RFC 7489).
 *
 * The record is looked for at the author's domain, then at its organizational domain. Reports are not written.
 *
 * Thread:  fibers.   Memory: texts of the result in the arena given.   Yields: for at most two lookups.
 */
#pragma once
#include "codec/val.h"
#include "mailauth/auth_dns.h"

enum dmarc_disposition { DMARC_PASS, DMARC_NONE, DMARC_QUARANTINE, DMARC_REJECT, DMARC_TEMPERROR, DMARC_PERMERROR };
const char *dmarc_disposition_name(enum dmarc_disposition d);	/* "Pass", "TempError" */

struct dmarc_query {
	struct slice from_domain;		/* of the From field */
	struct slice mail_from_domain;		/* of the envelope; may be none */
	const struct val *dkim;			/* a list of authentication results */
	const struct val *spf;			/* one */
	unsigned draw;				/* 0..99: a record with pct=N is about draws below N */
	struct auth_dns dns;
};
struct dmarc_result {
	enum dmarc_disposition disposition;
	struct slice reason;
	struct val props;			/* {"policy.p" = "reject", …}: the record's tags; an empty object where there is none */
};
/* 0; negative only for a canceled lookup. Yields. */
int dmarc_check(const struct dmarc_query *q, struct arena *a, struct dmarc_result *out) WARN_UNUSED;
