/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include "rt/test_util.h"
#include "smtp/client/client.h"

/*
 * A peer that follows a script: each entry is what it says, then how many lines it reads before the next. "" says nothing; "!" closes;
 * "@" reads a message up to its dot.
 */
struct peer {
	struct rt_io *io;
	const char *const *script;
	struct buf heard;
};

static void hear(struct peer *p)
{
	struct slice line;

	if (rt_io_read_line(p->io, 5000, &line, NULL) < 0)
		return;
	buf_slice(&p->heard, line);
	buf_putc(&p->heard, '\n');
}

static void peer_run(void *arg)
{
	struct peer *p = arg;

	rt_io_set_timeout(p->io, 2000, 2000);
	for (const char *const *s = p->script; *s; s++) {
		if (strcmp(*s, "<") == 0) {
			hear(p);
		} else if (strcmp(*s, "!") == 0) {
			break;
		} else if (strcmp(*s, "@") == 0) {
			do
				hear(p);
			while (p->heard.len >= 2 && strncmp(p->heard.ptr + p->heard.len - 2, ".\n", 2) != 0);
		} else {
			rt_io_put(p->io, slice_from_cstr(*s));
			(void)!rt_io_flush(p->io);
		}
	}
	rt_io_close(&p->io);
}

struct conversation {
	struct peer peer;
	struct rt_fiber *fiber;
	struct smtp_client *c;
	struct arena *a;
	struct smtp_result r;
};

static void begin(struct conversation *v, const char *const *script, struct smtp_client_conf conf)
{
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd), 0);
	*v = (struct conversation){ .peer = { rt_io_from_fd(fd[1]), script }, .a = arena_create() };
	conf.banner_ms = conf.hello_ms = conf.starttls_ms = conf.auth_ms = conf.mail_ms = conf.rcpt_ms = conf.data_ms = conf.data_dot_ms = conf.rset_ms = 200;
	v->c = smtp_client_create(rt_io_from_fd(fd[0]), &conf);
	v->fiber = rt_fiber_start("peer", peer_run, &v->peer);
}

static void end(struct conversation *v, const char *heard)
{
	smtp_client_destroy(&v->c);
	assert_int_equal(rt_fiber_join(v->fiber), 0);
	rt_fiber_unref(&v->fiber);
	if (heard)
		assert_string_equal(buf_cstr(&v->peer.heard), heard);
	buf_fini(&v->peer.heard);
	arena_destroy(&v->a);
}

static const struct slice RCPTS[] = { SLICE_INIT("r1@a.example"), SLICE_INIT("r2@a.example") };

static void send_data(struct conversation *v, uint32_t n, const char *data)
{
	struct smtp_mail m = { .sender = SLICE("s@from.example"), .rcpts = RCPTS, .n_rcpts = n, .data = slice_from_cstr(data) };

	assert_int_equal(smtp_client_send(v->c, &m, v->a, &v->r), 0);
}

static void greet(struct conversation *v)
{
	assert_int_equal(smtp_client_banner(v->c), 0);
	assert_int_equal(smtp_client_hello(v->c, SLICE("me.example"), false), 0);
}

static const struct smtp_client_conf PIPE = { .pipelining = true, .rset = true };
static const struct smtp_client_conf PLAIN = { .rset = true };

static void good_body(void *arg)
{
	static const char *const script[] = { "220 hi\r\n", "<", "250-sink\r\n250-PIPELINING\r\n250 8bitmime \r\n", "<", "<", "<", "250 ok\r\n250 ok\r\n354 go\r\n", "@",
		"250 2.0.0 queued\r\n", "<", "<", "<", "<", "250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n", "@", "250 again\r\n", "<", "221 bye\r\n", NULL };
	struct conversation v;

	begin(&v, script, PIPE);
	greet(&v);
	assert_true(smtp_client_offers(v.c, "8BITMIME"));
	assert_false(smtp_client_offers(v.c, "8BIT"));
	send_data(&v, 1, ".a\r\nb.\r\n..c\r\nd");
	assert_int_equal(v.r.how, SMTP_SENT_ANSWERED);
	assert_true(v.r.delivered);
	assert_int_equal(v.r.rcpts[0].code, 250);
	assert_true(v.r.rcpts[0].has_enhanced && slice_eq_cstr(v.r.rcpts[0].content, "queued"));
	assert_true(slice_eq_cstr(v.r.rcpts[0].command, ".\r\n"));
	assert_int_equal(smtp_client_check(v.c), 0);
	send_data(&v, 1, "\xc3\xa9\r\n");
	assert_int_equal(v.r.rcpts[0].code, 250);
	smtp_client_quit(v.c, 100);
	end(&v, "EHLO me.example\nMAIL FROM:<s@from.example>\nRCPT TO:<r1@a.example>\nDATA\n..a\nb.\n...c\nd\n.\nRSET\n"
		"MAIL FROM:<s@from.example> BODY=8BITMIME\nRCPT TO:<r1@a.example>\nDATA\n\xc3\xa9\n.\nQUIT\n");
}

