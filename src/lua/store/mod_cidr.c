/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mod_cidr - kumo.cidr: maps from networks to values; the narrowest network that holds an address wins.
 *
 * One hash map holds all networks; a lookup tries each prefix length that occurs, the longest first.
 */
#include <stdatomic.h>
#include <stdlib.h>
#include "base/addr.h"
#include "base/map.h"
#include "lua/store/cached.h"
#include "lua/util.h"
#include "rt/sync.h"

struct cidr_map {
	_Atomic uint32_t refs;
	struct rt_lock lock;
	/* under lock */
	struct map nets;		/* key_of() -> struct cached */
	uint16_t n4[33], n6[129];	/* how many networks of each length */
};

static void *ref_map(void *p)
{
	((struct cidr_map *)p)->refs++;
	return p;
}

static void unref_map(void *p)
{
	struct cidr_map *m = p;
	if (atomic_fetch_sub(&m->refs, 1) > 1)
		return;
	for (struct map_iter it = { 0 }; map_next(&m->nets, &it);) {
		struct cached *c = it.value;
		cached_unref(&c);
	}
	map_fini(&m->nets);
	rt_lock_fini(&m->lock);
	free(m);
}

static const struct policy_obj_type CIDR_OBJ = { .name = "CidrMap", .ref = ref_map, .unref = unref_map };

struct key {
	uint8_t family, bits, bytes[16];
};

static struct slice key_of(struct key *k, const struct ipaddr *ip, uint8_t bits)
{
	*k = (struct key){ .family = ip->family, .bits = bits };
	memcpy(k->bytes, ip->bytes, (size_t)(bits + 7) / 8);
	if (bits % 8)
		k->bytes[bits / 8] &= (uint8_t)(0xff << (8 - bits % 8));
	return slice_new(k, sizeof *k);
}

/* --- keys as text --------------------------------------------------------------------------------------------------- */

/* No brackets: those belong to addresses with ports. */
static int parse_network(struct slice s, struct cidr *out)
{
	if (s.len && s.ptr[0] == '[')
		return err_set(E_INVAL, "%.*s is not a valid CIDR: couldn't parse address in network: invalid IP address syntax", SLICE_ARG(s));
	return cidr_parse(s, out);
}

/* A network, an address, or an address with a port behind it, as peers are shown. */
static int parse_key(struct slice s, struct cidr *out)
{
	int rc = parse_network(s, out);
	ptrdiff_t colon = slice_rchr(s, ':'), close = slice_rchr(s, ']');
	if (rc == 0)
		return 0;
	if (s.len && s.ptr[0] == '[' && close > 0)
		return parse_network(slice_sub(s, 1, (size_t)close - 1), out);
	if (colon < 0)
		return rc;
	struct slice host = slice_sub(s, 0, (size_t)colon);
	rc = parse_network(host, out);
	if (rc < 0)
		err_prefix("failed to parse '%.*s', the :-delimited portion of '%.*s', as an IP address", SLICE_ARG(host), SLICE_ARG(s));
	return rc;
}

/* --- the map -------------------------------------------------------------------------------------------------------- */

static void put(struct cidr_map *m, const struct cidr *net, struct cached *value)
{
	struct key k;
	rt_lock(&m->lock);
	struct cached *old = map_put(&m->nets, key_of(&k, &net->net, net->bits), value);
	if (!old)
		(net->net.family == 4 ? m->n4 : m->n6)[net->bits]++;
	rt_unlock(&m->lock);
	cached_unref(&old);
}

static struct cached *look_up(struct cidr_map *m, const struct cidr *net)
{
	struct cached *found = NULL;
	struct key k;
	rt_lock(&m->lock);
	const uint16_t *n = net->net.family == 4 ? m->n4 : m->n6;
	for (int bits = net->bits; bits >= 0 && !found; bits--)
		if (n[bits])
			found = map_get(&m->nets, key_of(&k, &net->net, (uint8_t)bits));
	if (found)
		cached_ref(found);
	rt_unlock(&m->lock);
	return found;
}

static void assign(lua_State *L, void *map, struct slice key, int value_idx)
{
	struct cidr net;
	if (parse_key(key, &net) < 0)
		policy_raise(L, -E_INVAL);
	put(map, &net, cached_check(L, value_idx));
}

static int map_index(lua_State *L)
{
	struct cidr_map *m = policy_obj_check(L, 1, &CIDR_OBJ);
	struct cidr net;
	if (parse_key(policy_check_text(L, 2), &net) < 0)
		return policy_raise(L, -E_INVAL);
	return cached_push_found(L, look_up(m, &net));
}

static int map_newindex(lua_State *L)
{
	struct cidr_map *m = policy_obj_check(L, 1, &CIDR_OBJ);
	assign(L, m, policy_check_text(L, 2), 3);
	return 0;
}

static int fn_make_map(lua_State *L)
{
	struct cidr_map *m = xzalloc(sizeof *m);
	rt_lock_init(&m->lock, RANK_LEAF);
	return cached_push_map(L, &CIDR_OBJ, m, assign);
}

static const luaL_Reg METHODS[] = { { "__index", map_index }, { "__newindex", map_newindex }, { NULL, NULL } };
static const luaL_Reg FUNCTIONS[] = { { "make_map", fn_make_map }, { NULL, NULL } };
const struct policy_module mod_cidr = { "kumo.cidr", FUNCTIONS, NULL };

void mod_cidr_register(void)
{
	policy_obj_methods(&CIDR_OBJ, METHODS);
	cached_shareable(&CIDR_OBJ);
}
