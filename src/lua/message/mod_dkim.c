/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mod_dkim - kumo.dkim: signers; and message:dkim_sign.
 *
 * Policies make a signer for each message. The same table gives the same signer from the cache for its ttl, so the key is read and parsed once.
 */
#include <stdio.h>
#include <stdlib.h>
#include "base/uuid.h"
#include "codec/opt.h"
#include "lua/message/message.h"
#include "lua/modules.h"
#include "mailauth/arc.h"
#include "mailauth/dkim_sign.h"
#include "mailauth/dkim_verify.h"
#include "net/ttl_cache.h"
#include "policy/keysource.h"
#include "rt/clock.h"
#include "rt/offload.h"

#define CACHE_SIZE 1024
#define REMEMBER_MAX (1 << 20)	/* bodies up to this size stay in memory until the next one is signed */

enum atps_hash { ATPS_NONE, ATPS_SHA1, ATPS_SHA256 };

struct signer_params {
	struct slice domain, selector, atps, agent_user_identifier;
	struct opt_list headers;
	int atpsh, header_canonicalization, body_canonicalization;
	int64_t expiration, ttl;
	bool body_length, reporting, over_sign;
	const struct val *key;
};

static const struct opt_choice CANONS[] = { { "Relaxed", DKIM_RELAXED }, { "Simple", DKIM_SIMPLE }, { NULL, 0 } };
static const struct opt_choice HASHES[] = { { "Sha1", ATPS_SHA1 }, { "Sha256", ATPS_SHA256 }, { NULL, 0 } };
static const struct opt_field FIELDS[] = {
	OPT_STR(struct signer_params, domain, NULL, "d=", .required = true),
	OPT_STR(struct signer_params, selector, NULL, "s=", .required = true),
	OPT_LIST(struct signer_params, headers, NULL, "names of the fields to sign", .required = true),
	OPT_STR(struct signer_params, atps, NULL, "RFC 6541"),
	OPT_ENUM(struct signer_params, atpsh, HASHES, NULL, "RFC 6541"),
	OPT_STR(struct signer_params, agent_user_identifier, NULL, "i="),
	OPT_INT(struct signer_params, expiration, NULL, "seconds that the signature is good for"),
	OPT_BOOL(struct signer_params, body_length, "false", "l="),
	OPT_BOOL(struct signer_params, reporting, "false", "r="),
	OPT_ENUM(struct signer_params, header_canonicalization, CANONS, "Relaxed", "how the header is canonicalized"),
	OPT_ENUM(struct signer_params, body_canonicalization, CANONS, "Relaxed", "how the body is canonicalized"),
	OPT_CUSTOM(struct signer_params, key, policy_read_key_source, NULL, "the private key", .required = true),
	OPT_BOOL(struct signer_params, over_sign, "false", "each name once more than the message has it"),
	OPT_DURATION(struct signer_params, ttl, "300s", "how long the signer is kept"),
	OPT_END
};
static const struct opt_desc SIGNER = { .name = "dkim signer", .fields = FIELDS, .size = sizeof(struct signer_params), .open = true };

static void *ref_signer(void *s)
{
	return dkim_signer_ref(s);
}

static void unref_signer(void *p)
{
	struct dkim_signer *s = p;
	dkim_signer_unref(&s);
}

static void *ref_key(void *k)
{
	return tls_key_ref(k);
}

static void unref_key(void *p)
{
	struct tls_key *k = p;
	tls_key_unref(&k);
}

const struct policy_obj_type DKIM_SIGNER_OBJ = { .name = "Signer", .ref = ref_signer, .unref = unref_signer };

static struct ttl_cache *signers, *keys;

/* What lruttl_* says of the two caches is shown under these names too. */
static int show(struct metric_family *f);
#define SHOW(n, h) { .name = "dkim_signer_" n, .help = h, .kind = METRIC_COUNTER_K, .collect = show }
static struct {
	struct metric_family family;
	struct ttl_cache **cache;
	enum ttl_count count;
	struct metric *metric;
} SHOWN[] = {
	{ SHOW("cache_hit", "how many requests for a signer were answered from the cache"), &signers, TTL_HITS, NULL },
	{ SHOW("cache_lookup_count", "how many signers were asked for"), &signers, TTL_LOOKUPS, NULL },
	{ SHOW("cache_miss", "how many requests for a signer had to make it"), &signers, TTL_MISSES, NULL },
	{ SHOW("key_cache_hit", "how many requests for a signing key were answered from the cache"), &keys, TTL_HITS, NULL },
	{ SHOW("key_cache_lookup_count", "how many signing keys were asked for"), &keys, TTL_LOOKUPS, NULL },
	{ SHOW("key_cache_miss", "how many requests for a signing key had to load it"), &keys, TTL_MISSES, NULL },
};

