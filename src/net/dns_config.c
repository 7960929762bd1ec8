/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Resolvers from options (docs/reference/kumo.dns/define_resolver, configure_resolver, resolver_options) and from resolv.conf.
 *
 * Both documented backends are served by libunbound here. "Hickory" is the one that forwards to name servers and takes all
 * options; those that libunbound has no use for are checked and then without effect. "Unbound" takes the few that it documents.
 */
#include "net/dns_impl.h"
#include "codec/opt.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct server_opts {
	struct slice socket_addr, bind_addr;
	int protocol;
	bool trust_negative_responses;
};
struct anchor_opts {
	struct slice file, managed;
};
struct resolver_opts {
	int64_t ndots, timeout, attempts, cache_size, num_concurrent_reqs;
	int64_t positive_min_ttl, positive_max_ttl, negative_min_ttl, negative_max_ttl;
	bool edns0, validate, preserve_intermediates, try_tcp_on_error, recursion_desired, case_randomization;
	int ip_strategy, server_ordering_strategy, use_hosts_file;
	struct anchor_opts trust_anchor_file;
};
struct config_opts {
	struct slice domain;
	struct opt_list search, name_servers;
	struct resolver_opts options;
};

enum { PROTO_BOTH, PROTO_UDP, PROTO_TCP };
static const struct opt_choice PROTOCOLS[] = { { "udp_then_tcp", PROTO_BOTH }, { "udp", PROTO_UDP }, { "tcp", PROTO_TCP }, { NULL, 0 } };
static const struct opt_choice ORDERS[] = { { "QueryStatistics", 0 }, { "RoundRobin", 1 }, { "UserProvidedOrder", 2 }, { NULL, 0 } };
static const struct opt_choice STRATEGIES[] = { { "Ipv4Only", 0 },     { "Ipv6Only", 1 },     { "Ipv4AndIpv6", 2 }, { "Ipv6AndIpv4", 3 },
						{ "Ipv4thenIpv6", 4 }, { "Ipv6thenIpv4", 5 }, { NULL, 0 } };
enum { HOSTS_ALWAYS, HOSTS_AUTO, HOSTS_NEVER };
static const struct opt_choice HOSTS[] = { { "Always", HOSTS_ALWAYS }, { "Auto", HOSTS_AUTO }, { "Never", HOSTS_NEVER }, { NULL, 0 } };

static int read_anchor(struct opt_ctx *c, const struct val *in, void *out)
{
	struct anchor_opts *a = out;

	a->managed = val_get_str(in, SLICE("managed"));
	if (in->type == VAL_STR)
		a->file = in->s;
	else if (!a->managed.ptr || in->n != 1)
		return opt_fail(c, in, "a file name or { managed = FILE }");
	return 0;
}

static const struct opt_field SERVER_FIELDS[] = {
	OPT_STR(struct server_opts, socket_addr, NULL, "IP:PORT of the name server", .required = true),
	OPT_ENUM(struct server_opts, protocol, PROTOCOLS, "udp_then_tcp", "how to ask it"),
	OPT_BOOL(struct server_opts, trust_negative_responses, "true", "whether its NXDOMAIN ends the search"),
	OPT_STR(struct server_opts, bind_addr, NULL, "IP:PORT to ask from"),
	OPT_END
};
static int read_server(struct opt_ctx *c, const struct val *in, void *out);
static const struct opt_desc SERVER = { .name = "name_servers", .fields = SERVER_FIELDS, .size = sizeof(struct server_opts), .custom = read_server };
static int read_server(struct opt_ctx *c, const struct val *in, void *out)
{
	struct server_opts *s = out;

	if (in->type != VAL_STR)
		return opt_parse_struct(c, &SERVER, in, out);
	*s = (struct server_opts){ .socket_addr = in->s, .trust_negative_responses = true };
	return 0;
}

