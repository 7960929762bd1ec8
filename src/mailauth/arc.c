/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stdio.h>
#include "mailauth/arc.h"

#define AAR "ARC-Authentication-Results"
#define AMS "ARC-Message-Signature"
#define SEAL "ARC-Seal"

static void fail(struct arc_chain *c, struct arena *a, const char *fmt, ...) PRINTF(3, 4);
static void fail(struct arc_chain *c, struct arena *a, const char *fmt, ...)
{
	char text[512];
	va_list ap;
	c->status = ARC_FAIL;
	if (c->reason != NULL)
		return;		/* the first one is what is told */
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	c->reason = arena_strdup(a, slice_from_cstr(text));
}

static uint32_t read_instance(struct slice s)
{
	uint64_t n;
	return slice_to_u64(s, &n) == 0 && n >= 1 && n <= ARC_INSTANCE_MAX ? (uint32_t)n : 0;
}

static bool lists(struct slice h, const char *wanted)
{
	struct slice name;
	while (slice_split_next(&h, ':', &name))
		if (slice_eq_nocase(name, slice_from_cstr(wanted)))
			return true;
	return false;
}

/* --- the fields --------------------------------------------------------------------------------------------------------------- */

static void take_tagged(struct arc_chain *c, struct arena *a, const struct mail_header *h, bool seal)
{
	static const char *const AMS_TAGS[] = { "a", "b", "bh", "d", "h", "s", "i", NULL }, *const SEAL_TAGS[] = { "a", "b", "d", "s", "i", "cv", NULL };
	const char *field = seal ? SEAL : AMS;
	struct auth_tags *t = arena_alloc(a, sizeof *t);
	if (auth_tags_parse(h->value, a, t) < 0) {
		fail(c, a, "An %s header could not be parsed: signature syntax error: %s", field, err_text());
		return;
	}
	for (const char *const *need = seal ? SEAL_TAGS : AMS_TAGS; *need != NULL; need++)
		if (auth_tag_find(t, *need) == NULL) {
			fail(c, a, "An %s header could not be parsed: signature missing required tag (%s)", field, *need);
			return;
		}
	uint32_t i = read_instance(auth_tag_value(t, "i"));
	if (i == 0) {
		fail(c, a, "An %s header could not be parsed: ARC instance tag is invalid", field);
		return;
	}
	if (seal && auth_tag_find(t, "h") != NULL)
		fail(c, a, "The " SEAL " for instance %u has an h tag", i);
	if (!seal && lists(auth_tag_value(t, "h"), SEAL))
		fail(c, a, "The " AMS " for instance %u signs an " SEAL, i);
	struct arc_set *set = &c->sets[i];
	if (seal ? set->has_seal : set->has_ams) {
		fail(c, a, "There are duplicate %s header(s) for instance %u", field, i);
		return;
	}
	if (seal) {
		set->has_seal = true;
		set->seal = *h;
		set->seal_tags = t;
	} else {
		set->has_ams = true;
		set->ams = *h;
		set->ams_tags = t;
	}
	c->n = MAX(c->n, i);
}

/* Only its instance matters to the chain; what it says is for the reader. */
static void take_aar(struct arc_chain *c, struct arena *a, const struct mail_header *h)
{
	struct slice v = h->value, first;
	slice_split_next(&v, ';', &first);
	ptrdiff_t eq = slice_chr(first, '=');
	uint32_t i = eq > 0 && slice_eq_cstr(slice_trim(slice_sub(first, 0, eq)), "i") ? read_instance(slice_trim(slice_sub(first, eq + 1, SIZE_MAX))) : 0;
	if (i == 0) {
		fail(c, a, "An " AAR " header has an invalid instance value");
		return;
	}
	if (c->sets[i].has_aar) {
		fail(c, a, "There are duplicate " AAR " header(s) for instance %u", i);
		return;
	}
	c->sets[i].has_aar = true;
	c->sets[i].aar = *h;
	c->n = MAX(c->n, i);
}

