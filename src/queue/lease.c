/* SPDX-License-Identifier: Apache-2.0 */
/* lease - the leases of throttle.h that live in this process. */
#include <stdatomic.h>
#include "base/map.h"
#include "base/xalloc.h"
#include <stdlib.h>
#include "queue/throttle.h"
#include "rt/clock.h"
#include "rt/fiber.h"
#include "rt/sync.h"

struct lease_entry {
	struct uuid id;
	int64_t expires_ms;
};
struct lease_set {
	char *name;
	uint32_t users;		/* waiters and leases: the set goes with the last */
	struct lease_entry *entries;
	size_t n, cap;
	struct rt_cond freed;
};
static struct {
	struct rt_lock lock;
	struct map sets;
} leases = { .lock = RT_LOCK_INIT(RANK_THROTTLE) };

static struct lease_set *set_get(struct slice name)
{
	struct lease_set *s = map_get(&leases.sets, name);
	if (!s) {
		s = xzalloc(sizeof(*s));
		s->name = xmemdup0(name.ptr, name.len);
		rt_cond_init(&s->freed);
		map_put(&leases.sets, name, s);
	}
	s->users++;
	return s;
}

static void set_put(struct lease_set *s)
{
	if (--s->users > 0)
		return;
	map_del(&leases.sets, slice_from_cstr(s->name));
	free(s->entries);
	free(s->name);
	free(s);
}

/* Drops what has expired; the milliseconds until the next one does. */
static int64_t set_expire(struct lease_set *s)
{
	int64_t now = rt_now_ms(), next = INT64_MAX;
	size_t n = 0;
	for (size_t i = 0; i < s->n; i++) {
		if (s->entries[i].expires_ms <= now)
			continue;
		next = MIN(next, s->entries[i].expires_ms - now);
		s->entries[n++] = s->entries[i];
	}
	s->n = n;
	return next;
}

static void set_add(struct lease_set *s, struct uuid id, int64_t duration_ms)
{
	if (s->n == s->cap) {
		s->cap = s->cap ? 2 * s->cap : 4;
		s->entries = xreallocarray(s->entries, s->cap, sizeof(*s->entries));
	}
	s->entries[s->n++] = (struct lease_entry){ id, rt_now_ms() + duration_ms };
}

static int acquire_local(struct slice name, uint64_t limit, int64_t duration_ns, int64_t timeout_ms, struct lease *out)
{
	int64_t deadline = timeout_ms > INT64_MAX / 2 ? INT64_MAX : rt_now_ms() + timeout_ms;
	int rc = 0;

	rt_lock(&leases.lock);
	struct lease_set *s = set_get(name);
	for (;;) {
		int64_t next = set_expire(s), left = deadline - rt_now_ms();
		if (s->n < limit)
			break;
		if (left <= 0) {
			rc = err_set(E_LIMIT, "all %llu places of %.*s are taken", (unsigned long long)limit, SLICE_ARG(name));
			break;
		}
		rc = rt_cond_wait(&s->freed, &leases.lock, MIN(left, next));
		if (rc == -E_TIMEOUT && rt_check() == 0)
			rc = 0;		/* a lease expired, or our own time is over: look again */
		if (rc < 0)
			break;
	}
	if (rc == 0) {
		*out = (struct lease){ .name = xstrdup(s->name), .id = uuid_v4(), .set = s };
		set_add(s, out->id, MAX(duration_ns / 1000000, 1));
	} else {
		rt_cond_signal(&s->freed);	/* a signal that came while we gave up belongs to the next */
		set_put(s);
	}
	rt_unlock(&leases.lock);
	return rc;
}

int lease_acquire(struct slice name, const struct limit_spec *spec, int64_t duration_ns, int64_t timeout_ms, struct lease *out)
{
	const struct throttle_backend *b = spec->local ? NULL : throttle_backend_get();
	if (!b)
		return acquire_local(name, spec->limit, duration_ns, timeout_ms, out);
	struct uuid id;
	int rc = b->acquire(name, spec->limit, duration_ns, timeout_ms, &id);
	if (rc == 0)
		*out = (struct lease){ .name = xmemdup0(name.ptr, name.len), .id = id, .shared = true };
	return rc;
}

int lease_extend(const struct lease *l, int64_t duration_ns)
{
	const struct throttle_backend *b = throttle_backend_get();
	int rc = -E_NOENT;
	if (l->shared)
		return b ? b->extend(slice_from_cstr(l->name), l->id, duration_ns) : -E_NOENT;
	rt_lock(&leases.lock);
	for (size_t i = 0; i < l->set->n; i++) {
		if (!uuid_eq(l->set->entries[i].id, l->id))
			continue;
		l->set->entries[i].expires_ms = rt_now_ms() + MAX(duration_ns / 1000000, 1);
		rc = 0;
	}
	rt_unlock(&leases.lock);
	return rc;
}

void lease_release(struct lease *l)
{
	const struct throttle_backend *b = throttle_backend_get();
	if (!l->name)
		return;
	if (l->shared && b) {
		b->release(slice_from_cstr(l->name), l->id);
	} else if (l->set) {
		rt_lock(&leases.lock);
		struct lease_set *s = l->set;
		for (size_t i = 0; i < s->n; i++) {
			if (uuid_eq(s->entries[i].id, l->id)) {
				s->entries[i] = s->entries[--s->n];
				break;
			}
		}
		rt_cond_signal(&s->freed);
		set_put(s);
		rt_unlock(&leases.lock);
	}
	free(l->name);
	*l = (struct lease){ 0 };
}

uint64_t lease_count(struct slice name)
{
	rt_lock(&leases.lock);
	struct lease_set *s = map_get(&leases.sets, name);
	uint64_t n = 0;
	if (s) {
		set_expire(s);
		n = s->n;
	}
	rt_unlock(&leases.lock);
	return n;
}
