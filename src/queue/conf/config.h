/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config - the four configuration objects of delivery: queue, egress path, egress source, egress pool.
 *
 * Lua's kumo.make_* functions make them from option tables, get_* events hand them out. They are immutable and interned: the same
 * options give the same object, so that 50,000 queues with one configuration hold one object, a refresh that brought nothing new is a
 * comparison of pointers, and a repeated make_* costs a lookup.
 *
 * Thread:  any.   Memory: conf_ref/conf_unref; everything inside lives as long as the object.   Yields: never.
 */
#pragma once
#include <stdatomic.h>
#include "base/addr.h"
#include "base/map.h"
#include "codec/opt.h"
#include "policy/host.h"
#include "policy/keysource.h"
#include "rt/sync.h"

enum conf_kind_id { CONF_QUEUE, CONF_PATH, CONF_SOURCE, CONF_POOL, CONF_KINDS };

struct conf {
	uint32_t magic;
	_Atomic uint32_t refs;
	enum conf_kind_id kind;
	struct arena *arena;
	struct slice key;	/* the options as sorted JSON */
	void *opts;		/* struct queue_opts, path_opts, source_opts, pool_opts */
};

/* Makes (or finds) the object for the options in V. -E_INVAL with a text that names the field. */
int conf_make(enum conf_kind_id kind, const struct val *v, struct conf **out) WARN_UNUSED;
struct conf *conf_default(enum conf_kind_id kind);	/* a reference; not for sources and pools, which need a name */
struct conf *conf_ref(struct conf *c);
void conf_unref(struct conf **c);
extern const struct policy_obj_type *const CONF_OBJ[CONF_KINDS];
extern const struct opt_desc *const CONF_DESC[CONF_KINDS];
/* All fields as upstream serializes them; SPARSE leaves defaults out. */
void conf_print(const struct conf *c, bool sparse, struct arena *a, struct val *out);

/* --- values that options share ------------------------------------------------------------------------------------------- */

enum conf_refresh { REFRESH_TTL, REFRESH_EPOCH };
enum conf_wakeup { WAKEUP_AGGRESSIVE, WAKEUP_RELAXED };
enum conf_shrink { SHRINK_DATA_AND_META, SHRINK_DATA, SHRINK_NONE };

struct cidr_set {
	size_t n;
	struct cidr *items;	/* sorted, disjoint, siblings merged */
};
bool cidr_set_has(const struct cidr_set *s, const struct ipaddr *a);

/* A file name, {key_data = …} or {vault_mount, vault_path, …}; NULL: not given. */
typedef const struct val *key_source;

/* --- scheduled queue ------------------------------------------------------------------------------------------------------ */

enum queue_proto { PROTO_SMTP, PROTO_MAILDIR, PROTO_LUA, PROTO_XFER, PROTO_HTTP_GENERATOR, PROTO_DEFERRED_SMTP, PROTO_NULL, PROTO_COUNT };
const char *queue_proto_name(enum queue_proto p);	/* "smtp_client", "lua", … : metrics and names of ready queues */
const char *queue_proto_log_name(enum queue_proto p);	/* "ESMTP", "Lua", … : delivery_protocol of records */

struct mx_list_entry {
	struct slice name;	/* a host, "host:port", "[ip]" */
	struct slice label;	/* what the site name shows */
	bool resolved;		/* addr was given: no lookup */
	bool secure;		/* the policy says that addr came by DNSSEC */
	struct netaddr addr;	/* port 0: the path's */
};
struct queue_protocol_opts {
	enum queue_proto kind;
	struct mx_list_entry *mx_list;			/* smtp */
	size_t n_mx_list;
	bool treat_mx_list_as_secure;
	struct slice maildir_path;			/* maildir; a template */
	int64_t dir_mode, file_mode;			/* -1: not given */
	struct slice constructor;			/* custom_lua */
	int64_t batch_size, min_batch_size, max_batch_latency;	/* ns */
	struct slice target;				/* xfer */
	struct slice ready_name;			/* "smtp_client", "lua:EVENT", …: the part behind '@' */
	struct slice mx_list_site;			/* "mx_list:a,b"; none: by MX lookup */
};
struct shrink_entry {
	int64_t interval;	/* ns */
	int policy;		/* enum conf_shrink */
};
struct queue_opts {
	int64_t retry_interval, max_retry_interval, max_age;	/* ns */
	bool has_max_retry_interval, has_timerwheel_tick_interval;
	struct slice egress_pool;
	struct rate_spec max_message_rate;
	struct queue_protocol_opts protocol;
	int64_t reap_interval, refresh_interval, timerwheel_tick_interval;
	int strategy, refresh_strategy;
	struct slice provider_name;
	struct opt_list shrink_policy;		/* struct shrink_entry */
};
static inline const struct queue_opts *queue_opts_of(const struct conf *c) { assert(c->kind == CONF_QUEUE); return c->opts; }
/* Seconds to wait after attempt number ATTEMPT (0-based). */
int64_t queue_opts_delay_s(const struct queue_opts *q, unsigned attempt);
/* How many attempts a message of that age has had: the number is not stored. */
unsigned queue_opts_infer_attempts(const struct queue_opts *q, int64_t age_s);
/* Seconds from now to the next attempt of a message of that age and number of attempts; -1: beyond max_age. */
int64_t queue_opts_delay_by_age_s(const struct queue_opts *q, unsigned attempts, int64_t age_s);
struct conf *queue_conf_reserved(enum queue_proto p);	/* what the reserved names use. A reference */
struct conf *queue_conf_xfer(struct slice target);

