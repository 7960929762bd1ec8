/* SPDX-License-Identifier: Apache-2.0 */
/*
 * offload - a pool of threads for what blocks: RocksDB, SQLite, files, getaddrinfo, RSA signing when it should not delay a loop.
 *
 * Thread:  rt_offload from fibers (elsewhere it runs FN at once); FN runs on a pool thread, where nothing may wait.
 * Memory:  ARG stays the caller's: rt_offload returns only when FN has returned, even if the fiber was canceled meanwhile.
 */
#pragma once
#include "base/err.h"

void rt_offload(void (*fn)(void *arg), void *arg);		/* Yields. Not interrupted by cancellation. */
void rt_offload_post(void (*fn)(void *arg), void *arg);		/* does not wait; FN owns ARG */
