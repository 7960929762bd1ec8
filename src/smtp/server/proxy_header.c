/* SPDX-License-Identifier: Apache-2.0 */
/* The PROXY protocol, versions 1 and 2 (HAProxy's proxy-protocol.txt, 2.1 and 2.2), as a server must read it before its greeting. */
#include "smtp/server/session.h"

#define V1_MAX 107
#define V2_HEAD 16
static const char V2_SIGNATURE[12] = "\r\n\r\n\0\r\nQUIT\n";

static int take_v1_addresses(struct slice line, uint8_t family, struct netaddr *peer, struct netaddr *local)
{
	struct slice part[4];
	uint64_t port[2];
	for (int i = 0; i < 4; i++)
		if (!slice_split_next(&line, ' ', &part[i]))
			return -E_PROTO;
	struct slice more;
	if (slice_split_next(&line, ' ', &more))
		return -E_PROTO;
	if (ipaddr_parse(part[0], &peer->ip) < 0 || ipaddr_parse(part[1], &local->ip) < 0 || peer->ip.family != family || local->ip.family != family)
		return -E_PROTO;
	for (int i = 0; i < 2; i++)
		if (slice_to_u64(part[2 + i], &port[i]) < 0 || port[i] > UINT16_MAX)
			return -E_PROTO;
	peer->port = (uint16_t)port[0];
	local->port = (uint16_t)port[1];
	return 0;
}

static int read_v1(struct smtp_session *s)
{
	struct slice line;
	ptrdiff_t end;
	while ((end = slice_find(rt_io_buffered(s->io), SLICE("\r\n"))) < 0) {
		if (rt_io_buffered(s->io).len > V1_MAX || rt_io_fill(s->io) < 0)
			return -E_PROTO;
	}
	line = slice_sub(rt_io_buffered(s->io), 0, (size_t)end);
	int rc = -E_PROTO;
	if (slice_starts(line, SLICE("PROXY TCP4 ")))
		rc = take_v1_addresses(slice_sub(line, 11, SIZE_MAX), 4, &s->peer, &s->local);
	else if (slice_starts(line, SLICE("PROXY TCP6 ")))
		rc = take_v1_addresses(slice_sub(line, 11, SIZE_MAX), 6, &s->peer, &s->local);
	else if (slice_starts(line, SLICE("PROXY UNKNOWN")))
		rc = 0;
	rt_io_consume(s->io, (size_t)end + 2);
	return rc;
}

static void take_v2_address(struct netaddr *to, uint8_t family, const uint8_t *ip, const uint8_t *port)
{
	to->ip = (struct ipaddr){ .family = family };
	memcpy(to->ip.bytes, ip, family == 4 ? 4 : 16);
	to->port = (uint16_t)(port[0] << 8 | port[1]);
}

static int read_v2(struct smtp_session *s)
{
	if (rt_io_fill_until(s->io, V2_HEAD) < 0)
		return -E_PROTO;
	const uint8_t *h = (const uint8_t *)rt_io_buffered(s->io).ptr;
	size_t len = (size_t)(h[14] << 8 | h[15]);
	if (memcmp(h, V2_SIGNATURE, sizeof V2_SIGNATURE) != 0 || h[12] >> 4 != 2 || (h[12] & 15) > 1)
		return -E_PROTO;
	bool is_proxied = (h[12] & 15) == 1;
	uint8_t family = h[13] >> 4;
	if (rt_io_fill_until(s->io, V2_HEAD + len) < 0)
		return -E_PROTO;
	const uint8_t *p = (const uint8_t *)rt_io_buffered(s->io).ptr + V2_HEAD;
	if (is_proxied && family == 1 && len >= 12) {
		take_v2_address(&s->peer, 4, p, p + 8);
		take_v2_address(&s->local, 4, p + 4, p + 10);
	} else if (is_proxied && family == 2 && len >= 36) {
		take_v2_address(&s->peer, 6, p, p + 32);
		take_v2_address(&s->local, 6, p + 16, p + 34);
	}
	rt_io_consume(s->io, V2_HEAD + len);
	return 0;
}

/* -E_PROTO: it is none, and the connection is closed without a word. Yields. */
int session_read_proxy_header(struct smtp_session *s)
{
	if (rt_io_fill_until(s->io, 1) < 0)
		return -E_PROTO;
	return rt_io_buffered(s->io).ptr[0] == 'P' ? read_v1(s) : read_v2(s);
}
