/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arc - the authenticated chain of a message's handlers: verifying and adding to it (RFC 8617).
 *
 * Thread:  fibers.   Memory: results in the arena given.   Yields: for key lookups.
 */
#pragma once
#include "mailauth/dkim_sign.h"
#include "mailauth/dkim_verify.h"

#define ARC_INSTANCE_MAX 50

enum arc_status { ARC_NONE, ARC_PASS, ARC_FAIL };
struct arc_set {
	struct mail_header aar, ams, seal;
	bool has_aar, has_ams, has_seal;
	struct auth_tags *ams_tags, *seal_tags;
};
struct arc_chain {
	enum arc_status status;
	const char *reason;		/* of a fail */
	uint32_t n;			/* instances 1..n are sets[1..n] */
	struct arc_set sets[ARC_INSTANCE_MAX + 1];
	uint32_t oldest_pass;		/* the oldest instance from which on all message signatures fit; 0: all do */
};
/* 0 with any status; negative: canceled, or a header that cannot be read. Yields. */
int arc_verify(struct slice msg, const struct dkim_verify_opts *o, struct arena *a, struct arc_chain *out) WARN_UNUSED;
/* The chain as an authentication result. */
void arc_result(const struct arc_chain *c, struct arena *a, struct val *out);
/* Appends the three fields of the next instance to OUT, for the front of MSG; nothing when the chain is broken. RESULTS: {serv_id, results}. */
int arc_seal(struct slice msg, const struct arc_chain *c, const struct dkim_signer *s, const struct val *results, int64_t now_s, struct arena *a,
	     struct buf *out) WARN_UNUSED;
