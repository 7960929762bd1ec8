/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mod_redis - the module redis: open{node=URL}, and query on what it returns; kumo.configure_redis_throttles.
 */
#include <stdlib.h>
#include "base/map.h"
#include "codec/opt.h"
#include "lua/util.h"
#include "net/redis.h"
#include "queue/throttle.h"
#include "queue/throttle_redis.h"
#include "rt/sync.h"

#define CLIENTS_MAX 64

static struct rt_lock clients_lock = RT_LOCK_INIT(RANK_CONFIG);
static struct map clients;	/* by their parameters, each with a reference; under clients_lock */

struct open_opts {
	const struct val *node;
	int64_t pool_size, connect_timeout, wait_timeout, response_timeout, recycle_timeout;
	bool read_from_replicas, cluster;
	struct slice username, password;
};
#define O struct open_opts
static const struct opt_field FIELDS[] = {
	OPT_VAL(O, node, "URL of the server, or a list of them", .required = true),
	OPT_INT(O, pool_size, "10", "idle connections that are kept"),
	OPT_BOOL(O, read_from_replicas, "false", "for clusters"),
	OPT_STR(O, username, NULL, "who to log in as, instead of who the URL names"),
	OPT_STR(O, password, NULL, "its password"),
	OPT_DURATION(O, connect_timeout, "30s", "how long connecting may take"),
	OPT_DURATION(O, wait_timeout, "30s", "accepted: opening waits for nobody"),
	OPT_DURATION(O, response_timeout, "30s", "how long an answer may take"),
	OPT_DURATION(O, recycle_timeout, "30s", "accepted: an idle connection that was closed is replaced"),
	OPT_BOOL(O, cluster, "false", "use a cluster"),
	OPT_END,
};
#undef O
static const struct opt_desc OPEN = { .name = "redis.open", .fields = FIELDS, .size = sizeof(struct open_opts) };

static void *ref_client(void *p)
{
	return redis_client_ref(p);
}

static void unref_client(void *p)
{
	struct redis_client *c = p;
	redis_client_unref(&c);
}

static const struct policy_obj_type CLIENT_OBJ = { .name = "RedisConnection", .ref = ref_client, .unref = unref_client };

struct words {
	struct slice *at;	/* NULL: they are only counted */
	size_t n;
};

static struct slice word_of(struct arena *a, const struct val *v)
{
	struct buf b = { 0 };
	if (v->type == VAL_STR)
		return v->s;
	if (v->type == VAL_BOOL)
		return v->b ? SLICE("1") : SLICE("0");
	json_put(&b, v, JSON_COMPACT);
	struct slice s = arena_dup(a, buf_view(&b));
	buf_fini(&b);
	return s;
}

/* A value becomes one word of the command, but nil none, and a table its items, or its keys and values, one after the other. */
static void put_words(struct arena *a, struct words *w, const struct val *v)
{
	const struct val *items = v->type == VAL_LIST ? v->items : NULL;
	if (v->type == VAL_LIST || v->type == VAL_OBJ) {
		for (uint32_t i = 0; i < v->n; i++) {
			if (!items && w->at)
				w->at[w->n] = v->members[i].key;
			w->n += !items;
			put_words(a, w, items ? &items[i] : &v->members[i].val);
		}
	} else if (v->type != VAL_NULL) {
		if (w->at)
			w->at[w->n] = word_of(a, v);
		w->n++;
	}
}

static int conn_query(lua_State *L)
{
	struct redis_client *c = policy_obj_check(L, 1, &CLIENT_OBJ);
	struct arena *a = policy_arena(L);
	struct words w = { NULL, 0 };
	struct val args = val_list(), v;
	int rc;
	policy_check_text(L, 2);
	for (int i = 2; i <= lua_gettop(L); i++) {
		if ((rc = policy_to_val_mode(L, i, POLICY_VAL_RAW, a, &v)) < 0)
			return policy_raise(L, rc);
		val_push(a, &args, v);
	}
	put_words(a, &w, &args);
	w = (struct words){ arena_alloc(a, (w.n + 1) * sizeof *w.at), 0 };
	put_words(a, &w, &args);
	rc = redis_query(c, w.at, w.n, a, &v);
	if (rc < 0)
		return policy_raise(L, rc);
	policy_push_val(L, &v);
	return 1;
}

