/* SPDX-License-Identifier: Apache-2.0 */
#include "net/redis.h"
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>
#include "base/encode.h"
#include "base/xalloc.h"
#include "net/connect.h"
#include "rt/clock.h"
#include "rt/fiber.h"
#include "rt/io.h"
#include "rt/loop.h"
#include "rt/metrics.h"
#include "tls/tls.h"

#define MAGIC OBJ_MAGIC('R', 'e', 'd', 'i')
#define DEFAULT_PORT 6379
#define SHARDS_MAX 256
#define REPLY_MAX ((size_t)REDIS_BULK_MAX + 65536)

static struct metric_family LATENCY = METRIC_HISTOGRAM("redis_operation_latency", "how long an operation of a Redis server took", "service", "operation", "status");
enum operation { OP_QUERY, OP_SCRIPT, OPS };

struct idle {
	struct list node;
	struct rt_io *io;
};
struct redis_client {
	uint32_t magic;
	_Atomic uint32_t refs;
	/* immutable */
	char *host, *user, *password, *db;
	uint16_t port;
	int64_t connect_timeout_ms, response_timeout_ms;
	size_t pool_size;
	struct tls_ctx *tls;	/* rediss://; NULL: plain */
	char service[320];	/* label of the metrics */
	_Atomic(struct metric *) latency[OPS][2];	/* failed or not; made when first observed */
	/* each owned by its shard */
	struct {
		struct list idle;
		size_t n;
	} pools[SHARDS_MAX];
};

__attribute__((constructor)) static void register_metrics(void)
{
	metric_register_kept(&LATENCY);	/* policies open clients and let go of them */
}

static char *decoded(struct slice s)
{
	struct buf b = { 0 };
	size_t len;
	if (percent_decode(&b, s) < 0)
		buf_slice(&b, s);
	return buf_take(&b, &len);
}

static int parse_url(struct slice url, struct redis_client *c)
{
	struct slice part;
	uint64_t port = DEFAULT_PORT;
	const bool secure = slice_starts(url, SLICE("rediss://"));
	if (!secure && !slice_starts(url, SLICE("redis://")))
		return err_set(E_INVAL, "redis: '%.*s' is no URL of the form redis[s]://[user][:password@]host[:port][/db]", SLICE_ARG(url));
	struct slice rest = slice_sub(url, secure ? 9 : 8, SIZE_MAX);
	ptrdiff_t at = slice_chr(rest, '#');
	const struct tls_client_conf tls = { .insecure = at >= 0 && slice_eq(slice_sub(rest, (size_t)at + 1, SIZE_MAX), SLICE("insecure")) };
	int rc = secure ? tls_ctx_client(&tls, &c->tls) : 0;
	if (rc < 0)
		return rc;
	rest = slice_sub(rest, 0, at < 0 ? SIZE_MAX : (size_t)at);
	at = slice_chr(rest, '?');
	rest = slice_sub(rest, 0, at < 0 ? SIZE_MAX : (size_t)at);
	at = slice_chr(rest, '/');
	if (at >= 0) {
		part = slice_sub(rest, (size_t)at + 1, SIZE_MAX);
		c->db = part.len ? decoded(part) : NULL;
		rest = slice_sub(rest, 0, (size_t)at);
	}
	at = slice_rchr(rest, '@');
	if (at >= 0) {
		part = slice_sub(rest, 0, (size_t)at);
		rest = slice_sub(rest, (size_t)at + 1, SIZE_MAX);
		ptrdiff_t colon = slice_chr(part, ':');
		if (colon != 0 && part.len)
			c->user = decoded(slice_sub(part, 0, colon < 0 ? SIZE_MAX : (size_t)colon));
		if (colon >= 0)
			c->password = decoded(slice_sub(part, (size_t)colon + 1, SIZE_MAX));
	}
	ptrdiff_t close = slice_rchr(rest, ']'), colon = slice_rchr(rest, ':');
	if (colon > close) {
		if (slice_to_u64(slice_sub(rest, (size_t)colon + 1, SIZE_MAX), &port) < 0 || port == 0 || port > UINT16_MAX)
			return err_set(E_INVAL, "redis: '%.*s' has no valid port", SLICE_ARG(url));
		rest = slice_sub(rest, 0, (size_t)colon);
	}
	if (rest.len == 0)
		return err_set(E_INVAL, "redis: '%.*s' names no host", SLICE_ARG(url));
	c->host = decoded(rest);
	c->port = (uint16_t)port;
	return 0;
}

