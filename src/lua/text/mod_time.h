/* SPDX-License-Identifier: Apache-2.0 */
/* mod_time - time objects for other modules. Thread: the state's shard.   Memory: an object of its own.   Yields: never. */
#pragma once
#include "lua/text/time_text.h"
#include "policy/host.h"

void lua_push_time(lua_State *L, struct moment m);
int64_t lua_check_delta_ms(lua_State *L, int idx);	/* a TimeDelta, in milliseconds, not negative; raises otherwise */
