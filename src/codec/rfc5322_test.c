/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>
#include "codec/rfc5322.h"

static struct arena *A;

static int setup(void **st) { A = arena_create(); return 0; }
static int teardown(void **st) { arena_destroy(&A); return 0; }

/* The value read as KIND, as compact JSON; "error" when it is none. */
static const char *read_as(enum mail_kind k, const char *value)
{
	struct val v;
	struct buf b = { 0 };
	if (mail_parse_kind(k, slice_from_cstr(value), A, &v) < 0)
		return "error";
	val_sort(&v);
	json_put(&b, &v, JSON_COMPACT);
	const char *s = arena_strdup(A, buf_view(&b));
	buf_fini(&b);
	return s;
}

#define MBOX(l, d) "{\"address\":{\"domain\":\"" d "\",\"local_part\":\"" l "\"}}"
#define NAMED(n, l, d) "{\"address\":{\"domain\":\"" d "\",\"local_part\":\"" l "\"},\"name\":\"" n "\"}"

static const struct { enum mail_kind kind; const char *in, *out; } VALUES[] = {
	{ MAIL_ADDRESS_LIST, "a@b.example", "[" MBOX("a", "b.example") "]" },
	{ MAIL_ADDRESS_LIST, "a@b.example, c@d.example", "[" MBOX("a", "b.example") "," MBOX("c", "d.example") "]" },
	{ MAIL_ADDRESS_LIST, "a@b.example,, c@d.example", "error" },
	{ MAIL_ADDRESS_LIST, "a@b.example,", "error" },
	{ MAIL_ADDRESS_LIST, ",a@b.example", "[" MBOX("a", "b.example") "]" },
	{ MAIL_ADDRESS_LIST, "G:;", "[{\"entries\":[],\"name\":\"G\"}]" },
	{ MAIL_ADDRESS_LIST, "G: a@b.example, N <c@d.example>;, e@f.example",
	  "[{\"entries\":[" MBOX("a", "b.example") "," NAMED("N", "c", "d.example") "],\"name\":\"G\"}," MBOX("e", "f.example") "]" },
	{ MAIL_ADDRESS_LIST, "A: a@b.example; B: c@d.example;", "error" },
	{ MAIL_ADDRESS_LIST, "(c) a (d) @ (e) b.example (f)", "[" MBOX("a", "b.example") "]" },
	{ MAIL_ADDRESS_LIST, "A (c) B <a@b.example>", "[" NAMED("A B", "a", "b.example") "]" },
	{ MAIL_ADDRESS_LIST, "\"A \\\" B\" <a@b.example>", "[" NAMED("A \\\" B", "a", "b.example") "]" },
	{ MAIL_ADDRESS_LIST, "=?utf-8?q?A,_B?= <a@b.example>", "[" NAMED("A, B", "a", "b.example") "]" },
	{ MAIL_ADDRESS_LIST, "a.b..c@d.example", "error" }, { MAIL_ADDRESS_LIST, ".a@d.example", "error" }, { MAIL_ADDRESS_LIST, "a.@d.example", "error" },
	{ MAIL_ADDRESS_LIST, "John Q. Public <a@b.example>", "[" NAMED("John Q . Public", "a", "b.example") "]" },
	{ MAIL_ADDRESS_LIST, "a@b.example;c@d.example", "error" },
	{ MAIL_ADDRESS_LIST, "a@b.example\r\n , c@d.example", "[" MBOX("a", "b.example") "," MBOX("c", "d.example") "]" },
	{ MAIL_ADDRESS_LIST, "<@x.example,@y.example:a@b.example>", "[" MBOX("a", "b.example") "]" },
	{ MAIL_ADDRESS_LIST, "a@[IPv6:::1]", "[" MBOX("a", "[IPv6:::1]") "]" },
	{ MAIL_ADDRESS_LIST, "'a@b.example'", "[" MBOX("'a", "b.example'") "]" },
	{ MAIL_ADDRESS_LIST, "a@b.example <a@b.example>", "error" }, { MAIL_ADDRESS_LIST, "undisclosed-recipients", "error" },
	{ MAIL_ADDRESS_LIST, "", "error" }, { MAIL_ADDRESS_LIST, "<>", "error" }, { MAIL_ADDRESS_LIST, "J\xf6rg <a@b.example>", "error" },
	{ MAIL_MAILBOX_LIST, "J\xc3\xb6rg <a@b.example>", "[" NAMED("J\xc3\xb6rg", "a", "b.example") "]" },
	{ MAIL_MAILBOX_LIST, "a@b.example c@d.example", "error" },
	{ MAIL_MAILBOX_LIST, "a @ b . (c) example, d@[x\\\ty]", "[" MBOX("a", "b.example") "," MBOX("d", "[x\\ty]") "]" },
	{ MAIL_MAILBOX_LIST, "=?utf-8?q?a=40b?=@c.example", "[" MBOX("=?utf-8?q?a=40b?=", "c.example") "]" },
	{ MAIL_MAILBOX_LIST, "\"unterminated <a@b.example>", "error" },
	{ MAIL_MESSAGE_ID, "<a@b>", "\"a@b\"" }, { MAIL_MESSAGE_ID, "a@b", "error" }, { MAIL_MESSAGE_ID, "<a>", "\"a\"" },
	{ MAIL_MESSAGE_ID, "<a@b> <c@d>", "error" }, { MAIL_MESSAGE_ID_LIST, "<a@b><c@d>", "[\"a@b\",\"c@d\"]" },
	{ MAIL_MESSAGE_ID_LIST, "<a@b>, <c@d>", "error" }, { MAIL_MESSAGE_ID, "<\"q q\"@c>", "\"q q@c\"" }, { MAIL_MESSAGE_ID, "<a b@c>", "\"a b@c\"" },
	{ MAIL_MESSAGE_ID, "<a@[x]>", "\"a@[x]\"" }, { MAIL_MESSAGE_ID, "<>", "\"\"" }, { MAIL_MESSAGE_ID, "<a@b> (c)", "\"a@b\"" },
	{ MAIL_MESSAGE_ID, "<a@b@c>", "\"a@b@c\"" }, { MAIL_MESSAGE_ID, "<a@b", "error" }, { MAIL_MESSAGE_ID_LIST, "", "error" },
#define CT(params) "{\"parameters\":{" params "},\"value\":\"text/plain\"}"
	{ MAIL_CONTENT_TYPE, "text/plain; name*=utf-8''%c3%a9.txt", CT("\"name\":\"\xc3\xa9.txt\"") },
	{ MAIL_CONTENT_TYPE, "text/plain; name*1=b; name*0=a", CT("\"name\":\"ab\"") },
	{ MAIL_CONTENT_TYPE, "text/plain; name*0*=utf-8''%c3; name*1*=%a9", CT("\"name\":\"\"") },
	{ MAIL_CONTENT_TYPE, "text/plain; name*0*=utf-8'en'x; name*1=\" y\"", CT("\"name\":\"x y\"") },
	{ MAIL_CONTENT_TYPE, "text/plain; name*=iso-8859-1''caf%e9", CT("\"name\":\"caf\xc3\xa9\"") },
	{ MAIL_CONTENT_TYPE, "text/plain; name*=no-such''x", CT("\"name\":\"x\"") }, { MAIL_CONTENT_TYPE, "text/plain; name*=x", CT("\"name\":\"x\"") },
	{ MAIL_CONTENT_TYPE, "text/plain; name=\"=?utf-8?q?gr=C3=BCn?=\"", CT("\"name\":\"gr\xc3\xbcn\"") },
	{ MAIL_CONTENT_TYPE, "text/plain; name=\"a\\\"b\\\\c\"", CT("\"name\":\"a\\\"b\\\\c\"") },
	{ MAIL_CONTENT_TYPE, "text/plain; name=a b", "error" }, { MAIL_CONTENT_TYPE, "text/plain; name=", CT("\"name\":\"\"") },
	{ MAIL_CONTENT_TYPE, "text/plain; name", "error" }, { MAIL_CONTENT_TYPE, "text/plain; name=a; name=b", CT("\"name\":\"ab\"") },
	{ MAIL_CONTENT_TYPE, "text/plain; name*=utf-8''%zz", "error" }, { MAIL_CONTENT_TYPE, "text/plain; ;;name=x", "error" },
	{ MAIL_CONTENT_TYPE, "text/plain; name = x ; ", "error" }, { MAIL_CONTENT_TYPE, "text/plain; name=(comment)x", CT("\"name\":\"x\"") },
	{ MAIL_CONTENT_TYPE, "text/plain; name=a/b", "error" }, { MAIL_CONTENT_TYPE, "text/plain;charset=x;", "error" },
	{ MAIL_CONTENT_TYPE, "text", "error" }, { MAIL_CONTENT_TYPE, "text/plain (comment); charset=utf-8", CT("\"charset\":\"utf-8\"") },
	{ MAIL_AUTH_RESULTS, "mta.example; spf=pass smtp.mailfrom=a@b.example; dkim=fail reason=\"bad\" header.d=x.example",
	  "{\"results\":[{\"method\":\"spf\",\"props\":{\"smtp.mailfrom\":\"a@b.example\"},\"result\":\"pass\"},"
	  "{\"method\":\"dkim\",\"props\":{\"header.d\":\"x.example\"},\"reason\":\"bad\",\"result\":\"fail\"}],\"serv_id\":\"mta.example\"}" },
	{ MAIL_UNSTRUCTURED, "=?utf-8?q?caf=C3=A9?=", "\"caf\xc3\xa9\"" }, { MAIL_UNSTRUCTURED, "=?UTF-8?B?Y2Fmw6k=?=", "\"caf\xc3\xa9\"" },
	{ MAIL_UNSTRUCTURED, "=?iso-8859-1?q?caf=E9?=", "\"caf\xc3\xa9\"" }, { MAIL_UNSTRUCTURED, "=?utf-8?q?a?= =?utf-8?q?b?=", "\"ab\"" },
	{ MAIL_UNSTRUCTURED, "=?utf-8?q?a?= b =?utf-8?q?c?=", "\"a b c\"" }, { MAIL_UNSTRUCTURED, "=?utf-8?x?a?=", "\"=?utf-8?x?a?=\"" },
	{ MAIL_UNSTRUCTURED, "=?utf-8?b?!!!?=", "\"=?utf-8?b?!!!?=\"" }, { MAIL_UNSTRUCTURED, "x=?utf-8?q?a?=y", "\"xay\"" },
	{ MAIL_UNSTRUCTURED, "=?iso-2022-jp?B?GyRCJygnJS1iGyhCNDEgGyRCJ2AnZBsoQiAyOC4wOS4yMDE2?=", "\"\xd0\x96" "\xd0\x94" "\xe2\x84\x96" "41 \xd0\xbe" "\xd1\x82" " 28.09.2016\"" },	/* NEC's numero sign */
	{ MAIL_UNSTRUCTURED, "=?iso-2022-jp?b?GyRCLWIbKEkxIBsoQno=?=", "\"\xe2\x84\x96" "\xef\xbd\xb1" " z\"" },
	{ MAIL_UNSTRUCTURED, "=?utf-8*en?q?a?=", "\"a\"" }, { MAIL_UNSTRUCTURED, "=?shift_jis?b?gqA=?=", "\"\xe3\x81\x82\"" },
	{ MAIL_UNSTRUCTURED, "=?utf-8?q?=C3?= =?utf-8?q?=A9?=", "\"=?utf-8?q?=C3?= =?utf-8?q?=A9?=\"" },
	{ MAIL_UNSTRUCTURED, "=?utf-8?q?\?=", "\"=?utf-8?q?\?=\"" }, { MAIL_UNSTRUCTURED, "two\r\n folded  \t", "\"two folded \"" },
	{ MAIL_UNSTRUCTURED, "caf\xe9", "error" }, { MAIL_UNSTRUCTURED, "", "\"\"" },
};

