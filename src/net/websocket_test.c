/* SPDX-License-Identifier: Apache-2.0 */
/* WebSocket frames over a socket pair; events to watchers that want more or less. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "net/trace.h"
#include "net/websocket.h"
#include "rt/io.h"
#include "rt/loop.h"
#include <stdlib.h>
#include <sys/socket.h>

static void test_accept_key(void **state)
{
	struct buf b = { 0 };

	ws_accept_key_put(&b, SLICE("dGhlIHNhbXBsZSBub25jZQ=="));	/* RFC 6455 1.3 */
	assert_string_equal(buf_cstr(&b), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
	buf_fini(&b);
}

/* What comes of BYTES that a peer sends and then closes: 0 and the message, or a code. */
static int received(struct slice bytes, size_t max, enum ws_op *op, struct buf *message)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
	struct rt_io *from = rt_io_from_fd(fds[0]), *to = rt_io_from_fd(fds[1]);
	rt_io_set_timeout(to, 2000, 2000);
	rt_io_put(from, bytes);
	assert_int_equal(rt_io_flush(from), 0);
	rt_io_close(&from);
	int rc = ws_read(to, max, op, message);
	rt_io_close(&to);
	return rc;
}

static void lengths(void)
{
	static const size_t SIZES[] = { 0, 1, 125, 126, 127, 65535, 65536, 70000 };
	char *text = calloc(1, 70000);
	enum ws_op op;

	for (size_t i = 0; i < ARRAY_LEN(SIZES); i++) {
		for (int mask = 0; mask < 2; mask++) {
			struct buf frame = { 0 }, message = { 0 };
			text[0] = 'x';
			ws_frame_put(&frame, WS_TEXT, slice_new(text, SIZES[i]), mask);
			assert_int_equal(received(buf_view(&frame), 70000, &op, &message), 0);
			assert_int_equal(op, WS_TEXT);
			assert_true(slice_eq(buf_view(&message), slice_new(text, SIZES[i])));
			buf_fini(&frame);
			buf_fini(&message);
		}
	}
	free(text);
}

static void fragments(void)
{
	struct buf message = { 0 };
	enum ws_op op;

	assert_int_equal(received(SLICE("\x01\x03" "Hel" "\x89\x02" "hi" "\x80\x02" "lo"), 100, &op, &message), 0);	/* a ping between them */
	assert_int_equal(op, WS_TEXT);
	assert_string_equal(buf_cstr(&message), "Hello");
	assert_int_equal(received(SLICE("\x89\x02" "hi"), 100, &op, &message), 0);
	assert_int_equal(op, WS_PING);
	buf_fini(&message);
}

static void refusals(void)
{
	struct buf message = { 0 };
	enum ws_op op;

	assert_int_equal(received(SLICE("\x80\x02" "lo"), 100, &op, &message), -E_PROTO);			/* goes on with nothing */
	assert_int_equal(received(SLICE("\x01\x01" "a" "\x81\x01" "b"), 100, &op, &message), -E_PROTO);	/* begins in the middle */
	assert_int_equal(received(SLICE("\xc1\x01" "a"), 100, &op, &message), -E_PROTO);
	assert_int_equal(received(SLICE("\x81\x7e\x00\x65" "a"), 100, &op, &message), -E_LIMIT);
	assert_int_equal(received(SLICE("\x01\x01" "a" "\x80\x7f\xff\xff\xff\xff\xff\xff\xff\xff" "b"), 100, &op, &message), -E_LIMIT);
	assert_int_equal(received(SLICE("\x81\x05" "ab"), 100, &op, &message), -E_CLOSED);
	assert_int_equal(received(SLICE("\x81"), 100, &op, &message), -E_CLOSED);
	buf_fini(&message);
}

/* Whether ws_wait finds a whole message in BYTES, to which nothing is added. */
static int waited(struct slice bytes)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
	struct rt_io *from = rt_io_from_fd(fds[0]), *to = rt_io_from_fd(fds[1]);
	rt_io_put(from, bytes);
	assert_int_equal(rt_io_flush(from), 0);
	int rc = ws_wait(to, 100, 50);
	assert_true(slice_eq(rt_io_buffered(to), bytes));
	rt_io_close(&from);
	rt_io_close(&to);
	return rc;
}

