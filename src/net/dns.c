/* SPDX-License-Identifier: Apache-2.0 */
/* Answers, the registry of resolvers, lookups, and the resolver that asks others one after the other. */
#include "net/dns_impl.h"
#include "base/map.h"
#include "base/xalloc.h"
#include "rt/clock.h"
#include "rt/sync.h"
#include <stdio.h>
#include <stdlib.h>

/* --- answers ----------------------------------------------------------------------------------------------------------- */

static struct slice keep(struct dns_builder *b, struct slice s)
{
	size_t at = b->bytes.len;

	if (!s.ptr)
		return SLICE_NONE;
	buf_slice(&b->bytes, s);
	return slice_new((const char *)(uintptr_t)(at + 1), s.len); /* an offset, plus 1 so that it is not NULL */
}

void dns_builder_add(struct dns_builder *b, const struct dns_rr *rr)
{
	if (b->n == b->cap) {
		b->cap = b->cap ? b->cap * 2 : 4;
		b->rrs = xreallocarray(b->rrs, b->cap, sizeof *b->rrs);
	}
	struct dns_rr *to = &b->rrs[b->n++];
	*to = *rr;
	to->name = keep(b, rr->name);
	to->data = keep(b, rr->data);
}

static void fix(struct slice *s, const char *base)
{
	if (s->ptr)
		s->ptr = base + ((uintptr_t)s->ptr - 1);
}

struct dns_answer *dns_builder_pack(struct dns_builder *b)
{
	size_t rr_bytes = b->n * sizeof *b->rrs;
	struct dns_answer *a = xzalloc(sizeof *a + rr_bytes + b->bytes.len + b->canon.len + b->error.len + 2);
	char *bytes = (char *)(a + 1) + rr_bytes;

	a->refs = 1;
	a->status = b->status;
	a->secure = b->secure;
	a->bogus = b->bogus;
	a->expires_ms = b->expires_ms;
	a->n = b->n;
	a->rrs = (struct dns_rr *)(a + 1);
	if (b->n)
		memcpy(a->rrs, b->rrs, rr_bytes);
	if (b->bytes.len)
		memcpy(bytes, b->bytes.ptr, b->bytes.len);
	for (uint32_t i = 0; i < a->n; i++) {
		fix(&a->rrs[i].name, bytes);
		fix(&a->rrs[i].data, bytes);
	}
	bytes += b->bytes.len;
	if (b->canon.len)
		memcpy(bytes, b->canon.ptr, b->canon.len);
	a->canon = slice_new(bytes, b->canon.len);
	bytes += b->canon.len + 1;
	if (b->error.len)
		memcpy(bytes, b->error.ptr, b->error.len);
	a->error = slice_new(bytes, b->error.len);
	buf_fini(&b->bytes);
	free(b->rrs);
	*b = (struct dns_builder){ 0 };
	return a;
}

struct dns_answer *dns_answer_simple(enum dns_status status, bool secure, int64_t ttl_ms, const char *error)
{
	struct dns_builder b = { .status = status, .secure = secure, .expires_ms = rt_now_ms() + ttl_ms, .error = slice_from_cstr(error) };

	return dns_builder_pack(&b);
}

struct dns_answer *dns_answer_ref(struct dns_answer *a)
{
	a->refs++;
	return a;
}

void dns_answer_unref(struct dns_answer **ap)
{
	struct dns_answer *a = *ap;

	*ap = NULL;
	if (a && --a->refs == 0)
		free(a);
}

/* --- rdata ------------------------------------------------------------------------------------------------------------- */

static int wire_name(struct slice rdata, struct buf *scratch, struct slice *out)
{
	size_t at = 0, start = scratch->len;

	for (;;) {
		if (at >= rdata.len)
			return err_set(E_INVAL, "damaged name in a DNS answer");
		uint8_t n = rdata.ptr[at++];
		if (n == 0)
			break;
		if (n > 63 || at + n > rdata.len)
			return err_set(E_INVAL, "damaged name in a DNS answer");
		for (uint8_t i = 0; i < n; i++) {
			unsigned char c = rdata.ptr[at + i];
			if (c <= ' ' || c >= 127 || c == '.' || c == '\\')
				buf_printf(scratch, "\\%03u", c);
			else
				buf_putc(scratch, ascii_lower(c));
		}
		buf_putc(scratch, '.');
		at += n;
	}
	if (scratch->len == start)
		buf_putc(scratch, '.');
	*out = slice_new(scratch->ptr + start, scratch->len - start);
	return 0;
}