static void test_values(void **st)
{
	for (size_t i = 0; i < ARRAY_LEN(VALUES); i++) {
		const char *got = read_as(VALUES[i].kind, VALUES[i].in);
		if (strcmp(got, VALUES[i].out) != 0)
			fail_msg("`%s`\n gave %s\n not  %s (%s)", VALUES[i].in, got, VALUES[i].out, err_text());
	}
}

static const struct { enum mail_kind kind; const char *json, *out; } WRITTEN[] = {
	{ MAIL_MAILBOX_LIST, "[" NAMED("J\xc3\xb6rg", "a", "b.example") "]", "=?UTF-8?q?J=C3=B6rg?= <a@b.example>" },
	{ MAIL_ADDRESS_LIST, "[" NAMED("A, B", "a b", "b.example") "," MBOX("c", "d.example") "]", "\"A, B\" <\"a b\"@b.example>,\r\n\t<c@d.example>" },
	{ MAIL_ADDRESS_LIST, "[{\"name\":\"G\",\"entries\":[" MBOX("c", "d.example") "]}]", "G:<c@d.example>;" },
	{ MAIL_ADDRESS_LIST, "[]", "" }, { MAIL_ADDRESS_LIST, "5", NULL }, { MAIL_MESSAGE_ID_LIST, "[\"1@x\",\"2@x\"]", "<1@x>\r\n\t<2@x>" },
	{ MAIL_CONTENT_TYPE, "{\"value\":\"text/plain\",\"parameters\":{\"charset\":\"utf-8\",\"name\":\"gr\xc3\xbcn.txt\"}}",
	  "text/plain;\r\n\tcharset=\"utf-8\";\r\n\tname*=UTF-8''gr%C3%BCn.txt" },
	{ MAIL_TOKEN_PARAMS, "{\"value\":\"attachment\",\"parameters\":{\"filename\":\"long name long name long name long name long name long name long name "
	  "long name long name long name long name long name .txt\"}}",
	  "attachment;\r\n\tfilename*0=\"long name long name long name long name long name long name l\";\r\n"
	  "\tfilename*1=\"ong name long name long name long name long name long name .t\";\r\n\tfilename*2=\"xt\"" },
	{ MAIL_CONTENT_TYPE, "{\"parameters\":{}}", NULL }, { MAIL_CONTENT_TYPE, "5", NULL },
	{ MAIL_UNSTRUCTURED, "\"\\\"Gr\xc3\xbcn, X\\\" <a@b.example>\"", "=?UTF-8?q?\"Gr=C3=BCn,_X\"_<a@b.example>?=" },
	{ MAIL_AUTH_RESULTS, "{\"serv_id\":\"second.example\",\"results\":[]}", "second.example; none" },
	{ MAIL_AUTH_RESULTS, "{\"serv_id\":\"m\",\"results\":[{\"method\":\"dkim\",\"result\":\"fail\",\"reason\":\"odd \\\"r\\\" (x)\",\"props\":{\"header.d\":\"f.example\",\"header.b\":\"a/d=\"}}]}",
	  "m;\r\n\tdkim=fail reason=\"odd \\\"r\\\" (x)\"\r\n\theader.b=\"a/d=\"\r\n\theader.d=f.example" },
	{ MAIL_AUTH_RESULTS, "{\"serv_id\":\"m\",\"results\":[{\"method\":\"spf\"}]}", NULL },
	{ MAIL_DATE, "{\"us\":1767261600000000,\"zone\":0}", "Thu, 1 Jan 2026 10:00:00 +0000" },
	{ MAIL_DATE, "{\"us\":1767261600000000,\"zone\":-5400}", "Thu, 1 Jan 2026 08:30:00 -0130" },
};

