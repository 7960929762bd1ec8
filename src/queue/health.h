/* SPDX-License-Identifier: Apache-2.0 */
/*
 * health - suspends an egress source by itself when its address or its proxy fails (suspend_when_unplumbed, suspend_when_proxy_unhealthy).
 *
 * Process-local. While a source is suspended, pools skip it.
 *
 * Thread:  any.   Memory: an entry for each source that ever failed, kept.   Yields: never.
 */
#pragma once
#include "queue/conf/config.h"

enum source_failure { SOURCE_UNPLUMBED, SOURCE_PROXY, SOURCE_FAILURE_KINDS };
void source_failed(const struct source_opts *s, enum source_failure kind);
struct metric_family;
int source_health_collect(struct metric_family *f);	/* before the gauge is shown: suspensions end though nobody sends */
int64_t source_suspended_ms(struct slice source);	/* how long from now; 0: it is not. One load when none ever failed */