static void waits(void)
{
	static const struct slice WHOLE[] = {
		SLICE_INIT("\x81\x02" "hi"), SLICE_INIT("\x01\x01" "a" "\x80\x01" "b"), SLICE_INIT("\x89\x00" "\x81\x05" "ab"), SLICE_INIT("\x81\x82" "keys" "hi"),
		SLICE_INIT("\x01\x01" "a" "\x89\x01" "p" "\x80\x01" "b"),
	}, PART[] = {
		SLICE_INIT("\x81"), SLICE_INIT("\x81\x02" "h"), SLICE_INIT("\x01\x01" "a"), SLICE_INIT("\x01\x01" "a" "\x89\x01" "p"), SLICE_INIT("\x81\x82" "key"), SLICE_INIT("\x81\x7e\x01"),
	};

	for (size_t i = 0; i < ARRAY_LEN(WHOLE); i++)
		assert_int_equal(waited(WHOLE[i]), 0);
	for (size_t i = 0; i < ARRAY_LEN(PART); i++)
		assert_int_equal(waited(PART[i]), -E_TIMEOUT);
}

static bool only_b(const struct val *meta, void *arg)
{
	return slice_eq(val_get_str(meta, SLICE("who")), SLICE("b"));
}

static void expect_next(struct trace_watcher *w, const char *payload)
{
	struct buf text = { 0 };

	assert_int_equal(trace_next(w, &text, 1000), 0);
	if (strstr(buf_cstr(&text), payload) == NULL)
		fail_msg("%s is not in %s", payload, buf_cstr(&text));
	buf_fini(&text);
}

static void watching(void)
{
	struct arena *a = arena_create();
	struct buf text = { 0 };
	struct val meta = val_obj(), full = val_cstr(a, "all of it"), less = val_cstr(a, "some");

	assert_false(trace_on(TRACE_SMTP_SERVER));
	struct trace_watcher *all = trace_watch(TRACE_SMTP_SERVER, false, NULL, NULL), *terse = trace_watch(TRACE_SMTP_SERVER, true, only_b, NULL);
	assert_true(trace_on(TRACE_SMTP_SERVER));
	assert_false(trace_on(TRACE_SMTP_CLIENT));
	val_put_lit(a, &meta, "who", val_cstr(a, "a"));
	trace_emit(TRACE_SMTP_SERVER, &meta, &full, &less);
	val_put_lit(a, &meta, "who", val_cstr(a, "b"));
	trace_emit(TRACE_SMTP_SERVER, &meta, &full, &less);
	trace_emit(TRACE_SMTP_SERVER, &meta, NULL, &less);
	trace_emit(TRACE_SMTP_CLIENT, &meta, &full, NULL);
	expect_next(all, "{\"conn_meta\":{\"who\":\"a\"},\"payload\":\"all of it\",\"when\":\"");
	expect_next(all, "\"who\":\"b\"");
	assert_int_equal(trace_next(all, &text, 10), -E_TIMEOUT);
	expect_next(terse, "{\"conn_meta\":{\"who\":\"b\"},\"payload\":\"some\"");
	expect_next(terse, "\"some\"");
	trace_end(terse);
	assert_int_equal(trace_next(terse, &text, 1000), -E_CLOSED);
	trace_unwatch(&all);
	trace_unwatch(&terse);
	assert_false(trace_on(TRACE_SMTP_SERVER));
	buf_fini(&text);
	arena_destroy(&a);
}

static void in_fiber(void *arg)
{
	lengths();
	fragments();
	refusals();
	waits();
	watching();
}

static void test_in_fiber(void **state)
{
	struct rt_conf conf = { .shards = 1, .offload_threads = 1 };

	assert_int_equal(rt_init(&conf), 0);
	rt_run(in_fiber, NULL);
	rt_fini();
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_accept_key), cmocka_unit_test(test_in_fiber) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
