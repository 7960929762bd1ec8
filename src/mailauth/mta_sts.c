/* SPDX-License-Identifier: Apache-2.0 */
#include "mailauth/mta_sts.h"

#include <stdlib.h>
#include "base/xalloc.h"
#include "net/http_client.h"
#include "net/ttl_cache.h"
#include "rt/clock.h"

#define CACHE_SIZE 65536
#define TESTS_SIZE 1024
#define FETCH_TIMEOUT_MS 20000
#define POLICY_BYTES_MAX 65536
#define POLICY_MX_MAX 1024u
#define ID_BYTES_MAX 32
#define MAX_AGE_MAX_S 31557600		/* RFC 8461 3.2 */
#define MAX_AGE_MIN_S 60		/* the hosts of a domain are not looked up more often for its policy's sake */

static struct ttl_cache *policies, *tests;
static _Atomic bool testing;

/* ---- policies ---- */

static void *policy_ref(void *v)
{
	struct mta_sts_policy *p = v;
	p->refs++;
	return p;
}

void mta_sts_policy_unref(struct mta_sts_policy **pp)
{
	struct mta_sts_policy *p = *pp;
	*pp = NULL;
	if (p != NULL && --p->refs == 0) {
		struct arena *a = p->arena;
		arena_destroy(&a);
	}
}

static void policy_unref(void *v)
{
	struct mta_sts_policy *p = v;
	mta_sts_policy_unref(&p);
}

struct fields {		/* n[] how often each was there, the last of them in value[] */
	enum { F_VERSION, F_MODE, F_MAX_AGE, F_MX, N_FIELDS } last;
	uint32_t n[N_FIELDS];
	struct slice value[N_FIELDS];
};
static const char *const FIELD_NAMES[N_FIELDS] = { "version", "mode", "max_age", "mx" };

static int bad(struct slice text, const char *what)
{
	return err_set(E_INVAL, "STS policy %.*s %s", SLICE_ARG(slice_sub(text, 0, 1024)), what);
}

static struct slice lower(struct arena *a, struct slice s)
{
	char *copy = arena_strdup(a, s);
	for (size_t i = 0; i < s.len; i++)
		copy[i] = ascii_lower(copy[i]);
	return slice_new(copy, s.len);
}

static int read_fields(struct slice text, struct mta_sts_policy *p, struct fields *f)
{
	struct slice rest = text, line;
	uint32_t lines = 1;
	for (size_t i = 0; i < text.len; i++)
		lines += text.ptr[i] == '\n';
	p->mx = arena_alloc(p->arena, MIN(lines, POLICY_MX_MAX) * sizeof *p->mx);
	while (slice_split_next(&rest, '\n', &line)) {
		line = slice_trim(line);
		if (line.len == 0)
			continue;
		ptrdiff_t colon = slice_chr(line, ':');
		if (colon < 0)
			return err_set(E_INVAL, "invalid STS policy %.*s: expected `name: value` lines", SLICE_ARG(slice_sub(text, 0, 1024)));
		struct slice name = slice_trim(slice_sub(line, 0, (size_t)colon)), value = slice_trim(slice_sub(line, (size_t)colon + 1, SIZE_MAX));
		for (int i = 0; i < N_FIELDS; i++) {
			if (!slice_eq_cstr(name, FIELD_NAMES[i]))
				continue;
			f->n[i]++;
			f->value[i] = value;
			if (i == F_MX && p->n == POLICY_MX_MAX)
				return bad(text, "has too many mx");
			if (i == F_MX)
				p->mx[p->n++] = lower(p->arena, value);
		}
	}
	return 0;
}

