/* SPDX-License-Identifier: Apache-2.0 */
/* Mail exchangers: which hosts take a domain's mail, what their site is called, and their addresses. */
#include "net/dns_impl.h"
#include "base/rand.h"
#include "base/xalloc.h"
#include "net/ttl_cache.h"
#include "rt/clock.h"
#include "rt/diag.h"
#include "rt/fiber.h"
#include "rt/metrics.h"
#include "rt/sync.h"
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define MX_CACHE_ENTRIES 65536
#define STS_RETRY_MS 300000
#define HOSTS_MAX 512

static struct metric_family IN_PROGRESS = METRIC_GAUGE("dns_mx_resolve_in_progress", "number of MX resolutions that are under way");
static struct metric_family STATUS_OK = METRIC_COUNTER("dns_mx_resolve_status_ok", "MX resolutions that gave a result");
static struct metric_family STATUS_FAIL = { .name = "dns_mx_resolve_status_fail", .help = "MX resolutions that failed", .kind = METRIC_COUNTER_K, .keep = true };
static struct metric_family CACHE_HIT = { .name = "dns_mx_resolve_cache_hit", .help = "MX resolutions answered from the cache", .kind = METRIC_COUNTER_K, .striped = true };
static struct metric_family CACHE_MISS = METRIC_COUNTER("dns_mx_resolve_cache_miss", "MX resolutions that asked the resolver");
static struct metric_family STS_IMPOSSIBLE = { .name = "dns_mx_resolve_mta_sts_impossible", .help = "domains whose MTA-STS policy permits none of their hosts",
					       .kind = METRIC_COUNTER_K, .keep = true };
static struct { struct metric *in_progress, *ok, *hit, *miss; } count;	/* the others are made when there is something to count */

static struct ttl_cache *cache;
static struct rt_sem slots;
static _Atomic int64_t timeout_ms = 5000, negative_ttl_ms = 300000, slots_n = 128;
static _Atomic bool sts_enabled = true;
static mx_sts_cb sts_check;

static void *site_ref(void *m)
{
	return mx_site_ref(m);
}

static void site_unref(void *m)
{
	struct mx_site *site = m;

	mx_site_unref(&site);
}

static pthread_once_t once = PTHREAD_ONCE_INIT;
static void init(void)
{
	static const struct ttl_cache_conf CONF = { "dns_resolver_mx", MX_CACHE_ENTRIES, site_ref, site_unref };

	rt_sem_init(&slots, slots_n);
	count.in_progress = metric_get(&IN_PROGRESS);
	count.ok = metric_get(&STATUS_OK);
	count.hit = metric_get(&CACHE_HIT);
	count.miss = metric_get(&CACHE_MISS);
	cache = ttl_cache_create(&CONF);
}

__attribute__((constructor)) static void register_metrics(void)
{
	metric_register(&IN_PROGRESS);
	metric_register(&STATUS_OK);
	metric_register(&STATUS_FAIL);
	metric_register(&CACHE_HIT);
	metric_register(&CACHE_MISS);
	metric_register(&STS_IMPOSSIBLE);
}

static void count_once(struct metric_family *f)
{
	struct metric *m = metric_get(f);

	metric_add(m, 1);
	metric_unref(&m);
}

void mx_set_timeout(int64_t ms) { timeout_ms = ms; }
void mx_set_negative_ttl(int64_t ms) { negative_ttl_ms = ms; }
void mx_set_sts_enabled(bool on) { sts_enabled = on; }
void mx_set_sts(mx_sts_cb cb) { sts_check = cb; }

void mx_set_concurrency(int64_t n)
{
	pthread_once(&once, init);
	int64_t old = atomic_exchange(&slots_n, n);
	rt_sem_resize(&slots, n - old);
}

void mx_forget(void)
{
	pthread_once(&once, init);
	ttl_cache_clear(cache);
}

struct mx_site *mx_site_ref(struct mx_site *m)
{
	m->refs++;
	return m;
}

void mx_site_unref(struct mx_site **mp)
{
	struct mx_site *m = *mp;

	*mp = NULL;
	if (m && --m->refs == 0)
		free(m);
}

/* --- site names -------------------------------------------------------------------------------------------------------- */

#define LABELS_MAX 128

struct factor {
	struct slice labels[LABELS_MAX];	/* from the right */
	size_t n;
	struct slice port;			/* ":587" goes to the rightmost label */
};