static void refusals_body(void *arg)
{
	static const char *const no_banner[] = { "554 5.7.1 refused\r\n", NULL };
	static const char *const no_ehlo[] = { "220 hi\r\n", "<", "502 no\r\n", NULL };
	static const char *const no_mail[] = { "220 hi\r\n", "<", "250-x\r\n250 PIPELINING\r\n", "<", "<", "<", "450 later\r\n250 ok\r\n354 go\r\n", "<", "250 queued\r\n", NULL };
	static const char *const part[] = { "220 hi\r\n", "<", "250 x\r\n", "<", "250 ok\r\n", "<", "550 5.1.1 unknown\r\n", "<", "250 ok\r\n", "<", "354 go\r\n", "@", "250 queued\r\n", NULL };
	static const char *const none[] = { "220 hi\r\n", "<", "250 x\r\n", "<", "250 ok\r\n", "<", "550 one\r\n", "<", "551 two\r\n", "<", "503 no\r\n", NULL };
	static const char *const at_dot[] = { "220 hi\r\n", "<", "250 x\r\n", "<", "250 ok\r\n", "<", "250 ok\r\n", "<", "354 go\r\n", "@", "452-4.2.2 full\r\n452 4.2.2 really\r\n", NULL };
	struct conversation v;

	begin(&v, no_banner, PIPE);
	assert_int_equal(smtp_client_banner(v.c), -E_REJECT);
	assert_string_equal(err_text(), "Command rejected: 554 5.7.1 refused");
	end(&v, "");
	begin(&v, no_ehlo, PIPE);
	assert_int_equal(smtp_client_banner(v.c), 0);
	assert_int_equal(smtp_client_hello(v.c, SLICE("me"), true), -E_REJECT);
	end(&v, "LHLO me\n");
	begin(&v, no_mail, PIPE);
	greet(&v);
	send_data(&v, 1, "x\r\n");
	assert_int_equal(v.r.rcpts[0].code, 450);
	assert_true(slice_eq_cstr(v.r.rcpts[0].command, "MAIL FROM:<s@from.example>\r\n"));
	assert_true(smtp_client_connected(v.c));
	end(&v, "EHLO me.example\nMAIL FROM:<s@from.example>\nRCPT TO:<r1@a.example>\nDATA\n.\n");
	begin(&v, part, PLAIN);
	greet(&v);
	send_data(&v, 2, "x\r\n");
	assert_true(v.r.delivered);
	assert_int_equal(v.r.rcpts[0].code, 550);
	assert_int_equal(v.r.rcpts[1].code, 250);
	end(&v, NULL);
	begin(&v, none, PLAIN);
	greet(&v);
	send_data(&v, 2, "x\r\n");
	assert_false(v.r.delivered);
	assert_int_equal(v.r.rcpts[0].code, 550);
	assert_int_equal(v.r.rcpts[1].code, 551);
	end(&v, NULL);
	begin(&v, at_dot, PLAIN);
	greet(&v);
	send_data(&v, 1, "x\r\n");
	assert_int_equal(v.r.rcpts[0].code, 452);
	assert_true(slice_eq_cstr(v.r.rcpts[0].content, "full\nreally"));
	end(&v, NULL);
}

