/* SPDX-License-Identifier: Apache-2.0 */
/* What parses also prints, and what was printed parses to the same. */
#include "base/addr.h"
#include "base/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = slice_new(data, size);
	struct ipaddr ip, ip2;
	struct netaddr net, net2;
	struct cidr c, c2;
	struct buf b = { 0 };

	if (ipaddr_parse(in, &ip) == 0) {
		ipaddr_put(&b, &ip);
		assert(ipaddr_parse(buf_view(&b), &ip2) == 0 && ipaddr_eq(&ip, &ip2));
	}
	buf_clear(&b);
	if (cidr_parse(in, &c) == 0) {
		cidr_put(&b, &c);
		assert(cidr_parse(buf_view(&b), &c2) == 0 && c2.bits == c.bits && ipaddr_eq(&c.net, &c2.net) && cidr_has(&c, &c.net));
	}
	buf_clear(&b);
	if (netaddr_parse(in, 25, &net) == 0) {
		netaddr_put(&b, &net);
		assert(netaddr_parse(buf_view(&b), 0, &net2) == 0 && net2.port == net.port && strcmp(net2.path, net.path) == 0);
	}
	buf_fini(&b);
	return 0;
}