static void factor_split(struct factor *f, struct slice host)
{
	struct slice name = host, label;
	uint16_t port;

	f->n = 0;
	f->port = SLICE_NONE;
	if (dns_split_port(host, &name, &port))
		f->port = slice_sub(host, name.len, SIZE_MAX);
	if (name.len && name.ptr[name.len - 1] == '.')
		name.len--;
	while (name.len && f->n < LABELS_MAX) {
		ptrdiff_t dot = slice_rchr(name, '.');
		label = slice_sub(name, dot + 1, SIZE_MAX);
		f->labels[f->n++] = label;
		name.len = dot < 0 ? 0 : dot;
	}
}

static bool factor_same(const struct factor *a, const struct factor *b, size_t i)
{
	return slice_eq_nocase(a->labels[i], b->labels[i]) && (i > 0 || slice_eq(a->port, b->port));
}

/* The alternatives of one position, in order of first appearance; "?" when some name is shorter. */
static void factor_put(struct buf *out, const struct factor *f, size_t n, size_t i)
{
	bool shorter = false;
	size_t different = 0;
	size_t start = out->len;

	for (size_t k = 0; k < n; k++) {
		bool seen = false;
		if (f[k].n <= i) {
			shorter = true;
			continue;
		}
		for (size_t j = 0; j < k && !seen; j++)
			seen = f[j].n > i && factor_same(&f[j], &f[k], i);
		if (seen)
			continue;
		buf_putc(out, different++ ? '|' : '(');
		for (size_t c = 0; c < f[k].labels[i].len; c++)
			buf_putc(out, ascii_lower(f[k].labels[i].ptr[c]));
		if (i == 0)
			buf_slice(out, f[k].port);
	}
	if (different == 1) {
		memmove(out->ptr + start, out->ptr + start + 1, out->len - start - 1);
		buf_truncate(out, out->len - 1);
	} else {
		buf_putc(out, ')');
	}
	if (shorter)
		buf_putc(out, '?');
}

void mx_site_name_put(struct buf *b, const struct slice *hosts, size_t n)
{
	struct factor *f = xcalloc(n ? n : 1, sizeof *f);
	size_t longest = 0;

	for (size_t i = 0; i < n; i++) {
		factor_split(&f[i], hosts[i]);
		longest = MAX(longest, f[i].n);
	}
	for (size_t i = longest; i-- > 0;) {
		factor_put(b, f, n, i);
		if (i)
			buf_putc(b, '.');
	}
	free(f);
}

/* --- building a site --------------------------------------------------------------------------------------------------- */

struct draft {
	struct slice domain, error;
	int status;
	bool is_domain_literal, is_mx, is_secure;
	enum mx_sts mta_sts;
	struct mx_host *hosts;
	uint32_t n;
	int64_t expires_ms;
};

static struct slice place(char **at, struct slice s)
{
	char *p = *at;

	if (s.len)
		memcpy(p, s.ptr, s.len);
	p[s.len] = 0;
	*at += s.len + 1;
	return slice_new(p, s.len);
}

static struct mx_site *site_pack(const struct draft *d)
{
	struct buf name = { 0 };
	size_t bytes = d->domain.len + d->error.len + 3;

	if (d->n) {
		struct slice *names = xcalloc(d->n, sizeof *names);
		for (uint32_t i = 0; i < d->n; i++) {
			names[i] = d->hosts[i].name;
			bytes += names[i].len + 1;
		}
		if (d->is_domain_literal)
			buf_slice(&name, names[0]);
		else
			mx_site_name_put(&name, names, d->n);
		free(names);
	}
	struct mx_site *m = xzalloc(sizeof *m + d->n * sizeof *m->hosts + bytes + name.len);
	m->refs = 1;
	m->status = d->status;
	m->is_domain_literal = d->is_domain_literal;
	m->is_mx = d->is_mx;
	m->is_secure = d->is_secure;
	m->mta_sts = d->mta_sts;
	m->expires_ms = d->expires_ms;
	m->n = d->n;
	m->hosts = (struct mx_host *)(m + 1);
	char *at = (char *)(m->hosts + d->n);
	for (uint32_t i = 0; i < d->n; i++) {
		m->hosts[i].preference = d->hosts[i].preference;
		m->hosts[i].name = place(&at, d->hosts[i].name);
		if (slice_eq(m->hosts[i].name, SLICE(".")))
			m->status = MX_NULL;
	}
	m->domain = place(&at, d->domain);
	m->site_name = place(&at, buf_view(&name));
	m->error = place(&at, d->error);
	buf_fini(&name);
	return m;
}

