/* SPDX-License-Identifier: Apache-2.0 */
/* The list of loggers, what they have in common, and local logs. */
#include <stdatomic.h>
#include <stdlib.h>
#include "base/xalloc.h"
#include "logs/accounting.h"
#include "logs/classify.h"
#include "logs/internal.h"
#include "logs/segment.h"
#include "policy/host.h"
#include "rt/diag.h"
#include "rt/fiber.h"
#include "rt/offload.h"

static struct metric_family SUBMIT_FULL =
    METRIC_COUNTER("log_submit_full", "how many times submission of a log event hit the back_pressure", "logger");
static struct metric_family SUBMIT_LATENCY = METRIC_HISTOGRAM("log_submit_latency", "latency of log event submission operations.", "logger");
static struct metric_family HOOK_BACKLOG =
    METRIC_COUNTER("log_hook_backlog_count", "how many times processing of a log event hit the back_pressure in a hook", "logger");

/* Grows at its end and only in the init event; readers need no lock. */
static _Atomic(struct logger *) first;

struct logger *logger_first(void)
{
	return atomic_load_explicit(&first, memory_order_acquire);
}

static void logger_add(struct logger *l)
{
	struct logger *last = logger_first();
	if (last == NULL) {
		atomic_store_explicit(&first, l, memory_order_release);
		return;
	}
	while (last->next != NULL)
		last = last->next;
	__atomic_store_n(&last->next, l, __ATOMIC_RELEASE);
}

/* NULL: no entry, nor "Any". */
static const struct log_type_opts *logger_type_opts(const struct opt_map *map, enum log_type t)
{
	const struct log_type_opts *items = map->items, *any = NULL;
	for (size_t i = 0; i < map->n; i++) {
		if (slice_eq_cstr(map->keys[i], log_type_name(t)))
			return &items[i];
		if (slice_eq(map->keys[i], SLICE("Any")))
			any = &items[i];
	}
	return any;
}

static int check_type_names(const struct opt_map *map)
{
	for (size_t i = 0; i < map->n; i++) {
		bool known = slice_eq(map->keys[i], SLICE("Any"));
		for (int t = 0; t < LOG_TYPE_COUNT; t++)
			known |= slice_eq_cstr(map->keys[i], log_type_name((enum log_type)t));
		if (known)
			continue;
		struct buf b = { 0 };
		for (int t = 0; t < LOG_TYPE_COUNT; t++)
			buf_printf(&b, "`%s`, ", log_type_name((enum log_type)t));
		err_set(E_INVAL, "deserialize error: unknown variant `%.*s`, expected one of %s`Any`, while processing per_record", SLICE_ARG(map->keys[i]), buf_cstr(&b));
		buf_fini(&b);
		return -E_INVAL;
	}
	return 0;
}

static struct opt_list copy_list(struct arena *a, const struct opt_list *from)
{
	struct opt_list l = { from->n, arena_alloc(a, (from->n + 1) * sizeof(struct slice)) };
	for (size_t i = 0; i < from->n; i++)
		((struct slice *)l.items)[i] = arena_dup(a, ((const struct slice *)from->items)[i]);
	return l;
}

static void logger_destroy(struct logger **lp)
{
	struct logger *l = *lp;
	*lp = NULL;
	for (int t = 0; t < LOG_TYPE_COUNT; t++)
		if (l->types[t].tmpl != NULL)
			log_template_free(&l->types[t].tmpl);
	if (l->sink != NULL)
		sink_destroy(&l->sink);
	if (l->kind == LOGGER_HOOK && l->hook_name != NULL)	/* set up completely, not only checked */
		rt_sem_fini(&l->permits);
	metric_unref(&l->latency);
	arena_destroy(&l->arena);
	free(l->name);
	free(l->hook_name);
	free(l->event);
	free(l);
}

