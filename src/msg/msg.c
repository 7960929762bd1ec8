/* SPDX-License-Identifier: Apache-2.0 */
/* The handle of a message: its parts, flags and times under a lock of one byte. */
#include "msg/internal.h"
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include "base/xalloc.h"
#include "rt/clock.h"
#include "rt/metrics.h"

#define MSG_MAGIC OBJ_MAGIC('M', 'S', 'G', '_')

/* A queue of a million waits with a million of these. */
struct msg {
	uint32_t magic;
	_Atomic uint32_t refs;
	struct uuid id;			/* immutable */
	struct msg_link link;		/* owned by the queue that holds the message */
	/* under lock */
	struct msg_env *env;
	struct msg_body *body;
	int64_t due_us;
	uint16_t num_attempts;
	uint16_t flags;
	atomic_flag locked;		/* some instructions long; a mutex would cost half as much as all of the rest */
};
_Static_assert(sizeof(struct msg) <= 96, "a waiting message must stay small");

static struct msg_storage storage;

static struct metric_family MESSAGES = METRIC_GAUGE("message_count", "Total number of Message objects.", NULL);
static struct metric_family ENVS = METRIC_GAUGE("message_meta_resident_count", "Total number of Message objects with metadata loaded.", NULL);
static struct metric_family BODIES = METRIC_GAUGE("message_data_resident_count", "Total number of Message objects with body data loaded.", NULL);
static struct metric_family SAVE_LATENCY = METRIC_HISTOGRAM("message_save_latency", "How many seconds it takes to save a message to spool.", NULL);
static struct metric_family LOAD_BODY_LATENCY =
    METRIC_HISTOGRAM("message_data_load_latency", "How many seconds it takes to load message data from spool.", NULL);
static struct metric_family LOAD_ENV_LATENCY =
    METRIC_HISTOGRAM("message_meta_load_latency", "How long it takes to load message metadata from spool", NULL);
static _Atomic(struct metric *) save_latency, load_body_latency, load_env_latency;
static bool metrics_ready;

static struct counted_gauge {
	struct metric_family *family;
	_Atomic int64_t *count;
	struct metric *metric;
} GAUGES[] = {
	{ &MESSAGES, &msg_counters.messages, NULL },
	{ &ENVS, &msg_counters.envs, NULL },
	{ &BODIES, &msg_counters.bodies, NULL },
};

static int collect_count(struct metric_family *f)
{
	for (size_t i = 0; i < ARRAY_LEN(GAUGES); i++)
		if (GAUGES[i].family == f)
			metric_set(GAUGES[i].metric, atomic_load_explicit(GAUGES[i].count, memory_order_relaxed));
	return 0;
}

void msg_metrics_init(void)
{
	for (size_t i = 0; i < ARRAY_LEN(GAUGES); i++) {
		GAUGES[i].family->collect = collect_count;
		metric_register(GAUGES[i].family);
		GAUGES[i].metric = metric_get_n(GAUGES[i].family, NULL);
	}
	metric_register(&SAVE_LATENCY);
	metric_register(&LOAD_BODY_LATENCY);
	metric_register(&LOAD_ENV_LATENCY);
	metrics_ready = true;
}

/* Metrics that count what rarely happens show when it first did. */
static void observe_since(struct metric_family *f, _Atomic(struct metric *) *cache, int64_t start_us)
{
	if (metrics_ready)
		metric_observe(metric_lazy(f, cache), (double)(rt_now_us_exact() - start_us) / 1e6);
}

static void lock(struct msg *m)
{
	OBJ_CHECK(m, MSG_MAGIC);
	for (int n = 0; atomic_flag_test_and_set_explicit(&m->locked, memory_order_acquire);)
		if (++n % 64 == 0)
			sched_yield();	/* the holder lost its core */
}

static void unlock(struct msg *m)
{
	atomic_flag_clear_explicit(&m->locked, memory_order_release);
}

void msg_set_storage(const struct msg_storage *s)
{
	storage = *s;
}

int64_t msg_bytes_in_memory(void)
{
	return atomic_load_explicit(&msg_counters.bytes, memory_order_relaxed);
}

int64_t msg_count_in_memory(void)
{
	return atomic_load_explicit(&msg_counters.messages, memory_order_relaxed);
}

static struct msg *msg_alloc(struct uuid id, struct msg_env *env, struct msg_body *body, unsigned flags)
{
	struct msg *m = xzalloc(sizeof *m);
	OBJ_INIT(m, MSG_MAGIC);
	atomic_init(&m->refs, 1);
	m->id = id;
	m->env = env;
	m->body = body;
	m->flags = (uint16_t)flags;
	list_init(&m->link.node);
	atomic_fetch_add_explicit(&msg_counters.messages, 1, memory_order_relaxed);
	return m;
}

