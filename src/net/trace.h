/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trace - what SMTP sessions do, told to whoever watches (kcli trace-smtp-server, trace-smtp-client).
 *
 * Nobody watches most of the time: then an event costs one load. A watcher that is too slow loses events rather than slow a session down.
 *
 * Thread:  any.   Memory: an event's text is shared by its watchers.   Yields: trace_next only.
 */
#pragma once
#include <stdatomic.h>
#include "codec/val.h"

enum trace_kind { TRACE_SMTP_SERVER, TRACE_SMTP_CLIENT, TRACE_KINDS };
extern _Atomic int trace_watchers[TRACE_KINDS];
static inline bool trace_on(enum trace_kind k) { return atomic_load_explicit(&trace_watchers[k], memory_order_relaxed) > 0; }

/* {"conn_meta": META, "payload": PAYLOAD, "when": now}. TERSE: what those see who asked for less; NULL: the same. PAYLOAD NULL: nothing for the others. */
void trace_emit(enum trace_kind k, const struct val *meta, const struct val *payload, const struct val *terse);

struct trace_watcher;
/* Whether an event with this META is of interest; ARG is the watcher's own. */
typedef bool (*trace_filter_cb)(const struct val *meta, void *arg);
struct trace_watcher *trace_watch(enum trace_kind k, bool terse, trace_filter_cb filter, void *arg);
void trace_unwatch(struct trace_watcher **w);
int trace_next(struct trace_watcher *w, struct buf *text, int64_t timeout_ms) WARN_UNUSED;	/* -E_TIMEOUT, -E_CLOSED (trace_end), -E_CANCELED. Yields. */
void trace_end(struct trace_watcher *w);							/* trace_next returns -E_CLOSED from now on */
