/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP server over real sockets: framing, keep-alive, pipelining, content codings, refusals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "net/http_server.h"
#include "rt/io.h"
#include "rt/loop.h"
#include <stdlib.h>
#include <zlib.h>

static struct netaddr where;

static void handler(struct http_request *req, struct http_response *resp)
{
	struct slice body;

	if (slice_eq_cstr(req->head->path, "/echo")) {
		if (http_request_body(req, resp, &body) < 0)
			return;
		http_respond(resp, 200, "%.*s|", SLICE_ARG(body));
	} else if (slice_eq_cstr(req->head->path, "/long")) {
		for (int i = 0; i < 100; i++)
			buf_lit(&resp->body, "all work and no play ");
	} else {
		buf_lit(&resp->body, "OK");
	}
}

/* Sends DATA, reads until the server closes; without the date. */
static char *talk(struct slice data)
{
	struct buf got = { 0 };
	int fd;

	assert_int_equal(rt_connect(&where, NULL, 5000, &fd), 0);
	struct rt_io *io = rt_io_from_fd(fd);
	rt_io_set_timeout(io, 3000, 3000);
	rt_io_put(io, data);
	assert_int_equal(rt_io_flush(io), 0);
	while (rt_io_fill(io) == 0) {
		buf_slice(&got, rt_io_buffered(io));
		rt_io_consume(io, rt_io_buffered(io).len);
	}
	rt_io_close(&io);
	char *text = buf_take(&got, NULL), *date;
	while (text && (date = strstr(text, "date: ")) != NULL) {
		char *end = strchr(date, '\n') + 1;
		memmove(date, end, strlen(end) + 1);
	}
	return text;
}

static void expect(const char *data, const char *want)
{
	char *got = talk(slice_from_cstr(data));

	assert_string_equal(got ? got : "", want);
	free(got);
}

static void framing(void)
{
	expect("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nOK");
	expect("GET / HTTP/1.0\r\n\r\n", "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nOK");
	expect("GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nConnection: close\r\n\r\n",
	       "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nOKHTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nOK");
	expect("HEAD / HTTP/1.1\r\nConnection: close\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n");
	expect("POST /echo HTTP/1.1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
	       "HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 4\r\nconnection: close\r\n\r\nabc|");
	expect("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nConnection: close\r\n\r\n",
	       "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nOKHTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nOK");
}

static void refusals(void)
{
	expect("GET  / HTTP/1.1\r\n\r\n", "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
	expect("POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
	       "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\nvary: accept-encoding\r\n"
	       "content-length: 71\r\nconnection: close\r\n\r\nFailed to buffer the request body: error reading a body from connection");
	expect("POST /echo HTTP/1.1\r\nContent-Length: 5000\r\n\r\n",
	       "HTTP/1.1 413 Payload Too Large\r\ncontent-type: text/plain; charset=utf-8\r\nvary: accept-encoding\r\n"
	       "content-length: 56\r\nconnection: close\r\n\r\nFailed to buffer the request body: length limit exceeded");
}

static void codings(void)
{
	char *got = talk(SLICE("GET /long HTTP/1.1\r\nConnection: close\r\nAccept-Encoding: gzip\r\n\r\n"));

	assert_non_null(strstr(got, "content-encoding: gzip\r\n"));
	assert_non_null(strstr(got, "vary: accept-encoding\r\n"));
	free(got);

	struct buf b = { 0 };
	unsigned char packed[256];
	uLongf n = sizeof packed;
	assert_int_equal(compress(packed, &n, (const Bytef *)"hello", 5), Z_OK);
	buf_printf(&b, "POST /echo HTTP/1.1\r\nConnection: close\r\nContent-Encoding: deflate\r\nContent-Length: %lu\r\n\r\n", n);
	buf_put(&b, packed, n);
	got = talk(buf_view(&b));
	assert_non_null(strstr(got, "\r\n\r\nhello|"));
	free(got);
	buf_fini(&b);
}

static void in_fiber(void *arg)
{
	struct http_server_conf conf = { .handler = handler, .body_limit = 1000 };
	struct http_server *s;

	assert_int_equal(netaddr_parse(SLICE("127.0.0.1:0"), 0, &conf.listen), 0);
	assert_int_equal(http_server_start(&conf, &s), 0);
	http_server_addr(s, &where);
	framing();
	refusals();
	codings();
	http_server_stop(&s);
}

static void test_server(void **state)
{
	struct rt_conf conf = { .shards = 2, .offload_threads = 1 };

	assert_int_equal(rt_init(&conf), 0);
	rt_run(in_fiber, NULL);
	rt_fini();
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_server) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
