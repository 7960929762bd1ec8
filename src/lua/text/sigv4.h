/* SPDX-License-Identifier: Apache-2.0 */
/* sigv4 - kumo.crypto.aws_sign_v4 for kumo.http: the table of parameters is argument 1, the table of results is pushed. Yields. */
#pragma once
#include <lua.h>

int lua_aws_sign_v4(lua_State *L);
