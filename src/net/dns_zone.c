/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Test resolver: answers from zone texts (BIND format), read with ldns.
 *
 * A name under the origin of some zone that has no record of the type asked for is "no data", a name under none "no such domain". One
 * alias after the other is followed, across zones; the answer is secure when every zone on the way is.
 */
#include "net/dns_impl.h"
#include "base/map.h"
#include "base/xalloc.h"
#include "rt/clock.h"
#include <ldns/ldns.h>
#include <stdio.h>
#include <stdlib.h>

#define ZONE_TTL_MS 60000
#define ALIASES_MAX 8

struct rr_set {
	struct dns_builder b;	/* never packed: copied from */
};
struct zone {
	bool secure;
	struct map sets;	/* "TYPE name." to struct rr_set */
	struct zone *next;
};
struct zones {
	struct dns_resolver base;
	struct zone *all;
	struct map origins;	/* "a.example." to struct zone (of the last text with this origin) */
	struct map servfail;	/* names, to this */
};

static void set_key(struct buf *b, enum dns_type type, struct slice name)
{
	buf_clear(b);
	buf_printf(b, "%d %.*s", type, SLICE_ARG(name));
}

static int owner_text(const ldns_rdf *owner, struct buf *out)
{
	char *text = ldns_rdf2str(owner);
	buf_clear(out);
	int rc = text ? dns_name_put(out, slice_from_cstr(text)) : err_set(E_INVAL, "zone: a name that cannot be printed");
	free(text);
	return rc;
}

static int zone_add_rr(struct zone *z, const ldns_rr *rr)
{
	struct buf key = { 0 }, name = { 0 }, scratch = { 0 }, rdata = { 0 };
	enum dns_type type = (enum dns_type)ldns_rr_get_type(rr);
	struct dns_rr one;
	int rc = owner_text(ldns_rr_owner(rr), &name);

	for (size_t i = 0; i < ldns_rr_rd_count(rr); i++)
		buf_put(&rdata, ldns_rdf_data(ldns_rr_rdf(rr, i)), ldns_rdf_size(ldns_rr_rdf(rr, i)));
	if (rc == 0)
		rc = dns_rr_from_wire(type, buf_view(&rdata), &scratch, &one);
	if (rc == 0) {
		set_key(&key, type, buf_view(&name));
		struct rr_set *set = map_get(&z->sets, buf_view(&key));
		if (!set) {
			set = xzalloc(sizeof *set);
			map_put(&z->sets, buf_view(&key), set);
		}
		dns_builder_add(&set->b, &one);
	}
	buf_fini(&key);
	buf_fini(&name);
	buf_fini(&scratch);
	buf_fini(&rdata);
	return rc == -E_UNSUPPORTED ? 0 : rc;	/* a type nobody asks for, like SOA */
}

static int add_origin(struct zones *zs, struct zone *z, const ldns_rdf *origin)
{
	struct buf name = { 0 };
	int rc = owner_text(origin, &name);

	if (rc == 0)
		map_put(&zs->origins, buf_view(&name), z);
	buf_fini(&name);
	return rc;
}

static int zone_parse(struct zones *zs, struct zone *z, FILE *f)
{
	ldns_rdf *origin = NULL, *prev = NULL;
	uint32_t ttl = 300;
	int line = 0, rc = 0;

	while (rc == 0 && !feof(f)) {
		ldns_rr *rr = NULL;
		ldns_status st = ldns_rr_new_frm_fp_l(&rr, f, &ttl, &origin, &prev, &line);
		if (st == LDNS_STATUS_OK) {
			rc = origin ? zone_add_rr(z, rr) : err_set(E_INVAL, "zone line %d: a record before $ORIGIN", line);
			ldns_rr_free(rr);
		} else if (st == LDNS_STATUS_SYNTAX_ORIGIN) {
			rc = add_origin(zs, z, origin);
		} else if (st != LDNS_STATUS_SYNTAX_EMPTY && st != LDNS_STATUS_SYNTAX_TTL) {
			rc = err_set(E_INVAL, "zone line %d: %s", line, ldns_get_errorstr_by_id(st));
		}
	}
	if (rc == 0 && !origin)
		rc = err_set(E_INVAL, "zone text without $ORIGIN");
	ldns_rdf_deep_free(origin);
	ldns_rdf_deep_free(prev);
	return rc;
}

static int zone_add(struct zones *zs, struct slice text, bool secure)
{
	struct zone *z = xzalloc(sizeof *z);

	z->secure = secure;
	z->next = zs->all;
	zs->all = z;
	if (text.len == 0)
		return err_set(E_INVAL, "zone text without $ORIGIN");
	FILE *f = fmemopen((char *)text.ptr, text.len, "r");
	if (!f)
		return err_errno(E_IO, "zone text");
	int rc = zone_parse(zs, z, f);
	fclose(f);
	return rc;
}

/* --- lookups ----------------------------------------------------------------------------------------------------------- */

static struct zone *zone_of(struct zones *zs, struct slice name)
{
	for (;;) {
		struct zone *z = map_get(&zs->origins, name);
		if (z)
			return z;
		ptrdiff_t dot = slice_chr(name, '.');
		if (dot < 0 || name.len <= 1)
			return NULL;
		name = (size_t)dot + 1 == name.len ? SLICE(".") : slice_sub(name, dot + 1, SIZE_MAX);
	}
}

