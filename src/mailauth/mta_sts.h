/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mta_sts - MTA-STS policies (RFC 8461): which of its mail exchangers a domain lets mail be sent to.
 *
 * A TXT record at _mta-sts.DOMAIN names a version of the policy; the text itself comes by HTTPS and is kept for as long as it says. A
 * policy that was had once stays in force until then, whether the record vanishes or the server is away.
 *
 * Thread:  fibers of any shard.   Memory: policies are reference-counted and immutable.   Yields: mta_sts_policy_of, mta_sts_check.
 */
#pragma once
#include "mailauth/auth_dns.h"

struct mta_sts_policy {
	_Atomic uint32_t refs;
	enum mx_sts mode;
	int64_t max_age_s, expires_ms;
	struct slice id;		/* of the record that it was fetched for */
	uint32_t n;
	struct slice *mx;		/* lower case, "*." in front for one label of any name */
	struct arena *arena;
};
/* -E_INVAL: "STS policy TEXT is missing a version", … */
int mta_sts_policy_parse(struct slice text, struct mta_sts_policy **out) WARN_UNUSED;
void mta_sts_policy_unref(struct mta_sts_policy **p);
/* HOST may end in a dot. */
bool mta_sts_policy_permits(const struct mta_sts_policy *p, struct slice host);
/* The id of a TXT record. -E_NOENT: it is none of MTA-STS; -E_INVAL: it is, and is broken. */
int mta_sts_record_parse(struct slice txt, struct slice *id) WARN_UNUSED;

struct mta_sts_source {
	struct auth_dns dns;
	int (*fetch)(void *arg, const char *url, struct buf *out);	/* the text of a policy */
	void *arg;
};
/* DOMAIN lower case, without dot at its end. -E_NOENT: it has no policy; others: there should be one, but it could not be had. */
int mta_sts_policy_of(struct slice domain, const struct mta_sts_source *src, struct mta_sts_policy **out) WARN_UNUSED;

/* From here on policies are these, {[domain] = TEXT}, and nothing is looked up. -E_INVAL: one of them is none; then all is as before. */
int mta_sts_set_test(const struct val *policies) WARN_UNUSED;
int mta_sts_check(struct slice domain, const struct mx_host *hosts, uint32_t n, bool *keep, enum mx_sts *mode, int64_t *max_age_s); /* an mx_sts_cb */
void mta_sts_register(void);	/* makes it the check of mx_resolve */
