/* SPDX-License-Identifier: Apache-2.0 */
/* The author's domain on the first line, the domain of a good signature on the second; the lines below are the records of each name in turn. */
#include "mailauth/dmarc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int lookup(void *arg, struct slice name, enum dns_type type, struct arena *a, struct auth_rrs *out)
{
	struct slice *records = arg, line = SLICE_NONE;

	*out = (struct auth_rrs){ .status = DNS_NXDOMAIN };
	if (!slice_split_next(records, '\n', &line) || line.len == 0)
		return 0;
	*out = (struct auth_rrs){ .status = line.ptr[0] == '!' ? DNS_FAIL : DNS_OK, .rrs = arena_alloc(a, sizeof *out->rrs) };
	out->n = out->status == DNS_OK;
	out->rrs[0] = (struct dns_rr){ .data = line };
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice rest = slice_new(data, size), from = SLICE(""), signer = SLICE("");
	struct arena *a = arena_create();
	struct val dkim = val_list(), signature = val_obj(), props = val_obj(), spf = val_obj();
	struct dmarc_result r;

	slice_split_next(&rest, '\n', &from);
	slice_split_next(&rest, '\n', &signer);
	val_put_lit(a, &props, "header.d", val_str(a, signer.ptr ? signer : SLICE("")));
	val_put_lit(a, &signature, "result", val_cstr(a, "pass"));
	val_put_lit(a, &signature, "props", props);
	val_push(a, &dkim, signature);
	struct dmarc_query q = { .from_domain = from, .dkim = &dkim, .spf = &spf, .draw = size % 100, .dns = { lookup, &rest } };
	if (dmarc_check(&q, a, &r) == 0)
		assert(r.disposition <= DMARC_PERMERROR && r.reason.ptr);
	arena_destroy(&a);
	return 0;
}
