/* SPDX-License-Identifier: Apache-2.0 */
/* proto_lua - the custom_lua delivery protocol. Thread: before queue_start.   Memory: none.   Yields: never. */
#pragma once
void proto_lua_register(void);
