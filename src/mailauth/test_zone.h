/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_zone - a resolver for tests over {"name": [{"TXT": "…"}, {"MX": [10, "x"]}, "TIMEOUT"]}, the shape of the suite of RFC 7208.
 *
 * A name with a record of type SPF and no TXT has its text as TXT; a TXT in several strings is a list; "NONE" is no record. Code points
 * below 256 in texts stand for octets.
 *
 * Thread:  one test.   Memory: the zone is the test's.   Yields: never.
 */
#pragma once
#include "codec/val.h"
#include "mailauth/auth_dns.h"

#define TEST_ZONE_SPF ((enum dns_type)99)
static const struct { const char *name; enum dns_type type; } TEST_ZONE_TYPES[] = {
	{ "A", DNS_A }, { "AAAA", DNS_AAAA }, { "MX", DNS_MX }, { "TXT", DNS_TXT }, { "PTR", DNS_PTR }, { "SPF", TEST_ZONE_SPF }, { "CNAME", DNS_CNAME },
};

/* The octets that a text of code points below 256 stands for. */
static inline struct slice test_zone_octets(struct slice s, struct arena *a)
{
	char *out = arena_alloc(a, s.len + 1);
	size_t n = 0;
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = s.ptr[i];
		if ((c == 0xc2 || c == 0xc3) && i + 1 < s.len)
			out[n++] = (char)((c << 6) | (s.ptr[++i] & 0x3f));
		else
			out[n++] = (char)c;
	}
	return slice_new(out, n);
}

static inline struct slice test_zone_text(const struct val *v, struct arena *a)
{
	struct buf b = { 0 };
	if (v->type == VAL_STR)
		return test_zone_octets(v->s, a);
	for (uint32_t i = 0; v->type == VAL_LIST && i < v->n; i++)
		buf_slice(&b, v->items[i].s);
	struct slice s = test_zone_octets(buf_view(&b), a);
	buf_fini(&b);
	return s;
}

static inline const struct val *test_zone_find(const struct val *zone, struct slice name)
{
	for (uint32_t i = 0; i < zone->n; i++)
		if (slice_eq_nocase(zone->members[i].key, name))
			return &zone->members[i].val;
	return NULL;
}

static inline bool test_zone_has(const struct val *list, const char *type)
{
	for (uint32_t i = 0; i < list->n; i++)
		if (list->items[i].type == VAL_OBJ && val_get(&list->items[i], slice_from_cstr(type)) != NULL)
			return true;
	return false;
}

static inline void test_zone_add(struct auth_rrs *out, enum dns_type type, const struct val *v, struct arena *a)
{
	struct dns_rr *rr = &out->rrs[out->n++];
	*rr = (struct dns_rr){ 0 };
	if (type == DNS_A || type == DNS_AAAA)
		out->n -= ipaddr_parse(v->s, &rr->addr) < 0;
	else if (type == DNS_MX)
		rr->name = v->items[1].s;
	else if (type == DNS_PTR)
		rr->name = v->s;
	else
		rr->data = test_zone_text(v, a);
}

/* Adds what one record of a name says about TYPE. TXT: the name has records of that type. */
static inline void test_zone_record(struct auth_rrs *out, enum dns_type type, bool txt, const struct val *e, struct slice *alias, struct arena *a)
{
	if (e->type == VAL_STR && slice_eq_cstr(e->s, "TIMEOUT") && out->n == 0)
		out->status = DNS_FAIL;
	for (size_t t = 0; t < ARRAY_LEN(TEST_ZONE_TYPES); t++) {
		enum dns_type has = TEST_ZONE_TYPES[t].type;
		const struct val *v = val_get(e, slice_from_cstr(TEST_ZONE_TYPES[t].name));
		if (v == NULL || (v->type == VAL_STR && slice_eq_cstr(v->s, "NONE")))
			continue;
		if (has == DNS_CNAME)
			*alias = v->s;
		if (has != type && !(has == TEST_ZONE_SPF && type == DNS_TXT && !txt))
			continue;
		if (v->type == VAL_STR && slice_eq_cstr(v->s, "TIMEOUT"))
			out->status = DNS_FAIL;
		else
			test_zone_add(out, type, v, a);
	}
}

static inline int test_zone_lookup(void *arg, struct slice name, enum dns_type type, struct arena *a, struct auth_rrs *out)
{
	const struct val *zone = arg, *list;
	if (slice_ends(name, SLICE(".")))
		name.len--;
	*out = (struct auth_rrs){ .status = DNS_NXDOMAIN };
	for (int hops = 0; (list = test_zone_find(zone, name)) != NULL && hops < 5; hops++) {
		struct slice alias = SLICE_NONE;
		out->status = DNS_NODATA;
		out->rrs = arena_alloc(a, (list->n + 1) * sizeof *out->rrs);
		for (uint32_t i = 0; i < list->n; i++)
			test_zone_record(out, type, test_zone_has(list, "TXT"), &list->items[i], &alias, a);
		if (out->n > 0)
			out->status = DNS_OK;
		if (out->n > 0 || alias.ptr == NULL)
			break;
		name = slice_ends(alias, SLICE(".")) ? slice_sub(alias, 0, alias.len - 1) : alias;
	}
	return 0;
}

/* Puts a TXT record into the zone; NONE: the lookup of the name fails. */
static inline void test_zone_put_txt(struct val *zone, struct slice name, struct slice text, struct arena *a)
{
	struct val list = val_list(), record = val_obj();
	if (text.ptr != NULL)
		val_put_lit(a, &record, "TXT", val_str(a, text));
	val_push(a, &list, text.ptr != NULL ? record : val_cstr(a, "TIMEOUT"));
	val_put(a, zone, name, list);
}

static inline struct auth_dns test_zone_dns(const struct val *zone)
{
	return (struct auth_dns){ test_zone_lookup, (void *)(uintptr_t)zone };
}
