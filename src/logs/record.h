/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record - one log record: what happened to a message, as docs/reference/log_record says.
 *
 * The one who saw it happen fills a struct log_event and calls log_disposition: it is written to every local log that wants it, offered to the hooks
 * (which may make messages of it), and counted in accounting. It waits when a sink is full: back-pressure, never a drop.
 *
 * Thread:  fibers of any shard.   Memory: everything in a log_event is borrowed for the call.   Yields.
 */
#pragma once
#include "base/addr.h"
#include "base/uuid.h"
#include "codec/rfc5321.h"
#include "codec/val.h"
#include "msg/msg.h"

#define LOG_TYPES(X)                                                                                                        \
	X(LOG_RECEPTION, "Reception") X(LOG_DELIVERY, "Delivery") X(LOG_BOUNCE, "Bounce")                                   \
	X(LOG_TRANSIENT_FAILURE, "TransientFailure") X(LOG_EXPIRATION, "Expiration") X(LOG_ADMIN_BOUNCE, "AdminBounce")     \
	X(LOG_OOB, "OOB") X(LOG_FEEDBACK, "Feedback") X(LOG_REJECTION, "Rejection") X(LOG_ADMIN_REBIND, "AdminRebind")      \
	X(LOG_DEFERRED_INJECT_REBIND, "DeferredInjectionRebind") X(LOG_DELAYED, "Delayed") X(LOG_XFER_OUT, "XferOut") X(LOG_XFER_IN, "XferIn")
enum log_type {
#define X(n, t) n,
	LOG_TYPES(X)
#undef X
	LOG_TYPE_COUNT
};
const char *log_type_name(enum log_type t);

struct log_event {
	enum log_type type;
	struct msg *msg;		/* may be NULL (Rejection before a message exists) */
	struct uuid id;			/* when msg is NULL; all zero is "" */
	const struct val *meta;		/* when msg is NULL: what stands for its metadata (the connection's); NULL: {} */
	struct slice sender;		/* when msg is NULL, or to override */
	const struct slice *recipients;	/* of this record: one, or those of a batch; n 0: the message's */
	uint32_t n_recipients;
	struct slice queue;		/* SLICE_NONE: the message's queue name */
	struct slice site;		/* "" */
	struct smtp_response response;
	struct slice peer_name, peer_addr;	/* both none: null */
	bool peer_secure;			/* its address came by DNSSEC */
	struct slice egress_pool, egress_source;
	struct slice source_address;		/* "ip:port"; none: null */
	struct slice source_protocol, source_server;
	struct slice reception_protocol;	/* none: the message's meta */
	struct slice delivery_protocol;
	struct slice session_id;		/* none: omitted as upstream does */
	struct slice tls_cipher, tls_protocol_version;
	const struct val *tls_peer_subject_name;	/* a list of "CN=…"; NULL: [] where there is a cipher */
	struct slice provider_name;
	const struct val *feedback_report;
	const struct val *relay_disposition;	/* null: omitted */
	int64_t event_us;			/* 0: now */
};
/* Writes, hooks, accounts. 0, or -E_FULL/-E_IO when a log cannot be written: the caller sheds load. Yields. */
int log_disposition(const struct log_event *ev) WARN_UNUSED;