static const struct opt_field OPTION_FIELDS[] = {
	OPT_INT(struct resolver_opts, ndots, "1", "dots that make a name complete"),
	OPT_DURATION(struct resolver_opts, timeout, "5s", "how long to wait for one answer"),
	OPT_INT(struct resolver_opts, attempts, "2", "retries after a failure"),
	OPT_BOOL(struct resolver_opts, edns0, "true", "large UDP answers"),
	OPT_BOOL(struct resolver_opts, validate, "false", "DNSSEC validation"),
	OPT_ENUM(struct resolver_opts, ip_strategy, STRATEGIES, "Ipv6AndIpv4", "without effect: see ip_lookup_strategy of egress paths"),
	OPT_INT(struct resolver_opts, cache_size, "8192", "answers kept"),
	OPT_ENUM(struct resolver_opts, use_hosts_file, HOSTS, "Auto", "whether /etc/hosts is read"),
	OPT_DURATION(struct resolver_opts, positive_min_ttl, NULL, "least time to keep an answer"),
	OPT_DURATION(struct resolver_opts, negative_min_ttl, NULL, "least time to keep the absence of one"),
	OPT_DURATION(struct resolver_opts, positive_max_ttl, NULL, "longest time to keep an answer"),
	OPT_DURATION(struct resolver_opts, negative_max_ttl, NULL, "longest time to keep the absence of one"),
	OPT_INT(struct resolver_opts, num_concurrent_reqs, "2", "name servers asked at once"),
	OPT_BOOL(struct resolver_opts, preserve_intermediates, "true", "keep aliases"),
	OPT_BOOL(struct resolver_opts, try_tcp_on_error, "false", "ask again by TCP"),
	OPT_ENUM(struct resolver_opts, server_ordering_strategy, ORDERS, "QueryStatistics", "which server first"),
	OPT_BOOL(struct resolver_opts, recursion_desired, "true", "the RD bit"),
	OPT_BOOL(struct resolver_opts, case_randomization, "false", "random case of names in queries"),
	OPT_CUSTOM(struct resolver_opts, trust_anchor_file, read_anchor, NULL, "anchors of DNSSEC validation"),
	OPT_END
};
static const struct opt_desc OPTIONS = { .name = "options", .fields = OPTION_FIELDS, .size = sizeof(struct resolver_opts) };
static const struct opt_field CONFIG_FIELDS[] = {
	OPT_STR(struct config_opts, domain, NULL, "the local domain"),
	OPT_LIST(struct config_opts, search, NULL, "domains to try"),
	OPT_LIST(struct config_opts, name_servers, &SERVER, "whom to ask"),
	OPT_SUB(struct config_opts, options, &OPTIONS, "details"),
	OPT_END
};
static const struct opt_desc CONFIG = { .name = "resolver", .fields = CONFIG_FIELDS, .size = sizeof(struct config_opts) };

static int check_unbound_options(const struct val *v)
{
	const struct val *options = val_get_lit(v, "options");

	for (uint32_t i = 0; options && options->type == VAL_OBJ && i < options->n; i++) {
		struct slice key = options->members[i].key;
		if (!slice_eq_cstr(key, "validate") && !slice_eq_cstr(key, "trust_anchor_file") && !slice_eq_cstr(key, "use_hosts_file"))
			return err_set(E_INVAL,
				       "options.%.*s has no meaning for the unbound resolver: it takes `validate`, `trust_anchor_file`, `use_hosts_file`",
				       SLICE_ARG(key));
	}
	return 0;
}

static int build(const struct config_opts *o, bool unbound, struct dns_resolver **out)
{
	const struct resolver_opts *p = &o->options;
	struct dns_unbound_conf conf = {
		.validate = p->validate,
		.hosts_file = p->use_hosts_file != HOSTS_NEVER,
		.anchor_file = p->trust_anchor_file.file,
		.managed_anchor_file = p->trust_anchor_file.managed,
		.timeout_ms = p->timeout / 1000000 * (p->attempts + 1),
		.cache_size = MAX(p->cache_size, (int64_t)16),
		.positive_min_ms = p->positive_min_ttl / 1000000,
		.positive_max_ms = p->positive_max_ttl / 1000000,
		.negative_min_ms = p->negative_min_ttl / 1000000,
		.negative_max_ms = p->negative_max_ttl / 1000000,
		.tcp_only = o->name_servers.n > 0,
		.small_answers = !p->edns0,
		.random_case = p->case_randomization,
	};
	const struct server_opts *servers = o->name_servers.items;

	if (!unbound && conf.managed_anchor_file.len)
		return err_set(E_INVAL, "options.trust_anchor_file: a managed file needs the unbound resolver");
	if (o->name_servers.n > ARRAY_LEN(conf.servers))
		return err_set(E_INVAL, "name_servers: at most %zu", ARRAY_LEN(conf.servers));
	for (size_t i = 0; i < o->name_servers.n; i++) {
		conf.bind_addrs[i] = servers[i].bind_addr;
		conf.servers[conf.n_servers++] = servers[i].socket_addr;
		if (servers[i].protocol != PROTO_TCP)
			conf.tcp_only = false;
	}
	return dns_unbound_create(&conf, out);
}

