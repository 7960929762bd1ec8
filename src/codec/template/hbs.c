/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/template/tpl.h"

int hbs_compile(struct template *t)
{
	return err_set(E_UNSUPPORTED, "Handlebars templates are not there yet (in %.*s)", SLICE_ARG(t->name));
}

int hbs_render(const struct template *t, const struct val *context, struct buf *out)
{
	(void)context;
	(void)out;
	return err_set(E_UNSUPPORTED, "Handlebars templates are not there yet (in %.*s)", SLICE_ARG(t->name));
}
