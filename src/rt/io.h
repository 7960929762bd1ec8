/* SPDX-License-Identifier: Apache-2.0 */
/*
 * io - byte streams that fibers read and write: sockets, and what is layered over them (TLS, tests' memory pipes).
 *
 * Input is buffered in the stream: rt_io_fill brings more, rt_io_buffered shows it, rt_io_consume drops it. Output is gathered with rt_io_put
 * and leaves in rt_io_flush or with rt_io_writev, in as few system calls as possible. TCP_NODELAY is always on. When a
 * fiber has waited half a second for input, the buffers of the streams it reads go if they are empty, and so does the unused part of its
 * stack.
 *
 * Every waiting call honours the stream's timeout, deadlines and cancellation. Errors: -E_CLOSED (orderly end), -E_IO (reset, broken
 * pipe, with errno's text), -E_TIMEOUT, -E_CANCELED.
 *
 * Thread:  one fiber reads, one fiber writes, on the shard where the stream was made.
 * Memory:  rt_io_close frees the stream and everything below it.
 */
#pragma once
#include <sys/types.h>
#include <sys/uio.h>
#include "base/addr.h"
#include "base/err.h"

struct rt_io;
struct rt_io_ops {		/* a layer: read and writev return bytes > 0, or -E_…; they may wait */
	ssize_t (*read)(void *layer, void *buf, size_t len, int64_t timeout_ms);
	ssize_t (*writev)(void *layer, const struct iovec *iov, int n, int64_t timeout_ms);
	int (*wait)(void *layer, int64_t timeout_ms); /* until a read would bring something, so that no buffer is needed meanwhile; may be NULL */
	int (*shutdown)(void *layer);	/* sends our end (close_notify, FIN); may be NULL */
	void (*close)(void *layer);
};

struct rt_io *rt_io_from_fd(int fd);					/* takes the descriptor over */
struct rt_io *rt_io_layer(const struct rt_io_ops *ops, void *layer);	/* a stream on top of something else */
void rt_io_close(struct rt_io **io);
int rt_io_fd(const struct rt_io *io);					/* -1 for layers without */
void rt_io_set_timeout(struct rt_io *io, int64_t read_ms, int64_t write_ms); /* INT64_MAX: none (the start value) */

struct slice rt_io_buffered(const struct rt_io *io);
void rt_io_consume(struct rt_io *io, size_t n);
int rt_io_fill(struct rt_io *io) WARN_UNUSED;				/* Yields. At least one byte more, up to 64 KiB */
int rt_io_fill_until(struct rt_io *io, size_t n) WARN_UNUSED;		/* Yields. Until N bytes are buffered */
/* A line up to and including LF; *LINE views the buffer (without LF and a CR before it; *CRLF says whether both were there) until the next
   fill. It is consumed already. -E_LIMIT when MAX bytes hold no LF (nothing is consumed). Yields. */
int rt_io_read_line(struct rt_io *io, size_t max, struct slice *line, bool *crlf) WARN_UNUSED;
int rt_io_wait_readable(struct rt_io *io, int64_t timeout_ms) WARN_UNUSED; /* Yields. Data, end or error has come */

void rt_io_put(struct rt_io *io, struct slice data);			/* gathers */
void rt_io_printf(struct rt_io *io, const char *fmt, ...) PRINTF(2, 3);
int rt_io_flush(struct rt_io *io) WARN_UNUSED;				/* Yields. */
int rt_io_writev(struct rt_io *io, const struct slice *parts, int n) WARN_UNUSED; /* Yields. What was gathered, then PARTS, all of it */
int rt_io_shutdown(struct rt_io *io);					/* Yields. */

/* Waits until FD is ready, for libraries with descriptors of their own (registered for this wait only). Yields. */
enum { RT_READ = 1, RT_WRITE = 2 };
int rt_fd_wait(int fd, int events, int64_t timeout_ms) WARN_UNUSED;

struct rt_listener;
int rt_listen(const struct netaddr *at, int backlog, struct rt_listener **out) WARN_UNUSED; /* "address in use" etc. name the address */
void rt_listener_addr(const struct rt_listener *l, struct netaddr *out);		    /* the real port */
int rt_accept(struct rt_listener *l, int *fd, struct netaddr *peer) WARN_UNUSED;	    /* Yields. Handles EMFILE by waiting, with one diagnostic */
void rt_listener_close(struct rt_listener **l);						    /* after the fiber in rt_accept was canceled */
/* SOURCE may be NULL; TIMEOUT_MS for the handshake. Yields. */
int rt_connect(const struct netaddr *to, const struct ipaddr *source, int64_t timeout_ms, int *fd) WARN_UNUSED;
int rt_fd_addrs(int fd, struct netaddr *local, struct netaddr *peer) WARN_UNUSED;
