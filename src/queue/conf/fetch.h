/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fetch - asks the policy for configuration: get_queue_config, get_egress_path_config, get_egress_source, get_egress_pool.
 *
 * Sources and pools are cached here by name for their ttl, or until the configuration epoch moves on; many who ask at once share one call.
 * Queues and ready queues keep what they were given themselves and ask again when it is due (conf_fresh).
 *
 * Thread:  fibers of any shard.   Memory: a reference for the caller.   Yields.
 */
#pragma once
#include "queue/conf/config.h"

int fetch_queue(struct slice domain, struct slice tenant, struct slice campaign, struct slice routing_domain, struct conf **out) WARN_UNUSED;
int fetch_path(struct slice routing_domain, struct slice source, struct slice site, struct conf **out) WARN_UNUSED;
int fetch_source(struct slice name, struct conf **out) WARN_UNUSED;	/* "unspecified" needs no policy */
int fetch_pool(struct slice name, struct conf **out) WARN_UNUSED;	/* SLICE_NONE: "unspecified"; its sources are asked for too */
void fetch_init(void);			/* registers the events */

/* Until when something fetched at NOW_MS and EPOCH holds. */
struct conf_term {
	int64_t until_ms;
	uint64_t epoch;
};
struct conf_term conf_term_new(int refresh_strategy, int64_t refresh_interval_ns, uint64_t epoch);
static inline bool conf_fresh(const struct conf_term *t, int64_t now_ms, uint64_t epoch) { return now_ms < t->until_ms && t->epoch == epoch; }
