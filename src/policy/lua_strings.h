/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lua_strings - string.find, match, gmatch, gsub and rep that do not outstay their call.
 *
 * As Lua 5.4's in results and errors; the time they take is counted in STEPS, which the functions of one state share.
 *
 * Thread:  the state's shard.   Memory: Lua's; the texts stay on its stack.   Yields: where STEPS->spent, called with the lua_State, does.
 */
#pragma once
#include <lua.h>
#include "policy/lua_pattern.h"

void lua_strings_open(lua_State *L, struct pattern_steps *steps);	/* into the table "string", which is there; STEPS outlives L */
