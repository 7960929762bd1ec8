/* SPDX-License-Identifier: Apache-2.0 */
#include "mailauth/dmarc.h"
#include "mailauth/org_domain.h"

#define PROPS_MAX 32	/* tags of a record that are shown */

static const char *const NAMES[] = {
	[DMARC_PASS] = "Pass", [DMARC_NONE] = "None", [DMARC_QUARANTINE] = "Quarantine", [DMARC_REJECT] = "Reject",
	[DMARC_TEMPERROR] = "TempError", [DMARC_PERMERROR] = "PermError",
};

const char *dmarc_disposition_name(enum dmarc_disposition d)
{
	return NAMES[d];
}

/* --- records ---------------------------------------------------------------------------------------------------------------- */

struct record {
	bool found;
	bool strict_dkim, strict_spf;
	bool has_subdomain_policy;
	enum dmarc_disposition policy, subdomain_policy;
	uint64_t pct;
	struct val props;
};

static bool read_policy(struct slice s, enum dmarc_disposition *out)
{
	static const struct { const char *name; enum dmarc_disposition policy; } policies[] = {
		{ "none", DMARC_NONE }, { "quarantine", DMARC_QUARANTINE }, { "reject", DMARC_REJECT },
	};

	for (size_t i = 0; i < ARRAY_LEN(policies); i++)
		if (slice_eq_nocase(s, slice_from_cstr(policies[i].name))) {
			*out = policies[i].policy;
			return true;
		}
	return false;
}

static bool read_mode(struct slice s, bool *strict)
{
	*strict = slice_eq_nocase(s, SLICE("s"));
	return *strict || slice_eq_nocase(s, SLICE("r"));
}

/* False: the value makes the record invalid. Tags that are not known say nothing (RFC 7489 6.3). */
static bool read_tag(struct record *r, struct slice name, struct slice value, bool *has_policy)
{
	if (slice_eq(name, SLICE("p")))
		return *has_policy = read_policy(value, &r->policy);
	if (slice_eq(name, SLICE("sp")))
		return r->has_subdomain_policy = read_policy(value, &r->subdomain_policy);
	if (slice_eq(name, SLICE("adkim")))
		return read_mode(value, &r->strict_dkim);
	if (slice_eq(name, SLICE("aspf")))
		return read_mode(value, &r->strict_spf);
	if (slice_eq(name, SLICE("pct")))
		return slice_to_u64(value, &r->pct) == 0 && r->pct <= 100;
	return true;
}

static bool record_parse(struct slice text, struct arena *a, struct record *r)
{
	bool has_policy = false, first = true;
	struct slice part;

	*r = (struct record){ .found = true, .pct = 100, .props = val_obj() };
	while (slice_split_next(&text, ';', &part)) {
		ptrdiff_t eq = slice_chr(part, '=');
		struct slice name, value;

		if (slice_trim(part).len == 0)
			continue;
		if (eq < 0)
			return false;
		name = slice_trim(slice_sub(part, 0, (size_t)eq));
		value = slice_trim(slice_sub(part, (size_t)eq + 1, SIZE_MAX));
		if (first) {
			if (!slice_eq(name, SLICE("v")) || !slice_eq(value, SLICE("DMARC1")))
				return false;
			first = false;
			continue;
		}
		if (!read_tag(r, name, value, &has_policy))
			return false;
		if (r->props.n < PROPS_MAX)
			val_put(a, &r->props, arena_slicef(a, "policy.%.*s", SLICE_ARG(name)), val_str(a, value));
	}
	return has_policy;
}

/* The first record at DOMAIN that can be read; *STATUS says why there is none. */
static int fetch(const struct dmarc_query *q, const char *domain, struct arena *a, struct record *r, enum dmarc_disposition *status)
{
	struct auth_rrs rrs;
	int rc = q->dns.lookup(q->dns.arg, arena_slicef(a, "_dmarc.%s", domain), DNS_TXT, a, &rrs);

	r->found = false;
	if (rc < 0)
		return rc;
	*status = rrs.status == DNS_FAIL ? DMARC_TEMPERROR : DMARC_PERMERROR;
	for (uint32_t i = 0; rrs.status == DNS_OK && i < rrs.n && !r->found; i++)
		if (slice_starts(rrs.rrs[i].data, SLICE("v=DMARC1;")) && !record_parse(rrs.rrs[i].data, a, r))
			r->found = false;
	return 0;
}

