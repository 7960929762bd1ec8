/* SPDX-License-Identifier: Apache-2.0 */
#include "smtp/server/session.h"

int cmd_starttls(struct smtp_session *s, const struct smtp_cmd *cmd)
{
	return reply_lit(s, 454, "4.7.0 TLS not available", cmd->line);
}