static void eight_bits_body(void *arg)
{
	static const char *const script[] = { "220 hi\r\n", "<", "250 x\r\n", NULL };
	struct conversation v;

	begin(&v, script, PIPE);
	greet(&v);
	send_data(&v, 2, "abcdefghij\xff\r\n");
	assert_int_equal(v.r.rcpts[1].code, 554);
	assert_int_equal(v.r.rcpts[1].enh_detail, 3);
	struct slice r = SLICE("m\xc3\xbcnze@a.example");
	struct smtp_mail m = { .rcpts = &r, .n_rcpts = 1, .data = SLICE("x\r\n") };
	assert_int_equal(smtp_client_send(v.c, &m, v.a, &v.r), 0);
	assert_int_equal(v.r.rcpts[0].enh_detail, 7);
	end(&v, "EHLO me.example\n");
}

static void failures_body(void *arg)
{
	static const char *const closes[] = { "220 hi\r\n", "<", "250-x\r\n250 PIPELINING\r\n", "<", "<", "<", "250 ok\r\n", "!", NULL };
	static const char *const hangs[] = { "220 hi\r\n", "<", "250 x\r\n", "<", "250 ok\r\n", "<", "250 ok\r\n", "<", "354 go\r\n", "@", "<", NULL };
	static const char *const babbles[] = { "220 hi\r\n", "<", "250 x\r\n", "<", "250 ok\r\n", "<", "250 ok\r\n", "<", "354 go\r\n", "@", "what is this\r\n", "<", NULL };
	static const char *const babbles_early[] = { "220 hi\r\n", "<", "250-x\r\n250 PIPELINING\r\n", "<", "<", "<", "what\r\n250 ok\r\n354 go\r\n", "<", NULL };
	static const char *const leaves[] = { "220 hi\r\n", "<", "250 x\r\n421 4.4.2 idle\r\n", "!", NULL };
	struct conversation v;

	begin(&v, closes, PIPE);
	greet(&v);
	send_data(&v, 1, "x\r\n");
	assert_int_equal(v.r.how, SMTP_SENT_BROKEN);
	assert_true(slice_eq_cstr(v.r.command, "RCPT TO:<r1@a.example>\r\n"));
	assert_true(slice_eq_cstr(v.r.error, "Error Connection closed by peer reading response to cmd=RCPT TO:<r1@a.example>"));
	assert_false(smtp_client_connected(v.c));
	end(&v, NULL);
	begin(&v, hangs, PLAIN);
	greet(&v);
	send_data(&v, 1, "x\r\n");
	assert_int_equal(v.r.how, SMTP_SENT_TIMEOUT);
	assert_true(slice_eq_cstr(v.r.command, ".\r\n"));
	assert_false(smtp_client_connected(v.c));
	end(&v, NULL);
	begin(&v, babbles, PLAIN);
	greet(&v);
	send_data(&v, 1, "x\r\n");
	assert_int_equal(v.r.how, SMTP_SENT_BROKEN);
	assert_int_equal(v.r.command.len, 0);
	assert_true(smtp_client_connected(v.c));
	end(&v, NULL);
	begin(&v, babbles_early, PIPE);
	greet(&v);
	send_data(&v, 1, "x\r\n");
	assert_int_equal(v.r.how, SMTP_SENT_BROKEN);
	assert_false(smtp_client_connected(v.c));
	end(&v, NULL);
	begin(&v, leaves, PLAIN);
	greet(&v);
	assert_int_equal(rt_sleep_ms(5), 0);
	assert_int_equal(smtp_client_check(v.c), 1);
	assert_int_equal(smtp_client_check(v.c), -E_CLOSED);
	end(&v, NULL);
}

static void auth_body(void *arg)
{
	static const char *const script[] = { "220 hi\r\n", "<", "250-x\r\n250 AUTH PLAIN\r\n", "<", "235 ok\r\n", "<", "535 bad\r\n", NULL };
	struct conversation v;

	begin(&v, script, PIPE);
	greet(&v);
	assert_int_equal(smtp_client_auth_plain(v.c, SLICE("user"), SLICE("secret")), 0);
	assert_int_equal(smtp_client_auth_plain(v.c, SLICE("user"), SLICE("wrong")), -E_REJECT);
	end(&v, "EHLO me.example\nAUTH PLAIN AHVzZXIAc2VjcmV0\nAUTH PLAIN AHVzZXIAd3Jvbmc=\n");
}

