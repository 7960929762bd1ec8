/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dns - lookups for fibers, with one cache for the process.
 *
 * libunbound validates on a thread of its own; answers go to a shared cache by TTL (positive and negative); simultaneous lookups of a
 * name share one query. Tests and policies put zone texts in its place (configure_test_resolver, define_resolver's Test form).
 *
 * Thread:  fibers of any shard.   Memory: answers are reference-counted and immutable.   Yields: lookups that miss the cache.
 */
#pragma once
#include "base/addr.h"
#include "base/err.h"
#include "codec/val.h"

enum dns_type { DNS_A = 1, DNS_NS = 2, DNS_CNAME = 5, DNS_PTR = 12, DNS_MX = 15, DNS_TXT = 16, DNS_AAAA = 28, DNS_TLSA = 52 };
struct dns_rr {
	uint16_t preference;		/* MX */
	struct slice name;		/* MX, PTR, CNAME, NS: absolute with the final dot, lower case */
	struct slice data;		/* TXT: the strings joined; TLSA: rdata */
	struct ipaddr addr;		/* A, AAAA */
};
struct dns_answer {
	_Atomic uint32_t refs;
	enum { DNS_OK, DNS_NODATA, DNS_NXDOMAIN, DNS_FAIL } status;
	bool secure, bogus;
	int64_t expires_ms;		/* rt_now_ms */
	uint32_t n;
	struct dns_rr *rrs;
	struct slice canon;		/* the name after CNAMEs */
	char *error;			/* DNS_FAIL */
};
struct dns_resolver;
/* RESOLVER NULL: the default one. 0 with any status; negative only for -E_CANCELED, -E_TIMEOUT, -E_INVAL (a bad name). Yields. */
int dns_lookup(struct dns_resolver *r, struct slice name, enum dns_type type, struct dns_answer **out) WARN_UNUSED;
void dns_answer_unref(struct dns_answer **a);
/* A and AAAA as STRATEGY says. Yields. */
enum ip_strategy { IP_V4_ONLY, IP_V6_ONLY, IP_V4_AND_V6, IP_V6_THEN_V4, IP_V4_THEN_V6 };
int dns_lookup_ip(struct dns_resolver *r, struct slice name, enum ip_strategy strategy, struct ipaddr **addrs, size_t *n, int64_t *expires_ms) WARN_UNUSED;
struct dns_resolver *dns_resolver_find(struct slice name);	/* of kumo.dns.define_resolver; NULL: unknown */

/*
 * The mail exchangers of a domain, as docs/userguide and upstream's site names have them (RFC 5321 5.1, RFC 7505).
 * Cached until the TTL; single flight.
 */
struct mx_host {
	uint16_t preference;
	struct slice name;
};
struct mx_site {
	_Atomic uint32_t refs;
	enum { MX_OK, MX_NULL /* "." : accepts no mail */, MX_NXDOMAIN, MX_FAIL } status;
	struct slice domain;		/* as asked, A-label form */
	struct slice site_name;		/* "(a|b).example.com", "NXDOMAIN:…", "DNSFAIL:…" */
	bool is_domain_literal, is_mx, is_secure;
	uint32_t n;
	struct mx_host *hosts;		/* by preference; equal ones in DNS order */
	int64_t expires_ms;
	char *error;
};
int mx_resolve(struct slice domain, struct mx_site **out) WARN_UNUSED;	/* Yields on a miss */
struct mx_site *mx_resolve_cached(struct slice domain);			/* NULL unless fresh in the cache; never waits */
struct mx_site *mx_site_ref(struct mx_site *m);
void mx_site_unref(struct mx_site **m);