static struct metric_family CREATION = METRIC_HISTOGRAM("dkim_signer_creation", "how many seconds making a signer took that was not in the cache");
static struct metric_family KEY_FETCH = METRIC_HISTOGRAM("dkim_signer_key_fetch", "how many seconds loading a signing key took");
static _Atomic(struct metric *) creation, key_fetch;

static int show(struct metric_family *f)
{
	for (size_t i = 0; i < ARRAY_LEN(SHOWN); i++)
		if (&SHOWN[i].family == f)
			metric_set(SHOWN[i].metric, ttl_cache_counted(*SHOWN[i].cache, SHOWN[i].count));
	return 0;
}

static void register_metrics(void)
{
	for (size_t i = 0; i < ARRAY_LEN(SHOWN); i++) {
		metric_register(&SHOWN[i].family);
		SHOWN[i].metric = metric_get(&SHOWN[i].family);
	}
	metric_register(&CREATION);
	metric_register(&KEY_FETCH);
}

/* What failed is not a time that making it takes. */
static void observe_since(struct metric_family *f, _Atomic(struct metric *) *at, int64_t begun_us)
{
	metric_observe(metric_lazy(f, at), (double)(rt_now_us_exact() - begun_us) / 1e6);
}

struct loading {
	const struct val *table;	/* of the signer, or the key source */
	struct arena *arena;
	int64_t ttl_ms;
};

static int load_key(void *arg, void **value, int64_t *expires_ms)
{
	struct loading *l = arg;
	struct buf data = { 0 };
	int64_t begun_us = rt_now_us_exact();
	int rc = policy_key_load(l->table, &data);
	if (rc == 0)
		rc = tls_key_load_private(buf_view(&data), (struct tls_key **)value);
	if (rc == 0)
		observe_since(&KEY_FETCH, &key_fetch, begun_us);
	/* a private key does not stay in freed memory */
	if (data.len > 0)
		explicit_bzero(data.ptr, data.len);
	buf_fini(&data);
	*expires_ms = rt_now_ms() + l->ttl_ms;
	return rc;
}

static int get_key(const struct val *source, int64_t ttl_ms, struct tls_key **out)
{
	struct buf name = { 0 };
	struct loading l = { .table = source, .ttl_ms = ttl_ms };
	void *key;
	json_put(&name, source, JSON_COMPACT | JSON_SORTED);
	int rc = ttl_cache_load(keys, buf_view(&name), load_key, &l, &key);
	buf_fini(&name);
	if (rc == 0)
		*out = key;
	return rc;
}

/* What upstream's signer does not do either: refused, not ignored. */
static int check_params(const struct signer_params *p)
{
	const char *what = p->atps.ptr != NULL ? "atps" : p->atpsh != ATPS_NONE ? "atpsh" : p->agent_user_identifier.ptr != NULL ? "agent_user_identifier" :
			   p->body_length ? "body_length" : p->reporting ? "reporting" : NULL;
	return what == NULL ? 0 : err_set(E_UNSUPPORTED, "%s is not currently supported for RSA keys", what);
}

static int load_signer(void *arg, void **value, int64_t *expires_ms)
{
	struct loading *l = arg;
	struct signer_params p;
	struct tls_key *key = NULL;
	int64_t begun_us = rt_now_us_exact();
	int rc = opt_parse(&SIGNER, l->table, l->arena, &p);
	if (rc < 0)
		return rc;
	if ((rc = get_key(p.key, p.ttl / 1000000, &key)) < 0 || (rc = check_params(&p)) < 0) {
		tls_key_unref(&key);
		return rc;
	}
	struct dkim_signer_opts o = {
		.domain = p.domain, .selector = p.selector, .headers = p.headers.items, .n_headers = (uint32_t)p.headers.n,
		.header_canon = p.header_canonicalization, .body_canon = p.body_canonicalization,
		.over_sign = p.over_sign, .expiration_s = p.expiration,
	};
	rc = dkim_signer_create(&o, key, (struct dkim_signer **)value);
	tls_key_unref(&key);
	if (rc == 0)
		observe_since(&CREATION, &creation, begun_us);
	*expires_ms = rt_now_ms() + p.ttl / 1000000;
	return rc;
}