static void lmtp_body(void *arg)
{
	static const char *const script[] = { "220 hi\r\n", "<", "250 x\r\n", "<", "250 ok\r\n", "<", "250 ok\r\n", "<", "250 ok\r\n", "<", "354 go\r\n", "@",
		"250 one\r\n552 two\r\n", NULL };
	struct conversation v;

	begin(&v, script, PLAIN);
	assert_int_equal(smtp_client_banner(v.c), 0);
	assert_int_equal(smtp_client_hello(v.c, SLICE("me"), true), 0);
	send_data(&v, 2, "x\r\n");
	assert_int_equal(v.r.rcpts[0].code, 250);
	assert_int_equal(v.r.rcpts[1].code, 552);
	end(&v, NULL);
}

/* STARTTLS, with a plaintext injection behind the reply refused. */
static void starttls_peer(void *arg)
{
	struct peer *p = arg;
	struct tls_ctx *ctx;

	assert_int_equal(tls_ctx_server(&(struct tls_server_conf){ .hostname = SLICE("sink.example") }, &ctx), 0);
	rt_io_set_timeout(p->io, 2000, 2000);
	hear(p);
	rt_io_put(p->io, SLICE("220 go\r\n"));
	assert_int_equal(rt_io_flush(p->io), 0);
	assert_int_equal(tls_accept(ctx, &p->io, 2000, NULL), 0);
	hear(p);
	rt_io_put(p->io, SLICE("250-x\r\n250 PIPELINING\r\n"));
	assert_int_equal(rt_io_flush(p->io), 0);
	tls_ctx_unref(&ctx);
	hear(p);
	rt_io_close(&p->io);
}

static void starttls_body(void *arg)
{
	static const char *const injects[] = { "<", "220 go\r\n250 injected\r\n", "<", NULL };
	struct tls_peer peer = { .hostname = SLICE("sink.example"), .timeout_ms = 2000 };
	struct tls_info info = { 0 };
	struct tls_ctx *ctx;
	struct conversation v;

	assert_int_equal(tls_ctx_client(&(struct tls_client_conf){ .insecure = true }, &ctx), 0);
	begin(&v, injects, PIPE);
	assert_int_equal(smtp_client_starttls(v.c, ctx, &peer, &info), -E_PROTO);
	end(&v, NULL);

	int fd[2];
	struct peer p = { 0 };
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd), 0);
	p.io = rt_io_from_fd(fd[1]);
	struct rt_fiber *f = rt_fiber_start("peer", starttls_peer, &p);
	struct smtp_client_conf conf = { .pipelining = true, .starttls_ms = 2000, .hello_ms = 2000 };
	struct smtp_client *c = smtp_client_create(rt_io_from_fd(fd[0]), &conf);
	assert_int_equal(smtp_client_starttls(c, ctx, &peer, &info), 0);
	assert_string_equal(info.protocol, "TLSv1_3");
	assert_int_equal(smtp_client_hello(c, SLICE("me"), false), 0);
	assert_true(smtp_client_offers(c, "PIPELINING"));
	smtp_client_destroy(&c);
	assert_int_equal(rt_fiber_join(f), 0);
	rt_fiber_unref(&f);
	assert_string_equal(buf_cstr(&p.heard), "STARTTLS\nEHLO me\n");
	buf_fini(&p.heard);
	tls_info_fini(&info);
	tls_ctx_unref(&ctx);
}

#define IN_RUNTIME(name) \
	static void name(void **state) \
	{ \
		run_in_runtime(1, name##_body, NULL); \
	}
IN_RUNTIME(good)
IN_RUNTIME(refusals)
IN_RUNTIME(eight_bits)
IN_RUNTIME(failures)
IN_RUNTIME(auth)
IN_RUNTIME(lmtp)
IN_RUNTIME(starttls)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good), cmocka_unit_test(refusals), cmocka_unit_test(eight_bits), cmocka_unit_test(failures), cmocka_unit_test(auth),
		cmocka_unit_test(lmtp), cmocka_unit_test(starttls),
	};
	return cmocka_run_group_tests_name("smtp_client", tests, NULL, NULL);
}
