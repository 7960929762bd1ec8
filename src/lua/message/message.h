/* SPDX-License-Identifier: Apache-2.0 */
/*
 * message - what the files behind message objects share, and the registration of them all.
 *
 * Thread:  the state's shard.   Memory: as said.   Yields: where a message's part must be loaded.
 */
#pragma once
#include <lauxlib.h>
#include "base/buf.h"
#include "policy/arg.h"
#include "policy/objects.h"

struct msg *lua_check_msg(lua_State *L);				/* argument 1 */
/* A reference to its body; raises when it cannot be loaded. Yields. */
struct msg_body *lua_msg_body(lua_State *L, struct msg *m);
/* Makes the bytes of B the message's body; B is empty again. */
void lua_msg_set_data(struct msg *m, struct buf *b);
/* Sets the body unless RC says that it failed; frees B and OLD, and raises for a failure. Returns 0 results. */
int lua_msg_finish_edit(lua_State *L, struct msg *m, int rc, struct msg_body **old, struct buf *b);
struct slice lua_check_field_name(lua_State *L, int idx);		/* a text without line breaks */
/* A list of texts at IDX (nil: none), in the arena of the call. */
struct slice *lua_check_text_list(lua_State *L, int idx, uint32_t *n);
void lua_push_buf(lua_State *L, struct buf *b);				/* pushes the bytes and frees B */

void message_headers_register(void);
void message_mime_register(void);
void mod_address_register(void);
void message_push_address_header(lua_State *L, const struct val *list);	/* an address list of codec/rfc5322 */
