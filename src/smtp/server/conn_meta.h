/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conn_meta - what is known about a connection: metadata that policies read and write, and who the client proved to be.
 *
 * Lua may keep the object longer than the session lives, hence the reference count.
 *
 * Source:  docs/reference/connectionmeta
 * Thread:  one shard at a time (the session's); references from any.
 * Memory:  values are copied in; replaced ones are reclaimed when the waste outgrows the content.
 * Yields:  never.
 */
#pragma once
#include "base/addr.h"
#include "codec/val.h"
#include "policy/host.h"

struct conn_meta;
extern const struct policy_obj_type CONN_META_OBJ;

struct conn_meta *conn_meta_create(void);
struct conn_meta *conn_meta_ref(struct conn_meta *m);
void conn_meta_unref(struct conn_meta **m);
const struct val *conn_meta_all(const struct conn_meta *m);	/* an object, valid until the next change */
const struct val *conn_meta_get(const struct conn_meta *m, struct slice key);	/* NULL: not set */
void conn_meta_set(struct conn_meta *m, struct slice key, const struct val *v);
void conn_meta_set_str(struct conn_meta *m, const char *key, struct slice v);

/* {peer_address, identities = [{identity, context}], groups}: an AuthInfo as Lua and audit records see it. */
const struct val *conn_meta_auth_info(const struct conn_meta *m);
void conn_meta_set_auth_info(struct conn_meta *m, const struct val *info);
