/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/xalloc.h"
#include "rt/diag.h"
#include "rt/internal.h"
#include "rt/io.h"

#define EMFILE_PAUSE_MS 100
#define FDS_KEPT 64

/* -- descriptors of others -- */

static int wait_once(int fd, int events, int64_t timeout_ms)
{
	struct rt_shard *s = rt_shard_self();
	struct poll_slot slot = { 0 };
	uint32_t ev = EPOLLONESHOT | (events & RT_READ ? EPOLLIN | EPOLLRDHUP : 0) | (events & RT_WRITE ? EPOLLOUT : 0);
	int rc;

	if ((rc = shard_poll_add(s, fd, ev, &slot)) < 0)
		return rc;
	slot.reader.fiber = slot.writer.fiber = rt_fiber_self();
	slot.reader.wait = slot.writer.wait = fiber_wait_prepare(false);
	rc = fiber_wait_commit(timeout_ms, "a descriptor", fd);
	epoll_ctl(s->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
	return rc;
}

int rt_fd_wait(int fd, int events, int64_t timeout_ms)
{
	int rc = rt_check();

	if (rc < 0)
		return rc;
	rc = wait_once(fd, events, timeout_ms);
	if (rc == -E_EXIST) { /* another fiber waits for the same descriptor, perhaps the other way */
		int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
		if (copy < 0)
			return err_errno(E_IO, "duplicating a descriptor");
		rc = wait_once(copy, events, timeout_ms);
		close(copy);
	}
	return rc;
}

/* -- addresses -- */

int rt_fd_addrs(int fd, struct netaddr *local, struct netaddr *peer)
{
	struct sockaddr_storage ss = { 0 };
	socklen_t len = sizeof ss;

	if (local) {
		if (getsockname(fd, (struct sockaddr *)&ss, &len) < 0)
			return err_errno(E_IO, "getsockname");
		netaddr_from_sockaddr(&ss, len, local);
	}
	if (peer) {
		len = sizeof ss;
		if (getpeername(fd, (struct sockaddr *)&ss, &len) < 0)
			return err_errno(E_IO, "getpeername");
		netaddr_from_sockaddr(&ss, len, peer);
	}
	return 0;
}

static void set_nodelay(int fd)
{
	int one = 1;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* refused for Unix sockets, which need none */
}

/* -- listening -- */

#define LISTENER_MAGIC OBJ_MAGIC('L', 'S', 'T', 'N')
struct rt_listener {
	uint32_t magic;
	int fd;
	struct netaddr addr;
	struct poll_slot poll;
	struct rt_shard *shard;		/* of the first rt_accept */
	bool exhausted;			/* told about missing descriptors already */
};

static _Atomic uint64_t own_v4[65536 / 64];	/* ports at which this process listens on 0.0.0.0 */

static bool is_any(const struct netaddr *a, int family)
{
	static const uint8_t zero[16];
	return a->path[0] == 0 && a->ip.family == family && memcmp(a->ip.bytes, zero, family == 4 ? 4 : 16) == 0;
}

static void note_own_v4(const struct netaddr *a, bool open)
{
	uint64_t bit = UINT64_C(1) << (a->port & 63);

	if (!is_any(a, 4))
		return;
	if (open)
		atomic_fetch_or(&own_v4[a->port >> 6], bit);
	else
		atomic_fetch_and(&own_v4[a->port >> 6], ~bit);
}

/*
 * [::] takes the port of IPv4 along, as Linux has it; but a policy that listens on 0.0.0.0 first and then on [::] wants one of each,
 * so the second is then for IPv6 only.
 */
static int bind_to(int fd, const struct netaddr *at, const struct sockaddr_storage *ss, socklen_t len)
{
	int one = 1;

	if (is_any(at, 6) && atomic_load(&own_v4[at->port >> 6]) >> (at->port & 63) & 1)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
	return bind(fd, (const struct sockaddr *)ss, len);
}

int rt_listen(const struct netaddr *at, int backlog, struct rt_listener **out)
{
	struct sockaddr_storage ss = { 0 };
	socklen_t len = netaddr_to_sockaddr(at, &ss);
	char text[128];
	int one = 1, fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return err_errno(E_IO, "socket for %s", netaddr_text(at, text));
	if (ss.ss_family != AF_UNIX)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind_to(fd, at, &ss, len) < 0 || listen(fd, backlog) < 0) {
		int rc = err_errno(E_IO, "listen on %s", netaddr_text(at, text));
		close(fd);
		return rc;
	}
	struct rt_listener *l = xzalloc(sizeof *l);
	OBJ_INIT(l, LISTENER_MAGIC);
	l->fd = fd;
	if (rt_fd_addrs(fd, &l->addr, NULL) < 0)
		l->addr = *at;
	note_own_v4(&l->addr, true);
	*out = l;
	return 0;
}

void rt_listener_addr(const struct rt_listener *l, struct netaddr *out)
{
	OBJ_CHECK(l, LISTENER_MAGIC);
	*out = l->addr;
}

static int listener_await(struct rt_listener *l)
{
	int rc;

	l->poll.readable = false;
	if (!l->poll.registered) {
		l->shard = rt_shard_self();
		if ((rc = shard_poll_add(l->shard, l->fd, EPOLLIN | EPOLLET, &l->poll)) < 0)
			return rc;
	}
	assert(l->shard == rt_shard_self() && l->poll.reader.fiber == NULL && "one fiber accepts");
	rc = 0;
	while (rc == 0 && !l->poll.readable) {
		l->poll.reader.fiber = rt_fiber_self();
		l->poll.reader.wait = fiber_wait_prepare(false);
		rc = fiber_wait_commit(INT64_MAX, "a connection to accept", -1);
		l->poll.reader.fiber = NULL;
	}
	return rc;
}

