/* SPDX-License-Identifier: Apache-2.0 */
/* reports - bounces and feedback reports that come in as mail become records.  Thread: shards.   Memory: none kept.   Yields: logging does. */
#pragma once
#include "smtp/server/session.h"

/* What VERDICT means for M: *DROPPED (recorded, not queued), *REFUSED (may not be relayed). 0 or negative. */
int reports_handle(struct smtp_session *s, struct msg *m, const struct relay_verdict *v, bool *dropped, bool *refused) WARN_UNUSED;
