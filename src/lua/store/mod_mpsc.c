/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mod_mpsc - kumo.mpsc: named queues that many events send to and one task receives from.
 *
 * Thread:  a queue is shared by all shards, under its lock.
 */
#include <stdlib.h>
#include "base/map.h"
#include "lua/store/cached.h"
#include "lua/util.h"
#include "rt/fiber.h"
#include "rt/sync.h"

struct item {
	struct list node;
	struct cached *value;
};
struct queue {			/* lives as long as the process: its name may come back at any time */
	struct rt_lock lock;
	/* under lock */
	struct list items;
	size_t n, limit;	/* limit 0: none */
	bool closed, receiving;
	struct rt_cond filled, drained;
};

static struct rt_lock queues_lock = RT_LOCK_INIT(RANK_CONFIG);
static struct map queues;	/* under queues_lock */

static void unref_queue(void *p)
{
}

static const struct policy_obj_type QUEUE_OBJ = { .name = "Queue", .unref = unref_queue };

static struct queue *check_queue(lua_State *L)
{
	return policy_obj_check(L, 1, &QUEUE_OBJ);
}

static bool is_full(const struct queue *q)
{
	return q->limit && q->n >= q->limit;
}

/* Q's lock is held. */
static void put(struct queue *q, struct cached *value)
{
	struct item *i = xzalloc(sizeof *i);
	i->value = value;
	list_push(&q->items, &i->node);
	q->n++;
	rt_cond_signal(&q->filled);
}

static struct cached *take(struct queue *q)
{
	struct list *n = list_pop(&q->items);
	if (!n)
		return NULL;
	struct item *i = LIST_ENTRY(n, struct item, node);
	struct cached *value = i->value;
	free(i);
	q->n--;
	rt_cond_signal(&q->drained);
	return value;
}

static struct cached *check_value(lua_State *L)
{
	struct cached *value;
	if (cached_make(L, 2, &value) < 0)
		policy_arg_errorf(L, 2, "%s", err_text());
	return value;
}

static int send(lua_State *L, int64_t timeout_ms)
{
	struct queue *q = check_queue(L);
	struct cached *value = check_value(L);
	int rc = 0;
	rt_lock(&q->lock);
	while (rc == 0 && !q->closed && is_full(q))
		rc = rt_cond_wait(&q->drained, &q->lock, timeout_ms);
	bool closed = q->closed;
	if (rc == 0 && !closed)
		put(q, value);
	rt_unlock(&q->lock);
	if (rc == 0 && !closed)
		return 0;
	cached_unref(&value);
	if (closed)
		return policy_raisef(L, "channel closed");
	if (rc == -E_TIMEOUT)
		err_set(E_TIMEOUT, "timed out waiting on send operation");
	return policy_raise(L, rc);
}

static int queue_send(lua_State *L)
{
	return send(L, INT64_MAX);
}

static int queue_send_timeout(lua_State *L)
{
	double s = policy_check_number(L, 3);
	return send(L, s > 1e9 ? INT64_MAX : s > 0 ? (int64_t)(s * 1000) : 0);
}

static int queue_try_send(lua_State *L)
{
	struct queue *q = check_queue(L);
	struct cached *value = check_value(L);
	rt_lock(&q->lock);
	bool ok = !q->closed && !is_full(q);
	if (ok)
		put(q, value);
	rt_unlock(&q->lock);
	if (!ok)
		cached_unref(&value);
	lua_pushboolean(L, ok);
	return 1;
}

/* The consumer's side is one caller's at a time. */
static void begin_receive(lua_State *L, struct queue *q)
{
	rt_lock(&q->lock);
	bool busy = q->receiving;
	q->receiving = true;
	rt_unlock(&q->lock);
	if (busy)
		policy_raisef(L, "another task is receiving from this queue");
}

