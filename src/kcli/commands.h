/* SPDX-License-Identifier: Apache-2.0 */
/* commands - the subcommands, a file for each kind. Each returns the exit status. Thread: main. */
#pragma once
#include "kcli/client.h"

int kcli_bounce(const struct args *a);
int kcli_bounce_list(const struct args *a);
int kcli_bounce_cancel(const struct args *a);
int kcli_rebind(const struct args *a);
int kcli_spool_compact(const struct args *a);
int kcli_suspend(const struct args *a);
int kcli_suspend_list(const struct args *a);
int kcli_suspend_cancel(const struct args *a);
int kcli_suspend_ready_q(const struct args *a);
int kcli_suspend_ready_q_list(const struct args *a);
int kcli_suspend_ready_q_cancel(const struct args *a);
int kcli_set_log_filter(const struct args *a);
int kcli_abort_ready_q_conn(const struct args *a);
int kcli_inspect_message(const struct args *a);
int kcli_inspect_ready_q(const struct args *a);
int kcli_inspect_sched_q(const struct args *a);
int kcli_resolve_egress_path(const struct args *a);
int kcli_provider_summary(const struct args *a);
int kcli_queue_summary(const struct args *a);
int kcli_trace_smtp_client(const struct args *a);
int kcli_trace_smtp_server(const struct args *a);
int kcli_top(const struct args *a);
int kcli_xfer(const struct args *a);
int kcli_xfer_cancel(const struct args *a);

/* What the daemon says of its queues, and the two sections that queue-summary prints of it and top repeats. LIMIT lines in each; < 0: all. */
struct queue_state {
	struct val suspended, bounced, suspended_sites, ready_states, metrics;
};
int queue_state_fetch(struct client *c, struct queue_state *s);
void queue_state_print(struct client *c, const struct queue_state *s, const char *domain, bool by_volume, int64_t limit);
/* The members {name: number} of a metric with one label; NULL: none. */
const struct val *metric_values(const struct val *metrics, const char *name, const char *label);
int64_t metric_number(const struct val *v);
/* Prints V indented, or the plain text of an answer. */
void print_json(const struct val *v);
void print_text(struct slice s);
