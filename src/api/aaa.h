/* SPDX-License-Identifier: Apache-2.0 */
/*
 * aaa - who may do what: authentication information, access control lists, and the check of a resource.
 *
 * An AuthInfo is an object {peer_address, identities = [{identity, context}], groups}; an ACL is a list of rules {criteria, privilege,
 * access}, the first that matches decides. Lists come from the event get_acl_definition, else from the built-in map.
 *
 * Source:  docs/reference/access_control
 * Thread:  fibers of any shard.   Memory: values in the caller's arena; lists are shared documents.   Yields: aaa_check.
 */
#pragma once
#include "base/addr.h"
#include "codec/val.h"
#include "policy/host.h"

#define AAA_TRUSTED_GROUP "kumomta:http-listener-trusted-ip"

extern const struct policy_obj_type ACL_OBJ;		/* struct vdoc: a list of rules */
extern const struct policy_obj_type ACL_MAP_OBJ;	/* struct vdoc: {resource: list of rules} */

struct val aaa_auth_info(struct arena *a, const struct ipaddr *peer);			/* nobody, from PEER (may be NULL) */
void aaa_add_identity(struct arena *a, struct val *auth, struct slice identity, const char *context);
void aaa_add_group(struct arena *a, struct val *auth, struct slice group);
void aaa_merge(struct arena *a, struct val *auth, const struct val *other);		/* identities and groups of what a policy returned */
bool aaa_is_authenticated(const struct val *auth);
void aaa_put(struct buf *b, const struct val *auth);					/* "id=[daniel]@ ip=127.0.0.1" */

/* Rules as Lua or TOML write them, checked; LIST becomes the canonical form. */
int aaa_acl_from_val(const struct val *rules, struct vdoc **out) WARN_UNUSED;		/* make_access_control_list */
int aaa_acl_map_from_val(const struct val *map, struct vdoc **out) WARN_UNUSED;	/* {acl = {resource = [{allow, privileges, identity|criteria}]}} */

/* The resource names to ask for, nearest first: of a path at a listener. */
void aaa_http_resources(struct arena *a, struct slice local, struct slice path, struct val *list);

enum aaa_access { AAA_ALLOW, AAA_DENY, AAA_NOT_PERMITTED /* no rule matched */ };
/* RESOURCES as above. Negative: the policy failed. Yields. */
int aaa_check(const struct val *resources, const struct val *auth, struct slice privilege, enum aaa_access *out) WARN_UNUSED;
/* The same, and why: the resource whose list decided and the rule, null where none did. */
struct aaa_verdict {
	enum aaa_access access;
	struct val resource, rule;
};
int aaa_query(const struct val *resources, const struct val *auth, struct slice privilege, struct arena *a, struct aaa_verdict *out) WARN_UNUSED;

void aaa_set_fall_back(bool on);		/* kumo.aaa.set_fall_back_to_acl_map */
void aaa_set_acl_ttl_ms(int64_t ms);
/* Where audit records go (kumo.aaa.configure_acct_log); filled in by the log module. Yields. */
void aaa_set_audit(void (*fn)(const struct val *record));
void aaa_audit_authentication(const struct val *auth, struct slice identity, const char *context, bool success);
void aaa_register(void);
