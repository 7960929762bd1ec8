/* SPDX-License-Identifier: Apache-2.0 */
/* mod_websocket - kumo.http.connect_websocket(URL): the stream, and what the server answered. */
#include <lauxlib.h>
#include <stdlib.h>
#include "base/xalloc.h"
#include "lua/modules.h"
#include "lua/net/http_response.h"
#include "net/ws_stream.h"
#include "policy/arg.h"
#include "rt/clock.h"
#include "rt/fiber.h"

#define CONNECT_MS 60000

struct stream {
	_Atomic uint32_t refs;
	struct ws_stream *ws;
};

static void *stream_ref(void *p)
{
	((struct stream *)p)->refs++;
	return p;
}

static void stream_unref(void *p)
{
	struct stream *s = p;

	if (--s->refs)
		return;
	ws_stream_close(&s->ws);
	free(s);
}

static const struct policy_obj_type STREAM = { .name = "WebSocketStream", .ref = stream_ref, .unref = stream_unref };

static int connect_websocket(lua_State *L)
{
	const char *url = arena_strdup(policy_arena(L), policy_check_text(L, 1));
	struct http_reply answer;
	struct ws_stream *ws;
	int rc = ws_stream_connect(url, CONNECT_MS, &ws, &answer);

	if (rc < 0) {
		err_prefix("connecting to %s", url);
		return policy_raise(L, rc == -E_TIMEOUT && rt_check() == 0 ? -E_IO : rc);
	}
	struct stream *s = xzalloc(sizeof *s);
	s->refs = 1;
	s->ws = ws;
	policy_obj_push(L, &STREAM, s);
	stream_unref(s);
	lua_push_http_response(L, &answer);
	return 2;
}

static int stream_recv(lua_State *L)
{
	struct stream *s = policy_obj_check(L, 1, &STREAM);
	struct buf message = { 0 };
	int rc = ws_stream_next(s->ws, INT64_MAX, &message);

	if (rc == 1)
		policy_push_slice(L, message.len ? buf_view(&message) : SLICE(""));
	else if (rc == 0)
		lua_pushnil(L);
	buf_fini(&message);
	return rc < 0 ? policy_raise(L, rc) : 1;
}

/* What arrives until the time is up. An end of the stream is an error only where nothing came before it. */
static int stream_recv_batch(lua_State *L)
{
	struct stream *s = policy_obj_check(L, 1, &STREAM);
	const int64_t span_ms = policy_check_duration(L, 2) / 1000000, now = rt_now_ms(), end = span_ms > INT64_MAX - now ? INT64_MAX : now + span_ms;
	struct buf message = { 0 };
	lua_Integer n = 0;
	int rc;

	lua_newtable(L);
	while ((rc = ws_stream_next(s->ws, end == INT64_MAX ? INT64_MAX : MAX(end - rt_now_ms(), 0), &message)) == 1) {
		policy_push_slice(L, message.len ? buf_view(&message) : SLICE(""));
		lua_rawseti(L, -2, ++n);
	}
	buf_fini(&message);
	if (rc < 0 && rt_check() < 0)
		return policy_raise(L, rc);
	if (rc == -E_TIMEOUT || n > 0)
		return 1;
	return rc == 0 ? policy_raisef(L, "websocket closed") : policy_raise(L, rc);
}

static const luaL_Reg METHODS[] = { { "recv", stream_recv }, { "recv_batch", stream_recv_batch }, { NULL, NULL } };
static const luaL_Reg FUNCTIONS[] = { { "connect_websocket", connect_websocket }, { NULL, NULL } };
extern const struct policy_module mod_websocket;
const struct policy_module mod_websocket = { .name = "kumo.http", .functions = FUNCTIONS };

void mod_websocket_register(void)
{
	policy_obj_methods(&STREAM, METHODS);
}