/* One server's URL; more than one would be a cluster. */
static struct slice node_url(lua_State *L, const struct open_opts *o)
{
	const struct val *node = o->node;
	if (node->type == VAL_LIST && node->n == 1)
		node = &node->items[0];
	if (o->cluster || node->type == VAL_LIST)
		policy_raisef(L, "redis.open: Redis clusters are not supported yet: give one node");
	if (node->type != VAL_STR)
		policy_raisef(L, "deserialize error: data did not match any variant of untagged enum NodeSpec");
	return node->s;
}

/* Policies open a connection in each event: those with the same parameters share a client, and so its idle connections. */
static int client_for(struct arena *a, const struct redis_conf *conf, struct redis_client **out)
{
	struct slice key = arena_slicef(a, "%lld %lld %zu %zu:%.*s %zu:%.*s %.*s", (long long)conf->connect_timeout_ms, (long long)conf->response_timeout_ms, conf->pool_size,
				       conf->username.len, SLICE_ARG(conf->username), conf->password.len, SLICE_ARG(conf->password), SLICE_ARG(conf->url));
	rt_lock(&clients_lock);
	struct redis_client *c = map_get(&clients, key);
	if (c)
		redis_client_ref(c);
	rt_unlock(&clients_lock);
	if (c) {
		*out = c;
		return 0;
	}
	int rc = redis_client_create(conf, out);
	if (rc < 0)
		return rc;
	rt_lock(&clients_lock);
	if (map_len(&clients) < CLIENTS_MAX && !map_get(&clients, key))
		map_put(&clients, key, redis_client_ref(*out));
	rt_unlock(&clients_lock);
	return 0;
}

/* The client for the parameters at 1, with a reference. */
static struct redis_client *check_client(lua_State *L)
{
	struct open_opts o;
	struct redis_client *c;
	policy_check_opts(L, 1, &OPEN, policy_arena(L), &o);
	const struct redis_conf conf = { node_url(L, &o), o.connect_timeout / 1000000, o.response_timeout / 1000000, (size_t)o.pool_size, o.username, o.password };
	int rc = client_for(policy_arena(L), &conf, &c);
	if (rc < 0)
		policy_raise(L, rc);
	return c;
}

static int fn_open(lua_State *L)
{
	struct redis_client *c = check_client(L);
	policy_obj_push(L, &CLIENT_OBJ, c);
	redis_client_unref(&c);
	return 1;
}

/* A server that cannot be reached is told of now, not by the first message. */
static int fn_configure_redis_throttles(lua_State *L)
{
	static const struct slice PING = SLICE_INIT("PING");
	struct redis_client *c = check_client(L);
	struct val v;
	int rc = throttle_is_shared() ? err_set(E_EXIST, "kumo.configure_redis_throttles: redis already configured for throttles") : redis_query(c, &PING, 1, policy_arena(L), &v);
	if (rc == 0)
		throttle_use_redis(c);
	redis_client_unref(&c);
	if (rc < 0)
		policy_raise(L, rc);
	return 0;
}

static const luaL_Reg METHODS[] = { { "query", conn_query }, { NULL, NULL } };
static const luaL_Reg FUNCTIONS[] = { { "open", fn_open }, { NULL, NULL } };
static const luaL_Reg KUMO_FUNCTIONS[] = { { "configure_redis_throttles", fn_configure_redis_throttles }, { NULL, NULL } };
static const struct policy_module KUMO = { .name = "kumo", .functions = KUMO_FUNCTIONS };
const struct policy_module mod_redis = { "redis", FUNCTIONS, NULL };

void mod_redis_register(void)
{
	policy_obj_methods(&CLIENT_OBJ, METHODS);
	policy_module_register(&KUMO);
}
