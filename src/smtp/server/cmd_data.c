/* SPDX-License-Identifier: Apache-2.0 */
#include "smtp/server/data_reader.h"
#include "smtp/server/metrics.h"
#include "smtp/server/watch.h"

/* Yields. */
static int read_text(struct smtp_session *s, struct data_reader *r)
{
	for (;;) {
		struct slice in = rt_io_buffered(s->io);
		size_t taken = 0;
		bool end = in.len > 0 && data_reader_feed(r, in, &taken);
		rt_io_consume(s->io, taken);
		if (end)
			return 0;
		int rc = session_fill(s);
		if (rc < 0)
			return rc;
	}
}

/* A client that goes away in the middle leaves nothing behind. */
static int take_text(struct smtp_session *s, struct data_reader *r)
{
	if (r->too_big)
		return reply_lit(s, 552, "5.3.4 message too big", SLICE("DATA"));
	if (r->line_too_long)
		return reply_lit(s, 500, "5.2.3 line too long", SLICE("DATA"));
	if (r->bare_line_end && s->params->invalid_line_endings == SMTP_LINES_DENY) {
		s->txn.active = false;
		s->txn.n = 0;
		return reply_lit(s, 552, "5.6.0 message data must use CRLF for line endings", SLICE("DATA"));
	}
	if (r->bare_line_end && s->params->invalid_line_endings == SMTP_LINES_FIX) {
		struct buf fixed = { 0 };
		data_fix_line_ends(buf_view(&r->out), &fixed);
		buf_fini(&r->out);
		r->out = fixed;
	}
	int64_t start = rt_now_us_exact();
	int rc = accept_message(s, &r->out);
	smtp_metrics_observe(SMTP_DUR_PROCESS_DATA, (double)(rt_now_us_exact() - start) / 1e6);
	smtp_metrics_observe(SMTP_DUR_TRANSACTION, (double)(rt_now_us_exact() - s->txn.started_us) / 1e6);
	return rc;
}

int cmd_data(struct smtp_session *s, const struct smtp_cmd *cmd)
{
	if (!s->txn.active)
		return reply_lit(s, 503, "5.5.0 MAIL FROM must be issued first", cmd->line);
	if (s->txn.n == 0)
		return reply_lit(s, 503, "5.5.0 RCPT TO must be issued first", cmd->line);
	int rc = reply_lit(s, 354, "Send body; end with CRLF.CRLF", SLICE_NONE);
	if (rc < 0)
		return rc;
	struct data_reader r;
	data_reader_init(&r, (size_t)s->params->max_message_size, (size_t)s->params->line_length_hard_limit);
	int64_t start = rt_now_us_exact();
	rc = read_text(s, &r);
	if (rc == 0) {
		smtp_metrics_observe(SMTP_DUR_READ_DATA, (double)(rt_now_us_exact() - start) / 1e6);
		watch_data(s, buf_view(&r.out));
		rc = take_text(s, &r);
		txn_reset(s);
	}
	data_reader_fini(&r);
	return rc;
}
