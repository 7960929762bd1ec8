/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mimepart - MIME parts, header maps and header fields as Lua objects.
 *
 * A part object holds its whole document, so a part of a tree can be kept and changed after the others are gone.
 *
 * Thread:  the state's shard.   Memory: reference counts.   Yields: never.
 */
#pragma once
#include "codec/mime.h"
#include "policy/host.h"

struct mimepart {
	_Atomic uint32_t refs;
	struct mime_doc *doc;
	struct mime_part *part;
};
extern const struct policy_obj_type MIMEPART_OBJ;
void mimepart_push(lua_State *L, struct mime_doc *doc, struct mime_part *p);	/* takes a reference of its own */
void mimepart_push_headers(lua_State *L, struct mimepart *p);
void mod_mimepart_register(void);
void mod_headermap_register(void);
