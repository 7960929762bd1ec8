/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watch - tells watchers (kcli trace-smtp-server) what a session does. Nobody watching: one load each.
 *
 * Thread:  the session's.   Memory: nothing kept.   Yields: never.
 */
#pragma once
#include "net/trace.h"
#include "smtp/server/session.h"

struct msg;
struct policy_call;
struct watch_disposition {
	struct msg *msg;
	struct slice queue;
	const struct relay_verdict *verdict;
	bool was_report, will_enqueue;
};
void watch_plain(struct smtp_session *s, const char *what);		/* "Connected", "Closed" */
void watch_read(struct smtp_session *s, struct slice line);		/* without its CRLF */
void watch_data(struct smtp_session *s, struct slice text);		/* the text of a message, dots taken off */
void watch_write(struct smtp_session *s, struct slice replies);		/* lines with their CRLF */
/* A policy's event has been handled, or there was no handler. RC as policy_call_run gives it; ERROR: the text of what it was refused or failed with. */
void watch_callback(struct smtp_session *s, const char *event, int rc, const char *error, const struct val *result);
void watch_call(struct smtp_session *s, const struct policy_call *c, int rc, const struct val *result);
void watch_dynamic(struct smtp_session *s, const struct val *given);	/* what smtp_server_get_dynamic_parameters said; NULL: nothing */
/* smtp_server_rewrite_response: C NULL when there is no handler. */
void watch_rewrite(struct smtp_session *s, int rc, const struct policy_call *c, const unsigned *code, const struct slice *text);
void watch_disposition(struct smtp_session *s, const struct watch_disposition *d);
