/* SPDX-License-Identifier: Apache-2.0 */
#include "smtp/server/watch.h"

#include "base/utf8.h"
#include "rt/diag.h"

#define NSEC_PER_MSEC 1000000

struct arena *session_arena(struct smtp_session *s)
{
	if (s->arena == NULL)
		s->arena = arena_create();
	return s->arena;
}

struct arena *txn_arena(struct smtp_session *s)
{
	if (s->txn.arena == NULL)
		s->txn.arena = arena_create();
	return s->txn.arena;
}

void txn_reset(struct smtp_session *s)
{
	arena_destroy(&s->txn.arena);
	s->txn = (struct smtp_txn){ 0 };
}

int session_fill(struct smtp_session *s)
{
	int rc = session_flush(s);
	if (rc < 0)
		return rc;
	bool was_empty = rt_io_buffered(s->io).len == 0;
	s->waiting = true;
	/* with nothing read yet the stream waits without a buffer */
	if (was_empty)
		rc = rt_io_wait_readable(s->io, s->params->client_timeout / NSEC_PER_MSEC);
	bool arrived = rc == 0 && was_empty && rt_io_buffered(s->io).len > 0;
	if (rc == 0 && !arrived)
		rc = rt_io_fill(s->io);
	s->waiting = false;
	if (rc == -E_TIMEOUT)
		return reply_goodbye(s, "4.3.2 ", "idle too long");
	return rc;
}

/* Drops input up to and including the next CRLF. */
static int skip_line(struct smtp_session *s)
{
	for (;;) {
		struct slice in = rt_io_buffered(s->io);
		ptrdiff_t end = slice_find(in, SLICE("\r\n"));
		if (end >= 0) {
			rt_io_consume(s->io, (size_t)end + 2);
			return 1;
		}
		rt_io_consume(s->io, in.len > 0 ? in.len - 1 : 0);
		int rc = session_fill(s);
		if (rc < 0)
			return rc;
	}
}

int session_read_line(struct smtp_session *s, struct slice *line)
{
	size_t max = (size_t)s->params->line_length_hard_limit;
	for (;;) {
		struct slice in = rt_io_buffered(s->io);
		ptrdiff_t end = slice_find(in, SLICE("\r\n"));
		if (end >= 0 && (size_t)end <= max) {
			*line = slice_sub(in, 0, (size_t)end);
			rt_io_consume(s->io, (size_t)end + 2);
			return 0;
		}
		if (end >= 0 || in.len > max + 1)
			return skip_line(s);
		int rc = session_fill(s);
		if (rc < 0)
			return rc;
	}
}

static int cmd_fault(struct smtp_session *s, const struct smtp_cmd *cmd)
{
	if (cmd->fault == SMTP_FAULT_COMMAND)
		return replyf(s, 501, cmd->line, "%s: %s", smtp_fault_text(cmd->fault), err_text());
	return reply(s, 501, slice_from_cstr(smtp_fault_text(cmd->fault)), cmd->line);
}

static int run_command(struct smtp_session *s, struct slice line)
{
	struct smtp_cmd cmd;
	if (!utf8_valid(line))
		return reply_lit(s, 501, "5.5.2 Invalid UTF-8 in command", SLICE_NONE);
	if (smtp_cmd_parse(line, session_arena(s), &cmd) < 0)
		return cmd_fault(s, &cmd);
	switch (cmd.verb) {
	case SMTP_EHLO:		return cmd_ehlo(s, &cmd);
	case SMTP_HELO:		return cmd_helo(s, &cmd);
	case SMTP_MAIL:		return cmd_mail(s, &cmd);
	case SMTP_RCPT:		return cmd_rcpt(s, &cmd);
	case SMTP_DATA:		return cmd_data(s, &cmd);
	case SMTP_STARTTLS:	return cmd_starttls(s, &cmd);
	case SMTP_AUTH:		return cmd_auth(s, &cmd);
	case SMTP_XCLIENT:	return cmd_xclient(s, &cmd);
	case SMTP_NOOP:		return reply_lit(s, 250, "the goggles do nothing", SLICE_NONE);
	case SMTP_RSET:
		txn_reset(s);
		return reply_lit(s, 250, "Reset state", SLICE_NONE);
	case SMTP_QUIT: {
		int rc = reply_lit(s, 221, "So long, and thanks for all the fish!", SLICE_NONE);
		s->over = true;
		return rc;
	}
	default:		return reply_lit(s, 502, "5.5.1 Command unimplemented", cmd.line);
	}
}

/* Passwords are not for those who watch. */
static int run_watched(struct smtp_session *s, struct slice line)
{
	bool secret = slice_starts_nocase(line, SLICE("AUTH "));
	watch_read(s, secret ? SLICE("AUTH (not shown)") : line);
	return run_command(s, line);
}

/* Reads and answers commands until the session is over. */
int session_loop(struct smtp_session *s)
{
	while (!s->over) {
		struct slice line;
		arena_destroy(&s->arena);
		int rc = session_read_line(s, &line);
		if (rc < 0)
			return rc;
		if (s->follow_with_421)
			rc = reply_goodbye(s, "", "disconnecting due to previous error");
		else if (rc > 0)
			rc = reply_lit(s, 500, "5.2.3 line too long", SLICE_NONE);
		else
			rc = run_watched(s, line);
		if (rc < 0)
			return rc;
	}
	return 0;
}
