/* SPDX-License-Identifier: Apache-2.0 */
/* Policies, the hosts they permit, and records. */
#include "mailauth/mta_sts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice text = slice_new(data, size), id;
	struct mta_sts_policy *p;

	if (mta_sts_policy_parse(text, &p) == 0) {
		(void)mta_sts_policy_permits(p, SLICE("mx.sts.example."));
		(void)mta_sts_policy_permits(p, slice_sub(text, 0, 64));
		mta_sts_policy_unref(&p);
	}
	if (mta_sts_record_parse(text, &id) < 0)
		err_clear();
	return 0;
}