static int host_cmp(const void *x, const void *y)
{
	const struct mx_host *a = x, *b = y;

	return a->preference != b->preference ? (a->preference < b->preference ? -1 : 1) : slice_cmp(a->name, b->name);
}

static int sts_apply(struct draft *d)
{
	bool keep[HOSTS_MAX];
	int64_t max_age_s = INT64_MAX / 2000;
	uint32_t n = 0;

	memset(keep, true, sizeof keep);
	int rc = sts_check(d->domain, d->hosts, d->n, keep, &d->mta_sts, &max_age_s);
	if (rc == -E_POLICY) {
		count_once(&STS_IMPOSSIBLE);
		return rc;
	}
	if (rc == -E_CANCELED)
		return rc;
	if (rc < 0) {	/* no policy could be had: none applies, but ask again soon */
		diag_debug("mta-sts", "%.*s: %s", SLICE_ARG(d->domain), err_text());
		d->expires_ms = MIN(d->expires_ms, rt_now_ms() + STS_RETRY_MS);
		return 0;
	}
	for (uint32_t i = 0; i < d->n; i++) {
		if (keep[i])
			d->hosts[n++] = d->hosts[i];
	}
	d->n = n;
	d->expires_ms = MIN(d->expires_ms, rt_now_ms() + max_age_s * 1000);
	return 0;
}

static void hosts_of(struct draft *d, const struct dns_answer *a, struct slice port, struct arena *arena)
{
	d->n = MIN(a->n, (uint32_t)HOSTS_MAX);
	d->hosts = arena_alloc(arena, (d->n ? d->n : 1) * sizeof *d->hosts);
	for (uint32_t i = 0; i < d->n; i++) {
		d->hosts[i].preference = a->rrs[i].preference;
		d->hosts[i].name = port.len ? arena_slicef(arena, "%.*s%.*s", SLICE_ARG(a->rrs[i].name), SLICE_ARG(port)) : a->rrs[i].name;
	}
	qsort(d->hosts, d->n, sizeof *d->hosts, host_cmp);
	d->is_mx = true;
	if (d->n)
		return;
	d->n = 1;	/* RFC 5321 5.1: no MX, the domain itself */
	d->is_mx = false;
	d->hosts[0].preference = 1;
	d->hosts[0].name = arena_slicef(arena, "%.*s%.*s", SLICE_ARG(d->domain), SLICE_ARG(port));
}

static void put_elapsed(struct buf *b, int64_t us)
{
	if (us < 1000)
		buf_printf(b, "%lld\302\265s", (long long)us);
	else if (us < 1000000)
		buf_printf(b, "%.3fms", us / 1e3);
	else
		buf_printf(b, "%.3fs", us / 1e6);
}

static void draft_fail(struct draft *d, struct arena *arena, struct slice asked, int64_t started_us, bool nxdomain, struct slice why)
{
	struct buf b = { 0 };

	buf_printf(&b, "MX lookup for %.*s failed after ", SLICE_ARG(asked));
	put_elapsed(&b, rt_now_us_exact() - started_us);
	buf_printf(&b, ": %.*s", SLICE_ARG(why));
	d->status = nxdomain ? MX_NXDOMAIN : MX_FAIL;
	d->error = arena_dup(arena, buf_view(&b));
	d->expires_ms = rt_now_ms() + negative_ttl_ms;
	buf_fini(&b);
}

struct mx_query {
	struct dns_resolver *resolver;
	struct slice asked, domain, port;	/* as given; "a.example."; ":587" or empty */
	bool loaded;				/* it was not in the cache */
};

static int ask(const struct mx_query *q, struct dns_answer **a)
{
	struct rt_deadline deadline;

	int rc = rt_sem_wait(&slots);
	if (rc < 0)
		return rc;
	metric_add(count.in_progress, 1);
	metric_add(count.miss, 1);
	rt_deadline_push(&deadline, timeout_ms);
	rc = dns_lookup(q->resolver, q->domain, DNS_MX, a);
	if (rt_deadline_pop(&deadline) && rc == -E_TIMEOUT) {
		*a = dns_answer_simple(DNS_FAIL, false, 0, "deadline has elapsed");
		rc = 0;
	}
	metric_add(count.in_progress, -1);
	rt_sem_post(&slots);
	return rc;
}