struct msg *msg_create(struct uuid id, struct msg_env *env, struct msg_body *body)
{
	assert(env != NULL && body != NULL);
	return msg_alloc(id, env, body, MSG_META_DIRTY | MSG_DATA_DIRTY | (env->schedule.present ? MSG_SCHEDULED : 0));
}

struct msg *msg_from_spool(struct uuid id, struct msg_env *env)
{
	/* without the envelope nobody knows: assume a schedule until it has been read */
	return msg_alloc(id, env, NULL, MSG_SPOOLED | (env == NULL || env->schedule.present ? MSG_SCHEDULED : 0));
}

struct msg *msg_ref(struct msg *m)
{
	OBJ_CHECK(m, MSG_MAGIC);
	atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
	return m;
}

void msg_unref(struct msg **mp)
{
	struct msg *m = *mp;
	*mp = NULL;
	if (m == NULL)
		return;
	OBJ_CHECK(m, MSG_MAGIC);
	if (atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) != 1)
		return;
	assert(!list_linked(&m->link.node));
	msg_env_unref(&m->env);
	msg_body_unref(&m->body);
	OBJ_FINI(m, MSG_MAGIC);
	free(m);
	atomic_fetch_sub_explicit(&msg_counters.messages, 1, memory_order_relaxed);
}

struct uuid msg_id(const struct msg *m)
{
	OBJ_CHECK(m, MSG_MAGIC);
	return m->id;
}

int64_t msg_created_us(const struct msg *m)
{
	return uuid_v1_us(m->id);
}

struct msg_link *msg_link(struct msg *m)
{
	return &m->link;
}

struct msg *msg_from_link(struct msg_link *l)
{
	struct msg *m = CONTAINER_OF(l, struct msg, link);
	OBJ_CHECK(m, MSG_MAGIC);
	return m;
}

/* --- parts */

struct msg_env *msg_env_if_loaded(struct msg *m)
{
	lock(m);
	struct msg_env *e = m->env ? msg_env_ref(m->env) : NULL;
	unlock(m);
	return e;
}

struct msg_body *msg_body_if_loaded(struct msg *m)
{
	lock(m);
	struct msg_body *b = m->body ? msg_body_ref(m->body) : NULL;
	unlock(m);
	return b;
}

int msg_env(struct msg *m, struct msg_env **out)
{
	if ((*out = msg_env_if_loaded(m)) != NULL)
		return 0;
	if (storage.load_env == NULL)
		return err_set(E_NOENT, "message has no envelope and there is no spool");
	struct msg_env *e;
	int64_t start = rt_now_us_exact();
	int rc = storage.load_env(m->id, &e);
	if (rc < 0)
		return rc;
	observe_since(&LOAD_ENV_LATENCY, &load_env_latency, start);
	lock(m);
	if (m->env == NULL) {
		m->env = msg_env_ref(e);
		m->flags = (uint16_t)((m->flags & ~MSG_SCHEDULED) | (e->schedule.present ? MSG_SCHEDULED : 0));
	} else {	/* somebody was quicker, and may have changed it since */
		struct msg_env *mine = e;
		e = msg_env_ref(m->env);
		unlock(m);
		msg_env_unref(&mine);
		*out = e;
		return 0;
	}
	unlock(m);
	*out = e;
	return 0;
}

int msg_body(struct msg *m, struct msg_body **out)
{
	if ((*out = msg_body_if_loaded(m)) != NULL)
		return 0;
	if (storage.load_body == NULL)
		return err_set(E_NOENT, "message has no body and there is no spool");
	struct msg_body *b;
	int64_t start = rt_now_us_exact();
	int rc = storage.load_body(m->id, &b);
	if (rc < 0)
		return rc;
	observe_since(&LOAD_BODY_LATENCY, &load_body_latency, start);
	struct msg_body *spare = NULL;
	lock(m);
	if (m->body == NULL) {
		m->body = msg_body_ref(b);
	} else {
		spare = b;
		b = msg_body_ref(m->body);
	}
	unlock(m);
	msg_body_unref(&spare);
	*out = b;
	return 0;
}

/* Puts ENV in place of EXPECTED (NULL: of whatever there is); false when something else is there by now. */
static bool swap_env(struct msg *m, struct msg_env *expected, struct msg_env *env)
{
	lock(m);
	struct msg_env *old = m->env;
	bool ok = expected == NULL || old == expected;
	if (ok) {
		m->env = env;
		m->flags = (uint16_t)((m->flags & ~MSG_SCHEDULED) | MSG_META_DIRTY | (env->schedule.present ? MSG_SCHEDULED : 0));
	}
	unlock(m);
	if (ok)
		msg_env_unref(&old);
	return ok;
}