static int make_signer(lua_State *L)
{
	struct loading l = { .arena = policy_arena(L) };
	struct val v;
	struct buf name = { 0 };
	void *signer;

	lua_settop(L, 1);
	if (lua_type(L, 1) != LUA_TTABLE)
		return policy_raisef(L, "deserialize error: invalid type: %s, expected table, while processing dkim signer", policy_type_name(L, 1));
	int rc = policy_to_val_mode(L, 1, POLICY_VAL_RAW, l.arena, &v);
	if (rc < 0)
		return policy_raise(L, rc);
	json_put(&name, &v, JSON_COMPACT | JSON_SORTED);
	l.table = &v;
	rc = ttl_cache_load(signers, buf_view(&name), load_signer, &l, &signer);
	buf_fini(&name);
	if (rc < 0)
		return policy_raise_opts(L, SIGNER.name);
	policy_obj_push(L, &DKIM_SIGNER_OBJ, signer);
	unref_signer(signer);
	return 1;
}

/* --- signing ---------------------------------------------------------------------------------------------------------------------- */

static bool use_pool;

static int set_signing_threads(lua_State *L)
{
	int64_t n = policy_check_int(L, 1, "usize", 1, INT64_MAX);
	if (use_pool)
		return policy_raisef(L, "dkimsign pool is already configured");
	/* one pool serves everything that blocks; its size is the program's matter */
	use_pool = true;
	fprintf(stderr, "started dkimsign pool with %lld threads\n", (long long)n);
	return 0;
}

struct signing {
	const struct dkim_signer *signer;
	struct slice msg;
	int64_t now_s;
	struct dkim_hashes hashes;
	struct buf value;
	int rc;
};

static void sign(void *arg)
{
	struct signing *s = arg;
	s->rc = dkim_sign(s->signer, s->msg, s->now_s, &s->hashes, &s->value);
}

/*
 * A message with several signatures is signed by several calls. Each puts a field before the same body, so the body's hashes are
 * kept for the message that the last call left behind.
 */
static _Thread_local struct {
	struct msg_body *body;
	struct dkim_hashes hashes;
} last;

static void remember(struct msg_body *body, const struct dkim_hashes *hashes)
{
	msg_body_unref(&last.body);
	if (body->len > REMEMBER_MAX)
		return;
	last.body = msg_body_ref(body);
	last.hashes = *hashes;
}

static int message_dkim_sign(lua_State *L)
{
	struct msg *m = lua_check_msg(L);
	struct signing s = { .signer = policy_obj_check(L, 2, &DKIM_SIGNER_OBJ) };
	struct msg_body *body = lua_msg_body(L, m);

	s.msg = msg_body_view(body);
	s.now_s = rt_wall_us() / 1000000;
	if (last.body == body)
		s.hashes = last.hashes;
	if (use_pool)
		rt_offload(sign, &s);
	else
		sign(&s);
	if (s.rc == 0) {
		struct buf out = { 0 };
		size_t len;
		mail_prepend_header(&out, s.msg, SLICE("DKIM-Signature"), buf_view(&s.value));
		char *data = buf_take(&out, &len);
		struct msg_body *signed_body = msg_body_take(data, len);
		remember(signed_body, &s.hashes);
		msg_set_body(m, signed_body);
	}
	buf_fini(&s.value);
	msg_body_unref(&body);
	return s.rc < 0 ? policy_raise(L, s.rc) : 0;
}

/* The named resolver (NULL: the default one) as a reference; raises for an unknown name. */
static struct dns_resolver *check_resolver(lua_State *L, int idx)
{
	struct slice name = policy_opt_text(L, idx);
	if (name.ptr == NULL)
		return NULL;
	struct dns_resolver *r = dns_resolver_find(name);
	if (r == NULL)
		policy_raisef(L, "resolver '%.*s' is not defined", SLICE_ARG(name));
	return r;
}

static int message_dkim_verify(lua_State *L)
{
	struct msg *m = lua_check_msg(L);
	struct dns_resolver *r = check_resolver(L, 2);
	struct dkim_verify_opts o = { .dns = auth_dns_of(r), .now_s = rt_wall_us() / 1000000 };
	struct msg_body *body;
	struct val results;
	int rc = msg_body(m, &body);
	if (rc == 0) {
		rc = dkim_verify(msg_body_view(body), &o, policy_arena(L), &results);
		msg_body_unref(&body);
	}
	if (r != NULL)
		dns_resolver_unref(&r);
	if (rc < 0)
		return policy_raise(L, rc);
	policy_push_val(L, &results);
	return 1;
}