static void gather(struct arc_chain *c, const struct dkim_header_list *all, struct arena *a)
{
	for (uint32_t i = 0; i < all->n; i++) {
		const struct mail_header *h = &all->h[i];
		if (!slice_starts_nocase(h->name, SLICE("ARC-")))
			continue;
		if (slice_eq_nocase(h->name, SLICE(AAR)))
			take_aar(c, a, h);
		else if (slice_eq_nocase(h->name, SLICE(AMS)))
			take_tagged(c, a, h, false);
		else if (slice_eq_nocase(h->name, SLICE(SEAL)))
			take_tagged(c, a, h, true);
	}
	for (uint32_t i = 1; i <= c->n; i++) {
		const struct arc_set *s = &c->sets[i];
		unsigned parts = s->has_aar + s->has_ams + s->has_seal;
		if (parts == 0)
			fail(c, a, "The ARC Set with instance %u is missing", i);
		else if (parts < 3)
			fail(c, a, "The ARC Set with instance %u is missing some of its constituent headers", i);
	}
}

/* RFC 8617 5.2, step 3: the first seal says none, all others pass. */
static void check_cv(struct arc_chain *c, struct arena *a)
{
	for (uint32_t i = c->n; i >= 1 && c->status != ARC_FAIL; i--) {
		struct slice cv = auth_tag_value(c->sets[i].seal_tags, "cv");
		const char *want = i == 1 ? "none" : "pass";
		if (slice_eq_nocase(cv, SLICE("fail")))
			fail(c, a, "The " SEAL " for instance %u is marked as failing its chain validation", i);
		else if (!slice_eq_nocase(cv, SLICE("none")) && !slice_eq_nocase(cv, SLICE("pass")))
			fail(c, a, "The " SEAL " for instance %u has an invalid chain validation status", i);
		else if (!slice_eq_nocase(cv, slice_from_cstr(want)))
			fail(c, a, "The " SEAL " for instance %u is marked as cv=%.*s but that is invalid", i, SLICE_ARG(cv));
	}
}

/* --- signatures -------------------------------------------------------------------------------------------------------------------- */

static const char *check_ams(const struct arc_set *s, const struct dkim_header_list *all, struct slice body, const struct dkim_verify_opts *o,
			     struct arena *a, int *rc)
{
	struct dkim_check k = { AMS, &s->ams, s->ams_tags, true, false, all, body };
	bool temporary = false;
	return dkim_check_signature(&k, o, a, &temporary, rc);
}

/* The fields that the seal of instance N covers, its own left out: AAR, AMS, seal of each instance in turn. */
static struct dkim_header_list sealed_fields(const struct arc_chain *c, uint32_t n, struct arena *a)
{
	struct dkim_header_list list = { 0, arena_alloc(a, n * 3 * sizeof(struct mail_header)) };
	for (uint32_t i = 1; i <= n; i++) {
		list.h[list.n++] = c->sets[i].aar;
		list.h[list.n++] = c->sets[i].ams;
		if (i < n)
			list.h[list.n++] = c->sets[i].seal;
	}
	return list;
}

static const char *check_seal(const struct arc_chain *c, uint32_t i, const struct dkim_verify_opts *o, struct arena *a, int *rc)
{
	struct dkim_header_list list = sealed_fields(c, i, a);
	struct dkim_check k = { SEAL, &c->sets[i].seal, c->sets[i].seal_tags, false, true, &list, SLICE("") };
	bool temporary = false;
	return dkim_check_signature(&k, o, a, &temporary, rc);
}

/* The newest message signature must fit, and every seal; older message signatures may have been broken on the way. */
static int check_signatures(struct arc_chain *c, const struct dkim_header_list *all, struct slice body, const struct dkim_verify_opts *o, struct arena *a)
{
	int rc = 0;
	if (check_ams(&c->sets[c->n], all, body, o, a, &rc) != NULL)
		fail(c, a, "The " AMS " for instance %u failed to validate", c->n);
	for (uint32_t i = c->n; i >= 1 && c->status != ARC_FAIL && rc == 0; i--)
		if (check_seal(c, i, o, a, &rc) != NULL)
			fail(c, a, "The " SEAL " for instance %u failed to validate", i);
	for (uint32_t i = c->n - 1; i >= 1 && c->status != ARC_FAIL && rc == 0 && c->oldest_pass == 0; i--)
		if (check_ams(&c->sets[i], all, body, o, a, &rc) != NULL)
			c->oldest_pass = i + 1;
	return rc;
}

