/* SPDX-License-Identifier: Apache-2.0 */
/*
 * objects - the objects that events of several modules hand to Lua: messages and envelope addresses.
 *
 * Their types stand here, so that whoever fires an event can push one; their methods are registered by the Lua modules.
 *
 * Thread:  any.   Memory: reference counts; an address is immutable.   Yields: never.
 */
#pragma once
#include "codec/rfc5321.h"
#include "msg/msg.h"
#include "policy/host.h"

extern const struct policy_obj_type MSG_OBJ;		/* struct msg */
extern const struct policy_obj_type ADDRESS_OBJ;	/* struct policy_address; tostring gives its text; to_val too */

struct policy_address {
	_Atomic uint32_t refs;
	struct smtp_path path;		/* slices into bytes */
	char bytes[];
};
struct policy_address *policy_address_create(const struct smtp_path *path);	/* refs 1 */
void policy_push_msg(lua_State *L, struct msg *m);
void policy_push_address(lua_State *L, const struct smtp_path *path);
