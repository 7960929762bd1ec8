/* SPDX-License-Identifier: Apache-2.0 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/xalloc.h"
#include "rt/io.h"
#include "rt/test_util.h"

static void pair(struct rt_io **a, struct rt_io **b)
{
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd), 0);
	*a = rt_io_from_fd(fd[0]);
	*b = rt_io_from_fd(fd[1]);
}

static void says_lines(void *arg)
{
	struct rt_io *io = arg;

	rt_io_put(io, SLICE("one\r\ntwo"));
	assert_int_equal(rt_io_flush(io), 0);
	assert_int_equal(rt_sleep_ms(2), 0);
	rt_io_printf(io, "%s\nthr%d\r\n\r\n", "", 33);
	assert_int_equal(rt_io_flush(io), 0);
	assert_int_equal(rt_sleep_ms(2), 0);
	rt_io_put(io, SLICE("end"));
	assert_int_equal(rt_io_shutdown(io), 0);
}

static void expect_line(struct rt_io *io, const char *want, bool want_crlf)
{
	struct slice line;
	bool crlf;

	assert_int_equal(rt_io_read_line(io, 100, &line, &crlf), 0);
	assert_int_equal(line.len, strlen(want));
	assert_memory_equal(line.ptr, want, line.len);
	assert_int_equal(crlf, want_crlf);
}

static void lines_body(void *arg)
{
	struct rt_io *a, *b;
	struct slice line;

	pair(&a, &b);
	struct rt_fiber *f = rt_fiber_start("says", says_lines, b);
	expect_line(a, "one", true);
	expect_line(a, "two", false);
	expect_line(a, "thr33", true);
	expect_line(a, "", true);
	assert_int_equal(rt_io_read_line(a, 100, &line, NULL), -E_CLOSED);
	assert_true(slice_eq_cstr(rt_io_buffered(a), "end"));
	assert_int_equal(rt_io_read_line(a, 2, &line, NULL), -E_LIMIT);
	assert_int_equal(rt_fiber_join(f), 0);
	rt_fiber_unref(&f);
	rt_io_close(&a);
	rt_io_close(&b);
}

static void lines(void **state)
{
	run_in_runtime(1, lines_body, NULL);
}

/* More than any buffer holds, both ways at once, in odd pieces. */
#define BULK (3 * 1024 * 1024 + 17)
static char *pattern;

static void sends(void *arg)
{
	struct slice parts[200];
	size_t at = 0;

	while (at < BULK) {
		int n = 0;
		for (; n < 200 && at < BULK; n++) {
			size_t len = MIN((size_t)(n * 37 % 5000), (size_t)BULK - at);
			parts[n] = slice_new(pattern + at, len);
			at += len;
		}
		assert_int_equal(rt_io_writev(arg, parts, n), 0);
	}
}

static void receives(void *arg)
{
	struct rt_io *io = arg;
	size_t at = 0;

	while (at < BULK) {
		assert_int_equal(rt_io_fill(io), 0);
		struct slice in = rt_io_buffered(io);
		size_t take = at + in.len == BULK ? in.len : MAX(in.len / 2, (size_t)1);
		assert_true(at + in.len <= BULK);
		assert_memory_equal(in.ptr, pattern + at, take);
		rt_io_consume(io, take);
		at += take;
	}
}

static void bulk_body(void *arg)
{
	struct rt_io *a, *b;
	struct rt_fiber *f[4];

	pattern = xmalloc(BULK);
	for (size_t i = 0; i < BULK; i++)
		pattern[i] = (char)(i * 7 + i / 251);
	pair(&a, &b);
	f[0] = rt_fiber_start("sends", sends, a);
	f[1] = rt_fiber_start("sends", sends, b);
	f[2] = rt_fiber_start("receives", receives, a);
	f[3] = rt_fiber_start("receives", receives, b);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(rt_fiber_join(f[i]), 0);
		rt_fiber_unref(&f[i]);
	}
	rt_io_close(&a);
	rt_io_close(&b);
	free(pattern);
}

static void bulk(void **state)
{
	run_in_runtime(1, bulk_body, NULL);
}

static void reads_forever(void *arg)
{
	struct slice line;
	assert_int_equal(rt_io_read_line(arg, 100, &line, NULL), -E_CANCELED);
}

