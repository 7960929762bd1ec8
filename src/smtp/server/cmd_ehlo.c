/* SPDX-License-Identifier: Apache-2.0 */
#include "smtp/server/session.h"

/* RFC 5321 4.1.1.1. SIZE is not among them, as upstream has it: a policy adds it in smtp_server_ehlo. */
static void offer_extensions(struct smtp_session *s, struct val *list)
{
	struct arena *a = session_arena(s);
	*list = val_list();
	val_push(a, list, val_cstr(a, "PIPELINING"));
	val_push(a, list, val_cstr(a, "ENHANCEDSTATUSCODES"));
	val_push(a, list, val_cstr(a, "8BITMIME"));
	val_push(a, list, val_cstr(a, "SMTPUTF8"));
	val_push(a, list, val_cstr(a, s->tls ? "AUTH PLAIN" : "STARTTLS"));
	if (s->params->allow_xclient)
		val_push(a, list, val_cstr(a, "XCLIENT ADDR PORT DESTADDR DESTPORT"));
}

int cmd_ehlo(struct smtp_session *s, const struct smtp_cmd *cmd)
{
	struct val extensions;
	offer_extensions(s, &extensions);
	int rc = event_ehlo(s, cmd->arg, cmd->line, &extensions);
	if (rc != 0)
		return rc < 0 ? rc : 0;
	struct buf text = { 0 };
	buf_printf(&text, "%.*s Aloha %.*s", SLICE_ARG(s->params->hostname), SLICE_ARG(cmd->arg));
	for (uint32_t i = 0; i < extensions.n; i++) {
		buf_putc(&text, '\n');
		buf_slice(&text, extensions.items[i].s);
	}
	rc = reply(s, 250, buf_view(&text), SLICE_NONE);
	buf_fini(&text);
	conn_meta_set_str(s->meta, "ehlo_domain", cmd->arg);	/* smtp_server_rewrite_response does not see it yet */
	return rc;
}

int cmd_helo(struct smtp_session *s, const struct smtp_cmd *cmd)
{
	int rc = event_ehlo(s, cmd->arg, cmd->line, NULL);
	if (rc != 0)
		return rc < 0 ? rc : 0;
	rc = replyf(s, 250, SLICE_NONE, "Hello %.*s!", SLICE_ARG(cmd->arg));
	conn_meta_set_str(s->meta, "ehlo_domain", cmd->arg);
	return rc;
}
