/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mod_queue - kumo.make_queue_config, make_egress_path, make_egress_source, make_egress_pool; kumo.invoke_get_*; what shows configurations and
 * their ceilings; kumo.inject_message; limits of memory.
 */
#include <lauxlib.h>
#include "lua/modules.h"
#include "lua/store/cached.h"
#include "policy/arg.h"
#include "policy/objects.h"
#include "queue/conf/fetch.h"
#include "queue/memory.h"
#include "queue/name.h"
#include "queue/queue.h"

/* --- making ----------------------------------------------------------------------------------------------------------------------------- */

static int push_conf(lua_State *L, enum conf_kind_id kind, struct conf *c)
{
	policy_obj_push(L, CONF_OBJ[kind], c);
	conf_unref(&c);
	return 1;
}

/* An object, or a table that is one's options. A reference. */
static struct conf *check_conf(lua_State *L, int idx, enum conf_kind_id kind)
{
	struct conf *c = policy_obj_get(L, idx, CONF_OBJ[kind]);
	struct val v;
	if (c)
		return conf_ref(c);
	policy_check_opts_table(L, idx, CONF_DESC[kind]->name);
	int rc = policy_to_val_mode(L, idx, POLICY_VAL_RAW, policy_arena(L), &v);
	if (rc == 0)
		rc = conf_make(kind, &v, &c);
	if (rc < 0)
		policy_raise_opts(L, CONF_DESC[kind]->name);
	return c;
}

static int make(lua_State *L, enum conf_kind_id kind) { return push_conf(L, kind, check_conf(L, 1, kind)); }
static int l_make_queue_config(lua_State *L) { return make(L, CONF_QUEUE); }
static int l_make_egress_path(lua_State *L) { return make(L, CONF_PATH); }
static int l_make_egress_source(lua_State *L) { return make(L, CONF_SOURCE); }
static int l_make_egress_pool(lua_State *L) { return make(L, CONF_POOL); }

/* --- asking --------------------------------------------------------------------------------------------------------------------------------- */

/* Options that were not given are there too, as a null: policies go through the fields. */
static int push_as_table(lua_State *L, int rc, struct conf *c)
{
	struct val v;
	if (rc < 0)
		return policy_raise(L, rc);
	conf_print(c, false, policy_arena(L), &v);
	conf_unref(&c);
	policy_push_val_nulls(L, &v);
	return 1;
}

static int l_invoke_get_queue_config(lua_State *L)
{
	struct queue_name n;
	struct conf *c = NULL;
	queue_name_parse(policy_check_text(L, 1), &n);
	int rc = fetch_queue(n.domain, n.tenant, n.campaign, n.routing_domain, &c);
	return push_as_table(L, rc, c);
}

static int l_invoke_get_egress_path_config(lua_State *L)
{
	struct slice domain = policy_check_text(L, 1), source = policy_check_text(L, 2), site = policy_check_text(L, 3);
	struct conf *c = NULL;
	int rc = fetch_path(domain, source, site, &c);
	return push_as_table(L, rc, c);
}

static int l_invoke_get_egress_source(lua_State *L)
{
	struct conf *c = NULL;
	int rc = fetch_source(policy_check_text(L, 1), &c);
	return push_as_table(L, rc, c);
}

static int l_invoke_get_egress_pool(lua_State *L)
{
	struct conf *c = NULL;
	int rc = fetch_pool(policy_check_text(L, 1), &c);
	return push_as_table(L, rc, c);
}

/* --- showing -------------------------------------------------------------------------------------------------------------------------------- */

/* TOML knows no null: what is not given is left out. */
static void drop_nulls(struct val *v)
{
	if (v->type == VAL_OBJ) {
		for (uint32_t i = v->n; i-- > 0;) {
			if (v->members[i].val.type == VAL_NULL)
				val_remove(v, v->members[i].key);
			else
				drop_nulls(&v->members[i].val);
		}
	}
	for (uint32_t i = 0; v->type == VAL_LIST && i < v->n; i++)
		drop_nulls(&v->items[i]);
}

