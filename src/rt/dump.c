/* SPDX-License-Identifier: Apache-2.0 */
/* dump - every fiber as text: each shard writes down its own, one shard after the other. */
#include <inttypes.h>
#include <sys/socket.h>
#include "base/addr.h"
#include "base/buf.h"
#include "rt/internal.h"

struct dump {
	struct buf *b;
	struct rt_fiber *asker;		/* not told about: it waits for this */
	struct rt_promise done;
};

static void put_seconds(struct buf *b, int64_t ms)
{
	buf_printf(b, "%" PRId64 ".%03d s", ms / 1000, (int)(ms % 1000));
}

/* " from 192.0.2.1:25", where the descriptor has a peer. */
static void put_peer(struct buf *b, int fd)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof ss;
	struct netaddr peer;
	char text[128];

	if (fd < 0 || getpeername(fd, (struct sockaddr *)&ss, &len) < 0 || (ss.ss_family != AF_INET && ss.ss_family != AF_INET6))
		return;
	netaddr_from_sockaddr(&ss, len, &peer);
	buf_printf(b, " (peer %s)", netaddr_text(&peer, text));
}

static void put_wait(struct buf *b, const struct rt_shard *s, const struct rt_fiber *f)
{
	buf_printf(b, "waiting for %s", f->waits_for);
	put_peer(b, f->waits_fd);
	buf_lit(b, ", since ");
	put_seconds(b, MAX(s->now_ms - f->waits_since_ms, (int64_t)0));
	if (list_linked(&f->timer.node)) {
		buf_lit(b, ", for at most ");
		put_seconds(b, MAX(f->timer.at_ms - s->now_ms, (int64_t)0));
		buf_lit(b, " more");
	}
	if (f->shields)
		buf_lit(b, ", not to be interrupted");
}

static void put_fiber(struct buf *b, const struct rt_shard *s, const struct rt_fiber *f)
{
	enum wait_state st = atomic_load(&f->wait) & ((1 << WAIT_STATE_BITS) - 1);

	buf_printf(b, "  %-24s ", f->name);
	if (st == WAIT_OPEN || st == WAIT_SHIELDED)
		put_wait(b, s, f);
	else
		buf_cstr_put(b, f->stack ? "ready to run" : "not started yet");
	buf_cstr_put(b, atomic_load(&f->canceled) ? ", canceled\n" : "\n");
}

static void dump_shard(void *arg)
{
	struct dump *d = arg;
	const struct rt_shard *s = rt_tl_shard;
	const struct rt_fiber *self = rt_fiber_self();

	int own = 1 + (d->asker->shard == s);	/* the one that writes this, and the one that asked */
	buf_printf(d->b, "shard %d: %d fibers, %zu stacks in use\n", s->index, atomic_load(&s->live) - own, (size_t)s->stacks.in_use - own);
	LIST_EACH(n, &s->fibers) {
		const struct rt_fiber *f = LIST_ENTRY(n, struct rt_fiber, all);
		if (f != self && f != d->asker)
			put_fiber(d->b, s, f);
	}
	rt_promise_set(&d->done, 0, NULL);
}

void rt_fibers_dump(struct buf *b)
{
	struct rt_shield shield;

	rt_shield_enter(&shield);	/* what the shards write to must not go before they are done */
	for (int i = 0; i < rt_global.n; i++) {
		struct dump d = { .b = b, .asker = rt_fiber_self() };
		rt_promise_init(&d.done);
		rt_fiber_spawn_on(rt_global.shards[i], "task dump", dump_shard, &d);
		int rc = rt_promise_wait(&d.done, NULL);
		assert(rc == 0);
		rt_promise_fini(&d.done);
	}
	rt_shield_leave(&shield);
	buf_printf(b, "offload threads: %d, %d idle, %d jobs\n", offload_threads(), offload_idle(), offload_pending());
}
