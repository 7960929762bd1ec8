/* SPDX-License-Identifier: Apache-2.0 */
/* The first octet says which record the rest is; all of it is a name, and a zone of the Test resolver that is asked for its own names. */
#include "base/arena.h"
#include "net/dns_impl.h"

static void check_record(uint8_t which, struct slice rdata)
{
	static const enum dns_type TYPES[] = { DNS_A, DNS_NS, DNS_CNAME, DNS_PTR, DNS_MX, DNS_TXT, DNS_AAAA, DNS_TLSA };
	struct dns_builder b = { 0 };
	struct buf scratch = { 0 };
	struct dns_rr rr;

	if (dns_rr_from_wire(TYPES[which % ARRAY_LEN(TYPES)], rdata, &scratch, &rr) == 0)
		dns_builder_add(&b, &rr);
	struct dns_answer *a = dns_builder_pack(&b);
	dns_answer_unref(&a);
	buf_fini(&scratch);
}

static void check_zone(struct slice text)
{
	struct arena *a = arena_create();
	struct val list = val_list();
	struct dns_resolver *r;
	struct dns_answer *got;

	val_push(a, &list, val_str(a, text));
	if (dns_resolver_from_test(&list, &r) == 0) {
		if (r->ops->lookup(r, SLICE("a.example."), DNS_MX, &got) == 0)
			dns_answer_unref(&got);
		dns_resolver_unref(&r);
	}
	arena_destroy(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = slice_new(data, size);
	struct buf b = { 0 };

	(void)!dns_name_put(&b, in);
	buf_fini(&b);
	if (size > 0)
		check_record(data[0], slice_sub(in, 1, SIZE_MAX));
	check_zone(in);
	return 0;
}
