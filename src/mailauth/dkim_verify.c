/* SPDX-License-Identifier: Apache-2.0 */
#include "mailauth/dkim_verify.h"
#include "base/encode.h"

#define EXPIRY_DRIFT_S (15 * 60)	/* clocks differ */
#define HEADERS_MAX 4096
#define RSA_BITS_MIN 1024		/* RFC 8301 3.2 */

int dkim_headers(struct slice msg, struct arena *a, struct dkim_header_list *out, struct slice *body)
{
	struct mail_header h;
	uint32_t cap = 64;
	int rc;

	out->n = 0;
	out->h = arena_alloc(a, cap * sizeof h);
	while ((rc = mail_header_next(&msg, &h)) > 0) {
		if (out->n == cap) {
			struct mail_header *old = out->h;
			if ((cap *= 2) > HEADERS_MAX)
				return err_set(E_LIMIT, "the message has over %d header fields", HEADERS_MAX);
			out->h = arena_alloc(a, cap * sizeof h);
			memcpy(out->h, old, out->n * sizeof h);
		}
		out->h[out->n++] = h;
	}
	*body = msg;
	return rc;
}

/* --- the tags ------------------------------------------------------------------------------------------------------------------ */

struct algorithm {
	const char *name;
	enum tls_md md;
	enum tls_key_kind key;
	bool weak;
};
static const struct algorithm ALGORITHMS[] = {
	{ "rsa-sha256", TLS_SHA256, TLS_KEY_RSA, false }, { "ed25519-sha256", TLS_SHA256, TLS_KEY_ED25519, false }, { "rsa-sha1", TLS_SHA1, TLS_KEY_RSA, true },
};

static const struct algorithm *find_algorithm(struct slice name)
{
	for (size_t i = 0; i < ARRAY_LEN(ALGORITHMS); i++)
		if (slice_eq_nocase(name, slice_from_cstr(ALGORITHMS[i].name)))
			return &ALGORITHMS[i];
	return NULL;
}

static bool is_subdomain(struct slice sub, struct slice domain)
{
	if (slice_ends(domain, SLICE(".")))
		domain.len--;
	if (slice_ends(sub, SLICE(".")))
		sub.len--;
	if (!slice_ends_nocase(sub, domain) || domain.len == 0)
		return false;
	return sub.len == domain.len || sub.ptr[sub.len - domain.len - 1] == '.';
}

static bool lists_from(struct slice h)
{
	struct slice name;
	while (slice_split_next(&h, ':', &name))
		if (slice_eq_nocase(name, SLICE("from")))
			return true;
	return false;
}

static const char *check_expiry(const struct auth_tags *t, int64_t now_s)
{
	struct slice x = auth_tag_value(t, "x");
	int64_t when = 0;
	if (x.ptr == NULL)
		return NULL;
	if (slice_to_i64(x, &when) < 0)
		when = 0;
	return when > INT64_MAX - EXPIRY_DRIFT_S || now_s <= when + EXPIRY_DRIFT_S ? NULL : "signature expired";
}

/* RFC 6376 6.1.1 */
static const char *check_tags(const struct auth_tags *t, int64_t now_s, struct arena *a)
{
	static const char *const NEEDED[] = { "v", "a", "b", "bh", "d", "h", "s" };
	for (size_t i = 0; i < ARRAY_LEN(NEEDED); i++)
		if (auth_tag_find(t, NEEDED[i]) == NULL)
			return arena_printf(a, "signature missing required tag (%s)", NEEDED[i]);
	if (!slice_eq_cstr(auth_tag_value(t, "v"), "1"))
		return "incompatible version";
	struct slice i = auth_tag_value(t, "i"), q = auth_tag_value(t, "q");
	ptrdiff_t at = slice_rchr(i, '@');
	if (i.ptr != NULL && (at < 0 || !is_subdomain(slice_sub(i, at + 1, SIZE_MAX), auth_tag_value(t, "d"))))
		return "domain mismatch";
	if (!lists_from(auth_tag_value(t, "h")))
		return "From field not signed";
	bool dns = q.ptr == NULL;
	for (struct slice method; slice_split_next(&q, ':', &method);)
		dns |= slice_eq_cstr(method, "dns/txt");
	if (!dns)
		return "unsupported query method";
	return check_expiry(t, now_s);
}

static bool parse_canon(struct slice c, enum dkim_canon *header, enum dkim_canon *body)
{
	struct slice part;
	enum dkim_canon *const into[] = { header, body };
	*header = *body = DKIM_SIMPLE;
	for (size_t i = 0; slice_split_next(&c, '/', &part); i++) {
		if (i > 1)
			return false;
		if (slice_eq_cstr(part, "relaxed"))
			*into[i] = DKIM_RELAXED;
		else if (!slice_eq_cstr(part, "simple"))
			return false;
	}
	return true;
}

