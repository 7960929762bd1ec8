/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proto_lua - delivery by the operator's Lua code: protocol = {custom_lua = {constructor = EVENT}}.
 *
 * The event makes a connection object, a table with send(message) or send_batch(messages) and, if it likes, close(). The object lives in the Lua
 * state that made it, so one event call stays open for as long as the connection: further calls run in it.
 */
#include "queue/proto/lua.h"
#include <stdlib.h>
#include "base/xalloc.h"
#include "policy/objects.h"
#include "queue/ready/dispatch.h"
#include "queue/record.h"
#include "rt/diag.h"
#include "rt/fiber.h"

struct lua_conn {
	struct policy_call call;
	bool open, tried;	/* one attempt in a session */
	int object;		/* stack index of the connection object */
};

static int lua_proto_init(struct dispatcher *d)
{
	d->state = xzalloc(sizeof(struct lua_conn));
	return 0;
}

static void drop(struct lua_conn *c, struct dispatcher *d)
{
	if (!c->open)
		return;
	c->open = false;
	policy_call_end(&c->call);
	dispatch_disconnected(d);
}

/* Opens the call and runs the constructor in it; the arguments come from the queue of the first message. */
static int lua_proto_connect(struct dispatcher *d)
{
	struct lua_conn *c = d->state;
	struct buf name = { 0 };
	struct queue_name q;
	int rc;

	if (c->open)
		return CONNECT_REUSED;
	if (c->tried)
		return err_set(E_LIMIT, "only one connection attempt per session");
	c->tried = true;
	if (d->n_msgs == 0 || msg_queue_name(d->msgs[0], &name) < 0)
		buf_slice(&name, d->rq->name);
	queue_name_parse(buf_view(&name), &q);
	rc = policy_call_begin_name(&c->call, dispatch_protocol(d)->constructor);
	if (rc < 0)
		goto out;
	c->open = true;
	dispatch_connected(d);
	lua_State *L = c->call.L;
	policy_push_slice(L, q.domain);
	policy_push_slice(L, q.tenant);
	policy_push_slice(L, q.campaign);
	rc = policy_call_run(&c->call, 3, 1);
	if (rc == -E_REJECT)
		rc = err_set(E_POLICY, "%d %s", c->call.reject_code, c->call.reject_text ? c->call.reject_text : "");
	if (rc == 0 && !lua_istable(L, -1))
		rc = err_set(E_POLICY, "invalid connection object: %.*s returned a %s", SLICE_ARG(dispatch_protocol(d)->constructor), luaL_typename(L, -1));
	if (rc == 0)
		c->object = lua_gettop(L);
	else
		drop(c, d);
out:
	buf_fini(&name);
	return rc < 0 ? rc : CONNECT_NEW;
}

static bool lua_proto_more(struct dispatcher *d) { return false; }

static bool lua_proto_close(struct dispatcher *d)
{
	struct lua_conn *c = d->state;
	if (!c->open)
		return false;
	lua_State *L = c->call.L;
	lua_settop(L, c->object);
	if (lua_getfield(L, c->object, "close") == LUA_TFUNCTION) {
		lua_pushvalue(L, c->object);
		if (policy_call_function(&c->call, 1, 0) < 0)
			diag_error("kumo.queue", "%.*s: closing the connection: %s", SLICE_ARG(d->rq->name), err_text());
	}
	drop(c, d);
	return true;
}

static void lua_proto_fini(struct dispatcher *d)
{
	struct lua_conn *c = d->state;
	if (!c)
		return;
	drop(c, d);
	free(c);
	d->state = NULL;
}

static uint32_t lua_proto_batch(struct dispatcher *d) { return (uint32_t)dispatch_protocol(d)->batch_size; }

static struct log_event lua_event(struct dispatcher *d, enum log_type type, struct msg *m, struct smtp_response r, struct slice peer)
{
	struct log_event ev = dispatch_event(d, type, m, r);
	ev.peer_name = peer;
	ev.peer_addr = SLICE("0.0.0.0");
	return ev;
}

/* Every message of the batch ended the same way. */
static void finish_batch(struct dispatcher *d, struct smtp_response r)
{
	struct buf peer = { 0 };
	enum log_type type = r.code < 400 ? LOG_DELIVERY : r.code < 500 ? LOG_TRANSIENT_FAILURE : LOG_BOUNCE;
	buf_printf(&peer, "Lua via %.*s", SLICE_ARG(dispatch_protocol(d)->constructor));
	while (d->n_msgs > 0) {
		struct log_event ev = lua_event(d, type, d->msgs[0], r, buf_view(&peer));
		record_write(&ev);
		if (type == LOG_DELIVERY)
			dispatch_delivered(d, 0);
		else if (type == LOG_TRANSIENT_FAILURE)
			dispatch_transfail(d, 0, &r);
		else
			dispatch_bounced(d, 0);
	}
	buf_fini(&peer);
}

static void push_batch(lua_State *L, struct dispatcher *d, bool batch)
{
	if (!batch) {
		policy_push_msg(L, d->msgs[0]);
		return;
	}
	lua_createtable(L, d->n_msgs, 0);
	for (uint32_t i = 0; i < d->n_msgs; i++) {
		policy_push_msg(L, d->msgs[i]);
		lua_rawseti(L, -2, i + 1);
	}
}

static int lua_proto_deliver(struct dispatcher *d)
{
	struct lua_conn *c = d->state;
	lua_State *L = c->call.L;
	bool batch = dispatch_protocol(d)->batch_size > 1;
	const char *method = batch ? "send_batch" : "send";

	dispatch_detail(d, "lua: %s", method);
	lua_settop(L, c->object);
	if (lua_getfield(L, c->object, method) != LUA_TFUNCTION) {
		lua_proto_close(d);
		return err_set(E_POLICY, "sender:%s method not found", method);
	}
	lua_pushvalue(L, c->object);
	push_batch(L, d, batch);
	int rc = policy_call_function(&c->call, 2, 1);
	if (rc == 0 && lua_type(L, -1) != LUA_TSTRING)
		rc = err_set(E_POLICY, "it returned a %s, expected the text of the disposition", luaL_typename(L, -1));
	if (rc == 0) {
		size_t len;
		const char *s = lua_tolstring(L, -1, &len);
		char *copy = xmemdup0(s, len);
		finish_batch(d, response_of(200, 0, slice_new(copy, len)));
		free(copy);
		return 0;
	}
	if (rc == -E_REJECT) {
		uint16_t code = c->call.reject_code;
		char *text = xstrdup(c->call.reject_text ? c->call.reject_text : "");
		finish_batch(d, response_of(code < 400 ? 500 : code, 0, slice_from_cstr(text)));
		free(text);
		if (code == 421)
			lua_proto_close(d);
		return 0;
	}
	err_prefix("sender:%s method failed", method);
	struct rt_shield sh;
	rt_shield_enter(&sh);
	char *text = xstrdup(err_text());
	lua_proto_close(d);	/* the object may still want to close; nobody else gets its state */
	err_set(-rc, "%s", text);
	free(text);
	rt_shield_leave(&sh);
	return rc;
}

static const struct queue_protocol LUA_PROTOCOL = {
	.init = lua_proto_init,
	.connect = lua_proto_connect,
	.more_candidates = lua_proto_more,
	.deliver = lua_proto_deliver,
	.close = lua_proto_close,
	.fini = lua_proto_fini,
	.max_batch = lua_proto_batch,
};

void proto_lua_register(void) { dispatch_register(PROTO_LUA, &LUA_PROTOCOL); }
