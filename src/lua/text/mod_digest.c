/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mod_digest - kumo.digest: hashes and MACs as objects whose fields are the bytes in the encodings of kumo.encode.
 *
 * What is no text is hashed as its JSON.
 */
#include <stdatomic.h>
#include <stdlib.h>
#include <zlib.h>
#include "codec/opt.h"
#include "lua/text/mod_digest.h"
#include "lua/util.h"
#include "tls/digest.h"

struct digest_obj {
	_Atomic uint32_t refs;
	size_t len;
	uint8_t bytes[];
};

static void *ref_digest(void *p)
{
	((struct digest_obj *)p)->refs++;
	return p;
}

static void unref_digest(void *p)
{
	if (atomic_fetch_sub(&((struct digest_obj *)p)->refs, 1) == 1)
		free(p);
}

static const struct policy_obj_type DIGEST_OBJ = { .name = "Digest", .ref = ref_digest, .unref = unref_digest };

void lua_push_digest(lua_State *L, const void *bytes, size_t len)
{
	struct digest_obj *d = xzalloc(sizeof *d + len);
	d->len = len;
	memcpy(d->bytes, bytes, len);
	policy_obj_push(L, &DIGEST_OBJ, d);
}

static int digest_index(lua_State *L)
{
	struct digest_obj *d = policy_obj_check(L, 1, &DIGEST_OBJ);
	const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
	struct slice bytes = slice_new(d->bytes, d->len);
	struct buf b = { 0 };
	if (strcmp(key, "bytes") == 0)
		buf_slice(&b, bytes);
	else if (!lua_encode_put(&b, key, bytes))
		return policy_raisef(L, "attempt to get an unknown field '%s'", luaL_tolstring(L, 2, NULL));
	lua_pushlstring(L, b.ptr ? b.ptr : "", b.len);
	buf_fini(&b);
	return 1;
}

static int digest_tostring(lua_State *L)
{
	lua_settop(L, 1);
	lua_pushliteral(L, "hex");
	return digest_index(L);
}

static const luaL_Reg METHODS[] = { { "__index", digest_index }, { "__tostring", digest_tostring }, { NULL, NULL } };

/* Argument I as the bytes to hash. */
static struct slice bytes_of(lua_State *L, int i)
{
	struct val v;
	struct arena *a = policy_arena(L);
	if (lua_type(L, i) == LUA_TSTRING)
		return policy_check_slice(L, i);
	if (policy_to_val_mode(L, i, POLICY_VAL_ENCODE, a, &v) < 0)
		policy_raise(L, -E_INVAL);
	struct buf b = { 0 };
	json_put(&b, &v, JSON_COMPACT | JSON_SORTED);
	struct slice s = arena_dup(a, buf_view(&b));
	buf_fini(&b);
	return s;
}

static int hash_with(lua_State *L, enum tls_md md)
{
	int n = lua_gettop(L);
	struct slice *parts = arena_alloc(policy_arena(L), ((size_t)n + 1) * sizeof *parts);
	uint8_t out[TLS_MD_MAX];
	for (int i = 0; i < n; i++)
		parts[i] = bytes_of(L, i + 1);
	struct tls_hash *h = tls_hash_create(md);
	for (int i = 0; i < n; i++)
		tls_hash_update(h, parts[i].ptr, parts[i].len);
	size_t len = tls_hash_final(h, out);
	tls_hash_destroy(&h);
	lua_push_digest(L, out, len);
	return 1;
}

static int fn_crc32(lua_State *L)
{
	int n = lua_gettop(L);
	uLong crc = crc32(0, NULL, 0);
	for (int i = 1; i <= n; i++) {
		struct slice s = bytes_of(L, i);
		crc = crc32_z(crc, (const Bytef *)s.ptr, s.len);
	}
	uint8_t out[4] = { (uint8_t)(crc >> 24), (uint8_t)(crc >> 16), (uint8_t)(crc >> 8), (uint8_t)crc };
	lua_push_digest(L, out, sizeof out);
	return 1;
}

static int hmac_with(lua_State *L, enum tls_md md)
{
	uint8_t out[TLS_MD_MAX];
	struct slice key, msg;
	if (lua_gettop(L) == 0)
		return policy_arg_error(L, 2, "String", "expected string or number");
	const struct val *source = lua_check_key_source(L, 1);
	msg = policy_check_slice(L, 2);
	key = lua_load_key(L, source);
	lua_push_digest(L, out, tls_hmac(md, key, msg, out));
	return 1;
}

#define HASHES(X) X(sha1, TLS_SHA1) X(sha224, TLS_SHA224) X(sha256, TLS_SHA256) X(sha384, TLS_SHA384) X(sha512, TLS_SHA512) X(sha512_256, TLS_SHA512_256) \
	X(sha3_256, TLS_SHA3_256) X(sha3_384, TLS_SHA3_384) X(sha3_512, TLS_SHA3_512)
#define MACS(X) X(hmac_sha1, TLS_SHA1) X(hmac_sha224, TLS_SHA224) X(hmac_sha256, TLS_SHA256) X(hmac_sha384, TLS_SHA384) X(hmac_sha512, TLS_SHA512)
#define X(name, md) static int fn_##name(lua_State *L) { return hash_with(L, md); }
HASHES(X)
#undef X
#define X(name, md) static int fn_##name(lua_State *L) { return hmac_with(L, md); }
MACS(X)
#undef X

static const luaL_Reg FUNCTIONS[] = {
#define X(name, md) { #name, fn_##name },
	HASHES(X) MACS(X)
#undef X
	{ "crc32", fn_crc32 },
	{ NULL, NULL },
};
const struct policy_module mod_digest = { "kumo.digest", FUNCTIONS, NULL };

/* --- kumo.secrets --------------------------------------------------------------------------------------------------- */

static int fn_load(lua_State *L)
{
	struct slice data = lua_load_key(L, lua_check_key_source(L, 1));
	policy_push_slice(L, data.ptr ? data : SLICE(""));
	return 1;
}

static const luaL_Reg SECRETS[] = { { "load", fn_load }, { NULL, NULL } };
const struct policy_module mod_secrets = { "kumo.secrets", SECRETS, NULL };

void mod_digest_register(void)
{
	policy_obj_methods(&DIGEST_OBJ, METHODS);
}
