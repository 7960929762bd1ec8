/* SPDX-License-Identifier: Apache-2.0 */
/*
 * daemon - the mail server itself: what is started when, and what stops in which order.
 *
 * Start: policy's init (which defines spools, logs and listeners), then the spool is opened and what waits in it is queued. Stop: intake first, then
 * deliveries, then records, then storage: each can still use what stops after it.
 */
#include <stdlib.h>
#include "api/aaa.h"
#include "api/api.h"
#include "base/xalloc.h"
#include "kumod/kumod.h"
#include "logs/logs.h"
#include "msg/msg.h"
#include "policy/host.h"
#include "policy/watch.h"
#include "queue/memory.h"
#include "queue/queue.h"
#include "rt/cpu.h"
#include "rt/fiber.h"
#include "rt/loop.h"
#include "smtp/server/server.h"
#include "spool/spool.h"

#define SESSIONS_STOP_MS 20000

static int queue_found(void *arg, struct msg *m)
{
	int rc = queue_insert_spooled(m);
	if (rc == 0)
		return 0;
	if (rc == -E_CANCELED || rc == -E_SHUTDOWN) {
		msg_unref(&m);
		return rc;
	}
	diag_error("kumod", "a message in the spool cannot be queued now and is left there: %s", err_text());
	msg_unref(&m);
	return 0;
}

static int open_spool(void)
{
	struct spool_walk found;
	int rc = spool_start();
	if (rc == -E_NOENT)
		err_prefix("Initialization raised an error");
	if (rc < 0)
		return rc;
	rc = spool_enumerate(queue_found, NULL, &found);
	if (rc < 0)
		return rc;
	if (found.found > 0 || found.damaged > 0)
		diag_info("kumod", "%llu messages found in the spool, %llu damaged", (unsigned long long)found.found, (unsigned long long)found.damaged);
	spool_sweep_in_background();
	return 0;
}

static int insert_hook_message(struct msg *m)
{
	struct buf name = { 0 };
	int rc = msg_queue_name(m, &name);
	struct msg *ref = msg_ref(m);
	if (rc == 0)
		rc = queue_insert(ref, buf_view(&name));
	if (rc < 0)
		msg_unref(&ref);
	buf_fini(&name);
	return rc;
}

/* Start and the wait for a signal are fibers of their own, so that a policy whose init never returns can be stopped too. */
struct daemon {
	struct rt_fiber *starting, *signals;
	char *error;
	bool signaled;
	int rc;
};

static int start_parts(void)
{
	int rc = memory_init();
	if (rc < 0)
		return rc;
	cpu_metrics_start();
	msg_set_storage(&SPOOL_STORAGE);
	logs_set_inserter(insert_hook_message);
	smtp_server_set_audit(aaa_audit_authentication);
	rc = queue_start();
	if (rc == 0 && (rc = kumod_fire_init()) < 0)
		err_prefix("Initialization raised an error");
	return rc < 0 ? rc : open_spool();
}

static void start(void *arg)
{
	struct daemon *d = arg;
	d->rc = start_parts();
	if (d->rc < 0) {
		d->error = xstrdup(err_text());
		return;
	}
	rt_fiber_spawn("config monitor", policy_watch_run, NULL);
	diag_info("kumod", "initialization complete");
	kumod_notify("READY=1");
}

static void await_signal(void *arg)
{
	struct daemon *d = arg;
	if (rt_wait_signal() < 0)
		return;
	d->signaled = true;
	rt_fiber_cancel(d->starting);
}

static void await_another_signal(void *arg)
{
	if (rt_wait_signal() < 0)
		return;
	diag_info("kumod", "another signal: deliveries under way are cut off, to be tried again after the next start");
	queue_stop_now();
}

static void end_fiber(struct rt_fiber **f)
{
	rt_fiber_cancel(*f);
	rt_fiber_join(*f);
	rt_fiber_unref(f);
}

static void stop(void)
{
	kumod_notify("STOPPING=1");
	smtp_server_stop(SESSIONS_STOP_MS);
	api_listeners_stop();
	queue_stop();
	if (kumod_fire_shutdown_logging() < 0)
		diag_error("kumod", "%s", err_text());
	logs_fini();
	spool_fini();
}

int kumod_daemon(void)
{
	struct daemon d = { 0 };
	d.starting = rt_fiber_start("start", start, &d);
	d.signals = rt_fiber_start("signals", await_signal, &d);
	rt_fiber_join(d.starting);
	if (d.rc == 0)
		rt_fiber_join(d.signals);
	end_fiber(&d.signals);
	end_fiber(&d.starting);
	d.signals = rt_fiber_start("signals", await_another_signal, NULL);
	stop();
	end_fiber(&d.signals);
	if (d.rc < 0 && d.signaled) {
		diag_info("kumod", "stopped before initialization was complete: %s", d.error);
		d.rc = 0;
	} else if (d.rc < 0) {
		d.rc = err_set((enum err_code)-d.rc, "%s", d.error);
	}
	free(d.error);
	return d.rc;
}
