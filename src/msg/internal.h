/* SPDX-License-Identifier: Apache-2.0 */
/* internal - what the files of this folder share: counters behind the gauges and the memory budget. */
#pragma once
#include "msg/msg.h"

struct msg_counters {
	_Atomic int64_t messages, envs, bodies, bytes;
};
extern struct msg_counters msg_counters;

#define MSG_ENV_COST 1536	/* an envelope's arena: its first chunk, which nearly always suffices */
