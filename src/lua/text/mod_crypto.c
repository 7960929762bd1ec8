/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mod_crypto - kumo.crypto: AES for small secrets, and AWS Signature Version 4.
 */
#include <stdio.h>
#include <stdlib.h>
#include "base/encode.h"
#include "codec/opt.h"
#include "lua/text/mod_digest.h"
#include "lua/text/sigv4.h"
#include "lua/text/time_text.h"
#include "lua/util.h"
#include "policy/keysource.h"
#include "rt/clock.h"
#include "tls/aes.h"
#include "tls/digest.h"

/* --- AES ------------------------------------------------------------------------------------------------------------ */

struct key_opts {
	const struct val *key;
};
static const struct opt_field KEY_FIELDS[] = { OPT_CUSTOM(struct key_opts, key, policy_read_key_source, NULL, "the key, 16 or 32 bytes", .required = true), OPT_END };
static const struct opt_desc KEY = { .name = "key", .fields = KEY_FIELDS, .size = sizeof(struct key_opts), .open = true };

static enum tls_aes_mode check_mode(lua_State *L)
{
	if (lua_type(L, 1) != LUA_TSTRING)
		policy_raisef(L, "deserialize error: bad enum value");
	struct slice name = policy_check_text(L, 1);
	if (slice_eq(name, SLICE("Ecb")))
		return TLS_AES_ECB;
	if (!slice_eq(name, SLICE("Cbc")))
		policy_raisef(L, "deserialize error: unknown variant `%.*s`, expected `Ecb` or `Cbc`", SLICE_ARG(name));
	return TLS_AES_CBC;
}

static struct slice run_aes(lua_State *L, int (*fn)(enum tls_aes_mode, struct slice, struct slice, struct buf *))
{
	struct slice data = policy_check_slice(L, 2);
	enum tls_aes_mode mode = check_mode(L);
	struct key_opts o;
	struct buf b = { 0 };
	policy_check_opts(L, 3, &KEY, policy_arena(L), &o);
	struct slice key = lua_load_key(L, o.key);
	int rc = fn(mode, key, data, &b);
	struct slice out = arena_dup(policy_arena(L), buf_view(&b));
	buf_fini(&b);
	if (rc < 0)
		policy_raise(L, rc);
	return out;
}

static int fn_aes_encrypt_block(lua_State *L)
{
	struct slice out = run_aes(L, tls_aes_encrypt);
	lua_pushlstring(L, out.ptr, out.len);
	return 1;
}

static int fn_aes_decrypt_block(lua_State *L)
{
	struct slice out = run_aes(L, tls_aes_decrypt);
	lua_push_digest(L, out.ptr ? out.ptr : "", out.len);
	return 1;
}

/* --- AWS Signature Version 4 ---------------------------------------------------------------------------------------- */

struct sign_opts {
	const struct val *access_key, *secret_key;
	struct slice region, service, method, uri, payload, timestamp, session_token;
	struct opt_map query_params, headers;
};
#define S struct sign_opts
static const struct opt_field SIGN_FIELDS[] = {
	OPT_CUSTOM(S, access_key, policy_read_key_source, NULL, "access key id", .required = true),
	OPT_CUSTOM(S, secret_key, policy_read_key_source, NULL, "secret access key", .required = true),
	OPT_STR(S, region, NULL, "region", .required = true),
	OPT_STR(S, service, NULL, "service", .required = true),
	OPT_STR(S, method, NULL, "HTTP method", .required = true),
	OPT_STR(S, uri, NULL, "path", .required = true),
	OPT_MAP(S, query_params, NULL, "parameters of the query"),
	OPT_MAP(S, headers, NULL, "headers to sign; host is needed"),
	OPT_STR(S, payload, "", "the body"),
	OPT_STR(S, timestamp, NULL, "RFC 3339; now unless given"),
	OPT_STR(S, session_token, NULL, "token of temporary credentials"),
	OPT_END,
};
#undef S
static const struct opt_desc SIGN = { .name = "aws_sign_v4", .fields = SIGN_FIELDS, .size = sizeof(struct sign_opts), .open = true };

