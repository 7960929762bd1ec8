/* SPDX-License-Identifier: Apache-2.0 */
/* conf_path - options of kumo.make_egress_path (docs/reference/kumo/make_egress_path), and the ceilings that follow from them. */
#include "queue/conf/config.h"
#include "net/dns.h"
#include "queue/throttle.h"

static const struct opt_choice TLS_CHOICES[] = { { "Opportunistic", TLS_OPPORTUNISTIC }, { "OpportunisticInsecure", TLS_OPPORTUNISTIC_INSECURE },
						 { "Required", TLS_REQUIRED }, { "RequiredInsecure", TLS_REQUIRED_INSECURE },
						 { "Disabled", TLS_DISABLED }, { NULL, 0 } };
static const struct opt_choice IP_CHOICES[] = { { "Ipv4Only", IP_V4_ONLY }, { "Ipv6Only", IP_V6_ONLY }, { "Ipv4AndIpv6", IP_V4_AND_V6 },
						{ "Ipv6ThenIpv4", IP_V6_THEN_V4 }, { "Ipv4ThenIpv6", IP_V4_THEN_V6 }, { NULL, 0 } };
static const struct opt_choice RECONNECT_CHOICES[] = { { "TerminateSession", RECONNECT_TERMINATE_SESSION }, { "ReconnectSameHost", RECONNECT_SAME_HOST },
						       { "ConnectNextHost", RECONNECT_NEXT_HOST }, { NULL, 0 } };

#define P struct path_opts
#define RATE(f, h) OPT_CUSTOM(P, f, opt_read_rate, NULL, h, .custom_print = opt_print_rate)
#define KEY(f, h) OPT_CUSTOM(P, f, policy_read_key_source, NULL, h, .custom_print = conf_print_key_source)
#define CIDRS(f, d, h) OPT_CUSTOM(P, f, conf_read_cidr_set, d, h, .custom_print = conf_print_cidr_set)

