/* SPDX-License-Identifier: Apache-2.0 */
/*
 * server - the ESMTP listener: takes mail in.
 *
 * A fiber per connection reads commands as RFC 5321 has them, asks policy at each step, and answers 250 to a message only after it is
 * stored. Connections are dealt round the shards.
 *
 * Thread:  fibers of any shard.   Memory: listeners live until smtp_server_stop.   Yields: as said.
 */
#pragma once
#include "codec/val.h"
#include "policy/host.h"

/* kumo.start_esmtp_listener: binds and accepts from now on; prints "smtp listener on ADDRESS". Yields. */
int smtp_server_listen(const struct val *opts) WARN_UNUSED;
int smtp_server_check(const struct val *opts) WARN_UNUSED;	/* --validate: reads the options only */
/* No new connections; sessions that wait for their client are told 421 and closed, one that handles a message finishes it first.
   Returns when all are gone, or after TIMEOUT_MS. Yields. */
void smtp_server_stop(int64_t timeout_ms);
/* Told of each attempt to authenticate: filled in by the program. INFO is what the session is then known as. */
void smtp_server_set_audit(void (*fn)(const struct val *info, struct slice identity, const char *context, bool success));
void smtp_server_register(void);	/* events and metrics; before the policy is loaded */

/* What get_listener_domain answers (kumo.make_listener_domain). */
enum report_handling { REPORT_IGNORE, REPORT_LOG_THEN_RELAY, REPORT_LOG_THEN_DROP };
struct listener_domain;
extern const struct policy_obj_type LISTENER_DOMAIN_OBJ;
int listener_domain_parse(const struct val *opts, struct listener_domain **out) WARN_UNUSED;	/* refs 1 */
void listener_domain_unref(struct listener_domain **d);

/* The supplemental trace header for M, as trace_headers has it by default or as OPTS say (kumo.apply_supplemental_trace_header). Yields. */
struct msg;
int smtp_trace_apply_supplemental(struct msg *m, const struct val *opts) WARN_UNUSED;
