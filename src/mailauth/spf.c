/* SPDX-License-Identifier: Apache-2.0 */
/* check_host() of RFC 7208 4 and 5. */
#include "mailauth/spf_int.h"
#include "base/utf8.h"

#define NAME_MAX_LEN 253

static const char *const NAMES[] = {
	[SPF_NONE] = "none", [SPF_NEUTRAL] = "neutral", [SPF_PASS] = "pass", [SPF_FAIL] = "fail",
	[SPF_SOFTFAIL] = "softfail", [SPF_TEMPERROR] = "temperror", [SPF_PERMERROR] = "permerror",
};

const char *spf_disposition_name(enum spf_disposition d)
{
	assert(d < ARRAY_LEN(NAMES));
	return NAMES[d];
}

static struct spf_result result(struct spf_ctx *c, enum spf_disposition d, struct slice reason)
{
	return (struct spf_result){ d, arena_dup(c->a, reason), false };
}
#define RESULTF(c, d, ...) result((c), (d), arena_slicef((c)->a, __VA_ARGS__))

static struct spf_result check(struct spf_ctx *c, struct slice domain);

static int spf_lookup(struct spf_ctx *c, struct slice name, enum dns_type type, struct auth_rrs *out)
{
	int rc = c->q->dns.lookup(c->q->dns.arg, name, type, c->a, out);
	if (rc < 0)
		c->canceled = rc;
	return rc;
}

/* A further name: false when that was one too many. */
static bool count_lookup(struct spf_ctx *c)
{
	return ++c->lookups <= SPF_LOOKUPS_MAX;
}

static bool count_void(struct spf_ctx *c, const struct auth_rrs *r)
{
	if (r->status == DNS_NXDOMAIN || (r->status != DNS_FAIL && r->n == 0))
		c->voids++;
	return c->voids <= SPF_VOIDS_MAX;
}

static bool in_network(const struct ipaddr *ip, const struct ipaddr *net, uint8_t bits)
{
	if (ip->family != net->family)
		return false;
	for (unsigned i = 0; i < bits; i += 8) {
		uint8_t mask = bits - i >= 8 ? 0xff : (uint8_t)(0xff << (8 - (bits - i)));
		if ((ip->bytes[i / 8] ^ net->bytes[i / 8]) & mask)
			return false;
	}
	return true;
}

/* How a term ended: whether it matched, or (STOP) what the whole check comes to. */
struct outcome {
	bool matched, stop;
	struct spf_result result;
};

static struct outcome stop(struct spf_result r)
{
	return (struct outcome){ false, true, r };
}

static struct outcome too_many(struct spf_ctx *c)
{
	return stop(RESULTF(c, SPF_PERMERROR, "DNS lookup limits exceeded"));
}

/* The domain a term speaks of; too long ones lose labels at the front (7.3). */
static int target(struct spf_ctx *c, struct slice domain, struct slice spec, struct slice *out)
{
	struct buf b = { 0 };
	if (spec.ptr == NULL) {
		*out = domain;
		return 0;
	}
	int rc = spf_macro_expand(c, domain, spec, &b);
	struct slice s = buf_view(&b);
	if (slice_ends(s, SLICE(".")))
		s.len--;
	while (rc == 0 && s.len > NAME_MAX_LEN && slice_chr(s, '.') >= 0)
		s = slice_sub(s, slice_chr(s, '.') + 1, SIZE_MAX);
	*out = arena_dup(c->a, s);
	buf_fini(&b);
	return rc;
}

static enum dns_type address_type(const struct spf_ctx *c)
{
	return c->q->ip.family == 4 ? DNS_A : DNS_AAAA;
}

/* Whether an address of NAME is in the client's network. */
static struct outcome match_addresses(struct spf_ctx *c, struct slice name, const struct spf_term *t, bool counts)
{
	struct auth_rrs r;
	struct outcome o = { 0 };
	if (spf_lookup(c, name, address_type(c), &r) < 0)
		return stop((struct spf_result){ .disposition = SPF_TEMPERROR, .reason = SLICE("canceled") });
	if (r.status == DNS_FAIL)
		return stop(RESULTF(c, SPF_TEMPERROR, "error looking up IP for %.*s: %.*s", SLICE_ARG(name), SLICE_ARG(r.error)));
	if (counts && !count_void(c, &r))
		return too_many(c);
	for (uint32_t i = 0; i < r.n; i++)
		o.matched |= in_network(&c->q->ip, &r.rrs[i].addr, c->q->ip.family == 4 ? t->bits4 : t->bits6);
	return o;
}

