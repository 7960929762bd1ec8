/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "codec/rfc5321.h"

static struct arena *A;

static int setup(void **st) { A = arena_create(); return 0; }
static int teardown(void **st) { arena_destroy(&A); return 0; }

static const struct { const char *in, *text; } SENDERS[] = {
	{ "<s@from.example>", "s@from.example" }, { "<>", "" }, { "< >", NULL }, { "s@from.example", "s@from.example" },
	{ "<s@from.example", NULL }, { "s@from.example>", NULL }, { "<<s@from.example>>", NULL }, { "<s@from.example >", NULL },
	{ "<s>", NULL }, { "<@from.example>", NULL }, { "<s@>", NULL }, { "<s@@from.example>", NULL }, { "<s@from@example>", NULL },
	{ "<Postmaster>", NULL }, { "<S.Ender@From.EXAMPLE>", "S.Ender@from.example" }, { "<.s@from.example>", NULL },
	{ "<s.@from.example>", NULL }, { "<s..e@from.example>", NULL },
	{ "<!#$%&'*+-/=?^_`{|}~@from.example>", "!#$%&'*+-/=?^_`{|}~@from.example" },
	{ "<\"quoted string\"@from.example>", "\"quoted string\"@from.example" }, { "<\"a@b\"@from.example>", "\"a@b\"@from.example" },
	{ "<\"a\\\"b\"@from.example>", "\"a\\\"b\"@from.example" }, { "<\"\"@from.example>", "\"\"@from.example" },
	{ "<\"unclosed@from.example>", NULL }, { "<\"a\"b@from.example>", NULL }, { "<a\"b\"@from.example>", NULL },
	{ "<a,b@from.example>", NULL }, { "<a(b)@from.example>", NULL }, { "<a\\b@from.example>", NULL },
	{ "<s@[127.0.0.1]>", "s@[127.0.0.1]" }, { "<s@[1.2.3]>", NULL }, { "<s@[256.0.0.1]>", NULL },
	{ "<s@[IPv6:::1]>", "s@[IPv6:::1]" }, { "<s@[ipv6:2001:DB8:0:0::25]>", "s@[IPv6:2001:db8::25]" },
	{ "<s@[IPv6:2001:db8:::1]>", NULL }, { "<s@[IPv6:]>", NULL }, { "<s@[tag:text]>", "s@[tag:text]" }, { "<s@[]>", NULL },
	{ "<s@[tag:]>", NULL }, { "<s@127.0.0.1>", "s@127.0.0.1" }, { "<@relay.example:s@from.example>", "s@from.example" },
	{ "<@one.example,@two.example:s@from.example>", "s@from.example" }, { "<@relay.example,s@from.example>", NULL },
	{ "<@relay.example:>", NULL }, { "<s@from>", "s@from" }, { "<s@from.example.>", NULL }, { "<s@.from.example>", NULL },
	{ "<s@from..example>", NULL }, { "<s@-from.example>", NULL }, { "<s@from-.example>", "s@from-.example" },
	{ "<s@fr_om.example>", "s@fr_om.example" }, { "<s@_dmarc.example>", NULL }, { "<s@exa mple>", NULL },
	{ "<\xc3\xa9@from.example>", "\xc3\xa9@from.example" }, { "<s@b\xc3\xbc" "cher.example>", "s@xn--bcher-kva.example" },
	{ "<s@from.example>x", NULL }, { "<s@from.example>,<t@from.example>", NULL }, { "", NULL }, { "<\xff@from.example>", NULL },
};

static void test_senders(void **st)
{
	for (size_t i = 0; i < ARRAY_LEN(SENDERS); i++) {
		struct smtp_path p;
		int rc = smtp_reverse_path_parse(slice_from_cstr(SENDERS[i].in), A, &p);
		if ((rc == 0) != (SENDERS[i].text != NULL))
			fail_msg("%s: %d", SENDERS[i].in, rc);
		if (rc == 0 && !slice_eq_cstr(p.text, SENDERS[i].text))
			fail_msg("%s gave %.*s", SENDERS[i].in, SLICE_ARG(p.text));
	}
}

