/* SPDX-License-Identifier: Apache-2.0 */
/* http_response - answers of HTTP servers as objects of policies. Thread: the state's shard.   Memory: takes over what REPLY holds.   Yields: never. */
#pragma once
#include "net/http_client.h"
#include "policy/host.h"

void lua_push_http_response(lua_State *L, const struct http_reply *reply);
