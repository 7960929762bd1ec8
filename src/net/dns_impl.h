/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dns_impl - what the kinds of resolvers share: zone texts (dns_zone), libunbound (dns_unbound), one after the other (dns_aggregate in dns.c).
 *
 * Thread:  lookups from any shard; a resolver is immutable once made.   Memory: reference counts.   Yields: lookup.
 */
#pragma once
#include "net/dns.h"

struct dns_resolver_ops {
	/* NAME is normalized ("a.example."). */
	int (*lookup)(struct dns_resolver *r, struct slice name, enum dns_type type, struct dns_answer **out);
	void (*destroy)(struct dns_resolver *r);
};
struct dns_resolver {
	const struct dns_resolver_ops *ops;
	_Atomic uint32_t refs;
};
struct dns_resolver *dns_resolver_ref(struct dns_resolver *r);

/* Collects an answer, then packs it into one block. */
struct dns_builder {
	struct dns_rr *rrs;
	uint32_t n, cap;
	struct buf bytes;	/* names and data; until packed, slices hold offsets */
	enum dns_status status;
	bool secure, bogus;
	int64_t expires_ms;
	struct slice canon, error;	/* borrowed */
};
void dns_builder_add(struct dns_builder *b, const struct dns_rr *rr);	/* copies name and data */
struct dns_answer *dns_builder_pack(struct dns_builder *b);		/* frees what was collected; refs 1 */
struct dns_answer *dns_answer_simple(enum dns_status status, bool secure, int64_t ttl_ms, const char *error);
/* One record's rdata in wire form, with names uncompressed. -E_INVAL: damaged; records of other types than known are skipped by the caller. */
int dns_rr_from_wire(enum dns_type type, struct slice rdata, struct buf *scratch, struct dns_rr *out) WARN_UNUSED;

struct dns_unbound_conf {
	struct slice servers[16];	/* "1.2.3.4:53" */
	size_t n_servers;
	bool validate;
	bool hosts_file;
	bool tcp_only;
	bool small_answers;		/* 512 octets by UDP, what is larger by TCP */
	bool random_case;
	struct slice bind_addrs[16];	/* "10.0.0.2:0", of SERVERS; ptr NULL: any */
	struct slice anchor_file, managed_anchor_file;
	int64_t timeout_ms;		/* of a whole lookup */
	size_t cache_size;
	int64_t positive_min_ms, positive_max_ms, negative_min_ms, negative_max_ms; /* 0: not given */
};
int dns_unbound_create(const struct dns_unbound_conf *conf, struct dns_resolver **out) WARN_UNUSED;
struct dns_resolver *dns_aggregate_create(struct dns_resolver **children, size_t n);	/* takes references over */
void mx_forget(void);	/* the default resolver has changed */