static void test_domain_lengths(void **st)
{
	char d[400];
	struct slice out;
	memset(d, 'a', sizeof d);
	assert_int_equal(smtp_domain_parse(slice_new(d, 63), A, &out), 0);
	assert_int_equal(smtp_domain_parse(slice_new(d, 64), A, &out), -E_INVAL);
	for (int i = 9; i < 400; i += 10)
		d[i] = '.';
	assert_int_equal(smtp_domain_parse(slice_new(d, 249), A, &out), 0);
	assert_int_equal(smtp_domain_parse(slice_new(d, 259), A, &out), -E_INVAL);
}

static void test_recipients(void **st)
{
	struct smtp_path p;
	assert_int_equal(smtp_forward_path_parse(SLICE("<POSTMASTER>"), A, &p), 0);
	assert_int_equal(p.kind, SMTP_PATH_POSTMASTER);
	assert_true(slice_eq_cstr(p.text, "Postmaster"));
	assert_true(slice_eq_cstr(smtp_path_user(&p, A), "postmaster"));
	assert_int_equal(smtp_forward_path_parse(SLICE("Postmaster"), A, &p), -E_INVAL);
	assert_int_equal(smtp_forward_path_parse(SLICE("<>"), A, &p), -E_INVAL);
	assert_int_equal(smtp_address_parse(SLICE("postMaster"), A, &p), 0);
	assert_int_equal(smtp_address_parse(SLICE(""), A, &p), 0);
	assert_int_equal(p.kind, SMTP_PATH_NULL);
	assert_int_equal(smtp_address_parse(SLICE("\"\\f\\oo\"@a.example"), A, &p), 0);
	assert_true(slice_eq_cstr(smtp_path_user(&p, A), "foo"));
}

