/* SPDX-License-Identifier: Apache-2.0 */
/* The two parts of a message: reference-counted bodies and envelopes, and the envelope's JSON. */
#include "msg/internal.h"
#include <stdatomic.h>
#include <stdlib.h>
#include "base/xalloc.h"

struct msg_counters msg_counters;

struct msg_body *msg_body_take(char *data, size_t len)
{
	struct msg_body *b = xmalloc(sizeof *b);
	*b = (struct msg_body){ .refs = 1, .len = len, .data = data };
	atomic_fetch_add_explicit(&msg_counters.bodies, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&msg_counters.bytes, (int64_t)len, memory_order_relaxed);
	return b;
}

struct msg_body *msg_body_copy(struct slice data)
{
	return msg_body_take(xmemdup0(data.ptr, data.len), data.len);
}

struct msg_body *msg_body_ref(struct msg_body *b)
{
	atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
	return b;
}

void msg_body_unref(struct msg_body **bp)
{
	struct msg_body *b = *bp;
	*bp = NULL;
	if (b == NULL || atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) != 1)
		return;
	atomic_fetch_sub_explicit(&msg_counters.bodies, 1, memory_order_relaxed);
	atomic_fetch_sub_explicit(&msg_counters.bytes, (int64_t)b->len, memory_order_relaxed);
	free(b->data);
	free(b);
}

static struct msg_env *env_alloc(size_t arena_size)
{
	struct arena *a = arena_create_sized(arena_size);
	struct msg_env *e = arena_alloc(a, sizeof *e);
	atomic_init(&e->refs, 1);
	e->arena = a;
	e->meta = val_obj();
	atomic_fetch_add_explicit(&msg_counters.envs, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&msg_counters.bytes, MSG_ENV_COST, memory_order_relaxed);
	return e;
}

static void env_set_addresses(struct msg_env *e, struct slice sender, const struct slice *recipients, uint32_t n)
{
	e->sender = arena_dup(e->arena, sender);
	e->n_recipients = n;
	e->recipients = arena_alloc(e->arena, (n ? n : 1) * sizeof *e->recipients);
	for (uint32_t i = 0; i < n; i++)
		e->recipients[i] = arena_dup(e->arena, recipients[i]);
}

struct msg_env *msg_env_create(struct slice sender, const struct slice *recipients, uint32_t n)
{
	struct msg_env *e = env_alloc(MSG_ENV_COST);
	env_set_addresses(e, sender, recipients, n);
	return e;
}

static struct msg_env *clone_sized(const struct msg_env *from, size_t arena_size)
{
	struct msg_env *e = env_alloc(arena_size);
	env_set_addresses(e, from->sender, from->recipients, from->n_recipients);
	e->meta = val_copy(e->arena, &from->meta);
	e->schedule = from->schedule;
	return e;
}

struct msg_env *msg_env_clone(const struct msg_env *from)
{
	return clone_sized(from, MSG_ENV_COST);
}

struct msg_env *msg_env_ref(struct msg_env *e)
{
	atomic_fetch_add_explicit(&e->refs, 1, memory_order_relaxed);
	return e;
}

void msg_env_unref(struct msg_env **ep)
{
	struct msg_env *e = *ep;
	*ep = NULL;
	if (e == NULL || atomic_fetch_sub_explicit(&e->refs, 1, memory_order_acq_rel) != 1)
		return;
	atomic_fetch_sub_explicit(&msg_counters.envs, 1, memory_order_relaxed);
	atomic_fetch_sub_explicit(&msg_counters.bytes, MSG_ENV_COST, memory_order_relaxed);
	struct arena *a = e->arena;
	arena_destroy(&a);
}

static void put_recipients(struct buf *b, const struct msg_env *e)
{
	if (e->n_recipients == 1) {
		json_put_string(b, e->recipients[0]);
		return;
	}
	buf_putc(b, '[');
	for (uint32_t i = 0; i < e->n_recipients; i++) {
		if (i > 0)
			buf_putc(b, ',');
		json_put_string(b, e->recipients[i]);
	}
	buf_putc(b, ']');
}

void msg_env_put_json(struct buf *b, const struct msg_env *e)
{
	buf_lit(b, "{\"sender\":");
	json_put_string(b, e->sender);
	buf_lit(b, ",\"recipient\":");
	put_recipients(b, e);
	buf_lit(b, ",\"meta\":");
	json_put(b, &e->meta, JSON_COMPACT | JSON_SORTED);
	buf_lit(b, ",\"schedule\":");
	if (e->schedule.present)
		msg_schedule_put_json(b, &e->schedule);
	else
		buf_lit(b, "null");
	buf_putc(b, '}');
}

static int read_recipients(struct msg_env *e, const struct val *v)
{
	if (v == NULL || (v->type == VAL_LIST && v->n == 0))
		return err_set(E_CORRUPT, "envelope: no recipient");
	if (v->type == VAL_STR) {
		env_set_addresses(e, SLICE(""), &v->s, 1);
		return 0;
	}
	if (v->type != VAL_LIST)
		return err_set(E_CORRUPT, "envelope: recipient is neither a string nor a list");
	e->n_recipients = v->n;
	e->recipients = arena_alloc(e->arena, v->n * sizeof *e->recipients);
	for (uint32_t i = 0; i < v->n; i++) {
		if (v->items[i].type != VAL_STR)
			return err_set(E_CORRUPT, "envelope: recipient %u is no string", i);
		e->recipients[i] = v->items[i].s;
	}
	return 0;
}

static int read_env(struct msg_env *e, const struct val *root)
{
	if (root->type != VAL_OBJ)
		return err_set(E_CORRUPT, "envelope: expected an object, got %s", val_type_name(root->type));
	int rc = read_recipients(e, val_get_lit(root, "recipient"));
	if (rc < 0)
		return rc;
	const struct val *sender = val_get_lit(root, "sender");
	if (sender == NULL || sender->type != VAL_STR)
		return err_set(E_CORRUPT, "envelope: no sender");
	e->sender = sender->s;
	const struct val *meta = val_get_lit(root, "meta");
	if (meta == NULL || (meta->type != VAL_OBJ && meta->type != VAL_NULL))
		return err_set(E_CORRUPT, "envelope: no meta object");
	if (meta->type == VAL_OBJ)
		e->meta = *meta;
	const struct val *sched = val_get_lit(root, "schedule");
	if (sched != NULL && sched->type != VAL_NULL && (rc = msg_schedule_parse(sched, &e->schedule)) < 0) {
		err_prefix("envelope");
		return rc;
	}
	return 0;
}

/* Parsed in a roomy arena, then copied into one that fits: in a ready queue many wait with their envelope. */
int msg_env_parse_json(struct slice json, struct msg_env **out)
{
	struct msg_env e = { .meta = val_obj(), .arena = arena_create() };
	struct val root;
	int rc = json_parse(json, e.arena, &root);
	if (rc < 0)
		err_prefix("envelope");
	else
		rc = read_env(&e, &root);
	if (rc == 0)
		*out = clone_sized(&e, 512 + 2 * json.len);
	arena_destroy(&e.arena);
	return rc;
}
