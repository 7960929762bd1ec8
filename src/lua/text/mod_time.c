/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mod_time - kumo.time: the objects Time and TimeDelta, timers that feed a histogram, sleeping.
 */
#include "lua/text/mod_time.h"
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include "lua/util.h"
#include "rt/clock.h"
#include "rt/metrics.h"

struct time_obj {
	_Atomic uint32_t refs;
	struct moment at;
};
struct delta_obj {
	_Atomic uint32_t refs;
	span_ns ns;
};

static void *ref_time(void *p)
{
	((struct time_obj *)p)->refs++;
	return p;
}

static void unref_time(void *p)
{
	if (atomic_fetch_sub(&((struct time_obj *)p)->refs, 1) == 1)
		free(p);
}

static void *ref_delta(void *p)
{
	((struct delta_obj *)p)->refs++;
	return p;
}

static void unref_delta(void *p)
{
	if (atomic_fetch_sub(&((struct delta_obj *)p)->refs, 1) == 1)
		free(p);
}

static const struct policy_obj_type TIME_OBJ = { .name = "Time", .ref = ref_time, .unref = unref_time };
static const struct policy_obj_type DELTA_OBJ = { .name = "TimeDelta", .ref = ref_delta, .unref = unref_delta };

void lua_push_time(lua_State *L, struct moment m)
{
	struct time_obj *t = xzalloc(sizeof *t);
	t->at = m;
	policy_obj_push(L, &TIME_OBJ, t);	/* takes the first reference: refs is 0 before */
}

static int push_delta(lua_State *L, span_ns ns)
{
	struct delta_obj *d = xzalloc(sizeof *d);
	d->ns = ns;
	policy_obj_push(L, &DELTA_OBJ, d);
	return 1;
}

static int push_buf(lua_State *L, struct buf *b)
{
	lua_pushlstring(L, b->ptr ? b->ptr : "", b->len);
	buf_fini(b);
	return 1;
}

static struct moment check_time(lua_State *L, int idx)
{
	return ((struct time_obj *)policy_obj_check(L, idx, &TIME_OBJ))->at;
}

static span_ns check_delta(lua_State *L, int idx)
{
	return ((struct delta_obj *)policy_obj_check(L, idx, &DELTA_OBJ))->ns;
}

int64_t lua_check_delta_ms(lua_State *L, int idx)
{
	span_ns ms = check_delta(L, idx) / 1000000;

	return ms < 0 ? 0 : ms > INT64_MAX ? INT64_MAX : (int64_t)ms;
}

static struct moment now(void)
{
	int64_t us = rt_wall_us();
	return (struct moment){ us / 1000000, (uint32_t)(us % 1000000) * 1000 };
}

static span_ns as_ns(struct moment m)
{
	return (span_ns)m.sec * 1000000000 + m.nsec;
}

static int push_time_ns(lua_State *L, span_ns ns)
{
	span_ns sec = ns / 1000000000, rest = ns % 1000000000;
	if (rest < 0) {
		rest += 1000000000;
		sec--;
	}
	if (sec < MOMENT_MIN || sec > MOMENT_MAX)
		return policy_raisef(L, "time would overflow");
	lua_push_time(L, (struct moment){ (int64_t)sec, (uint32_t)rest });
	return 1;
}

/* --- Time ----------------------------------------------------------------------------------------------------------- */

static int time_index(lua_State *L)
{
	struct moment m = check_time(L, 1);
	const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
	struct moment_parts p;
	moment_split(m, &p);
	const struct {
		const char *name;
		int64_t n;
	} numbers[] = { { "year", p.year }, { "month", p.month }, { "day", p.day }, { "hour", p.hour }, { "minute", p.minute }, { "second", p.second },
			{ "unix_timestamp", m.sec }, { "unix_timestamp_millis", m.sec * 1000 + m.nsec / 1000000 } };
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
		if (strcmp(key, numbers[i].name) == 0) {
			lua_pushinteger(L, numbers[i].n);
			return 1;
		}
	}
	struct buf b = { 0 };
	if (strcmp(key, "elapsed") == 0)
		return push_delta(L, as_ns(now()) - as_ns(m));
	if (strcmp(key, "rfc2822") == 0)
		moment_put_rfc2822(&b, m);
	else if (strcmp(key, "rfc3339") == 0)
		moment_put_rfc3339(&b, m);
	else
		return 0;
	return push_buf(L, &b);
}

