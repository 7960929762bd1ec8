/* SPDX-License-Identifier: Apache-2.0 */
#include "rt/io.h"
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/xalloc.h"
#include "rt/internal.h"

#define READ_START 16384	/* room first taken for input */
#define READ_MAX 65536		/* read at once */
#define IOV_MAX_USED 64

#define IO_MAGIC OBJ_MAGIC('R', 'T', 'I', 'O')
struct rt_io {
	uint32_t magic;
	int fd;				/* -1 over a layer */
	const struct rt_io_ops *ops;	/* NULL over a descriptor */
	void *layer;
	struct rt_shard *shard;
	char *in;			/* NULL while idle */
	uint32_t in_start, in_len, in_cap;
	bool in_filled;			/* the last read took all the room there was */
	struct buf out;
	int64_t read_ms, write_ms;
	struct poll_slot poll;
	struct rt_io *reading_next;	/* the stream over this one, for which the same fiber waits */
};

static struct rt_io *io_create(void)
{
	struct rt_io *io = xzalloc(sizeof *io);

	OBJ_INIT(io, IO_MAGIC);
	io->fd = -1;
	io->shard = rt_shard_self();
	io->read_ms = io->write_ms = INT64_MAX;
	io->poll.readable = true; /* nobody knows yet: try */
	return io;
}

struct rt_io *rt_io_from_fd(int fd)
{
	struct rt_io *io = io_create();

	assert(fd >= 0);
	io->fd = fd;
	return io;
}

struct rt_io *rt_io_layer(const struct rt_io_ops *ops, void *layer)
{
	struct rt_io *io = io_create();

	io->ops = ops;
	io->layer = layer;
	return io;
}

void rt_io_close(struct rt_io **iop)
{
	struct rt_io *io = *iop;

	*iop = NULL;
	if (io == NULL)
		return;
	OBJ_CHECK(io, IO_MAGIC);
	assert(io->poll.reader.fiber == NULL && io->poll.writer.fiber == NULL);
	if (io->ops) {
		if (io->ops->close)
			io->ops->close(io->layer);
	} else {
		if (io->poll.registered) /* a child process between fork and exec may hold a duplicate, for which events would still come */
			epoll_ctl(io->shard->epoll_fd, EPOLL_CTL_DEL, io->fd, NULL);
		close(io->fd);
	}
	free(io->in);
	buf_fini(&io->out);
	OBJ_FINI(io, IO_MAGIC);
	free(io);
}

int rt_io_fd(const struct rt_io *io)
{
	OBJ_CHECK(io, IO_MAGIC);
	return io->fd;
}

void rt_io_set_timeout(struct rt_io *io, int64_t read_ms, int64_t write_ms)
{
	OBJ_CHECK(io, IO_MAGIC);
	io->read_ms = read_ms;
	io->write_ms = write_ms;
}

void io_release_idle(struct rt_io *io)
{
	for (; io; io = io->reading_next) {
		if (io->in_len == 0) {
			free(io->in);
			io->in = NULL;
			io->in_cap = io->in_start = 0;
			io->in_filled = false;
		}
		if (io->out.len == 0 && io->poll.writer.fiber == NULL)
			buf_fini(&io->out);
	}
}

/* -- descriptors -- */

/* Until epoll says that the descriptor is ready for W. */
static int fd_await(struct rt_io *io, struct poll_waiter *w, int64_t timeout_ms)
{
	int rc;

	assert(w->fiber == NULL && io->shard == rt_tl_shard && "one fiber reads, one writes, on the stream's shard");
	if (!io->poll.registered &&
	    (rc = shard_poll_add(io->shard, io->fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, &io->poll)) < 0)
		return rc;
	w->fiber = rt_fiber_self();
	w->wait = fiber_wait_prepare(false);
	if (w == &io->poll.reader)
		fiber_idle_enter();
	rc = fiber_wait_commit(timeout_ms, w == &io->poll.reader ? "input" : "room for output", io->fd);
	if (w == &io->poll.reader)
		fiber_idle_leave();
	w->fiber = NULL;
	return rc;
}