static int resolve(const struct mx_query *q, struct mx_site **out)
{
	struct dns_answer *a;
	int64_t started = rt_now_us_exact();
	int rc = ask(q, &a);

	if (rc < 0)
		return rc;
	struct arena *arena = arena_create();
	struct draft d = { .domain = q->domain, .status = MX_OK, .is_secure = a->secure, .expires_ms = a->expires_ms };
	if (a->status == DNS_NXDOMAIN || a->status == DNS_FAIL) {
		draft_fail(&d, arena, q->asked, started, a->status == DNS_NXDOMAIN, a->status == DNS_NXDOMAIN ? SLICE("NXDOMAIN") : a->error);
	} else {
		hosts_of(&d, a, q->port, arena);
		if (d.is_mx && sts_enabled && sts_check)
			rc = sts_apply(&d);
		if (rc == -E_POLICY) {
			d.status = MX_FAIL;
			d.error = arena_dup(arena, slice_from_cstr(err_text()));
			d.expires_ms = rt_now_ms() + negative_ttl_ms;
			d.n = 0;
			rc = 0;
		}
	}
	if (rc == 0)
		*out = site_pack(&d);
	arena_destroy(&arena);
	dns_answer_unref(&a);
	return rc;
}

/* --- literals ---------------------------------------------------------------------------------------------------------- */

static int literal_addr(struct slice literal, struct ipaddr *ip)
{
	if (slice_starts_nocase(literal, SLICE("ipv6:"))) {
		literal = slice_sub(literal, 5, SIZE_MAX);
		if (ipaddr_parse(literal, ip) < 0 || ip->family != 6)
			return err_set(E_INVAL, "invalid ipv6 address: `%.*s`: invalid IPv6 address syntax", SLICE_ARG(literal));
		return 0;
	}
	if ((literal.len && literal.ptr[0] == '[') || ipaddr_parse(literal, ip) < 0)
		return err_set(E_INVAL, "invalid address: `%.*s`: invalid IP address syntax", SLICE_ARG(literal));
	return 0;
}

static int resolve_literal(struct slice asked, struct slice name, struct slice port, struct mx_site **out)
{
	struct slice literal, inner;
	struct ipaddr ip;
	uint16_t inner_port;

	if (name.ptr[name.len - 1] != ']')
		return err_set(E_INVAL, "domain_name `%.*s` is a malformed literal domain with no trailing `]`", SLICE_ARG(name));
	literal = slice_sub(name, 1, name.len - 2);
	if (dns_split_port(literal, &inner, &inner_port) && !slice_eq_nocase(inner, SLICE("ipv6"))) {
		if (port.len)
			return err_set(E_INVAL, "invalid address: `%.*s` specifies a port both inside and outside a literal address enclosed in square brackets",
				       SLICE_ARG(name));
		port = slice_sub(literal, inner.len, SIZE_MAX);
		literal = inner;
	}
	int rc = literal_addr(literal, &ip);
	if (rc < 0)
		return rc;
	struct buf host = { 0 };
	if (port.len && ip.family == 6)
		buf_putc(&host, '[');
	ipaddr_put(&host, &ip);
	if (port.len && ip.family == 6)
		buf_putc(&host, ']');
	buf_slice(&host, port);
	struct mx_host h = { 1, buf_view(&host) };
	struct draft d = { .domain = asked, .status = MX_OK, .is_domain_literal = true, .hosts = &h, .n = 1, .expires_ms = INT64_MAX };
	*out = site_pack(&d);
	buf_fini(&host);
	return 0;
}

/* --- entries ----------------------------------------------------------------------------------------------------------- */

/* The cache's key: lower case, without the final dot. */
static struct slice cache_key(struct slice domain, char *out, size_t size)
{
	if (domain.len && domain.ptr[domain.len - 1] == '.')
		domain.len--;
	if (domain.len > size)
		return SLICE_NONE;
	for (size_t i = 0; i < domain.len; i++)
		out[i] = ascii_lower(domain.ptr[i]);
	return slice_new(out, domain.len);
}

