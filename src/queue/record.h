/* SPDX-License-Identifier: Apache-2.0 */
/* record - short ways to write the records that queues themselves are the cause of. All yield. */
#pragma once
#include "logs/record.h"

/* "451 4.4.4 text" without a command; ENH as 404 for x.4.4, 0 for none: class from CODE, subject ENH / 100, detail ENH % 100. */
struct smtp_response response_of(uint16_t code, unsigned enh, struct slice content);
/* Fills type, message, site and response; the rest is zero. */
struct log_event record_of(enum log_type type, struct msg *m, struct slice site, struct smtp_response r);
/* Writes it; a log that cannot be written is reported, and the message goes on. */
void record_write(const struct log_event *ev);
/* A copy of the envelope with other recipients: what is left of a message after a part of them is done. */
struct msg_env *msg_env_with_recipients(const struct msg_env *e, const struct slice *rcpts, uint32_t n);
