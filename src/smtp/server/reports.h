/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reports - bounces (RFC 3464) and feedback reports (RFC 5965) that come in as mail become OOB and Feedback records.
 *
 * Whether a message is looked at is up to its recipient's domain (make_listener_domain: log_oob, log_arf). A report that is relayed gets its
 * Reception record as well; one that is dropped leaves its report record only.
 *
 * Thread:  the session's shard.   Memory: the session's arena.   Yields: reports_log.
 */
#pragma once
#include "smtp/server/session.h"

struct inbound_report {
	bool is_dsn, is_arf;
	struct val content;
};
/* What VERDICT means for M: *DROPPED (recorded, not queued), *REFUSED (may not be relayed). 0 or negative. */
int reports_inspect(struct smtp_session *s, struct msg *m, const struct relay_verdict *v, struct inbound_report *r, bool *dropped, bool *refused) WARN_UNUSED;
int reports_log(struct smtp_session *s, struct msg *m, struct slice queue, const struct inbound_report *r) WARN_UNUSED;
