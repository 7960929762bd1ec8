/* SPDX-License-Identifier: Apache-2.0 */
/* The sender on the first line; the lines below are the records that each further name has, over and over. */
#include "mailauth/spf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int lookup(void *arg, struct slice name, enum dns_type type, struct arena *a, struct auth_rrs *out)
{
	struct slice *records = arg, line = SLICE_NONE;
	*out = (struct auth_rrs){ .status = DNS_NXDOMAIN };
	if (!slice_split_next(records, '\n', &line) || line.len == 0)
		return 0;
	*out = (struct auth_rrs){ .status = line.ptr[0] == '!' ? DNS_FAIL : DNS_OK, .rrs = arena_alloc(a, sizeof *out->rrs) };
	out->n = out->status == DNS_OK;
	out->rrs[0] = (struct dns_rr){ .name = line, .data = line };
	if ((type == DNS_A || type == DNS_AAAA) && ipaddr_parse(line, &out->rrs[0].addr) < 0)
		err_clear();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice rest = slice_new(data, size), sender = SLICE_NONE;
	struct arena *a = arena_create();
	struct spf_result r;
	struct spf_query q = { .helo = SLICE("helo.example"), .receiver = SLICE("mta.example"), .now_s = 1800000000, .dns = { lookup, &rest } };

	slice_split_next(&rest, '\n', &sender);
	ptrdiff_t at = slice_rchr(sender, '@');
	q.sender = at < 0 ? SLICE_NONE : sender;
	q.domain = slice_sub(sender, (size_t)(at + 1), SIZE_MAX);
	if (ipaddr_parse(size % 2 ? SLICE("2001:db8::1") : SLICE("192.0.2.1"), &q.ip) < 0 || spf_check(&q, a, &r) < 0)
		err_clear();
	arena_destroy(&a);
	return 0;
}