static struct outcome match_mx(struct spf_ctx *c, struct slice name, const struct spf_term *t)
{
	struct auth_rrs r;
	struct outcome o = { 0 };
	if (spf_lookup(c, name, DNS_MX, &r) < 0)
		return stop((struct spf_result){ .disposition = SPF_TEMPERROR, .reason = SLICE("canceled") });
	if (r.status == DNS_FAIL)
		return stop(RESULTF(c, SPF_TEMPERROR, "error looking up MX for %.*s: %.*s", SLICE_ARG(name), SLICE_ARG(r.error)));
	if (!count_void(c, &r))
		return too_many(c);
	if (r.n > SPF_NAMES_MAX)
		return stop(RESULTF(c, SPF_PERMERROR, "too many MX records for %.*s", SLICE_ARG(name)));
	for (uint32_t i = 0; i < r.n && !o.matched && !o.stop; i++)
		o = match_addresses(c, r.rrs[i].name, t, false);
	return o;
}

static struct slice without_dot(struct slice s)
{
	return slice_ends(s, SLICE(".")) ? slice_sub(s, 0, s.len - 1) : s;
}

static bool is_below(struct slice name, struct slice domain)
{
	return slice_eq_nocase(name, domain) ||
	       (name.len > domain.len && slice_ends_nocase(name, domain) && name.ptr[name.len - domain.len - 1] == '.');
}

/* 5.5: a name of the client's address that has that address. */
static bool name_is_valid(struct spf_ctx *c, struct slice name)
{
	struct auth_rrs r;
	if (spf_lookup(c, name, address_type(c), &r) < 0 || r.status != DNS_OK)
		return false;
	for (uint32_t i = 0; i < r.n; i++)
		if (ipaddr_eq(&r.rrs[i].addr, &c->q->ip))
			return true;
	return false;
}

struct slice spf_validated_name(struct spf_ctx *c, struct slice wanted)
{
	struct auth_rrs r;
	struct buf b = { 0 };
	struct slice found = SLICE_NONE, current = wanted.ptr != NULL ? wanted : without_dot(c->q->domain);
	dns_ptr_name_put(&b, &c->q->ip);
	int rc = spf_lookup(c, buf_view(&b), DNS_PTR, &r);
	buf_fini(&b);
	if (rc < 0 || r.status != DNS_OK)
		return SLICE_NONE;
	/* one below the domain is better than just any, the domain itself is best */
	for (uint32_t i = 0; i < r.n && i < SPF_NAMES_MAX && c->canceled == 0; i++) {
		struct slice name = without_dot(r.rrs[i].name);
		bool below = is_below(name, current);
		if ((wanted.ptr != NULL && !below) || (found.ptr != NULL && !below) || !name_is_valid(c, name))
			continue;
		if (found.ptr == NULL || below)
			found = name;
		if (slice_eq_nocase(name, current))
			break;
	}
	return found;
}

static struct outcome match_include(struct spf_ctx *c, struct slice name)
{
	struct spf_result r = check(c, name);
	switch (r.disposition) {
	case SPF_PASS:
		return (struct outcome){ .matched = true };
	case SPF_FAIL: case SPF_SOFTFAIL: case SPF_NEUTRAL:
		return (struct outcome){ 0 };
	case SPF_TEMPERROR:
		return stop(RESULTF(c, SPF_TEMPERROR, "temperror while evaluating include:%.*s: %.*s", SLICE_ARG(name), SLICE_ARG(r.reason)));
	default:
		return stop(RESULTF(c, SPF_PERMERROR, "%s while evaluating include:%.*s: %.*s", NAMES[r.disposition], SLICE_ARG(name), SLICE_ARG(r.reason)));
	}
}

static struct outcome match_exists(struct spf_ctx *c, struct slice name)
{
	struct auth_rrs r;
	if (spf_lookup(c, name, DNS_A, &r) < 0 || r.status == DNS_FAIL)
		return stop(RESULTF(c, SPF_TEMPERROR, "error looking up IP for %.*s", SLICE_ARG(name)));
	if (!count_void(c, &r))
		return too_many(c);
	return (struct outcome){ .matched = r.n > 0 };
}

static struct outcome match(struct spf_ctx *c, struct slice domain, const struct spf_term *t)
{
	struct slice name = domain;
	switch (t->kind) {
	case SPF_K_ALL:
		return (struct outcome){ .matched = true };
	case SPF_K_IP4: case SPF_K_IP6:
		return (struct outcome){ .matched = in_network(&c->q->ip, &t->net, t->net.family == 4 ? t->bits4 : t->bits6) };
	default:
		break;
	}
	if (!count_lookup(c))
		return too_many(c);
	if (target(c, domain, t->domain, &name) < 0)
		return stop((struct spf_result){ .disposition = SPF_TEMPERROR, .reason = SLICE("canceled") });
	switch (t->kind) {
	case SPF_K_A:
		return match_addresses(c, name, t, true);
	case SPF_K_MX:
		return match_mx(c, name, t);
	case SPF_K_PTR:
		return (struct outcome){ .matched = spf_validated_name(c, name).ptr != NULL };
	case SPF_K_EXISTS:
		return match_exists(c, name);
	default:
		return match_include(c, name);
	}
}

