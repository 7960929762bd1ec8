/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "codec/mime.h"

#define H "Content-Type: multipart/mixed; boundary="

static struct mime_doc *parse(const char *s)
{
	struct mime_doc *d;
	if (mime_parse(slice_from_cstr(s), &d) < 0)
		fail_msg("%s: %s", s, err_text());
	return d;
}

static void is_text(const struct mime_part *p, const char *want)
{
	struct buf b = { 0 };
	mime_put(&b, p);
	assert_string_equal(buf_cstr(&b), want);
	buf_fini(&b);
}

static void body_is(struct mime_part *p, const char *want)
{
	struct arena *a = arena_create();
	struct slice body;
	bool text;
	assert_int_equal(mime_body(p, a, &body, &text), 0);
	assert_string_equal(body.ptr, want);
	arena_destroy(&a);
}

static void test_round_trip(void **st)
{
	static const char *const SAME[] = {
		"Subject: x\r\nMIME-Version: 1.0\r\n" H "\"b\"\r\n\r\n--b\r\nContent-Type: multipart/alternative; boundary=c\r\n\r\n--c\r\nContent-Type: text/plain\r\n\r\n"
		"hello\r\n--c\r\nContent-Type: text/html\r\n\r\n<b>hello</b>\r\n--c--\r\n--b\r\nContent-Type: application/pdf\r\n\r\naGk=\r\n--b--\r\n",
		H "b\r\n\r\nThis is a message with\r\na preamble.\r\n--b\r\n\r\nx\r\n--b--\r\nand an epilogue", H "b\n\n--b\n\na\n--b--\n", "A: b\n\nbody\n", "\r\nbody only\r\n",
		": novalue\r\n\r\n", "A : b\r\n\r\n", H "x\r\n\r\nnever\r\n", H "b\r\n\r\n", H "\"b c\"\r\n\r\n--b c\r\n\r\na\r\n--b c--\r\n", H "\"\"\r\n\r\n--\r\n\r\na\r\n----\r\n",
		H "b\r\n\r\n--b--\r\n", H "b\r\n\r\nx --b\r\n\r\na\r\n--bb--",
	};
	for (size_t i = 0; i < ARRAY_LEN(SAME); i++) {
		struct mime_doc *d = parse(SAME[i]);
		is_text(d->root, SAME[i]);
		mime_doc_unref(&d);
	}
	struct mime_doc *d = parse(H "b\r\n\r\n--b\r\n\r\nno end");
	is_text(d->root, H "b\r\n\r\n--b\r\n\r\nno end\r\n--b--\r\n");
	mime_doc_unref(&d);
	assert_int_equal(mime_parse(SLICE(" folded first\r\nA: b\r\n\r\n"), &d), -E_INVAL);
}

static void test_structure(void **st)
{
	struct mime_doc *d = parse(H "o\r\n\r\n--o\r\nContent-Type: multipart/alternative; boundary=oo\r\n\r\n--oo\r\n\r\ninner never closed\r\n--o\r\nContent-Type: text/html\r\n\r\nouter\r\n"
				     "--o\r\nContent-Type: image/png; name=x.png\r\nContent-Disposition: inline\r\nContent-ID: <i@x>\r\n\r\nPNG\r\n--o--\r\n");
	struct arena *a = arena_create();
	struct mime_structure s;
	struct mime_info info;
	struct buf id = { 0 };
	mime_structure(d->root, a, &s);
	body_is(s.text, "inner never closed\r\n");
	body_is(s.html, "outer\r\n");
	assert_int_equal(s.n_attachments, 1);
	assert_true(mime_part_id(d->root, s.text, &id));
	assert_string_equal(buf_cstr(&id), "0.0");
	mime_info(s.attachments[0], a, &info);
	assert_true(info.is_inline && slice_eq_cstr(info.file_name, "x.png") && slice_eq_cstr(info.content_id, "i@x"));
	buf_fini(&id);
	arena_destroy(&a);
	mime_doc_unref(&d);
}

