/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trace - what happens in sessions that deliver, for who watches (GET /api/admin/trace-smtp-client/v1).
 *
 * Events are built only while somebody watches: the endpoint counts its watchers here and takes every event through one callback, which
 * filters and passes on. It must not wait.
 *
 * Thread:  any.   Memory: an event is borrowed for the call.   Yields: never.
 */
#pragma once
#include <stdatomic.h>
#include "codec/val.h"

enum smtp_session_event_kind {
	SMTP_SESSION_BEGIN, SMTP_SESSION_CONNECTED, SMTP_SESSION_CLOSED, SMTP_SESSION_READ, SMTP_SESSION_WRITE, SMTP_SESSION_TEXT, SMTP_SESSION_DIAGNOSTIC,
	SMTP_SESSION_MESSAGE,		/* MessageObtained */
};
struct smtp_session_event {
	enum smtp_session_event_kind kind;
	const struct val *conn_meta;	/* {"egress_pool": …, "mx_host": …, …} as upstream shows it */
	struct slice data;		/* READ, WRITE: bytes; TEXT: of a message, with its last dot; DIAGNOSTIC: the message */
	const char *level;		/* DIAGNOSTIC: "INFO", "ERROR" */
};
extern atomic_int smtp_session_watchers;
void smtp_session_trace_set(void (*sink)(const struct smtp_session_event *ev));	/* once, at start */