void msg_set_env(struct msg *m, struct msg_env *env)
{
	swap_env(m, NULL, env);
}

void msg_set_body(struct msg *m, struct msg_body *body)
{
	lock(m);
	struct msg_body *old = m->body;
	m->body = body;
	m->flags |= MSG_DATA_DIRTY;
	unlock(m);
	msg_body_unref(&old);
}

int msg_meta_get(struct msg *m, struct slice key, struct arena *a, struct val *out)
{
	struct msg_env *e;
	int rc = msg_env(m, &e);
	if (rc < 0)
		return rc;
	const struct val *v = val_get(&e->meta, key);
	*out = v ? val_copy(a, v) : val_null();
	msg_env_unref(&e);
	return 0;
}

/* In place where nobody else can see it: policies set several metas in a row, a copy for each would add up. */
static bool set_meta_in_place(struct msg *m, struct slice key, const struct val *v)
{
	enum { GARBAGE_MAX = 65536 };	/* what replaced values may leave behind in the arena */
	lock(m);
	struct msg_env *e = m->env;
	bool ok = e != NULL && atomic_load_explicit(&e->refs, memory_order_acquire) == 1 && arena_bytes(e->arena) < GARBAGE_MAX;
	if (ok) {
		val_put(e->arena, &e->meta, key, val_copy(e->arena, v));
		m->flags |= MSG_META_DIRTY;
	}
	unlock(m);
	return ok;
}

int msg_meta_set(struct msg *m, struct slice key, const struct val *v)
{
	if (set_meta_in_place(m, key, v))
		return 0;
	for (;;) {
		struct msg_env *e;
		int rc = msg_env(m, &e);
		if (rc < 0)
			return rc;
		struct msg_env *copy = msg_env_clone(e);
		val_put(copy->arena, &copy->meta, key, val_copy(copy->arena, v));
		bool done = swap_env(m, e, copy);
		if (!done)
			msg_env_unref(&copy);
		msg_env_unref(&e);
		if (done)
			return 0;
	}
}

/* --- queue name */

static int meta_text(const struct msg_env *e, struct slice key, struct slice *out)
{
	const struct val *v = val_get(&e->meta, key);
	*out = SLICE_NONE;
	if (v == NULL || v->type == VAL_NULL)
		return 0;
	if (v->type != VAL_STR)
		return err_set(E_INVAL, "expected '%.*s' to be a string value, got %s", SLICE_ARG(key), val_type_name(v->type));
	*out = v->s.ptr ? v->s : SLICE("");
	return 0;
}

static int compose_name(const struct msg_env *e, struct buf *out)
{
	struct slice queue, campaign, tenant, routing;
	if (meta_text(e, SLICE("queue"), &queue) < 0)
		return -E_INVAL;
	if (queue.ptr != NULL) {
		buf_slice(out, queue);
		return 0;
	}
	if (meta_text(e, SLICE("campaign"), &campaign) < 0 || meta_text(e, SLICE("tenant"), &tenant) < 0 ||
	    meta_text(e, SLICE("routing_domain"), &routing) < 0)
		return -E_INVAL;
	if (e->n_recipients == 0)
		return err_set(E_INVAL, "message has no recipient");
	if (campaign.ptr != NULL) {
		buf_slice(out, campaign);
		buf_putc(out, ':');
	}
	buf_slice(out, tenant);
	if (campaign.ptr != NULL || tenant.ptr != NULL)
		buf_putc(out, '@');
	struct slice rcpt = e->recipients[0];
	ptrdiff_t at = slice_rchr(rcpt, '@');
	for (size_t i = at < 0 ? rcpt.len : (size_t)at + 1; i < rcpt.len; i++)
		buf_putc(out, ascii_lower(rcpt.ptr[i]));
	if (routing.ptr != NULL) {
		buf_putc(out, '!');
		buf_slice(out, routing);
	}
	return 0;
}

int msg_queue_name(struct msg *m, struct buf *out)
{
	struct msg_env *e;
	int rc = msg_env(m, &e);
	if (rc < 0)
		return rc;
	rc = compose_name(e, out);
	msg_env_unref(&e);
	return rc;
}

/* --- attempts, due time, schedule */

uint16_t msg_num_attempts(const struct msg *m)
{
	return __atomic_load_n(&m->num_attempts, __ATOMIC_RELAXED);
}

void msg_set_num_attempts(struct msg *m, uint16_t n)
{
	__atomic_store_n(&m->num_attempts, n, __ATOMIC_RELAXED);
}

int64_t msg_due_us(const struct msg *m)
{
	return __atomic_load_n(&m->due_us, __ATOMIC_RELAXED);
}

void msg_set_due_us(struct msg *m, int64_t us)
{
	__atomic_store_n(&m->due_us, us, __ATOMIC_RELAXED);
}

