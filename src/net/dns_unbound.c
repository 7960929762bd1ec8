/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lookups by libunbound. It validates on a thread that it makes itself (ub_ctx_async); a thread of ours waits for its results, turns them
 * into answers and sets the promises of the fibers that asked. Its cache is left small: ours is in front and shared by all shards.
 */
#include "net/dns_impl.h"
#include "base/xalloc.h"
#include "net/ttl_cache.h"
#include "rt/clock.h"
#include "rt/fiber.h"
#include "rt/sync.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unbound.h>
#include <unistd.h>

#define FAIL_TTL_MS 10000
#define TTL_MAX_MS (86400 * 1000LL)

struct resolver {
	struct dns_resolver base;
	struct dns_unbound_conf conf;	/* its texts are not kept */
	struct ub_ctx *ctx;
	struct ttl_cache *cache;
	pthread_t thread;
	int stop_fd;
};

struct query {
	struct resolver *r;
	enum dns_type type;
	_Atomic int refs;	/* the fiber that waits, and the callback */
	struct rt_promise done;
};

/* The root's key-signing keys of 2017 and 2024, as IANA publishes them. */
static const char *const ROOT_ANCHORS[] = {
	". IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D",
	". IN DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16",
};

/* libunbound answers these itself unless told otherwise; mail for them is the operator's business. */
#define HOSTS_ZONES 2	/* the last ones hold what /etc/hosts says */
static const char *const LOCAL_ZONES[] = { "test.", "invalid.", "onion.", "home.arpa.", "localhost.", "127.in-addr.arpa." };

static void query_unref(struct query *q)
{
	struct dns_answer *a = q->done.value;

	if (--q->refs)
		return;
	dns_answer_unref(&a);
	rt_promise_fini(&q->done);
	free(q);
}

static int64_t clamp_ttl(const struct dns_unbound_conf *c, bool positive, int64_t ms)
{
	int64_t lo = positive ? c->positive_min_ms : c->negative_min_ms, hi = positive ? c->positive_max_ms : c->negative_max_ms;

	if (lo && ms < lo)
		ms = lo;
	if (hi && ms > hi)
		ms = hi;
	return MIN(ms, TTL_MAX_MS);
}

static struct dns_answer *to_answer(struct query *q, int err, const struct ub_result *res)
{
	struct dns_builder b = { 0 };
	struct buf scratch = { 0 };
	struct dns_rr rr;

	if (err || !res)
		return dns_answer_simple(DNS_FAIL, false, FAIL_TTL_MS, ub_strerror(err));
	if (res->bogus)
		return dns_answer_simple(DNS_FAIL, false, FAIL_TTL_MS, res->why_bogus ? res->why_bogus : "DNSSEC validation failed");
	if (res->rcode != 0 && res->rcode != 3)
		return dns_answer_simple(DNS_FAIL, false, FAIL_TTL_MS, res->rcode == 2 ? "SERVFAIL" : "the name server answered with an error");
	b.status = res->nxdomain ? DNS_NXDOMAIN : DNS_NODATA;
	b.secure = res->secure;
	b.canon = slice_from_cstr(res->canonname);
	for (int i = 0; res->havedata && res->data && res->data[i]; i++) {
		if (dns_rr_from_wire(q->type, slice_new(res->data[i], res->len[i]), &scratch, &rr) == 0) {
			dns_builder_add(&b, &rr);
			b.status = DNS_OK;
		}
	}
	b.expires_ms = rt_now_ms() + clamp_ttl(&q->r->conf, b.status == DNS_OK, res->ttl * 1000LL);
	buf_fini(&scratch);
	return dns_builder_pack(&b);
}

static void on_result(void *arg, int err, struct ub_result *res)
{
	struct query *q = arg;
	struct dns_answer *a = to_answer(q, err, res);

	ub_resolve_free(res);
	rt_promise_set(&q->done, 0, a);
	query_unref(q);
}

static int query_run(struct resolver *r, struct slice name, enum dns_type type, struct dns_answer **out)
{
	struct query *q = xzalloc(sizeof *q);
	struct rt_deadline deadline;
	void *value;
	int id;
	char *text = xmemdup0(name.ptr, name.len);

	q->r = r;
	q->type = type;
	q->refs = 2;
	rt_promise_init(&q->done);
	int err = ub_resolve_async(r->ctx, text, type, 1, q, on_result, &id);
	free(text);
	if (err) {
		q->refs--;
		query_unref(q);
		*out = dns_answer_simple(DNS_FAIL, false, FAIL_TTL_MS, ub_strerror(err));
		return 0;
	}
	rt_deadline_push(&deadline, r->conf.timeout_ms);
	int rc = rt_promise_wait(&q->done, &value);
	if (rt_deadline_pop(&deadline) && rc == -E_TIMEOUT) {
		*out = dns_answer_simple(DNS_FAIL, false, FAIL_TTL_MS, "no name server answered in time");
		rc = 0;
	} else if (rc == 0) {
		*out = dns_answer_ref(value);
	}
	query_unref(q);
	return rc;
}