int dns_resolver_from_config(const struct val *v, const char *where, bool unbound, struct dns_resolver **out)
{
	struct arena *a = arena_create();
	struct config_opts o;
	int rc = unbound ? check_unbound_options(v) : 0;

	if (rc == 0)
		rc = opt_parse(&CONFIG, v, a, &o);
	if (rc == 0)
		rc = build(&o, unbound, out);
	if (rc < 0)
		err_prefix("%s", where);
	arena_destroy(&a);
	return rc;
}

static int from_system(struct dns_resolver **out)
{
	struct arena *a = arena_create();
	struct val conf;
	int rc = dns_resolv_conf_load(NULL, a, &conf);

	if (rc == -E_NOENT) {	/* as resolv.conf(5) has it: the local machine */
		conf = val_obj();
		rc = 0;
	}
	if (rc == 0 && !val_get_lit(&conf, "name_servers")) {
		struct val servers = val_list();
		val_push(a, &servers, val_cstr(a, "127.0.0.1:53"));
		val_put_lit(a, &conf, "name_servers", servers);
	}
	if (rc == 0)
		rc = dns_resolver_from_config(&conf, "resolv.conf", false, out);
	arena_destroy(&a);
	return rc;
}

static int from_aggregate(const struct val *v, const char *where, struct dns_resolver **out)
{
	struct dns_resolver *children[32];
	char path[256];
	size_t n = 0;
	int rc = 0;

	if (v->type != VAL_LIST && !(v->type == VAL_OBJ && v->n == 0))
		return err_set(E_INVAL, "%s.Aggregate: expected a list of resolvers, not a %s", where, val_type_name(v->type));
	if (v->type == VAL_LIST && v->n > ARRAY_LEN(children))
		return err_set(E_INVAL, "%s.Aggregate: at most %zu resolvers", where, ARRAY_LEN(children));
	while (rc == 0 && v->type == VAL_LIST && n < v->n) {
		snprintf(path, sizeof path, "%s.Aggregate[%zu]", where, n);
		if ((rc = dns_resolver_from_val(&v->items[n], path, &children[n])) == 0)
			n++;
	}
	if (rc < 0) {
		while (n > 0)
			dns_resolver_unref(&children[--n]);
		return rc;
	}
	*out = dns_aggregate_create(children, n);
	return 0;
}

int dns_resolver_from_val(const struct val *v, const char *where, struct dns_resolver **out)
{
	static const char KINDS[] = "expected one of `Hickory`, `HickorySystemConfig`, `Unbound`, `Test`, `Aggregate`";

	if (v->type == VAL_STR && slice_eq_cstr(v->s, "HickorySystemConfig"))
		return from_system(out);
	if (v->type == VAL_STR)
		return err_set(E_INVAL, "%s: unknown variant `%.*s`, %s", where, SLICE_ARG(v->s), KINDS);
	if (v->type != VAL_OBJ || v->n != 1)
		return err_set(E_INVAL, "%s: expected a table with a single key, %s", where, KINDS);
	struct slice kind = v->members[0].key;
	const struct val *conf = &v->members[0].val;
	if (slice_eq_cstr(kind, "Hickory"))
		return dns_resolver_from_config(conf, where, false, out);
	if (slice_eq_cstr(kind, "Unbound"))
		return dns_resolver_from_config(conf, where, true, out);
	if (slice_eq_cstr(kind, "Aggregate"))
		return from_aggregate(conf, where, out);
	if (!slice_eq_cstr(kind, "Test"))
		return err_set(E_INVAL, "%s: unknown variant `%.*s`, %s", where, SLICE_ARG(kind), KINDS);
	int rc = dns_resolver_from_test(conf, out);
	if (rc < 0)
		err_prefix("%s", where);
	return rc;
}

/* --- resolv.conf ------------------------------------------------------------------------------------------------------- */

struct resolv_conf {
	struct arena *a;
	struct val domain, search, servers, options;
};

static bool next_word(struct slice *rest, struct slice *word)
{
	*rest = slice_trim_start(*rest);
	if (!rest->len)
		return false;
	size_t n = 0;
	while (n < rest->len && rest->ptr[n] != ' ' && rest->ptr[n] != '\t')
		n++;
	*word = slice_sub(*rest, 0, n);
	*rest = slice_sub(*rest, n, SIZE_MAX);
	return true;
}