static ssize_t fd_read(struct rt_io *io, void *buf, size_t len, int64_t timeout_ms)
{
	for (;;) {
		while (!io->poll.readable) {
			int rc = fd_await(io, &io->poll.reader, timeout_ms);
			if (rc < 0)
				return rc;
		}
		ssize_t n = read(io->fd, buf, len);
		if (n > 0) {
			/* A short read has emptied the socket, and what comes later is a new event: no need to ask again (epoll(7)). */
			if ((size_t)n < len && !io->poll.hangup)
				io->poll.readable = false;
			return n;
		}
		if (n == 0)
			return err_set(E_CLOSED, "connection closed by peer");
		if (errno == EAGAIN)
			io->poll.readable = false;
		else if (errno != EINTR)
			return err_errno(E_IO, "reading");
	}
}

static ssize_t fd_writev(struct rt_io *io, const struct iovec *iov, int n, int64_t timeout_ms)
{
	for (;;) {
		ssize_t done = writev(io->fd, iov, n);
		if (done >= 0)
			return done;
		if (errno == EAGAIN) {
			io->poll.writable = false;
			while (!io->poll.writable) {
				int rc = fd_await(io, &io->poll.writer, timeout_ms);
				if (rc < 0)
					return rc;
			}
		} else if (errno != EINTR) {
			return err_errno(E_IO, "writing");
		}
	}
}

/* -- input -- */

static int await_input(struct rt_io *io, int64_t timeout_ms)
{
	struct rt_fiber *f = rt_fiber_self();
	int rc = 0;

	assert(f != NULL);
	io->reading_next = f->reading;
	f->reading = io;
	if (io->ops)
		rc = io->ops->wait ? io->ops->wait(io->layer, timeout_ms) : 0;
	else
		while (rc == 0 && !io->poll.readable)
			rc = fd_await(io, &io->poll.reader, timeout_ms);
	f->reading = io->reading_next;
	io->reading_next = NULL;
	return rc;
}

struct slice rt_io_buffered(const struct rt_io *io)
{
	OBJ_CHECK(io, IO_MAGIC);
	return slice_new(io->in + io->in_start, io->in_len);
}

void rt_io_consume(struct rt_io *io, size_t n)
{
	assert(n <= io->in_len);
	io->in_len -= (uint32_t)n;
	io->in_start = io->in_len ? io->in_start + (uint32_t)n : 0;
}

static void make_room(struct rt_io *io)
{
	if (io->in_start && (io->in_len == 0 || io->in_start >= io->in_cap / 2 || io->in_start + io->in_len == io->in_cap)) {
		memmove(io->in, io->in + io->in_start, io->in_len);
		io->in_start = 0;
	}
	bool full = io->in_start + io->in_len == io->in_cap;
	if (full || (io->in_filled && io->in_cap < READ_MAX)) {
		assert(io->in_cap < 1u << 30);
		io->in_cap = io->in_cap ? io->in_cap * 2 : READ_START;
		io->in = xrealloc(io->in, io->in_cap);
	}
	io->in_filled = false;
}

int rt_io_fill(struct rt_io *io)
{
	int rc;

	OBJ_CHECK(io, IO_MAGIC);
	if ((rc = rt_check()) < 0)
		return rc;
	if ((rc = await_input(io, io->read_ms)) < 0)
		return rc;
	make_room(io);
	char *at = io->in + io->in_start + io->in_len;
	size_t room = MIN((size_t)(io->in_cap - io->in_start - io->in_len), (size_t)READ_MAX);
	ssize_t n = io->ops ? io->ops->read(io->layer, at, room, io->read_ms) : fd_read(io, at, room, io->read_ms);
	if (n < 0)
		return (int)n;
	assert(n > 0 && (size_t)n <= room);
	io->in_len += (uint32_t)n;
	io->in_filled = (size_t)n == room;
	fiber_count_immediate();
	return 0;
}

int rt_io_fill_until(struct rt_io *io, size_t n)
{
	int rc = 0;

	while (rc == 0 && io->in_len < n)
		rc = rt_io_fill(io);
	return rc;
}

int rt_io_wait_readable(struct rt_io *io, int64_t timeout_ms)
{
	int rc;

	OBJ_CHECK(io, IO_MAGIC);
	if (io->in_len)
		return 0;
	if ((rc = rt_check()) < 0)
		return rc;
	if (io->ops)
		return await_input(io, timeout_ms);
	/* what epoll has said may be out of date, or nothing yet: only a read tells */
	while ((rc = await_input(io, timeout_ms)) == 0) {
		make_room(io);
		ssize_t n = read(io->fd, io->in, io->in_cap);
		if (n > 0) {
			io->in_len = (uint32_t)n;
			if ((uint32_t)n < io->in_cap && !io->poll.hangup)
				io->poll.readable = false;
			return 0;
		}
		if (n == 0 || (errno != EAGAIN && errno != EINTR))
			return 0; /* the next fill reports it */
		if (errno == EAGAIN)
			io->poll.readable = false;
	}
	return rc;
}

