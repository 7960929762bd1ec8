/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mod_kumo - the functions of the module kumo that belong to nothing else: events, rejections, logging, tasks, the configuration epoch.
 */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "kumo_version.h"
#include "codec/opt.h"
#include "lua/util.h"
#include "policy/arg.h"
#include "policy/lruttl.h"
#include "policy/watch.h"
#include "rt/diag.h"
#include "rt/fiber.h"
#include "rt/loop.h"
#include "rt/metrics.h"

/* --- rejections ----------------------------------------------------------------------------------------------------- */

static int kumo_reject(lua_State *L)
{
	int64_t code = policy_check_int(L, 1, "u16", 0, UINT16_MAX);
	return policy_raise_reject(L, (int)code, policy_check_text(L, 2), POLICY_REJECT_IF_421);
}

static int kumo_disconnect(lua_State *L)
{
	int64_t code = policy_check_int(L, 1, "u16", 0, UINT16_MAX);
	struct slice text = policy_check_text(L, 2), how = policy_opt_text(L, 3);
	enum policy_reject_mode mode = POLICY_REJECT_DISCONNECT;
	if (slice_eq(how, SLICE("If421")))
		mode = POLICY_REJECT_IF_421;
	else if (slice_eq(how, SLICE("FollowWith421")))
		mode = POLICY_REJECT_FOLLOW_WITH_421;
	else if (how.ptr && !slice_eq(how, SLICE("ForceDisconnect")))
		return policy_raisef(L, "deserialize error: unknown variant `%.*s`, expected one of `If421`, `FollowWith421`, `ForceDisconnect`", SLICE_ARG(how));
	return policy_raise_reject(L, (int)code, text, mode);
}

/* --- logging -------------------------------------------------------------------------------------------------------- */

/* Text for a terminal: bytes that are no UTF-8 are written as \xFF. */
static void put_readable(struct buf *b, struct slice s)
{
	while (s.len) {
		uint32_t cp;
		size_t n = utf8_decode(s, &cp);
		if (n)
			buf_put(b, s.ptr, n);
		else
			buf_printf(b, "\\x%02X", (unsigned char)s.ptr[n++]);
		s = slice_sub(s, n, SIZE_MAX);
	}
}

static int log_at(lua_State *L, enum diag_level level)
{
	if (!diag_enabled(level, "lua"))
		return 0;
	struct buf b = { 0 };
	lua_Debug ar;
	int n = lua_gettop(L);
	luaL_checkstack(L, n + 4, "too many arguments");
	for (int i = 1; i <= n; i++)
		luaL_tolstring(L, i, NULL);	/* may raise: before the buffer holds anything */
	if (lua_getstack(L, 1, &ar) && lua_getinfo(L, "Sl", &ar))
		buf_printf(&b, "%s:%d:", ar.source[0] == '@' ? ar.source + 1 : ar.source, ar.currentline);
	for (int i = 1; i <= n; i++) {
		size_t len;
		const char *s = lua_tolstring(L, n + i, &len);
		buf_putc(&b, ' ');
		put_readable(&b, slice_new(s, len));
	}
	diag_write(level, "lua", "%s", buf_cstr(&b));
	buf_fini(&b);
	return 0;
}

static int kumo_log_error(lua_State *L) { return log_at(L, DIAG_ERROR); }
static int kumo_log_warn(lua_State *L) { return log_at(L, DIAG_WARN); }
static int kumo_log_info(lua_State *L) { return log_at(L, DIAG_INFO); }
static int kumo_log_debug(lua_State *L) { return log_at(L, DIAG_DEBUG); }

static int kumo_set_diagnostic_log_filter(lua_State *L)
{
	struct slice filter = policy_check_text(L, 1);
	if (diag_set_filter(arena_strdup(policy_arena(L), filter)) < 0)
		return policy_raise(L, -E_INVAL);
	return 0;
}

/* --- configuration -------------------------------------------------------------------------------------------------- */

static int kumo_bump_config_epoch(lua_State *L)
{
	policy_bump_epoch();
	return 0;
}

static int kumo_set_config_monitor_globs(lua_State *L)
{
	policy_check_table(L, 1, "Vec<String>");
	size_t n = lua_rawlen(L, 1);
	struct slice *globs = arena_alloc(policy_arena(L), (n + 1) * sizeof *globs);
	for (size_t i = 0; i < n; i++) {
		lua_rawgeti(L, 1, (lua_Integer)i + 1);
		globs[i] = arena_dup(policy_arena(L), policy_check_text(L, -1));
		lua_pop(L, 1);
	}
	policy_watch_set_globs(globs, n);
	return 0;
}