static int read_nameserver(struct resolv_conf *c, struct slice rest, int line)
{
	struct slice word = SLICE_NONE;
	struct netaddr at = { .port = 53 };
	struct buf text = { 0 };

	if (!next_word(&rest, &word) || ipaddr_parse(word, &at.ip) < 0)
		return err_set(E_INVAL, "parsing resolv.conf: directive at line %d contains invalid IP: invalid IP address syntax", line);
	netaddr_put(&text, &at);
	val_push(c->a, &c->servers, val_str(c->a, buf_view(&text)));
	buf_fini(&text);
	return 0;
}

static void read_options(struct resolv_conf *c, struct slice rest)
{
	struct slice word;
	uint64_t n;

	while (next_word(&rest, &word)) {
		if (slice_eq_cstr(word, "edns0"))
			val_put_lit(c->a, &c->options, "edns0", val_bool(true));
		else if (slice_starts(word, SLICE("ndots:")) && slice_to_u64(slice_sub(word, 6, SIZE_MAX), &n) == 0)
			val_put_lit(c->a, &c->options, "ndots", val_int(MIN(n, 255ul)));
		else if (slice_starts(word, SLICE("attempts:")) && slice_to_u64(slice_sub(word, 9, SIZE_MAX), &n) == 0)
			val_put_lit(c->a, &c->options, "attempts", val_int(MIN(n, 255ul)));
		else if (slice_starts(word, SLICE("timeout:")) && slice_to_u64(slice_sub(word, 8, SIZE_MAX), &n) == 0)
			val_put_lit(c->a, &c->options, "timeout", val_str(c->a, arena_slicef(c->a, "%llus", (unsigned long long)MIN(n, 3600ul))));
	}
}

static int read_directive(struct resolv_conf *c, struct slice text, int line)
{
	struct slice word, rest = text;

	if (!next_word(&rest, &word))
		return 0;
	if (slice_eq_cstr(word, "nameserver"))
		return read_nameserver(c, rest, line);
	if (slice_eq_cstr(word, "domain") || slice_eq_cstr(word, "search")) {
		bool domain = word.ptr[0] == 'd';
		c->search = val_list();
		c->domain = val_null();
		while (next_word(&rest, &word)) {
			val_push(c->a, &c->search, val_str(c->a, word));
			if (domain)
				c->domain = val_str(c->a, word);
		}
		return 0;
	}
	if (slice_eq_cstr(word, "options"))
		read_options(c, rest);
	else if (!slice_eq_cstr(word, "sortlist") && !slice_eq_cstr(word, "lookup") && !slice_eq_cstr(word, "family"))
		return err_set(E_INVAL, "parsing resolv.conf: directive at line %d is not recognized", line);
	return 0;
}

static int read_file(const char *path, struct buf *out)
{
	char block[4096];
	size_t n;
	FILE *f = fopen(path, "re");

	if (!f) {
		int err = errno;
		return err_set(E_NOENT, "reading %s: %s (os error %d)", path, strerror(err), err);
	}
	while (out->len < 1 << 20 && (n = fread(block, 1, sizeof block, f)) > 0)
		buf_put(out, block, n);
	fclose(f);
	return 0;
}

int dns_resolv_conf_load(const char *path, struct arena *a, struct val *out)
{
	struct resolv_conf c = { a, val_null(), val_list(), val_list(), val_obj() };
	struct buf text = { 0 };
	struct slice rest, line;
	int n = 0, rc = read_file(path ? path : "/etc/resolv.conf", &text);

	val_put_lit(a, &c.options, "ndots", val_int(1));
	val_put_lit(a, &c.options, "timeout", val_cstr(a, "5s"));
	val_put_lit(a, &c.options, "attempts", val_int(2));
	val_put_lit(a, &c.options, "edns0", val_bool(false));
	rest = buf_view(&text);
	for (; rc == 0 && rest.ptr && slice_split_next(&rest, '\n', &line); n++) {
		for (size_t i = 0; i < line.len; i++) {
			if (line.ptr[i] == '#' || line.ptr[i] == ';')
				line.len = i;
		}
		rc = read_directive(&c, slice_trim(line), n);
	}
	buf_fini(&text);
	if (rc < 0)
		return rc;
	*out = val_obj();
	if (c.domain.type == VAL_STR)
		val_put_lit(a, out, "domain", c.domain);
	val_put_lit(a, out, "search", c.search);
	val_put_lit(a, out, "name_servers", c.servers);
	val_put_lit(a, out, "options", c.options);
	return 0;
}