static int read_policy(struct slice text, struct mta_sts_policy *p)
{
	static const char *const MODES[] = { [MX_STS_NONE] = "none", [MX_STS_TESTING] = "testing", [MX_STS_ENFORCE] = "enforce" };
	struct fields f = { 0 };
	uint64_t age;
	size_t mode = 0;
	int rc = read_fields(text, p, &f);
	if (rc < 0)
		return rc;
	if (f.n[F_VERSION] == 0)
		return bad(text, "is missing a version");
	if (f.n[F_VERSION] > 1 || !slice_eq_cstr(f.value[F_VERSION], "STSv1"))
		return bad(text, "has incompatible STS version");
	if (f.n[F_MODE] == 0)
		return bad(text, "is missing required mode");
	while (mode < sizeof MODES / sizeof *MODES && !slice_eq_cstr(f.value[F_MODE], MODES[mode]))
		mode++;
	if (f.n[F_MODE] > 1 || mode == sizeof MODES / sizeof *MODES)
		return bad(text, "has invalid mode");
	p->mode = (enum mx_sts)mode;
	if (p->n == 0 && p->mode != MX_STS_NONE)
		return bad(text, "is missing required mx");
	if (f.n[F_MAX_AGE] == 0)
		return bad(text, "is missing required max_age");
	if (f.n[F_MAX_AGE] > 1)
		return bad(text, "has invalid max_age");
	if (slice_to_u64(f.value[F_MAX_AGE], &age) < 0)
		return err_set(E_INVAL, "STS policy %.*s has max_age %.*s that is not a valid integer: expected a number of seconds",
			       SLICE_ARG(slice_sub(text, 0, 1024)), SLICE_ARG(slice_sub(f.value[F_MAX_AGE], 0, 64)));
	p->max_age_s = (int64_t)MIN(age, (uint64_t)MAX_AGE_MAX_S);
	return 0;
}

int mta_sts_policy_parse(struct slice text, struct mta_sts_policy **out)
{
	struct arena *a = arena_create();
	struct mta_sts_policy *p = arena_alloc(a, sizeof *p);
	p->arena = a;
	p->refs = 1;
	int rc = read_policy(text, p);
	if (rc < 0)
		mta_sts_policy_unref(&p);
	*out = p;
	return rc;
}

bool mta_sts_policy_permits(const struct mta_sts_policy *p, struct slice host)
{
	if (slice_ends(host, SLICE(".")))
		host.len--;
	for (uint32_t i = 0; i < p->n; i++) {
		struct slice pattern = p->mx[i], name = host;
		if (slice_starts(pattern, SLICE("*."))) {
			ptrdiff_t dot = slice_chr(host, '.');
			if (dot <= 0)
				continue;
			name = slice_sub(host, (size_t)dot, SIZE_MAX);
			pattern = slice_sub(pattern, 1, SIZE_MAX);
		}
		if (slice_eq_nocase(name, pattern))
			return true;
	}
	return false;
}

/* ---- records ---- */

int mta_sts_record_parse(struct slice txt, struct slice *id)
{
	struct slice rest = txt, part;
	*id = SLICE_NONE;
	if (!slice_split_next(&rest, ';', &part) || !slice_eq_cstr(slice_trim_end(part), "v=STSv1"))
		return err_set(E_NOENT, "`%.*s` is no record of MTA-STS", SLICE_ARG(slice_sub(txt, 0, 256)));
	while (slice_split_next(&rest, ';', &part)) {
		part = slice_trim(part);
		if (slice_starts(part, SLICE("id=")) && id->ptr == NULL)
			*id = slice_sub(part, 3, SIZE_MAX);
	}
	bool good = id->len > 0 && id->len <= ID_BYTES_MAX;
	for (size_t i = 0; good && i < id->len; i++)
		good = ascii_is_alnum(id->ptr[i]);
	return good ? 0 : err_set(E_INVAL, "the MTA-STS record `%.*s` has no id of 1 to %d letters and digits", SLICE_ARG(slice_sub(txt, 0, 256)), ID_BYTES_MAX);
}

