/* SPDX-License-Identifier: Apache-2.0 */
/* plan - which hosts a session will try, and the queues that can be answered without trying any. */
#include <stdlib.h>
#include "base/xalloc.h"
#include "queue/record.h"
#include "smtp/client/session.h"

static void host_add(struct smtp_session *s, struct slice name, struct netaddr addr, bool secure)
{
	s->hosts = xreallocarray(s->hosts, s->n_hosts + 1, sizeof *s->hosts);
	s->hosts[s->n_hosts++] = (struct candidate){ .name = xmemdup0(name.ptr, name.len), .addr = addr, .secure = secure };
}

/* "[address]" or "[IPv6:address]" (RFC 5321 4.1.3), perhaps with ":port" behind it. */
static int cut_literal(struct slice name, struct slice *label, struct netaddr *addr)
{
	ptrdiff_t end = slice_chr(name, ']');
	struct slice ip = end < 0 ? SLICE("") : slice_sub(name, 1, (size_t)end - 1), port = end < 0 ? SLICE("") : slice_sub(name, (size_t)end + 1, SIZE_MAX);
	uint64_t n = 0;

	if (slice_starts_nocase(ip, SLICE("ipv6:")))
		ip = slice_sub(ip, 5, SIZE_MAX);
	if (ipaddr_parse(ip, &addr->ip) < 0)
		return err_set(E_INVAL, "there is no address in square brackets");
	if (port.len && (port.ptr[0] != ':' || slice_to_u64(slice_sub(port, 1, SIZE_MAX), &n) < 0 || n > UINT16_MAX))
		return err_set(E_INVAL, "`%.*s` is no port", SLICE_ARG(port));
	addr->port = (uint16_t)n;
	*label = slice_sub(name, 0, (size_t)end + 1);
	return 0;
}

/* A host's name or its address, with a port or without, as an entry of mx_list. */
static int add_name(struct dispatcher *d, struct slice name)
{
	struct smtp_session *s = d->state;
	struct netaddr addr = { 0 };
	struct slice label = name;
	struct dns_addrs found;
	int rc = 0;

	if (name.len && name.ptr[0] == '[')
		rc = cut_literal(name, &label, &addr);
	else if (!dns_split_port(name, &label, &addr.port))
		label = name;
	if (rc < 0) {
		err_prefix("resolving mx_list entry %.*s", SLICE_ARG(name));
		return rc;
	}
	if (addr.ip.family || ipaddr_parse(label, &addr.ip) == 0) {
		host_add(s, label, addr, false);	/* no name to ask TLSA records of */
		return 0;
	}
	rc = dns_lookup_ip(NULL, label, (enum ip_strategy)dispatch_path(d)->ip_lookup_strategy, &found);
	if (rc < 0) {
		err_prefix("resolving mx_list entry %.*s", SLICE_ARG(name));
		return rc;
	}
	for (size_t i = 0; i < found.n; i++) {
		addr.ip = found.addrs[i];
		host_add(s, label, addr, found.secure);
	}
	free(found.addrs);
	return 0;
}

static int add_mx_list(struct dispatcher *d, const struct queue_protocol_opts *o)
{
	int rc = 0;

	for (size_t i = 0; i < o->n_mx_list && rc == 0; i++) {
		const struct mx_list_entry *e = &o->mx_list[i];
		if (e->resolved)
			host_add(d->state, e->name, e->addr, e->secure);
		else
			rc = add_name(d, e->name);
	}
	return rc;
}

static int add_exchangers(struct dispatcher *d)
{
	const struct mx_site *mx = d->rq->mx;
	struct mx_addr *found;
	size_t n;

	if (mx == NULL)
		return 0;
	if (mx->status == MX_NULL) {
		dispatch_bulk(d, response_of(556, 110, SLICE("Recipient address has a null MX")), WHY_NULL_MX);
		return 1;
	}
	int rc = mx_addrs(NULL, mx, (enum ip_strategy)dispatch_path(d)->ip_lookup_strategy, &found, &n);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < n; i++)
		host_add(d->state, found[i].name, (struct netaddr){ .ip = found[i].addr, .port = found[i].port }, found[i].secure);
	free(found);
	return 0;
}

static void put_set(struct buf *b, const struct cidr_set *set)
{
	buf_putc(b, '[');
	for (size_t i = 0; i < set->n; i++) {
		buf_cstr_put(b, i ? ", \"" : "\"");
		cidr_put(b, &set->items[i]);
		buf_putc(b, '"');
	}
	buf_putc(b, ']');
}

static bool is_prohibited(struct dispatcher *d)
{
	const struct cidr_set *set = &dispatch_path(d)->prohibited_hosts;
	struct smtp_session *s = d->state;
	struct buf b = { 0 };

	for (size_t i = 0; set->n && i < s->n_hosts; i++) {
		if (!cidr_set_has(set, &s->hosts[i].addr.ip))
			continue;
		buf_printf(&b, "%s/", s->hosts[i].name);
		ipaddr_put(&b, &s->hosts[i].addr.ip);
		buf_lit(&b, " is on the list of prohibited_hosts ");
		put_set(&b, set);
		dispatch_bulk(d, response_of(550, 404, buf_view(&b)), WHY_MX_PROHIBITED);
		buf_fini(&b);
		return true;
	}
	return false;
}

static void leave_skipped_out(struct dispatcher *d)
{
	const struct cidr_set *set = &dispatch_path(d)->skip_hosts;
	struct smtp_session *s = d->state;
	size_t kept = 0;

	for (size_t i = 0; i < s->n_hosts; i++)
		if (set->n && cidr_set_has(set, &s->hosts[i].addr.ip))
			free(s->hosts[i].name);
		else
			s->hosts[kept++] = s->hosts[i];
	s->n_hosts = kept;
}

int smtp_plan(struct dispatcher *d)
{
	const struct queue_protocol_opts *o = dispatch_protocol(d);
	struct smtp_session *s = d->state;
	int rc = o->n_mx_list ? add_mx_list(d, o) : add_exchangers(d);

	s->choice_secure = o->n_mx_list ? o->treat_mx_list_as_secure : d->rq->mx && d->rq->mx->is_secure;
	if (rc != 0)
		return rc;
	smtp_session_trace(d, SMTP_SESSION_BEGIN, SLICE_NONE, NULL);
	if (s->n_hosts == 0) {
		dispatch_bulk(d, response_of(451, 404, SLICE("MX didn't resolve to any hosts")), WHY_NO_HOSTS);
		return 1;
	}
	if (is_prohibited(d))
		return 1;
	leave_skipped_out(d);
	if (s->n_hosts == 0) {
		dispatch_bulk(d, response_of(451, 404, SLICE("KumoMTA internal: MX consisted solely of hosts on the skip_hosts list")), WHY_MX_SKIPPED);
		return 1;
	}
	return 0;
}
