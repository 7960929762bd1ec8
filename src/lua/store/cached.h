/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cached - values that outlive the Lua state they were made in: what memoize keeps, mpsc queues carry and maps hold.
 *
 * A value is data, which may have objects in it, or one of our objects; only types that are registered as shareable. Data is immutable and reference-counted; a
 * table comes out as an object "MemoizedTable" that reads from it without copying, and copies the level that is written to.
 *
 * Integer keys of tables that are no lists are kept apart from text that looks like them.
 *
 * Thread:  any; immutable.   Memory: cached_ref/unref.   Yields: never.
 */
#pragma once
#include "policy/host.h"

struct cached {
	_Atomic uint32_t refs;
	struct vdoc *doc;			/* data; NULL: an object */
	struct cached_objs *objs;		/* the objects in it, see cached.c */
	const struct policy_obj_type *type;
	void *obj;
	bool plain;				/* several results: they come out as a table of Lua's own */
};
/* From the value at IDX; _check raises for what cannot be kept. */
int cached_make(lua_State *L, int idx, struct cached **out) WARN_UNUSED;
struct cached *cached_check(lua_State *L, int idx);
/* From N values on top of the stack: none is nil, one is itself, several are a list. Does not raise. */
int cached_from_results(lua_State *L, int n, struct cached **out) WARN_UNUSED;
void cached_push(lua_State *L, struct cached *c);
int cached_push_found(lua_State *L, struct cached *c);	/* the same, and gives the reference back; no result for NULL */
/* Constructors of maps: pushes OBJ and calls ASSIGN for each entry of the table at 1, where nil is none. Raises. */
typedef void cached_assign_cb(lua_State *L, void *obj, struct slice key, int value_idx);
int cached_push_map(lua_State *L, const struct policy_obj_type *t, void *obj, cached_assign_cb *assign);
struct cached *cached_ref(struct cached *c);
void cached_unref(struct cached **c);

void cached_shareable(const struct policy_obj_type *t);	/* at registration */
void cached_register(void);
