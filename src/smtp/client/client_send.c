/* SPDX-License-Identifier: Apache-2.0 */
/* client_send - one transaction: RSET, MAIL, RCPT, DATA, the body. */
#include <stdlib.h>
#include "base/xalloc.h"
#include "smtp/client/client_int.h"

enum step_kind { STEP_RSET, STEP_MAIL, STEP_RCPT, STEP_DATA, STEP_DOT };
struct step {
	enum step_kind kind;
	struct slice line;		/* with CRLF */
	int rc;				/* 0: R is the answer; else why there is none */
	struct smtp_response r;
	struct slice error;
};
struct transaction {
	struct smtp_client *c;
	const struct smtp_mail *mail;
	struct arena *a;
	struct smtp_result *out;
	struct step *steps;
	uint32_t n, first_rcpt;
};

static int64_t timeout_of(const struct smtp_client *c, enum step_kind k)
{
	switch (k) {
	case STEP_RSET: return c->conf.rset_ms;
	case STEP_MAIL: return c->conf.mail_ms;
	case STEP_RCPT: return c->conf.rcpt_ms;
	case STEP_DATA: return c->conf.data_ms;
	case STEP_DOT: break;
	}
	return c->conf.data_dot_ms;
}

static bool has_8bit(struct slice s)
{
	size_t i = 0;

	for (; i + 64 <= s.len; i += 64) {
		uint64_t w[8], all = 0;
		memcpy(w, s.ptr + i, sizeof w);
		for (size_t k = 0; k < ARRAY_LEN(w); k++)
			all |= w[k];
		if (all & 0x8080808080808080u)
			return true;
	}
	for (; i < s.len; i++)
		if (s.ptr[i] & 0x80)
			return true;
	return false;
}

/* -- results -- */

static struct smtp_response keep(struct transaction *t, const struct smtp_response *r)
{
	struct smtp_response kept = *r;

	kept.content = arena_dup(t->a, r->content);
	return kept;
}

static int answer_all(struct transaction *t, const struct smtp_response *r)
{
	t->out->how = SMTP_SENT_ANSWERED;
	t->out->rcpts = arena_alloc(t->a, t->mail->n_rcpts * sizeof *t->out->rcpts);
	for (uint32_t i = 0; i < t->mail->n_rcpts; i++)
		t->out->rcpts[i] = *r;
	return 0;
}

static int refuse(struct transaction *t, uint16_t detail, const char *text)
{
	struct smtp_response r = { .code = 554, .has_enhanced = true, .enh_class = 5, .enh_subject = 6, .enh_detail = detail, .content = slice_from_cstr(text) };
	return answer_all(t, &r);
}

static int failed(struct transaction *t, int rc, struct slice error, struct slice command)
{
	if (rc == -E_CANCELED)
		return rc;
	if (rc == -E_SHUTDOWN)
		return -E_TIMEOUT;
	t->out->how = rc == -E_TIMEOUT ? SMTP_SENT_TIMEOUT : SMTP_SENT_BROKEN;
	t->out->error = error;
	t->out->command = rc == -E_PROTO ? SLICE_NONE : command; /* a malformed answer answers nothing */
	return 0;
}

static int failed_now(struct transaction *t, int rc, struct slice command)
{
	return failed(t, rc, arena_dup(t->a, slice_from_cstr(err_text())), command);
}

/* -- the envelope -- */

static void add_step(struct transaction *t, enum step_kind kind, struct slice line)
{
	t->steps[t->n++] = (struct step){ .kind = kind, .line = line };
}

