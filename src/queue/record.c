/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/record.h"
#include "rt/diag.h"

struct smtp_response response_of(uint16_t code, unsigned enh, struct slice content)
{
	return (struct smtp_response){ .code = code, .has_enhanced = enh != 0, .enh_class = code / 100, .enh_subject = enh / 100, .enh_detail = enh % 100, .content = content };
}

struct log_event record_of(enum log_type type, struct msg *m, struct slice site, struct smtp_response r)
{
	return (struct log_event){ .type = type, .msg = m, .site = site, .response = r };
}

void record_write(const struct log_event *ev)
{
	int rc = log_disposition(ev);
	if (rc < 0)
		diag_error("kumo.queue", "a %s record could not be logged: %s", log_type_name(ev->type), err_text());
}

struct msg_env *msg_env_with_recipients(const struct msg_env *e, const struct slice *rcpts, uint32_t n)
{
	struct msg_env *c = msg_env_create(e->sender, rcpts, n);
	c->meta = val_copy(c->arena, &e->meta);
	c->schedule = e->schedule;
	return c;
}
