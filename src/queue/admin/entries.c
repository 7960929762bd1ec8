/* SPDX-License-Identifier: Apache-2.0 */
/*
 * entries - bounces and suspensions: kept, found, listed, expired.
 *
 * An entry is found by hash: its criteria make a key in which "any" is a part of its own, and a queue asks with each of the 16 keys that could
 * match it. So thousands of entries cost a message no more than one.
 */
#include <stdlib.h>
#include "base/timefmt.h"
#include "base/xalloc.h"
#include "queue/admin/int.h"
#include "queue/admin/work.h"
#include "queue/ready/ready.h"
#include "queue/record.h"
#include "rt/clock.h"

_Atomic uint32_t admin_n_bounces, admin_n_suspends, admin_n_ready_suspends;

struct bounce {			/* one entry of any kind */
	_Atomic uint32_t refs;
	struct list node;
	struct uuid id;
	int64_t expires_ms;
	bool suppress_logging, dead;
	struct arena *arena;
	struct queue_criteria which;
	struct slice reason, name;	/* name: of a ready queue */
	/* what it has bounced, under the lock */
	struct map bounced;		/* queue name -> uint64_t * */
	uint64_t total;
};
struct book {
	struct list all;
	struct map by_key;
	_Atomic uint32_t *count;
};
static struct rt_lock lock = RT_LOCK_INIT(RANK_CONFIG);
static struct book bounces, suspends, ready_suspends;

void admin_entries_init(void)
{
	struct book *const books[] = { &bounces, &suspends, &ready_suspends };
	bounces.count = &admin_n_bounces;
	suspends.count = &admin_n_suspends;
	ready_suspends.count = &admin_n_ready_suspends;
	for (size_t i = 0; i < ARRAY_LEN(books); i++)
		list_init(&books[i]->all);
}

static struct bounce *entry_ref(struct bounce *e)
{
	atomic_fetch_add(&e->refs, 1);
	return e;
}

void admin_bounce_unref(struct bounce **ep)
{
	struct bounce *e = *ep;
	struct map_iter it = { 0 };
	*ep = NULL;
	if (!e || atomic_fetch_sub(&e->refs, 1) != 1)
		return;
	while (map_next(&e->bounced, &it))
		free(it.value);
	map_fini(&e->bounced);
	arena_destroy(&e->arena);
	free(e);
}

/* --- keys ---------------------------------------------------------------------------------------------------------------------------- */

static void key_part(struct buf *b, struct slice s)
{
	if (s.ptr) {
		buf_printf(b, "%zu:", s.len);
		buf_slice(b, s);
	} else {
		buf_putc(b, '*');
	}
}

static void key_put(struct buf *b, struct slice campaign, struct slice tenant, struct slice domain, struct slice route)
{
	buf_clear(b);
	key_part(b, campaign);
	key_part(b, tenant);
	key_part(b, domain);
	key_part(b, route);
}

static void key_of_name(struct buf *b, struct slice name)
{
	buf_clear(b);
	buf_putc(b, 'q');
	buf_slice(b, name);
}

/* The Ith key of an entry: one for its criteria, or one for each queue name. */
static bool entry_key(const struct bounce *e, size_t i, struct buf *b)
{
	if (e->name.ptr || e->which.n_queue_names) {
		if (i >= (e->name.ptr ? 1 : e->which.n_queue_names))
			return false;
		key_of_name(b, e->name.ptr ? e->name : e->which.queue_names[i]);
		return true;
	}
	key_put(b, e->which.campaign, e->which.tenant, e->which.domain, e->which.routing_domain);
	return i == 0;
}

/* --- the book: with the lock held -------------------------------------------------------------------------------------------------------- */

static void book_remove(struct book *k, struct bounce *e)
{
	struct buf b = { 0 };
	for (size_t i = 0; entry_key(e, i, &b); i++)
		if (map_get(&k->by_key, buf_view(&b)) == e)
			map_del(&k->by_key, buf_view(&b));
	buf_fini(&b);
	list_remove(&e->node);
	e->dead = true;
	atomic_fetch_sub(k->count, 1);
	admin_bounce_unref(&e);
}

