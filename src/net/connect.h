/* SPDX-License-Identifier: Apache-2.0 */
/* connect - a TCP connection to a host by its name. Thread: fibers.   Memory: the descriptor is the caller's.   Yields: net_connect. */
#pragma once
#include "base/err.h"
#include "base/slice.h"

/* HOST is an address (an IPv6 one with or without brackets) or a name, whose addresses are tried one after the other. Yields. */
int net_connect(struct slice host, uint16_t port, int64_t timeout_ms, int *fd) WARN_UNUSED;
