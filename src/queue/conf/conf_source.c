/* SPDX-License-Identifier: Apache-2.0 */
/* conf_source - options of kumo.make_egress_source and kumo.make_egress_pool. */
#include "queue/conf/config.h"

/* 'Immediate', or {Threshold = "3/5m"}: so many failures within that time. */
static int read_trigger(struct opt_ctx *c, const struct val *in, void *out)
{
	struct suspend_rule *r = CONTAINER_OF(out, struct suspend_rule, threshold);
	if (in->type == VAL_STR && slice_eq_cstr(in->s, "Immediate")) {
		r->threshold = false;
		return 0;
	}
	const struct val *t = val_get_lit(in, "Threshold");
	if (!t || t->type != VAL_STR)
		return opt_fail(c, in, "`Immediate` or {Threshold = \"N/period\"}");
	r->threshold = true;
	return opt_read_rate(c, t, &r->rate);
}

static void print_trigger(struct arena *a, const void *in, struct val *out)
{
	const struct suspend_rule *r = CONTAINER_OF(in, struct suspend_rule, threshold);
	if (!r->threshold) {
		*out = val_cstr(a, "Immediate");
		return;
	}
	struct val rate = val_null();
	opt_print_rate(a, &r->rate, &rate);
	*out = val_obj();
	val_put_lit(a, out, "Threshold", rate);
}

static const struct opt_field RULE_FIELDS[] = {
	{ .name = "trigger", .type = OPT_T_CUSTOM, .offset = offsetof(struct suspend_rule, threshold), .dflt = "\"Immediate\"", .present_offset = SIZE_MAX,
	  .custom = read_trigger, .custom_print = print_trigger, .help = "when the rule fires" },
	OPT_DURATION(struct suspend_rule, duration, NULL, "how long the source stays suspended", .required = true),
	OPT_END
};
static const struct opt_desc RULE_DESC = { .name = "suspension rule", .fields = RULE_FIELDS, .size = sizeof(struct suspend_rule) };

#define S struct source_opts
#define IP(f, h) OPT_CUSTOM(S, f, conf_read_ip, NULL, h, .custom_print = conf_print_ip)
#define SOCK(f, h) OPT_CUSTOM(S, f, conf_read_sockaddr, NULL, h, .custom_print = conf_print_str)

static const struct opt_field SOURCE_FIELDS[] = {
	OPT_STR(S, name, NULL, "name of the source", .required = true),
	OPT_STR(S, ehlo_domain, NULL, "name in EHLO"),
	IP(source_address, "local address to connect from"),
	OPT_INT(S, remote_port, NULL, "port of the destination", .min = 0, .max = 65535, OPT_PRESENT(S, has_remote_port)),
	SOCK(ha_proxy_server, "HA proxy to connect through"),
	IP(ha_proxy_source_address, "address that it shall use"),
	SOCK(socks5_proxy_server, "SOCKS5 proxy to connect through"),
	IP(socks5_proxy_source_address, "address that it shall use"),
	OPT_STR(S, socks5_proxy_username, NULL, "user at the SOCKS5 proxy"),
	OPT_STR(S, socks5_proxy_password, NULL, "password at the SOCKS5 proxy"),
	OPT_SUB(S, suspend_when_unplumbed, &RULE_DESC, "suspend the source when its address is not on this host", OPT_PRESENT(S, has_unplumbed)),
	OPT_SUB(S, suspend_when_proxy_unhealthy, &RULE_DESC, "suspend the source when its proxy does not answer", OPT_PRESENT(S, has_proxy_unhealthy)),
	OPT_DURATION(S, ttl, "60s", "how long the definition holds"),
	OPT_END
};
const struct opt_desc CONF_SOURCE_DESC = { .name = "make_egress_source", .fields = SOURCE_FIELDS, .size = sizeof(S) };

static const struct opt_field ENTRY_FIELDS[] = {
	OPT_STR(struct pool_entry, name, NULL, "name of a source", .required = true),
	OPT_INT(struct pool_entry, weight, "1", "share among the pool's sources; 0: not used", .min = 0, .max = UINT32_MAX),
	OPT_END
};
static const struct opt_desc ENTRY_DESC = { .name = "pool entry", .fields = ENTRY_FIELDS, .size = sizeof(struct pool_entry) };

static const struct opt_field POOL_FIELDS[] = {
	OPT_STR(struct pool_opts, name, NULL, "name of the pool", .required = true),
	OPT_LIST(struct pool_opts, entries, &ENTRY_DESC, "sources and their weights"),
	OPT_DURATION(struct pool_opts, ttl, "60s", "how long the definition holds"),
	OPT_END
};
const struct opt_desc CONF_POOL_DESC = { .name = "make_egress_pool", .fields = POOL_FIELDS, .size = sizeof(struct pool_opts) };