/* 1: the peer cannot take this, and every recipient has its answer. */
static int plan(struct transaction *t)
{
	const struct smtp_mail *m = t->mail;
	struct smtp_client *c = t->c;
	bool body8 = m->checked_8bit ? m->data_8bit : has_8bit(m->data), envelope8 = has_8bit(m->sender);

	for (uint32_t i = 0; i < m->n_rcpts && !envelope8; i++)
		envelope8 = has_8bit(m->rcpts[i]);
	bool offers_body = smtp_client_offers(c, "8BITMIME"), offers_utf8 = smtp_client_offers(c, "SMTPUTF8");
	if (body8 && !offers_body && !c->conf.ignore_8bit)
		return refuse(t, 3, "KumoMTA internal: DATA is 8bit, destination does not support 8BITMIME. "
				    "Conversion via msg:check_fix_conformance during reception is required"), 1;
	if (envelope8 && !offers_utf8 && !c->conf.ignore_8bit)
		return refuse(t, 7, "KumoMTA internal: envelope is 8bit, destination does not support SMTPUTF8."), 1;
	t->steps = arena_alloc(t->a, (m->n_rcpts + 3) * sizeof *t->steps);
	if (c->rset_next)
		add_step(t, STEP_RSET, SLICE("RSET\r\n"));
	add_step(t, STEP_MAIL, arena_slicef(t->a, "MAIL FROM:<%.*s>%s%s\r\n", SLICE_ARG(m->sender), body8 && offers_body ? " BODY=8BITMIME" : "",
					    envelope8 && offers_utf8 ? " SMTPUTF8" : ""));
	t->first_rcpt = t->n;
	for (uint32_t i = 0; i < m->n_rcpts; i++)
		add_step(t, STEP_RCPT, arena_slicef(t->a, "RCPT TO:<%.*s>\r\n", SLICE_ARG(m->rcpts[i])));
	add_step(t, STEP_DATA, SLICE("DATA\r\n"));
	return 0;
}

static void step_read(struct transaction *t, struct step *s)
{
	s->rc = client_read_reply(t->c, s->line, timeout_of(t->c, s->kind));
	if (s->rc == 0)
		s->r = keep(t, &t->c->reply.r);
	else
		s->error = arena_dup(t->a, slice_from_cstr(err_text()));
}

static void put_step(struct transaction *t, const struct step *s)
{
	client_trace(t->c, SMTP_TRACE_WRITE, s->line);
	rt_io_put(t->c->io, s->line);
}

/* All in one segment, then the answers. */
static int run_pipelined(struct transaction *t)
{
	struct buf all = { 0 };
	int64_t total = 0;

	for (uint32_t i = 0; i < t->n; i++) {
		put_step(t, &t->steps[i]);
		total += timeout_of(t->c, t->steps[i].kind);
	}
	int rc = client_flush(t->c, t->steps[0].line, total);
	if (rc < 0) {
		for (uint32_t i = 0; i < t->n; i++)
			buf_slice(&all, t->steps[i].line);
		rc = failed_now(t, rc, arena_dup(t->a, buf_view(&all)));
		buf_fini(&all);
		return rc < 0 ? rc : 1;
	}
	for (uint32_t i = 0; i < t->n; i++)
		step_read(t, &t->steps[i]);
	return 0;
}

static int run_one_by_one(struct transaction *t)
{
	for (uint32_t i = 0; i < t->n; i++) {
		struct step *s = &t->steps[i];
		if (t->c->io == NULL) { /* an earlier step says why */
			s->rc = -E_CLOSED;
			s->error = SLICE("the socket was closed in response to an earlier issue");
			continue;
		}
		put_step(t, s);
		int rc = client_flush(t->c, s->line, timeout_of(t->c, s->kind));
		if (rc < 0) {
			s->rc = rc;
			s->error = arena_dup(t->a, slice_from_cstr(err_text()));
			continue;
		}
		step_read(t, s);
	}
	return 0;
}

/* -- the body -- */

struct parts {
	struct slice *p;
	size_t n, cap;
};

static void part_add(struct parts *ps, struct slice s)
{
	if (ps->n == ps->cap)
		ps->p = xreallocarray(ps->p, ps->cap = ps->cap ? ps->cap * 2 : 8, sizeof *ps->p);
	ps->p[ps->n++] = s;
}

/* The next line break behind which a line begins with a dot. By memchr, line by line: glibc's memmem goes byte by byte for so short a needle. */
static const char *dot_line(const char *p, const char *end)
{
	while ((p = memchr(p, '\n', (size_t)(end - p))) != NULL)
		if (++p < end && *p == '.')
			return p - 1;
	return NULL;
}

