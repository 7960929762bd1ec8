/* SPDX-License-Identifier: Apache-2.0 */
/* work - what the administration does to many messages, on fibers of its own. */
#pragma once
#include "msg/msg.h"
#include "queue/admin.h"
#include "queue/name.h"

struct bounce;
void admin_entries_init(void);
void admin_work_init(void);	/* registers rebind_message */
void admin_bounce_unref(struct bounce **e);
/* Bounces what waits in the matching queues; takes the reference of E over. */
void admin_work_bounce(struct bounce *e, const struct queue_criteria *which);
void criteria_copy(struct arena *a, const struct queue_criteria *from, struct queue_criteria *to);
void admin_log_rebind(struct msg *m, struct slice from, struct slice to, struct slice reason);	/* Yields. */
bool criteria_match(const struct queue_criteria *c, struct slice name, const struct queue_name *p);
