/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/throttle_redis.h"
#include <stdatomic.h>
#include "queue/throttle.h"
#include "rt/diag.h"
#include "rt/clock.h"
#include "rt/fiber.h"

#define POLL_MAX_MS 500		/* who waits for a lease looks this often: giving one back tells nobody */
#define ARGS_MAX 4

/* Redis before 7 lets a script write after it has looked at the clock only when told. */
#define NOW \
	"if redis.replicate_commands then redis.replicate_commands() end\n" \
	"local t = redis.call('TIME')\n" \
	"local now = t[1] * 1000000 + t[2]\n"

/* interval (us), capacity, quantity -> throttled, used (us), retry after (us). The microsecond allows for what doubles round. */
static const char CHECK[] = NOW
	"local interval, capacity, quantity = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])\n"
	"local window = interval * capacity\n"
	"local tat = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now)\n"
	"local new = tat + interval * quantity\n"
	"if new - now > window + 1 then return { 1, math.ceil(tat - now), math.ceil(new - window - now) } end\n"
	"redis.call('SET', KEYS[1], string.format('%.17g', new), 'PX', math.floor((new - now) / 1000) + 1)\n"
	"return { 0, math.ceil(new - now), 0 }\n";

/* limit, duration (ms), id -> 0, or in how many ms the next one expires */
static const char ACQUIRE[] = NOW
	"redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))\n"
	"if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[1]) then\n"
	"  local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')\n"
	"  return math.floor(((tonumber(first[2]) or now) - now) / 1000) + 1\n"
	"end\n"
	"redis.call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[2] * 1000), ARGV[3])\n"
	"redis.call('PEXPIRE', KEYS[1], math.max(redis.call('PTTL', KEYS[1]), tonumber(ARGV[2])))\n"
	"return 0\n";

/* duration (ms), id -> 1, or 0: it has expired */
static const char EXTEND[] = NOW
	"local until_us = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[2]) or 0)\n"
	"if until_us <= now then return 0 end\n"
	"redis.call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[1] * 1000), ARGV[2])\n"
	"redis.call('PEXPIRE', KEYS[1], math.max(redis.call('PTTL', KEYS[1]), tonumber(ARGV[1])))\n"
	"return 1\n";

/* id */
static const char RELEASE[] = "return redis.call('ZREM', KEYS[1], ARGV[1])\n";

static _Atomic(struct redis_client *) client;

static int run(const char *script, struct slice key, const struct slice *args, size_t n, struct arena *a, struct val *out)
{
	struct slice all[4 + ARGS_MAX] = { SLICE("EVAL"), slice_from_cstr(script), SLICE("1"), key };
	assert(n <= ARGS_MAX);
	memcpy(all + 4, args, n * sizeof *args);
	return redis_query(atomic_load(&client), all, 4 + n, a, out);
}

/* The script answers with one number. */
static int run_int(const char *script, struct slice key, const struct slice *args, size_t n, struct arena *a, int64_t *out)
{
	struct val v;
	int rc = run(script, key, args, n, a, &v);
	if (rc == 0 && v.type != VAL_INT)
		rc = err_set(E_PROTO, "redis: the script for '%.*s' gave no number", SLICE_ARG(key));
	if (rc == 0)
		*out = v.i;
	return rc;
}

