/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/diskfree.h"
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include "base/err.h"
#include "base/xalloc.h"
#include "rt/diag.h"
#include "rt/fiber.h"
#include "rt/metrics.h"
#include "rt/offload.h"
#include "rt/sync.h"

#define PERIOD_MS 5000

static struct metric_family FREE_INODES = METRIC_GAUGE("disk_free_inodes", "number of available inodes in a monitored location", "name");
static struct metric_family FREE_INODES_PCT = METRIC_GAUGE("disk_free_inodes_percent", "percentage of available inodes in a monitored location", "name");
static struct metric_family FREE_BYTES = METRIC_GAUGE("disk_free_bytes", "number of available bytes in a monitored location", "name");
static struct metric_family FREE_PCT = METRIC_GAUGE("disk_free_percent", "percentage of available bytes in a monitored location", "name");

struct watched {
	struct watched *next;
	char *name, *path;
	struct diskfree_min space, inodes;
	bool low, unreadable;
	struct metric *free_inodes, *free_inodes_pct, *free_bytes, *free_pct;
};

/* Only grows, at its head: a check may walk it while somebody adds. */
static _Atomic(struct watched *) watched;
static struct rt_lock add_lock = RT_LOCK_INIT(RANK_LEAF);
static _Atomic bool low;
static struct rt_fiber *checker;

int diskfree_read_min(struct opt_ctx *c, const struct val *in, void *out)
{
	struct diskfree_min *m = out;
	static const char WRONG[] = "invalid MinFree size specifier, expected a percentage like '10%%' or a number";
	if (in->type == VAL_STR) {
		struct slice s = in->s;
		m->percent = slice_ends(s, SLICE("%"));
		if (m->percent)
			s.len--;
		return slice_to_u64(s, &m->value) < 0 || (m->percent && m->value > 100) ? opt_error(c, WRONG) : 0;
	}
	m->percent = false;
	if (in->type == VAL_UINT)
		m->value = in->u;
	else if (in->type == VAL_INT && in->i >= 0)
		m->value = (uint64_t)in->i;
	else
		return opt_error(c, WRONG);
	return 0;
}

void diskfree_metrics_init(void)
{
	metric_register_kept(&FREE_INODES);
	metric_register_kept(&FREE_INODES_PCT);
	metric_register_kept(&FREE_BYTES);
	metric_register_kept(&FREE_PCT);
}

void diskfree_watch(const char *name, const char *path, struct diskfree_min space, struct diskfree_min inodes)
{
	struct watched *w = xzalloc(sizeof *w);
	w->name = xstrdup(name);
	w->path = xstrdup(path);
	w->space = space;
	w->inodes = inodes;
	w->free_inodes = metric_get(&FREE_INODES, name);
	w->free_inodes_pct = metric_get(&FREE_INODES_PCT, name);
	w->free_bytes = metric_get(&FREE_BYTES, name);
	w->free_pct = metric_get(&FREE_PCT, name);
	rt_lock(&add_lock);
	w->next = atomic_load(&watched);
	atomic_store(&watched, w);
	rt_unlock(&add_lock);
}

static bool below(struct diskfree_min min, uint64_t avail, uint64_t total)
{
	if (total == 0)		/* file systems without a table of inodes */
		return false;
	return min.percent ? avail * 100.0 / total < min.value : avail < min.value;
}

static void explain(struct buf *b, const char *what, struct diskfree_min min, uint64_t avail, uint64_t total)
{
	if (b->len > 0)
		buf_lit(b, ", ");
	if (min.percent)
		buf_printf(b, "%d%% %s available but minimum is %d%%", (int)(avail * 100.0 / total), what, (int)min.value);
	else
		buf_printf(b, "%llu %s available but minimum is %llu", (unsigned long long)avail, what, (unsigned long long)min.value);
}

/* Whether W is low; REASONS grows when it is. */
static bool check_one(struct watched *w, struct buf *reasons)
{
	struct statvfs v;
	if (statvfs(w->path, &v) != 0) {
		if (!w->unreadable)
			diag_error("kumo.disk", "%s path %s: statvfs failed: %s", w->name, w->path, strerror(errno));
		w->unreadable = true;
		return w->low;
	}
	w->unreadable = false;
	uint64_t bytes = v.f_bavail * v.f_frsize, all = v.f_blocks * v.f_frsize;
	metric_set(w->free_bytes, (int64_t)bytes);
	metric_set(w->free_inodes, (int64_t)v.f_favail);
	metric_set(w->free_pct, all ? (int64_t)(bytes * 100.0 / all) : 100);
	metric_set(w->free_inodes_pct, v.f_files ? (int64_t)(v.f_favail * 100.0 / v.f_files) : 100);
	struct buf b = { 0 };
	if (below(w->space, bytes, all))
		explain(&b, "space", w->space, bytes, all);
	if (below(w->inodes, v.f_favail, v.f_files))
		explain(&b, "inodes", w->inodes, v.f_favail, v.f_files);
	bool is_low = b.len > 0;
	if (is_low) {
		if (!w->low)
			diag_error("kumo.disk", "%s path %s has issue(s): %s", w->name, w->path, buf_cstr(&b));
		buf_printf(reasons, "%s%s path %s has issue(s): %s", reasons->len ? "; " : "", w->name, w->path, buf_cstr(&b));
	} else if (w->low) {
		diag_error("kumo.disk", "%s path %s has recovered", w->name, w->path);
	}
	w->low = is_low;
	buf_fini(&b);
	return is_low;
}

static void check_all(void *arg)
{
	static struct rt_lock one_at_a_time = RT_LOCK_INIT(RANK_SPOOL);
	bool any = false;
	rt_lock(&one_at_a_time);
	for (struct watched *w = atomic_load(&watched); w != NULL; w = w->next)
		any |= check_one(w, arg);
	rt_unlock(&one_at_a_time);
	atomic_store(&low, any);
}

/* Now: 0 or -E_FULL with the reasons. Yields. */
static int diskfree_check(void)
{
	struct buf reasons = { 0 };
	rt_offload(check_all, &reasons);
	int rc = reasons.len > 0 ? err_set(E_FULL, "%s", buf_cstr(&reasons)) : 0;
	buf_fini(&reasons);
	return rc;
}

bool diskfree_is_low(void)
{
	return atomic_load_explicit(&low, memory_order_relaxed);
}

static void check_forever(void *arg)
{
	do
		diskfree_check();	/* check_one reports */
	while (rt_sleep_ms(PERIOD_MS) == 0);
}

void diskfree_start(void)
{
	if (checker == NULL)
		checker = rt_fiber_start("diskfree", check_forever, NULL);
}

void diskfree_stop(void)
{
	if (checker != NULL) {
		rt_fiber_cancel(checker);
		rt_fiber_join(checker);
		rt_fiber_unref(&checker);
	}
	struct watched *w = atomic_exchange(&watched, NULL);
	while (w != NULL) {
		struct watched *next = w->next;
		metric_unref(&w->free_inodes);
		metric_unref(&w->free_inodes_pct);
		metric_unref(&w->free_bytes);
		metric_unref(&w->free_pct);
		free(w->name);
		free(w->path);
		free(w);
		w = next;
	}
	atomic_store(&low, false);
}