static void waits_body(void *arg)
{
	struct rt_io *a, *b;
	struct slice line;
	struct rt_deadline d;

	pair(&a, &b);
	rt_io_set_timeout(a, 10, 10);
	assert_int_equal(rt_io_read_line(a, 100, &line, NULL), -E_TIMEOUT);
	assert_int_equal(rt_io_wait_readable(a, 5), -E_TIMEOUT);
	rt_deadline_push(&d, 5);
	assert_int_equal(rt_io_wait_readable(a, 5000), -E_TIMEOUT);
	assert_true(rt_deadline_pop(&d));
	struct rt_fiber *f = rt_fiber_start("reads", reads_forever, b);
	assert_int_equal(rt_sleep_ms(1), 0);
	rt_fiber_cancel(f);
	assert_int_equal(rt_fiber_join(f), 0);
	rt_fiber_unref(&f);
	/* a full pipe */
	char block[65536] = { 0 };
	int rc = 0;
	for (int i = 0; i < 100 && rc == 0; i++) {
		struct slice part = slice_new(block, sizeof block);
		rc = rt_io_writev(a, &part, 1);
	}
	assert_int_equal(rc, -E_TIMEOUT);
	rt_io_close(&b);
	rt_io_put(a, SLICE("x"));
	assert_int_equal(rt_io_flush(a), -E_IO);
	rt_io_close(&a);
}

static void waits(void **state)
{
	run_in_runtime(1, waits_body, NULL);
}

/* Data and end arrive between an event and the read that follows: the end must still be seen. */
static void writes_and_closes(void *arg)
{
	struct rt_io *io = arg;

	rt_io_put(io, SLICE("last words"));
	assert_int_equal(rt_io_flush(io), 0);
	rt_io_close(&io);
}

static void end_body(void *arg)
{
	for (int i = 0; i < 100; i++) {
		struct rt_io *a, *b;
		pair(&a, &b);
		rt_io_set_timeout(a, 2000, 2000);
		if (i % 2)
			assert_int_equal(rt_io_wait_readable(a, 0), -E_TIMEOUT); /* registered already */
		rt_fiber_spawn("writes", writes_and_closes, b);
		assert_int_equal(rt_io_wait_readable(a, 1000), 0);
		assert_int_equal(rt_io_fill_until(a, 10), 0);
		assert_int_equal(rt_io_fill(a), -E_CLOSED);
		rt_io_close(&a);
	}
}

static void end_is_seen(void **state)
{
	run_in_runtime(1, end_body, NULL);
}

static void serves(void *arg)
{
	struct rt_io *io = rt_io_from_fd((int)(intptr_t)arg);
	struct slice line;

	while (rt_io_read_line(io, 1000, &line, NULL) == 0) {
		rt_io_printf(io, "echo %.*s\r\n", SLICE_ARG(line));
		if (rt_io_flush(io) < 0)
			break;
	}
	rt_io_close(&io);
}

static void accepts(void *arg)
{
	struct rt_listener *l = arg;
	struct netaddr peer;
	int fd;

	while (rt_accept(l, &fd, &peer) == 0) {
		assert_int_equal(peer.ip.bytes[0], 127);
		rt_fiber_spawn_on(rt_shard_next(), "serves", serves, (void *)(intptr_t)fd);
	}
	rt_listener_close(&l);
}

static atomic_int clients_left;
static void client(void *arg)
{
	const struct netaddr *at = arg;
	struct ipaddr source;
	struct netaddr local;
	struct slice line;
	int fd;

	assert_int_equal(ipaddr_parse(SLICE("127.0.0.5"), &source), 0);
	assert_int_equal(rt_connect(at, &source, 1000, &fd), 0);
	assert_int_equal(rt_fd_addrs(fd, &local, NULL), 0);
	assert_true(ipaddr_eq(&local.ip, &source));
	struct rt_io *io = rt_io_from_fd(fd);
	for (int i = 0; i < 50; i++) {
		rt_io_printf(io, "hello %d\r\n", i);
		assert_int_equal(rt_io_flush(io), 0);
		assert_int_equal(rt_io_read_line(io, 100, &line, NULL), 0);
		assert_true(slice_starts(line, SLICE("echo hello ")));
	}
	rt_io_close(&io);
	atomic_fetch_sub(&clients_left, 1);
}