static void test_written(void **st)
{
	for (size_t i = 0; i < ARRAY_LEN(WRITTEN); i++) {
		struct val v;
		struct buf b = { 0 };
		assert_int_equal(json_parse(slice_from_cstr(WRITTEN[i].json), A, &v), 0);
		int rc = mail_put_kind(&b, WRITTEN[i].kind, &v);
		if ((rc == 0) != (WRITTEN[i].out != NULL))
			fail_msg("%s: %d %s", WRITTEN[i].json, rc, err_text());
		if (rc == 0)
			assert_string_equal(buf_cstr(&b), WRITTEN[i].out);
		buf_fini(&b);
	}
}

static void test_wrapping(void **st)
{
	static const struct { const char *in, *out; } ROWS[] = {
		{ "foo", "foo" }, { "hello world ", "hello\r\n\tworld" }, { "hello world foo bar baz woot woot", "hello\r\n\tworld foo\r\n\tbar baz\r\n\twoot woot" },
		{ "hi there breakmepleaseIamtoolong", "hi there\r\n\tbreakmepleaseIa\r\n\tmtoolong" }, { "", "" },
	};
	for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
		struct buf b = { 0 };
		mail_put_wrapped(&b, slice_from_cstr(ROWS[i].in), 10, 15);
		assert_string_equal(buf_cstr(&b), ROWS[i].out);
		buf_fini(&b);
	}
}

