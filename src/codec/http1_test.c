/* SPDX-License-Identifier: Apache-2.0 */
/* Request heads and chunked bodies, whole and byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "codec/http1.h"

static struct http1_request r;

static int parse(const char *text)
{
	struct slice in = slice_from_cstr(text);
	int rc = http1_request_parse(in, &r);

	for (size_t n = 0; rc == 0 && n < r.head_len; n++) {	/* a part is never taken for the whole */
		static struct http1_request part;
		assert_int_equal(http1_request_parse(slice_sub(in, 0, n), &part), -E_AGAIN);
	}
	return rc;
}

static void test_good(void **state)
{
	assert_int_equal(parse("\r\nGET /a/b?x=1&y HTTP/1.1\r\nHost: x\r\nAccept:  a b \t\r\n\r\nrest"), 0);
	assert_true(slice_eq_cstr(r.method, "GET") && slice_eq_cstr(r.path, "/a/b") && slice_eq_cstr(r.query, "x=1&y"));
	assert_true(r.keep_alive && r.framing == HTTP1_NO_BODY && r.minor == 1);
	assert_true(slice_eq_cstr(http1_header_get(&r, "accept"), "a b"));
	assert_int_equal(parse("OPTIONS * HTTP/1.1\r\n\r\n"), 0);
	assert_int_equal(parse("GET http://x/p HTTP/1.1\nHost: x\nConnection: foo, Close\n\n"), 0);
	assert_true(slice_eq_cstr(r.path, "/p") && !r.keep_alive);
	assert_int_equal(parse("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"), 0);
	assert_true(r.keep_alive);
	assert_int_equal(parse("POST / HTTP/1.1\r\nContent-Length: 30\r\nContent-Length: 30\r\nExpect: 100-Continue\r\n\r\n"), 0);
	assert_true(r.framing == HTTP1_LENGTH && r.content_length == 30 && r.expect_continue);
	assert_int_equal(parse("POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: Chunked\r\n\r\n"), 0);
	assert_true(r.framing == HTTP1_CHUNKED && !r.keep_alive);
}

static void test_bad(void **state)
{
	static const char *const BAD[] = {
		"GET /\r\n\r\n", "GET / HTTP/2.0\r\n\r\n", "GET / HTTP/1.2\r\n\r\n", "GET  / HTTP/1.1\r\n\r\n", "hello there\r\n\r\n", "EHLO x\r\n\r\n",
		"G(T / HTTP/1.1\r\n\r\n", "GET /a b HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nnocolon\r\n\r\n", "GET / HTTP/1.1\r\nHost : x\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", "GET * HTTP/1.1\r\n\r\n", "GET a/b HTTP/1.1\r\n\r\n", "GET x:80 HTTP/1.1\r\n\r\n",
		"GET / HTTP/1.1\r\nX: a\r\n b\r\n\r\n", "GET / HTTP/1.1\r\nX: a\rb\r\n\r\n", "GET / HTTP/1.1\r\n: x\r\n\r\n",
		"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", "POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\n", "POST / HTTP/1.1\r\nContent-Length: 1, 1\r\n\r\n",
		"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "POST / HTTP/1.1\r\nContent-Length:\r\n\r\n",
		"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", "POST / HTTP/1.1\r\nTransfer-Encoding: identity\r\n\r\n",
		"POST / HTTP/1.1\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
		"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "POST / HTTP/1.1\r\nTransfer-Encoding: \vchunked\r\n\r\n",
		"POST / HTTP/1.1\r\nTransfer-Encoding:\r\nContent-Length: 5\r\n\r\n",
	};
	for (size_t i = 0; i < ARRAY_LEN(BAD); i++) {
		if (parse(BAD[i]) != -E_PROTO)
			fail_msg("accepted: %s", BAD[i]);
		assert_int_equal(r.status, 400);
	}
	assert_int_equal(http1_request_parse(SLICE("GET / HTTP/1.1\r\nX: a\0b\r\n\r\n"), &r), -E_PROTO);
}

static void test_limits(void **state)
{
	struct buf b = { 0 };

	buf_lit(&b, "GET /");
	for (int i = 0; i < 70000; i++)
		buf_putc(&b, 'p');
	assert_int_equal(http1_request_parse(buf_view(&b), &r), -E_PROTO);
	assert_int_equal(r.status, 414);
	buf_clear(&b);
	buf_lit(&b, "GET / HTTP/1.1\r\n");
	for (int i = 0; i < 101; i++)
		buf_printf(&b, "X-%d: y\r\n", i);
	assert_int_equal(http1_request_parse(buf_view(&b), &r), -E_PROTO);
	assert_int_equal(r.status, 431);
	buf_fini(&b);
}

static int chunked(struct slice in, size_t step, struct buf *out, size_t *total)
{
	struct http1_chunked c = { 0 };
	int rc = 0;

	buf_clear(out);
	for (*total = 0; rc == 0 && *total < in.len;) {
		size_t used;
		rc = http1_chunked_feed(&c, slice_sub(in, *total, step), &used, out);
		if (rc >= 0)
			*total += used;
	}
	return rc;
}

static void test_chunked(void **state)
{
	static const char *const BAD[] = { "zz\r\n", "2\r\nabc\r\n", "2\nab\r\n", "\r\n", "2;a\nb\r\n", "fffffffffffffffff\r\n", "-1\r\n", "0x2\r\n", "2 \r\nab\r\n", "2 3\r\n", "2\r\nab\n0\r\n\r\n" };
	struct slice good = SLICE("5\r\nhello\r\nA;x=y\r\n, world...\r\n0\r\nX-T: 1\r\n\r\nGET");
	struct buf out = { 0 };
	size_t total;

	for (size_t step = 1; step < good.len; step++) {
		assert_int_equal(chunked(good, step, &out, &total), 1);
		assert_string_equal(buf_cstr(&out), "hello, world...");
		assert_int_equal(total, good.len - 3);
	}
	for (size_t i = 0; i < ARRAY_LEN(BAD); i++) {
		if (chunked(slice_from_cstr(BAD[i]), SIZE_MAX, &out, &total) != -E_PROTO)
			fail_msg("accepted: %s", BAD[i]);
	}
	buf_fini(&out);
}

static void test_accept(void **state)
{
	assert_int_equal(http1_accept_encoding(SLICE("deflate, gzip")), HTTP1_GZIP);
	assert_int_equal(http1_accept_encoding(SLICE("deflate;q=0.9, gzip;q=0.1")), HTTP1_DEFLATE);
	assert_int_equal(http1_accept_encoding(SLICE("GZIP")), HTTP1_GZIP);
	assert_int_equal(http1_accept_encoding(SLICE("gzip;q=0")), HTTP1_IDENTITY);
	assert_int_equal(http1_accept_encoding(SLICE("br, zstd, *")), HTTP1_IDENTITY);
}

static void test_query(void **state)
{
	struct slice rest = SLICE("a=1&b=x%20y+z&&c");
	struct buf name = { 0 }, value = { 0 };

	assert_true(http1_query_next(&rest, &name, &value));
	assert_true(http1_query_next(&rest, &name, &value));
	assert_string_equal(buf_cstr(&name), "b");
	assert_string_equal(buf_cstr(&value), "x y z");
	assert_true(http1_query_next(&rest, &name, &value));
	assert_int_equal(value.len, 0);
	assert_false(http1_query_next(&rest, &name, &value));
	buf_fini(&name);
	buf_fini(&value);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good), cmocka_unit_test(test_bad), cmocka_unit_test(test_limits),
		cmocka_unit_test(test_chunked), cmocka_unit_test(test_accept), cmocka_unit_test(test_query),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
