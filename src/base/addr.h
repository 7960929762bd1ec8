/* SPDX-License-Identifier: Apache-2.0 */
/*
 * addr - IP addresses, networks and socket addresses as values.
 *
 * IPv4-mapped IPv6 addresses (::ffff:1.2.3.4) are folded to IPv4 on entry, so that a relay_hosts entry matches either way.
 *
 * Thread:  any.   Memory: by value.   Yields: never.
 */
#pragma once
#include <sys/socket.h>
#include "base/buf.h"

struct ipaddr {
	uint8_t family;		/* 0 none, 4, 6 */
	uint8_t bytes[16];	/* network order; 4 used for IPv4 */
	uint32_t scope;		/* link-local IPv6 */
};
struct netaddr {		/* an IP endpoint or a Unix socket path */
	struct ipaddr ip;
	uint16_t port;
	char path[108];		/* not empty: a Unix socket; a leading '@' is the abstract namespace */
};
struct cidr {
	struct ipaddr net;	/* host bits zero */
	uint8_t bits;
};

int ipaddr_parse(struct slice s, struct ipaddr *out) WARN_UNUSED;		/* "1.2.3.4", "::1", "[::1]" */
void ipaddr_put(struct buf *b, const struct ipaddr *a);			/* no brackets, RFC 5952 */
bool ipaddr_eq(const struct ipaddr *a, const struct ipaddr *b);

int netaddr_parse(struct slice s, uint16_t default_port, struct netaddr *out) WARN_UNUSED; /* "ip:port", "[v6]:port", "ip", "localhost:port", "/path" */
void netaddr_put(struct buf *b, const struct netaddr *a);				   /* "1.2.3.4:25", "[::1]:25", "/path" */
char *netaddr_text(const struct netaddr *a, char out[128]);
socklen_t netaddr_to_sockaddr(const struct netaddr *a, struct sockaddr_storage *out);
void netaddr_from_sockaddr(const struct sockaddr_storage *in, socklen_t len, struct netaddr *out);

int cidr_parse(struct slice s, struct cidr *out) WARN_UNUSED;			/* "10.0.0.0/8", a single address is /32 or /128 */
bool cidr_has(const struct cidr *c, const struct ipaddr *a);
void cidr_put(struct buf *b, const struct cidr *c);