/* --- egress path ----------------------------------------------------------------------------------------------------------- */

enum path_tls { TLS_OPPORTUNISTIC, TLS_OPPORTUNISTIC_INSECURE, TLS_REQUIRED, TLS_REQUIRED_INSECURE, TLS_DISABLED };
enum path_reconnect { RECONNECT_TERMINATE_SESSION, RECONNECT_SAME_HOST, RECONNECT_NEXT_HOST };

struct path_opts {
	struct limit_spec connection_limit;
	struct opt_map additional_connection_limits;		/* struct limit_spec */
	int enable_tls;
	bool enable_mta_sts, enable_dane, enable_pipelining, enable_rset, tls_prefer_openssl;
	key_source tls_certificate, tls_private_key;
	struct slice openssl_cipher_list, openssl_cipher_suites;
	struct slice openssl_options;				/* names joined by '|', checked */
	struct opt_list rustls_cipher_suites;			/* names, checked */
	int64_t connect_timeout, banner_timeout, ehlo_timeout, mail_from_timeout, rcpt_to_timeout, data_timeout, data_dot_timeout,
		rset_timeout, idle_timeout, starttls_timeout, auth_timeout;	/* ns */
	int64_t system_shutdown_timeout, remember_broken_tls, dispatcher_progress_watchdog_timeout;
	bool has_system_shutdown_timeout, has_remember_broken_tls, has_watchdog;
	int64_t max_ready, consecutive_connection_failures_before_delay, smtp_port;
	struct slice smtp_auth_plain_username;
	key_source smtp_auth_plain_password;
	bool allow_smtp_auth_plain_without_tls, allow_smtp_auth_plain_without_valid_certificate;
	struct rate_spec max_message_rate, source_selection_rate, max_connection_rate;
	struct opt_map additional_message_rate_throttles, additional_source_selection_rates;	/* struct rate_spec */
	int64_t max_deliveries_per_connection, max_recipients_per_batch;
	struct cidr_set prohibited_hosts, skip_hosts;
	int ip_lookup_strategy;					/* enum ip_strategy */
	struct slice ehlo_domain;
	bool aggressive_connection_opening;
	int64_t refresh_interval;
	int refresh_strategy, dispatcher_wakeup_strategy, maintainer_wakeup_strategy;
	struct slice provider_name, readyq_pool_name;
	bool opportunistic_tls_reconnect_on_failed_handshake, use_lmtp, try_next_host_on_transport_error, ignore_8bit_checks;
	int reconnect_strategy, low_memory_reduction_policy, no_memory_reduction_policy;
};
static inline const struct path_opts *path_opts_of(const struct conf *c) { assert(c->kind == CONF_PATH); return c->opts; }
/* The ceilings that the options imply, as inspection shows them; QUEUE may be NULL. */
void path_constraints(const struct path_opts *p, const struct queue_opts *queue, struct arena *a, struct val *out);

/* --- egress source and pool -------------------------------------------------------------------------------------------------- */

struct suspend_rule {
	bool threshold;			/* else: the first failure */
	struct rate_spec rate;
	int64_t duration;		/* ns */
};
struct source_opts {
	struct slice name, ehlo_domain;
	struct ipaddr source_address;		/* family 0: not given */
	int64_t remote_port;
	bool has_remote_port;
	struct slice ha_proxy_server;		/* "ip:port", "host:port", "/path" */
	struct ipaddr ha_proxy_source_address;
	struct slice socks5_proxy_server;
	struct ipaddr socks5_proxy_source_address;
	struct slice socks5_proxy_username, socks5_proxy_password;
	bool has_unplumbed, has_proxy_unhealthy;
	struct suspend_rule suspend_when_unplumbed, suspend_when_proxy_unhealthy;
	int64_t ttl;
};
static inline const struct source_opts *source_opts_of(const struct conf *c) { assert(c->kind == CONF_SOURCE); return c->opts; }

struct pool_entry {
	struct slice name;
	int64_t weight;
};
struct pool_opts {
	struct slice name;
	struct opt_list entries;		/* struct pool_entry */
	int64_t ttl;
};
static inline const struct pool_opts *pool_opts_of(const struct conf *c) { assert(c->kind == CONF_POOL); return c->opts; }

/* Custom readers and printers of the tables (conf_types.c). */
int conf_read_ip(struct opt_ctx *c, const struct val *in, void *out);
void conf_print_ip(struct arena *a, const void *in, struct val *out);
int conf_read_cidr_set(struct opt_ctx *c, const struct val *in, void *out);
void conf_print_cidr_set(struct arena *a, const void *in, struct val *out);
int conf_read_sockaddr(struct opt_ctx *c, const struct val *in, void *out);
void conf_print_key_source(struct arena *a, const void *in, struct val *out);
int conf_read_openssl_options(struct opt_ctx *c, const struct val *in, void *out);
int conf_read_rustls_suites(struct opt_ctx *c, const struct val *in, void *out);
void conf_print_str(struct arena *a, const void *in, struct val *out);
void conf_print_duration(struct arena *a, int64_t ns, struct val *out);
extern const struct opt_choice CONF_REFRESH_CHOICES[], CONF_WAKEUP_CHOICES[], CONF_SHRINK_CHOICES[];
extern const struct opt_desc CONF_RATE_ELEM, CONF_LIMIT_ELEM;
extern const struct opt_desc CONF_QUEUE_DESC, CONF_PATH_DESC, CONF_SOURCE_DESC, CONF_POOL_DESC;
/* Fills what follows from the options (site names, names behind '@'). */
void conf_queue_finish(struct queue_opts *q, struct arena *a);
