/* SPDX-License-Identifier: Apache-2.0 */
#include "rt/metrics.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/map.h"
#include "base/xalloc.h"
#include "rt/loop.h"
#include "rt/sync.h"

#define BUCKETS_MAX 32
#define STRIPES 8		/* of striped families; shards beyond share them */
static const double DEFAULT_BUCKETS[] = { .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 0 };

struct histogram {
	_Atomic uint64_t sum_bits;		/* a double */
	_Atomic uint64_t in[BUCKETS_MAX + 1];	/* not cumulative; the last is +Inf */
} __attribute__((aligned(64)));
struct count {
	_Atomic int64_t n;
} __attribute__((aligned(64)));
/* What a dump shows of a histogram. */
struct totals {
	double sum;
	uint64_t in[BUCKETS_MAX + 1], count;
};
#define METRIC_MAGIC OBJ_MAGIC('M', 'E', 'T', 'R')
struct metric {
	uint32_t magic;
	atomic_uint refs;		/* rises from 0 and falls to 0 under the table's lock only */
	struct metric_family *family;
	_Atomic int64_t n;
	struct histogram *h;		/* one, or one a stripe */
	struct count *counts;		/* one a stripe; NULL: n counts */
	size_t key_len;
	char key[];			/* the label values, each with a NUL behind */
};
struct table {
	struct rt_lock lock;
	struct map map;
};

static struct rt_lock registry_lock = RT_LOCK_INIT(RANK_CONFIG);
static struct metric_family *registry;	/* sorted by name */

static int n_labels(const struct metric_family *f)
{
	int n = 0;

	while (f->labels[n])
		n++;
	return n;
}

const double *metric_buckets(const struct metric_family *f)
{
	return f->buckets ? f->buckets : DEFAULT_BUCKETS;
}

void metric_register(struct metric_family *f)
{
	struct metric_family **at = &registry;

	rt_lock(&registry_lock);
	assert(f->table == NULL);
	struct table *t = xzalloc(sizeof *t);
	rt_lock_init(&t->lock, RANK_METRICS);
	f->table = t;
	while (*at && strcmp((*at)->name, f->name) < 0)
		at = &(*at)->next;
	assert((*at == NULL || strcmp((*at)->name, f->name) != 0) && "a metric family is registered once");
	f->next = *at;
	*at = f;
	rt_unlock(&registry_lock);
}

void metric_register_kept(struct metric_family *f)
{
	f->keep = true;
	metric_register(f);
}

struct metric_family *metrics_first(void)
{
	return registry;
}

/* -- one metric -- */

static void key_put(struct buf *b, const struct slice *values, int n)
{
	for (int i = 0; i < n; i++) {
		const char *nul = values[i].len ? memchr(values[i].ptr, 0, values[i].len) : NULL;
		buf_put(b, values[i].ptr, nul ? (size_t)(nul - values[i].ptr) : values[i].len);
		buf_putc(b, '\0');
	}
}

static void *cells(size_t n, size_t size)
{
	void *p = aligned_alloc(64, n * size);

	assert(p != NULL);
	return memset(p, 0, n * size);
}

static struct metric *metric_create(struct metric_family *f, struct slice key)
{
	struct metric *m = xzalloc(sizeof *m + key.len);

	OBJ_INIT(m, METRIC_MAGIC);
	m->family = f;
	if (f->kind == METRIC_HISTOGRAM_K)
		m->h = cells(f->striped ? STRIPES : 1, sizeof *m->h);
	else if (f->striped)
		m->counts = cells(STRIPES, sizeof *m->counts);
	m->key_len = key.len;
	if (key.len)
		memcpy(m->key, key.ptr, key.len);
	return m;
}

struct metric *metric_get_n(struct metric_family *f, const struct slice *values)
{
	struct table *t = f->table;
	struct buf key = { 0 };

	assert(t != NULL && "metric_register comes first");
	key_put(&key, values, n_labels(f));
	rt_lock(&t->lock);
	struct metric *m = map_get(&t->map, buf_view(&key));
	if (m == NULL) {
		m = metric_create(f, buf_view(&key));
		map_put(&t->map, buf_view(&key), m);
	}
	atomic_fetch_add(&m->refs, 1);
	rt_unlock(&t->lock);
	buf_fini(&key);
	return m;
}

