/* SPDX-License-Identifier: Apache-2.0 */
#include "base/addr.h"
#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/un.h>
#include "base/err.h"

static const uint8_t MAPPED[12] = { [10] = 0xff, [11] = 0xff };

static void fold(struct ipaddr *a)
{
	if (a->family != 6 || memcmp(a->bytes, MAPPED, sizeof MAPPED) != 0)
		return;
	memmove(a->bytes, a->bytes + 12, 4);
	memset(a->bytes + 4, 0, 12);
	a->family = 4;
	a->scope = 0;
}

static bool to_text(struct slice s, char *out, size_t size)
{
	if (s.len >= size || memchr(s.ptr, 0, s.len))
		return false;
	memcpy(out, s.ptr, s.len);
	out[s.len] = '\0';
	return true;
}

static bool parse_scope(struct slice zone, uint32_t *scope)
{
	char name[IF_NAMESIZE];
	uint64_t n;

	if (slice_to_u64(zone, &n) == 0 && n <= UINT32_MAX) {
		*scope = (uint32_t)n;
		return true;
	}
	return to_text(zone, name, sizeof name) && (*scope = if_nametoindex(name)) != 0;
}

/* The address as written: a mapped one stays IPv6. */
static int parse_unfolded(struct slice s, struct ipaddr *out)
{
	char text[INET6_ADDRSTRLEN];
	struct ipaddr a = { 0 };
	struct slice given = s;

	if (s.len >= 2 && s.ptr[0] == '[' && s.ptr[s.len - 1] == ']') {
		s = slice_sub(s, 1, s.len - 2);
		if (slice_chr(s, ':') < 0)
			goto bad;
	}
	ptrdiff_t zone = slice_chr(s, '%');
	if (zone >= 0 && !parse_scope(slice_sub(s, (size_t)zone + 1, SIZE_MAX), &a.scope))
		goto bad;
	if (!to_text(slice_sub(s, 0, zone >= 0 ? (size_t)zone : SIZE_MAX), text, sizeof text))
		goto bad;
	if (zone < 0 && inet_pton(AF_INET, text, a.bytes) == 1)
		a.family = 4;
	else if (inet_pton(AF_INET6, text, a.bytes) == 1)
		a.family = 6;
	else
		goto bad;
	*out = a;
	return 0;
bad:
	return err_set(E_INVAL, "'%.*s' is not an IP address", (int)MIN(given.len, (size_t)200), given.ptr);
}

int ipaddr_parse(struct slice s, struct ipaddr *out)
{
	int rc = parse_unfolded(s, out);

	if (rc == 0)
		fold(out);
	return rc;
}

void ipaddr_put(struct buf *b, const struct ipaddr *a)
{
	char text[INET6_ADDRSTRLEN], name[IF_NAMESIZE];

	if (a->family == 0)
		return;
	inet_ntop(a->family == 4 ? AF_INET : AF_INET6, a->bytes, text, sizeof text);
	buf_cstr_put(b, text);
	if (a->scope) {
		if (if_indextoname(a->scope, name))
			buf_printf(b, "%%%s", name);
		else
			buf_printf(b, "%%%u", a->scope);
	}
}

bool ipaddr_eq(const struct ipaddr *a, const struct ipaddr *b)
{
	return a->family == b->family && memcmp(a->bytes, b->bytes, a->family == 4 ? 4 : 16) == 0 && a->scope == b->scope;
}

/* -- endpoints -- */

static int parse_path(struct slice s, struct netaddr *out)
{
	struct netaddr a = { 0 };

	if (!to_text(s, a.path, sizeof a.path))
		return err_set(E_INVAL, "'%.*s' is too long for a Unix socket path", (int)MIN(s.len, (size_t)200), s.ptr);
	*out = a;
	return 0;
}

static int parse_port(struct slice s, uint16_t *port)
{
	uint64_t n;

	if (s.len > 5 || slice_to_u64(s, &n) < 0 || n > 65535)
		return err_set(E_INVAL, "'%.*s' is not a port number", (int)MIN(s.len, (size_t)200), s.ptr);
	*port = (uint16_t)n;
	return 0;
}

int netaddr_parse(struct slice s, uint16_t default_port, struct netaddr *out)
{
	struct netaddr a = { .port = default_port };
	struct slice host = s;

	if (s.len && (s.ptr[0] == '/' || s.ptr[0] == '@'))
		return parse_path(s, out);
	ptrdiff_t colon = slice_rchr(s, ':');
	ptrdiff_t bracket = slice_rchr(s, ']');
	bool bare_v6 = bracket < 0 && colon >= 0 && slice_chr(s, ':') != colon;
	if (colon > bracket && !bare_v6) {
		int rc = parse_port(slice_sub(s, (size_t)colon + 1, SIZE_MAX), &a.port);
		if (rc < 0)
			return rc;
		host = slice_sub(s, 0, (size_t)colon);
	}
	if (slice_eq_nocase(host, SLICE("localhost")))
		host = SLICE("127.0.0.1");
	int rc = ipaddr_parse(host, &a.ip);
	if (rc < 0)
		return rc;
	*out = a;
	return 0;
}

void netaddr_put(struct buf *b, const struct netaddr *a)
{
	if (a->path[0]) {
		buf_cstr_put(b, a->path);
		return;
	}
	if (a->ip.family == 6)
		buf_putc(b, '[');
	ipaddr_put(b, &a->ip);
	if (a->ip.family == 6)
		buf_putc(b, ']');
	buf_printf(b, ":%u", a->port);
}

char *netaddr_text(const struct netaddr *a, char out[128])
{
	struct buf b = { 0 };

	netaddr_put(&b, a);
	snprintf(out, 128, "%.*s", (int)b.len, b.ptr);
	buf_fini(&b);
	return out;
}

