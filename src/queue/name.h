/* SPDX-License-Identifier: Apache-2.0 */
/*
 * name - the parts of a scheduled queue's name: [campaign:][tenant@]domain[!routing_domain].
 *
 * Thread: any.   Memory: slices into the name given.   Yields: never.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include "queue/conf/config.h"

struct queue_name {
	struct slice campaign, tenant, domain, routing_domain;	/* ptr NULL: not there; an empty tenant is there */
};
void queue_name_parse(struct slice name, struct queue_name *out);
static inline struct slice queue_name_route(const struct queue_name *n) { return n->routing_domain.ptr ? n->routing_domain : n->domain; }
/* The protocol of a name that belongs to us ("null", "generator.kumomta.internal", "deferred_smtp_inject.kumomta.internal"); false for others. */
bool queue_name_reserved(struct slice name, enum queue_proto *proto);
/* "URL.xfer.kumomta.internal": the URL; false for others. */
bool queue_name_xfer(struct slice name, struct slice *target);
/* The queue for transfers to the node at URL, spelt in the one way that makes equal URLs equal names: "http://Node:80" gives
   "http://node/.xfer.kumomta.internal". -E_INVAL: no http or https URL. */
int queue_name_xfer_put(struct buf *b, struct slice url) WARN_UNUSED;
