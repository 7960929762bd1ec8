/* SPDX-License-Identifier: Apache-2.0 */
/*
 * admin - what operators do to queues: bounce, suspend, rebind, transfer, look inside.
 *
 * Each function stands behind one HTTP endpoint (docs/reference/http/kumod) and speaks plain structs and vals, so that the
 * endpoint only parses and prints. Entries have an id, expire by themselves, and come out of the lists in the order of their making.
 *
 * Thread:  fibers of any shard.   Memory: what is listed goes into the arena given; arguments are copied where kept.
 * Yields:  as said. Work over many messages goes on in the background after the call has returned.
 */
#pragma once
#include "base/uuid.h"
#include "codec/val.h"

/* Which scheduled queues: SLICE_NONE matches any. QUEUE_NAMES, when there are any, takes precedence over the rest. */
struct queue_criteria {
	struct slice campaign, tenant, domain, routing_domain;
	const struct slice *queue_names;
	size_t n_queue_names;
};

#define QUEUE_ADMIN_DEFAULT_NS (300LL * 1000000000LL)	/* "duration" where neither it nor "expires" was given */

/* A bounce with the same criteria replaces the one before. DURATION_NS from now; entries that are expired already are no error.
   *ID names it. Matching messages that wait are bounced in the background; new ones for as long as the entry lives. */
int queue_admin_bounce(const struct queue_criteria *c, struct slice reason, int64_t duration_ns, bool suppress_logging, struct uuid *id) WARN_UNUSED;
void queue_admin_bounce_list(struct arena *a, struct val *list);	/* objects as GET /api/admin/bounce/v1 shows them */
bool queue_admin_bounce_cancel(struct uuid id);				/* false: no such entry */

int queue_admin_suspend(const struct queue_criteria *c, struct slice reason, int64_t duration_ns, struct uuid *id) WARN_UNUSED;
void queue_admin_suspend_list(struct arena *a, struct val *list);
bool queue_admin_suspend_cancel(struct uuid id);

/* NAME of a ready queue: "source->site@protocol". The same name again replaces. */
int queue_admin_suspend_ready_q(struct slice name, struct slice reason, int64_t duration_ns, struct uuid *id) WARN_UNUSED;
void queue_admin_suspend_ready_q_list(struct arena *a, struct val *list);
bool queue_admin_suspend_ready_q_cancel(struct uuid id);

struct queue_rebind {
	struct queue_criteria which;	/* no queue_names */
	struct slice reason;
	const struct val *data;		/* an object of strings */
	bool trigger_rebind_event, always_flush, suppress_logging;
};
int queue_admin_rebind(const struct queue_rebind *r) WARN_UNUSED;	/* in the background */

/* TARGET: the URL of the other node, already checked. In the background. */
int queue_admin_xfer(const struct queue_criteria *c, struct slice reason, struct slice target) WARN_UNUSED;	/* -E_INVAL: TARGET is no URL */
int queue_admin_xfer_cancel(struct slice queue_name, struct slice reason) WARN_UNUSED;	/* -E_INVAL "NAME is not an xfer queue", -E_NOENT */

/* GET /api/admin/ready-q-states/v1: {"states_by_ready_queue": {…}}; no NAMES: all queues. */
void queue_admin_ready_q_states(const struct slice *names, size_t n, struct arena *a, struct val *out);

/* GET /api/admin/inspect-sched-q/v1; LIMIT < 0: no limit. -E_NOENT "no such queue NAME". Yields (messages are loaded). */
int queue_admin_inspect_sched_q(struct slice name, int64_t limit, bool want_body, struct arena *a, struct val *out) WARN_UNUSED;
/* GET /api/admin/inspect-message/v1 for a message in memory or in the spool. Yields. */
int queue_admin_inspect_message(struct uuid id, bool want_body, struct arena *a, struct val *out) WARN_UNUSED;
/* GET /api/admin/inspect-ready-q/v1. -E_NOENT "no such ready queue NAME". */
int queue_admin_inspect_ready_q(struct slice name, bool include_scheduled_queues, struct arena *a, struct val *out) WARN_UNUSED;
/* POST /api/admin/abort-ready-q-conn/v1: false: "no matching dispatcher for queue=NAME session=ID". */
bool queue_admin_abort_conn(struct slice queue_name, struct uuid session_id);
/* GET /api/admin/resolve-egress-path/v1; SOURCE none: "unspecified". Yields (policy, DNS). */
int queue_admin_resolve_egress_path(struct slice domain, struct slice source, struct arena *a, struct val *out) WARN_UNUSED;