static int wire_text(struct slice rdata, struct buf *scratch, struct slice *out)
{
	for (size_t at = 0; at < rdata.len;) {
		size_t n = (uint8_t)rdata.ptr[at++];
		if (at + n > rdata.len)
			return err_set(E_INVAL, "damaged TXT record in a DNS answer");
		buf_put(scratch, rdata.ptr + at, n);
		at += n;
	}
	buf_reserve(scratch, 1);
	*out = buf_view(scratch);
	return 0;
}

int dns_rr_from_wire(enum dns_type type, struct slice rdata, struct buf *scratch, struct dns_rr *out)
{
	*out = (struct dns_rr){ 0 };
	buf_clear(scratch);
	switch (type) {
	case DNS_A:
	case DNS_AAAA:
		if (rdata.len != (type == DNS_A ? 4 : 16))
			return err_set(E_INVAL, "damaged address in a DNS answer");
		out->addr.family = type == DNS_A ? 4 : 6;
		memcpy(out->addr.bytes, rdata.ptr, rdata.len);
		return 0;
	case DNS_MX:
		if (rdata.len < 3)
			return err_set(E_INVAL, "damaged MX record in a DNS answer");
		out->preference = (uint8_t)rdata.ptr[0] << 8 | (uint8_t)rdata.ptr[1];
		return wire_name(slice_sub(rdata, 2, SIZE_MAX), scratch, &out->name);
	case DNS_TXT:
		return wire_text(rdata, scratch, &out->data);
	case DNS_TLSA:
		out->data = rdata;
		return 0;
	case DNS_NS:
	case DNS_CNAME:
	case DNS_PTR:
		return wire_name(rdata, scratch, &out->name);
	}
	return err_set(E_UNSUPPORTED, "DNS record type %d", type);
}

/* --- resolvers --------------------------------------------------------------------------------------------------------- */

static struct rt_lock lock = RT_LOCK_INIT(RANK_DNS);
/* under lock */
static struct dns_resolver *default_resolver;
static struct map named;

struct dns_resolver *dns_resolver_ref(struct dns_resolver *r)
{
	r->refs++;
	return r;
}

void dns_resolver_unref(struct dns_resolver **rp)
{
	struct dns_resolver *r = *rp;

	*rp = NULL;
	if (r && --r->refs == 0)
		r->ops->destroy(r);
}

void dns_resolver_set_default(struct dns_resolver *r)
{
	rt_lock(&lock);
	struct dns_resolver *old = default_resolver;
	default_resolver = r;
	rt_unlock(&lock);
	dns_resolver_unref(&old);
	mx_forget();
}

void dns_resolver_define(struct slice name, struct dns_resolver *r)
{
	rt_lock(&lock);
	struct dns_resolver *old = map_put(&named, name, r);
	rt_unlock(&lock);
	dns_resolver_unref(&old);
}

struct dns_resolver *dns_resolver_find(struct slice name)
{
	rt_lock(&lock);
	struct dns_resolver *r = map_get(&named, name);
	if (r)
		dns_resolver_ref(r);
	rt_unlock(&lock);
	return r;
}

static int default_get(struct dns_resolver **out)
{
	rt_lock(&lock);
	struct dns_resolver *r = default_resolver ? dns_resolver_ref(default_resolver) : NULL;
	rt_unlock(&lock);
	if (!r) {
		struct dns_resolver *made;
		struct val system = { .type = VAL_STR, .s = SLICE("HickorySystemConfig") };
		int rc = dns_resolver_from_val(&system, "the system's resolver", &made);
		if (rc < 0)
			return rc;
		rt_lock(&lock);
		if (!default_resolver) {
			default_resolver = made;
			made = NULL;
		}
		r = dns_resolver_ref(default_resolver);
		rt_unlock(&lock);
		dns_resolver_unref(&made);
	}
	*out = r;
	return 0;
}

int dns_lookup(struct dns_resolver *r, struct slice name, enum dns_type type, struct dns_answer **out)
{
	struct dns_resolver *own = NULL;
	struct buf fq = { 0 };
	int rc = dns_name_put(&fq, name);

	if (rc == 0 && !r) {
		rc = default_get(&own);
		r = own;
		if (rc < 0) {
			*out = dns_answer_simple(DNS_FAIL, false, 10000, err_text());
			buf_fini(&fq);
			return 0;
		}
	}
	if (rc == 0)
		rc = r->ops->lookup(r, buf_view(&fq), type, out);
	dns_resolver_unref(&own);
	buf_fini(&fq);
	return rc;
}

