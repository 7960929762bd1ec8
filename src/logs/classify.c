/* SPDX-License-Identifier: Apache-2.0 */
#include "logs/classify.h"
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/list.h"
#include "base/map.h"
#include "base/xalloc.h"
#include "logs/internal.h"
#include "logs/rules.h"
#include "policy/host.h"
#include "rt/clock.h"
#include "rt/diag.h"
#include "rt/fiber.h"
#include "rt/loop.h"
#include "rt/metrics.h"
#include "rt/offload.h"
#include "rt/sync.h"

#define FILE_MAX (16 << 20)
static const struct slice UNCATEGORIZED = SLICE_INIT("Uncategorized");

static struct metric_family LATENCY = METRIC_HISTOGRAM("bounce_classify_latency", "latency of bounce classification", NULL);
static struct metric *latency;

/* Least recently used goes first. Only for sets with rules that are tried one by one. */
struct cache {
	struct map map;
	struct list order;
	int64_t max;
};
struct cached {
	struct list node;
	struct slice line, value;
};

static struct {
	struct rt_lock lock;
	struct rules *rules;		/* under lock */
	struct cache found, none;	/* under lock */
	char **files;			/* immutable once configured */
	size_t n_files;
} g = { .lock = RT_LOCK_INIT(RANK_CACHE) };
static _Atomic bool configured, had_error;

/* --- the cache. Lock held. */

static void cache_clear(struct cache *c)
{
	for (struct list *it; c->order.next != NULL && (it = list_pop(&c->order)) != NULL;) {
		struct cached *e = LIST_ENTRY(it, struct cached, node);
		map_del(&c->map, e->line);
		free((char *)e->line.ptr);
		free((char *)e->value.ptr);
		free(e);
	}
	map_fini(&c->map);
}

static bool cache_get(struct cache *c, struct slice line, struct buf *out)
{
	struct cached *e = map_get(&c->map, line);
	if (e == NULL)
		return false;
	list_remove(&e->node);
	list_push(&c->order, &e->node);
	buf_slice(out, e->value);
	return true;
}

static void cache_put(struct cache *c, struct slice line, struct slice value)
{
	if (c->max <= 0 || map_get(&c->map, line) != NULL)
		return;
	if ((int64_t)map_len(&c->map) >= c->max) {
		struct cached *old = LIST_ENTRY(list_pop(&c->order), struct cached, node);
		map_del(&c->map, old->line);
		free((char *)old->line.ptr);
		free((char *)old->value.ptr);
		free(old);
	}
	struct cached *e = xzalloc(sizeof *e);
	e->line = slice_new(xmemdup0(line.ptr, line.len), line.len);
	e->value = slice_new(xmemdup0(value.ptr, value.len), value.len);
	list_push(&c->order, &e->node);
	map_put(&c->map, e->line, e);
}

/* --- loading, on the pool */

struct loading {
	char **files;
	size_t n;
	struct rules *rules;
	int rc;
	char *text;
};

static int read_whole(const char *path, struct buf *out)
{
	FILE *f = fopen(path, "rbe");
	if (f == NULL)
		return err_errno(E_IO, "reading file: %s", path);
	size_t n;
	do {
		buf_reserve(out, 65536);
		out->len += n = fread(out->ptr + out->len, 1, 65536, f);
	} while (n > 0 && out->len <= FILE_MAX);
	int rc = ferror(f) ? err_errno(E_IO, "reading file: %s", path) : out->len > FILE_MAX ? err_set(E_LIMIT, "reading file: %s: too large", path) : 0;
	fclose(f);
	return rc;
}

static int add_class(struct rules *r, const char *path, struct slice class, const struct val *list)
{
	if (list->type != VAL_LIST)
		return err_set(E_INVAL, "%s: rules.%.*s: expected a list of patterns, got %s", path, SLICE_ARG(class), val_type_name(list->type));
	for (uint32_t i = 0; i < list->n; i++) {
		if (list->items[i].type != VAL_STR)
			return err_set(E_INVAL, "%s: rules.%.*s[%u]: expected a pattern, got %s", path, SLICE_ARG(class), i, val_type_name(list->items[i].type));
		int rc = rules_add(r, list->items[i].s, class);
		if (rc < 0) {
			err_prefix("%s: rules.%.*s[%u]", path, SLICE_ARG(class), i);
			return rc;
		}
	}
	return 0;
}

static int add_file(struct rules *r, const char *path)
{
	struct slice name = slice_from_cstr(path);
	bool toml = slice_ends(name, SLICE(".toml"));
	if (!toml && !slice_ends(name, SLICE(".json")))
		return err_set(E_INVAL, "%s: classifier files must have either .toml or .json filename extension", path);
	struct buf text = { 0 };
	struct arena *a = arena_create();
	struct val root;
	int rc = read_whole(path, &text);
	if (rc == 0 && toml)
		rc = toml_parse(buf_view(&text), path, a, &root);
	else if (rc == 0 && (rc = json_parse(buf_view(&text), a, &root)) < 0)
		err_prefix("%s", path);
	if (rc == 0) {
		const struct val *rules = val_get_lit(&root, "rules");
		if (rules == NULL || rules->type != VAL_OBJ)
			rc = err_set(E_INVAL, "%s: missing field `rules`: a table of classes with their patterns", path);
		for (uint32_t i = 0; rc == 0 && i < rules->n; i++)
			rc = add_class(r, path, rules->members[i].key, &rules->members[i].val);
	}
	buf_fini(&text);
	arena_destroy(&a);
	return rc;
}