/* --- keys -------------------------------------------------------------------------------------------------------------------------- */

static bool list_has(struct slice list, const char *a, const char *b)
{
	struct slice item;
	while (slice_split_next(&list, ':', &item))
		if (slice_eq_cstr(item, a) || (b != NULL && slice_eq_cstr(item, b)))
			return true;
	return false;
}

/* What else a key record demands of the signature (RFC 6376 3.6.1). */
static const char *check_restrictions(const struct auth_tags *key, const struct auth_tags *sig, const struct algorithm *alg)
{
	struct slice h = auth_tag_value(key, "h"), s = auth_tag_value(key, "s"), flags = auth_tag_value(key, "t");
	struct slice i = auth_tag_value(sig, "i");
	if (h.ptr != NULL && !list_has(h, alg->md == TLS_SHA1 ? "sha1" : "sha256", NULL))
		return "inappropriate key algorithm";
	if (s.ptr != NULL && !list_has(s, "email", "*"))
		return "no key for signature";
	if (flags.ptr != NULL && list_has(flags, "s", NULL) && i.ptr != NULL &&
	    !slice_eq_nocase(slice_sub(i, slice_rchr(i, '@') + 1, SIZE_MAX), auth_tag_value(sig, "d")))
		return "domain mismatch";
	return NULL;
}

static const char *parse_key(struct slice record, const struct auth_tags *sig, const struct algorithm *alg, struct arena *a, struct tls_key **out)
{
	struct auth_tags t;
	struct buf der = { 0 };
	const char *why;
	if (auth_tags_parse(record, a, &t) < 0)
		return "key syntax error";
	struct slice v = auth_tag_value(&t, "v"), k = auth_tag_value(&t, "k"), p = auth_tag_value(&t, "p");
	bool ed = slice_eq_cstr(k, "ed25519");
	if (v.ptr != NULL && !slice_eq_cstr(v, "DKIM1"))
		return "key incompatible version";
	if (k.ptr != NULL && !ed && !slice_eq_cstr(k, "rsa"))
		return "inappropriate key algorithm";
	if (p.len == 0)
		return "no key for signature";	/* an empty one has been revoked */
	if ((why = check_restrictions(&t, sig, alg)) != NULL)
		return why;
	int rc = base64_decode(&der, p, BASE64_STD);
	if (rc < 0 && p.len % 4 != 0)
		rc = base64_decode(&der, p, BASE64_STD_NOPAD);
	if (rc < 0) {
		buf_fini(&der);
		return "key unavailable: failed to decode public key";
	}
	rc = ed ? tls_key_load_ed25519_public(buf_view(&der), out) : tls_key_load_public(buf_view(&der), out);
	buf_fini(&der);
	return rc < 0 ? "key unavailable: failed to parse public key" : NULL;
}

#define KEYS_MAX 8
struct keys {
	uint32_t n;
	struct tls_key *k[KEYS_MAX];
};

static void drop_keys(struct keys *keys)
{
	while (keys->n > 0)
		tls_key_unref(&keys->k[--keys->n]);
}

/* All keys that are published: during a change there are two. */
static const char *fetch_keys(const struct auth_tags *sig, const struct algorithm *alg, const struct dkim_verify_opts *o, struct arena *a,
			      struct keys *out, bool *temporary, int *rc)
{
	struct slice name = arena_slicef(a, "%.*s._domainkey.%.*s", SLICE_ARG(auth_tag_value(sig, "s")), SLICE_ARG(auth_tag_value(sig, "d")));
	struct auth_rrs rrs;
	const char *why = NULL;
	if ((*rc = o->dns.lookup(o->dns.arg, name, DNS_TXT, a, &rrs)) < 0)
		return "canceled";
	if (rrs.status == DNS_FAIL) {
		*temporary = true;
		return arena_printf(a, "key unavailable: failed to resolve %.*s", SLICE_ARG(name));
	}
	if (rrs.status != DNS_OK || rrs.n == 0)
		return arena_printf(a, "key unavailable: failed to resolve %.*s", SLICE_ARG(name));
	for (uint32_t i = 0; i < rrs.n && out->n < KEYS_MAX; i++) {
		const char *w = parse_key(rrs.rrs[i].data, sig, alg, a, &out->k[out->n]);
		if (w == NULL)
			out->n++;
		else
			why = w;
	}
	return out->n > 0 ? NULL : why;
}

/* --- one signature ------------------------------------------------------------------------------------------------------------------- */

