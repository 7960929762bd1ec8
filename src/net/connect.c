/* SPDX-License-Identifier: Apache-2.0 */
#include "net/connect.h"
#include <stdlib.h>
#include "base/xalloc.h"
#include "net/dns.h"
#include "rt/fiber.h"
#include "rt/io.h"

static int addresses_of(struct slice host, struct dns_addrs *out)
{
	struct ipaddr ip;
	*out = (struct dns_addrs){ 0 };
	if (host.len > 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']')
		host = slice_sub(host, 1, host.len - 2);
	if (ipaddr_parse(host, &ip) == 0 || (slice_eq_nocase(host, SLICE("localhost")) && ipaddr_parse(SLICE("127.0.0.1"), &ip) == 0)) {
		out->addrs = xmalloc(sizeof ip);
		out->addrs[0] = ip;
		out->n = 1;
		return 0;
	}
	int rc = dns_lookup_ip(NULL, host, IP_V4_AND_V6, out);
	return rc == 0 && out->n == 0 ? err_set(E_DNS, "%.*s has no address", SLICE_ARG(host)) : rc;
}

int net_connect(struct slice host, uint16_t port, int64_t timeout_ms, int *fd)
{
	struct dns_addrs addrs;
	int rc = addresses_of(host, &addrs), sock = -1;
	for (size_t i = 0; i < addrs.n && rc == 0 && sock < 0; i++) {
		struct netaddr to = { .ip = addrs.addrs[i], .port = port };
		rc = rt_connect(&to, NULL, timeout_ms, &sock);
		if (rc < 0 && i + 1 < addrs.n && rt_check() == 0)
			rc = 0;
	}
	free(addrs.addrs);
	if (rc == 0)
		*fd = sock;
	return rc;
}