/* 6.2: the domain's own words for a fail, where it has some that can be used. */
static bool explain(struct spf_ctx *c, struct slice domain, struct slice exp, struct slice *out)
{
	struct auth_rrs r;
	struct slice name;
	struct buf b = { 0 };
	if (exp.ptr == NULL || target(c, domain, exp, &name) < 0 || spf_lookup(c, name, DNS_TXT, &r) < 0)
		return false;
	if (r.status != DNS_OK || r.n != 1 || !spf_macro_valid(r.rrs[0].data, true, false) || spf_macro_expand(c, domain, r.rrs[0].data, &b) < 0) {
		buf_fini(&b);
		return false;
	}
	*out = arena_dup(c->a, buf_view(&b));
	buf_fini(&b);
	return true;
}

static struct spf_result redirect(struct spf_ctx *c, struct slice domain, struct slice spec)
{
	struct slice name;
	if (!count_lookup(c))
		return too_many(c).result;
	if (target(c, domain, spec, &name) < 0)
		return (struct spf_result){ .disposition = SPF_TEMPERROR, .reason = SLICE("canceled") };
	struct spf_result r = check(c, name);
	if (r.disposition == SPF_NONE)
		return RESULTF(c, SPF_PERMERROR, "redirect=%.*s: %.*s", SLICE_ARG(name), SLICE_ARG(r.reason));
	return r;
}

static struct spf_result evaluate(struct spf_ctx *c, struct slice domain, const struct spf_record *rec)
{
	for (uint32_t i = 0; i < rec->n; i++) {
		const struct spf_term *t = &rec->terms[i];
		struct outcome o = match(c, domain, t);
		if (o.stop)
			return o.result;
		if (!o.matched)
			continue;
		struct spf_result r = RESULTF(c, t->when, "matched '%.*s' directive", SLICE_ARG(t->text));
		if (t->when == SPF_FAIL)
			r.explained = explain(c, domain, rec->exp, &r.reason);
		return r;
	}
	if (rec->redirect.ptr != NULL)
		return redirect(c, domain, rec->redirect);
	return result(c, SPF_NEUTRAL, SLICE("default result"));
}

/* 4.3: several labels, none empty or too long. */
static bool is_domain(struct slice s)
{
	struct slice label, rest = without_dot(s);
	unsigned n = 0;
	if (rest.len == 0 || rest.len > NAME_MAX_LEN)
		return false;
	while (slice_split_next(&rest, '.', &label)) {
		if (label.len == 0 || label.len > 63)
			return false;
		n++;
	}
	return n > 1;
}

static bool is_record(struct slice txt)
{
	return slice_starts_nocase(txt, SLICE("v=spf1")) && (txt.len == 6 || txt.ptr[6] == ' ');
}

static struct spf_result check(struct spf_ctx *c, struct slice domain)
{
	struct auth_rrs r;
	struct spf_record rec;
	struct slice text = SLICE_NONE;

	if (!is_domain(domain))
		return RESULTF(c, SPF_NONE, "'%.*s' is not a domain that can have a policy", SLICE_ARG(domain));
	if (spf_lookup(c, domain, DNS_TXT, &r) < 0)
		return (struct spf_result){ .disposition = SPF_TEMPERROR, .reason = SLICE("canceled") };
	if (r.status == DNS_FAIL)
		return RESULTF(c, SPF_TEMPERROR, "failed to resolve %.*s: %.*s", SLICE_ARG(domain), SLICE_ARG(r.error));
	for (uint32_t i = 0; i < r.n; i++) {
		if (!is_record(r.rrs[i].data))
			continue;
		if (text.ptr != NULL)
			return RESULTF(c, SPF_PERMERROR, "multiple SPF records found for %.*s", SLICE_ARG(domain));
		text = r.rrs[i].data;
	}
	if (text.ptr == NULL)
		return RESULTF(c, SPF_NONE, "no SPF records found for %.*s", SLICE_ARG(domain));
	if (!utf8_is_ascii(text))
		return RESULTF(c, SPF_PERMERROR, "the SPF record of %.*s is not ASCII", SLICE_ARG(domain));
	if (spf_record_parse(text, c->a, &rec) < 0)
		return RESULTF(c, SPF_PERMERROR, "failed to parse spf record: %s", err_text());
	return evaluate(c, domain, &rec);
}

int spf_check(const struct spf_query *q, struct arena *a, struct spf_result *out)
{
	struct spf_ctx c = { .q = q, .a = a, .sender = q->sender };
	ptrdiff_t at = slice_rchr(q->sender, '@');
	if (at <= 0)
		c.sender = arena_slicef(a, "postmaster@%.*s", SLICE_ARG(at == 0 ? slice_sub(q->sender, 1, SIZE_MAX) : q->domain));
	*out = check(&c, q->domain);
	return c.canceled;
}
