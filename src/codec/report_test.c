/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>
#include "base/encode.h"
#include "codec/report.h"

static struct arena *A;
static int setup(void **st) { A = arena_create(); return 0; }
static int teardown(void **st) { arena_destroy(&A); return 0; }

static int parse(const char *kind, const char *status, struct val *out)
{
	struct slice m = arena_slicef(A, "Content-Type: multipart/report; report-type=%s; boundary=\"b\"\r\n\r\n--b\r\n\r\nFailed.\r\n--b\r\nContent-Type: message/%s\r\n\r\n%s\r\n"
				      "--b\r\nContent-Type: text/rfc822-headers\r\n\r\nSubject: original\r\n\r\n--b--\r\n",
				      kind, kind, status);
	return strcmp(kind, "delivery-status") == 0 ? report_parse_dsn(m, A, out) : report_parse_arf(m, A, out);
}

static const char *text(const struct val *v)
{
	struct buf b = { 0 };
	struct val copy = val_copy(A, v);
	val_sort(&copy);
	json_put(&b, &copy, JSON_COMPACT);
	const char *s = arena_strdup(A, buf_view(&b));
	buf_fini(&b);
	return s;
}

#define MTA "Reporting-MTA: dns; mx.example\r\n"
#define RCPT "Final-Recipient: rfc822; a@b.example\r\n"

static void test_dsn(void **st)
{
	struct val v;
	struct report_failure *f;
	assert_int_equal(parse("delivery-status", MTA "Arrival-Date: Thu, 1 Jan 2026 10:00:00 +0000\r\nX-Own: per message\r\n\r\nOriginal-Recipient: rfc822; A@B.example\r\n" RCPT
			       "Action: failed\r\nStatus: 5.1.1\r\nDiagnostic-Code: smtp; 550 5.1.1\r\n user unknown\r\nLast-Attempt-Date: Thu, 1 Jan 2026 10:00:05 +0000\r\n\r\n"
			       "Final-Recipient: rfc822;c@d.example\r\nAction: delayed\r\nStatus: 4.0.0 (later)\r\nX-Own: 1\r\nX-Own: 2\r\n", &v), 0);
	assert_string_equal(text(&v),
		"{\"original_message\":\"Subject: original\\n\\n\",\"per_message\":{\"arrival_date\":\"2026-01-01T10:00:00Z\",\"dsn_gateway\":null,\"extensions\":{\"x-own\":[\"per message\"]},"
		"\"original_envelope_id\":null,\"received_from_mta\":null,\"reporting_mta\":{\"mta_type\":\"dns\",\"name\":\"mx.example\"}},\"per_recipient\":["
		"{\"action\":\"failed\",\"diagnostic_code\":{\"diagnostic\":\"550 5.1.1 user unknown\",\"diagnostic_type\":\"smtp\"},\"extensions\":{},\"final_log_id\":null,"
		"\"final_recipient\":{\"recipient\":\"a@b.example\",\"recipient_type\":\"rfc822\"},\"last_attempt_date\":\"2026-01-01T10:00:05Z\","
		"\"original_recipient\":{\"recipient\":\"A@b.example\",\"recipient_type\":\"rfc822\"},\"remote_mta\":null,\"status\":{\"class\":5,\"comment\":null,\"detail\":1,\"subject\":1},\"will_retry_until\":null},"
		"{\"action\":\"delayed\",\"diagnostic_code\":null,\"extensions\":{\"x-own\":[\"1\",\"2\"]},\"final_log_id\":null,\"final_recipient\":{\"recipient\":\"c@d.example\",\"recipient_type\":\"rfc822\"},"
		"\"last_attempt_date\":null,\"original_recipient\":null,\"remote_mta\":null,\"status\":{\"class\":4,\"comment\":\"(later)\",\"detail\":0,\"subject\":0},\"will_retry_until\":null}]}");
	assert_int_equal(report_dsn_failures(&v, A, &f), 1);
	assert_true(slice_eq_cstr(f[0].recipient, "A@b.example") && slice_eq_cstr(f[0].reporting_mta, "mx.example"));
	assert_int_equal(f[0].response.code, 550);
	assert_true(slice_eq_cstr(f[0].response.content, "5.1.1 user unknown"));
	assert_int_equal(f[0].last_attempt_us, 1767261605000000);
}