/* What is odd about the field does not hide the parts; stray semicolons are told all the same. */
static void test_boundaries(void **st)
{
	static const struct { const char *params; bool invalid; } ROWS[] = {
		{ "; boundary=\"a\r\n b\"", false }, { "; boundary=\"a b\";", true }, { ";; boundary=\"a b\"", true }, { " ; ;boundary=\"a b\" ; ;", true },
	};
	for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
		char text[200];
		snprintf(text, sizeof text, "Content-Type: multipart/mixed%s\r\n\r\n--a b\r\n\r\none\r\n--a b\r\n\r\ntwo\r\n--a b--\r\n", ROWS[i].params);
		struct mime_doc *d = parse(text);
		assert_int_equal(d->root->n_parts, 2);
		assert_int_equal((d->root->conformance & MAIL_INVALID_MIME_HEADERS) != 0, ROWS[i].invalid);
		mime_doc_unref(&d);
	}
}

static const struct { const char *content, *text; } TEXTS[] = {
	{ "", "\"us-ascii\"\r\n\r\n\r\n" }, { "x", "\"us-ascii\"\r\n\r\nx\r\n" }, { "x\r\n", "\"us-ascii\"\r\n\r\nx\r\n" },
	{ "a=b", "\"us-ascii\"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\na=3Db\r\n" },
	{ "gr\xc3\xbcn", "\"utf-8\"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\ngr=C3=BCn\r\n" },
	{ "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e", "\"utf-8\"\r\nContent-Transfer-Encoding: base64\r\n\r\n5pel5pys6Kqe5pel5pys6Kqe\r\n" },
	{ "trailing space \r\n", "\"us-ascii\"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\ntrailing space=20\r\n" },
	{ "\xff", "\"utf-8\"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=FF\r\n" },
	{ "bare\rcr", "\"us-ascii\"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nbare=0Dcr\r\n" },
	{ "plain gr\xc3\xbc\xc3\x9f" "e\r\n", "\"utf-8\"\r\nContent-Transfer-Encoding: base64\r\n\r\ncGxhaW4gZ3LDvMOfZQ0K\r\n" },
	{ "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy",
	  "\"us-ascii\"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy=\r\nyyyyy\r\n" },
};

static void test_new_text(void **st)
{
	struct mime_doc *d = mime_doc_create();
	for (size_t i = 0; i < ARRAY_LEN(TEXTS); i++) {
		struct buf want = { 0 };
		buf_printf(&want, "Content-Type: text/plain;\r\n\tcharset=%s", TEXTS[i].text);
		is_text(mime_new_text(d, SLICE("text/plain"), slice_from_cstr(TEXTS[i].content)), buf_cstr(&want));
		buf_fini(&want);
	}
	mime_doc_unref(&d);
}

static void test_new_binary(void **st)
{
	struct mime_doc *d = mime_doc_create();
	struct mime_attachment o = { true, SLICE("gr\xc3\xbcn.bin"), SLICE("c@x"), true };
	is_text(mime_new_binary(d, SLICE("a/b"), SLICE("xyz"), &o),
		"Content-Disposition: inline;\r\n\tfilename*=UTF-8''gr%C3%BCn.bin\r\nContent-ID: <c@x>\r\nContent-Type: a/b;\r\n\tname=\"=?UTF-8?q?gr=C3=BCn.bin?=\"\r\n"
		"Content-Transfer-Encoding: base64\r\n\r\neHl6\r\n");
	o = (struct mime_attachment){ true, SLICE("e"), SLICE_NONE, false };
	is_text(mime_new_binary(d, SLICE("a/b"), SLICE(""), &o),
		"Content-Disposition: attachment;\r\n\tfilename=\"e\"\r\nContent-Type: a/b;\r\n\tname=\"e\"\r\nContent-Transfer-Encoding: base64\r\n\r\n\r\n");
	mime_doc_unref(&d);
}