/* Verifies the chain of M's body; the caller frees BODY. */
static int read_chain(lua_State *L, struct msg *m, struct dns_resolver *r, struct msg_body **body, struct arc_chain **out)
{
	struct dkim_verify_opts o = { .dns = auth_dns_of(r), .now_s = rt_wall_us() / 1000000 };
	int rc = msg_body(m, body);
	*out = arena_alloc(policy_arena(L), sizeof **out);
	if (rc < 0)
		return rc;
	if ((rc = arc_verify(msg_body_view(*body), &o, policy_arena(L), *out)) < 0)
		msg_body_unref(body);
	return rc;
}

static int message_arc_verify(lua_State *L)
{
	struct msg *m = lua_check_msg(L);
	struct dns_resolver *r = check_resolver(L, 2);
	struct msg_body *body;
	struct arc_chain *chain;
	struct val result;
	int rc = read_chain(L, m, r, &body, &chain);
	if (r != NULL)
		dns_resolver_unref(&r);
	if (rc < 0)
		return policy_raise(L, rc);
	arc_result(chain, policy_arena(L), &result);
	msg_body_unref(&body);
	policy_push_val(L, &result);
	return 1;
}

static int message_arc_seal(lua_State *L)
{
	struct msg *m = lua_check_msg(L);
	struct dkim_signer *s = policy_obj_check(L, 2, &DKIM_SIGNER_OBJ);
	struct slice id = policy_check_slice(L, 3);
	struct arena *a = policy_arena(L);
	struct val results, field = val_obj();
	struct msg_body *body;
	struct arc_chain *chain;
	struct buf out = { 0 };
	int rc;

	if (lua_type(L, 4) != LUA_TTABLE)
		return policy_raisef(L, "deserialize error: invalid type: %s, expected table", policy_type_name(L, 4));
	if ((rc = policy_to_val_mode(L, 4, POLICY_VAL_RAW, a, &results)) < 0)
		return policy_raise(L, rc);
	val_put_lit(a, &field, "serv_id", val_str(a, id));
	val_put_lit(a, &field, "results", results);
	struct dns_resolver *r = check_resolver(L, 5);
	if ((rc = read_chain(L, m, r, &body, &chain)) == 0) {
		rc = arc_seal(msg_body_view(body), chain, s, &field, rt_wall_us() / 1000000, a, &out);
		if (rc == 0 && out.len > 0) {
			buf_slice(&out, msg_body_view(body));
			lua_msg_set_data(m, &out);
		}
		msg_body_unref(&body);
	}
	if (r != NULL)
		dns_resolver_unref(&r);
	buf_fini(&out);
	return rc < 0 ? policy_raise(L, rc) : 0;
}

static const luaL_Reg FUNCTIONS[] = {
	{ "ed25519_signer", make_signer },
	{ "rsa_sha256_signer", make_signer },
	{ "set_signing_threads", set_signing_threads },
	{ NULL, NULL },
};
extern const struct policy_module mod_dkim;
const struct policy_module mod_dkim = { "kumo.dkim", FUNCTIONS, NULL };

static const luaL_Reg METHODS[] = {
	{ "arc_seal", message_arc_seal },
	{ "arc_verify", message_arc_verify },
	{ "dkim_sign", message_dkim_sign },
	{ "dkim_verify", message_dkim_verify },
	{ NULL, NULL },
};
static const luaL_Reg NO_METHODS[] = { { NULL, NULL } };

void mod_dkim_register(void)
{
	const struct ttl_cache_conf signer_conf = { .name = "dkim_signer_cache", .capacity = CACHE_SIZE, .ref = ref_signer, .unref = unref_signer };
	const struct ttl_cache_conf key_conf = { .name = "dkim_key_cache", .capacity = CACHE_SIZE, .ref = ref_key, .unref = unref_key };
	signers = ttl_cache_create(&signer_conf);
	keys = ttl_cache_create(&key_conf);
	register_metrics();
	dkim_metrics_register();
	policy_obj_methods(&MSG_OBJ, METHODS);
	policy_obj_methods(&DKIM_SIGNER_OBJ, NO_METHODS);
}