/*
 * The last descriptors are not for peers: the spool and the logs must be able to open their files while connections use up the rest. The kernel
 * gives out the lowest free number, so a number tells how many are in use.
 */
static int fds_for_peers(void)
{
	static _Atomic int cached;
	struct rlimit r;
	int n = atomic_load_explicit(&cached, memory_order_relaxed);
	if (n == 0) {
		n = getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < INT_MAX ? (int)r.rlim_cur : INT_MAX;
		n -= MIN(FDS_KEPT, n / 8);
		atomic_store_explicit(&cached, n, memory_order_relaxed);
	}
	return n;
}

static void report_shortage(struct rt_listener *l, const char *why)
{
	char text[128];
	if (!l->exhausted)
		diag_error("kumo.rt", "accepting on %s: %s; connections wait until some end (raise LimitNOFILE)", netaddr_text(&l->addr, text), why);
	l->exhausted = true;
}

/* Holds a connection that got one of the last numbers until there is a lower one. Takes *FD over when it fails. */
static int await_lower_fd(struct rt_listener *l, int *fd)
{
	int rc = 0;
	while (*fd >= fds_for_peers() && rc == 0) {
		report_shortage(l, "nearly all file descriptors are in use");
		rc = rt_sleep_ms(EMFILE_PAUSE_MS);
		int lower = rc == 0 ? fcntl(*fd, F_DUPFD_CLOEXEC, 0) : -1;
		if (lower >= 0) {
			close(MAX(lower, *fd));
			*fd = MIN(lower, *fd);
		}
	}
	if (rc < 0)
		close(*fd);
	return rc;
}

static bool is_shortage(int e)
{
	return e == EMFILE || e == ENFILE || e == ENOBUFS || e == ENOMEM;
}

int rt_accept(struct rt_listener *l, int *fd, struct netaddr *peer)
{
	struct sockaddr_storage ss;
	char text[128];
	int rc;

	OBJ_CHECK(l, LISTENER_MAGIC);
	while ((rc = rt_check()) == 0) {
		socklen_t len = sizeof ss;
		memset(&ss, 0, sizeof ss);
		int got = accept4(l->fd, (struct sockaddr *)&ss, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (got >= 0) {
			if ((rc = await_lower_fd(l, &got)) < 0)
				return rc;
			l->exhausted = false;
			set_nodelay(got);
			if (peer)
				netaddr_from_sockaddr(&ss, len, peer);
			*fd = got;
			fiber_count_immediate();
			return 0;
		}
		if (errno == EAGAIN) {
			if ((rc = listener_await(l)) < 0)
				return rc;
		} else if (is_shortage(errno)) {
			report_shortage(l, strerror(errno));
			if ((rc = rt_sleep_ms(EMFILE_PAUSE_MS)) < 0)
				return rc;
		} else if (errno == EBADF || errno == EINVAL || errno == ENOTSOCK) {
			return err_errno(E_IO, "accepting on %s", netaddr_text(&l->addr, text));
		}
		/* everything else is the new connection's own failure (accept(2)): on to the next */
	}
	return rc;
}

void rt_listener_close(struct rt_listener **lp)
{
	struct rt_listener *l = *lp;

	*lp = NULL;
	if (l == NULL)
		return;
	OBJ_CHECK(l, LISTENER_MAGIC);
	assert(l->poll.reader.fiber == NULL);
	if (l->poll.registered)
		epoll_ctl(l->shard->epoll_fd, EPOLL_CTL_DEL, l->fd, NULL);
	note_own_v4(&l->addr, false);
	close(l->fd);
	OBJ_FINI(l, LISTENER_MAGIC);
	free(l);
}

/* -- connecting -- */

static int bind_source(int fd, const struct ipaddr *source)
{
	struct netaddr from = { .ip = *source };
	struct sockaddr_storage ss = { 0 };
	socklen_t len = netaddr_to_sockaddr(&from, &ss);
	char text[128];
	int one = 1;

	(void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one); /* the port is chosen when the peer is known: 4-tuples, not ports, are scarce */
	if (bind(fd, (struct sockaddr *)&ss, len) < 0)
		return err_set(E_IO, "bind %s: %s (os error %d)", netaddr_text(&from, text), strerror(errno), errno);
	return 0;
}

/* As operators know it from the logs: "Connection refused (os error 111)". */
static int connect_error(int e)
{
	return err_set(e == ETIMEDOUT ? E_TIMEOUT : E_IO, "%s (os error %d)", strerror(e), e);
}

static int connect_wait(int fd, int64_t timeout_ms)
{
	int e = 0, rc;
	socklen_t len = sizeof e;

	if ((rc = rt_fd_wait(fd, RT_WRITE, timeout_ms)) < 0)
		return rc;
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &len);
	return e ? connect_error(e) : 0;
}

int rt_connect(const struct netaddr *to, const struct ipaddr *source, int64_t timeout_ms, int *out)
{
	struct sockaddr_storage ss = { 0 };
	socklen_t len = netaddr_to_sockaddr(to, &ss);
	int rc = rt_check();

	if (rc < 0)
		return rc;
	int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_errno(E_IO, "socket");
	if (fd >= fds_for_peers()) {
		close(fd);
		return err_set(E_LIMIT, "nearly all file descriptors are in use, raise LimitNOFILE (os error %d)", EMFILE);
	}
	set_nodelay(fd);
	if (source && source->family)
		rc = bind_source(fd, source);
	if (rc == 0 && connect(fd, (struct sockaddr *)&ss, len) < 0)
		rc = errno == EINPROGRESS ? connect_wait(fd, timeout_ms) : connect_error(errno);
	if (rc < 0) {
		close(fd);
		return rc;
	}
	*out = fd;
	return 0;
}
