/* SPDX-License-Identifier: Apache-2.0 */
/* XCLIENT: a trusted client says where the mail came from (allow_xclient). ADDR, PORT, DESTADDR and DESTPORT; no other attribute. */
#include "smtp/server/session.h"

static int read_port(struct slice v, uint16_t *out)
{
	uint64_t n;
	if (slice_to_u64(v, &n) < 0 || n > UINT16_MAX)
		return -E_INVAL;
	*out = (uint16_t)n;
	return 0;
}

static int take_param(const struct smtp_param *p, struct netaddr *peer, struct netaddr *local, bool *known)
{
	*known = true;
	if (slice_eq_nocase(p->name, SLICE("ADDR")))
		return ipaddr_parse(p->value, &peer->ip);
	if (slice_eq_nocase(p->name, SLICE("DESTADDR")))
		return ipaddr_parse(p->value, &local->ip);
	if (slice_eq_nocase(p->name, SLICE("PORT")))
		return read_port(p->value, &peer->port);
	if (slice_eq_nocase(p->name, SLICE("DESTPORT")))
		return read_port(p->value, &local->port);
	*known = false;
	return -E_INVAL;
}

int cmd_xclient(struct smtp_session *s, const struct smtp_cmd *cmd)
{
	struct netaddr peer = s->peer, local = s->local;
	if (!s->params->allow_xclient)
		return reply_lit(s, 550, "insufficient authorization", SLICE_NONE);
	if (s->txn.active)
		return reply_lit(s, 503, "mail transaction in progress", SLICE_NONE);
	for (uint32_t i = 0; i < cmd->n_params; i++) {
		const struct smtp_param *p = &cmd->params[i];
		bool known;
		if (take_param(p, &peer, &local, &known) < 0)
			return known ? replyf(s, 501, SLICE_NONE, "%.*s %.*s is invalid", SLICE_ARG(p->name), SLICE_ARG(p->value))
				     : replyf(s, 501, SLICE_NONE, "parameter %.*s is not supported", SLICE_ARG(p->name));
	}
	s->peer = peer;
	s->local = local;
	int rc = session_configure(s);
	if (rc != 0)
		return rc < 0 ? rc : 0;
	return replyf(s, 220, SLICE_NONE, "%.*s %.*s", SLICE_ARG(s->params->hostname), SLICE_ARG(s->params->banner));
}