static const struct opt_field PATH_FIELDS[] = {
	OPT_CUSTOM(P, connection_limit, opt_read_limit, "32", "most connections of this path", .custom_print = opt_print_limit),
	OPT_MAP(P, additional_connection_limits, &CONF_LIMIT_ELEM, "limits shared with other paths, by name"),
	OPT_ENUM(P, enable_tls, TLS_CHOICES, "Opportunistic", "whether and how TLS is used"),
	OPT_BOOL(P, enable_mta_sts, "true", "MTA-STS policies may raise enable_tls"),
	OPT_BOOL(P, enable_dane, "false", "TLSA records are looked up"),
	OPT_BOOL(P, enable_pipelining, "true", "PIPELINING is used where offered"),
	OPT_BOOL(P, enable_rset, "true", "RSET between two messages"),
	OPT_BOOL(P, tls_prefer_openssl, "false", "accepted; TLS is always OpenSSL's"),
	KEY(tls_certificate, "client certificate"),
	KEY(tls_private_key, "its key"),
	OPT_STR(P, openssl_cipher_list, NULL, "ciphers below TLS 1.3"),
	OPT_STR(P, openssl_cipher_suites, NULL, "ciphers of TLS 1.3"),
	OPT_CUSTOM(P, openssl_options, conf_read_openssl_options, NULL, "OpenSSL options joined by `|`", .custom_print = conf_print_str),
	OPT_CUSTOM(P, rustls_cipher_suites, conf_read_rustls_suites, NULL, "cipher suites"),
	OPT_DURATION(P, connect_timeout, "60s", "until the connection stands"),
	OPT_DURATION(P, banner_timeout, "60s", "for the greeting"),
	OPT_DURATION(P, ehlo_timeout, "300s", "for the answer to EHLO"),
	OPT_DURATION(P, mail_from_timeout, "300s", "for the answer to MAIL FROM"),
	OPT_DURATION(P, rcpt_to_timeout, "300s", "for the answer to RCPT TO"),
	OPT_DURATION(P, data_timeout, "300s", "for the answer to DATA"),
	OPT_DURATION(P, data_dot_timeout, "300s", "for the answer to the final dot"),
	OPT_DURATION(P, rset_timeout, "5s", "for the answer to RSET"),
	OPT_DURATION(P, idle_timeout, "5s", "how long an idle connection is kept"),
	OPT_DURATION(P, starttls_timeout, "5s", "for the answer to STARTTLS"),
	OPT_DURATION(P, auth_timeout, "60s", "for the answer to AUTH"),
	OPT_DURATION(P, system_shutdown_timeout, NULL, "how long a delivery may go on when stopping", OPT_PRESENT(P, has_system_shutdown_timeout)),
	OPT_INT(P, max_ready, "1024", "most messages in the ready queue"),
	OPT_INT(P, consecutive_connection_failures_before_delay, "100", "failures after which the whole ready queue waits"),
	OPT_INT(P, smtp_port, "25", "port of the destination", .min = 0, .max = 65535),
	OPT_STR(P, smtp_auth_plain_username, NULL, "user of AUTH PLAIN"),
	KEY(smtp_auth_plain_password, "its password"),
	OPT_BOOL(P, allow_smtp_auth_plain_without_tls, "false", "credentials may go over the wire in clear"),
	OPT_BOOL(P, allow_smtp_auth_plain_without_valid_certificate, "false", "credentials may go to a peer that is not authenticated"),
	RATE(max_message_rate, "messages of this path"),
	OPT_MAP(P, additional_message_rate_throttles, &CONF_RATE_ELEM, "rates shared with other paths, by name"),
	RATE(source_selection_rate, "rate at which the source may be chosen"),
	OPT_MAP(P, additional_source_selection_rates, &CONF_RATE_ELEM, "selection rates shared with other paths, by name"),
	RATE(max_connection_rate, "connections of this path"),
	OPT_INT(P, max_deliveries_per_connection, "1024", "messages on one connection"),
	OPT_INT(P, max_recipients_per_batch, "100", "recipients of one transaction"),
	CIDRS(prohibited_hosts, "[\"127.0.0.0/8\",\"0.0.0.0\",\"::1\",\"::\"]", "addresses that nothing may be sent to"),
	CIDRS(skip_hosts, "[]", "addresses that are left out"),
	OPT_ENUM(P, ip_lookup_strategy, IP_CHOICES, "Ipv4AndIpv6", "which addresses of a host are used"),
	OPT_STR(P, ehlo_domain, NULL, "name in EHLO"),
	OPT_BOOL(P, aggressive_connection_opening, "false", "connections are opened before there is a message for them"),
	OPT_DURATION(P, refresh_interval, "60s", "how long the configuration holds"),
	OPT_ENUM(P, refresh_strategy, CONF_REFRESH_CHOICES, "Ttl", "when the configuration is asked for again"),
	OPT_ENUM(P, dispatcher_wakeup_strategy, CONF_WAKEUP_CHOICES, "Aggressive", "accepted; one idle connection is woken for a message"),
	OPT_ENUM(P, maintainer_wakeup_strategy, CONF_WAKEUP_CHOICES, "Aggressive", "accepted; the number of connections is assessed at each insertion"),
	OPT_STR(P, provider_name, NULL, "provider that metrics are summed up by"),
	OPT_DURATION(P, remember_broken_tls, NULL, "how long a site is remembered whose TLS failed", OPT_PRESENT(P, has_remember_broken_tls)),
	OPT_BOOL(P, opportunistic_tls_reconnect_on_failed_handshake, "false", "connect again in clear when TLS fails"),
	OPT_BOOL(P, use_lmtp, "false", "LMTP instead of ESMTP"),
	OPT_ENUM(P, reconnect_strategy, RECONNECT_CHOICES, "ConnectNextHost", "after a connection failed during a delivery"),
	OPT_STR(P, readyq_pool_name, NULL, "accepted; connections run on all shards"),
	OPT_ENUM(P, low_memory_reduction_policy, CONF_SHRINK_CHOICES, "ShrinkDataAndMeta", "what leaves memory when it is low"),
	OPT_ENUM(P, no_memory_reduction_policy, CONF_SHRINK_CHOICES, "ShrinkDataAndMeta", "what leaves memory when there is none"),
	OPT_BOOL(P, try_next_host_on_transport_error, "false", "a message whose connection broke is tried on the next host at once"),
	OPT_BOOL(P, ignore_8bit_checks, "false", "8bit messages go to hosts that do not offer it"),
	OPT_DURATION(P, dispatcher_progress_watchdog_timeout, NULL, "a connection without progress for that long is ended", OPT_PRESENT(P, has_watchdog)),
	OPT_END
};
#undef P
const struct opt_desc CONF_PATH_DESC = { .name = "make_egress_path", .fields = PATH_FIELDS, .size = sizeof(struct path_opts) };

/* --- ceilings --- */

struct ceiling {
	bool set;
	double value;
	struct val source, display;
};




static void ceiling_min(struct ceiling *c, double value, struct val source, struct val display)
{
	if (!c->set || value < c->value)
		*c = (struct ceiling){ true, value, source, display };
}

