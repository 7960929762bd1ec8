/* SPDX-License-Identifier: Apache-2.0 */
/*
 * throttle_redis - rates and leases in a Redis server, for nodes that share them.
 *
 * Each step is one small script that the server runs as a whole, by its own clock: nodes' clocks may differ.
 * A rate is a string (the time at which it is as if never used), a lease an entry of a sorted set scored by when it expires.
 *
 * Thread:  any.   Memory: takes a reference to the client and keeps it.   Yields: no; what it installs does.
 */
#pragma once
#include "net/redis.h"

void throttle_use_redis(struct redis_client *c);