void mx_count_remembered(void)
{
	pthread_once(&once, init);
	metric_add(count.hit, 1);
}

static int load_site(void *arg, void **value, int64_t *expires_ms)
{
	struct mx_query *q = arg;
	struct mx_site *m;

	q->loaded = true;
	int rc = resolve(q, &m);
	if (rc < 0)
		return rc;
	*value = m;
	*expires_ms = m->expires_ms;
	return 0;
}

static int resolve_any(struct dns_resolver *r, bool cached, struct slice domain, struct mx_site **out)
{
	struct mx_query q = { .resolver = r, .asked = domain };
	struct slice name = domain;
	uint16_t port;
	char text[512];

	if (dns_split_port(domain, &name, &port))
		q.port = slice_sub(domain, name.len, SIZE_MAX);
	if (name.len && name.ptr[0] == '[')
		return resolve_literal(domain, name, q.port, out);
	struct buf fq = { 0 };
	int rc = dns_name_put(&fq, name);
	q.domain = buf_view(&fq);
	struct slice key = cache_key(domain, text, sizeof text);
	if (rc == 0 && cached && key.ptr)
		rc = ttl_cache_load(cache, key, load_site, &q, (void **)out);
	else if (rc == 0)
		rc = resolve(&q, out);
	if (rc == 0 && cached && key.ptr && !q.loaded)
		mx_count_remembered();
	buf_fini(&fq);
	return rc;
}

static int resolve_counted(struct dns_resolver *r, bool cached, struct slice domain, struct mx_site **out)
{
	pthread_once(&once, init);
	int rc = resolve_any(r, cached, domain, out);
	if (rc == 0 && (*out)->status <= MX_NULL)
		metric_add(count.ok, 1);
	else
		count_once(&STATUS_FAIL);
	return rc;
}

int mx_resolve(struct slice domain, struct mx_site **out)
{
	return resolve_counted(NULL, true, domain, out);
}

int mx_resolve_via(struct dns_resolver *r, struct slice domain, struct mx_site **out)
{
	return resolve_counted(r, false, domain, out);
}

/* --- addresses --------------------------------------------------------------------------------------------------------- */

struct addr_list {
	struct mx_addr *items;
	size_t n;
};

static void addr_add(struct addr_list *l, const struct mx_addr *a)
{
	l->items = xreallocarray(l->items, l->n + 1, sizeof *l->items);
	l->items[l->n++] = *a;
}

static int host_addrs(struct dns_resolver *r, const struct mx_host *h, enum ip_strategy strategy, struct addr_list *l)
{
	struct mx_addr one = { .name = h->name, .preference = h->preference };
	struct dns_addrs found;

	(void)dns_split_port(h->name, &one.name, &one.port);
	if (ipaddr_parse(one.name, &one.addr) == 0) {
		addr_add(l, &one);
		return 0;
	}
	int rc = dns_lookup_ip(r, one.name, strategy, &found);
	if (rc == -E_CANCELED || rc == -E_TIMEOUT)
		return rc;
	if (rc < 0) {
		diag_error("dns", "failed to resolve %.*s: %s", SLICE_ARG(one.name), err_text());
		return 0;
	}
	one.secure = found.secure;
	for (size_t i = 0; i < found.n; i++) {
		one.addr = found.addrs[i];
		addr_add(l, &one);
	}
	free(found.addrs);
	return 0;
}

static void shuffle(struct mx_addr *a, size_t n)
{
	for (size_t i = n; i > 1; i--) {
		size_t j = rand_below(i);
		struct mx_addr t = a[i - 1];
		a[i - 1] = a[j];
		a[j] = t;
	}
}

int mx_addrs(struct dns_resolver *r, const struct mx_site *m, enum ip_strategy strategy, struct mx_addr **out, size_t *n)
{
	struct addr_list l = { 0 };
	size_t level = 0;

	*out = NULL;
	*n = 0;
	if (m->status != MX_OK)
		return 0;
	for (uint32_t i = 0; i < m->n; i++) {
		int rc = host_addrs(r, &m->hosts[i], strategy, &l);
		if (rc < 0) {
			free(l.items);
			return rc;
		}
		if (i + 1 == m->n || m->hosts[i + 1].preference != m->hosts[i].preference) {
			shuffle(l.items + level, l.n - level);
			level = l.n;
		}
	}
	*out = l.items;
	*n = l.n;
	return 0;
}