static void test_scan(void **st)
{
	struct slice msg = SLICE("A: 1\r\nSubject : x\r\n y\nnocolon\r\nB:2\r\n\r\nbody"), rest = msg;
	struct mail_header h;
	assert_int_equal(mail_header_next(&rest, &h), 1);
	assert_true(slice_eq_cstr(h.name, "A") && slice_eq_cstr(h.value, "1") && slice_eq_cstr(h.sep, ": ") && h.conformance == 0);
	assert_int_equal(mail_header_next(&rest, &h), 1);
	assert_true(slice_eq_cstr(h.name, "Subject") && slice_eq_cstr(h.value, "x\r\n y"));
	assert_int_equal(h.conformance, MAIL_NAME_ENDS_WITH_SPACE | MAIL_NON_CANONICAL_LINE_ENDINGS);
	assert_int_equal(mail_header_next(&rest, &h), 1);
	assert_true(slice_eq_cstr(h.name, "nocolon") && h.value.len == 0 && h.conformance == MAIL_MISSING_COLON_VALUE);
	assert_int_equal(mail_header_next(&rest, &h), 1);
	assert_true(slice_eq_cstr(h.name, "B") && slice_eq_cstr(h.value, "2"));
	assert_int_equal(mail_header_next(&rest, &h), 0);
	assert_true(slice_eq_cstr(rest, "body"));
	assert_int_equal(mail_body_offset(msg), msg.len - 4);
	assert_true(mail_header_find(msg, SLICE("b"), &h));
	assert_false(mail_header_find(msg, SLICE("body"), &h));
	rest = SLICE("\rx");
	assert_int_equal(mail_header_next(&rest, &h), -E_INVAL);
	rest = SLICE(" x: y");
	assert_int_equal(mail_header_next(&rest, &h), -E_INVAL);
	rest = SLICE("caf\xc3\xa9: y");
	assert_int_equal(mail_header_next(&rest, &h), -E_INVAL);
}