static void test_builder(void **st)
{
	struct mime_builder b;
	mime_builder_init(&b);
	b.stable = true;
	assert_int_equal(mime_build(&b, 0), -E_INVAL);
	b.text = mime_new_text(b.doc, SLICE("text/plain"), SLICE("x"));
	b.html = mime_new_text(b.doc, SLICE("text/html"), SLICE("y"));
	struct mime_attachment o = { true, SLICE("f"), SLICE_NONE, false };
	mime_builder_attach(&b, mime_new_binary(b.doc, SLICE("a/b"), SLICE("\xff"), &o));
	mime_header_append(b.doc, b.headers, SLICE("Subject"), SLICE("s"));
	assert_int_equal(mime_build(&b, 0), 0);
	is_text(b.doc->root, "Content-Type: multipart/mixed;\r\n\tboundary=\"mm-boundary\"\r\nSubject: s\r\nMime-Version: 1.0\r\nDate: Tue, 1 Jul 2003 10:52:37 +0200\r\n\r\n--mm-boundary\r\n"
		"Content-Type: multipart/alternative;\r\n\tboundary=\"ma-boundary\"\r\n\r\n--ma-boundary\r\nContent-Type: text/plain;\r\n\tcharset=\"us-ascii\"\r\n\r\nx\r\n"
		"--ma-boundary\r\nContent-Type: text/html;\r\n\tcharset=\"us-ascii\"\r\n\r\ny\r\n--ma-boundary--\r\n--mm-boundary\r\nContent-Disposition: attachment;\r\n\tfilename=\"f\"\r\n"
		"Content-Type: a/b;\r\n\tname=\"f\"\r\nContent-Transfer-Encoding: base64\r\n\r\n/w==\r\n--mm-boundary--\r\n");
	mime_builder_fini(&b);
}

static const struct { const char *in, *out; } REBUILT[] = {
	{ "X-Own: 1\r\nDate: Thu, 1 Jan 2026 10:00 +0000\r\nSubject: =?iso-8859-1?q?caf=E9?=\r\n\r\nx\r\n",
	  "Content-Type: text/plain;\r\n\tcharset=\"us-ascii\"\r\nX-Own: 1\r\nDate: Thu, 1 Jan 2026 10:00:00 +0000\r\nSubject: =?UTF-8?q?caf=C3=A9?=\r\n\r\nx\r\n" },
	{ "Content-Type: application/pdf; name=a.pdf\r\nContent-Disposition: attachment; filename=a.pdf\r\n\r\nPDF",
	  "Content-Disposition: attachment;\r\n\tfilename=\"a.pdf\"\r\nContent-Type: application/pdf;\r\n\tname=\"a.pdf\"\r\nContent-Transfer-Encoding: base64\r\n\r\nUERG\r\n" },
	{ "Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\nx\r\n", "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nU3ViamVjdDogaW5uZXINCg0KeA0K\r\n" },
	{ "Content-Type: text/plain; charset=iso-8859-1; format=flowed\r\nContent-Transfer-Encoding: 8bit\r\n\r\ncaf\xe9\r\n",
	  "Content-Type: text/plain;\r\n\tcharset=\"utf-8\";\r\n\tformat=\"flowed\"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\ncaf=C3=A9\r\n" },
	{ "Subject: caf\xe9\r\n\r\ncaf\xe9\r\n", "Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\nY2Fm6Q0K\r\n" },
};

static void test_rebuild(void **st)
{
	for (size_t i = 0; i < ARRAY_LEN(REBUILT); i++) {
		struct mime_doc *d = parse(REBUILT[i].in), *out;
		assert_int_equal(mime_rebuild(d->root, NULL, &out), 0);
		is_text(out->root, REBUILT[i].out);
		mime_doc_unref(&d);
		mime_doc_unref(&out);
	}
}

