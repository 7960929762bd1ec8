/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy - the way to a host through the source's proxy: HA proxy (PROXY protocol, version 2) or SOCKS5 (RFC 1928, 1929).
 *
 * HA proxy does not answer: whether it could use the address shows only in the banner. A SOCKS5 proxy is asked with BIND for the source address
 * before CONNECT, so that an address it does not have is told apart from a host that does not answer.
 */
#include <stdatomic.h>
#include <stdlib.h>
#include "queue/health.h"
#include "rt/clock.h"
#include "rt/fiber.h"
#include "rt/metrics.h"
#include "smtp/client/session.h"

static struct metric_family FAILURES[] = {
	[SMTP_FAILED_BIND] = METRIC_COUNTER("bind_failures", "how many times binding to a source address failed"),
	[SMTP_FAILED_PROXY] = METRIC_COUNTER("proxy_connection_failures", "how many times connecting to a proxy server failed"),
};
static _Atomic(struct metric *) failures[ARRAY_LEN(FAILURES)];

void smtp_failures_init(void)
{
	for (size_t i = 0; i < ARRAY_LEN(FAILURES); i++)
		metric_register(&FAILURES[i]);
}

/* Made when it first counts: what never happened is not shown. */
void smtp_count_failure(enum smtp_failure f)
{
	struct metric *m = atomic_load(&failures[f]), *none = NULL;
	if (!m) {
		m = metric_get_n(&FAILURES[f], NULL);
		if (!atomic_compare_exchange_strong(&failures[f], &none, m)) {
			metric_unref(&m);
			m = none;
		}
	}
	metric_add(m, 1);
}

static void put_ip(struct buf *b, const struct netaddr *a)
{
	buf_put(b, a->ip.bytes, a->ip.family == 4 ? 4 : 16);
	buf_putc(b, (char)(a->port >> 8));
	buf_putc(b, (char)a->port);
}

/* PROXY protocol, version 2: who the connection is for. There is no answer. */
static int ha_handshake(struct rt_io *io, const struct ipaddr *from, const struct netaddr *to)
{
	static const char sig[12] = "\r\n\r\n\0\r\nQUIT\n";
	struct buf b = { 0 };
	int n = from->family == 4 ? 4 : 16;
	if (from->family != to->ip.family)
		return err_set(E_INVAL, "ha_proxy_source_address and the destination are of different address families");
	buf_put(&b, sig, sizeof(sig));
	buf_putc(&b, 0x21);
	buf_putc(&b, from->family == 4 ? 0x11 : 0x21);
	buf_putc(&b, 0);
	buf_putc(&b, (char)(2 * n + 4));
	buf_put(&b, from->bytes, n);
	buf_put(&b, to->ip.bytes, n);
	buf_put(&b, "\0\0", 2);
	buf_putc(&b, (char)(to->port >> 8));
	buf_putc(&b, (char)to->port);
	rt_io_put(io, buf_view(&b));
	buf_fini(&b);
	return rt_io_flush(io);
}

/* --- SOCKS5, RFC 1928 ---------------------------------------------------------------------------------------------------------------- */

static int socks_read(struct rt_io *io, size_t n, const uint8_t **out)
{
	int rc = rt_io_fill_until(io, n);
	*out = (const uint8_t *)rt_io_buffered(io).ptr;
	return rc;
}

static int socks_login(struct rt_io *io, const struct source_opts *o)
{
	const uint8_t *p;
	int rc;
	bool login = o->socks5_proxy_username.ptr;
	rt_io_put(io, login ? SLICE("\5\2\0\2") : SLICE("\5\1\0"));
	if ((rc = rt_io_flush(io)) < 0 || (rc = socks_read(io, 2, &p)) < 0)
		return rc;
	uint8_t version = p[0], method = p[1];
	rt_io_consume(io, 2);
	if (version != 5)
		return err_set(E_PROTO, "it does not speak SOCKS5");
	if (method == 0)
		return 0;
	if (method != 2 || !login)
		return err_set(E_ACCESS, "it accepts no authentication method of ours");
	struct buf b = { 0 };
	buf_putc(&b, 1);
	buf_putc(&b, (char)MIN(o->socks5_proxy_username.len, 255));
	buf_slice(&b, slice_sub(o->socks5_proxy_username, 0, 255));
	buf_putc(&b, (char)MIN(o->socks5_proxy_password.len, 255));
	buf_slice(&b, slice_sub(o->socks5_proxy_password, 0, 255));
	rt_io_put(io, buf_view(&b));
	buf_fini(&b);
	if ((rc = rt_io_flush(io)) < 0 || (rc = socks_read(io, 2, &p)) < 0)
		return rc;
	bool good = p[1] == 0;
	rt_io_consume(io, 2);
	return good ? 0 : err_set(E_ACCESS, "it refused the user name and password");
}