/* A logger with the parts that all kinds share; checks type names and templates. */
static int logger_create(enum logger_kind kind, const char *name, const struct opt_map *per_record, struct logger **out)
{
	int rc = check_type_names(per_record);
	if (rc < 0)
		return rc;
	struct logger *l = xzalloc(sizeof *l);
	l->kind = kind;
	l->name = xstrdup(name);
	l->arena = arena_create();
	for (int t = 0; t < LOG_TYPE_COUNT; t++) {
		const struct log_type_opts *o = logger_type_opts(per_record, (enum log_type)t);
		l->types[t].enable = o == NULL || o->enable;
		if (o == NULL || o->tmpl.ptr == NULL)
			continue;
		rc = log_template_compile(slice_from_cstr(log_type_name((enum log_type)t)), o->tmpl, &l->types[t].tmpl);
		if (rc < 0) {
			err_prefix("compiling template:\n%.*s\nfor log record type %s", SLICE_ARG(o->tmpl), log_type_name((enum log_type)t));
			logger_destroy(&l);
			return rc;
		}
	}
	l->latency = metric_get(&SUBMIT_LATENCY, name);
	*out = l;
	return 0;
}

void logger_count_full(const struct logger *l)
{
	struct metric *m = metric_get(&SUBMIT_FULL, l->name);
	metric_add(m, 1);
	metric_unref(&m);
}

void logger_count_backlog(const struct logger *l)
{
	struct metric *m = metric_get(&HOOK_BACKLOG, l->hook_name);
	metric_add(m, 1);
	metric_unref(&m);
}

int logger_put_text(const struct logger *l, const struct log_draft *d, struct buf *b)
{
	const struct log_template *t = l->types[d->ev->type].tmpl;
	if (t == NULL) {
		draft_put_json(b, d, &l->meta, &l->headers);
		return 0;
	}
	struct buf json = { 0 };
	struct val record;
	draft_put_json(&json, d, &l->meta, &l->headers);
	int rc = json_parse(buf_view(&json), d->arena, &record);
	buf_fini(&json);
	if (rc == 0)
		rc = log_template_render(t, &record, b);
	return rc;
}

/* --- local logs */

struct prepared {
	const struct log_file_opts *o;
	int rc;
	char *text;
};

static void prepare_folders(void *arg)
{
	struct prepared *p = arg;
	struct buf path = { 0 };
	for (int t = -1; t < LOG_TYPE_COUNT && p->rc == 0; t++) {
		const struct log_type_opts *to = t < 0 ? NULL : logger_type_opts(&p->o->per_record, (enum log_type)t);
		struct slice dir = t < 0 ? p->o->log_dir : to ? to->log_dir : SLICE_NONE;
		if (dir.ptr == NULL)
			continue;
		buf_clear(&path);
		buf_slice(&path, dir);
		if (t < 0)
			p->rc = segment_make_dir(buf_cstr(&path));
		if (p->rc == 0 && segment_complete_old(buf_cstr(&path)) < 0)
			diag_error("kumo.logs", "%s", err_text());
	}
	if (p->rc < 0)
		p->text = xstrdup(err_text());
	buf_fini(&path);
}

static struct sink *make_sink(struct logger *l, const struct log_file_opts *o)
{
	struct sink *s = sink_create(&(struct sink_opts){ .prefix = "", .level = (int)o->compression_level, .max_bytes = (uint64_t)o->max_file_size,
	    .max_ms = o->max_segment_duration / 1000000, .back_pressure = (uint64_t)MAX(o->back_pressure, 1) });
	for (int t = 0; t < LOG_TYPE_COUNT; t++) {
		const struct log_type_opts *to = logger_type_opts(&o->per_record, (enum log_type)t);
		char *dir = arena_strdup(l->arena, to && to->log_dir.ptr ? to->log_dir : o->log_dir);
		char *suffix = arena_strdup(l->arena, to && to->suffix.ptr ? to->suffix : SLICE(""));
		l->types[t].class_id = sink_class(s, dir, suffix, to ? to->segment_header : SLICE(""));
	}
	return s;
}