static int kumo_eval_config_monitor_globs(lua_State *L)
{
	struct glob_list l = { 0 };
	int rc = policy_watch_eval(&l);
	if (rc == 0)
		glob_list_sort(&l);
	return lua_push_paths(L, rc, &l);
}

static int kumo_validation_failed(lua_State *L)
{
	policy_mark_validation_failed();
	return 0;
}

static int kumo_set_lruttl_cache_capacity(lua_State *L)
{
	struct slice name = policy_check_text(L, 1);
	int64_t n = policy_check_int(L, 2, "usize", 0, INT64_MAX);
	int rc = lruttl_set_capacity(name, n);
	return rc < 0 ? policy_raise(L, rc) : 0;
}

static int kumo_set_max_lua_context_use_count(lua_State *L)
{
	policy_set_max_uses(policy_check_int(L, 1, "usize", 0, INT64_MAX));
	return 0;
}

static int kumo_set_max_spare_lua_contexts(lua_State *L)
{
	policy_set_max_spare(policy_check_int(L, 1, "usize", 0, INT64_MAX));
	return 0;
}

static int kumo_set_max_lua_context_age(lua_State *L)
{
	policy_set_max_age_ms(policy_check_int(L, 1, "usize", 0, INT64_MAX / 1000) * 1000);
	return 0;
}

/* Accepted for the sake of existing policies: our threads are one a core, and none of them is set aside for one job. */
static int accept_count(lua_State *L)
{
	policy_check_int(L, 1, "usize", 0, INT64_MAX);
	return 0;
}

static int accept_flag(lua_State *L)
{
	policy_check_bool(L, 1);
	return 0;
}

struct pool_opts {
	struct slice name;
	int64_t num_threads;
};
static const struct opt_field POOL_FIELDS[] = {
	OPT_STR(struct pool_opts, name, NULL, "name of the pool", .required = true),
	OPT_INT(struct pool_opts, num_threads, NULL, "how many threads", .required = true),
	OPT_END,
};
static const struct opt_desc POOL = { .name = "spawn_thread_pool", .fields = POOL_FIELDS, .size = sizeof(struct pool_opts), .open = true };

static int kumo_spawn_thread_pool(lua_State *L)
{
	struct pool_opts o;
	policy_check_opts(L, 1, &POOL, policy_arena(L), &o);
	return 0;
}

/* --- tasks ---------------------------------------------------------------------------------------------------------- */

struct task {
	char *event;
	struct vdoc *args;
};

static void task_run(void *arg)
{
	struct task *t = arg;
	struct policy_call c;
	int rc = policy_event_wanted_name(slice_from_cstr(t->event)) ? policy_call_begin_name(&c, slice_from_cstr(t->event)) : 0;
	if (rc == 0 && policy_event_wanted_name(slice_from_cstr(t->event))) {
		policy_push_val(c.L, &t->args->root);
		rc = policy_call_run(&c, 1, 0);
		policy_call_end(&c);
	}
	if (rc < 0 && rc != -E_CANCELED)
		diag_error("kumod", "Error while dispatching %s: %s", t->event, err_text());
	vdoc_unref(&t->args);
	free(t->event);
	free(t);
}

struct task_opts {
	struct slice event_name;
	const struct val *args;
};
static const struct opt_field TASK_FIELDS[] = {
	OPT_STR(struct task_opts, event_name, NULL, "the event to fire", .required = true),
	OPT_VAL(struct task_opts, args, "list of arguments, passed as one value", .required = true),
	OPT_END,
};
static const struct opt_desc TASK = { .name = "spawn_task", .fields = TASK_FIELDS, .size = sizeof(struct task_opts), .open = true };

static int kumo_spawn_task(lua_State *L)
{
	struct task_opts o;
	policy_check_opts(L, 1, &TASK, policy_arena(L), &o);
	if (o.args->type != VAL_LIST && o.args->type != VAL_OBJ)
		return policy_raisef(L, "deserialize error: invalid type: %s, expected table, while processing spawn_task.args", val_type_name(o.args->type));
	if (policy_is_validating())
		return 0;
	struct task *t = xzalloc(sizeof *t);
	t->event = xmemdup0(o.event_name.ptr, o.event_name.len);
	t->args = vdoc_copy_of(o.args);
	rt_fiber_spawn_on(rt_shard_next(), "task", task_run, t);
	return 0;
}

/* --- the rest ------------------------------------------------------------------------------------------------------- */