static void collect_values(struct metric_family *f, va_list ap, struct slice *values)
{
	for (int i = 0; i < n_labels(f); i++)
		values[i] = slice_from_cstr(va_arg(ap, const char *));
}

struct metric *metric_get(struct metric_family *f, ...)
{
	struct slice values[METRIC_LABELS_MAX];
	va_list ap;

	va_start(ap, f);
	collect_values(f, ap, values);
	va_end(ap);
	return metric_get_n(f, values);
}

int64_t metric_read(struct metric_family *f, ...)
{
	struct slice values[METRIC_LABELS_MAX];
	struct table *t = f->table;
	struct buf key = { 0 };
	va_list ap;

	if (t == NULL)
		return 0;
	va_start(ap, f);
	collect_values(f, ap, values);
	va_end(ap);
	key_put(&key, values, n_labels(f));
	rt_lock(&t->lock);
	struct metric *m = map_get(&t->map, buf_view(&key));
	int64_t n = metric_value(m);
	rt_unlock(&t->lock);
	buf_fini(&key);
	return n;
}

void metric_unref(struct metric **mp)
{
	struct metric *m = *mp;

	*mp = NULL;
	if (m == NULL)
		return;
	OBJ_CHECK(m, METRIC_MAGIC);
	unsigned refs = atomic_load(&m->refs);
	while (refs > 1)
		if (atomic_compare_exchange_weak(&m->refs, &refs, refs - 1))
			return;
	struct table *t = m->family->table;
	rt_lock(&t->lock);
	bool last = atomic_fetch_sub(&m->refs, 1) == 1 && !m->family->keep;
	if (last)
		map_del(&t->map, slice_new(m->key, m->key_len));
	rt_unlock(&t->lock);
	if (!last)
		return;
	OBJ_FINI(m, METRIC_MAGIC);
	free(m->h);
	free(m->counts);
	free(m);
}

struct metric *metric_lazy(struct metric_family *f, _Atomic(struct metric *) *at)
{
	struct metric *m = atomic_load_explicit(at, memory_order_acquire), *none = NULL;

	if (m)
		return m;
	m = metric_get_n(f, NULL);
	if (atomic_compare_exchange_strong(at, &none, m))
		return m;
	metric_unref(&m);
	return none;
}

static int own_stripe(void)
{
	return rt_shard_index() % STRIPES;
}

void metric_add(struct metric *m, int64_t n)
{
	if (m)
		atomic_fetch_add_explicit(m->counts ? &m->counts[own_stripe()].n : &m->n, n, memory_order_relaxed);
}

void metric_set(struct metric *m, int64_t n)
{
	if (m == NULL)
		return;
	assert(m->counts == NULL);
	atomic_store_explicit(&m->n, n, memory_order_relaxed);
}

int64_t metric_value(const struct metric *m)
{
	int64_t n = m ? atomic_load_explicit(&m->n, memory_order_relaxed) : 0;

	for (int i = 0; m && m->counts && i < STRIPES; i++)
		n += atomic_load_explicit(&m->counts[i].n, memory_order_relaxed);
	return n;
}

static double to_double(uint64_t bits)
{
	double v;

	memcpy(&v, &bits, sizeof v);
	return v;
}

void metric_observe(struct metric *m, double v)
{
	int i = 0;

	if (m == NULL)
		return;
	assert(m->h != NULL);
	struct histogram *h = &m->h[m->family->striped ? own_stripe() : 0];
	for (const double *b = metric_buckets(m->family); *b != 0 && i < BUCKETS_MAX && v > *b; b++)
		i++;
	atomic_fetch_add_explicit(&h->in[i], 1, memory_order_relaxed);
	uint64_t old = atomic_load_explicit(&h->sum_bits, memory_order_relaxed), now;
	do {
		double sum = to_double(old) + v;
		memcpy(&now, &sum, sizeof now);
	} while (!atomic_compare_exchange_weak_explicit(&h->sum_bits, &old, now, memory_order_relaxed, memory_order_relaxed));
}