static socklen_t path_to_sockaddr(const char *path, struct sockaddr_storage *out)
{
	struct sockaddr_un *un = (struct sockaddr_un *)out;
	size_t len = strlen(path);

	un->sun_family = AF_UNIX;
	memcpy(un->sun_path, path, MIN(len + 1, sizeof un->sun_path));
	if (path[0] != '@')
		return sizeof *un;
	un->sun_path[0] = '\0';
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
}

socklen_t netaddr_to_sockaddr(const struct netaddr *a, struct sockaddr_storage *out)
{
	memset(out, 0, sizeof *out);
	if (a->path[0])
		return path_to_sockaddr(a->path, out);
	if (a->ip.family == 6) {
		struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(a->port);
		in6->sin6_scope_id = a->ip.scope;
		memcpy(&in6->sin6_addr, a->ip.bytes, 16);
		return sizeof *in6;
	}
	struct sockaddr_in *in = (struct sockaddr_in *)out;
	in->sin_family = AF_INET;
	in->sin_port = htons(a->port);
	memcpy(&in->sin_addr, a->ip.bytes, 4);
	return sizeof *in;
}

static void path_from_sockaddr(const struct sockaddr_un *un, socklen_t len, struct netaddr *out)
{
	size_t n = len > offsetof(struct sockaddr_un, sun_path) ? len - offsetof(struct sockaddr_un, sun_path) : 0;

	n = MIN(n, sizeof out->path - 1);
	if (n && un->sun_path[0] == '\0') {
		memcpy(out->path, un->sun_path, n);
		out->path[0] = '@';
		out->path[n] = '\0';
	} else {
		n = strnlen(un->sun_path, n);
		memcpy(out->path, un->sun_path, n);
		out->path[n] = '\0';
	}
}

void netaddr_from_sockaddr(const struct sockaddr_storage *in, socklen_t len, struct netaddr *out)
{
	*out = (struct netaddr){ 0 };
	switch (in->ss_family) {
	case AF_INET: {
		const struct sockaddr_in *a = (const struct sockaddr_in *)in;
		out->ip.family = 4;
		memcpy(out->ip.bytes, &a->sin_addr, 4);
		out->port = ntohs(a->sin_port);
		break;
	}
	case AF_INET6: {
		const struct sockaddr_in6 *a = (const struct sockaddr_in6 *)in;
		out->ip.family = 6;
		memcpy(out->ip.bytes, &a->sin6_addr, 16);
		out->ip.scope = a->sin6_scope_id;
		out->port = ntohs(a->sin6_port);
		fold(&out->ip);
		break;
	}
	case AF_UNIX:
		path_from_sockaddr((const struct sockaddr_un *)in, len, out);
		break;
	}
}

/* -- networks -- */

static void clear_host_bits(struct ipaddr *a, unsigned bits)
{
	for (unsigned i = 0; i < 16; i++) {
		unsigned keep = bits > i * 8 ? MIN(bits - i * 8, 8u) : 0;
		a->bytes[i] &= (uint8_t)(0xff00u >> keep);
	}
}

static int not_a_cidr(struct slice s, const char *why)
{
	return err_set(E_INVAL, "%.*s is not a valid CIDR: %s", (int)MIN(s.len, (size_t)200), s.ptr, why);
}

int cidr_parse(struct slice s, struct cidr *out)
{
	ptrdiff_t slash = slice_rchr(s, '/');
	struct ipaddr a;
	struct buf b = { 0 };
	uint64_t bits;
	int rc = parse_unfolded(slice_sub(s, 0, slash >= 0 ? (size_t)slash : SIZE_MAX), &a);

	if (rc < 0)
		return not_a_cidr(s, "couldn't parse address in network: invalid IP address syntax");
	unsigned max = a.family == 4 ? 32 : 128;
	bits = max;
	if (slash >= 0) {
		struct slice n = slice_sub(s, (size_t)slash + 1, SIZE_MAX);
		if (n.len == 0)
			return not_a_cidr(s, "couldn't parse length in network: cannot parse integer from empty string");
		if (slice_to_u64(n, &bits) < 0 || bits > 255)
			return not_a_cidr(s, "couldn't parse length in network: invalid digit found in string");
		if (bits > max)
			return err_set(E_INVAL, "%.*s is not a valid CIDR: invalid length for network: Network length %u is too long for %s (maximum: %u)",
				       (int)MIN(s.len, (size_t)200), s.ptr, (unsigned)bits, max == 32 ? "Ipv4" : "Ipv6", max);
	}
	struct cidr c = { .net = a, .bits = (uint8_t)bits };
	clear_host_bits(&c.net, c.bits);
	if (memcmp(c.net.bytes, a.bytes, 16) != 0) {
		cidr_put(&b, &c);
		err_set(E_INVAL, "%.*s is not a valid CIDR: host part of address was not zero. Did you mean %s?", (int)MIN(s.len, (size_t)200), s.ptr, buf_cstr(&b));
		buf_fini(&b);
		return -E_INVAL;
	}
	if (c.bits >= 96) {
		fold(&c.net);
		if (c.net.family != a.family)
			c.bits -= 96;
	}
	*out = c;
	return 0;
}

bool cidr_has(const struct cidr *c, const struct ipaddr *a)
{
	struct ipaddr net = *a;

	if (a->family != c->net.family || a->family == 0)
		return false;
	clear_host_bits(&net, c->bits);
	return memcmp(net.bytes, c->net.bytes, a->family == 4 ? 4 : 16) == 0;
}

void cidr_put(struct buf *b, const struct cidr *c)
{
	ipaddr_put(b, &c->net);
	buf_printf(b, "/%u", c->bits);
}
