/* SPDX-License-Identifier: Apache-2.0 */
#include "rt/metrics.h"
#include <math.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/map.h"
#include "base/xalloc.h"
#include "rt/sync.h"

#define BUCKETS_MAX 32
static const double DEFAULT_BUCKETS[] = { .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 0 };

struct histogram {
	_Atomic uint64_t sum_bits;		/* a double */
	_Atomic uint64_t in[BUCKETS_MAX + 1];	/* not cumulative; the last is +Inf */
};
#define METRIC_MAGIC OBJ_MAGIC('M', 'E', 'T', 'R')
struct metric {
	uint32_t magic;
	atomic_uint refs;		/* rises from 0 and falls to 0 under the table's lock only */
	struct metric_family *family;
	_Atomic int64_t n;		/* a double's bits in families with is_float */
	struct histogram *h;
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

static const double *buckets_of(const struct metric_family *f)
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

static struct metric *metric_create(struct metric_family *f, struct slice key)
{
	struct metric *m = xzalloc(sizeof *m + key.len);

	OBJ_INIT(m, METRIC_MAGIC);
	m->family = f;
	if (f->kind == METRIC_HISTOGRAM_K)
		m->h = xzalloc(sizeof *m->h);
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
	int64_t n = m ? atomic_load(&m->n) : 0;
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
	free(m);
}

void metric_add(struct metric *m, int64_t n)
{
	if (m)
		atomic_fetch_add_explicit(&m->n, n, memory_order_relaxed);
}

void metric_set(struct metric *m, int64_t n)
{
	if (m == NULL)
		return;
	if (m->family->is_float)
		metric_set_float(m, (double)n);
	else
		atomic_store_explicit(&m->n, n, memory_order_relaxed);
}

void metric_set_float(struct metric *m, double v)
{
	int64_t bits;

	if (m == NULL)
		return;
	assert(m->family->is_float);
	memcpy(&bits, &v, sizeof bits);
	atomic_store_explicit(&m->n, bits, memory_order_relaxed);
}

int64_t metric_value(const struct metric *m)
{
	return m ? atomic_load_explicit(&m->n, memory_order_relaxed) : 0;
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
	for (const double *b = buckets_of(m->family); *b != 0 && i < BUCKETS_MAX && v > *b; b++)
		i++;
	atomic_fetch_add_explicit(&m->h->in[i], 1, memory_order_relaxed);
	uint64_t old = atomic_load_explicit(&m->h->sum_bits, memory_order_relaxed), now;
	do {
		double sum = to_double(old) + v;
		memcpy(&now, &sum, sizeof now);
	} while (!atomic_compare_exchange_weak_explicit(&m->h->sum_bits, &old, now, memory_order_relaxed, memory_order_relaxed));
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

static void put_number(struct buf *b, const struct metric *m, bool json)
{
	int64_t n = metric_value(m);

	if (m->family->is_float)
		put_double(b, to_double((uint64_t)n), json);
	else
		buf_i64(b, n);
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
	const double *bounds = buckets_of(m->family);
	struct buf le = { 0 };
	uint64_t total = 0;

	for (int i = 0; i <= BUCKETS_MAX; i++) {
		bool last = bounds[i] == 0;
		total += atomic_load_explicit(&m->h->in[i], memory_order_relaxed);
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
	put_double(b, to_double(atomic_load(&m->h->sum_bits)), false);
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
	if (m->h == NULL)
		return metric_value(m) == 0;
	for (int i = 0; i <= BUCKETS_MAX; i++)
		if (atomic_load_explicit(&m->h->in[i], memory_order_relaxed))
			return false;
	return true;
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
		put_number(b, m, false);
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
	const double *bounds = buckets_of(m->family);
	uint64_t total = 0, count = 0;
	double sum = to_double(atomic_load(&m->h->sum_bits));

	for (int i = 0; i <= BUCKETS_MAX; i++)
		count += atomic_load_explicit(&m->h->in[i], memory_order_relaxed);
	buf_lit(b, "{\"avg\":");
	put_double(b, count ? sum / (double)count : 0, true);
	buf_lit(b, ",\"bucket\":[");
	for (int i = 0; i < BUCKETS_MAX && bounds[i] != 0; i++) {
		total += atomic_load_explicit(&m->h->in[i], memory_order_relaxed);
		buf_cstr_put(b, i ? ",[" : "[");
		put_double(b, bounds[i], true);
		buf_putc(b, ',');
		put_double(b, (double)total, true);
		buf_putc(b, ']');
	}
	buf_printf(b, "],\"count\":%llu,\"sum\":", (unsigned long long)count);
	put_double(b, sum, true);
	buf_putc(b, '}');
}

static void json_value(struct buf *b, const struct metric *m)
{
	if (m->h)
		json_histogram(b, m);
	else
		put_number(b, m, true);
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