static void book_prune(struct book *k)
{
	int64_t now = rt_now_ms();
	LIST_EACH_SAFE(l, &k->all) {
		struct bounce *e = LIST_ENTRY(l, struct bounce, node);
		if (e->expires_ms <= now)
			book_remove(k, e);
	}
}

/* Takes E over. One with the same criteria is replaced, in its place. */
static void book_add(struct book *k, struct bounce *e)
{
	struct buf b = { 0 };
	book_prune(k);
	struct list *at = k->all.prev;	/* E goes behind it: at the end, or where the replaced one stood */
	for (size_t i = 0; entry_key(e, i, &b); i++) {
		struct bounce *old = map_get(&k->by_key, buf_view(&b));
		if (old && old != e && !old->which.n_queue_names) {
			at = old->node.prev;
			book_remove(k, old);
		}
		map_put(&k->by_key, buf_view(&b), e);
	}
	list_insert(at, &e->node);
	atomic_fetch_add(k->count, 1);
	buf_fini(&b);
}

static struct bounce *book_get(struct book *k, struct slice key)
{
	struct bounce *e = map_get(&k->by_key, key);
	return e && e->expires_ms > rt_now_ms() ? e : NULL;
}

static struct bounce *book_match(struct book *k, struct slice name, const struct queue_name *p)
{
	const struct slice part[4] = { p->campaign, p->tenant, p->domain, p->routing_domain };
	struct buf b = { 0 };
	struct bounce *found = NULL;

	key_of_name(&b, name);
	found = book_get(k, buf_view(&b));
	for (unsigned mask = 0; mask < 16 && !found; mask++) {
		struct slice s[4] = { 0 };
		bool possible = true;
		for (int i = 0; i < 4; i++) {
			if (mask & 1u << i)
				s[i] = part[i];
			possible &= !(mask & 1u << i) || part[i].ptr;
		}
		if (!possible)
			continue;
		key_put(&b, s[0], s[1], s[2], s[3]);
		found = book_get(k, buf_view(&b));
	}
	buf_fini(&b);
	return found;
}

static struct bounce *book_find(struct book *k, struct uuid id)
{
	book_prune(k);
	LIST_EACH(l, &k->all) {
		struct bounce *e = LIST_ENTRY(l, struct bounce, node);
		if (uuid_eq(e->id, id))
			return e;
	}
	return NULL;
}

/* --- making ------------------------------------------------------------------------------------------------------------------------------------ */

static struct slice dup_opt(struct arena *a, struct slice s) { return s.ptr ? arena_dup(a, s) : SLICE_NONE; }

void criteria_copy(struct arena *a, const struct queue_criteria *from, struct queue_criteria *to)
{
	*to = (struct queue_criteria){ dup_opt(a, from->campaign), dup_opt(a, from->tenant), dup_opt(a, from->domain), dup_opt(a, from->routing_domain), NULL, 0 };
	if (from->n_queue_names == 0)
		return;
	struct slice *names = arena_alloc(a, from->n_queue_names * sizeof(*names));
	for (size_t i = 0; i < from->n_queue_names; i++)
		names[i] = arena_dup(a, from->queue_names[i]);
	to->queue_names = names;
	to->n_queue_names = from->n_queue_names;
}

static bool part_matches(struct slice want, struct slice have) { return !want.ptr || (have.ptr && slice_eq(want, have)); }

bool criteria_match(const struct queue_criteria *c, struct slice name, const struct queue_name *p)
{
	for (size_t i = 0; i < c->n_queue_names; i++)
		if (slice_eq(c->queue_names[i], name))
			return true;
	return c->n_queue_names == 0 && part_matches(c->campaign, p->campaign) && part_matches(c->tenant, p->tenant) && part_matches(c->domain, p->domain) &&
	       part_matches(c->routing_domain, p->routing_domain);
}

