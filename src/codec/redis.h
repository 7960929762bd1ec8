/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redis - the protocol of Redis (RESP2): commands out, replies in.
 *
 * A reply becomes a val: text and status replies are strings, but the status OK is true; integers integers, lists lists, "no value" null. An
 * error reply is not a value, nor is a list with one in it: the parser says so and gives its text.
 *
 * Thread:  any.   Memory: values are copied into the arena given.   Yields: never.
 */
#pragma once
#include "codec/val.h"

#define REDIS_DEPTH_MAX 16
#define REDIS_ITEMS_MAX (1 << 20)
#define REDIS_BULK_MAX (512 * 1024 * 1024)

/* "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n" */
void redis_put_command(struct buf *b, const struct slice *args, size_t n);

/* One whole reply at the front of S. Bytes it took (> 0); 0: more are needed; -E_PROTO: no RESP; -E_REJECT: an error reply, its text is
   err_text and *USED what it took. */
ptrdiff_t redis_parse(struct slice s, struct arena *a, struct val *out, size_t *used) WARN_UNUSED;