/* The signature's own field with the value of b= taken out, without line end. */
static void put_own_field(struct buf *b, enum dkim_canon c, const struct dkim_check *k)
{
	const struct auth_tag *tag = auth_tag_find(k->tags, "b");
	struct slice v = k->header->value;
	struct buf text = { 0 };
	size_t from = tag->raw.ptr - v.ptr;
	if (c == DKIM_SIMPLE) {
		/* exactly as it stands, name and blanks too */
		buf_slice(&text, k->header->name);
		buf_slice(&text, k->header->sep);
		buf_slice(&text, slice_sub(v, 0, from));
		buf_slice(&text, slice_sub(v, from + tag->raw.len, SIZE_MAX));
		buf_slice(b, buf_view(&text));
	} else {
		buf_slice(&text, slice_sub(v, 0, from));
		buf_slice(&text, slice_sub(v, from + tag->raw.len, SIZE_MAX));
		dkim_canon_field(b, c, slice_from_cstr(k->field), buf_view(&text));
	}
	buf_fini(&text);
}

static void put_signed_fields(struct buf *b, enum dkim_canon c, const struct dkim_check *k, struct arena *a)
{
	const struct dkim_header_list *list = k->signed_fields;
	if (k->seal) {
		for (uint32_t i = 0; i < list->n; i++)
			dkim_canon_header(b, DKIM_RELAXED, &list->h[i]);
		return;
	}
	uint8_t *taken = arena_alloc(a, list->n + 1);
	struct slice names = auth_tag_value(k->tags, "h"), name;
	uint32_t n = 0;
	while (slice_split_next(&names, ':', &name) && n++ < HEADERS_MAX) {
		for (uint32_t i = list->n; i-- > 0;) {
			if (taken[i] || !slice_eq_nocase(list->h[i].name, name))
				continue;
			taken[i] = 1;
			dkim_canon_header(b, c, &list->h[i]);
			break;
		}
	}
}

static const char *check_body(const struct dkim_check *k, enum dkim_canon c, enum tls_md md)
{
	uint8_t hash[TLS_MD_MAX];
	struct buf said = { 0 };
	uint64_t limit = UINT64_MAX;
	struct slice l = auth_tag_value(k->tags, "l");
	if (l.ptr != NULL && slice_to_u64(l, &limit) < 0)
		return "signature syntax error: l= is no number";
	size_t n = dkim_body_hash(c, md, k->body, limit, hash);
	bool ok = base64_decode(&said, auth_tag_value(k->tags, "bh"), BASE64_STD) == 0 && slice_eq(buf_view(&said), slice_new(hash, n));
	buf_fini(&said);
	return ok ? NULL : "body hash did not verify";
}

static const char *check_keys(const struct keys *keys, const struct algorithm *alg, struct slice hash, struct slice sig, const struct dkim_verify_opts *o)
{
	const char *why = "signature did not verify";
	for (uint32_t i = 0; i < keys->n; i++) {
		const struct tls_key *k = keys->k[i];
		if (tls_key_kind(k) != alg->key) {
			why = "inappropriate key algorithm";
			continue;
		}
		if (!o->allow_weak && alg->key == TLS_KEY_RSA && tls_key_bits(k) < RSA_BITS_MIN) {
			why = "inappropriate key algorithm: the key has under 1024 bits";
			continue;
		}
		if (tls_key_verify(k, alg->md, hash, sig) == 0)
			return NULL;
	}
	return why;
}

const char *dkim_check_signature(const struct dkim_check *k, const struct dkim_verify_opts *o, struct arena *a, bool *temporary, int *rc)
{
	struct slice alg_name = auth_tag_value(k->tags, "a");
	const struct algorithm *alg = find_algorithm(alg_name);
	enum dkim_canon header_canon, body_canon;
	struct keys keys = { 0 };
	struct buf text = { 0 }, sig = { 0 };
	uint8_t hash[TLS_MD_MAX];
	const char *why = NULL;

	if (alg == NULL)
		return arena_printf(a, "unsupported hash algorithm: %.*s", SLICE_ARG(alg_name));
	if (!parse_canon(auth_tag_value(k->tags, "c"), &header_canon, &body_canon))
		return arena_printf(a, "unsupported canonicalization: %.*s", SLICE_ARG(auth_tag_value(k->tags, "c")));
	if ((why = fetch_keys(k->tags, alg, o, a, &keys, temporary, rc)) != NULL)
		return why;
	if (k->whole_body)
		why = check_body(k, body_canon, alg->md);
	if (why == NULL && base64_decode(&sig, auth_tag_value(k->tags, "b"), BASE64_STD) < 0)
		why = "signature syntax error: failed to decode signature";
	if (why == NULL) {
		put_signed_fields(&text, header_canon, k, a);
		put_own_field(&text, k->seal ? DKIM_RELAXED : header_canon, k);
		size_t n = tls_digest(alg->md, buf_view(&text), hash);
		why = check_keys(&keys, alg, slice_new(hash, n), buf_view(&sig), o);
	}
	if (why == NULL && alg->weak && !o->allow_weak)
		why = "inappropriate key algorithm: rsa-sha1 proves nothing any more";
	drop_keys(&keys);
	buf_fini(&text);
	buf_fini(&sig);
	return why;
}

