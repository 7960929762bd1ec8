/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kumod - what the files of the mail server's program share.
 *
 * Thread:  main thread before rt_run, then fibers of shard 0.
 */
#pragma once
#include "base/err.h"
#include "rt/diag.h"

struct kumod_args {
	const char *policy;		/* default /opt/kumomta/etc/policy/init.lua */
	const char *user;
	const char *diag_log_dir;
	enum diag_format diag_format;
	bool validate, script;
	bool dump_openapi, dump_lruttl, dump_metrics;
	const char **script_args;	/* those of --script-args, then those behind -- */
	size_t n_script_args;
};

/* Reads the command line; prints help, version or what is wrong and exits where that is all there is to do. */
void kumod_args_parse(struct kumod_args *a, int argc, char **argv);
int kumod_drop_privileges(const char *user) WARN_UNUSED;

/* Each runs on the first fiber and returns the exit status' kind: 0, or -E_… with a text for "Error: …" */
void kumod_script_register(void);	/* the events that these fire */
int kumod_script(const struct kumod_args *a) WARN_UNUSED;
int kumod_validate(const struct kumod_args *a) WARN_UNUSED;
int kumod_daemon(void) WARN_UNUSED;

/* Fires pre_init and init (in this order): "call init callback: …". Yields. */
int kumod_fire_init(void) WARN_UNUSED;

/* notify.c: "READY=1", "STOPPING=1", "STATUS=text" to systemd */
void kumod_notify(const char *state);

/* Before the loggers stop: policies close their queues. Yields. */
int kumod_fire_shutdown_logging(void) WARN_UNUSED;

/* modules.c: events and Lua modules of every folder, once at start. */
void kumod_modules_register(void);

/* dump.c: --dump-lruttl-caches, --dump-metric-metadata, --dump-openapi-spec */
int kumod_dump(const struct kumod_args *a) WARN_UNUSED;
