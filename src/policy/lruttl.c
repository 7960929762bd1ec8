/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/lruttl.h"
#include <stdatomic.h>

static const struct lruttl_def DEFS[] = {
	{ "acl_check", 128, "answers of access checks" },
	{ "acl_definition", 128, "access control lists by resource" },
	{ "dkim_key_cache", 1024, "signing keys by their key source" },
	{ "dkim_signer_cache", 1024, "signers by their parameters" },
	{ "dns_resolver_ip", 1024, "addresses of a name, both families" },
	{ "dns_resolver_ipv4", 1024, "IPv4 addresses of a name" },
	{ "dns_resolver_ipv6", 1024, "IPv6 addresses of a name" },
	{ "dns_resolver_mx", 65536, "mail exchangers of a domain" },
	{ "egress_source_pools", 128, "egress pools by name" },
	{ "egress_source_sources", 128, "egress sources by name" },
	{ "http_server_auth", 128, "outcomes of HTTP authentication" },
	{ "mod_filesystem_glob_cache", 32, "results of kumo.fs.glob" },
	{ "mta_sts_policy", 65536, "MTA-STS policies by domain" },
	{ "rustls_client_config", 32, "client TLS contexts by their parameters" },
	{ "smtp_dispatcher_broken_tls", 65536, "sites whose TLS was found broken" },
	{ "smtp_dispatcher_client_certificate", 1024, "client certificates by their key source" },
	{ "smtp_server_tls_config", 128, "server TLS contexts by their parameters" },
	{ NULL, 0, NULL },
};
static _Atomic int64_t current[ARRAY_LEN(DEFS)];	/* 0: the default */

const struct lruttl_def *lruttl_defs(void)
{
	return DEFS;
}

static ptrdiff_t find(struct slice name)
{
	for (size_t i = 0; DEFS[i].name; i++)
		if (slice_eq_cstr(name, DEFS[i].name))
			return (ptrdiff_t)i;
	return -1;
}

bool lruttl_exists(struct slice name)
{
	return find(name) >= 0;
}

int lruttl_set_capacity(struct slice name, int64_t n)
{
	ptrdiff_t i = find(name);
	if (i < 0)
		return err_set(E_NOENT, "could not set capacity for cache %.*s as that is not a pre-defined lruttl cache name", SLICE_ARG(name));
	current[i] = n < 1 ? 1 : n;
	return 0;
}

int64_t lruttl_capacity(const char *name)
{
	ptrdiff_t i = find(slice_from_cstr(name));
	assert(i >= 0);
	return current[i] ? current[i] : DEFS[i].capacity;
}