struct pair {
	struct slice name, value;
};

static int by_name(const void *a, const void *b)
{
	return slice_cmp(((const struct pair *)a)->name, ((const struct pair *)b)->name);
}

static struct slice encoded(struct arena *a, struct slice s, const char *keep)
{
	struct buf b = { 0 };
	percent_put(&b, s, keep);
	struct slice out = arena_dup(a, buf_view(&b));
	buf_fini(&b);
	return out;
}

static void put_hash(struct buf *b, struct slice s)
{
	uint8_t md[TLS_MD_MAX];
	hex_put(b, slice_new(md, tls_digest(TLS_SHA256, s, md)), false);
}

static void put_query(struct buf *b, struct arena *a, const struct opt_map *params)
{
	struct pair *p = arena_alloc(a, (params->n + 1) * sizeof *p);
	const struct slice *values = params->items;
	for (size_t i = 0; i < params->n; i++)
		p[i] = (struct pair){ encoded(a, params->keys[i], "-_.~"), encoded(a, values[i], "-_.~") };
	qsort(p, params->n, sizeof *p, by_name);
	for (size_t i = 0; i < params->n; i++)
		buf_printf(b, "%s%.*s=%.*s", i ? "&" : "", SLICE_ARG(p[i].name), SLICE_ARG(p[i].value));
}

/* Trimmed, with runs of blanks as one. */
static struct slice header_value(struct arena *a, struct slice s)
{
	struct buf b = { 0 };
	s = slice_trim(s);
	for (size_t i = 0; i < s.len; i++)
		if (s.ptr[i] != ' ' || i == 0 || s.ptr[i - 1] != ' ')
			buf_putc(&b, s.ptr[i]);
	struct slice out = arena_dup(a, buf_view(&b));
	buf_fini(&b);
	return out;
}

static void add_header(struct pair *h, size_t *n, struct arena *a, struct slice name, struct slice value)
{
	char *lower = arena_strdup(a, name);
	for (size_t i = 0; i < name.len; i++)
		lower[i] = ascii_lower(lower[i]);
	name = slice_new(lower, name.len);
	size_t i = 0;
	while (i < *n && !slice_eq(h[i].name, name))
		i++;
	h[i] = (struct pair){ name, header_value(a, value) };
	*n += i == *n;
}

/* The headers that are signed, sorted; false: there is no host. */
static bool gather_headers(struct arena *a, const struct sign_opts *o, struct slice stamp, struct slice body_hash, struct pair **out, size_t *n)
{
	struct pair *h = arena_alloc(a, (o->headers.n + 4) * sizeof *h);
	const struct slice *values = o->headers.items;
	bool host = false;
	*n = 0;
	for (size_t i = 0; i < o->headers.n; i++) {
		host |= slice_eq_nocase(o->headers.keys[i], SLICE("host"));
		add_header(h, n, a, o->headers.keys[i], values[i]);
	}
	add_header(h, n, a, SLICE("x-amz-date"), stamp);
	if (o->session_token.ptr)
		add_header(h, n, a, SLICE("x-amz-security-token"), o->session_token);
	if (slice_eq(o->service, SLICE("s3")))
		add_header(h, n, a, SLICE("x-amz-content-sha256"), body_hash);
	qsort(h, *n, sizeof *h, by_name);
	*out = h;
	return host;
}

static struct slice sign(struct arena *a, struct slice secret, struct slice date, const struct sign_opts *o, struct slice text)
{
	uint8_t md[TLS_MD_MAX];
	const struct slice steps[] = { date, o->region, o->service, SLICE("aws4_request"), text };
	struct slice key = arena_slicef(a, "AWS4%.*s", SLICE_ARG(secret));
	for (size_t i = 0; i < ARRAY_LEN(steps); i++)
		key = arena_dup(a, slice_new(md, tls_hmac(TLS_SHA256, key, steps[i], md)));
	struct buf b = { 0 };
	hex_put(&b, key, false);
	struct slice out = arena_dup(a, buf_view(&b));
	buf_fini(&b);
	return out;
}