/* The server, and a number that tells clients of other parameters apart: the same at the next start, and of nothing secret. */
static void name_service(struct redis_client *c)
{
	char text[128];
	int n = snprintf(text, sizeof text, "%lld %lld %zu %.32s", (long long)c->connect_timeout_ms, (long long)c->response_timeout_ms, c->pool_size, c->db ? c->db : "");

	snprintf(c->service, sizeof c->service, "redis%s://%s:%u-%08lx", c->tls ? "s" : "", c->host, c->port, crc32(0, (const Bytef *)text, (uInt)n));
}

static void replace(char **text, struct slice by)
{
	if (!by.ptr)
		return;
	free(*text);
	*text = xmemdup0(by.ptr, by.len);
}

int redis_client_create(const struct redis_conf *conf, struct redis_client **out)
{
	struct redis_client *c = xzalloc(sizeof *c);
	OBJ_INIT(c, MAGIC);
	c->refs = 1;
	c->connect_timeout_ms = conf->connect_timeout_ms;
	c->response_timeout_ms = conf->response_timeout_ms;
	c->pool_size = conf->pool_size;
	for (int i = 0; i < SHARDS_MAX; i++)
		list_init(&c->pools[i].idle);
	int rc = parse_url(conf->url, c);
	if (rc < 0) {
		redis_client_unref(&c);
		return rc;
	}
	replace(&c->user, conf->username);
	replace(&c->password, conf->password);
	name_service(c);
	*out = c;
	return 0;
}

struct redis_client *redis_client_ref(struct redis_client *c)
{
	OBJ_CHECK(c, MAGIC);
	c->refs++;
	return c;
}

static void close_idle(struct list *pool)
{
	for (struct list *n; (n = list_pop(pool)) != NULL;) {
		struct idle *i = LIST_ENTRY(n, struct idle, node);
		rt_io_close(&i->io);
		free(i);
	}
}

void redis_client_unref(struct redis_client **cp)
{
	struct redis_client *c = *cp;
	*cp = NULL;
	if (!c || atomic_fetch_sub(&c->refs, 1) > 1)
		return;
	/* Streams are closed by whoever drops the last reference: nobody else can be using them any more. */
	for (int i = 0; i < SHARDS_MAX; i++)
		close_idle(&c->pools[i].idle);
	for (int i = 0; i < OPS * 2; i++) {
		struct metric *m = c->latency[i / 2][i % 2];
		metric_unref(&m);
	}
	free(c->host);
	free(c->user);
	free(c->password);
	free(c->db);
	tls_ctx_unref(&c->tls);
	OBJ_FINI(c, MAGIC);
	free(c);
}

/* --- connections ---------------------------------------------------------------------------------------------------- */

static int exchange(struct rt_io *io, const struct slice *args, size_t n, struct arena *a, struct val *out)
{
	struct buf b = { 0 };
	redis_put_command(&b, args, n);
	const struct slice whole = buf_view(&b);
	int rc = rt_io_writev(io, &whole, 1);
	buf_fini(&b);
	while (rc == 0) {
		size_t used = 0, have = rt_io_buffered(io).len;
		ptrdiff_t got = have ? redis_parse(rt_io_buffered(io), a, out, &used) : 0;
		if (used)
			rt_io_consume(io, used);
		if (got != 0)
			return got < 0 ? (int)got : 0;
		rc = have > REPLY_MAX ? err_set(E_LIMIT, "redis: the answer is too long") : rt_io_fill(io);
	}
	return rc;
}

