/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mod_domain_map - kumo.domain_map: maps from domains, and "*.domain" for everything below one, to values.
 *
 * A tree of labels from the right. A wildcard serves names that the tree does not know below its node; a name that is there, if only as
 * part of a longer one, has no value but its own. Labels are compared as they are written.
 */
#include <stdatomic.h>
#include <stdlib.h>
#include "base/map.h"
#include "lua/store/cached.h"
#include "lua/util.h"
#include "rt/sync.h"

struct node {
	struct map kids;
	struct cached *value, *wild;
};
struct domain_map {
	_Atomic uint32_t refs;
	struct rt_lock lock;
	struct node root;	/* under lock */
};

static void *ref_map(void *p)
{
	((struct domain_map *)p)->refs++;
	return p;
}

static void node_fini(struct node *n)
{
	for (struct map_iter it = { 0 }; map_next(&n->kids, &it);) {
		node_fini(it.value);
		free(it.value);
	}
	map_fini(&n->kids);
	cached_unref(&n->value);
	cached_unref(&n->wild);
}

static void unref_map(void *p)
{
	struct domain_map *m = p;
	if (atomic_fetch_sub(&m->refs, 1) > 1)
		return;
	node_fini(&m->root);
	rt_lock_fini(&m->lock);
	free(m);
}

static const struct policy_obj_type DOMAIN_OBJ = { .name = "DomainMap", .ref = ref_map, .unref = unref_map };

#define LABELS_MAX 128		/* a domain has 127; what is longer is cut off there */

/* The last label of *REST, which is cut off; false when there is none left. */
static bool last_label(struct slice *rest, struct slice *label)
{
	if (!rest->ptr)
		return false;
	ptrdiff_t dot = slice_rchr(*rest, '.');
	*label = dot < 0 ? *rest : slice_sub(*rest, (size_t)dot + 1, SIZE_MAX);
	*rest = dot < 0 ? SLICE_NONE : slice_sub(*rest, 0, (size_t)dot);
	return true;
}

static struct cached *look_up(struct domain_map *m, struct slice name)
{
	struct slice label;
	rt_lock(&m->lock);
	struct node *n = &m->root;
	struct cached *found = NULL;
	bool known = true;
	while (known && last_label(&name, &label)) {
		struct node *kid = map_get(&n->kids, label);
		known = kid != NULL;
		if (known)
			n = kid;
	}
	found = known ? n->value : n->wild;
	if (found)
		cached_ref(found);
	rt_unlock(&m->lock);
	return found;
}

static void put(struct domain_map *m, struct slice name, struct cached *value)
{
	struct slice label;
	int depth = 0;
	rt_lock(&m->lock);
	struct node *n = &m->root;
	struct cached **place = NULL;
	while (!place && depth++ < LABELS_MAX && last_label(&name, &label)) {
		if (!name.ptr && slice_eq(label, SLICE("*"))) {
			place = &n->wild;
			break;
		}
		struct node *kid = map_get(&n->kids, label);
		if (!kid) {
			kid = xzalloc(sizeof *kid);
			map_put(&n->kids, label, kid);
		}
		n = kid;
	}
	if (!place)
		place = &n->value;
	struct cached *old = *place;
	*place = value;
	rt_unlock(&m->lock);
	cached_unref(&old);
}

static void assign(lua_State *L, void *map, struct slice name, int value_idx)
{
	put(map, name, cached_check(L, value_idx));
}

static int map_index(lua_State *L)
{
	struct domain_map *m = policy_obj_check(L, 1, &DOMAIN_OBJ);
	return cached_push_found(L, look_up(m, policy_check_text(L, 2)));
}

static int map_newindex(lua_State *L)
{
	struct domain_map *m = policy_obj_check(L, 1, &DOMAIN_OBJ);
	assign(L, m, policy_check_text(L, 2), 3);
	return 0;
}

static int fn_new(lua_State *L)
{
	struct domain_map *m = xzalloc(sizeof *m);
	rt_lock_init(&m->lock, RANK_LEAF);
	return cached_push_map(L, &DOMAIN_OBJ, m, assign);
}

static const luaL_Reg METHODS[] = { { "__index", map_index }, { "__newindex", map_newindex }, { NULL, NULL } };
static const luaL_Reg FUNCTIONS[] = { { "new", fn_new }, { NULL, NULL } };
const struct policy_module mod_domain_map = { "kumo.domain_map", FUNCTIONS, NULL };

void mod_domain_map_register(void)
{
	policy_obj_methods(&DOMAIN_OBJ, METHODS);
	cached_shareable(&DOMAIN_OBJ);
}