static int kumo_available_parallelism(lua_State *L)
{
	const char *env = getenv("KUMO_AVAILABLE_PARALLELISM");
	uint64_t n = 0;
	cpu_set_t set;
	if (env && slice_to_u64(slice_from_cstr(env), &n) < 0)
		return policy_raisef(L, "KUMO_AVAILABLE_PARALLELISM is not a number: %s", env);
	if (!env)
		n = sched_getaffinity(0, sizeof set, &set) == 0 ? (uint64_t)CPU_COUNT(&set) : (uint64_t)sysconf(_SC_NPROCESSORS_ONLN);
	lua_pushinteger(L, (lua_Integer)n);
	return 1;
}

static void set_line(lua_State *L, const char *key, int line)
{
	if (line >= 0) {
		lua_pushinteger(L, line);
		lua_setfield(L, -2, key);
	}
}

static void set_text(lua_State *L, const char *key, const char *text)
{
	if (text && *text) {
		lua_pushstring(L, text);
		lua_setfield(L, -2, key);
	}
}

static int kumo_traceback(lua_State *L)
{
	int64_t level = policy_check_int(L, 1, "usize", 0, INT64_MAX);
	lua_Debug ar;
	lua_newtable(L);
	for (int n = 1; level < INT32_MAX && lua_getstack(L, (int)level, &ar); level++, n++) {
		lua_getinfo(L, "nSlt", &ar);
		lua_newtable(L);
		set_text(L, "event", "Unknown(-1)");	/* of a debug hook: never one here */
		set_text(L, "name", ar.name);
		set_text(L, "name_what", ar.namewhat);
		set_text(L, "source", ar.source);
		set_text(L, "short_src", ar.short_src);
		set_text(L, "what", ar.what);
		set_line(L, "line_defined", ar.linedefined);
		set_line(L, "last_line_defined", ar.lastlinedefined);
		set_line(L, "curr_line", ar.currentline);
		lua_pushboolean(L, ar.istailcall);
		lua_setfield(L, -2, "is_tail_call");
		lua_rawseti(L, -2, n);
	}
	return 1;
}

static int kumo_prometheus_metrics(lua_State *L)
{
	struct buf b = { 0 };
	struct val v;
	metrics_put_json(&b, NULL);
	int rc = json_parse(buf_view(&b), policy_arena(L), &v);
	buf_fini(&b);
	if (rc < 0)
		return policy_raise(L, rc);
	policy_push_val(L, &v);
	return 1;
}

static void open_kumo(lua_State *L)
{
	lua_pushliteral(L, KUMO_VERSION);
	lua_setfield(L, -2, "version");
}

static const luaL_Reg FUNCTIONS[] = {
	{ "on", policy_lua_on },
	{ "get_event_registrars", policy_lua_get_event_registrars },
	{ "reject", kumo_reject },
	{ "disconnect", kumo_disconnect },
	{ "log_error", kumo_log_error },
	{ "log_warn", kumo_log_warn },
	{ "log_info", kumo_log_info },
	{ "log_debug", kumo_log_debug },
	{ "set_diagnostic_log_filter", kumo_set_diagnostic_log_filter },
	{ "bump_config_epoch", kumo_bump_config_epoch },
	{ "set_config_monitor_globs", kumo_set_config_monitor_globs },
	{ "eval_config_monitor_globs", kumo_eval_config_monitor_globs },
	{ "validation_failed", kumo_validation_failed },
	{ "set_lruttl_cache_capacity", kumo_set_lruttl_cache_capacity },
	{ "set_max_lua_context_use_count", kumo_set_max_lua_context_use_count },
	{ "set_max_lua_context_age", kumo_set_max_lua_context_age },
	{ "set_max_spare_lua_contexts", kumo_set_max_spare_lua_contexts },
	{ "set_httpinject_threads", accept_count },
	{ "set_logging_threads", accept_count },
	{ "set_qmaint_threads", accept_count },
	{ "set_ready_qmaint_threads", accept_count },
	{ "set_readyq_threads", accept_count },
	{ "set_smtpsrv_threads", accept_count },
	{ "set_spoolin_threads", accept_count },
	{ "set_lua_gc_on_put", accept_count },
	{ "set_timeq_spawn_reinsertion", accept_flag },
	{ "enable_memory_callstack_tracking", accept_flag },
	{ "spawn_thread_pool", kumo_spawn_thread_pool },
	{ "spawn_task", kumo_spawn_task },
	{ "sleep", lua_fn_sleep },
	{ "available_parallelism", kumo_available_parallelism },
	{ "traceback", kumo_traceback },
	{ "prometheus_metrics", kumo_prometheus_metrics },
	{ NULL, NULL },
};
const struct policy_module mod_kumo = { "kumo", FUNCTIONS, open_kumo };
