/* SPDX-License-Identifier: Apache-2.0 */
/* mod_time - pushing times from other modules. Thread: the state's shard.   Memory: an object of its own.   Yields: never. */
#pragma once
#include "lua/time_text.h"
#include "policy/host.h"

void lua_push_time(lua_State *L, struct moment m);
void mod_time_register(void);
