/* SPDX-License-Identifier: Apache-2.0 */
/* yaml_int - what reader and printer share: which plain scalars are no text. */
#pragma once
#include "codec/val.h"

/* The value of an unquoted scalar: null, a bool, a number, or VAL_STR with S itself. Infinities and NaN are null, as in JSON. */
struct val yaml_resolve(struct slice s);