int msg_schedule_get(struct msg *m, struct msg_schedule *out)
{
	*out = (struct msg_schedule){ 0 };
	if (!(msg_flags(m) & MSG_SCHEDULED))
		return 0;
	struct msg_env *e;
	int rc = msg_env(m, &e);
	if (rc < 0)
		return rc;
	*out = e->schedule;
	msg_env_unref(&e);
	return 0;
}

int msg_set_due_scheduled(struct msg *m, int64_t us)
{
	struct msg_schedule s;
	int rc = msg_schedule_get(m, &s);
	if (rc < 0)
		return rc;
	msg_set_due_us(m, s.present ? msg_schedule_adjust(&s, us ? us : rt_wall_us()) : us);
	return 0;
}

int msg_set_schedule(struct msg *m, const struct msg_schedule *s)
{
	struct msg_env *e, *copy;
	do {
		int rc = msg_env(m, &e);
		if (rc < 0)
			return rc;
		copy = msg_env_clone(e);
		copy->schedule = s ? *s : (struct msg_schedule){ 0 };
		bool done = swap_env(m, e, copy);
		msg_env_unref(&e);
		if (done)
			break;
		msg_env_unref(&copy);
	} while (true);
	return s && s->present ? msg_set_due_scheduled(m, msg_due_us(m)) : 0;
}

/* --- storing */

unsigned msg_flags(const struct msg *m)
{
	return __atomic_load_n(&m->flags, __ATOMIC_ACQUIRE);
}

void msg_flags_set(struct msg *m, unsigned set, unsigned clear)
{
	lock(m);
	m->flags = (uint16_t)((m->flags & ~clear) | set);
	unlock(m);
}

/* The storing ended with RC: what was stored is clean, unless it was replaced meanwhile. */
static void saved(struct msg *m, int rc, const struct msg_env *e, const struct msg_body *b)
{
	lock(m);
	if (rc == 0 && e != NULL && m->env == e)
		m->flags &= (uint16_t)~MSG_META_DIRTY;
	if (rc == 0 && b != NULL && m->body == b)
		m->flags &= (uint16_t)~MSG_DATA_DIRTY;
	bool removed = m->flags & MSG_REMOVED;
	unlock(m);
	if (removed)	/* it ended while it was being stored: don't leave it behind */
		storage.remove(m->id);
}

int msg_save(struct msg *m)
{
	struct msg_env *e = NULL;
	struct msg_body *b = NULL;
	if (storage.store == NULL)
		return err_set(E_NOENT, "there is no spool to save the message to");
	lock(m);
	unsigned flags = m->flags;
	if (!(flags & MSG_REMOVED)) {
		if (flags & MSG_META_DIRTY && m->env != NULL)
			e = msg_env_ref(m->env);
		if (flags & MSG_DATA_DIRTY && m->body != NULL)
			b = msg_body_ref(m->body);
	}
	if (e != NULL || b != NULL)
		m->flags |= MSG_SPOOLED;	/* even a failed store may leave something to remove */
	unlock(m);
	int rc = 0;
	if (b != NULL && b->len == 0) {
		rc = err_set(E_INVAL, "message data must not be empty");
	} else if (e != NULL || b != NULL) {
		int64_t start = rt_now_us_exact();
		rc = storage.store(m->id, e, b, flags & MSG_FORCE_SYNC);
		observe_since(&SAVE_LATENCY, &save_latency, start);
		saved(m, rc, e, b);
	}
	msg_env_unref(&e);
	msg_body_unref(&b);
	return rc;
}

int msg_remove(struct msg *m)
{
	lock(m);
	bool spooled = m->flags & MSG_SPOOLED;
	m->flags = (uint16_t)((m->flags | MSG_REMOVED) & ~(MSG_SPOOLED | MSG_META_DIRTY | MSG_DATA_DIRTY));
	unlock(m);
	return spooled && storage.remove != NULL ? storage.remove(m->id) : 0;
}

static int drop_parts(struct msg *m, bool env_too)
{
	int rc = msg_save(m);
	if (rc < 0)
		return rc;
	struct msg_env *e = NULL;
	struct msg_body *b = NULL;
	lock(m);
	if (!(m->flags & MSG_REMOVED)) {	/* what has ended cannot be loaded again */
		if (!(m->flags & MSG_DATA_DIRTY)) {
			b = m->body;
			m->body = NULL;
		}
		if (env_too && !(m->flags & MSG_META_DIRTY)) {
			e = m->env;
			m->env = NULL;
		}
	}
	unlock(m);
	msg_env_unref(&e);
	msg_body_unref(&b);
	return 0;
}

int msg_shrink_data(struct msg *m)
{
	return drop_parts(m, false);
}

int msg_shrink(struct msg *m)
{
	return drop_parts(m, true);
}
