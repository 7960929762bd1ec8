/* SPDX-License-Identifier: Apache-2.0 */
/*
 * daemon - the mail server itself: what is started when, and what stops in which order.
 */
#include "kumod/kumod.h"
#include "policy/watch.h"
#include "rt/fiber.h"
#include "rt/loop.h"

int kumod_daemon(void)
{
	int rc = kumod_fire_init();
	if (rc < 0) {
		err_prefix("Initialization raised an error");
		return rc;
	}
	rt_fiber_spawn("config monitor", policy_watch_run, NULL);
	diag_info("kumod", "initialization complete");
	rt_wait_signal();
	return 0;
}
