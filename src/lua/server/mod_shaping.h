/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mod_shaping - kumo.shaping: shaping files for policies and for the automation daemon (docs/reference/kumo.shaping).
 *
 * Thread:  fibers.   Memory: a loaded object is shared and reference-counted.   Yields: load, get_egress_path_config, match_rules.
 */
#pragma once
#include "policy/host.h"
#include "shaping/shaping.h"

extern const struct policy_obj_type SHAPING_OBJ;	/* struct shaping */

/* DNS, HTTP and the options of egress paths, as shaping_load wants them. */
extern const struct shaping_ops SHAPING_OPS;
