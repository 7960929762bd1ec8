/* SPDX-License-Identifier: Apache-2.0 */
#include <lauxlib.h>
#include <stdlib.h>
#include "base/encode.h"
#include "base/xalloc.h"
#include "lua/modules.h"
#include "lua/server/mod_shaping.h"
#include "lua/store/cached.h"
#include "net/dns.h"
#include "net/http_client.h"
#include "queue/conf/config.h"
#include "rt/fiber.h"
#include "tls/digest.h"

#define ERROR_BODY_MAX 512	/* as much of the page of an HTTP error goes into the message */
#define RESOLVERS_MAX 64	/* fibers that resolve the domains of shaping files at the same time */

/* --- what shaping asks of the rest ----------------------------------------------------------------------------------------- */

struct resolve_job {
	const struct slice *domains;
	size_t n, next;
	struct mx_site **sites;		/* NULL: the name is no domain; see bad */
	const char **bad;		/* freed by the caller */
	int rc;				/* the caller was canceled */
};

/* All workers run on the caller's shard, so the job needs no lock. */
static void resolve_worker(void *arg)
{
	struct resolve_job *j = arg;

	while (j->next < j->n && j->rc == 0) {
		size_t i = j->next++;
		int rc = mx_resolve(j->domains[i], &j->sites[i]);

		if (rc == -E_INVAL)
			j->bad[i] = xstrdup(err_text());
		else if (rc < 0)
			j->rc = rc;
	}
}

/* Runs the job on this fiber and on helpers; returns when all have ended, whatever happened. */
static void resolve_run(struct resolve_job *j)
{
	struct rt_fiber *helpers[RESOLVERS_MAX];
	size_t n_helpers = MIN(j->n - 1, (size_t)RESOLVERS_MAX);
	struct rt_shield shield;

	for (size_t i = 0; i < n_helpers; i++)
		helpers[i] = rt_fiber_start("shaping-resolve", resolve_worker, j);
	resolve_worker(j);
	rt_shield_enter(&shield);
	for (size_t i = 0; i < n_helpers; i++) {
		if (j->rc < 0)
			rt_fiber_cancel(helpers[i]);
		rt_fiber_join(helpers[i]);
		rt_fiber_unref(&helpers[i]);
	}
	rt_shield_leave(&shield);
}

static void take_site(struct arena *a, const struct mx_site *site, const char *bad, struct shaping_mx *out)
{
	*out = (struct shaping_mx){ 0 };
	if (!site) {
		out->error = arena_printf(a, "%s", bad ? bad : "canceled");
		return;
	}
	if (site->status == MX_NXDOMAIN || site->status == MX_FAIL) {
		out->error = arena_strdup(a, site->error);
		return;
	}
	if (site->status == MX_NULL)
		return;
	out->site_name = arena_dup(a, site->site_name);
	out->n_hosts = site->n;
	out->hosts = arena_alloc(a, site->n * sizeof(*out->hosts) + 1);
	for (uint32_t i = 0; i < site->n; i++)
		out->hosts[i] = arena_dup(a, site->hosts[i].name);
}

static int resolve(const struct slice *domains, size_t n, struct arena *a, struct shaping_mx *out)
{
	struct resolve_job j = { .domains = domains, .n = n, .sites = xcalloc(n, sizeof(*j.sites)), .bad = xcalloc(n, sizeof(*j.bad)) };

	resolve_run(&j);
	for (size_t i = 0; i < n; i++) {
		take_site(a, j.sites[i], j.bad[i], &out[i]);
		if (j.sites[i])
			mx_site_unref(&j.sites[i]);
		free((void *)(uintptr_t)j.bad[i]);
	}
	free(j.sites);
	free(j.bad);
	return j.rc;
}

static int check_params(const struct val *params)
{
	struct conf *c;
	int rc = conf_make(CONF_PATH, params, &c);

	if (rc == 0)
		conf_unref(&c);
	return rc;
}

