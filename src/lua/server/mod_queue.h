/* SPDX-License-Identifier: Apache-2.0 */
/* mod_queue - functions of the kumo module that make, ask for and show configurations of delivery, and kumo.inject_message. Thread: before policy_load. */
#pragma once
void mod_queue_register(void);