/* Views of DATA, with a dot in front of every line that begins with one, and the end of the message (RFC 5321 4.5.2). */
static struct parts stuff(struct slice data)
{
	struct parts ps = { 0 };
	size_t from = 0;

	if (data.len && data.ptr[0] == '.')
		part_add(&ps, SLICE("."));
	for (size_t at = 0; at < data.len;) {
		const char *lf = dot_line(data.ptr + at, data.ptr + data.len);
		if (lf == NULL)
			break;
		at = (size_t)(lf - data.ptr) + 1;
		part_add(&ps, slice_sub(data, from, at - from));
		part_add(&ps, SLICE("."));
		from = at;
	}
	part_add(&ps, slice_sub(data, from, SIZE_MAX));
	bool ended = data.len && data.ptr[data.len - 1] == '\n';
	part_add(&ps, ended ? SLICE(".\r\n") : SLICE("\r\n.\r\n"));
	return ps;
}

static void trace_body(struct smtp_client *c, const struct parts *ps)
{
	struct buf all = { 0 };

	for (size_t i = 0; i < ps->n; i++)
		buf_slice(&all, ps->p[i]);
	client_trace(c, SMTP_TRACE_TEXT, buf_view(&all));
	buf_fini(&all);
}

static int write_body(struct transaction *t, struct slice data)
{
	struct parts ps = stuff(data);

	if (t->c->conf.trace)
		trace_body(t->c, &ps);
	int rc = client_write(t->c, ps.p, (int)ps.n, t->c->conf.data_ms);
	free(ps.p);
	if (rc == -E_TIMEOUT)
		(void)!err_set(E_TIMEOUT, "Timed Out sending message payload data");
	else if (rc == -E_IO || rc == -E_CLOSED || rc == -E_TLS)
		err_prefix("Error writing message payload data");
	return rc == -E_TIMEOUT ? -E_IO : rc; /* a transport error like any other: nobody was asked anything */
}

/* -- verdicts -- */

/* By its first digit (RFC 5321 4.2): 251 is an acceptance as well. */
static bool positive(const struct smtp_response *r)
{
	return r->code >= 200 && r->code < 300;
}

static bool accepted(const struct step *s)
{
	return s->rc == 0 && positive(&s->r);
}

static struct step *rcpt_step(struct transaction *t, uint32_t i)
{
	return &t->steps[t->first_rcpt + i];
}

static uint32_t count_accepted(struct transaction *t)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < t->mail->n_rcpts; i++)
		n += accepted(rcpt_step(t, i));
	return n;
}

static int answer_each(struct transaction *t)
{
	t->out->how = SMTP_SENT_ANSWERED;
	t->out->rcpts = arena_alloc(t->a, t->mail->n_rcpts * sizeof *t->out->rcpts);
	for (uint32_t i = 0; i < t->mail->n_rcpts; i++)
		t->out->rcpts[i] = rcpt_step(t, i)->r;
	return 0;
}

static int first_failure(struct transaction *t, uint32_t from, uint32_t to)
{
	for (uint32_t i = from; i < to; i++)
		if (t->steps[i].rc < 0) {
			int rc = failed(t, t->steps[i].rc, t->steps[i].error, t->steps[i].line);
			return rc < 0 ? rc : 1;
		}
	return 0;
}

/* The envelope's answers in order: the first that ends the transaction decides. 0: DATA may go on; 1: there is a result. */
static int judge_envelope(struct transaction *t, bool broken)
{
	struct step *mail = &t->steps[t->first_rcpt - 1];
	int rc = first_failure(t, 0, t->first_rcpt);

	if (rc != 0)
		return rc;
	if (mail != t->steps && !positive(&t->steps[0].r))
		return answer_all(t, &t->steps[0].r), 1;
	if (broken && !positive(&mail->r))
		return answer_all(t, &mail->r), 1;
	if ((rc = first_failure(t, t->first_rcpt, t->n - 1)) != 0)
		return rc;
	if (broken && count_accepted(t) == 0)
		return answer_each(t), 1;
	return first_failure(t, t->n - 1, t->n);
}