static int fetch(struct slice url, int64_t timeout_ns, struct buf *out)
{
	char *text = xmemdup0(url.ptr, url.len);
	const struct http_fetch f = { .method = "GET", .url = text, .timeout_ms = MAX(timeout_ns / 1000000, (int64_t)1) };
	struct http_reply reply = { 0 };
	int rc = http_fetch(&f, &reply);

	if (rc < 0) {
		err_prefix("making HTTP request to %s", text);
	} else if (reply.status < 200 || reply.status > 299) {
		struct slice why = slice_trim(slice_sub(buf_view(&reply.body), 0, ERROR_BODY_MAX));

		rc = err_set(E_IO, "HTTP request to %s failed: status %d %s %.*s", text, reply.status, http1_reason(reply.status), SLICE_ARG(why));
	} else {
		buf_slice(out, buf_view(&reply.body));
	}
	http_reply_fini(&reply);
	free(text);
	return rc;
}

const struct shaping_ops SHAPING_OPS = { resolve, check_params, fetch };

/* --- kumo.shaping.load ------------------------------------------------------------------------------------------------------ */

static void *obj_ref(void *s)
{
	return shaping_ref(s);
}

static void obj_unref(void *s)
{
	struct shaping *shaping = s;

	shaping_unref(&shaping);
}

const struct policy_obj_type SHAPING_OBJ = { .name = "Shaping", .ref = obj_ref, .unref = obj_unref };

static size_t check_paths(lua_State *L, int idx, struct slice **paths)
{
	size_t n;

	luaL_checktype(L, idx, LUA_TTABLE);
	n = lua_rawlen(L, idx);
	*paths = arena_alloc(policy_arena(L), n * sizeof(**paths) + 1);
	for (size_t i = 0; i < n; i++) {
		lua_rawgeti(L, idx, (lua_Integer)i + 1);
		if (lua_type(L, -1) != LUA_TSTRING)
			policy_raisef(L, "kumo.shaping.load: element %zu of the list of files is a %s, expected a path or URL", i + 1, luaL_typename(L, -1));
		(*paths)[i] = arena_dup(policy_arena(L), policy_check_slice(L, -1));
		lua_pop(L, 1);
	}
	return n;
}

static int load(lua_State *L)
{
	struct shaping_options options;
	struct shaping *s;
	struct slice *paths;
	size_t n = check_paths(L, 1, &paths);
	int rc;

	if (lua_isnoneornil(L, 2))
		opt_defaults(&SHAPING_OPTIONS, policy_arena(L), &options);
	else
		policy_check_opts(L, 2, &SHAPING_OPTIONS, policy_arena(L), &options);
	if ((rc = shaping_load(paths, n, &options, &SHAPING_OPS, &s)) < 0)
		return policy_raise(L, rc);
	policy_obj_push(L, &SHAPING_OBJ, s);
	shaping_unref(&s);
	return 1;
}

/* --- methods of the object -------------------------------------------------------------------------------------------------- */

static int get_egress_path_config(lua_State *L)
{
	struct shaping *s = policy_obj_check(L, 1, &SHAPING_OBJ);
	struct slice domain = policy_check_slice(L, 2), source = policy_check_slice(L, 3), site = policy_check_slice(L, 4);
	struct val v;
	int rc = shaping_path_params(s, domain, source, site, policy_arena(L), &v);

	if (rc < 0)
		return policy_raise(L, rc);
	policy_push_val(L, &v);
	return 1;
}