/* --- addresses --------------------------------------------------------------------------------------------------------- */

struct ip_collect {
	struct dns_addrs *out;
	bool failed;
	char error[256];
};

static int collect(struct dns_resolver *r, struct slice name, enum dns_type type, struct ip_collect *c, size_t *added)
{
	struct dns_answer *a;
	int rc = dns_lookup(r, name, type, &a);

	*added = 0;
	if (rc < 0)
		return rc;
	if (a->status == DNS_FAIL) {
		if (!c->failed)
			snprintf(c->error, sizeof c->error, "%.*s", SLICE_ARG(a->error));
		c->failed = true;
	} else if (a->expires_ms < c->out->expires_ms) {
		c->out->expires_ms = a->expires_ms;
	}
	if (a->n) {
		c->out->addrs = xreallocarray(c->out->addrs, c->out->n + a->n, sizeof *c->out->addrs);
		for (uint32_t i = 0; i < a->n; i++)
			c->out->addrs[c->out->n++] = a->rrs[i].addr;
		c->out->secure = c->out->secure && a->secure;
		*added = a->n;
	}
	dns_answer_unref(&a);
	return 0;
}

int dns_lookup_ip(struct dns_resolver *r, struct slice name, enum ip_strategy strategy, struct dns_addrs *out)
{
	static const struct { enum dns_type first, second; bool always; } PLAN[] = {
		[IP_V4_ONLY] = { DNS_A, 0, false },	    [IP_V6_ONLY] = { DNS_AAAA, 0, false },
		[IP_V4_AND_V6] = { DNS_A, DNS_AAAA, true }, [IP_V6_THEN_V4] = { DNS_AAAA, DNS_A, false },
		[IP_V4_THEN_V6] = { DNS_A, DNS_AAAA, false },
	};
	struct ip_collect c = { .out = out };
	size_t added;

	*out = (struct dns_addrs){ .secure = true, .expires_ms = INT64_MAX };
	int rc = collect(r, name, PLAN[strategy].first, &c, &added);
	if (rc == 0 && PLAN[strategy].second && (PLAN[strategy].always || added == 0))
		rc = collect(r, name, PLAN[strategy].second, &c, &added);
	if (rc == 0 && out->n == 0 && c.failed)
		rc = err_set(E_DNS, "%s", c.error);
	if (rc < 0) {
		free(out->addrs);
		*out = (struct dns_addrs){ 0 };
		return rc;
	}
	out->secure = out->secure && out->n > 0;
	return 0;
}

/* --- one after the other ----------------------------------------------------------------------------------------------- */

struct aggregate {
	struct dns_resolver base;
	size_t n;
	struct dns_resolver *children[];
};

/* The first that knows the name; a failure counts more than "no such name". */
static int aggregate_lookup(struct dns_resolver *r, struct slice name, enum dns_type type, struct dns_answer **out)
{
	struct aggregate *g = CONTAINER_OF(r, struct aggregate, base);
	struct dns_answer *kept = NULL;

	for (size_t i = 0; i < g->n; i++) {
		struct dns_answer *a;
		int rc = g->children[i]->ops->lookup(g->children[i], name, type, &a);
		if (rc < 0) {
			dns_answer_unref(&kept);
			return rc;
		}
		if (a->status == DNS_OK || a->status == DNS_NODATA) {
			dns_answer_unref(&kept);
			*out = a;
			return 0;
		}
		if (!kept || a->status == DNS_FAIL) {
			dns_answer_unref(&kept);
			kept = a;
		} else {
			dns_answer_unref(&a);
		}
	}
	*out = kept ? kept : dns_answer_simple(DNS_NXDOMAIN, false, 60000, NULL);
	return 0;
}

static void aggregate_destroy(struct dns_resolver *r)
{
	struct aggregate *g = CONTAINER_OF(r, struct aggregate, base);

	for (size_t i = 0; i < g->n; i++)
		dns_resolver_unref(&g->children[i]);
	free(g);
}

struct dns_resolver *dns_aggregate_create(struct dns_resolver **children, size_t n)
{
	static const struct dns_resolver_ops OPS = { aggregate_lookup, aggregate_destroy };
	struct aggregate *g = xzalloc(sizeof *g + n * sizeof *children);

	g->base.ops = &OPS;
	g->base.refs = 1;
	g->n = n;
	if (n)
		memcpy(g->children, children, n * sizeof *children);
	return &g->base;
}