/* Waits for the first value, takes up to MAX; 0 when the queue was closed and is empty. */
static int receive(lua_State *L, struct queue *q, bool wait, struct cached **out, size_t max)
{
	size_t n = 0;
	int rc = 0;
	begin_receive(L, q);
	rt_lock(&q->lock);
	while (rc == 0 && wait && q->n == 0 && !q->closed)
		rc = rt_cond_wait(&q->filled, &q->lock, INT64_MAX);
	while (rc == 0 && n < max && (out[n] = take(q)) != NULL)
		n++;
	q->receiving = false;
	rt_unlock(&q->lock);
	if (rc < 0)
		policy_raise(L, rc);
	return (int)n;
}

static int receive_one(lua_State *L, bool wait)
{
	struct cached *value;
	if (receive(L, check_queue(L), wait, &value, 1) == 0) {
		lua_pushnil(L);
		return 1;
	}
	cached_push(L, value);
	cached_unref(&value);
	return 1;
}

static int queue_recv(lua_State *L) { return receive_one(L, true); }
static int queue_try_recv(lua_State *L) { return receive_one(L, false); }

static int queue_recv_many(lua_State *L)
{
	struct queue *q = check_queue(L);
	size_t max = (size_t)MIN(policy_check_int(L, 2, "usize", 1, INT64_MAX), (int64_t)65536);
	struct cached **values = arena_alloc(policy_arena(L), max * sizeof *values);
	int n = receive(L, q, true, values, max);
	lua_createtable(L, n, 0);
	for (int i = 0; i < n; i++) {
		cached_push(L, values[i]);
		cached_unref(&values[i]);
		lua_rawseti(L, -2, i + 1);
	}
	return 1;
}

static int queue_close(lua_State *L)
{
	struct queue *q = check_queue(L);
	rt_lock(&q->lock);
	q->closed = true;
	rt_cond_broadcast(&q->filled);
	rt_cond_broadcast(&q->drained);
	rt_unlock(&q->lock);
	return 0;
}

static int queue_is_closed(lua_State *L)
{
	struct queue *q = check_queue(L);
	rt_lock(&q->lock);
	lua_pushboolean(L, q->closed);
	rt_unlock(&q->lock);
	return 1;
}

static size_t length(lua_State *L)
{
	struct queue *q = check_queue(L);
	rt_lock(&q->lock);
	size_t n = q->n;
	rt_unlock(&q->lock);
	return n;
}

static int queue_len(lua_State *L)
{
	lua_pushinteger(L, (lua_Integer)length(L));
	return 1;
}

static int queue_is_empty(lua_State *L)
{
	lua_pushboolean(L, length(L) == 0);
	return 1;
}

static int fn_define(lua_State *L)
{
	struct slice name = policy_check_text(L, 1);
	int64_t limit = lua_isnoneornil(L, 2) ? 0 : policy_check_int(L, 2, "usize", 1, INT64_MAX);
	rt_lock(&queues_lock);
	struct queue *q = map_get(&queues, name);
	if (!q) {
		q = xzalloc(sizeof *q);
		rt_lock_init(&q->lock, RANK_CACHE);
		list_init(&q->items);
		rt_cond_init(&q->filled);
		rt_cond_init(&q->drained);
		q->limit = (size_t)limit;
		map_put(&queues, name, q);
	}
	rt_unlock(&queues_lock);
	policy_obj_push(L, &QUEUE_OBJ, q);
	return 1;
}

static const luaL_Reg METHODS[] = {
	{ "send", queue_send }, { "send_timeout", queue_send_timeout }, { "try_send", queue_try_send }, { "recv", queue_recv }, { "try_recv", queue_try_recv },
	{ "recv_many", queue_recv_many }, { "close", queue_close }, { "is_closed", queue_is_closed }, { "len", queue_len }, { "is_empty", queue_is_empty }, { NULL, NULL },
};
static const luaL_Reg FUNCTIONS[] = { { "define", fn_define }, { NULL, NULL } };
const struct policy_module mod_mpsc = { "kumo.mpsc", FUNCTIONS, NULL };

void mod_mpsc_register(void)
{
	policy_obj_methods(&QUEUE_OBJ, METHODS);
}