static int push_texts(lua_State *L, const char *const *list, size_t n)
{
	lua_createtable(L, (int)n, 0);
	for (size_t i = 0; i < n; i++) {
		lua_pushstring(L, list[i]);
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	return 1;
}

static int get_errors(lua_State *L)
{
	const char *const *list;
	size_t n = shaping_errors(policy_obj_check(L, 1, &SHAPING_OBJ), &list);

	return push_texts(L, list, n);
}

static int get_warnings(lua_State *L)
{
	const char *const *list;
	size_t n = shaping_warnings(policy_obj_check(L, 1, &SHAPING_OBJ), &list);

	return push_texts(L, list, n);
}

static int get_referenced_sources(lua_State *L)
{
	struct val v;

	shaping_referenced_sources(policy_obj_check(L, 1, &SHAPING_OBJ), policy_arena(L), &v);
	policy_push_val(L, &v);
	return 1;
}

static int64_t int_member(const struct val *v, struct slice key, int64_t max)
{
	const struct val *m = val_get(v, key);

	return m && m->type == VAL_INT && m->i >= 0 && m->i <= max ? m->i : 0;
}

static void read_response(const struct val *v, struct smtp_response *out)
{
	const struct val *enhanced = val_get_lit(v, "enhanced_code");

	*out = (struct smtp_response){ .code = (uint16_t)int_member(v, SLICE("code"), UINT16_MAX), .content = val_get_str(v, SLICE("content")) };
	if (!out->content.ptr)
		out->content = SLICE("");
	if (enhanced && enhanced->type == VAL_OBJ) {
		out->has_enhanced = true;
		out->enh_class = (uint8_t)int_member(enhanced, SLICE("class"), UINT8_MAX);
		out->enh_subject = (uint16_t)int_member(enhanced, SLICE("subject"), UINT16_MAX);
		out->enh_detail = (uint16_t)int_member(enhanced, SLICE("detail"), UINT16_MAX);
	}
}

/* A log record as a table. */
static int match_rules(lua_State *L)
{
	struct shaping *s = policy_obj_check(L, 1, &SHAPING_OBJ);
	struct arena *a = policy_arena(L);
	struct shaping_match *matches;
	struct smtp_response response;
	struct val record, v;
	size_t n;
	int rc;

	if ((rc = policy_to_val(L, 2, a, &record)) < 0)
		return policy_raise(L, rc);
	const struct val *r = val_get_lit(&record, "response"), *to = val_get_lit(&record, "recipient");
	struct slice recipient = to && to->type == VAL_LIST ? (to->n && to->items[0].type == VAL_STR ? to->items[0].s : SLICE_NONE) : val_get_str(&record, SLICE("recipient"));
	struct slice site = val_get_str(&record, SLICE("site"));
	if (!recipient.ptr || !r || r->type != VAL_OBJ)
		return policy_raisef(L, "Shaping.match_rules: expected a log record, with the fields `recipient` and `response`");
	read_response(r, &response);
	rc = shaping_match_rules(s, recipient, val_get_str(&record, SLICE("egress_source")), site.ptr ? site : SLICE(""), &response, a, &matches, &n);
	if (rc < 0)
		return policy_raise(L, rc);
	lua_createtable(L, (int)n, 0);
	for (size_t i = 0; i < n; i++) {
		shaping_rule_to_val(matches[i].rule, a, &v);
		policy_push_val(L, &v);
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	return 1;
}

/* SHA-256 of everything that was loaded, in hex. */
static int hash(lua_State *L)
{
	struct buf text = { 0 }, hex = { 0 };
	uint8_t md[TLS_MD_MAX];

	shaping_put_text(policy_obj_check(L, 1, &SHAPING_OBJ), &text);
	size_t n = tls_digest(TLS_SHA256, buf_view(&text), md);
	hex_put(&hex, slice_new(md, n), false);
	policy_push_slice(L, buf_view(&hex));
	buf_fini(&text);
	buf_fini(&hex);
	return 1;
}

static const struct luaL_Reg METHODS[] = {
	{ "get_egress_path_config", get_egress_path_config },
	{ "get_errors", get_errors },
	{ "get_warnings", get_warnings },
	{ "get_referenced_sources", get_referenced_sources },
	{ "match_rules", match_rules },
	{ "hash", hash },
	{ NULL, NULL },
};
static const struct luaL_Reg FUNCTIONS[] = { { "load", load }, { NULL, NULL } };
static const struct policy_module MODULE = { .name = "kumo.shaping", .functions = FUNCTIONS };

void mod_shaping_register(void)
{
	policy_obj_methods(&SHAPING_OBJ, METHODS);
	cached_shareable(&SHAPING_OBJ);
	policy_module_register(&MODULE);
}