int logs_add_local(const struct log_file_opts *o)
{
	struct logger *l;
	char *dir = xmemdup0(o->log_dir.ptr, o->log_dir.len), *name = xasprintf("dir-%s", dir), *label = xasprintf("log dir %s", dir);
	int rc = logger_create(LOGGER_FILE, name, &o->per_record, &l);
	if (rc == 0 && policy_is_validating()) {
		logger_destroy(&l);
	} else if (rc == 0) {
		struct prepared p = { .o = o };
		rt_offload(prepare_folders, &p);
		if ((rc = p.rc) < 0) {
			err_set((enum err_code)-rc, "%s", p.text);
			logger_destroy(&l);
		} else {
			l->meta = copy_list(l->arena, &o->meta);
			l->headers = copy_list(l->arena, &o->headers);
			l->event = o->filter_event.ptr ? xmemdup0(o->filter_event.ptr, o->filter_event.len) : NULL;
			l->sink = make_sink(l, o);
			diskfree_watch(label, dir, o->min_free_space, o->min_free_inodes);
			sink_start(l->sink);
			logger_add(l);
		}
		free(p.text);
	}
	free(dir);
	free(name);
	free(label);
	return rc;
}

static bool hook_name_is_taken(const char *hook_name)
{
	for (struct logger *l = logger_first(); l != NULL; l = l->next)
		if (l->hook_name != NULL && strcmp(l->hook_name, hook_name) == 0)
			return true;
	return false;
}

static int add_hook(enum logger_kind kind, const struct log_hook_opts *o)
{
	char *hook_name = xmemdup0(o->name.ptr, o->name.len), *name = xasprintf("hook-%s", hook_name);
	struct logger *l;
	int rc = hook_name_is_taken(hook_name) ? err_set(E_EXIST, "A logging hook with name `%s` has already been registered", hook_name) :
	    logger_create(kind, name, &o->per_record, &l);
	free(name);
	if (rc < 0 || policy_is_validating()) {
		if (rc == 0)
			logger_destroy(&l);
		free(hook_name);
		return rc;
	}
	l->meta = copy_list(l->arena, &o->meta);
	l->headers = copy_list(l->arena, &o->headers);
	l->hook_name = hook_name;
	if (kind == LOGGER_HOOK) {
		l->deferred_spool = o->deferred_spool;
		rt_sem_init(&l->permits, MAX(o->back_pressure, 1));
	} else {
		l->event = xasprintf("log_disposition_%s", hook_name);
	}
	logger_add(l);
	return 0;
}

int logs_add_hook(const struct log_hook_opts *o)
{
	return add_hook(LOGGER_HOOK, o);
}

int logs_add_disposition_hook(const struct log_hook_opts *o)
{
	return add_hook(LOGGER_DISPOSITION, o);
}

/* --- process-wide */

void logs_init(void)
{
	metric_register_kept(&SUBMIT_FULL);
	metric_register_kept(&SUBMIT_LATENCY);
	metric_register_kept(&HOOK_BACKLOG);
	classifier_metrics_init();
	policy_event_register(&LOG_HOOK_EVENT);
}

const char *logs_unhealthy_reason(void)
{
	for (struct logger *l = logger_first(); l != NULL; l = l->next)
		if (l->sink != NULL && sink_is_failing(l->sink))
			return "the logs cannot be written";
	return NULL;
}

void logs_fini(void)
{
	struct rt_shield shield;
	rt_shield_enter(&shield);
	bool idle = hooks_wait();
	struct logger *l = atomic_exchange(&first, NULL);
	while (l != NULL) {
		struct logger *next = l->next;
		if (l->kind != LOGGER_HOOK || idle)	/* a call that hangs still uses its hook */
			logger_destroy(&l);
		l = next;
	}
	acct_log_fini();
	accounting_fini();
	classifier_fini();
	rt_shield_leave(&shield);
}