static int format_toml(lua_State *L, enum conf_kind_id kind)
{
	struct conf *c = check_conf(L, 1, kind);
	struct buf b = { 0 };
	struct val v;
	conf_print(c, false, policy_arena(L), &v);
	conf_unref(&c);
	drop_nulls(&v);
	val_sort(&v);
	int rc = toml_put(&b, &v, TOML_INLINE_EMPTY);
	if (rc == 0)
		policy_push_slice(L, b.len ? buf_view(&b) : SLICE(""));
	buf_fini(&b);
	return rc < 0 ? policy_raise(L, rc) : 1;
}
static int l_format_queue_config_toml(lua_State *L) { return format_toml(L, CONF_QUEUE); }
static int l_format_egress_path_config_toml(lua_State *L) { return format_toml(L, CONF_PATH); }

static const char *const AXES[] = { "max_concurrent_dispatchers", "max_message_rate", "max_connection_rate", "max_source_selection_rate" };

static double ceiling_value(const struct val *c)
{
	const struct val *v = val_get_lit(c, "value");
	return v && v->type == VAL_FLOAT ? v->f : v && v->type == VAL_INT ? (double)v->i : 1e300;
}

/* For each axis the tighter of the two. */
static void merge_ceilings(struct arena *a, struct val *into, const struct val *more)
{
	const struct val *declared = val_get_lit(into, "max_message_rate");
	bool primary = declared && slice_eq_cstr(val_get_str(val_get_lit(declared, "source"), SLICE("kind")), "primary");
	struct slice text = val_get_str(declared, SLICE("display"));
	for (size_t i = 0; i < ARRAY_LEN(AXES); i++) {
		struct slice axis = slice_from_cstr(AXES[i]);
		const struct val *mine = val_get(into, axis), *theirs = val_get(more, axis);
		bool have = mine && mine->type == VAL_OBJ;
		if (!theirs || theirs->type != VAL_OBJ || (have && ceiling_value(theirs) >= ceiling_value(mine)))
			continue;
		val_put(a, into, axis, val_copy(a, theirs));
		if (i == 1 && primary)
			val_put_lit(a, into, "max_message_rate_declared", val_str(a, text));
	}
}

static int l_compute_path(lua_State *L)
{
	struct arena *a = policy_arena(L);
	struct conf *c = check_conf(L, 1, CONF_PATH);
	struct val v, more;
	path_constraints(path_opts_of(c), NULL, a, &v);
	conf_unref(&c);
	if (!lua_isnoneornil(L, 2)) {
		int rc = policy_to_val(L, 2, a, &more);
		if (rc < 0)
			return policy_raise(L, rc);
		merge_ceilings(a, &v, &more);
	}
	drop_nulls(&v);
	policy_push_val(L, &v);
	return 1;
}

static int l_compute_queue(lua_State *L)
{
	struct arena *a = policy_arena(L);
	struct conf *c = check_conf(L, 1, CONF_QUEUE);
	struct path_opts none = { 0 };
	struct val v, open = val_obj(), source = val_obj();
	path_constraints(&none, queue_opts_of(c), a, &v);
	conf_unref(&c);
	/* queues limit no connections: a ceiling that loses every comparison */
	val_put_lit(a, &source, "kind", val_cstr(a, "other"));
	val_put_lit(a, &source, "name", val_cstr(a, "queue config"));
	val_put_lit(a, &open, "value", val_float(1e308 * 10));
	val_put_lit(a, &open, "source", source);
	val_put_lit(a, &open, "display", val_cstr(a, "∞"));
	val_put_lit(a, &v, "max_concurrent_dispatchers", open);
	drop_nulls(&v);
	policy_push_val(L, &v);
	return 1;
}

static void put_ceiling(struct buf *b, const struct val *all, const char *axis, const char *label, const char *primary)
{
	const struct val *c = val_get(all, slice_from_cstr(axis));
	if (!c || c->type != VAL_OBJ)
		return;
	const struct val *src = val_get_lit(c, "source");
	struct slice kind = val_get_str(src, SLICE("kind")), name = val_get_str(src, SLICE("name"));
	if (slice_eq_cstr(kind, "primary"))
		name = slice_from_cstr(primary);
	else if (slice_eq_cstr(kind, "reconnect_cycling"))
		name = SLICE("max_deliveries_per_connection × max_connection_rate");
	buf_printf(b, "  %-24s%.*s\n    source: %.*s\n", label, SLICE_ARG(val_get_str(c, SLICE("display"))), SLICE_ARG(name));
}

