/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mod_api_admin - kumo.api.admin: bounces and suspensions for policies. The shaping helper applies the decisions of the automation
 * daemon with it.
 *
 *	kumo.api.admin.bounce.bounce {domain = …, reason = …, duration = "1h"}		returns the entry's id
 *	kumo.api.admin.suspend.suspend {…}, kumo.api.admin.suspend_ready_q.suspend {name = …, reason = …, expires = "2026-…"}
 *	kumo.api.admin.*.list(), kumo.api.admin.*.delete(id)
 *
 * Requests and entries look as in the HTTP endpoints of the same names.
 */
#include <lauxlib.h>
#include "base/timefmt.h"
#include "codec/opt.h"
#include "lua/modules.h"
#include "policy/host.h"
#include "queue/admin.h"
#include "rt/clock.h"

struct request {
	struct slice campaign, tenant, domain, routing_domain, name, reason, expires;
	struct opt_list queue_names;	/* struct slice */
	int64_t duration;
	bool has_duration, suppress_logging;
};

#define CRITERIA                                                                                                        \
	OPT_STR(struct request, campaign, NULL, "the campaign; any if omitted"),                                        \
	OPT_STR(struct request, tenant, NULL, "the tenant; any if omitted"),                                            \
	OPT_STR(struct request, domain, NULL, "the domain; any if omitted"),                                            \
	OPT_LIST(struct request, queue_names, NULL, "these queues, whatever the rest says")
#define COMMON                                                                                                          \
	OPT_STR(struct request, reason, NULL, "why; shown to operators and in logs", .required = true),                 \
	OPT_DURATION(struct request, duration, NULL, "how long", OPT_PRESENT(struct request, has_duration)),            \
	OPT_STR(struct request, expires, NULL, "until when, instead of duration (RFC 3339)")

static const struct opt_field BOUNCE_FIELDS[] = {
	CRITERIA, COMMON,
	OPT_STR(struct request, routing_domain, NULL, "the routing domain; any if omitted"),
	OPT_BOOL(struct request, suppress_logging, "false", "write no AdminBounce records"),
	OPT_END
};
static const struct opt_field SUSPEND_FIELDS[] = { CRITERIA, COMMON, OPT_END };
static const struct opt_field READY_FIELDS[] = { COMMON, OPT_STR(struct request, name, NULL, "the ready queue", .required = true), OPT_END };

static const struct opt_desc BOUNCE = { .name = "kumo.api.admin.bounce.bounce", .fields = BOUNCE_FIELDS, .size = sizeof(struct request) };
static const struct opt_desc SUSPEND = { .name = "kumo.api.admin.suspend.suspend", .fields = SUSPEND_FIELDS, .size = sizeof(struct request) };
static const struct opt_desc READY = { .name = "kumo.api.admin.suspend_ready_q.suspend", .fields = READY_FIELDS, .size = sizeof(struct request) };

/* How long the entry lives; not positive when it is over already. */
static int64_t lifetime_ns(lua_State *L, const struct request *r)
{
	int64_t at_us;

	if (!r->expires.ptr)
		return r->has_duration ? r->duration : QUEUE_ADMIN_DEFAULT_NS;
	if (time_parse_rfc3339(r->expires, &at_us) < 0)
		return policy_raisef(L, "invalid `expires`: %s", err_text());
	int64_t left_us = at_us - rt_wall_us();
	return left_us < INT64_MAX / 1000 ? left_us * 1000 : INT64_MAX;
}

static struct queue_criteria criteria_of(const struct request *r)
{
	return (struct queue_criteria){ .campaign = r->campaign, .tenant = r->tenant, .domain = r->domain, .routing_domain = r->routing_domain,
		.queue_names = r->queue_names.items, .n_queue_names = r->queue_names.n };
}

static int push_id(lua_State *L, int rc, const struct uuid *id)
{
	struct buf b = { 0 };

	if (rc < 0)
		return policy_raise(L, rc);
	uuid_put(&b, *id);
	policy_push_slice(L, buf_view(&b));
	buf_fini(&b);
	return 1;
}

static int bounce(lua_State *L)
{
	struct request r;
	struct uuid id;

	policy_check_opts(L, 1, &BOUNCE, policy_arena(L), &r);
	struct queue_criteria c = criteria_of(&r);
	return push_id(L, queue_admin_bounce(&c, r.reason, lifetime_ns(L, &r), r.suppress_logging, &id), &id);
}

static int suspend(lua_State *L)
{
	struct request r;
	struct uuid id;

	policy_check_opts(L, 1, &SUSPEND, policy_arena(L), &r);
	struct queue_criteria c = criteria_of(&r);
	return push_id(L, queue_admin_suspend(&c, r.reason, lifetime_ns(L, &r), &id), &id);
}

static int suspend_ready_q(lua_State *L)
{
	struct request r;
	struct uuid id;

	policy_check_opts(L, 1, &READY, policy_arena(L), &r);
	return push_id(L, queue_admin_suspend_ready_q(r.name, r.reason, lifetime_ns(L, &r), &id), &id);
}

static int push_list(lua_State *L, void (*list)(struct arena *a, struct val *out))
{
	struct val v;

	list(policy_arena(L), &v);
	policy_push_val(L, &v);
	return 1;
}

static int push_canceled(lua_State *L, bool (*cancel)(struct uuid id))
{
	struct uuid id;

	if (uuid_parse(policy_check_slice(L, 1), &id) < 0)
		return policy_raise(L, -E_INVAL);
	lua_pushboolean(L, cancel(id));
	return 1;
}

static int bounce_list(lua_State *L) { return push_list(L, queue_admin_bounce_list); }
static int suspend_list(lua_State *L) { return push_list(L, queue_admin_suspend_list); }
static int suspend_ready_q_list(lua_State *L) { return push_list(L, queue_admin_suspend_ready_q_list); }
static int bounce_delete(lua_State *L) { return push_canceled(L, queue_admin_bounce_cancel); }
static int suspend_delete(lua_State *L) { return push_canceled(L, queue_admin_suspend_cancel); }
static int suspend_ready_q_delete(lua_State *L) { return push_canceled(L, queue_admin_suspend_ready_q_cancel); }

static const struct luaL_Reg BOUNCE_FUNCTIONS[] = { { "bounce", bounce }, { "list", bounce_list }, { "delete", bounce_delete }, { NULL, NULL } };
static const struct luaL_Reg SUSPEND_FUNCTIONS[] = { { "suspend", suspend }, { "list", suspend_list }, { "delete", suspend_delete }, { NULL, NULL } };
static const struct luaL_Reg READY_FUNCTIONS[] = { { "suspend", suspend_ready_q }, { "list", suspend_ready_q_list }, { "delete", suspend_ready_q_delete }, { NULL, NULL } };
static const struct policy_module MODULES[] = {
	{ .name = "kumo.api.admin.bounce", .functions = BOUNCE_FUNCTIONS },
	{ .name = "kumo.api.admin.suspend", .functions = SUSPEND_FUNCTIONS },
	{ .name = "kumo.api.admin.suspend_ready_q", .functions = READY_FUNCTIONS },
};

void mod_api_admin_register(void)
{
	for (size_t i = 0; i < ARRAY_LEN(MODULES); i++)
		policy_module_register(&MODULES[i]);
}