static struct totals totals_of(const struct metric *m)
{
	struct totals t = { 0 };

	for (int s = 0; s < (m->family->striped ? STRIPES : 1); s++) {
		t.sum += to_double(atomic_load_explicit(&m->h[s].sum_bits, memory_order_relaxed));
		for (int i = 0; i <= BUCKETS_MAX; i++) {
			uint64_t n = atomic_load_explicit(&m->h[s].in[i], memory_order_relaxed);
			t.in[i] += n;
			t.count += n;
		}
	}
	return t;
}

/* -- dumps -- */

static void put_double(struct buf *b, double v, bool json)
{
	char text[40];

	if (v == floor(v) && fabs(v) < 1e15) {
		buf_printf(b, json ? "%.1f" : "%.0f", v);
		return;
	}
	for (int digits = 15; digits <= 17; digits++) { /* the shortest that reads back the same */
		snprintf(text, sizeof text, "%.*g", digits, v);
		if (strtod(text, NULL) == v)
			break;
	}
	buf_cstr_put(b, text);
}

static void put_escaped(struct buf *b, const char *s, bool json)
{
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;
		if (c == '"' || c == '\\')
			buf_printf(b, "\\%c", c);
		else if (c == '\n')
			buf_lit(b, "\\n");
		else if (json && c < 0x20)
			buf_printf(b, "\\u%04x", c);
		else
			buf_putc(b, (char)c);
	}
}

static const char *const KIND_NAME[] = { "counter", "gauge", "histogram" };

static void text_labels(struct buf *b, const struct metric *m, const char *le)
{
	const char *value = m->key;

	if (m->family->labels[0] == NULL && le == NULL)
		return;
	buf_putc(b, '{');
	for (int i = 0; m->family->labels[i]; i++) {
		buf_printf(b, "%s%s=\"", i ? ", " : "", m->family->labels[i]);
		put_escaped(b, value, false);
		buf_putc(b, '"');
		value += strlen(value) + 1;
	}
	if (le)
		buf_printf(b, "%sle=\"%s\"", m->family->labels[0] ? "," : "", le);
	buf_putc(b, '}');
}

static void text_histogram(struct buf *b, const char *prefix, const struct metric *m)
{
	const double *bounds = metric_buckets(m->family);
	const struct totals t = totals_of(m);
	struct buf le = { 0 };
	uint64_t total = 0;

	for (int i = 0; i <= BUCKETS_MAX; i++) {
		bool last = bounds[i] == 0;
		total += t.in[i];
		buf_clear(&le);
		if (last)
			buf_lit(&le, "+Inf");
		else
			put_double(&le, bounds[i], false);
		buf_printf(b, "%s%s_bucket", prefix, m->family->name);
		text_labels(b, m, buf_cstr(&le));
		buf_printf(b, " %llu\n", (unsigned long long)total);
		if (last)
			break;
	}
	buf_fini(&le);
	buf_printf(b, "%s%s_sum", prefix, m->family->name);
	text_labels(b, m, NULL);
	buf_putc(b, ' ');
	put_double(b, t.sum, false);
	buf_printf(b, "\n%s%s_count", prefix, m->family->name);
	text_labels(b, m, NULL);
	buf_printf(b, " %llu\n", (unsigned long long)total);
}

/* Families without labels appear when they have something to show, as the others do. */
static bool is_untouched(const struct metric_family *f, const struct table *t)
{
	const struct metric *m;

	if (map_len(&t->map) == 0)
		return true;
	if (f->labels[0] || f->kind == METRIC_GAUGE_K || (m = map_get(&t->map, SLICE(""))) == NULL)
		return false;
	return m->h ? totals_of(m).count == 0 : metric_value(m) == 0;
}

