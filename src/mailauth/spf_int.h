/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of spf share. Thread: the check's fiber.   Memory: the arena of the check.   Yields: where it says so. */
#pragma once
#include "mailauth/spf.h"

#define SPF_LOOKUPS_MAX 10	/* RFC 7208 4.6.4 */
#define SPF_VOIDS_MAX 2
#define SPF_NAMES_MAX 10	/* of an mx or ptr */

struct spf_ctx {
	const struct spf_query *q;
	struct arena *a;
	struct slice sender;
	unsigned lookups, voids;
	int canceled;			/* the code to give back */
	bool has_p;			/* %{p} has been found out */
	struct slice p;
};

enum spf_kind { SPF_K_ALL, SPF_K_INCLUDE, SPF_K_A, SPF_K_MX, SPF_K_PTR, SPF_K_IP4, SPF_K_IP6, SPF_K_EXISTS };
struct spf_term {
	enum spf_kind kind;
	enum spf_disposition when;	/* matched */
	struct slice text;		/* as written */
	struct slice domain;		/* domain-spec; SLICE_NONE: the current domain */
	struct ipaddr net;		/* ip4, ip6 */
	uint8_t bits4, bits6;
};
struct spf_record {
	uint32_t n;
	struct spf_term *terms;
	struct slice redirect, exp;	/* domain-specs; SLICE_NONE */
};
/* -E_INVAL with the reason in err_text: permerror. */
int spf_record_parse(struct slice text, struct arena *a, struct spf_record *out) WARN_UNUSED;
/* Whether S is a macro-string, in EXP with the letters c, r, t; SPEC: a domain-spec, which has an end of its own. */
bool spf_macro_valid(struct slice s, bool exp, bool spec);
/* DOMAIN is the current one. -E_INVAL: canceled (c->canceled). Yields for %{p}. */
int spf_macro_expand(struct spf_ctx *c, struct slice domain, struct slice spec, struct buf *out) WARN_UNUSED;
/* A name of the client's that is TARGET or below it, or (TARGET none) any, best one first; SLICE_NONE: there is none. Yields. */
struct slice spf_validated_name(struct spf_ctx *c, struct slice target);