static struct bounce *entry_make(const struct queue_criteria *c, struct slice reason, struct slice name, int64_t duration_ns)
{
	struct bounce *e = xzalloc(sizeof(*e));
	atomic_store(&e->refs, 1);
	e->arena = arena_create();
	e->id = uuid_v4();
	e->reason = arena_dup(e->arena, reason);
	e->name = dup_opt(e->arena, name);
	e->expires_ms = rt_now_ms() + MAX(duration_ns / 1000000, 0);
	if (c)
		criteria_copy(e->arena, c, &e->which);
	return e;
}

static void add(struct book *k, struct bounce *e, struct uuid *id)
{
	*id = e->id;
	rt_lock(&lock);
	book_add(k, e);
	rt_unlock(&lock);
}

int queue_admin_bounce(const struct queue_criteria *c, struct slice reason, int64_t duration_ns, bool suppress_logging, struct uuid *id)
{
	struct bounce *e = entry_make(c, reason, SLICE_NONE, duration_ns);
	e->suppress_logging = suppress_logging;
	entry_ref(e);
	add(&bounces, e, id);
	admin_work_bounce(e, &e->which);
	return 0;
}

int queue_admin_suspend(const struct queue_criteria *c, struct slice reason, int64_t duration_ns, struct uuid *id)
{
	add(&suspends, entry_make(c, reason, SLICE_NONE, duration_ns), id);
	return 0;
}

int queue_admin_suspend_ready_q(struct slice name, struct slice reason, int64_t duration_ns, struct uuid *id)
{
	add(&ready_suspends, entry_make(NULL, reason, name, duration_ns), id);
	struct ready_queue *q = ready_find(name);
	if (q) {	/* what is ready looks for another way */
		ready_reinsert_all(q, WHY_READY_SUSPENDED);
		ready_wake(q);
		ready_unref(&q);
	}
	return 0;
}

static bool cancel(struct book *k, struct uuid id)
{
	rt_lock(&lock);
	struct bounce *e = book_find(k, id);
	if (e)
		book_remove(k, e);
	rt_unlock(&lock);
	return e != NULL;
}
bool queue_admin_bounce_cancel(struct uuid id) { return cancel(&bounces, id); }
bool queue_admin_suspend_cancel(struct uuid id) { return cancel(&suspends, id); }
bool queue_admin_suspend_ready_q_cancel(struct uuid id) { return cancel(&ready_suspends, id); }

/* --- asked by queues --------------------------------------------------------------------------------------------------------------------------------- */

struct bounce *admin_bounce_match_slow(struct slice name, const struct queue_name *parts)
{
	rt_lock(&lock);
	struct bounce *e = book_match(&bounces, name, parts);
	if (e)
		entry_ref(e);
	else
		book_prune(&bounces);
	rt_unlock(&lock);
	return e;
}

bool admin_suspend_match_slow(struct slice name, const struct queue_name *parts, struct buf *reason)
{
	rt_lock(&lock);
	struct bounce *e = book_match(&suspends, name, parts);
	if (e)
		buf_slice(reason, e->reason);
	else
		book_prune(&suspends);
	rt_unlock(&lock);
	return e != NULL;
}

bool admin_ready_suspended_slow(struct slice name, int64_t *left_ms, struct buf *reason)
{
	struct buf b = { 0 };
	key_of_name(&b, name);
	rt_lock(&lock);
	struct bounce *e = book_get(&ready_suspends, buf_view(&b));
	if (e && left_ms)
		*left_ms = MAX(e->expires_ms - rt_now_ms(), 1);
	if (e && reason)
		buf_slice(reason, e->reason);
	if (!e)
		book_prune(&ready_suspends);
	rt_unlock(&lock);
	buf_fini(&b);
	return e != NULL;
}

