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

/* The sections that queue-summary prints and top repeats. */
int queue_summary_print(struct client *c, const char *domain, bool by_volume, int64_t limit);
/* Prints V indented, or the plain text of an answer. */
void print_json(const struct val *v);
void print_text(struct slice s);