static int check(struct slice key, const struct rate_spec *r, uint64_t burst, uint64_t quantity, struct throttle_result *out)
{
	double interval_us = (double)r->period_ns / (double)r->limit / 1e3;
	uint64_t capacity = MIN(burst, r->limit - 1) + 1;	/* as check_local has it */
	struct arena *a = arena_create();
	const struct slice args[] = {
		arena_slicef(a, "%.17g", interval_us), arena_slicef(a, "%llu", (unsigned long long)capacity), arena_slicef(a, "%llu", (unsigned long long)quantity),
	};
	struct val v;
	int rc = run(CHECK, key, args, ARRAY_LEN(args), a, &v);
	if (rc == 0 && (v.type != VAL_LIST || v.n != 3 || v.items[0].type != VAL_INT || v.items[1].type != VAL_INT || v.items[2].type != VAL_INT))
		rc = err_set(E_PROTO, "redis: the script for '%.*s' gave no result", SLICE_ARG(key));
	if (rc == 0) {
		double left = (double)capacity - (double)(v.items[1].i - 1) / interval_us;	/* less the microsecond that it was rounded up */
		*out = (struct throttle_result){
			.throttled = v.items[0].i != 0, .limit = capacity, .remaining = left <= 0 ? 0 : MIN((uint64_t)left, capacity),
			.reset_after_ns = v.items[1].i * 1000, .retry_after_ns = v.items[2].i * 1000,
		};
	}
	arena_destroy(&a);
	return rc;
}

static struct slice id_text(struct arena *a, struct uuid id)
{
	struct buf b = { 0 };
	uuid_put_simple(&b, id);
	struct slice s = arena_slicef(a, "%.*s", SLICE_ARG(buf_view(&b)));
	buf_fini(&b);
	return s;
}

static void release(struct slice name, struct uuid id)
{
	struct arena *a = arena_create();
	const struct slice args[] = { id_text(a, id) };
	struct rt_shield shield;
	int64_t n;

	rt_shield_enter(&shield);
	if (run_int(RELEASE, name, args, ARRAY_LEN(args), a, &n) < 0)
		diag_warn("kumo.queue", "a place of %.*s could not be given back, it stays taken until it expires: %s", SLICE_ARG(name), err_text());
	rt_shield_leave(&shield);
	arena_destroy(&a);
}

static int acquire(struct slice name, uint64_t limit, int64_t duration_ns, int64_t timeout_ms, struct uuid *id)
{
	struct arena *a = arena_create();
	int64_t deadline = rt_now_ms() + timeout_ms, wait_ms = 0;
	int rc;

	*id = uuid_v4();
	const struct slice args[] = {
		arena_slicef(a, "%llu", (unsigned long long)limit), arena_slicef(a, "%lld", (long long)MAX(duration_ns / 1000000, 1)), id_text(a, *id),
	};
	while ((rc = run_int(ACQUIRE, name, args, ARRAY_LEN(args), a, &wait_ms)) == 0 && wait_ms > 0) {
		int64_t left = deadline - rt_now_ms();
		if (left <= 0) {
			rc = err_set(E_LIMIT, "%.*s: all of its %llu places are taken", SLICE_ARG(name), (unsigned long long)limit);
			break;
		}
		wait_ms = MIN(wait_ms, left);
		wait_ms = MIN(wait_ms, POLL_MAX_MS);
		if ((rc = rt_sleep_ms(wait_ms)) < 0)
			break;
	}
	if (rc == -E_CANCELED || rc == -E_TIMEOUT)
		release(name, *id);	/* the answer may have been on its way */
	arena_destroy(&a);
	return rc;
}

static int extend(struct slice name, struct uuid id, int64_t duration_ns)
{
	struct arena *a = arena_create();
	const struct slice args[] = { arena_slicef(a, "%lld", (long long)MAX(duration_ns / 1000000, 1)), id_text(a, id) };
	int64_t held = 0;
	int rc = run_int(EXTEND, name, args, ARRAY_LEN(args), a, &held);
	if (rc == 0 && !held)
		rc = err_set(E_NOENT, "the place of %.*s has expired", SLICE_ARG(name));
	arena_destroy(&a);
	return rc;
}

void throttle_use_redis(struct redis_client *c)
{
	static const struct throttle_backend BACKEND = { check, acquire, extend, release };
	struct redis_client *before = atomic_exchange(&client, redis_client_ref(c));
	throttle_set_backend(&BACKEND);
	(void)before;	/* stays: a query on it may be under way */
}