/* DATA was accepted although there is nobody to send to: the shortest way out is an empty message (RFC 2920 3.1). */
static int send_nothing(struct transaction *t)
{
	struct slice dot = SLICE(".\r\n");

	client_trace(t->c, SMTP_TRACE_WRITE, dot);
	int rc = client_write(t->c, &dot, 1, t->c->conf.data_ms);
	if (rc == 0)
		rc = client_read_reply(t->c, dot, t->c->conf.data_dot_ms);
	return rc < 0 ? failed_now(t, rc, dot) < 0 ? rc : 1 : 0;
}

/* Of LMTP's answers those that came stand, or the message would go to these recipients twice: the others, from FROM on, hear what happened. */
static int answer_rest(struct transaction *t, uint32_t from, struct slice command)
{
	struct smtp_response r = { .code = 421, .has_enhanced = true, .enh_class = 4, .enh_subject = 4, .enh_detail = 2, .command = command };

	r.content = arena_slicef(t->a, "KumoMTA internal: failed to send message: %s", err_text());
	for (uint32_t i = from; i < t->mail->n_rcpts; i++)
		if (accepted(rcpt_step(t, i)))
			t->out->rcpts[i] = r;
	client_close(t->c);
	return 0;
}

/* LMTP answers for each accepted recipient (RFC 2033 4.2), SMTP once for all. */
static int read_final(struct transaction *t)
{
	struct slice dot = SLICE(".\r\n");
	struct smtp_response r = { 0 };
	bool have = false;

	answer_each(t);
	for (uint32_t i = 0; i < t->mail->n_rcpts; i++) {
		if (!accepted(rcpt_step(t, i)))
			continue;
		if (!have || t->c->lmtp) {
			int rc = client_read_reply(t->c, dot, t->c->conf.data_dot_ms);
			if (rc < 0)
				return have ? answer_rest(t, i, dot) : failed_now(t, rc, dot);
			r = keep(t, &t->c->reply.r);
			have = true;
		}
		t->out->rcpts[i] = r;
		t->out->delivered |= positive(&r);
	}
	if (t->out->delivered)
		t->c->rset_next = t->c->conf.rset;
	else if (!t->c->lmtp)
		return answer_all(t, &r);
	return 0;
}

static int finish(struct transaction *t)
{
	struct step *mail = &t->steps[t->first_rcpt - 1], *data = &t->steps[t->n - 1];
	uint32_t n = count_accepted(t);
	int rc;

	if (data->r.code == 354 && (!positive(&mail->r) || n == 0) && (rc = send_nothing(t)) != 0)
		return rc < 0 ? rc : 0;
	if (!positive(&mail->r))
		return answer_all(t, &mail->r);
	if (n == 0)
		return answer_each(t);
	if (data->r.code != 354)
		return answer_all(t, &data->r);
	if ((rc = write_body(t, t->mail->data)) < 0)
		return failed_now(t, rc, SLICE_NONE);
	return read_final(t);
}

int smtp_client_send(struct smtp_client *c, const struct smtp_mail *mail, struct arena *a, struct smtp_result *out)
{
	struct transaction t = { .c = c, .mail = mail, .a = a, .out = out };
	bool broken = false;
	int rc;

	OBJ_CHECK(c, SMTP_CLIENT_MAGIC);
	assert(mail->n_rcpts > 0);
	*out = (struct smtp_result){ 0 };
	if (c->io == NULL)
		return failed(&t, -E_CLOSED, SLICE("the socket was closed in response to an earlier issue"), SLICE_NONE);
	if (plan(&t) == 1)
		return 0;
	c->rset_next = true; /* unless all goes well */
	rc = c->pipelining ? run_pipelined(&t) : run_one_by_one(&t);
	if (rc != 0)
		return rc < 0 ? rc : 0;
	for (uint32_t i = 0; i < t.n; i++)
		broken |= t.steps[i].rc < 0;
	rc = judge_envelope(&t, broken);
	if (rc != 0) {
		if (t.steps[t.n - 1].r.code == 354)
			client_close(c); /* it waits for a message: whatever else is said would be part of one */
		return rc < 0 ? rc : 0;
	}
	return finish(&t);
}