static void load(void *arg)
{
	struct loading *l = arg;
	l->rules = rules_create();
	for (size_t i = 0; l->rc == 0 && i < l->n; i++)
		l->rc = add_file(l->rules, l->files[i]);
	if (l->rc == 0) {
		rules_compile(l->rules);
	} else {
		l->text = xstrdup(err_text());
		rules_unref(&l->rules);
	}
}

/* Yields. */
static int load_rules(char **files, size_t n, struct rules **out)
{
	struct loading l = { .files = files, .n = n };
	rt_offload(load, &l);
	if (l.rc < 0)
		err_set((enum err_code)-l.rc, "%s", l.text);
	free(l.text);
	*out = l.rules;
	return l.rc;
}

static void install(struct rules *r)
{
	rt_lock(&g.lock);
	struct rules *old = g.rules;
	g.rules = r;
	cache_clear(&g.found);
	cache_clear(&g.none);
	rt_unlock(&g.lock);
	rules_unref(&old);
}

static void reload(void *arg)
{
	struct rules *r;
	if (load_rules(g.files, g.n_files, &r) < 0) {
		atomic_store(&had_error, true);
		diag_error("kumo.logs", "Error reloading bounce classifier: %s", err_text());
		return;
	}
	if (atomic_exchange(&had_error, false))
		diag_info("kumo.logs", "Successfully loaded updated bounce classifier after previous error");
	install(r);
}

static void on_epoch(void)
{
	if (atomic_load(&configured))
		rt_fiber_spawn_on(rt_shard_at(0), "bounce classes", reload, NULL);
}

void classifier_metrics_init(void)
{
	metric_register(&LATENCY);
}

int classifier_configure(const struct classifier_opts *o)
{
	if (atomic_load(&configured))
		return err_set(E_EXIST, "classifier already initialized");
	char **files = xcalloc(o->files.n + 1, sizeof *files);
	for (size_t i = 0; i < o->files.n; i++) {
		struct slice s = ((const struct slice *)o->files.items)[i];
		files[i] = xmemdup0(s.ptr, s.len);
	}
	struct rules *r;
	int rc = load_rules(files, o->files.n, &r);
	if (rc < 0) {
		for (size_t i = 0; i < o->files.n; i++)
			free(files[i]);
		free(files);
		return rc;
	}
	static _Atomic bool once;
	if (!atomic_exchange(&once, true)) {
		latency = metric_get_n(&LATENCY, NULL);
		policy_on_epoch(on_epoch);
	}
	g.files = files;
	g.n_files = o->files.n;
	list_init(&g.found.order);
	list_init(&g.none.order);
	g.found.max = o->cache_size;
	g.none.max = o->uncategorized_cache_size;
	install(r);
	atomic_store(&configured, true);
	return 0;
}

void classifier_fini(void)
{
	if (!atomic_exchange(&configured, false))
		return;
	install(NULL);
	for (size_t i = 0; i < g.n_files; i++)
		free(g.files[i]);
	free(g.files);
	g.files = NULL;
	g.n_files = 0;
}

/* --- use */

void classify_text(struct slice line, struct buf *out)
{
	if (!atomic_load_explicit(&configured, memory_order_acquire)) {
		buf_slice(out, UNCATEGORIZED);
		return;
	}
	int64_t start = rt_now_us_exact();
	rt_lock(&g.lock);
	struct rules *r = g.rules ? rules_ref(g.rules) : NULL;
	bool cache = r != NULL && !rules_is_fast(r);
	bool hit = cache && (cache_get(&g.found, line, out) || cache_get(&g.none, line, out));
	rt_unlock(&g.lock);
	if (!hit) {
		struct slice value = UNCATEGORIZED;
		bool matched = r != NULL && rules_match(r, line, &value);
		buf_slice(out, value);
		if (cache) {
			rt_lock(&g.lock);
			if (g.rules == r)
				cache_put(matched ? &g.found : &g.none, line, value);
			rt_unlock(&g.lock);
		}
	}
	rules_unref(&r);
	metric_observe(latency, (double)(rt_now_us_exact() - start) / 1e6);
}

void classify_response(const struct smtp_response *r, struct buf *out)
{
	if (!atomic_load_explicit(&configured, memory_order_acquire)) {
		buf_slice(out, UNCATEGORIZED);
		return;
	}
	struct buf line = { 0 };
	smtp_response_put_line(&line, r);
	classify_text(buf_view(&line), out);
	buf_fini(&line);
}