static int l_format_constraints(lua_State *L)
{
	struct val v;
	struct buf b = { 0 };
	int rc = policy_to_val(L, 1, policy_arena(L), &v);
	if (rc < 0)
		return policy_raise(L, rc);
	struct slice declared = val_get_str(&v, SLICE("max_message_rate_declared"));
	buf_lit(&b, "ceilings:\n");
	put_ceiling(&b, &v, AXES[0], "concurrent dispatchers:", "connection_limit");
	put_ceiling(&b, &v, AXES[1], "message rate:", "max_message_rate");
	if (declared.ptr && val_get_lit(&v, "max_message_rate"))
		buf_printf(&b, "    declared: max_message_rate = %.*s ← effectively unreachable\n", SLICE_ARG(declared));
	put_ceiling(&b, &v, AXES[2], "connection rate:", "max_connection_rate");
	put_ceiling(&b, &v, AXES[3], "source selection rate:", "source_selection_rate");
	policy_push_slice(L, buf_view(&b));
	buf_fini(&b);
	return 1;
}

/* --- messages ---------------------------------------------------------------------------------------------------------------------------------- */

static int l_inject_message(lua_State *L)
{
	struct msg *m = policy_obj_check(L, 1, &MSG_OBJ);
	bool deferred = lua_toboolean(L, 2);
	struct buf name = { 0 };
	int rc = msg_queue_name(m, &name);
	if (rc == 0 && !deferred)
		rc = msg_save(m);
	if (rc == 0) {
		rc = queue_insert(msg_ref(m), buf_view(&name));
		if (rc < 0) {
			struct msg *ours = m;
			msg_remove(m);
			msg_unref(&ours);
		}
	}
	buf_fini(&name);
	return rc < 0 ? policy_raise(L, rc) : 0;
}

/* --- settings ----------------------------------------------------------------------------------------------------------------------------------- */

static int l_set_hard(lua_State *L)
{
	memory_set_hard_limit(policy_check_int(L, 1, "usize", 0, INT64_MAX));
	return 0;
}
static int l_set_soft(lua_State *L)
{
	memory_set_soft_limit(policy_check_int(L, 1, "usize", 0, INT64_MAX));
	return 0;
}
static int l_set_low(lua_State *L)
{
	memory_set_low_thresh(policy_check_int(L, 1, "usize", 0, INT64_MAX));
	return 0;
}

static int l_get_hard(lua_State *L)
{
	lua_pushinteger(L, memory_hard_limit());
	return 1;
}

static int l_get_soft(lua_State *L)
{
	lua_pushinteger(L, memory_soft_limit());
	return 1;
}

static int l_get_low(lua_State *L)
{
	lua_pushinteger(L, memory_low_thresh());
	return 1;
}

static const struct luaL_Reg FUNCTIONS[] = {
	{ "get_memory_hard_limit", l_get_hard },
	{ "get_memory_soft_limit", l_get_soft },
	{ "get_memory_low_thresh", l_get_low },
	{ "make_queue_config", l_make_queue_config },
	{ "make_egress_path", l_make_egress_path },
	{ "make_egress_source", l_make_egress_source },
	{ "make_egress_pool", l_make_egress_pool },
	{ "invoke_get_queue_config", l_invoke_get_queue_config },
	{ "invoke_get_egress_path_config", l_invoke_get_egress_path_config },
	{ "invoke_get_egress_source", l_invoke_get_egress_source },
	{ "invoke_get_egress_pool", l_invoke_get_egress_pool },
	{ "format_queue_config_toml", l_format_queue_config_toml },
	{ "format_egress_path_config_toml", l_format_egress_path_config_toml },
	{ "compute_egress_path_config_constraints", l_compute_path },
	{ "compute_queue_config_constraints", l_compute_queue },
	{ "format_egress_path_config_constraints", l_format_constraints },
	{ "inject_message", l_inject_message },
	{ "set_memory_hard_limit", l_set_hard },
	{ "set_memory_soft_limit", l_set_soft },
	{ "set_memory_low_thresh", l_set_low },
	{ NULL, NULL },
};
static const struct policy_module MODULE = { .name = "kumo", .functions = FUNCTIONS };

void mod_queue_register(void)
{
	static const struct luaL_Reg none[] = { { NULL, NULL } };
	for (int k = 0; k < CONF_KINDS; k++) {
		policy_obj_methods(CONF_OBJ[k], none);
		cached_shareable(CONF_OBJ[k]);
	}
	policy_module_register(&MODULE);
}
