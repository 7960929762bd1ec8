/* SPDX-License-Identifier: Apache-2.0 */
/*
 * util - small things that several Lua modules share.
 *
 * Thread:  the state's shard.   Memory: as said.   Yields: where it says so.
 */
#pragma once
#include "base/utf8.h"
#include "base/xalloc.h"
#include "lua/modules.h"
#include "policy/arg.h"
#include "policy/glob.h"

/* By the names of kumo.encode: "base32_nopad", "hex", …; false: there is no such encoding. */
bool lua_encode_put(struct buf *b, const char *encoding, struct slice bytes);
int lua_fn_sleep(lua_State *L);				/* kumo.sleep(SECONDS). Yields. */
/* Pushes the list of paths, or raises for RC; frees L either way. */
int lua_push_paths(lua_State *L, int rc, struct glob_list *l);
/* The whole file in malloc'd bytes, read on an offload thread. The error is "WHAT PATH: strerror (os error N)". Yields. */
int lua_read_file(struct slice path, const char *what, struct buf *out) WARN_UNUSED;
/* A key source at IDX: raises unless it has one of the forms. Then its data, in the call's arena. Yields. */
const struct val *lua_check_key_source(lua_State *L, int idx);
struct slice lua_load_key(lua_State *L, const struct val *source);