struct load {
	struct resolver *r;
	struct slice name;
	enum dns_type type;
};

static int load_answer(void *arg, void **value, int64_t *expires_ms)
{
	struct load *l = arg;
	struct dns_answer *a = NULL;
	int rc = query_run(l->r, l->name, l->type, &a);

	if (rc < 0)
		return rc;
	*value = a;
	*expires_ms = a->expires_ms;
	return 0;
}

static int resolver_lookup(struct dns_resolver *base, struct slice name, enum dns_type type, struct dns_answer **out)
{
	struct resolver *r = CONTAINER_OF(base, struct resolver, base);
	struct load l = { r, name, type };
	struct buf key = { 0 };

	buf_printf(&key, "%d %.*s", type, SLICE_ARG(name));
	int rc = ttl_cache_load(r->cache, buf_view(&key), load_answer, &l, (void **)out);
	buf_fini(&key);
	return rc;
}

static void *result_thread(void *arg)
{
	struct resolver *r = arg;
	struct pollfd fds[2] = { { ub_fd(r->ctx), POLLIN, 0 }, { r->stop_fd, POLLIN, 0 } };

	for (;;) {
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			return NULL;
		if (fds[1].revents)
			return NULL;
		if (fds[0].revents)
			ub_process(r->ctx);
	}
}

static void resolver_destroy(struct dns_resolver *base)
{
	struct resolver *r = CONTAINER_OF(base, struct resolver, base);
	uint64_t one = 1;

	if (r->thread) {
		if (write(r->stop_fd, &one, sizeof one) < 0)
			assert(!"eventfd");
		pthread_join(r->thread, NULL);
	}
	if (r->ctx)
		ub_ctx_delete(r->ctx);
	if (r->stop_fd >= 0)
		close(r->stop_fd);
	ttl_cache_destroy(&r->cache);
	free(r);
}

/* --- options ----------------------------------------------------------------------------------------------------------- */

static int set(struct resolver *r, const char *name, const char *value)
{
	int err = ub_ctx_set_option(r->ctx, name, value);

	return err ? err_set(E_INVAL, "libunbound: %s %s: %s", name, value, ub_strerror(err)) : 0;
}

static int add_server(struct resolver *r, struct slice server)
{
	struct netaddr at;
	char text[80];
	struct buf ip = { 0 };

	int rc = netaddr_parse(server, 53, &at);
	if (rc < 0 || at.path[0])
		return err_set(E_INVAL, "name server: '%.*s'", SLICE_ARG(server));
	ipaddr_put(&ip, &at.ip);
	snprintf(text, sizeof text, "%s@%u", buf_cstr(&ip), at.port);
	buf_fini(&ip);
	int err = ub_ctx_set_fwd(r->ctx, text);
	return err ? err_set(E_INVAL, "name server %s: %s", text, ub_strerror(err)) : 0;
}

/* libunbound has one list for all servers, and chooses the port itself. */
static int add_bind_addr(struct resolver *r, struct slice addr)
{
	struct netaddr from;
	struct buf ip = { 0 };

	if (netaddr_parse(addr, 0, &from) < 0 || from.path[0])
		return err_set(E_INVAL, "bind_addr of a name server: '%.*s' is no IP:PORT", SLICE_ARG(addr));
	ipaddr_put(&ip, &from.ip);
	int rc = set(r, "outgoing-interface:", buf_cstr(&ip));
	buf_fini(&ip);
	return rc;
}

static int seed_anchor_file(const char *path)
{
	struct stat st;

	if (stat(path, &st) == 0 && st.st_size > 0)
		return 0;
	FILE *f = fopen(path, "w");
	if (!f)
		return err_errno(E_IO, "%s", path);
	for (size_t i = 0; i < ARRAY_LEN(ROOT_ANCHORS); i++)
		fprintf(f, "%s\n", ROOT_ANCHORS[i]);
	return fclose(f) ? err_errno(E_IO, "%s", path) : 0;
}