void admin_bounce_message(struct bounce *e, struct msg *m, struct slice queue)
{
	if (!e->suppress_logging) {
		struct buf b = { 0 };
		buf_printf(&b, "Administrator bounced with reason: %.*s", SLICE_ARG(e->reason));
		struct log_event ev = record_of(LOG_ADMIN_BOUNCE, m, SLICE("localhost"), response_of(551, 701, buf_view(&b)));
		ev.queue = queue;
		record_write(&ev);
		buf_fini(&b);
	}
	msg_remove(m);
	msg_unref(&m);
	rt_lock(&lock);
	uint64_t *n = map_get(&e->bounced, queue);
	if (!n) {
		n = xzalloc(sizeof(*n));
		map_put(&e->bounced, queue, n);
	}
	++*n;
	e->total++;
	rt_unlock(&lock);
	admin_bounce_unref(&e);
}

/* --- lists ------------------------------------------------------------------------------------------------------------------------------------------------ */

static struct val opt_val(struct arena *a, struct slice s) { return s.ptr ? val_str(a, s) : val_null(); }

static struct val buf_val(struct arena *a, struct buf *b)
{
	struct val v = val_str(a, buf_view(b));
	buf_fini(b);
	return v;
}

/* The members stand in the order in which clients have always seen them. */
static void list_id(const struct bounce *e, struct arena *a, struct val *v)
{
	struct buf id = { 0 };
	uuid_put(&id, e->id);
	*v = val_obj();
	val_put_lit(a, v, "id", buf_val(a, &id));
}

static void list_reason(const struct bounce *e, struct arena *a, struct val *v)
{
	struct buf left = { 0 };
	duration_put(&left, MAX(e->expires_ms - rt_now_ms(), 0) * 1000000);
	val_put_lit(a, v, "reason", val_str(a, e->reason));
	val_put_lit(a, v, "duration", buf_val(a, &left));
}

static void list_criteria(const struct bounce *e, struct arena *a, struct val *v)
{
	val_put_lit(a, v, "campaign", opt_val(a, e->which.campaign));
	val_put_lit(a, v, "tenant", opt_val(a, e->which.tenant));
	val_put_lit(a, v, "domain", opt_val(a, e->which.domain));
}

static void list_bounce(const struct bounce *e, struct arena *a, struct val *v)
{
	struct map_iter it = { 0 };
	struct val by_queue = val_obj();
	list_id(e, a, v);
	list_criteria(e, a, v);
	val_put_lit(a, v, "routing_domain", opt_val(a, e->which.routing_domain));
	list_reason(e, a, v);
	while (map_next(&e->bounced, &it))
		val_put(a, &by_queue, it.key, val_uint(*(uint64_t *)it.value));
	val_put_lit(a, v, "bounced", by_queue);
	val_put_lit(a, v, "total_bounced", val_uint(e->total));
}

static void list_suspend(const struct bounce *e, struct arena *a, struct val *v)
{
	list_id(e, a, v);
	list_criteria(e, a, v);
	list_reason(e, a, v);
}

static void list_ready(const struct bounce *e, struct arena *a, struct val *v)
{
	struct buf until = { 0 };
	list_id(e, a, v);
	val_put_lit(a, v, "name", val_str(a, e->name));
	list_reason(e, a, v);
	time_put_rfc3339(&until, rt_wall_us() + (e->expires_ms - rt_now_ms()) * 1000, 6, true);
	val_put_lit(a, v, "expires", buf_val(a, &until));
}

static void list_book(struct book *k, struct arena *a, struct val *out, void (*one)(const struct bounce *, struct arena *, struct val *))
{
	*out = val_list();
	rt_lock(&lock);
	book_prune(k);
	LIST_EACH(l, &k->all) {
		struct val v;
		one(LIST_ENTRY(l, struct bounce, node), a, &v);
		val_push(a, out, v);
	}
	rt_unlock(&lock);
}
void queue_admin_bounce_list(struct arena *a, struct val *list) { list_book(&bounces, a, list, list_bounce); }
void queue_admin_suspend_list(struct arena *a, struct val *list) { list_book(&suspends, a, list, list_suspend); }
void queue_admin_suspend_ready_q_list(struct arena *a, struct val *list) { list_book(&ready_suspends, a, list, list_ready); }