int rt_io_read_line(struct rt_io *io, size_t max, struct slice *line, bool *crlf)
{
	size_t scanned = 0;

	for (;;) {
		struct slice in = rt_io_buffered(io);
		size_t n = MIN(in.len, max);
		const char *lf = n > scanned ? memchr(in.ptr + scanned, '\n', n - scanned) : NULL;
		if (lf) {
			size_t len = (size_t)(lf - in.ptr);
			bool cr = len > 0 && in.ptr[len - 1] == '\r';
			*line = slice_new(in.ptr, cr ? len - 1 : len);
			if (crlf)
				*crlf = cr;
			rt_io_consume(io, len + 1);
			return 0;
		}
		if (in.len >= max)
			return err_set(E_LIMIT, "a line is longer than %zu bytes", max);
		scanned = n;
		int rc = rt_io_fill(io);
		if (rc < 0)
			return rc;
	}
}

/* -- output -- */

void rt_io_put(struct rt_io *io, struct slice data)
{
	OBJ_CHECK(io, IO_MAGIC);
	buf_slice(&io->out, data);
}

void rt_io_printf(struct rt_io *io, const char *fmt, ...)
{
	va_list ap;

	OBJ_CHECK(io, IO_MAGIC);
	va_start(ap, fmt);
	buf_vprintf(&io->out, fmt, ap);
	va_end(ap);
}

struct cursor {		/* how far writing has come: part 0 is what was gathered */
	struct slice gathered;
	const struct slice *parts;
	int n, at;
	size_t offset;
};

static struct slice cursor_part(const struct cursor *c, int i)
{
	return i == 0 ? c->gathered : c->parts[i - 1];
}

static int cursor_iov(const struct cursor *c, struct iovec *iov)
{
	int used = 0;

	for (int i = c->at; i <= c->n && used < IOV_MAX_USED; i++) {
		struct slice s = cursor_part(c, i);
		size_t skip = i == c->at ? c->offset : 0;
		if (s.len > skip)
			iov[used++] = (struct iovec){ (char *)s.ptr + skip, s.len - skip };
	}
	return used;
}

static void cursor_advance(struct cursor *c, size_t done)
{
	while (done) {
		size_t left = cursor_part(c, c->at).len - c->offset;
		if (done < left) {
			c->offset += done;
			return;
		}
		done -= left;
		c->at++;
		c->offset = 0;
	}
}

int rt_io_writev(struct rt_io *io, const struct slice *parts, int n)
{
	struct iovec iov[IOV_MAX_USED];
	int rc, used;

	OBJ_CHECK(io, IO_MAGIC);
	if ((rc = rt_check()) < 0)
		return rc;
	struct buf out = io->out; /* while it is being written another fiber's rt_io_put goes into a new one */
	io->out = (struct buf){ 0 };
	struct cursor c = { .gathered = buf_view(&out), .parts = parts, .n = n };
	while ((used = cursor_iov(&c, iov)) > 0) {
		ssize_t done = io->ops ? io->ops->writev(io->layer, iov, used, io->write_ms) : fd_writev(io, iov, used, io->write_ms);
		if (done < 0) {
			buf_fini(&out);
			return (int)done;
		}
		cursor_advance(&c, (size_t)done);
	}
	if (io->out.cap == 0) {
		buf_clear(&out);
		io->out = out;
	} else {
		buf_fini(&out);
	}
	fiber_count_immediate();
	return 0;
}

int rt_io_flush(struct rt_io *io)
{
	return io->out.len ? rt_io_writev(io, NULL, 0) : 0;
}

int rt_io_shutdown(struct rt_io *io)
{
	int rc = rt_io_flush(io);

	if (rc < 0)
		return rc;
	if (io->ops)
		return io->ops->shutdown ? io->ops->shutdown(io->layer) : 0;
	return shutdown(io->fd, SHUT_WR) < 0 ? err_errno(E_IO, "shutdown") : 0;
}