static void test_broken(void **st)
{
	static const struct { const char *in, *error; } ROWS[] = {
		{ "", "required header reporting-mta is not present" },
		{ MTA "\r\n" RCPT "Status: 5.0.0\r\n", "required header action is not present" },
		{ MTA "\r\n" RCPT "Action: odd\r\nStatus: 5.0.0\r\n", "failed to convert 'odd': invalid action type odd" },
		{ MTA "\r\n" RCPT "Action: failed\r\nStatus: nonsense\r\n", "failed to convert 'nonsense': parsing status.class: invalid digit found in string" },
		{ "Reporting-MTA: mx.example\r\n", "failed to convert 'mx.example': expected 'name-type; name', got mx.example" },
		{ MTA "\r\nAction: failed\r\nStatus: 5.0.0\r\n", "required header final-recipient is not present" },
		{ MTA MTA, "header reporting-mta should have only a single value" },
	};
	struct val v;
	for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
		assert_int_equal(parse("delivery-status", ROWS[i].in, &v), -E_INVAL);
		assert_string_equal(err_text(), ROWS[i].error);
	}
	assert_int_equal(report_parse_dsn(SLICE("Subject: x\r\n\r\nhi\r\n"), A, &v), -E_NOENT);
	assert_int_equal(report_parse_arf(SLICE("Subject: x\r\n\r\nhi\r\n"), A, &v), -E_NOENT);
	assert_int_equal(report_parse_dsn(SLICE("Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n"), A, &v), -E_INVAL);
}

/* Writers of reports make mistakes that do not hide who failed and why. */
static void test_odd(void **st)
{
	struct val v;
	struct report_failure *f;
	assert_int_equal(parse("delivery-status", MTA "Arrival-Date: Fri, 1 Jan 2026 10:00:00 +0000 (GMT)\r\nDSN-Gateway: none\r\n\r\n"
			       "Final-Recipient: rfc822; two..dots@b.example\r\nAction: Failed\r\nStatus: 5.7.0\r\nDiagnostic-Code: SMTP; 552-5.7.0 blocked\r\nLast-Attempt-Date: Mon, 1 Jan 2026 10:00:05 +0000\r\n\r\n"
			       "Final-Recipient: rfc822;|/bin/pipe\r\nAction: failed\r\nStatus: 5.3.0\r\nDiagnostic-Code: no type\r\n", &v), 0);
	assert_true(slice_eq_cstr(val_get_str(val_get_lit(&v, "per_message"), SLICE("arrival_date")), "2026-01-01T10:00:00Z"));
	assert_int_equal(report_dsn_failures(&v, A, &f), 2);
	assert_true(slice_eq_cstr(f[0].recipient, "two..dots@b.example") && slice_eq_cstr(f[0].response.content, "5.7.0 blocked"));
	assert_int_equal(f[0].response.code, 552);
	assert_int_equal(f[0].last_attempt_us, 1767261605000000);
	assert_true(slice_eq_cstr(f[1].recipient, "|/bin/pipe") && f[1].response.content.len == 0);
	assert_int_equal(f[1].last_attempt_us, 0);
}