/* Exactly one of the records must be of MTA-STS (RFC 8461 3.1). */
static int find_record(struct slice domain, const struct auth_dns *dns, struct arena *a, struct slice *id)
{
	struct auth_rrs rrs;
	uint32_t found = 0;
	int bad_record = 0;
	int rc = dns->lookup(dns->arg, arena_slicef(a, "_mta-sts.%.*s.", SLICE_ARG(domain)), DNS_TXT, a, &rrs);
	if (rc < 0)
		return rc;
	if (rrs.status == DNS_FAIL)
		return err_set(E_DNS, "_mta-sts.%.*s: %.*s", SLICE_ARG(domain), SLICE_ARG(rrs.error));
	for (uint32_t i = 0; i < rrs.n; i++) {
		struct slice one;
		rc = mta_sts_record_parse(rrs.rrs[i].data, &one);
		if (rc == -E_NOENT)
			continue;
		bad_record = rc;
		*id = one;
		found++;
	}
	if (found == 0)
		return err_set(E_NOENT, "no MTA-STS policy for %.*s", SLICE_ARG(domain));
	if (found > 1)
		return err_set(E_INVAL, "_mta-sts.%.*s has %u MTA-STS records", SLICE_ARG(domain), found);
	return bad_record;
}

/* ---- fetching ---- */

static int fetch_https(void *arg, const char *url, struct buf *out)
{
	const struct http_fetch f = { .method = "GET", .url = url, .timeout_ms = FETCH_TIMEOUT_MS, .max_bytes = POLICY_BYTES_MAX, .no_redirects = true };
	struct http_reply r = { 0 };
	int rc = http_fetch(&f, &r);
	if (rc < 0)
		return rc;
	struct slice type = http_reply_header(&r, SLICE("Content-Type")), media = type;
	if (r.status != 200)
		rc = err_set(E_PROTO, "failed to GET %s: status %d, expected 200", url, r.status);
	else if (!slice_split_next(&type, ';', &media) || !slice_eq_nocase(slice_trim(media), SLICE("text/plain")))
		rc = err_set(E_PROTO, "failed to GET %s: Content-Type must be text/plain, got `%.*s`", url, SLICE_ARG(slice_sub(media, 0, 128)));
	else
		buf_slice(out, buf_view(&r.body));
	http_reply_fini(&r);
	return rc;
}

static int load(struct slice domain, const struct mta_sts_source *src, struct slice id, struct arena *a, struct mta_sts_policy **out)
{
	struct buf text = { 0 };
	const char *url = arena_printf(a, "https://mta-sts.%.*s/.well-known/mta-sts.txt", SLICE_ARG(domain));
	int rc = src->fetch(src->arg, url, &text);
	if (rc == 0)
		rc = mta_sts_policy_parse(buf_view(&text), out);
	buf_fini(&text);
	if (rc < 0)
		return rc;
	(*out)->id = arena_dup((*out)->arena, id);
	(*out)->expires_ms = rt_now_ms() + (*out)->max_age_s * 1000;
	ttl_cache_put(policies, domain, *out, (*out)->expires_ms);
	return 0;
}

int mta_sts_policy_of(struct slice domain, const struct mta_sts_source *src, struct mta_sts_policy **out)
{
	struct mta_sts_policy *kept = ttl_cache_get(policies, domain);
	struct arena *a = arena_create();
	struct slice id = SLICE_NONE;
	int rc = find_record(domain, &src->dns, a, &id);
	if (rc == 0 && (kept == NULL || !slice_eq(kept->id, id)))
		rc = load(domain, src, id, a, out);
	else if (rc == 0)
		*out = policy_ref(kept);
	if (rc < 0 && rc != -E_CANCELED && kept != NULL) {
		*out = policy_ref(kept);
		rc = 0;
	}
	mta_sts_policy_unref(&kept);
	arena_destroy(&a);
	return rc;
}

/* ---- the check of mail exchangers ---- */

