/* SPDX-License-Identifier: Apache-2.0 */
#include "smtp/server/reports.h"

int reports_handle(struct smtp_session *s, struct msg *m, const struct relay_verdict *v, bool *dropped, bool *refused)
{
	*dropped = false;
	*refused = !v->relay;
	return 0;
}
