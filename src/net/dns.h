/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dns - lookups for fibers, with one cache for the process.
 *
 * libunbound validates on a thread of its own; answers go to a shared cache by TTL (positive and negative); simultaneous lookups of a
 * name share one query. Tests and policies put zone texts in its place (configure_test_resolver, define_resolver's Test form).
 *
 * Names are taken as people write them (any case, final dot or not, U-labels); what comes back is lower case, A-labels, with the final dot.
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
enum dns_status { DNS_OK, DNS_NODATA, DNS_NXDOMAIN, DNS_FAIL };
struct dns_answer {
	_Atomic uint32_t refs;
	enum dns_status status;
	bool secure, bogus;
	int64_t expires_ms;		/* rt_now_ms */
	uint32_t n;
	struct dns_rr *rrs;
	struct slice canon;		/* the name after CNAMEs */
	struct slice error;		/* DNS_FAIL; NUL behind */
};
struct dns_resolver;
/* RESOLVER NULL: the default one. 0 with any status; negative only for -E_CANCELED, -E_TIMEOUT, -E_INVAL (a bad name). Yields. */
int dns_lookup(struct dns_resolver *r, struct slice name, enum dns_type type, struct dns_answer **out) WARN_UNUSED;
struct dns_answer *dns_answer_ref(struct dns_answer *a);
void dns_answer_unref(struct dns_answer **a);

/* "EXAMPLE.com", "bücher.example." become "example.com.", "xn--bcher-kva.example."; "" is ".". -E_INVAL: no domain name. */
int dns_name_put(struct buf *b, struct slice name) WARN_UNUSED;
/* "4.3.2.1" of 1.2.3.4, nibbles of IPv6; the second with "in-addr.arpa" or "ip6.arpa" behind. */
void dns_reverse_put(struct buf *b, const struct ipaddr *a);
void dns_ptr_name_put(struct buf *b, const struct ipaddr *a);
/* "host:587" cut in two when what follows the only colon is a port. */
bool dns_split_port(struct slice s, struct slice *label, uint16_t *port);

/* A and AAAA as STRATEGY says. No address is 0 with N 0, whether the name exists or not; -E_DNS: the lookups failed and there is none. Yields. */
enum ip_strategy { IP_V4_ONLY, IP_V6_ONLY, IP_V4_AND_V6, IP_V6_THEN_V4, IP_V4_THEN_V6 };
struct dns_addrs {
	struct ipaddr *addrs;		/* free() */
	size_t n;
	bool secure;			/* all of them are from validated answers */
	int64_t expires_ms;
};
int dns_lookup_ip(struct dns_resolver *r, struct slice name, enum ip_strategy strategy, struct dns_addrs *out) WARN_UNUSED;
int ip_strategy_parse(struct slice s, enum ip_strategy *out) WARN_UNUSED;	/* "Ipv4Only" … */

/* Resolvers. The default is made of /etc/resolv.conf at the first lookup unless one was set. */
void dns_resolver_set_default(struct dns_resolver *r);		/* takes the reference over; forgets what was cached */
void dns_resolver_define(struct slice name, struct dns_resolver *r); /* the same for a named one */
struct dns_resolver *dns_resolver_find(struct slice name);	/* a reference; NULL: unknown */
void dns_resolver_unref(struct dns_resolver **r);
/* From options as kumo.dns.define_resolver takes them ({Test=…}, {Hickory=…}, {Unbound=…}, {Aggregate={…}}, "HickorySystemConfig"); WHERE begins messages. */
int dns_resolver_from_val(const struct val *v, const char *where, struct dns_resolver **out) WARN_UNUSED;
int dns_resolver_from_config(const struct val *v, const char *where, bool unbound, struct dns_resolver **out) WARN_UNUSED; /* {name_servers=…, options=…} */
int dns_resolver_from_test(const struct val *v, struct dns_resolver **out) WARN_UNUSED;	/* a list of zones, or {zones=…, servfail=…} */
int dns_resolv_conf_load(const char *path, struct arena *a, struct val *out) WARN_UNUSED;	/* NULL: /etc/resolv.conf */

/*
 * The mail exchangers of a domain, as docs/userguide and upstream's site names have them (RFC 5321 5.1, RFC 7505).
 * Cached until the TTL; single flight.
 */
struct mx_host {
	uint16_t preference;
	struct slice name;		/* "mx.example.", a literal "192.0.2.1" without dot, and ":port" behind either when the domain had one */
};
enum mx_sts { MX_STS_NONE, MX_STS_TESTING, MX_STS_ENFORCE };
struct mx_site {
	_Atomic uint32_t refs;
	enum { MX_OK, MX_NULL /* some host is ".": accepts no mail */, MX_NXDOMAIN, MX_FAIL } status;
	struct slice domain;		/* absolute, A-label form; a literal as asked */
	struct slice site_name;		/* "(a|b).example.com"; "" unless MX_OK or MX_NULL */
	bool is_domain_literal, is_mx, is_secure;
	enum mx_sts mta_sts;		/* hosts that an enforced policy forbids are left out already */
	uint32_t n;
	struct mx_host *hosts;		/* by preference, then by name */
	int64_t expires_ms;
	struct slice error;		/* MX_NXDOMAIN, MX_FAIL: "MX lookup for x.example failed after 1.2ms: NXDOMAIN"; NUL behind */
};
/* 0 with any status; -E_INVAL: no domain name and no literal; -E_CANCELED, -E_TIMEOUT. Yields on a miss. */
int mx_resolve(struct slice domain, struct mx_site **out) WARN_UNUSED;
int mx_resolve_via(struct dns_resolver *r, struct slice domain, struct mx_site **out) WARN_UNUSED; /* past the cache. Yields. */
void mx_count_remembered(void);		/* the caller still holds what an earlier mx_resolve said: a hit in the metrics */
struct mx_site *mx_site_ref(struct mx_site *m);
void mx_site_unref(struct mx_site **m);
void mx_site_name_put(struct buf *b, const struct slice *hosts, size_t n);	/* what a list of hosts is called */

/* Addresses to try, first one first; equal preferences are shuffled. MX_NULL and failures give none. Hosts that do not resolve are left out. Yields. */
struct mx_addr {
	struct slice name;		/* the host, borrowed from the site; without ":port" */
	struct ipaddr addr;
	uint16_t port;			/* 0: none was given */
	uint16_t preference;
	bool secure;
};
int mx_addrs(struct dns_resolver *r, const struct mx_site *m, enum ip_strategy strategy, struct mx_addr **out, size_t *n) WARN_UNUSED;

/* kumo.dns.set_mx_… */
void mx_set_timeout(int64_t ms);
void mx_set_negative_ttl(int64_t ms);
void mx_set_concurrency(int64_t n);
void mx_set_sts_enabled(bool on);
/* The MTA-STS check, filled in by the program: KEEP[i] false drops a host. -E_POLICY: the policy permits none (err_text says so). Yields. */
typedef int (*mx_sts_cb)(struct slice domain, const struct mx_host *hosts, uint32_t n, bool *keep, enum mx_sts *mode, int64_t *max_age_s);
void mx_set_sts(mx_sts_cb cb);
