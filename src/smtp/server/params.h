/* SPDX-License-Identifier: Apache-2.0 */
/*
 * params - the options of an ESMTP listener, and which of them hold for one connection.
 *
 * A listener's options are described once, in the table of params.c. `peer` and `via` blocks and the answer of
 * smtp_server_get_dynamic_parameters overlay them for some addresses: the overlay is done on values, then the result is read through the
 * same table. Without any of these a listener has one set for all connections.
 *
 * Source:  docs/reference/kumo/start_esmtp_listener
 * Thread:  a set is immutable and reference-counted.   Memory: a set owns its strings.   Yields: never.
 */
#pragma once
#include "base/addr.h"
#include "codec/opt.h"

enum smtp_batch_handling { SMTP_BIFURCATE_ALWAYS, SMTP_BATCH_BY_DOMAIN };
enum smtp_line_endings { SMTP_LINES_DENY, SMTP_LINES_ALLOW, SMTP_LINES_FIX };

struct smtp_trace_opts {
	bool received_header, supplemental_header;
	struct slice header_name;
	struct opt_list include_meta_names;	/* of slices */
};

struct smtp_params {
	_Atomic uint32_t refs;
	struct arena *arena;
	struct slice listen, hostname, banner;
	struct opt_list relay_hosts;		/* of struct cidr */
	int batch_handling, invalid_line_endings;
	int64_t client_timeout, data_processing_timeout;	/* ns */
	int64_t max_messages_per_connection, max_recipients_per_message, max_connections;
	int64_t max_message_size, line_length_hard_limit, data_buffer_size;
	bool deferred_spool, deferred_queue, allow_xclient, require_proxy_protocol;
	struct smtp_trace_opts trace_headers;
	const struct val *tls_certificate, *tls_private_key, *tls_required_client_ca;	/* key sources */
	const struct val *meta, *peer, *via;
};

/* Reads all of a listener's options. -E_INVAL with a text that names the field. */
int smtp_params_parse(const struct val *opts, struct smtp_params **out) WARN_UNUSED;
/* Reads what overlays them: everything but listen and max_connections. */
int smtp_params_check_overlay(const struct val *opts) WARN_UNUSED;
/* OPTS with its `peer` and `via` blocks applied for these addresses, then with OVERLAY (may be NULL) in the same way. The result has neither. */
int smtp_params_resolve(const struct val *opts, const struct val *overlay, const struct ipaddr *local, const struct ipaddr *peer,
			struct smtp_params **out) WARN_UNUSED;
/* Whether the sets of all connections are the same. */
bool smtp_params_is_uniform(const struct val *opts);
struct smtp_params *smtp_params_ref(struct smtp_params *p);
void smtp_params_unref(struct smtp_params **p);
bool smtp_params_relays_for(const struct smtp_params *p, const struct ipaddr *peer);

/* The option table, for documentation. */
extern const struct opt_desc SMTP_LISTENER_OPTS, SMTP_TRACE_OPTS;
/* A list of networks, {'10.0.0.0/8', '::1'}, into a struct opt_list of struct cidr; host bits must be zero. */
int smtp_read_cidr_list(struct opt_ctx *c, const struct val *in, void *out);