#define MAILOK "MAIL FROM:<s@from.example>"
static const struct { const char *in; enum smtp_verb verb; enum smtp_fault fault; } COMMANDS[] = {
	{ "NOOP", SMTP_NOOP, 0 }, { "noop", SMTP_NOOP, 0 }, { "NOOP argument", SMTP_NOOP, 0 }, { "NOOP two arguments", SMTP_NOOP, SMTP_FAULT_SYNTAX },
	{ "NOOP \"quoted argument\"", SMTP_NOOP, 0 }, { "NOOP ", SMTP_VERB_NONE, SMTP_FAULT_COMMAND }, { "NOOP\n", SMTP_NOOP, 0 },
	{ "NOOP\r", SMTP_VERB_NONE, SMTP_FAULT_COMMAND }, { "NOOP a\nb", SMTP_NOOP, SMTP_FAULT_SYNTAX }, { "NOOP\r\n", SMTP_NOOP, 0 },
	{ "RSET", SMTP_RSET, 0 }, { "RSET now", SMTP_RSET, SMTP_FAULT_SYNTAX }, { "HELP MAIL", SMTP_HELP, 0 },
	{ "HELP MAIL FROM", SMTP_HELP, SMTP_FAULT_SYNTAX }, { "VRFY user@a.example", SMTP_VRFY, SMTP_FAULT_SYNTAX },
	{ "FOO", SMTP_UNKNOWN, 0 }, { "foo bar baz", SMTP_UNKNOWN, 0 }, { "GET / HTTP/1.1", SMTP_UNKNOWN, 0 },
	{ "Host: example", SMTP_VERB_NONE, SMTP_FAULT_COMMAND }, { "DATA now", SMTP_DATA, SMTP_FAULT_SYNTAX }, { "AUTH", SMTP_AUTH, SMTP_FAULT_SYNTAX },
	{ "AUTH PLAIN", SMTP_AUTH, 0 }, { "AUTH PLAIN AGE=", SMTP_AUTH, 0 }, { "AUTH PLAIN a-b", SMTP_AUTH, SMTP_FAULT_SYNTAX },
	{ "XCLIENT", SMTP_XCLIENT, SMTP_FAULT_SYNTAX }, { "XCLIENT ADDR", SMTP_XCLIENT, SMTP_FAULT_SYNTAX }, { "XCLIENT ADDR=+31 PORT=1", SMTP_XCLIENT, 0 },
	{ "123", SMTP_UNKNOWN, 0 }, { "MAIL", SMTP_MAIL, SMTP_FAULT_SYNTAX }, { "MAILFROM:<s@from.example>", SMTP_VERB_NONE, SMTP_FAULT_COMMAND },
	{ "MAIL FROM", SMTP_MAIL, SMTP_FAULT_SYNTAX }, { "MAIL FROM:", SMTP_MAIL, SMTP_FAULT_SYNTAX }, { "MAIL FROM: ", SMTP_MAIL, SMTP_FAULT_SENDER },
	{ "MAIL TO:<s@from.example>", SMTP_MAIL, SMTP_FAULT_SYNTAX }, { "", SMTP_VERB_NONE, SMTP_FAULT_COMMAND }, { " NOOP", SMTP_VERB_NONE, SMTP_FAULT_COMMAND },
	{ "NOOP\t", SMTP_VERB_NONE, SMTP_FAULT_COMMAND }, { ".", SMTP_VERB_NONE, SMTP_FAULT_COMMAND }, { "QUITE", SMTP_UNKNOWN, 0 },
	{ "MAIL FROM:Name <s@from.example>", SMTP_MAIL, SMTP_FAULT_SENDER }, { MAILOK " ", SMTP_MAIL, SMTP_FAULT_SENDER },
	{ MAILOK " SIZE=1000", SMTP_MAIL, 0 }, { MAILOK " SIZE", SMTP_MAIL, 0 }, { MAILOK " SIZE=", SMTP_MAIL, SMTP_FAULT_SYNTAX },
	{ MAILOK " SIZE=10  BODY=8BITMIME", SMTP_MAIL, 0 }, { MAILOK " SIZE=10\tBODY=8BITMIME", SMTP_MAIL, 0 }, { MAILOK " =value", SMTP_MAIL, SMTP_FAULT_SYNTAX },
	{ MAILOK " A==b", SMTP_MAIL, SMTP_FAULT_SYNTAX }, { MAILOK " -A=b", SMTP_MAIL, SMTP_FAULT_SYNTAX }, { MAILOK " A-=b", SMTP_MAIL, 0 },
	{ MAILOK " A=\xc3\xa9", SMTP_MAIL, 0 }, { MAILOK " SIZE=10,BODY=7BIT", SMTP_MAIL, SMTP_FAULT_SYNTAX }, { MAILOK "SIZE=10", SMTP_MAIL, SMTP_FAULT_SENDER },
	{ "MAIL\tFROM:<s@from.example>", SMTP_MAIL, 0 }, { "MAIL FROM :<s@from.example>", SMTP_MAIL, SMTP_FAULT_SYNTAX },
	{ "RCPT TO:<r@a.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;r@a.example", SMTP_RCPT, 0 }, { "RCPT TO:<r@a.example> ORCPT=", SMTP_RCPT, SMTP_FAULT_SYNTAX },
	{ "RCPT TO:<r@a.example>, <q@a.example>", SMTP_RCPT, SMTP_FAULT_RECIPIENT }, { "RCPT <r@a.example>", SMTP_RCPT, SMTP_FAULT_SYNTAX },
	{ "EHLO client.example", SMTP_EHLO, 0 }, { "EHLO client.example.", SMTP_EHLO, SMTP_FAULT_SYNTAX }, { "EHLO [127.0.0.1", SMTP_EHLO, SMTP_FAULT_SYNTAX },
	{ "EHLO", SMTP_EHLO, SMTP_FAULT_SYNTAX }, { "EHLO ", SMTP_VERB_NONE, SMTP_FAULT_COMMAND }, { "EHLO client.example ", SMTP_EHLO, SMTP_FAULT_SYNTAX },
	{ "LHLO client.example", SMTP_LHLO, 0 }, { "\rNOOP", SMTP_VERB_NONE, SMTP_FAULT_COMMAND },
};

static void test_commands(void **st)
{
	for (size_t i = 0; i < ARRAY_LEN(COMMANDS); i++) {
		struct smtp_cmd c;
		int rc = smtp_cmd_parse(slice_from_cstr(COMMANDS[i].in), A, &c);
		if (c.verb != COMMANDS[i].verb || c.fault != COMMANDS[i].fault || (rc == 0) != (c.fault == 0))
			fail_msg("`%s`: verb %d fault %d", COMMANDS[i].in, c.verb, c.fault);
	}
}

