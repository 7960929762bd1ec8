/* SPDX-License-Identifier: Apache-2.0 */
/* mod_digest - digest objects for other modules. Thread: the state's shard.   Memory: an object of its own.   Yields: never. */
#pragma once
#include "policy/host.h"

void lua_push_digest(lua_State *L, const void *bytes, size_t len);
