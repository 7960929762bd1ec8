/* SPDX-License-Identifier: Apache-2.0 */
/* Templates of log lines: Jinja over the fields of the record, which as a whole is `log_record`. */
#include <stdlib.h>
#include "base/xalloc.h"
#include "codec/template.h"
#include "logs/internal.h"

struct log_template {
	struct template *t;
};

int log_template_compile(struct slice name, struct slice source, struct log_template **out)
{
	struct template *t;
	int rc = template_compile(TEMPLATE_JINJA, name, source, &t);
	if (rc < 0)
		return rc;
	*out = xmalloc(sizeof **out);
	(*out)->t = t;
	return 0;
}

void log_template_free(struct log_template **tp)
{
	struct log_template *t = *tp;
	*tp = NULL;
	template_unref(&t->t);
	free(t);
}

int log_template_render(const struct log_template *t, const struct val *record, struct buf *out)
{
	/* the record's own members, and beside them the record: values are shared, only the list of members is new */
	struct arena *a = arena_create();
	struct val context = val_obj();
	for (uint32_t i = 0; i < record->n; i++)
		val_put(a, &context, record->members[i].key, record->members[i].val);
	val_put_lit(a, &context, "log_record", *record);
	int rc = template_render(t->t, &context, out);
	arena_destroy(&a);
	return rc;
}