static int greet(struct redis_client *c, struct rt_io *io)
{
	struct arena *a = arena_create();
	struct val v;
	int rc = 0;
	if (c->password) {
		const struct slice both[] = { SLICE("AUTH"), slice_from_cstr(c->user), slice_from_cstr(c->password) }, one[] = { both[0], both[2] };
		rc = c->user ? exchange(io, both, 3, a, &v) : exchange(io, one, 2, a, &v);
	}
	if (rc == 0 && c->db) {
		const struct slice select[] = { SLICE("SELECT"), slice_from_cstr(c->db) };
		rc = exchange(io, select, 2, a, &v);
	}
	arena_destroy(&a);
	return rc;
}

static int open_connection(struct redis_client *c, struct rt_io **out)
{
	int fd, rc = net_connect(slice_from_cstr(c->host), c->port, c->connect_timeout_ms, &fd);
	if (rc < 0)
		return rc;
	struct rt_io *io = rt_io_from_fd(fd);
	rt_io_set_timeout(io, c->response_timeout_ms, c->response_timeout_ms);
	const struct tls_peer peer = { .hostname = slice_from_cstr(c->host), .timeout_ms = c->connect_timeout_ms };
	if (c->tls)
		rc = tls_connect(c->tls, &io, &peer, NULL);
	if (rc == 0)
		rc = greet(c, io);
	if (rc < 0)
		rt_io_close(&io);
	else
		*out = io;
	return rc;
}

static void keep(struct redis_client *c, int shard, struct rt_io *io)
{
	if (c->pools[shard].n >= c->pool_size) {
		rt_io_close(&io);
		return;
	}
	struct idle *i = xzalloc(sizeof *i);
	i->io = io;
	list_push_front(&c->pools[shard].idle, &i->node);
	c->pools[shard].n++;
}

static struct rt_io *take(struct redis_client *c, int shard)
{
	struct list *n = list_pop(&c->pools[shard].idle);
	if (!n)
		return NULL;
	struct idle *i = LIST_ENTRY(n, struct idle, node);
	struct rt_io *io = i->io;
	free(i);
	c->pools[shard].n--;
	return io;
}

static int query(struct redis_client *c, const struct slice *args, size_t n, struct arena *a, struct val *out)
{
	int shard = rt_shard_index(), rc;
	assert(shard >= 0 && shard < SHARDS_MAX);
	for (;;) {
		struct rt_io *io = take(c, shard);
		bool fresh = io == NULL;
		if (fresh && (rc = open_connection(c, &io)) < 0)
			break;
		rc = exchange(io, args, n, a, out);
		if (rc == 0 || rc == -E_REJECT) {
			keep(c, shard, io);
			return rc;
		}
		rt_io_close(&io);
		if (fresh || (rc != -E_CLOSED && rc != -E_IO))	/* an idle connection may have been closed meanwhile: once more on a new one */
			break;
	}
	err_prefix("redis %s:%u", c->host, c->port);
	return rc;
}

static void observe(struct redis_client *c, enum operation op, bool failed, int64_t us)
{
	static const char *const OP[OPS] = { "query", "script" };
	struct metric *m = atomic_load(&c->latency[op][failed]), *none = NULL;

	if (!m) {
		m = metric_get(&LATENCY, c->service, OP[op], failed ? "error" : "ok");
		if (!atomic_compare_exchange_strong(&c->latency[op][failed], &none, m)) {
			metric_unref(&m);
			m = none;
		}
	}
	metric_observe(m, (double)us / 1e6);
}

int redis_query(struct redis_client *c, const struct slice *args, size_t n, struct arena *a, struct val *out)
{
	OBJ_CHECK(c, MAGIC);
	const bool script = n > 0 && slice_starts_nocase(args[0], SLICE("EVAL"));
	int64_t begun_us = rt_now_us_exact();
	int rc = query(c, args, n, a, out);

	observe(c, script ? OP_SCRIPT : OP_QUERY, rc < 0, rt_now_us_exact() - begun_us);
	return rc;
}
