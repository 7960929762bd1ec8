/* SPDX-License-Identifier: Apache-2.0 */
/* mod_throttle - kumo.make_throttle. Thread: before policy_load. */
#pragma once
void mod_throttle_register(void);