static int time_tostring(lua_State *L)
{
	struct buf b = { 0 };
	moment_put(&b, check_time(L, 1));
	return push_buf(L, &b);
}

static int time_format(lua_State *L)
{
	struct moment m = check_time(L, 1);
	struct slice fmt = policy_check_text(L, 2);
	struct buf b = { 0 };
	moment_put_format(&b, m, fmt);
	return push_buf(L, &b);
}

static int time_eq(lua_State *L)
{
	struct moment a = check_time(L, 1), b = check_time(L, 2);
	lua_pushboolean(L, a.sec == b.sec && a.nsec == b.nsec);
	return 1;
}

static int time_add(lua_State *L)
{
	struct moment m = check_time(L, 1);
	return push_time_ns(L, as_ns(m) + check_delta(L, 2));
}

static int time_sub(lua_State *L)
{
	struct moment m = check_time(L, 1);
	struct time_obj *other = policy_obj_get(L, 2, &TIME_OBJ);
	if (other)
		return push_delta(L, as_ns(m) - as_ns(other->at));
	return push_time_ns(L, as_ns(m) - check_delta(L, 2));
}

static const luaL_Reg TIME_METHODS[] = {
	{ "__index", time_index }, { "__tostring", time_tostring }, { "__eq", time_eq }, { "__add", time_add }, { "__sub", time_sub }, { "format", time_format }, { NULL, NULL },
};

/* --- TimeDelta ------------------------------------------------------------------------------------------------------ */

static int push_human(lua_State *L, span_ns ns)
{
	if (ns < 0)
		return policy_raisef(L, "Source duration value is out of range for the target type");
	struct buf b = { 0 };
	span_put(&b, ns);
	return push_buf(L, &b);
}

static int delta_index(lua_State *L)
{
	span_ns ns = check_delta(L, 1);
	const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
	if (strcmp(key, "human") == 0)
		return push_human(L, ns);
	if (strcmp(key, "seconds") == 0) {
		lua_pushnumber(L, (double)(int64_t)(ns / 1000000000) + (double)(int64_t)(ns % 1000000000) / 1e9);
		return 1;
	}
	span_ns unit = strcmp(key, "nanoseconds") == 0 ? 1 : strcmp(key, "microseconds") == 0 ? 1000 : strcmp(key, "milliseconds") == 0 ? 1000000 : 0;
	if (!unit || ns / unit > INT64_MAX || ns / unit < INT64_MIN)
		return 0;
	lua_pushinteger(L, (lua_Integer)(ns / unit));
	return 1;
}

static int delta_tostring(lua_State *L)
{
	return push_human(L, check_delta(L, 1));
}

static int delta_eq(lua_State *L)
{
	span_ns a = check_delta(L, 1);
	lua_pushboolean(L, a == check_delta(L, 2));
	return 1;
}

static int delta_add(lua_State *L)
{
	span_ns a = check_delta(L, 1);
	return push_delta(L, a + check_delta(L, 2));
}

static int delta_sub(lua_State *L)
{
	span_ns a = check_delta(L, 1);
	return push_delta(L, a - check_delta(L, 2));
}

static const luaL_Reg DELTA_METHODS[] = {
	{ "__index", delta_index }, { "__tostring", delta_tostring }, { "__eq", delta_eq }, { "__add", delta_add }, { "__sub", delta_sub }, { NULL, NULL },
};

/* --- timers --------------------------------------------------------------------------------------------------------- */

static struct metric_family USER_LATENCY = METRIC_HISTOGRAM("user_lua_latency", "how long something user-defined took to run in your lua policy", "label");

struct timer {
	int64_t started_us;
	struct metric *metric;
	bool done;
};

static void unref_timer(void *p)
{
	struct timer *t = p;
	metric_unref(&t->metric);
	free(t);
}

static const struct policy_obj_type TIMER_OBJ = { .name = "Timer", .unref = unref_timer };

static int timer_done(lua_State *L)
{
	struct timer *t = policy_obj_check(L, 1, &TIMER_OBJ);
	double s = (double)(rt_now_us_exact() - t->started_us) / 1e6;
	if (!t->done)
		metric_observe(t->metric, s);
	t->done = true;
	lua_pushnumber(L, s);
	return 1;
}

static const luaL_Reg TIMER_METHODS[] = { { "done", timer_done }, { "__close", timer_done }, { NULL, NULL } };

