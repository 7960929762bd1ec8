/* SPDX-License-Identifier: Apache-2.0 */
#include "mailauth/auth_dns.h"

static int lookup(void *arg, struct slice name, enum dns_type type, struct arena *a, struct auth_rrs *out)
{
	struct dns_answer *ans;
	int rc = dns_lookup(arg, name, type, &ans);
	*out = (struct auth_rrs){ .status = DNS_FAIL };
	if (rc == -E_INVAL) {
		/* no domain name: there is nothing of it in the DNS */
		out->status = DNS_NXDOMAIN;
		return 0;
	}
	if (rc < 0)
		return rc;
	out->status = ans->status;
	out->error = arena_dup(a, ans->error);
	out->rrs = arena_alloc(a, (ans->n + 1) * sizeof *out->rrs);
	for (uint32_t i = 0; i < ans->n; i++) {
		out->rrs[i] = ans->rrs[i];
		out->rrs[i].name = arena_dup(a, ans->rrs[i].name);
		out->rrs[i].data = arena_dup(a, ans->rrs[i].data);
	}
	out->n = ans->n;
	dns_answer_unref(&ans);
	return 0;
}

struct auth_dns auth_dns_of(struct dns_resolver *r)
{
	return (struct auth_dns){ lookup, r };
}