static void test_arf(void **st)
{
	struct val v;
	assert_int_equal(parse("feedback-report", "Feedback-Type: abuse\r\nUser-Agent: Gen/1.0\r\nVersion: 1\r\nOriginal-Mail-From: <s@from.example>\r\nOriginal-Rcpt-To: <a@b.example>\r\n"
			       "Original-Rcpt-To: <c@d.example>\r\nArrival-Date: yesterday\r\nIncidents: 3\r\nX-Own: y\r\n", &v), 0);
	assert_string_equal(text(&v), "{\"arrival_date\":null,\"authentication_results\":[],\"extensions\":{\"x-own\":[\"y\"]},\"feedback_type\":\"abuse\",\"incidents\":3,\"original_envelope_id\":null,"
		"\"original_mail_from\":\"s@from.example\",\"original_message\":\"Subject: original\\n\\n\",\"original_rcpto_to\":[\"a@b.example\",\"c@d.example\"],\"reported_domain\":[],\"reported_uri\":[],"
		"\"reporting_mta\":null,\"source_ip\":null,\"supplemental_trace\":null,\"user_agent\":\"Gen/1.0\",\"version\":\"1\"}");
	assert_int_equal(parse("feedback-report", "Feedback-Type: abuse\r\nUser-Agent: x\r\nVersion: 1\r\nIncidents: many\r\n", &v), -E_INVAL);
	assert_int_equal(parse("feedback-report", "Feedback-Type: abuse\r\n", &v), -E_INVAL);
}

static void test_trace(void **st)
{
	struct val v;
	assert_true(report_parse_trace(SLICE("eyJfQF8iOiJcXF8vIiwicmVjaXBpZW50Ijoi\r\n\tdXNlckBmYXIuZXhhbXBsZSJ9"), A, &v));
	assert_string_equal(text(&v), "{\"recipient\":\"user@far.example\"}");
	assert_false(report_parse_trace(SLICE("aGVsbG8="), A, &v));
	assert_false(report_parse_trace(SLICE("not base64"), A, &v));
	assert_false(report_parse_trace(SLICE(""), A, &v));
}

/* --- making reports ------------------------------------------------------------------------------------------------------ */

#define RECORD(KIND, PROTO, MORE)                                                                                                          \
	"{\"type\":\"" KIND "\",\"delivery_protocol\":" PROTO ",\"sender\":\"s@from.example\",\"created\":1057049557,\"timestamp\":1057056757," \
	"\"response\":{\"code\":550,\"enhanced_code\":{\"class\":5,\"subject\":7,\"detail\":1},\"content\":\"no\\nX-Evil: 1\"}," MORE "}"
#define PEER "\"recipient\":\"r@to.example\",\"peer_address\":{\"name\":\"mx.to.example\",\"addr\":\"192.0.2.1\"}"
#define ORIGINAL "Subject: Hello!\r\nX-N: 1\r\n\r\nhello there"

static int make(const struct report_dsn_conf *c, const char *record, struct slice original, struct buf *out)
{
	struct val v;
	assert_int_equal(json_parse(slice_from_cstr(record), A, &v), 0);
	return report_put_dsn(out, c, &v, original);
}

static struct report_dsn_conf conf(int original)
{
	return (struct report_dsn_conf){ .original = original, .expirations = true, .bounces = true, .stable = true, .mta_type = SLICE("dns"), .mta_name = SLICE("mta.example") };
}

/* What was made reads back as what the record told, and nothing more. */
static void test_put(void **st)
{
	struct report_dsn_conf c = conf(REPORT_ORIGINAL_FULL);
	struct buf b = { 0 };
	struct val v;

	assert_int_equal(make(&c, RECORD("Bounce", "\"ESMTP\"", PEER), SLICE(ORIGINAL), &b), 1);
	assert_int_equal(report_parse_dsn(buf_view(&b), A, &v), 0);
	assert_string_equal(text(&v),
		"{\"original_message\":\"Subject: Hello!\\nX-N: 1\\n\\nhello there\\n\",\"per_message\":{\"arrival_date\":\"2003-07-01T08:52:37Z\",\"dsn_gateway\":null,\"extensions\":{},"
		"\"original_envelope_id\":null,\"received_from_mta\":null,\"reporting_mta\":{\"mta_type\":\"dns\",\"name\":\"mta.example\"}},\"per_recipient\":["
		"{\"action\":\"failed\",\"diagnostic_code\":{\"diagnostic\":\"550 5.7.1 no X-Evil: 1\",\"diagnostic_type\":\"smtp\"},\"extensions\":{},\"final_log_id\":null,"
		"\"final_recipient\":{\"recipient\":\"r@to.example\",\"recipient_type\":\"rfc822\"},\"last_attempt_date\":\"2003-07-01T10:52:37Z\",\"original_recipient\":null,"
		"\"remote_mta\":{\"mta_type\":\"dns\",\"name\":\"mx.to.example\"},\"status\":{\"class\":5,\"comment\":\"no X-Evil: 1\",\"detail\":1,\"subject\":7},\"will_retry_until\":null}]}");
	assert_true(slice_find(buf_view(&b), SLICE("To: s@from.example\r\nFrom: Mail Delivery Subsystem <mailer-daemon@mta.example>\r\n")) > 0);
	assert_true(slice_find(buf_view(&b), SLICE("While communicating with mx.to.example (192.0.2.1):\r\nResponse: 550 5.7.1 no X-Evil: 1\r\n")) > 0);
	buf_fini(&b);
}