static int set_anchors(struct resolver *r, const struct dns_unbound_conf *c)
{
	int rc = 0, err = 0;
	char *path;

	if (c->managed_anchor_file.len) {
		path = xmemdup0(c->managed_anchor_file.ptr, c->managed_anchor_file.len);
		if ((rc = seed_anchor_file(path)) == 0 && (err = ub_ctx_add_ta_autr(r->ctx, path)) != 0)
			rc = err_set(E_INVAL, "trust_anchor_file %s: %s", path, ub_strerror(err));
		free(path);
		return rc;
	}
	if (c->anchor_file.len) {
		path = xmemdup0(c->anchor_file.ptr, c->anchor_file.len);
		/* libunbound would find out at the first lookup, and refuse that and all others */
		if (access(path, R_OK) < 0)
			rc = err_errno(E_IO, "trust_anchor_file %s", path);
		else if ((err = ub_ctx_add_ta_file(r->ctx, path)) != 0)
			rc = err_set(E_INVAL, "trust_anchor_file %s: %s", path, ub_strerror(err));
		free(path);
		if (rc < 0)
			return rc;
	}
	for (size_t i = 0; c->validate && i < ARRAY_LEN(ROOT_ANCHORS); i++) {
		if ((err = ub_ctx_add_ta(r->ctx, ROOT_ANCHORS[i])) != 0)
			return err_set(E_INVAL, "libunbound: trust anchor: %s", ub_strerror(err));
	}
	return 0;
}

static int set_options(struct resolver *r, const struct dns_unbound_conf *c)
{
	static const char *const PLAIN[][2] = {
		{ "do-not-query-localhost:", "no" },
		{ "unblock-lan-zones:", "yes" },
		{ "insecure-lan-zones:", "yes" },
		{ "msg-cache-size:", "512k" },
		{ "rrset-cache-size:", "1m" },
	};
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(PLAIN); i++)
		rc = set(r, PLAIN[i][0], PLAIN[i][1]);
	if (rc == 0 && !c->validate && !c->anchor_file.len && !c->managed_anchor_file.len)
		rc = set(r, "module-config:", "iterator");
	if (rc == 0 && c->tcp_only)
		rc = set(r, "tcp-upstream:", "yes");
	if (rc == 0 && c->random_case)
		rc = set(r, "use-caps-for-id:", "yes");
	if (rc == 0 && c->small_answers)
		rc = set(r, "edns-buffer-size:", "512");
	for (size_t i = 0; rc == 0 && i < c->n_servers; i++) {
		rc = add_server(r, c->servers[i]);
		if (rc == 0 && c->bind_addrs[i].ptr != NULL)
			rc = add_bind_addr(r, c->bind_addrs[i]);
	}
	if (rc == 0)
		rc = set_anchors(r, c);
	if (rc == 0 && c->hosts_file)
		(void)ub_ctx_hosts(r->ctx, NULL); /* there may be none */
	return rc;
}

static void *answer_ref(void *a)
{
	return dns_answer_ref(a);
}

static void answer_unref(void *a)
{
	struct dns_answer *answer = a;

	dns_answer_unref(&answer);
}

static int start_thread(struct resolver *r)
{
	sigset_t all, old;

	r->stop_fd = eventfd(0, EFD_CLOEXEC);
	if (r->stop_fd < 0)
		return err_errno(E_IO, "eventfd");
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int err = pthread_create(&r->thread, NULL, result_thread, r);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (err) {
		r->thread = 0;
		return err_set(E_IO, "starting the DNS thread: %s", strerror(err));
	}
	return 0;
}

int dns_unbound_create(const struct dns_unbound_conf *conf, struct dns_resolver **out)
{
	static const struct dns_resolver_ops OPS = { resolver_lookup, resolver_destroy };
	struct resolver *r = xzalloc(sizeof *r);
	struct ttl_cache_conf cache = { "dns_resolver", conf->cache_size, answer_ref, answer_unref };

	r->base.ops = &OPS;
	r->base.refs = 1;
	r->conf = *conf;
	r->stop_fd = -1;
	r->cache = ttl_cache_create(&cache);
	r->ctx = ub_ctx_create();
	int rc = r->ctx ? 0 : err_set(E_IO, "libunbound: no context");
	if (rc == 0)
		rc = set_options(r, conf);
	if (rc == 0 && ub_ctx_async(r->ctx, 1))
		rc = err_set(E_IO, "libunbound: no thread");
	/* Last: from here on the context takes no more options. */
	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(LOCAL_ZONES) - (conf->hosts_file ? HOSTS_ZONES : 0); i++)
		(void)ub_ctx_zone_remove(r->ctx, LOCAL_ZONES[i]);
	if (rc == 0)
		rc = start_thread(r);
	if (rc < 0) {
		resolver_destroy(&r->base);
		return rc;
	}
	*out = &r->base;
	return 0;
}
