/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mod_encode - kumo.encode: base32, base64 and hex in their variants, and character sets.
 *
 * One decoder for all alphabets, because its errors say where the fault is; trailing padding is optional for the padded variants and refused
 * by the others.
 */
#include <stdlib.h>
#include "base/encode.h"
#include "codec/charset.h"
#include "lua/util.h"

struct alphabet {
	const char *symbols;	/* 1 << bits of them */
	int bits;
	bool padded;
};
#define B64 "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
static const struct alphabet BASE32 = { "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 5, true }, BASE32_NOPAD = { "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 5, false },
	BASE32HEX = { "0123456789ABCDEFGHIJKLMNOPQRSTUV", 5, true }, BASE32HEX_NOPAD = { "0123456789ABCDEFGHIJKLMNOPQRSTUV", 5, false },
	BASE64A = { B64 "+/", 6, true }, BASE64A_NOPAD = { B64 "+/", 6, false }, BASE64U = { B64 "-_", 6, true }, BASE64U_NOPAD = { B64 "-_", 6, false },
	HEX = { "0123456789abcdef", 4, false };

static void put_encoded(struct buf *b, const struct alphabet *a, struct slice in)
{
	uint32_t acc = 0;
	int have = 0;
	size_t from = b->len, block = a->bits == 5 ? 8 : a->bits == 6 ? 4 : 2;
	uint32_t mask = (1u << a->bits) - 1;
	buf_reserve(b, in.len * 2 + 8);
	for (size_t i = 0; i < in.len; i++) {
		acc = acc << 8 | (unsigned char)in.ptr[i];
		for (have += 8; have >= a->bits; have -= a->bits)
			buf_putc(b, a->symbols[acc >> (have - a->bits) & mask]);
	}
	if (have)
		buf_putc(b, a->symbols[acc << (a->bits - have) & mask]);
	while (a->padded && (b->len - from) % block)
		buf_putc(b, '=');
}

/* How many symbols at the end of a block make no whole byte: 1 of base64, 1, 3 or 6 of base32, 1 of hex. */
static size_t valid_length(const struct alphabet *a, size_t len)
{
	while ((len * (size_t)a->bits) % 8 >= (size_t)a->bits)
		len--;
	return len;
}

static int decode(const struct alphabet *a, struct slice in, struct buf *out)
{
	while (a->padded && in.len && in.ptr[in.len - 1] == '=')
		in.len--;
	if (valid_length(a, in.len) != in.len)
		return err_set(E_INVAL, "invalid length at %zu", valid_length(a, in.len));
	uint32_t acc = 0;
	int have = 0;
	for (size_t i = 0; i < in.len; i++) {
		const char *at = in.ptr[i] ? strchr(a->symbols, in.ptr[i]) : NULL;
		if (!at)
			return err_set(E_INVAL, "invalid symbol at %zu", i);
		acc = acc << a->bits | (uint32_t)(at - a->symbols);
		if ((have += a->bits) >= 8) {
			have -= 8;
			buf_putc(out, (char)(acc >> have));
		}
	}
	if (acc & ((1u << have) - 1))
		return err_set(E_INVAL, "non-zero trailing bits at %zu", in.len - 1);
	return 0;
}

static int push_buf(lua_State *L, struct buf *b)
{
	lua_pushlstring(L, b->ptr ? b->ptr : "", b->len);
	buf_fini(b);
	return 1;
}

static int encode_with(lua_State *L, const struct alphabet *a)
{
	if (lua_type(L, 1) != LUA_TSTRING)
		return policy_raisef(L, "parameter must be a string");
	struct buf b = { 0 };
	put_encoded(&b, a, policy_check_slice(L, 1));
	return push_buf(L, &b);
}

static int decode_with(lua_State *L, const struct alphabet *a)
{
	struct slice in = policy_check_text(L, 1);
	struct buf b = { 0 };
	if (decode(a, in, &b) < 0) {
		buf_fini(&b);
		return policy_raise(L, -E_INVAL);
	}
	return push_buf(L, &b);
}

#define VARIANTS(X) X(base32, BASE32) X(base32_nopad, BASE32_NOPAD) X(base32hex, BASE32HEX) X(base32hex_nopad, BASE32HEX_NOPAD) \
	X(base64, BASE64A) X(base64_nopad, BASE64A_NOPAD) X(base64url, BASE64U) X(base64url_nopad, BASE64U_NOPAD) X(hex, HEX)
#define X(name, alphabet) \
	static int name##_encode(lua_State *L) { return encode_with(L, &alphabet); } \
	static int name##_decode_(lua_State *L) { return decode_with(L, &alphabet); }
VARIANTS(X)
#undef X

bool lua_encode_put(struct buf *b, const char *encoding, struct slice bytes)
{
	static const struct {
		const char *name;
		const struct alphabet *alphabet;
	} ALL[] = {
#define X(name, alphabet) { #name, &alphabet },
		VARIANTS(X)
#undef X
	};

	for (size_t i = 0; i < ARRAY_LEN(ALL); i++) {
		if (strcmp(encoding, ALL[i].name) == 0) {
			put_encoded(b, ALL[i].alphabet, bytes);
			return true;
		}
	}
	return false;
}

/* --- character sets ------------------------------------------------------------------------------------------------- */

static struct slice check_charset(lua_State *L)
{
	struct slice name = policy_check_text(L, 1);
	policy_check_slice(L, 2);
	if (!charset_known(name))
		policy_raisef(L, "unknown charset %.*s", SLICE_ARG(name));
	return name;
}

static int charset_decode(lua_State *L)
{
	struct slice name = check_charset(L), in = policy_check_slice(L, 2);
	struct buf b = { 0 };
	if (slice_eq_nocase(name, SLICE("us-ascii")) || slice_eq_nocase(name, SLICE("ascii")))
		for (size_t i = 0; i < in.len; i++)
			if ((unsigned char)in.ptr[i] >= 0x80)
				return policy_raisef(L, "input string did not decode from %.*s bytes: 8-bit input detected at index %zu", SLICE_ARG(name), i);
	if (charset_to_utf8(name, in, &b) < 0) {
		buf_fini(&b);
		return policy_raisef(L, "input string did not decode from %.*s bytes: %s", SLICE_ARG(name), err_text());
	}
	return push_buf(L, &b);
}

static int charset_encode(lua_State *L)
{
	struct slice name = check_charset(L), in = policy_check_text(L, 2);
	bool lenient = lua_isnoneornil(L, 3) || lua_toboolean(L, 3);
	struct buf b = { 0 };
	if (charset_from_utf8(name, in, !lenient, &b) < 0) {
		buf_fini(&b);
		return policy_raisef(L, "input string did not encode into %.*s bytes: %s", SLICE_ARG(name), err_text());
	}
	return push_buf(L, &b);
}

static const luaL_Reg FUNCTIONS[] = {
#define X(name, alphabet) { #name "_encode", name##_encode }, { #name "_decode", name##_decode_ },
	VARIANTS(X)
#undef X
	{ "charset_decode", charset_decode },
	{ "charset_encode", charset_encode },
	{ NULL, NULL },
};
const struct policy_module mod_encode = { "kumo.encode", FUNCTIONS, NULL };
