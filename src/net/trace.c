/* SPDX-License-Identifier: Apache-2.0 */
#include "net/trace.h"
#include "base/list.h"
#include "base/timefmt.h"
#include "base/xalloc.h"
#include "rt/clock.h"
#include "rt/sync.h"
#include <stdlib.h>

#define QUEUED_MAX 4096

_Atomic int trace_watchers[TRACE_KINDS];

struct item {
	struct list node;
	size_t len;
	char text[];
};
struct trace_watcher {
	struct list node;
	enum trace_kind kind;
	bool terse, ended;
	trace_filter_cb filter;
	void *arg;
	struct rt_cond more;
	struct list items;
	int n_items;
};

static struct rt_lock lock = RT_LOCK_INIT(RANK_LEAF);
static struct list watchers = { &watchers, &watchers };	/* under lock, as everything in them */

static void event_put(struct buf *b, const struct val *meta, const struct val *payload)
{
	struct buf when = { 0 };

	time_put_rfc3339(&when, rt_wall_us(), 9, true);
	buf_lit(b, "{\"conn_meta\":");
	json_put(b, meta, JSON_COMPACT);
	buf_lit(b, ",\"payload\":");
	json_put(b, payload, JSON_COMPACT);
	buf_printf(b, ",\"when\":\"%s\"}", buf_cstr(&when));
	buf_fini(&when);
}

static void give(struct trace_watcher *w, struct slice text)
{
	if (w->ended || w->n_items >= QUEUED_MAX)
		return;
	struct item *i = xmalloc(sizeof *i + text.len);
	i->len = text.len;
	memcpy(i->text, text.ptr, text.len);
	list_push(&w->items, &i->node);
	w->n_items++;
	rt_cond_signal(&w->more);
}

void trace_emit(enum trace_kind k, const struct val *meta, const struct val *payload, const struct val *terse)
{
	struct buf full = { 0 }, less = { 0 };

	if (payload)
		event_put(&full, meta, payload);
	if (terse)
		event_put(&less, meta, terse);
	rt_lock(&lock);
	LIST_EACH(it, &watchers) {
		struct trace_watcher *w = LIST_ENTRY(it, struct trace_watcher, node);
		if (w->kind == k && (payload || w->terse) && (!w->filter || w->filter(meta, w->arg)))
			give(w, buf_view(w->terse && terse ? &less : &full));
	}
	rt_unlock(&lock);
	buf_fini(&full);
	buf_fini(&less);
}

struct trace_watcher *trace_watch(enum trace_kind k, bool terse, trace_filter_cb filter, void *arg)
{
	struct trace_watcher *w = xzalloc(sizeof *w);

	w->kind = k;
	w->terse = terse;
	w->filter = filter;
	w->arg = arg;
	rt_cond_init(&w->more);
	list_init(&w->items);
	rt_lock(&lock);
	list_push(&watchers, &w->node);
	rt_unlock(&lock);
	trace_watchers[k]++;
	return w;
}

void trace_unwatch(struct trace_watcher **wp)
{
	struct trace_watcher *w = *wp;

	*wp = NULL;
	trace_watchers[w->kind]--;
	rt_lock(&lock);
	list_remove(&w->node);
	rt_unlock(&lock);
	for (struct list *l; (l = list_pop(&w->items)) != NULL;)
		free(LIST_ENTRY(l, struct item, node));
	free(w);
}

void trace_end(struct trace_watcher *w)
{
	rt_lock(&lock);
	w->ended = true;
	rt_cond_broadcast(&w->more);
	rt_unlock(&lock);
}

int trace_next(struct trace_watcher *w, struct buf *text, int64_t timeout_ms)
{
	int rc = 0;

	rt_lock(&lock);
	while (rc == 0 && list_empty(&w->items) && !w->ended)
		rc = rt_cond_wait(&w->more, &lock, timeout_ms);
	struct list *l = rc == 0 ? list_pop(&w->items) : NULL;
	if (l)
		w->n_items--;
	else if (rc == 0)
		rc = -E_CLOSED;
	rt_unlock(&lock);
	if (l) {
		struct item *i = LIST_ENTRY(l, struct item, node);
		buf_put(text, i->text, i->len);
		free(i);
	}
	return rc;
}
