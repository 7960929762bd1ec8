/* SPDX-License-Identifier: Apache-2.0 */
/* Templates of log lines: the binding to the template language. */
#include "logs/internal.h"

int log_template_compile(struct slice name, struct slice source, struct log_template **out)
{
	return err_set(E_UNSUPPORTED, "templates of log records are not supported by this build");
}

void log_template_free(struct log_template **t)
{
	*t = NULL;
}

int log_template_render(const struct log_template *t, const struct val *record, struct buf *out)
{
	return err_set(E_UNSUPPORTED, "templates of log records are not supported by this build");
}