int arc_verify(struct slice msg, const struct dkim_verify_opts *o, struct arena *a, struct arc_chain *out)
{
	struct dkim_header_list all;
	struct slice body;
	int rc = dkim_headers(msg, a, &all, &body);
	if (rc < 0)
		return rc;
	memset(out, 0, sizeof *out);
	gather(out, &all, a);
	if (out->n > 0 && out->status != ARC_FAIL)
		check_cv(out, a);
	if (out->n == 0 || out->status == ARC_FAIL)
		return 0;
	out->status = ARC_PASS;
	return check_signatures(out, &all, body, o, a);
}

void arc_result(const struct arc_chain *c, struct arena *a, struct val *out)
{
	static const char *const STATUS[] = { [ARC_NONE] = "none", [ARC_PASS] = "pass", [ARC_FAIL] = "fail" };
	struct val props = val_obj();
	*out = val_obj();
	if (c->n > 0)
		val_put_lit(a, &props, "header.oldest-pass", val_str(a, arena_slicef(a, "%u", c->oldest_pass)));
	val_put_lit(a, out, "method", val_cstr(a, "arc"));
	val_put_lit(a, out, "result", val_cstr(a, STATUS[c->status]));
	if (c->reason != NULL)
		val_put_lit(a, out, "reason", val_cstr(a, c->reason));
	val_put_lit(a, out, "props", props);
}

/* --- sealing ------------------------------------------------------------------------------------------------------------------------ */

/* NAME: VALUE as a field, with its line end, in the arena. */
static struct mail_header make_field(struct arena *a, const char *name, struct slice value)
{
	struct mail_header h;
	struct slice text = arena_slicef(a, "%s: %.*s\r\n", name, SLICE_ARG(value));
	int rc = mail_header_next(&text, &h);
	assert(rc == 1);
	return h;
}

static int put_aar(const struct val *results, uint32_t instance, struct arena *a, struct buf *b)
{
	struct val v = val_copy(a, results);
	val_put_lit(a, &v, "instance", val_int(instance));
	return mail_put_auth_results(b, &v);
}

static int sign_field(struct slice msg, const struct dkim_signer *s, int64_t now_s, const char *field, const struct dkim_tag *tags, uint32_t n_tags,
		      const struct dkim_header_list *sealed, struct arena *a, struct mail_header *out)
{
	struct dkim_sign_args args = { .field = field, .extra = tags, .n_extra = n_tags, .seal = sealed != NULL };
	struct buf b = { 0 };
	if (sealed != NULL) {
		args.sealed = sealed->h;
		args.n_sealed = sealed->n;
	}
	int rc = dkim_sign_as(s, msg, now_s, &args, NULL, &b);
	if (rc == 0)
		*out = make_field(a, field, buf_view(&b));
	buf_fini(&b);
	return rc;
}

int arc_seal(struct slice msg, const struct arc_chain *c, const struct dkim_signer *s, const struct val *results, int64_t now_s, struct arena *a, struct buf *out)
{
	uint32_t i = c->n + 1;
	struct dkim_tag tags[2] = { { "i", arena_slicef(a, "%u", i) }, { "cv", c->n == 0 ? SLICE("none") : SLICE("pass") } };
	struct dkim_header_list sealed = { 0, arena_alloc(a, (c->n + 1) * 3 * sizeof(struct mail_header)) };
	struct mail_header aar, ams, seal;
	struct buf b = { 0 };
	int rc;

	if (c->status == ARC_FAIL || i > ARC_INSTANCE_MAX)
		return 0;
	rc = put_aar(results, i, a, &b);
	if (rc == 0)
		aar = make_field(a, AAR, buf_view(&b));
	buf_fini(&b);
	if (rc < 0 || (rc = sign_field(msg, s, now_s, AMS, tags, 1, NULL, a, &ams)) < 0)
		return rc;
	for (uint32_t k = 1; k <= c->n; k++) {
		sealed.h[sealed.n++] = c->sets[k].aar;
		sealed.h[sealed.n++] = c->sets[k].ams;
		sealed.h[sealed.n++] = c->sets[k].seal;
	}
	sealed.h[sealed.n++] = aar;
	sealed.h[sealed.n++] = ams;
	if ((rc = sign_field(msg, s, now_s, SEAL, tags, 2, &sealed, a, &seal)) < 0)
		return rc;
	buf_slice(out, aar.raw);
	buf_slice(out, ams.raw);
	buf_slice(out, seal.raw);
	return 0;
}
