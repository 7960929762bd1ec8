/* SPDX-License-Identifier: Apache-2.0 */
/*
 * logs - where records go: local segments, hooks that make messages of them, policy events, accounting.
 *
 * A local log is a bounded buffer that sessions fill and one fiber writes from: zstd frames in files named after their start
 * (20260102-030405.123456789 and a suffix), which lose their write permission when they are complete. A full buffer makes sessions wait.
 *
 * Thread:  configuration from the policy's init event, before traffic; the rest any.
 * Memory:  loggers live until logs_fini.   Yields: as said.
 */
#pragma once
#include "codec/opt.h"
#include "logs/record.h"
#include "spool/diskfree.h"

/* How records of one type are written (docs: configure_local_logs/per_record). */
struct log_type_opts {
	struct slice suffix, log_dir, tmpl, segment_header;
	bool enable;
};
struct log_file_opts {		/* kumo.configure_local_logs */
	struct slice log_dir;
	int64_t max_file_size, back_pressure, compression_level;
	int64_t max_segment_duration;	/* ns; 0: none */
	struct opt_list meta, headers;	/* of slices; a last '*' stands for anything */
	struct opt_map per_record;	/* of log_type_opts, by type name or "Any" */
	struct slice filter_event;
	struct diskfree_min min_free_space, min_free_inodes;
};
struct log_hook_opts {		/* kumo.configure_log_hook, kumo.configure_log_disposition_hook */
	struct slice name;
	int64_t back_pressure;
	struct opt_list meta, headers;
	struct opt_map per_record;
	bool deferred_spool;
};
extern const struct opt_desc LOG_FILE_OPTS, LOG_HOOK_OPTS, LOG_DISPOSITION_HOOK_OPTS;

/* The options are copied. Errors name the folder, template or hook. Yield. */
int logs_add_local(const struct log_file_opts *o) WARN_UNUSED;
int logs_add_hook(const struct log_hook_opts *o) WARN_UNUSED;
int logs_add_disposition_hook(const struct log_hook_opts *o) WARN_UNUSED;

/* Queues a hook's message: filled in by the program. Takes its own reference. Yields. */
void logs_set_inserter(int (*insert)(struct msg *m));

void logs_init(void);			/* metrics and events; once, before the policy is loaded */
const char *logs_unhealthy_reason(void);	/* NULL: healthy. A log that cannot be written: what 421/503 answers say */
/* Waits for hooks under way, writes everything, completes the segments, stores the accounting. Yields. */
void logs_fini(void);

/* kumo.aaa.configure_acct_log: who was authenticated and what was authorized, as JSON lines of the caller's making. */
struct acct_log_opts {
	struct slice log_dir;
	int64_t max_file_size, back_pressure, compression_level, max_segment_duration;
	struct diskfree_min min_free_space, min_free_inodes;
	bool log_authz_allow, log_authz_deny, log_authn_ok, log_authn_fail;
};
extern const struct opt_desc ACCT_LOG_OPTS;
enum acct_event { ACCT_AUTHZ_ALLOW, ACCT_AUTHZ_DENY, ACCT_AUTHN_OK, ACCT_AUTHN_FAIL };
int acct_log_configure(const struct acct_log_opts *o) WARN_UNUSED;	/* -E_EXIST the second time. Yields. */
bool acct_log_wanted(enum acct_event ev);				/* whether a record would be written: ask before composing it */
int acct_log_write(enum acct_event ev, struct slice json);		/* Yields. */