int mta_sts_set_test(const struct val *map)
{
	if (map->type != VAL_OBJ && map->n > 0)
		return err_set(E_INVAL, "test policies: expected {[\"domain.example\"] = TEXT}");
	struct mta_sts_policy **parsed = xcalloc(map->n + 1, sizeof *parsed);
	int rc = 0;
	for (uint32_t i = 0; rc == 0 && i < map->n; i++) {
		const struct val *text = &map->members[i].val;
		rc = text->type == VAL_STR ? mta_sts_policy_parse(text->s, &parsed[i]) : err_set(E_INVAL, "the policy of %.*s: expected a text", SLICE_ARG(map->members[i].key));
	}
	if (rc == 0)
		ttl_cache_clear(tests);
	for (uint32_t i = 0; i < map->n; i++) {
		if (rc == 0)
			ttl_cache_put(tests, map->members[i].key, parsed[i], INT64_MAX);
		mta_sts_policy_unref(&parsed[i]);
	}
	free(parsed);
	testing = testing || rc == 0;
	return rc;
}

static int policy_for(struct slice domain, struct mta_sts_policy **out)
{
	const struct mta_sts_source src = { .dns = auth_dns_of(NULL), .fetch = fetch_https };
	if (!testing)
		return mta_sts_policy_of(domain, &src, out);
	*out = ttl_cache_get(tests, domain);
	return *out != NULL ? 0 : -E_NOENT;
}

static void put_list(struct buf *b, struct slice s, bool first)
{
	buf_printf(b, "%s\"%.*s\"", first ? "" : ", ", SLICE_ARG(s));
}

static int none_permitted(struct slice domain, const struct mta_sts_policy *p, const struct mx_host *hosts, uint32_t n)
{
	struct buf has = { 0 }, allowed = { 0 };
	for (uint32_t i = 0; i < n; i++)
		put_list(&has, hosts[i].name, i == 0);
	for (uint32_t i = 0; i < p->n; i++)
		put_list(&allowed, p->mx[i], i == 0);
	struct slice h = slice_sub(buf_view(&has), 0, 2048), m = slice_sub(buf_view(&allowed), 0, 2048);
	int rc = err_set(E_POLICY, "MTA-STS enforce policy for %.*s permits none of its MX hosts [%.*s]; allowed mx patterns: [%.*s]. "
			 "The destination is undeliverable until its MTA-STS policy is corrected.", SLICE_ARG(domain), SLICE_ARG(h), SLICE_ARG(m));
	buf_fini(&has);
	buf_fini(&allowed);
	return rc;
}

int mta_sts_check(struct slice domain, const struct mx_host *hosts, uint32_t n, bool *keep, enum mx_sts *mode, int64_t *max_age_s)
{
	struct mta_sts_policy *p;
	uint32_t kept = 0;
	if (slice_ends(domain, SLICE(".")))
		domain.len--;
	int rc = policy_for(domain, &p);
	if (rc == -E_NOENT)
		return 0;
	if (rc < 0)
		return rc;
	*mode = p->mode;
	*max_age_s = p->expires_ms ? MAX((p->expires_ms - rt_now_ms()) / 1000, MAX_AGE_MIN_S) : MAX(p->max_age_s, MAX_AGE_MIN_S);
	for (uint32_t i = 0; i < n; i++) {
		struct slice label = hosts[i].name;
		uint16_t port;
		if (!dns_split_port(hosts[i].name, &label, &port))
			label = hosts[i].name;
		/* "." is the exchanger of a domain that takes no mail: nothing is sent there anyhow */
		keep[i] = p->mode != MX_STS_ENFORCE || slice_eq(label, SLICE(".")) || mta_sts_policy_permits(p, label);
		kept += keep[i];
	}
	rc = kept > 0 || n == 0 ? 0 : none_permitted(domain, p, hosts, n);
	mta_sts_policy_unref(&p);
	return rc;
}

void mta_sts_register(void)
{
	const struct ttl_cache_conf conf = { .name = "mta_sts_policy", .capacity = CACHE_SIZE, .ref = policy_ref, .unref = policy_unref };
	const struct ttl_cache_conf test_conf = { .name = "mta_sts_test", .capacity = TESTS_SIZE, .ref = policy_ref, .unref = policy_unref, .kept = true };
	policies = ttl_cache_create(&conf);
	tests = ttl_cache_create(&test_conf);
	mx_set_sts(mta_sts_check);
}
