/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/conf/fetch.h"
#include <stdlib.h>
#include "base/xalloc.h"
#include "rt/clock.h"
#include "rt/fiber.h"

#define CACHE_MAX 4096		/* names are the policy's own; a bound against those made from message data */

static const struct policy_event EV_QUEUE = { "get_queue_config", POLICY_MULTI }, EV_PATH = { "get_egress_path_config", POLICY_SINGLE },
				 EV_SOURCE = { "get_egress_source", POLICY_SINGLE }, EV_POOL = { "get_egress_pool", POLICY_SINGLE };

void fetch_init(void)
{
	policy_event_register(&EV_QUEUE);
	policy_event_register(&EV_PATH);
	policy_event_register(&EV_SOURCE);
	policy_event_register(&EV_POOL);
}

struct conf_term conf_term_new(int refresh_strategy, int64_t refresh_interval_ns, uint64_t epoch)
{
	int64_t until = refresh_strategy == REFRESH_EPOCH ? INT64_MAX : rt_now_ms() + refresh_interval_ns / 1000000;
	return (struct conf_term){ until, epoch };
}

/* Fires EV with the arguments and reads the object that comes back; *OUT is NULL when nothing did. */
static int ask(const struct policy_event *ev, enum conf_kind_id kind, const struct slice *args, int n, struct conf **out)
{
	struct policy_call c;
	*out = NULL;
	if (!policy_event_wanted(ev))
		return 0;
	int rc = policy_call_begin(&c, ev);
	if (rc < 0)
		return rc;
	for (int i = 0; i < n; i++)
		policy_push_slice(c.L, args[i]);
	rc = policy_call_run(&c, n, 1);
	if (rc == -E_REJECT)
		rc = err_set(E_POLICY, "%s: rejected: %d %s", ev->name, c.reject_code, c.reject_text ? c.reject_text : "");
	if (rc == 0 && !lua_isnil(c.L, -1)) {
		struct conf *o = policy_obj_get(c.L, -1, CONF_OBJ[kind]);
		if (o)
			*out = conf_ref(o);
		else
			rc = err_set(E_POLICY, "%s: returned a %s, expected what kumo.%s makes", ev->name, luaL_typename(c.L, -1), CONF_DESC[kind]->name);
	}
	policy_call_end(&c);
	return rc;
}

int fetch_queue(struct slice domain, struct slice tenant, struct slice campaign, struct slice routing_domain, struct conf **out)
{
	const struct slice args[] = { domain, tenant, campaign, routing_domain };
	int rc = ask(&EV_QUEUE, CONF_QUEUE, args, 4, out);
	if (rc == 0 && !*out)
		*out = conf_default(CONF_QUEUE);
	return rc;
}

int fetch_path(struct slice routing_domain, struct slice source, struct slice site, struct conf **out)
{
	const struct slice args[] = { routing_domain, source, site };
	int rc = ask(&EV_PATH, CONF_PATH, args, 3, out);
	if (rc == 0 && !*out)
		*out = conf_default(CONF_PATH);
	return rc;
}

/* --- sources and pools: cached --- */

struct entry {
	_Atomic uint32_t refs;
	struct rt_promise done;
	struct conf *conf;	/* set before done */
	char *error;
	struct conf_term term;
	_Atomic bool settled;
};
struct cache {
	const struct policy_event *ev;
	enum conf_kind_id kind;
	struct rt_lock lock;
	struct map entries;
};
static struct cache sources = { &EV_SOURCE, CONF_SOURCE, RT_LOCK_INIT(RANK_CACHE), { 0 } };
static struct cache pools = { &EV_POOL, CONF_POOL, RT_LOCK_INIT(RANK_CACHE), { 0 } };

static void entry_unref(struct entry *e)
{
	if (!e || atomic_fetch_sub(&e->refs, 1) != 1)
		return;
	conf_unref(&e->conf);
	rt_promise_fini(&e->done);
	free(e->error);
	free(e);
}

/* Entries are let go of with no lock held: what they hold takes locks of its own. */
static void entries_forget(struct map *m)
{
	struct map_iter it = { 0 };
	while (map_next(m, &it))
		entry_unref(it.value);
	map_fini(m);
}

