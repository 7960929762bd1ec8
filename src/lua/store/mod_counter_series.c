/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mod_counter_series - kumo.counter_series: named counters over a ring of time buckets, shared by the whole process.
 */
#include <stdatomic.h>
#include <stdlib.h>
#include "base/map.h"
#include "codec/opt.h"
#include "lua/util.h"
#include "rt/clock.h"
#include "rt/sync.h"

struct series {
	_Atomic uint32_t refs;
	struct rt_lock lock;
	int64_t n, bucket_s;
	/* under lock */
	int64_t at;		/* the current bucket's number since the clock's start */
	uint64_t buckets[];	/* bucket number K stands at K % n */
};

static struct rt_lock all_lock = RT_LOCK_INIT(RANK_CONFIG);
static struct map all;		/* name -> series with a reference; under all_lock */

static void *ref_series(void *p)
{
	((struct series *)p)->refs++;
	return p;
}

static void unref_series(void *p)
{
	struct series *s = p;
	if (atomic_fetch_sub(&s->refs, 1) > 1)
		return;
	rt_lock_fini(&s->lock);
	free(s);
}

static const struct policy_obj_type SERIES_OBJ = { .name = "CounterSeries", .ref = ref_series, .unref = unref_series };

static int64_t bucket_now(const struct series *s)
{
	return rt_now_ms() / 1000 / s->bucket_s;
}

/* Empties the buckets that time has passed by; the lock is held. */
static void rotate(struct series *s)
{
	int64_t now = bucket_now(s);
	for (int64_t k = MAX(s->at + 1, now - s->n + 1); k <= now; k++)
		s->buckets[k % s->n] = 0;
	s->at = MAX(s->at, now);
}

static uint64_t add(uint64_t a, uint64_t b)
{
	return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static struct series *check_series(lua_State *L)
{
	return policy_obj_check(L, 1, &SERIES_OBJ);
}

static int change(lua_State *L, int64_t value, bool set)
{
	struct series *s = check_series(L);
	rt_lock(&s->lock);
	rotate(s);
	uint64_t *b = &s->buckets[s->at % s->n];
	if (set)
		*b = (uint64_t)value;
	else if (value >= 0)
		*b = add(*b, (uint64_t)value);
	else
		*b = *b > (uint64_t)-value ? *b - (uint64_t)-value : 0;
	rt_unlock(&s->lock);
	return 0;
}

static int series_increment(lua_State *L)
{
	check_series(L);
	return change(L, policy_check_int(L, 2, "u64", 0, INT64_MAX), false);
}

static int series_delta(lua_State *L)
{
	check_series(L);
	return change(L, policy_check_int(L, 2, "i64", -INT64_MAX, INT64_MAX), false);
}

static int series_observe(lua_State *L)
{
	check_series(L);
	return change(L, policy_check_int(L, 2, "u64", 0, INT64_MAX), true);
}

static int push_sum(lua_State *L, struct series *s, int64_t buckets)
{
	uint64_t sum = 0;
	rt_lock(&s->lock);
	rotate(s);
	for (int64_t i = 0; i < MIN(buckets, s->n) && i <= s->at; i++)
		sum = add(sum, s->buckets[(s->at - i) % s->n]);
	rt_unlock(&s->lock);
	if (sum > INT64_MAX)
		lua_pushnumber(L, (lua_Number)sum);
	else
		lua_pushinteger(L, (lua_Integer)sum);
	return 1;
}

static int series_sum(lua_State *L)
{
	return push_sum(L, check_series(L), INT64_MAX);
}

static int64_t seconds_up(int64_t ns)
{
	return MAX((ns + 999999999) / 1000000000, (int64_t)1);
}

static int series_sum_over(lua_State *L)
{
	struct series *s = check_series(L);
	int64_t seconds = seconds_up(policy_check_duration(L, 2));
	return push_sum(L, s, (seconds + s->bucket_s - 1) / s->bucket_s);
}

struct series_opts {
	struct slice name;
	int64_t num_buckets, bucket_size, initial_value;
};
static const struct opt_field FIELDS[] = {
	OPT_STR(struct series_opts, name, NULL, "name of the series", .required = true),
	OPT_INT(struct series_opts, num_buckets, NULL, "how many buckets", .required = true, .min = 0, .max = 255),
	OPT_DURATION(struct series_opts, bucket_size, NULL, "span of a bucket", .required = true),
	OPT_INT(struct series_opts, initial_value, NULL, "what the first bucket begins with"),
	OPT_END,
};
static const struct opt_desc SERIES = { .name = "counter_series.define", .fields = FIELDS, .size = sizeof(struct series_opts) };

static int fn_define(lua_State *L)
{
	struct series_opts o;
	policy_check_opts_arg(L, 1, &SERIES, policy_arena(L), &o);
	if (o.num_buckets < 1)
		return policy_raisef(L, "num_buckets must be >= 1");
	if (o.bucket_size <= 0)
		return policy_raisef(L, "bucket_size must be >= 1 second");
	int64_t bucket_s = seconds_up(o.bucket_size);
	struct series *old = NULL;
	rt_lock(&all_lock);
	struct series *s = map_get(&all, o.name);
	if (!s || s->n != o.num_buckets || s->bucket_s != bucket_s) {
		s = xzalloc(sizeof *s + (size_t)o.num_buckets * sizeof s->buckets[0]);
		s->refs = 1;
		rt_lock_init(&s->lock, RANK_LEAF);
		s->n = o.num_buckets;
		s->bucket_s = bucket_s;
		s->at = bucket_now(s);
		s->buckets[s->at % s->n] = (uint64_t)o.initial_value;
		old = map_put(&all, o.name, s);
	}
	s->refs++;
	rt_unlock(&all_lock);
	if (old)
		unref_series(old);
	policy_obj_push(L, &SERIES_OBJ, s);
	unref_series(s);
	return 1;
}

static const luaL_Reg METHODS[] = {
	{ "increment", series_increment }, { "delta", series_delta }, { "observe", series_observe }, { "sum", series_sum }, { "sum_over", series_sum_over }, { NULL, NULL },
};
static const luaL_Reg FUNCTIONS[] = { { "define", fn_define }, { NULL, NULL } };
const struct policy_module mod_counter_series = { "kumo.counter_series", FUNCTIONS, NULL };

void mod_counter_series_register(void)
{
	policy_obj_methods(&SERIES_OBJ, METHODS);
}