static struct slice taken(struct arena *a, struct buf *b)
{
	struct slice s = arena_dup(a, buf_view(b));
	buf_fini(b);
	return s;
}

static struct slice stamp_of(lua_State *L, const struct sign_opts *o)
{
	struct moment m = { rt_wall_us() / 1000000, 0 };
	struct buf b = { 0 };
	if (o->timestamp.ptr && moment_parse_rfc3339(o->timestamp, &m) < 0)
		policy_raisef(L, "deserialize error: %s, while processing aws_sign_v4.timestamp", err_text());
	moment_put_format(&b, m, SLICE("%Y%m%dT%H%M%SZ"));
	return taken(policy_arena(L), &b);
}

static struct slice load_text(lua_State *L, const struct val *source, const char *what)
{
	char why[96];
	struct slice s = lua_load_key(L, source);
	if (policy_utf8_fault(s, why, sizeof why))
		policy_raisef(L, "%s must be valid UTF-8: %s", what, why);
	return s;
}

static void set(lua_State *L, const char *name, struct slice s)
{
	policy_push_slice(L, s);
	lua_setfield(L, -2, name);
}

int lua_aws_sign_v4(lua_State *L)
{
	struct arena *a = policy_arena(L);
	struct sign_opts o;
	struct buf b = { 0 };
	struct pair *h;
	size_t n;
	policy_check_opts(L, 1, &SIGN, a, &o);
	struct slice access = load_text(L, o.access_key, "access_key"), secret = load_text(L, o.secret_key, "secret_key");
	struct slice stamp = stamp_of(L, &o), date = slice_sub(stamp, 0, 8);
	put_hash(&b, o.payload);
	struct slice body_hash = taken(a, &b);
	if (!gather_headers(a, &o, stamp, body_hash, &h, &n))
		return policy_raisef(L, "headers must include 'host'");
	for (size_t i = 0; i < n; i++)
		buf_printf(&b, "%s%.*s", i ? ";" : "", SLICE_ARG(h[i].name));
	struct slice names = taken(a, &b), path = encoded(a, o.uri.len ? o.uri : SLICE("/"), "-_.~/");
	buf_printf(&b, "%.*s\n%.*s\n", SLICE_ARG(o.method), SLICE_ARG(path));
	put_query(&b, a, &o.query_params);
	buf_putc(&b, '\n');
	for (size_t i = 0; i < n; i++)
		buf_printf(&b, "%.*s:%.*s\n", SLICE_ARG(h[i].name), SLICE_ARG(h[i].value));
	buf_printf(&b, "\n%.*s\n%.*s", SLICE_ARG(names), SLICE_ARG(body_hash));
	struct slice request = taken(a, &b);
	struct slice scope = arena_slicef(a, "%.*s/%.*s/%.*s/aws4_request", SLICE_ARG(date), SLICE_ARG(o.region), SLICE_ARG(o.service));
	buf_printf(&b, "AWS4-HMAC-SHA256\n%.*s\n%.*s\n", SLICE_ARG(stamp), SLICE_ARG(scope));
	put_hash(&b, request);
	struct slice text = taken(a, &b), signature = sign(a, secret, date, &o, text);
	lua_newtable(L);
	set(L, "authorization", arena_slicef(a, "AWS4-HMAC-SHA256 Credential=%.*s/%.*s, SignedHeaders=%.*s, Signature=%.*s", SLICE_ARG(access), SLICE_ARG(scope),
					     SLICE_ARG(names), SLICE_ARG(signature)));
	set(L, "timestamp", stamp);
	set(L, "signature", signature);
	set(L, "canonical_request", request);
	set(L, "string_to_sign", text);
	return 1;
}

static const luaL_Reg FUNCTIONS[] = {
	{ "aes_encrypt_block", fn_aes_encrypt_block }, { "aes_decrypt_block", fn_aes_decrypt_block }, { "aws_sign_v4", lua_aws_sign_v4 }, { NULL, NULL },
};
const struct policy_module mod_crypto = { "kumo.crypto", FUNCTIONS, NULL };
