/* SPDX-License-Identifier: Apache-2.0 */
/*
 * modules - the one table of Lua modules and of what registers events: each new module adds a line here.
 */
#include "kumod/kumod.h"
#include "policy/host.h"

#define MODULES(X)	/* struct policy_module X; one a line */ \
	X(mod_kumo) \
	X(mod_serde) \
	X(mod_serde_aliases) \
	X(mod_time) \
	X(mod_memoize) \
	X(mod_mpsc) \
	X(mod_counter_series) \
	X(mod_secrets) \
	X(mod_cidr) \
	X(mod_domain_map) \
	X(mod_regex) \
	X(mod_regex_old) \
	X(mod_regex_set_map) \
	X(mod_string) \
	X(mod_encode) \
	X(mod_digest) \
	X(mod_uuid) \
	X(mod_fs) \
	X(mod_fs_aliases) \
	X(mod_redis) \
	X(mod_file_type) \
	X(mod_crypto) \
	X(mod_sqlite) \
	X(mod_message) \
	X(mod_dkim) \
	X(mod_dmarc) \
	X(mod_mimepart) \
	X(mod_report) \
	X(mod_spf) \
	X(mod_dns) \
	X(mod_http) \
	X(mod_websocket) \
	X(mod_inject) \
	X(mod_inject_kumo) \
	X(mod_xfer) \
	X(mod_api) \
	X(mod_aaa) \
	X(mod_smtp) \
	X(mod_spool) \
	X(mod_logs) \
	X(mod_jsonl) \
	X(mod_acct_log)

#define REGISTER(X)	/* void X(void): events, object types, option tables; one a line */ \
	X(metrics_shared_register) \
	X(cpu_metrics_register) \
	X(pool_metrics_register) \
	X(queue_init) \
	X(kumod_script_register) \
	X(cached_register) \
	X(mod_time_register) \
	X(mod_memoize_register) \
	X(mod_mpsc_register) \
	X(mod_counter_series_register) \
	X(mod_cidr_register) \
	X(mod_domain_map_register) \
	X(mod_regex_register) \
	X(mod_regex_set_map_register) \
	X(mod_digest_register) \
	X(mod_uuid_register) \
	X(mod_fs_register) \
	X(mod_string_register) \
	X(mod_sqlite_register) \
	X(mod_redis_register) \
	X(mod_message_register) \
	X(mod_dkim_register) \
	X(mta_sts_register) \
	X(mod_queue_register) \
	X(mod_throttle_register) \
	X(msg_metrics_init) \
	X(spool_metrics_init) \
	X(logs_init) \
	X(mod_jsonl_register) \
	X(mod_shaping_register) \
	X(mod_api_admin_register) \
	X(mod_http_register) \
	X(mod_websocket_register) \
	X(mod_aaa_register) \
	X(mod_smtp_register) \
	X(api_kumod_register) \
	X(proto_smtp_register) \
	X(smtp_server_register)

#define X(m) extern const struct policy_module m;
MODULES(X)
#undef X
#define X(f) void f(void);
REGISTER(X)
#undef X

void kumod_modules_register(void)
{
#define X(f) f();
	REGISTER(X)
#undef X
#define X(m) policy_module_register(&m);
	MODULES(X)
#undef X
}