static void test_edit(void **st)
{
	struct buf b = { 0 };
	struct slice msg = SLICE("A: 1\r\nB: 2\r\n folded\r\na: 3\r\n\r\nA: body\r\n"), name = SLICE("A"), none = SLICE("None");
	assert_int_equal(mail_remove_headers(&b, msg, mail_match_name, &none), 0);
	assert_int_equal(b.len, 0);
	assert_int_equal(mail_remove_headers(&b, msg, mail_match_name, &name), 2);
	assert_string_equal(buf_cstr(&b), "B: 2\r\n folded\r\n\r\nA: body\r\n");
	buf_clear(&b);
	assert_int_equal(mail_append_header(&b, msg, SLICE("C"), SLICE("x")), 0);
	assert_string_equal(buf_cstr(&b), "A: 1\r\nB: 2\r\n folded\r\na: 3\r\nC: x\r\n\r\nA: body\r\n");
	assert_int_equal(mail_append_header(&b, SLICE("\r\nbody"), SLICE("C"), SLICE("x")), -E_INVAL);
	buf_fini(&b);
}

static void test_conformance_names(void **st)
{
	unsigned set;
	struct buf b = { 0 };
	assert_int_equal(mail_conformance_parse(SLICE("MISSING_MIME_VERSION|LINE_TOO_LONG|"), &set), 0);
	mail_conformance_put(&b, set);
	assert_string_equal(buf_cstr(&b), "LINE_TOO_LONG|MISSING_MIME_VERSION");
	assert_int_equal(mail_conformance_parse(SLICE("NOPE"), &set), -E_INVAL);
	assert_non_null(strstr(err_text(), "invalid MessageConformance flag 'NOPE', possible values are 'INVALID_MIME_HEADERS', 'LINE_TOO_LONG'"));
	buf_fini(&b);
}

/* A deep or long hostile value costs neither stack nor quadratic time. */
static void test_hostile(void **st)
{
	static char big[200000];
	struct val v;
	memset(big, '(', sizeof big);
	assert_int_equal(mail_parse_address_list(slice_new(big, sizeof big), A, &v), -E_INVAL);
	memset(big, ',', sizeof big);
	assert_int_equal(mail_parse_address_list(slice_new(big, sizeof big), A, &v), -E_INVAL);
	for (size_t i = 0; i < sizeof big; i++)
		big[i] = "=?utf-8?q?"[i % 10];
	struct buf b = { 0 };
	assert_int_equal(mail_parse_unstructured(slice_new(big, sizeof big), &b), 0);
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values), cmocka_unit_test(test_written), cmocka_unit_test(test_wrapping), cmocka_unit_test(test_scan),
		cmocka_unit_test(test_edit), cmocka_unit_test(test_conformance_names), cmocka_unit_test(test_hostile),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