/* --- all of a message ------------------------------------------------------------------------------------------------------------------ */

struct signature {
	const struct mail_header *h;
	struct auth_tags tags;
};

static void put_prop(struct arena *a, struct val *props, const char *key, struct slice value)
{
	if (value.ptr != NULL)
		val_put(a, props, slice_from_cstr(key), val_str(a, value));
}

static struct val make_props(const struct auth_tags *t, struct arena *a)
{
	static const char *const TAGS[] = { "d", "a", "s", "c", "t", "x" };
	struct val props = val_obj();
	for (size_t i = 0; i < ARRAY_LEN(TAGS); i++)
		put_prop(a, &props, arena_printf(a, "header.%s", TAGS[i]), auth_tag_value(t, TAGS[i]));
	struct slice d = auth_tag_value(t, "d");
	if (d.ptr != NULL)
		put_prop(a, &props, "header.i", arena_slicef(a, "@%.*s", SLICE_ARG(d)));
	return props;
}

static void add_result(struct arena *a, struct val *list, const char *result, const char *reason, struct val props)
{
	struct val r = val_obj();
	val_put_lit(a, &r, "method", val_cstr(a, "dkim"));
	val_put_lit(a, &r, "result", val_cstr(a, result));
	if (reason != NULL)
		val_put_lit(a, &r, "reason", val_cstr(a, reason));
	val_put_lit(a, &r, "props", props);
	val_push(a, list, r);
}

/* RFC 6008: as much of b= as tells it from the others, at least 8 characters. */
static struct slice short_b(const struct signature *sigs, uint32_t n, uint32_t me)
{
	struct slice b = auth_tag_value(&sigs[me].tags, "b");
	size_t len = 8;
	for (uint32_t i = 0; i < n && len < b.len;) {
		struct slice other = auth_tag_value(&sigs[i].tags, "b");
		if (!slice_eq(other, b) && slice_eq(slice_sub(b, 0, len), slice_sub(other, 0, len))) {
			len += 2;
			i = 0;
		} else {
			i++;
		}
	}
	return slice_sub(b, 0, len);
}

/* Reads the signatures; those that cannot be used get their result at once. */
static uint32_t collect(const struct dkim_header_list *all, const struct dkim_verify_opts *o, struct arena *a, struct signature *sigs, struct val *out)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < all->n && n + out->n < DKIM_SIGNATURES_MAX; i++) {
		struct signature *s = &sigs[n];
		if (!slice_eq_nocase(all->h[i].name, SLICE("DKIM-Signature")))
			continue;
		s->h = &all->h[i];
		if (auth_tags_parse(s->h->value, a, &s->tags) < 0) {
			add_result(a, out, "permerror", arena_printf(a, "signature syntax error: %s", err_text()), val_obj());
			continue;
		}
		const char *why = check_tags(&s->tags, o->now_s, a);
		if (why != NULL)
			add_result(a, out, "permerror", why, make_props(&s->tags, a));
		else
			n++;
	}
	return n;
}

int dkim_verify(struct slice msg, const struct dkim_verify_opts *o, struct arena *a, struct val *out)
{
	struct dkim_header_list all;
	struct slice body;
	int rc = dkim_headers(msg, a, &all, &body);
	if (rc < 0)
		return rc;
	struct signature *sigs = arena_alloc(a, DKIM_SIGNATURES_MAX * sizeof *sigs);
	*out = val_list();
	uint32_t n = collect(&all, o, a, sigs, out);
	for (uint32_t i = 0; i < n; i++) {
		struct dkim_check k = { "DKIM-Signature", sigs[i].h, &sigs[i].tags, true, false, &all, body };
		struct val props = make_props(&sigs[i].tags, a);
		bool temporary = false;
		const char *why = dkim_check_signature(&k, o, a, &temporary, &rc);
		if (rc < 0)
			return rc;
		put_prop(a, &props, "header.b", short_b(sigs, n, i));
		add_result(a, out, why == NULL ? "pass" : temporary ? "temperror" : "permerror", why, props);
	}
	return 0;
}
