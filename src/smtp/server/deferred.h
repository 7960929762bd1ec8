/* SPDX-License-Identifier: Apache-2.0 */
/* deferred - messages that were accepted into the internal queue meet the policy. Thread: before queue_start.   Memory: none.   Yields: never. */
#pragma once
void smtp_deferred_register(void);
