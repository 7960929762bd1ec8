/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spf - whether a host may send mail in a domain's name (RFC 7208).
 *
 * Thread:  fibers.   Memory: texts of the result in the arena given.   Yields: for lookups; at most about 10 names with 10 addresses each.
 */
#pragma once
#include "mailauth/auth_dns.h"

enum spf_disposition { SPF_NONE, SPF_NEUTRAL, SPF_PASS, SPF_FAIL, SPF_SOFTFAIL, SPF_TEMPERROR, SPF_PERMERROR };
const char *spf_disposition_name(enum spf_disposition d);	/* "pass", "temperror" */

struct spf_query {
	struct ipaddr ip;		/* the client */
	struct slice domain;		/* whose record is asked: of the sender, or the name in EHLO */
	struct slice sender;		/* local@domain; none: postmaster at the domain */
	struct slice helo;		/* what EHLO said; may be none */
	struct slice receiver;		/* this host, for %{r} */
	int64_t now_s;			/* for %{t} */
	struct auth_dns dns;
};
struct spf_result {
	enum spf_disposition disposition;
	struct slice reason;		/* "matched '-all' directive"; for fail the domain's own explanation where it has one */
	bool explained;			/* reason is the domain's explanation */
};
/* 0; negative only for a canceled lookup. Yields. */
int spf_check(const struct spf_query *q, struct arena *a, struct spf_result *out) WARN_UNUSED;