static void text_family(struct buf *b, const char *prefix, struct metric_family *f)
{
	struct table *t = f->table;
	struct map_iter it = { 0 };

	rt_lock(&t->lock);
	if (is_untouched(f, t)) {
		rt_unlock(&t->lock);
		return;
	}
	buf_printf(b, "# HELP %s%s %s\n# TYPE %s%s %s\n", prefix, f->name, f->help, prefix, f->name, KIND_NAME[f->kind]);
	while (map_next(&t->map, &it)) {
		const struct metric *m = it.value;
		if (m->h) {
			text_histogram(b, prefix, m);
			continue;
		}
		buf_printf(b, "%s%s", prefix, f->name);
		text_labels(b, m, NULL);
		buf_putc(b, ' ');
		buf_i64(b, metric_value(m));
		buf_putc(b, '\n');
	}
	rt_unlock(&t->lock);
}

static void collect(struct metric_family *f)
{
	if (f->collect)
		(void)f->collect(f); /* what cannot be computed keeps its last value */
}

void metrics_put_prometheus(struct buf *b, const char *prefix)
{
	for (struct metric_family *f = registry; f; f = f->next) {
		collect(f);
		text_family(b, prefix ? prefix : "", f);
	}
}

static void json_histogram(struct buf *b, const struct metric *m)
{
	const double *bounds = metric_buckets(m->family);
	const struct totals t = totals_of(m);
	uint64_t total = 0;

	buf_lit(b, "{\"avg\":");
	put_double(b, t.count ? t.sum / (double)t.count : 0, true);
	buf_lit(b, ",\"bucket\":[");
	for (int i = 0; i < BUCKETS_MAX && bounds[i] != 0; i++) {
		total += t.in[i];
		buf_cstr_put(b, i ? ",[" : "[");
		put_double(b, bounds[i], true);
		buf_putc(b, ',');
		put_double(b, (double)total, true);
		buf_putc(b, ']');
	}
	buf_printf(b, "],\"count\":%llu,\"sum\":", (unsigned long long)t.count);
	put_double(b, t.sum, true);
	buf_putc(b, '}');
}

static void json_value(struct buf *b, const struct metric *m)
{
	if (m->h)
		json_histogram(b, m);
	else
		buf_i64(b, metric_value(m));
}

/* No label: the value. One: {label: {value: n}}. Several: a list of objects whose "@" is the value. */
static void json_metric(struct buf *b, const struct metric *m, bool first, int labels)
{
	const char *value = m->key;

	if (labels == 1) {
		buf_cstr_put(b, first ? "\"" : ",\"");
		put_escaped(b, value, true);
		buf_lit(b, "\":");
		json_value(b, m);
	} else if (labels == 0) {
		json_value(b, m);
	} else {
		buf_cstr_put(b, first ? "{" : ",{");
		for (int i = 0; i < labels; i++) {
			buf_printf(b, "\"%s\":\"", m->family->labels[i]);
			put_escaped(b, value, true);
			buf_lit(b, "\",");
			value += strlen(value) + 1;
		}
		buf_lit(b, "\"@\":");
		json_value(b, m);
		buf_putc(b, '}');
	}
}

static bool json_family(struct buf *b, const char *prefix, struct metric_family *f, bool first)
{
	struct table *t = f->table;
	struct map_iter it = { 0 };
	int labels = n_labels(f);
	bool first_value = true;

	rt_lock(&t->lock);
	if (is_untouched(f, t)) {
		rt_unlock(&t->lock);
		return false;
	}
	buf_printf(b, "%s\"%s%s\":{\"help\":\"", first ? "" : ",\n", prefix, f->name);
	put_escaped(b, f->help, true);
	buf_printf(b, "\",\"type\":\"%s\",\"value\":", KIND_NAME[f->kind]);
	if (labels == 1)
		buf_printf(b, "{\"%s\":{", f->labels[0]);
	else if (labels > 1)
		buf_putc(b, '[');
	while (map_next(&t->map, &it)) {
		json_metric(b, it.value, first_value, labels);
		first_value = false;
	}
	buf_cstr_put(b, labels == 1 ? "}}" : labels > 1 ? "]" : "");
	buf_putc(b, '}');
	rt_unlock(&t->lock);
	return true;
}

void metrics_put_json(struct buf *b, const char *prefix)
{
	bool first = true;

	buf_putc(b, '{');
	for (struct metric_family *f = registry; f; f = f->next) {
		collect(f);
		if (json_family(b, prefix ? prefix : "", f, first))
			first = false;
	}
	buf_putc(b, '}');
}