static struct val source_val(struct arena *a, const char *kind, struct slice name)
{
	struct val v = val_obj();
	val_put_lit(a, &v, "kind", val_cstr(a, kind));
	if (name.ptr)
		val_put_lit(a, &v, "name", val_str(a, name));
	return v;
}

static struct val rate_val(struct arena *a, const struct rate_spec *r)
{
	struct val v = val_null();
	opt_print_rate(a, r, &v);
	return v;
}

static void ceiling_rates(struct ceiling *c, const struct rate_spec *primary, const struct opt_map *more, struct arena *a)
{
	if (rate_given(primary))
		ceiling_min(c, rate_per_second(primary), source_val(a, "primary", SLICE_NONE), rate_val(a, primary));
	for (size_t i = 0; more && i < more->n; i++) {
		const struct rate_spec *r = (const struct rate_spec *)more->items + i;
		ceiling_min(c, rate_per_second(r), source_val(a, "additional", more->keys[i]), rate_val(a, r));
	}
}

static void ceiling_put(const struct ceiling *c, struct slice key, struct arena *a, struct val *out)
{
	struct val v = val_null();
	if (c->set) {
		v = val_obj();
		val_put_lit(a, &v, "value", val_float(c->value));
		val_put_lit(a, &v, "source", c->source);
		val_put_lit(a, &v, "display", c->display);
	}
	val_put(a, out, key, v);
}

/* A connection carries so many messages at most: the connection rate bounds the message rate. */
static void ceiling_reconnect(struct ceiling *c, const struct path_opts *p, struct arena *a)
{
	const struct rate_spec *r = &p->max_connection_rate;
	struct buf b = { 0 };
	struct rate_spec total = *r;
	if (!rate_given(r))
		return;
	total.max_burst = 0;
	total.local = false;
	if (__builtin_mul_overflow(r->limit, (uint64_t)p->max_deliveries_per_connection, &total.limit))
		total.limit = UINT64_MAX;
	buf_printf(&b, "%lld × ", (long long)p->max_deliveries_per_connection);
	rate_spec_put(&b, r);
	buf_lit(&b, " = ");
	rate_spec_put(&b, &total);
	ceiling_min(c, rate_per_second(r) * (double)p->max_deliveries_per_connection, source_val(a, "reconnect_cycling", SLICE_NONE), val_str(a, buf_view(&b)));
	buf_fini(&b);
}

void path_constraints(const struct path_opts *p, const struct queue_opts *queue, struct arena *a, struct val *out)
{
	struct ceiling conns = { 0 }, msgs = { 0 }, connect = { 0 }, select = { 0 };
	const struct limit_spec *limits = p->additional_connection_limits.items;

	ceiling_min(&conns, (double)p->connection_limit.limit, source_val(a, "primary", SLICE_NONE),
		    val_str(a, arena_slicef(a, "%llu", (unsigned long long)p->connection_limit.limit)));
	for (size_t i = 0; i < p->additional_connection_limits.n; i++)
		ceiling_min(&conns, (double)limits[i].limit, source_val(a, "additional", p->additional_connection_limits.keys[i]),
			    val_str(a, arena_slicef(a, "%llu", (unsigned long long)limits[i].limit)));
	ceiling_rates(&msgs, &p->max_message_rate, &p->additional_message_rate_throttles, a);
	ceiling_reconnect(&msgs, p, a);
	if (queue && rate_given(&queue->max_message_rate))
		ceiling_min(&msgs, rate_per_second(&queue->max_message_rate), source_val(a, "other", SLICE("scheduled queue max_message_rate")),
			    rate_val(a, &queue->max_message_rate));
	ceiling_rates(&connect, &p->max_connection_rate, NULL, a);
	ceiling_rates(&select, &p->source_selection_rate, &p->additional_source_selection_rates, a);

	*out = val_obj();
	ceiling_put(&conns, SLICE("max_concurrent_dispatchers"), a, out);
	ceiling_put(&msgs, SLICE("max_message_rate"), a, out);
	bool declared = rate_given(&p->max_message_rate) && msgs.set && !slice_eq_cstr(val_get_str(&msgs.source, SLICE("kind")), "primary");
	val_put_lit(a, out, "max_message_rate_declared", declared ? rate_val(a, &p->max_message_rate) : val_null());
	ceiling_put(&connect, SLICE("max_connection_rate"), a, out);
	ceiling_put(&select, SLICE("max_source_selection_rate"), a, out);
}
