/* SPDX-License-Identifier: Apache-2.0 */
/* mod_throttle - kumo.make_throttle and the object that it makes (docs/reference/kumo/make_throttle). */
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <lauxlib.h>
#include "base/timefmt.h"
#include "base/xalloc.h"
#include "lua/modules.h"
#include "policy/arg.h"
#include "policy/objects.h"
#include "queue/throttle.h"
#include "rt/clock.h"
#include "rt/fiber.h"

struct throttle {
	_Atomic uint32_t refs;
	struct rate_spec rate;
	struct slice name;
};

static void *throttle_ref(void *p)
{
	atomic_fetch_add(&((struct throttle *)p)->refs, 1);
	return p;
}
static void throttle_unref(void *p)
{
	if (atomic_fetch_sub(&((struct throttle *)p)->refs, 1) == 1)
		free(p);
}
static const struct policy_obj_type THROTTLE_OBJ = { .name = "Throttle", .ref = throttle_ref, .unref = throttle_unref };

static struct throttle *check(lua_State *L) { return policy_obj_check(L, 1, &THROTTLE_OBJ); }

static struct throttle_result ask(lua_State *L, const struct throttle *t)
{
	struct throttle_result r;
	int rc = throttle_check(t->name, &t->rate, 1, &r);
	if (rc < 0)
		policy_raise(L, rc);
	return r;
}

/* Policies see whole seconds, rounded up, so that they don't come back too early. */
static void push_seconds(lua_State *L, int64_t ns)
{
	lua_createtable(L, 0, 2);
	lua_pushinteger(L, (ns + 999999999) / 1000000000);
	lua_setfield(L, -2, "secs");
	lua_pushinteger(L, 0);
	lua_setfield(L, -2, "nanos");
}

static int l_throttle(lua_State *L)
{
	struct throttle_result r = ask(L, check(L));
	lua_createtable(L, 0, 5);
	lua_pushboolean(L, r.throttled);
	lua_setfield(L, -2, "throttled");
	lua_pushinteger(L, (lua_Integer)r.limit);
	lua_setfield(L, -2, "limit");
	lua_pushinteger(L, (lua_Integer)r.remaining);
	lua_setfield(L, -2, "remaining");
	push_seconds(L, r.reset_after_ns);
	lua_setfield(L, -2, "reset_after");
	if (r.throttled) {
		push_seconds(L, r.retry_after_ns);
		lua_setfield(L, -2, "retry_after");
	}
	return 1;
}

static int l_sleep_if_throttled(lua_State *L)
{
	struct throttle *t = check(L);
	bool waited = false;
	for (;;) {
		struct throttle_result r = ask(L, t);
		if (!r.throttled)
			break;
		waited = true;
		int rc = rt_sleep_ms((r.retry_after_ns + 999999) / 1000000);
		if (rc < 0)
			return policy_raise(L, rc);
	}
	lua_pushboolean(L, waited);
	return 1;
}

static int l_delay_message_if_throttled(lua_State *L)
{
	struct throttle *t = check(L);
	struct msg *m = policy_obj_check(L, 2, &MSG_OBJ);
	struct throttle_result r = ask(L, t);
	if (r.throttled) {
		int rc = msg_set_due_scheduled(m, rt_wall_us() + (r.retry_after_ns + 999) / 1000);
		if (rc < 0)
			return policy_raise(L, rc);
	}
	lua_pushboolean(L, r.throttled);
	return 1;
}

/* --- explain ------------------------------------------------------------------------------------------------------------------------ */

static void put_number(struct buf *b, double n)
{
	if (!(n >= 1)) {
		buf_printf(b, "%.3f", n);
		return;
	}
	char digits[32];
	int len = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)(n < 1.8e19 ? ceil(n) : 1.8e19));
	for (int i = 0; i < len; i++) {
		if (i > 0 && (len - i) % 3 == 0)
			buf_putc(b, ',');
		buf_putc(b, digits[i]);
	}
}

static void put_rates(struct buf *b, double per_second)
{
	static const struct {
		double factor;
		const char *unit;
	} UNITS[] = { { 1, "/s" }, { 60, "/m" }, { 60, "/h" }, { 24, "/d" } };
	for (size_t i = 0; i < ARRAY_LEN(UNITS); i++) {
		per_second *= UNITS[i].factor;
		if (i)
			buf_lit(b, ", ");
		put_number(b, per_second);
		buf_cstr_put(b, UNITS[i].unit);
	}
}

static int l_explain(lua_State *L)
{
	const struct rate_spec *r = &check(L)->rate;
	struct buf b = { 0 };
	double period = (double)(r->period_ns / 1000000000);
	int64_t interval_ns = (int64_t)(period / (double)r->limit * 1e9 + 0.5);
	uint64_t burst = r->burst_given ? r->max_burst : r->limit;

	rate_spec_put(&b, r);
	buf_printf(&b, "\n%s burst rate %llu every ", r->burst_given ? "explicit" : "implied", (unsigned long long)burst);
	duration_put(&b, interval_ns);
	buf_lit(&b, ", or: ");
	put_rates(&b, (double)burst / ((double)interval_ns / 1e9));
	buf_lit(&b, " in that period.\noverall rate ");
	put_rates(&b, (double)r->limit / period);
	policy_push_slice(L, buf_view(&b));
	buf_fini(&b);
	return 1;
}

static const struct luaL_Reg METHODS[] = {
	{ "throttle", l_throttle },
	{ "sleep_if_throttled", l_sleep_if_throttled },
	{ "delay_message_if_throttled", l_delay_message_if_throttled },
	{ "explain", l_explain },
	{ NULL, NULL },
};

static int l_make_throttle(lua_State *L)
{
	static const struct slice prefix = SLICE_INIT("lua-user-throttle-");
	struct slice name = policy_check_text(L, 1), spec = policy_check_text(L, 2);
	struct rate_spec rate;
	int rc = rate_spec_parse(spec, &rate);
	if (rc < 0)
		return policy_raise(L, rc);
	struct throttle *t = xzalloc(sizeof(*t) + prefix.len + name.len + 1);
	char *text = (char *)(t + 1);
	memcpy(text, prefix.ptr, prefix.len);
	memcpy(text + prefix.len, name.ptr, name.len);
	atomic_store(&t->refs, 1);
	t->name = slice_new(text, prefix.len + name.len);
	t->rate = rate;
	policy_obj_push(L, &THROTTLE_OBJ, t);
	throttle_unref(t);
	return 1;
}

static const struct luaL_Reg FUNCTIONS[] = { { "make_throttle", l_make_throttle }, { NULL, NULL } };
static const struct policy_module MODULE = { .name = "kumo", .functions = FUNCTIONS };

void mod_throttle_register(void)
{
	policy_obj_methods(&THROTTLE_OBJ, METHODS);
	policy_module_register(&MODULE);
}