static void test_put_original(void **st)
{
	struct report_dsn_conf c = conf(REPORT_ORIGINAL_HEADERS);
	struct buf b = { 0 };

	assert_int_equal(make(&c, RECORD("Expiration", "null", "\"recipient\":[\"a@to.example\",\"b@to.example\"]"), SLICE(ORIGINAL), &b), 1);
	assert_true(slice_ends(buf_view(&b), SLICE("\r\nContent-Type: text/rfc822-headers\r\n\r\nSubject: Hello!\r\nX-N: 1\r\n--report-boundary--\r\n")));
	assert_true(slice_find(buf_view(&b), SLICE("addressed to a@to.example, b@to.example.\r\nStatus: 550 5.7.1 no X-Evil: 1\r\n")) > 0);
	assert_true(slice_find(buf_view(&b), SLICE("Final-Recipient: rfc822;b@to.example\r\n")) > 0);
	buf_clear(&b);
	c.original = REPORT_ORIGINAL_NONE;
	assert_int_equal(make(&c, RECORD("Bounce", "\"ESMTP\"", PEER), SLICE(ORIGINAL), &b), 1);
	assert_true(slice_find(buf_view(&b), SLICE("Hello!")) < 0);
	buf_fini(&b);
}

static void test_put_none(void **st)
{
	static const struct { const char *record; int rc; } ROWS[] = {
		{ RECORD("Delivery", "\"ESMTP\"", PEER), 0 },
		{ RECORD("Bounce", "\"Maildir\"", PEER), 0 },
		{ RECORD("Bounce", "null", PEER), 0 },
		{ "{\"type\":\"Bounce\",\"delivery_protocol\":\"ESMTP\",\"sender\":\"\"}", 0 },
		{ RECORD("Bounce", "\"ESMTP\"", "\"recipient\":\"r@to.example\\r\\nX-Evil: 1\""), -E_INVAL },
		{ RECORD("Bounce", "\"ESMTP\"", "\"recipient\":[]"), -E_INVAL },
		{ "{\"type\":\"Expiration\",\"sender\":\"s@from.example\",\"recipient\":\"r@to.example\",\"response\":{\"code\":550}}", -E_INVAL },
		{ "5", 0 },
	};
	struct report_dsn_conf c = conf(REPORT_ORIGINAL_NONE);
	struct buf b = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(ROWS); i++)
		assert_int_equal(make(&c, ROWS[i].record, SLICE_NONE, &b), ROWS[i].rc);
	c.bounces = false;
	assert_int_equal(make(&c, RECORD("Bounce", "\"ESMTP\"", PEER), SLICE_NONE, &b), 0);
	c.bounces = true;
	c.expirations = false;
	assert_int_equal(make(&c, RECORD("Expiration", "null", PEER), SLICE_NONE, &b), 0);
	assert_int_equal(b.len, 0);
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_put), cmocka_unit_test(test_put_original), cmocka_unit_test(test_put_none), cmocka_unit_test(test_dsn), cmocka_unit_test(test_broken), cmocka_unit_test(test_odd), cmocka_unit_test(test_arf), cmocka_unit_test(test_trace) };
	return cmocka_run_group_tests(tests, setup, teardown);
}