static void cache_drop(struct cache *c, struct slice name, struct entry *e)
{
	struct entry *old = NULL;
	rt_lock(&c->lock);
	if (map_get(&c->entries, name) == e)
		old = map_del(&c->entries, name);
	rt_unlock(&c->lock);
	entry_unref(old);
}

static bool entry_usable(struct entry *e, uint64_t epoch)
{
	return !atomic_load(&e->settled) || conf_fresh(&e->term, rt_now_ms(), epoch);
}

/* The entry to use; *MINE says that the caller has to fill it. */
static struct entry *cache_enter(struct cache *c, struct slice name, uint64_t epoch, bool *mine)
{
	struct entry *old = NULL;
	struct map all = { 0 };
	rt_lock(&c->lock);
	struct entry *e = map_get(&c->entries, name);
	*mine = !e || !entry_usable(e, epoch);
	if (*mine) {
		if (map_len(&c->entries) >= CACHE_MAX) {
			all = c->entries;
			c->entries = (struct map){ 0 };
		}
		e = xzalloc(sizeof(*e));
		atomic_store(&e->refs, 1);
		rt_promise_init(&e->done);
		old = map_put(&c->entries, name, e);
	}
	atomic_fetch_add(&e->refs, 1);
	rt_unlock(&c->lock);
	entry_unref(old);
	entries_forget(&all);
	return e;
}

static int builtin(enum conf_kind_id kind, struct conf **out)
{
	static const char source[] = "{\"name\":\"unspecified\"}", pool[] = "{\"name\":\"unspecified\",\"entries\":[{\"name\":\"unspecified\"}]}";
	struct arena *a = arena_create();
	struct val v;
	int rc = json_parse(slice_from_cstr(kind == CONF_SOURCE ? source : pool), a, &v);
	if (rc == 0)
		rc = conf_make(kind, &v, out);
	arena_destroy(&a);
	return rc;
}

static int fill(struct cache *c, struct slice name, uint64_t epoch, struct entry *e)
{
	int rc;
	if (slice_eq_cstr(name, "unspecified"))
		rc = builtin(c->kind, &e->conf);
	else
		rc = ask(c->ev, c->kind, &name, 1, &e->conf);
	if (rc == 0 && !e->conf)
		rc = err_set(E_POLICY, "event %s for '%.*s' has no handler, or it returned nothing", c->ev->name, SLICE_ARG(name));
	if (rc == 0) {
		int64_t ttl = c->kind == CONF_SOURCE ? source_opts_of(e->conf)->ttl : pool_opts_of(e->conf)->ttl;
		e->term = conf_term_new(REFRESH_TTL, ttl, epoch);
	} else {
		e->error = xstrdup(err_text());
		cache_drop(c, name, e);
	}
	atomic_store(&e->settled, true);
	rt_promise_set(&e->done, rc, NULL);
	return rc;
}

static int cached(struct cache *c, struct slice name, struct conf **out)
{
	for (;;) {
		uint64_t epoch = policy_epoch();
		bool mine;
		struct entry *e = cache_enter(c, name, epoch, &mine);
		int rc = mine ? fill(c, name, epoch, e) : rt_promise_wait(&e->done, NULL);
		if (rc == 0)
			*out = conf_ref(e->conf);
		else if (!mine && e->error)
			err_set(-rc, "%s", e->error);
		entry_unref(e);
		/* The fiber that asked was canceled, we were not: ask ourselves. */
		if ((rc == -E_CANCELED || rc == -E_TIMEOUT) && !mine && rt_check() == 0)
			continue;
		return rc;
	}
}

int fetch_source(struct slice name, struct conf **out) { return cached(&sources, name, out); }

int fetch_pool(struct slice name, struct conf **out)
{
	if (!name.ptr)
		name = SLICE("unspecified");
	int rc = cached(&pools, name, out);
	if (rc < 0) {
		err_prefix("resolving egress pool '%.*s'", SLICE_ARG(name));
		return rc;
	}
	const struct pool_opts *p = pool_opts_of(*out);
	for (size_t i = 0; i < p->entries.n; i++) {
		struct conf *s;
		rc = fetch_source(((struct pool_entry *)p->entries.items)[i].name, &s);
		if (rc < 0) {
			err_prefix("resolving egress pool '%.*s'", SLICE_ARG(name));
			conf_unref(out);
			return rc;
		}
		conf_unref(&s);
	}
	return 0;
}