static void test_check_fix(void **st)
{
	static const char GOOD[] = "From: a@b.example\r\nMime-Version: 1.0\r\nDate: Thu, 01 Jan 2026 10:00:00 +0000\r\nMessage-ID: <a@b>\r\n\r\nbody\r\n";
	static const char POOR[] = "From: a@b.example\r\nSubject: x\r\n\r\nbody\r\n";
	struct mime_fix how = { .message_id = SLICE("id@host"), .now_us = 1767261600000000 };
	struct mime_doc *d = parse(GOOD), *out;
	assert_int_equal(mime_check(d->root), 0);
	mime_doc_unref(&d);
	d = parse(POOR);
	assert_int_equal(mime_check(d->root), MAIL_MISSING_DATE_HEADER | MAIL_MISSING_MESSAGE_ID_HEADER | MAIL_MISSING_MIME_VERSION);
	assert_int_equal(mime_check_fix(d, slice_from_cstr(POOR), ~0u, MAIL_MISSING_DATE_HEADER, &how, &out), -E_REJECT);
	assert_string_equal(err_text(), "Message has conformance issues: MISSING_MESSAGE_ID_HEADER|MISSING_MIME_VERSION");
	assert_int_equal(mime_check_fix(d, slice_from_cstr(POOR), ~0u, ~0u, &how, &out), 0);
	is_text(out->root, "From: a@b.example\r\nSubject: x\r\nDate: Thu, 1 Jan 2026 10:00:00 +0000\r\nMime-Version: 1.0\r\nMessage-ID: <id@host>\r\n\r\nbody\r\n");
	mime_doc_unref(&out);
	mime_doc_unref(&d);
	d = parse("Nocolon\r\nX : y\r\n\r\ncaf\xc3\xa9\n");
	assert_int_equal(mime_check(d->root) & ~(MAIL_MISSING_DATE_HEADER | MAIL_MISSING_MESSAGE_ID_HEADER | MAIL_MISSING_MIME_VERSION),
			 MAIL_MISSING_COLON_VALUE | MAIL_NAME_ENDS_WITH_SPACE | MAIL_NEEDS_TRANSFER_ENCODING | MAIL_NON_CANONICAL_LINE_ENDINGS);
	mime_doc_unref(&d);
	d = parse("Subject: caf\xe9\r\n\r\ncaf\xe9 cr\xe8me\r\n");
	static const struct slice LATIN[] = { SLICE_INIT("iso-8859-1") };
	how = (struct mime_fix){ .detect_encoding = true, .include = LATIN, .n_include = 1 };
	assert_int_equal(mime_check_fix(d, SLICE("Subject: caf\xe9\r\n\r\ncaf\xe9 cr\xe8me\r\n"), 0, MAIL_NEEDS_TRANSFER_ENCODING, &how, &out), 0);
	is_text(out->root, "Content-Type: text/plain;\r\n\tcharset=\"utf-8\"\r\nContent-Transfer-Encoding: quoted-printable\r\nSubject: =?UTF-8?q?caf=C3=A9?=\r\n\r\ncaf=C3=A9 cr=C3=A8me\r\n");
	mime_doc_unref(&out);
	mime_doc_unref(&d);
}

static void test_codings(void **st)
{
	struct buf b = { 0 };
	qp_decode(&b, SLICE("a=3Db=\r\nc =\r\n d \t\r\n=zz=4"));
	assert_string_equal(buf_cstr(&b), "a=bc  d\r\n=zz=4");
	buf_clear(&b);
	assert_int_equal(mime_base64_decode(&b, SLICE("YQ==\r\nYm\tM=\n")), 0);
	assert_string_equal(buf_cstr(&b), "abc");
	static const char *const BAD[] = { "!!!", "YQ", "YQ=a", "=aaa", "YQ=" };
	for (size_t i = 0; i < ARRAY_LEN(BAD); i++)
		assert_int_equal(mime_base64_decode(&b, slice_from_cstr(BAD[i])), -E_INVAL);
	buf_fini(&b);
}

static void test_hostile(void **st)
{
	struct buf b = { 0 };
	struct mime_doc *d;
	for (int i = 0; i < 60; i++)
		buf_printf(&b, H "b%d\r\n\r\n--b%d\r\n", i, i);
	assert_int_equal(mime_parse(buf_view(&b), &d), -E_LIMIT);
	buf_clear(&b);
	buf_lit(&b, H "b\r\n\r\n");
	for (int i = 0; i < 20000; i++)
		buf_lit(&b, "--b\r\n\r\n");
	assert_int_equal(mime_parse(buf_view(&b), &d), -E_LIMIT);
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip), cmocka_unit_test(test_structure), cmocka_unit_test(test_new_text), cmocka_unit_test(test_new_binary),
		cmocka_unit_test(test_builder), cmocka_unit_test(test_rebuild), cmocka_unit_test(test_check_fix), cmocka_unit_test(test_codings),
		cmocka_unit_test(test_hostile), cmocka_unit_test(test_boundaries),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
