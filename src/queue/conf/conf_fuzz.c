/* SPDX-License-Identifier: Apache-2.0 */
/* Options that are accepted print to options that are accepted again, with the same text; names of queues come apart without going astray. */
#include <stdlib.h>
#include "queue/conf/config.h"
#include "queue/name.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void drop_nulls(struct val *v)
{
	for (uint32_t i = v->type == VAL_OBJ ? v->n : 0; i-- > 0;)
		if (v->members[i].val.type == VAL_NULL)
			val_remove(v, v->members[i].key);
}

/* Keys print as octets and the reserved protocols as null: those have no way back. */
static bool has_no_way_back(const struct val *v)
{
	static const char *const keys[] = { "tls_certificate", "tls_private_key", "smtp_auth_plain_password" };
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		if (val_get(v, slice_from_cstr(keys[i])))
			return true;
	return false;
}

static void round_trip(enum conf_kind_id kind, const struct val *v, struct arena *a)
{
	struct conf *c, *again;
	struct val out, out2;
	if (has_no_way_back(v) || conf_make(kind, v, &c) < 0)
		return;
	conf_print(c, false, a, &out);
	drop_nulls(&out);
	if (conf_make(kind, &out, &again) == 0) {
		conf_print(again, false, a, &out2);
		drop_nulls(&out2);
		if (!val_eq(&out, &out2))
			abort();
		conf_unref(&again);
	}
	conf_unref(&c);
}

static void check_name(struct slice s)
{
	struct queue_name n;
	queue_name_parse(s, &n);
	size_t parts = n.campaign.len + n.tenant.len + n.domain.len + n.routing_domain.len;
	if (parts > s.len || s.len - parts > 3)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_create();
	struct val v;
	check_name(slice_new(data, size));
	if (json_parse(slice_new(data, size), a, &v) == 0 && v.type == VAL_OBJ)
		for (int k = 0; k < CONF_KINDS; k++)
			round_trip(k, &v, a);
	arena_destroy(&a);
	return 0;
}
