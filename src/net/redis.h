/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redis - a client of one Redis server, with connections that are kept between queries.
 *
 * Thread:  fibers of any shard; idle connections belong to the shard that made them.   Memory: redis_client_ref/unref.   Yields: redis_query.
 */
#pragma once
#include "codec/redis.h"

struct redis_conf {
	struct slice url;		/* redis[s]://[user][:password@]host[:port][/db], for rediss:// also #insecure: the certificate is not checked */
	int64_t connect_timeout_ms, response_timeout_ms;
	size_t pool_size;		/* idle connections kept on each shard */
	struct slice username, password;	/* SLICE_NONE: those of the URL, if any */
};
struct redis_client;
int redis_client_create(const struct redis_conf *conf, struct redis_client **out) WARN_UNUSED;	/* -E_INVAL: the URL; what tls_ctx_client says */
struct redis_client *redis_client_ref(struct redis_client *c);
void redis_client_unref(struct redis_client **c);
/* One command. -E_REJECT: the server's error reply is err_text. Yields. */
int redis_query(struct redis_client *c, const struct slice *args, size_t n, struct arena *a, struct val *out) WARN_UNUSED;