static void test_arguments(void **st)
{
	struct smtp_cmd c;
	assert_int_equal(smtp_cmd_parse(SLICE("MAIL FROM:<a@b.c> size=12 SMTPUTF8"), A, &c), 0);
	assert_int_equal(c.n_params, 2);
	assert_true(slice_eq_cstr(c.params[0].value, "12"));
	assert_null(c.params[1].value.ptr);
	assert_int_equal(smtp_cmd_parse(SLICE("EHLO   B\xc3\xbc" "cher.Example"), A, &c), 0);
	assert_true(slice_eq_cstr(c.arg, "xn--bcher-kva.example"));
	assert_int_equal(smtp_cmd_parse(SLICE("XCLIENT ADDR=1+2E2"), A, &c), 0);
	assert_true(slice_eq_cstr(c.params[0].value, "1.2"));
	assert_int_equal(smtp_cmd_parse(slice_new("NOOP \0", 6), A, &c), -E_INVAL);
	assert_int_equal(c.fault, SMTP_FAULT_SYNTAX);
}

static void test_replies(void **st)
{
	struct smtp_reply_reader p = { 0 };
	assert_int_equal(smtp_reply_line(&p, SLICE("220-4.1.0 woot")), 0);
	assert_int_equal(smtp_reply_line(&p, SLICE("220-4.1.0 more")), 0);
	assert_int_equal(smtp_reply_line(&p, SLICE("220 5.5.5 done")), 1);
	assert_true(slice_eq_cstr(p.r.content, "woot\nmore\n5.5.5 done"));
	assert_int_equal(p.r.enh_class * 100 + p.r.enh_subject * 10 + p.r.enh_detail, 410);
	smtp_reply_reset(&p);
	assert_int_equal(smtp_reply_line(&p, SLICE("220-woot")), 0);
	assert_int_equal(smtp_reply_line(&p, SLICE("221 done")), -E_PROTO);
	smtp_reply_reset(&p);
	static const char *const BAD[] = { "220_woot", "what is this", "22", "220", "2x0 a", "", "-20 a" };
	for (size_t i = 0; i < ARRAY_LEN(BAD); i++)
		assert_int_equal(smtp_reply_line(&p, slice_from_cstr(BAD[i])), -E_PROTO);
	assert_int_equal(smtp_reply_line(&p, SLICE("250 ")), 1);
	assert_int_equal(p.r.content.len, 0);
	smtp_reply_reset(&p);
	char big[1000];
	memset(big, 'x', sizeof big);
	memcpy(big, "250-", 4);
	int rc = 0, n = 0;
	while (rc == 0 && n++ < 200)
		rc = smtp_reply_line(&p, slice_new(big, sizeof big));
	assert_int_equal(rc, -E_PROTO);
	smtp_reply_fini(&p);
}

static void test_reply_text(void **st)
{
	struct buf b = { 0 };
	struct smtp_response r;
	smtp_reply_put(&b, 250, SLICE("a\nb\r\nc"));
	smtp_reply_put(&b, 220, SLICE("mta "));
	smtp_reply_put(&b, 250, SLICE(""));
	assert_string_equal(buf_cstr(&b), "250-a\r\n250-b\r\n250 c\r\n220 mta \r\n250 \r\n");
	buf_clear(&b);
	smtp_response_from_text(&r, 550, SLICE("5.7.1 no\n5.7.1 never"), A);
	smtp_response_put_line(&b, &r);
	assert_string_equal(buf_cstr(&b), "550 5.7.1 no never");
	smtp_response_from_text(&r, 550, SLICE("3.0.0 x"), A);
	assert_false(r.has_enhanced);
	smtp_response_from_text(&r, 250, SLICE("2.0.0.1 x"), A);
	assert_false(r.has_enhanced);
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_senders), cmocka_unit_test(test_domain_lengths), cmocka_unit_test(test_recipients),
		cmocka_unit_test(test_commands), cmocka_unit_test(test_arguments), cmocka_unit_test(test_replies),
		cmocka_unit_test(test_reply_text),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