static int fn_start_timer(lua_State *L)
{
	struct slice label = policy_check_text(L, 1);
	struct timer *t = xzalloc(sizeof *t);
	t->started_us = rt_now_us_exact();
	t->metric = metric_get_n(&USER_LATENCY, &label);
	policy_obj_push(L, &TIMER_OBJ, t);
	return 1;
}

/* --- functions ------------------------------------------------------------------------------------------------------ */

static int fn_now(lua_State *L)
{
	lua_push_time(L, now());
	return 1;
}

static int fn_from_unix_timestamp(lua_State *L)
{
	if (lua_type(L, 1) != LUA_TNUMBER)
		return policy_raisef(L, "timestamp must be either an integer or floating point number of seconds");
	double d = lua_tonumber(L, 1), whole = floor(d);
	int ok;
	int64_t sec = lua_tointegerx(L, 1, &ok);
	if (!ok && !(whole >= (double)MOMENT_MIN && whole <= (double)MOMENT_MAX))
		return policy_raisef(L, "invalid timestamp");
	if (!ok)
		sec = (int64_t)whole;
	if (sec < MOMENT_MIN || sec > MOMENT_MAX)
		return policy_raisef(L, "invalid timestamp");
	lua_push_time(L, (struct moment){ sec, ok ? 0 : (uint32_t)((d - whole) * 1e9) });
	return 1;
}

static int fn_with_ymd_hms(lua_State *L)
{
	int64_t v[6];
	struct moment m;
	for (int i = 0; i < 6; i++)
		v[i] = policy_check_int(L, i + 1, i ? "u32" : "i32", i ? 0 : INT32_MIN, i ? UINT32_MAX : INT32_MAX);
	for (int i = 1; i < 6; i++)
		v[i] = MIN(v[i], (int64_t)1000);
	if (v[5] > 59 || moment_join(v[0], (int)v[1], (int)v[2], (int)v[3], (int)v[4], (int)v[5], &m) < 0)
		return policy_raisef(L, "time cannot be represented due to a gap in local time");
	lua_push_time(L, m);
	return 1;
}

static int parse_with(lua_State *L, int (*parse)(struct slice, struct moment *))
{
	struct moment m;
	if (parse(policy_check_text(L, 1), &m) < 0)
		return policy_raise(L, -E_INVAL);
	lua_push_time(L, m);
	return 1;
}

static int fn_parse_rfc2822(lua_State *L) { return parse_with(L, moment_parse_rfc2822); }
static int fn_parse_rfc3339(lua_State *L) { return parse_with(L, moment_parse_rfc3339); }

static int fn_parse_duration(lua_State *L)
{
	span_ns ns;
	const span_ns limit = (span_ns)SPAN_MAX_MS * 1000000;
	switch (lua_type(L, 1)) {
	case LUA_TNUMBER:
		if (lua_isinteger(L, 1))
			ns = (span_ns)lua_tointeger(L, 1) * 1000000000;
		else if (fabs(lua_tonumber(L, 1)) < 1e16)
			ns = (span_ns)(lua_tonumber(L, 1) * 1e9);
		else
			ns = limit + 1;
		if (ns > limit || ns < -limit)
			return policy_raisef(L, "seconds out of range");
		return push_delta(L, ns);
	case LUA_TSTRING:
		if (span_parse(policy_check_text(L, 1), &ns) < 0)
			return policy_raise(L, -E_INVAL);
		if (ns > limit)
			return policy_raisef(L, "Source duration value is out of range for the target type");
		return push_delta(L, ns);
	}
	return policy_raisef(L, "invalid duration value");
}

static const luaL_Reg FUNCTIONS[] = {
	{ "now", fn_now },
	{ "from_unix_timestamp", fn_from_unix_timestamp },
	{ "with_ymd_hms", fn_with_ymd_hms },
	{ "parse_rfc2822", fn_parse_rfc2822 },
	{ "parse_rfc3339", fn_parse_rfc3339 },
	{ "parse_duration", fn_parse_duration },
	{ "start_timer", fn_start_timer },
	{ "sleep", lua_fn_sleep },
	{ NULL, NULL },
};
const struct policy_module mod_time = { "kumo.time", FUNCTIONS, NULL };

void mod_time_register(void)
{
	policy_obj_methods(&TIME_OBJ, TIME_METHODS);
	policy_obj_methods(&DELTA_OBJ, DELTA_METHODS);
	policy_obj_methods(&TIMER_OBJ, TIMER_METHODS);
	metric_register_kept(&USER_LATENCY);
}