static struct dns_answer *answer_of(const struct rr_set *set, bool secure, struct slice canon)
{
	struct dns_builder b = { .status = DNS_OK, .secure = secure, .expires_ms = rt_now_ms() + ZONE_TTL_MS, .canon = canon };

	for (uint32_t i = 0; i < set->b.n; i++) {
		struct dns_rr rr = set->b.rrs[i];
		if (rr.name.ptr)
			rr.name.ptr = set->b.bytes.ptr + ((uintptr_t)rr.name.ptr - 1);
		if (rr.data.ptr)
			rr.data.ptr = set->b.bytes.ptr + ((uintptr_t)rr.data.ptr - 1);
		dns_builder_add(&b, &rr);
	}
	return dns_builder_pack(&b);
}

static const struct rr_set *set_get(struct zone *z, enum dns_type type, struct slice name)
{
	struct buf key = { 0 };

	set_key(&key, type, name);
	const struct rr_set *set = map_get(&z->sets, buf_view(&key));
	buf_fini(&key);
	return set;
}

static int zones_lookup(struct dns_resolver *r, struct slice name, enum dns_type type, struct dns_answer **out)
{
	struct zones *zs = CONTAINER_OF(r, struct zones, base);
	bool secure = true;

	for (int aliases = 0; aliases <= ALIASES_MAX; aliases++) {
		struct zone *z = zone_of(zs, name);
		if (map_get(&zs->servfail, name)) {
			*out = dns_answer_simple(DNS_FAIL, false, ZONE_TTL_MS, "SERVFAIL");
			return 0;
		}
		if (!z) {
			*out = dns_answer_simple(DNS_NXDOMAIN, false, ZONE_TTL_MS, NULL);
			return 0;
		}
		secure = secure && z->secure;
		const struct rr_set *set = set_get(z, type, name), *alias;
		if (set) {
			*out = answer_of(set, secure, name);
			return 0;
		}
		if (type == DNS_CNAME || !(alias = set_get(z, DNS_CNAME, name))) {
			*out = dns_answer_simple(DNS_NODATA, secure, ZONE_TTL_MS, NULL);
			return 0;
		}
		name = slice_new(alias->b.bytes.ptr + ((uintptr_t)alias->b.rrs[0].name.ptr - 1), alias->b.rrs[0].name.len);
	}
	*out = dns_answer_simple(DNS_FAIL, false, ZONE_TTL_MS, "too many aliases");
	return 0;
}

static void zones_destroy(struct dns_resolver *r)
{
	struct zones *zs = CONTAINER_OF(r, struct zones, base);

	for (struct zone *z = zs->all, *next; z; z = next) {
		struct map_iter it = { 0 };
		while (map_next(&z->sets, &it)) {
			struct rr_set *set = it.value;
			buf_fini(&set->b.bytes);
			free(set->b.rrs);
			free(set);
		}
		map_fini(&z->sets);
		next = z->next;
		free(z);
	}
	map_fini(&zs->origins);
	map_fini(&zs->servfail);
	free(zs);
}

/* --- options ----------------------------------------------------------------------------------------------------------- */

static int zone_from_val(struct zones *zs, const struct val *v)
{
	if (v->type == VAL_STR)
		return zone_add(zs, v->s, false);
	struct slice text = val_get_str(v, SLICE("zone"));
	const struct val *secure = val_get_lit(v, "secure");
	if (v->type != VAL_OBJ || !text.ptr || (secure && secure->type != VAL_BOOL))
		return err_set(E_INVAL, "zones: expected a zone text or {zone = TEXT, secure = BOOLEAN}, not a %s", val_type_name(v->type));
	return zone_add(zs, text, secure && secure->b);
}

static int servfail_from_val(struct zones *zs, const struct val *v)
{
	for (uint32_t i = 0; i < v->n; i++) {
		struct buf name = { 0 };
		int rc = v->items[i].type == VAL_STR ? dns_name_put(&name, v->items[i].s) : err_set(E_INVAL, "servfail: expected a list of names");
		if (rc == 0)
			map_put(&zs->servfail, buf_view(&name), zs);
		buf_fini(&name);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static bool is_empty_table(const struct val *v)
{
	return v->type == VAL_OBJ && v->n == 0;
}

static bool is_list(const struct val *v)
{
	return v->type == VAL_LIST || is_empty_table(v);
}

int dns_resolver_from_test(const struct val *v, struct dns_resolver **out)
{
	static const struct dns_resolver_ops OPS = { zones_lookup, zones_destroy };
	const struct val *list = v->type == VAL_LIST ? v : val_get_lit(v, "zones"), *servfail = val_get_lit(v, "servfail");

	if (is_empty_table(v))
		list = v;
	if (!list || !is_list(list) || (servfail && !is_list(servfail)))
		return err_set(E_INVAL, "Test resolver: expected a list of zone texts, or {zones = LIST, servfail = LIST}");
	struct zones *zs = xzalloc(sizeof *zs);
	zs->base.ops = &OPS;
	zs->base.refs = 1;
	int rc = 0;
	for (uint32_t i = 0; rc == 0 && i < list->n; i++)
		rc = zone_from_val(zs, &list->items[i]);
	if (rc == 0 && servfail)
		rc = servfail_from_val(zs, servfail);
	if (rc < 0) {
		zones_destroy(&zs->base);
		return rc;
	}
	*out = &zs->base;
	return 0;
}
