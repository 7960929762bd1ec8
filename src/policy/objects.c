/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/objects.h"
#include <stdatomic.h>
#include <stdlib.h>
#include "base/xalloc.h"
#include "msg/msg.h"
#include "policy/arg.h"
#include "policy/internal.h"

#define MSG_BYTES 1024	/* a handle and its envelope */

static void *ref_msg(void *m)
{
	return msg_ref(m);
}

static void unref_msg(void *m)
{
	struct msg *p = m;
	msg_unref(&p);
}

const struct policy_obj_type MSG_OBJ = { .name = "Message", .ref = ref_msg, .unref = unref_msg };

static void *ref_address(void *p)
{
	((struct policy_address *)p)->refs++;
	return p;
}

static void unref_address(void *p)
{
	struct policy_address *a = p;
	if (atomic_fetch_sub(&a->refs, 1) == 1)
		free(a);
}

static int address_to_val(void *p, struct arena *a, struct val *out)
{
	*out = val_str(a, ((struct policy_address *)p)->path.text);
	return 0;
}

const struct policy_obj_type ADDRESS_OBJ = { .name = "EnvelopeAddress", .ref = ref_address, .unref = unref_address, .to_val = address_to_val };

/* A copy of S at *AT, which moves behind it. */
static struct slice keep(char **at, struct slice s)
{
	if (!s.ptr)
		return s;
	struct slice copy = { *at, s.len };
	memcpy(*at, s.ptr, s.len);
	*at += s.len;
	*(*at)++ = '\0';
	return copy;
}

struct policy_address *policy_address_create(const struct smtp_path *path)
{
	struct policy_address *a = xzalloc(sizeof *a + path->local.len + path->domain.len + path->text.len + 3);
	char *at = a->bytes;
	a->refs = 1;
	a->path = *path;
	a->path.local = keep(&at, path->local);
	a->path.domain = keep(&at, path->domain);
	a->path.text = keep(&at, path->text);
	return a;
}

void policy_push_msg(lua_State *L, struct msg *m)
{
	struct msg_body *body = msg_body_if_loaded(m);
	policy_obj_push(L, &MSG_OBJ, m);
	policy_state_of(L)->foreign_bytes += MSG_BYTES + (body ? body->len : 0);
	msg_body_unref(&body);
}

void policy_push_address(lua_State *L, const struct smtp_path *path)
{
	struct policy_address *a = policy_address_create(path);
	policy_obj_push(L, &ADDRESS_OBJ, a);
	unref_address(a);
}
