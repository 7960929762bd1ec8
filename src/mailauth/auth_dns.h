/* SPDX-License-Identifier: Apache-2.0 */
/*
 * auth_dns - the lookups that authentication makes, behind one function, so that the conformance suites can answer them.
 *
 * Thread:  fibers.   Memory: answers are copied into the arena given.   Yields.
 */
#pragma once
#include "base/arena.h"
#include "net/dns.h"

struct auth_rrs {
	enum dns_status status;
	uint32_t n;
	struct dns_rr *rrs;
	struct slice error;	/* DNS_FAIL */
};
struct auth_dns {
	int (*lookup)(void *arg, struct slice name, enum dns_type type, struct arena *a, struct auth_rrs *out);	/* negative: canceled */
	void *arg;
};
/* Lookups by a resolver; NULL: the default one. */
struct auth_dns auth_dns_of(struct dns_resolver *r);