/* A command with an address; the address in the reply goes to *BOUND. */
static int socks_command(struct rt_io *io, uint8_t cmd, const struct netaddr *addr, struct netaddr *bound)
{
	static const char *const REPLIES[] = { "succeeded", "general SOCKS server failure", "connection not allowed by ruleset", "network unreachable",
						"host unreachable", "connection refused", "TTL expired", "command not supported", "address type not supported" };
	struct buf b = { 0 };
	const uint8_t *p;
	int rc;

	buf_putc(&b, 5);
	buf_putc(&b, (char)cmd);
	buf_putc(&b, 0);
	buf_putc(&b, addr->ip.family == 4 ? 1 : 4);
	put_ip(&b, addr);
	rt_io_put(io, buf_view(&b));
	buf_fini(&b);
	if ((rc = rt_io_flush(io)) < 0 || (rc = socks_read(io, 4, &p)) < 0)
		return rc;
	uint8_t reply = p[1], kind = p[3];
	if (p[0] != 5 || (kind != 1 && kind != 4))
		return err_set(E_PROTO, "its reply is no SOCKS5");
	size_t len = kind == 1 ? 4 : 16;
	if ((rc = socks_read(io, 4 + len + 2, &p)) < 0)
		return rc;
	*bound = (struct netaddr){ .ip.family = kind == 1 ? 4 : 6, .port = (uint16_t)(p[4 + len] << 8 | p[5 + len]) };
	memcpy(bound->ip.bytes, p + 4, len);
	rt_io_consume(io, 4 + len + 2);
	return reply == 0 ? 0 : err_set(E_IO, "%s", reply < ARRAY_LEN(REPLIES) ? REPLIES[reply] : "unknown failure");
}

int smtp_socks_handshake(struct rt_io *io, const struct source_opts *o, const struct netaddr *to, struct netaddr *bound)
{
	struct netaddr from = { .ip = o->socks5_proxy_source_address }, unused;
	int rc = socks_login(io, o);
	if (rc < 0)
		return rc;
	if ((rc = socks_command(io, 2, &from, bound)) < 0) {	/* BIND: which address it shall connect from */
		err_prefix("requesting source address");
		return rc;
	}
	return socks_command(io, 1, to, &unused);
}

/* --- connecting -------------------------------------------------------------------------------------------------------------------------- */

bool smtp_proxy_used(const struct source_opts *o)
{
	return (o->socks5_proxy_server.ptr && o->socks5_proxy_source_address.family) || (o->ha_proxy_server.ptr && o->ha_proxy_source_address.family);
}

static int dial(const struct source_opts *o, const struct netaddr *to, int64_t deadline_ms, struct rt_io **out)
{
	int fd, rc = rt_connect(to, o->source_address.family ? &o->source_address : NULL, MAX(deadline_ms - rt_now_ms(), (int64_t)1), &fd);
	if (rc == 0)
		*out = rt_io_from_fd(fd);
	return rc;
}

/* The proxy by address or by name: each of its addresses in turn. */
static int dial_proxy(const struct source_opts *o, struct slice server, int64_t deadline_ms, struct rt_io **out, struct netaddr *at)
{
	struct slice host;
	uint16_t port;
	struct dns_addrs found = { 0 };
	int rc;

	if (netaddr_parse(server, 0, at) == 0)
		return dial(o, at, deadline_ms, out);
	if (!dns_split_port(server, &host, &port))
		return err_set(E_INVAL, "%.*s is no host:port", SLICE_ARG(server));
	if ((rc = dns_lookup_ip(NULL, host, IP_V4_AND_V6, &found)) < 0)
		return rc;
	rc = err_set(E_DNS, "%.*s has no address", SLICE_ARG(host));
	for (size_t i = 0; i < found.n && rc < 0 && rt_check() == 0; i++) {
		*at = (struct netaddr){ .ip = found.addrs[i], .port = port };
		rc = dial(o, at, deadline_ms, out);
	}
	free(found.addrs);
	return rc;
}

int smtp_proxy_open(struct dispatcher *d, struct rt_io **out)
{
	struct smtp_session *s = d->state;
	const struct source_opts *o = source_opts_of(d->rq->source);
	bool socks = o->socks5_proxy_server.ptr && o->socks5_proxy_source_address.family;
	struct slice server = socks ? o->socks5_proxy_server : o->ha_proxy_server;
	int64_t deadline_ms = rt_now_ms() + dispatch_path(d)->connect_timeout / 1000000;

	s->source = (struct netaddr){ .ip = o->ha_proxy_source_address };
	int rc = dial_proxy(o, server, deadline_ms, out, &s->proxy);
	if (rc == 0) {
		int64_t left = MAX(deadline_ms - rt_now_ms(), (int64_t)1);
		rt_io_set_timeout(*out, left, left);
		rc = socks ? smtp_socks_handshake(*out, o, &s->remote, &s->source) : ha_handshake(*out, &o->ha_proxy_source_address, &s->remote);
		if (rc < 0)
			rt_io_close(out);
		else
			rt_io_set_timeout(*out, INT64_MAX, INT64_MAX);
	}
	if (rc < 0 && rc != -E_CANCELED) {
		smtp_count_failure(SMTP_FAILED_PROXY);
		source_failed(o, SOURCE_PROXY);
		err_prefix("failed to connect through %s proxy %.*s", socks ? "SOCKS5" : "HA", SLICE_ARG(server));
	}
	s->via = rc < 0 ? NULL : socks ? "socks5" : "haproxy";
	return rc;
}