/* 0.0.0.0 and then [::] at one port, as policies write it; [::] alone takes both. */
static void both_families_body(void *arg)
{
	struct netaddr at, v6, v4;
	struct rt_listener *l, *l6;
	int fd;

	assert_int_equal(netaddr_parse(SLICE("0.0.0.0:0"), 0, &at), 0);
	assert_int_equal(rt_listen(&at, 8, &l), 0);
	rt_listener_addr(l, &at);
	assert_int_equal(netaddr_parse(SLICE("[::]:0"), 0, &v6), 0);
	v6.port = at.port;
	if (rt_listen(&v6, 8, &l6) < 0) {
		assert_non_null(strstr(err_text(), "not supported"));	/* by this machine */
		rt_listener_close(&l);
		return;
	}
	assert_int_equal(rt_listen(&v6, 8, &l6), -E_IO);
	rt_listener_close(&l);
	rt_listener_close(&l6);
	assert_int_equal(rt_listen(&v6, 8, &l6), 0);
	assert_int_equal(netaddr_parse(SLICE("127.0.0.1:0"), 0, &v4), 0);
	v4.port = v6.port;
	assert_int_equal(rt_connect(&v4, NULL, 1000, &fd), 0);
	close(fd);
	rt_listener_close(&l6);
}

static void network_body(void *arg)
{
	struct netaddr at, real;
	struct rt_listener *l, *l2;
	int fd;

	assert_int_equal(netaddr_parse(SLICE("127.0.0.1:0"), 0, &at), 0);
	assert_int_equal(rt_listen(&at, 128, &l), 0);
	rt_listener_addr(l, &real);
	assert_int_not_equal(real.port, 0);
	assert_int_equal(rt_listen(&real, 128, &l2), -E_IO);
	assert_non_null(strstr(err_text(), "127.0.0.1:"));
	assert_non_null(strstr(err_text(), "in use"));
	struct rt_fiber *f = rt_fiber_start("accepts", accepts, l);
	atomic_store(&clients_left, 40);
	for (int i = 0; i < 40; i++)
		rt_fiber_spawn_on(rt_shard_next(), "client", client, &real);
	while (atomic_load(&clients_left))
		assert_int_equal(rt_sleep_ms(1), 0);
	rt_fiber_cancel(f);
	assert_int_equal(rt_fiber_join(f), 0);
	rt_fiber_unref(&f);
	assert_int_equal(rt_connect(&real, NULL, 1000, &fd), -E_IO);
	assert_non_null(strstr(err_text(), "refused"));
}

static void network(void **state)
{
	run_in_runtime(2, network_body, NULL);
}

static void both_families(void **state)
{
	run_in_runtime(1, both_families_body, NULL);
}

/* What a fiber costs that waits for input for a while. */
static long resident_pages(void)
{
	long size, resident;
	FILE *f = fopen("/proc/self/statm", "r");

	assert_int_equal(fscanf(f, "%ld %ld", &size, &resident), 2);
	fclose(f);
	return resident;
}

#define IDLE 1000
static __attribute__((noinline)) char goes_deep(char c)
{
	volatile char deep[40000];

	for (size_t i = 0; i < sizeof deep; i += 512)
		deep[i] = c;
	return deep[c * 512];
}

static void idles(void *arg)
{
	struct rt_io *io = arg;
	struct slice line;

	assert_int_equal(goes_deep(3), 3);
	assert_int_equal(rt_io_read_line(io, 100, &line, NULL), 0);
	(void)!rt_io_read_line(io, 100, &line, NULL);
	rt_io_close(&io);
}

static void idle_body(void *arg)
{
	struct rt_io **other = xcalloc(IDLE, sizeof *other);
	long before = resident_pages();

	for (int i = 0; i < IDLE; i++) {
		struct rt_io *a;
		pair(&a, &other[i]);
		rt_fiber_spawn("idles", idles, a);
		rt_io_put(other[i], SLICE("hello\r\n"));
		assert_int_equal(rt_io_flush(other[i]), 0);
	}
	assert_int_equal(rt_sleep_ms(100), 0);
	long busy = resident_pages();
	assert_int_equal(rt_sleep_ms(1500), 0);
	malloc_trim(0);
	long idle = resident_pages();
	printf("            %ld bytes a fiber while it runs, %ld when it has waited\n", (busy - before) * 4096 / IDLE, (idle - before) * 4096 / IDLE);
	if (STACK_BYTES == 512 * 1024)
		assert_true((idle - before) * 4096 / IDLE < 7000 && busy - idle > 8 * IDLE);
	for (int i = 0; i < IDLE; i++)
		rt_io_close(&other[i]);
	free(other);
}

static void idle_gives_memory_back(void **state)
{
	run_in_runtime(1, idle_body, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines), cmocka_unit_test(bulk), cmocka_unit_test(waits), cmocka_unit_test(end_is_seen), cmocka_unit_test(network),
		cmocka_unit_test(both_families), cmocka_unit_test(idle_gives_memory_back),
	};
	return cmocka_run_group_tests_name("io", tests, NULL, NULL);
}