/* --- alignment -------------------------------------------------------------------------------------------------------------- */

static bool is_aligned(const struct dmarc_query *q, struct slice domain, bool strict, struct arena *a)
{
	const char *from = org_domain_normal(q->from_domain, a), *other = org_domain_normal(domain, a);

	if (strict)
		return strcmp(from, other) == 0;
	from = org_domain_of(from);
	other = org_domain_of(other);
	return from && other && strcmp(from, other) == 0;
}

static bool is_pass(const struct val *result)
{
	return slice_eq_nocase(val_get_str(result, SLICE("result")), SLICE("pass"));
}

/* *WHY: what is wrong with a signature that is good, but somebody else's. */
static bool dkim_aligned(const struct dmarc_query *q, bool strict, struct arena *a, const char **why)
{
	for (uint32_t i = 0; q->dkim->type == VAL_LIST && i < q->dkim->n; i++) {
		const struct val *result = &q->dkim->items[i];
		struct slice d = val_get_str(val_get_lit(result, "props"), SLICE("header.d"));

		if (!is_pass(result))
			continue;
		if (d.ptr && is_aligned(q, d, strict, a))
			return true;
		if (!*why)
			*why = !d.ptr ? "DMARC: DKIM signature missing 'd=' tag" : strict ? "DMARC: DKIM strict check failed" : "DMARC: DKIM relaxed check failed";
	}
	return false;
}

/* The domain that SPF was about. */
static struct slice spf_domain(const struct dmarc_query *q)
{
	const struct val *props = val_get_lit(q->spf, "props");
	struct slice s = val_get_str(props, SLICE("smtp.mailfrom"));
	ptrdiff_t at = slice_rchr(s, '@');

	if (s.len)
		return at < 0 ? s : slice_sub(s, (size_t)at + 1, SIZE_MAX);
	s = val_get_str(props, SLICE("smtp.helo"));
	return s.len ? s : q->mail_from_domain;
}

static bool spf_aligned(const struct dmarc_query *q, bool strict, struct arena *a, const char **why)
{
	struct slice domain = spf_domain(q);

	if (!is_pass(q->spf) || !domain.ptr)
		return false;
	if (is_aligned(q, domain, strict, a))
		return true;
	*why = strict ? "DMARC: SPF strict check failed" : "DMARC: SPF relaxed check failed";
	return false;
}

static void evaluate(const struct dmarc_query *q, const struct record *r, bool organizational, struct arena *a, struct dmarc_result *out)
{
	const char *why_dkim = NULL, *why_spf = NULL;

	out->disposition = DMARC_PASS;
	out->props = r->props;
	if (q->draw >= r->pct) {
		out->reason = arena_slicef(a, "sampled_out due to pct=%llu", (unsigned long long)r->pct);
		return;
	}
	if (dkim_aligned(q, r->strict_dkim, a, &why_dkim) || spf_aligned(q, r->strict_spf, a, &why_spf)) {
		out->reason = SLICE("Success");
		return;
	}
	out->disposition = organizational && r->has_subdomain_policy ? r->subdomain_policy : r->policy;
	out->reason = slice_from_cstr(why_spf ? why_spf : why_dkim ? why_dkim : "No aligned DKIM or SPF");
}

int dmarc_check(const struct dmarc_query *q, struct arena *a, struct dmarc_result *out)
{
	const char *from = org_domain_normal(q->from_domain, a), *org = org_domain_of(from);
	enum dmarc_disposition status;
	struct record r;
	int rc;

	*out = (struct dmarc_result){ .props = val_obj() };
	if ((rc = fetch(q, from, a, &r, &status)) < 0)
		return rc;
	if (r.found) {
		evaluate(q, &r, false, a, out);
		return 0;
	}
	bool elsewhere = org && strcmp(org, from) != 0;
	if (elsewhere && (rc = fetch(q, org, a, &r, &status)) < 0)
		return rc;
	if (r.found) {
		evaluate(q, &r, true, a, out);
		return 0;
	}
	out->disposition = org ? status : DMARC_NONE;
	if (elsewhere && status == DMARC_TEMPERROR)
		out->reason = arena_slicef(a, "DNS records could not be resolved for _dmarc.%s", org);
	else
		out->reason = arena_slicef(a, "no DMARC records found for %s%s", elsewhere ? "_dmarc." : "", elsewhere ? org : from);
	return 0;
}
