/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RocksDB as a store: the key is the 16 raw bytes of the id.
 *
 * Buffers are small on purpose. Nearly every message is gone before its buffer fills, so what a flush writes is a few survivors; a big
 * buffer would only be memory: 4 or 16 MiB made no difference to CPU time or throughput (tests/bench/store_bench.c: 28 us of CPU to store
 * and remove 10 KB, 40 us with flush). Both stores share one block cache.
 */
#include <errno.h>
#include <pthread.h>
#include <rocksdb/c.h>
#include <stdatomic.h>
#include <stdlib.h>
#include "base/xalloc.h"
#include "rt/diag.h"
#include "rt/metrics.h"
#include "rt/offload.h"
#include "spool/store.h"

#define BLOCK_CACHE_BYTES (8 << 20)
#define META_BUFFER_BYTES (2 << 20)
#define DATA_BUFFER_BYTES (4 << 20)

enum { G_DELAYED, G_ERRORS, G_CACHE, G_PENDING, G_PENDING_BYTES, G_SHED, G_READERS, G_MEMTABLE, G_UNFLUSHED, G_RUNNING, G_STOPPED, G_COUNT };
#define GAUGE(n, h) METRIC_GAUGE("rocks_spool_" n, h, "path")
static struct metric_family GAUGES[G_COUNT] = {
	[G_DELAYED] = GAUGE("actual_delayed_write_rate", "bytes/second that RocksDB slows writers down to, 0 is full speed"),
	[G_ERRORS] = GAUGE("background_errors", "failed flushes and compactions so far"),
	[G_CACHE] = GAUGE("cache_total", "Approximate memory usage by cache."),
	[G_PENDING] = GAUGE("compaction_pending", "1 when a compaction is pending"),
	[G_PENDING_BYTES] = GAUGE("estimate_pending_compaction_bytes", "bytes that compaction has yet to rewrite"),
	[G_SHED] = GAUGE("load_shed_active", "1 while traffic is refused because the database fails"),
	[G_READERS] = GAUGE("mem_table_readers_total", "Approximate memory usage of mem-table readers."),
	[G_MEMTABLE] = GAUGE("mem_table_total", "Approximate memory usage of all the mem-tables."),
	[G_UNFLUSHED] = GAUGE("mem_table_unflushed", "Approximate memory usage of un-flushed mem-tables."),
	[G_RUNNING] = GAUGE("num_running_compactions", "compactions that run now"),
	[G_STOPPED] = GAUGE("write_stopped", "1 while RocksDB accepts no writes"),
};
static const char *const PROPERTIES[G_COUNT] = {
	[G_DELAYED] = "rocksdb.actual-delayed-write-rate",
	[G_ERRORS] = "rocksdb.background-errors",
	[G_CACHE] = "rocksdb.block-cache-usage",
	[G_PENDING] = "rocksdb.compaction-pending",
	[G_PENDING_BYTES] = "rocksdb.estimate-pending-compaction-bytes",
	[G_READERS] = "rocksdb.estimate-table-readers-mem",
	[G_MEMTABLE] = "rocksdb.cur-size-all-mem-tables",
	[G_UNFLUSHED] = "rocksdb.cur-size-active-mem-table",
	[G_RUNNING] = "rocksdb.num-running-compactions",
	[G_STOPPED] = "rocksdb.is-write-stopped",
};

struct rocks {
	struct store store;
	rocksdb_t *db;
	rocksdb_writeoptions_t *write, *write_sync;
	rocksdb_readoptions_t *read;
	rocksdb_writebatch_t *batch;	/* of the one writer */
	rocksdb_writebatch_t *nothing;
	/* health */
	_Atomic bool shed;
	_Atomic uint64_t foreground_errors;
	uint64_t errors_seen, background_seen;
	int64_t bad_since_ms, good_since_ms, latch_ms, unlatch_ms;
	bool may_unlatch;
	struct metric *gauges[G_COUNT];
};

/* RocksDB's C interface reports errors as text only: "Corruption: …", "IO error: … No space left on device", "Incomplete: …". */
static const struct {
	const char *prefix, *part;
	enum err_code code;
} CLASSES[] = {
	{ "Result incomplete", "", E_AGAIN },
	{ "Incomplete", "", E_AGAIN },
	{ "Busy", "", E_AGAIN },
	{ "NotFound", "", E_NOENT },
	{ "Corruption", "", E_CORRUPT },
	{ "IO error", "No space left", E_FULL },
	{ "", "No space left", E_FULL },
	{ "", "Permission denied", E_ACCESS },
};

static int take_error(const char *doing, char *text)
{
	enum err_code code = E_IO;
	for (size_t i = 0; i < ARRAY_LEN(CLASSES); i++)
		if (strncmp(text, CLASSES[i].prefix, strlen(CLASSES[i].prefix)) == 0 && strstr(text, CLASSES[i].part)) {
			code = CLASSES[i].code;
			break;
		}
	int rc = err_set(code, "%s: %s", doing, text);
	rocksdb_free(text);
	return rc;
}

/* A damaged database or a failing disk means trouble at once; other failures when they go on. */
static int foreground_error(struct rocks *r, int rc)
{
	if (rc == -E_AGAIN || rc == -E_NOENT)
		return rc;
	atomic_fetch_add(&r->foreground_errors, 1);
	if ((rc == -E_CORRUPT || rc == -E_IO) && !atomic_exchange(&r->shed, true))
		diag_error("kumo.spool", "%s: refusing mail until it works again: %s", r->store.path, err_text());
	return rc;
}

static rocksdb_cache_t *shared_cache(void)
{
	static rocksdb_cache_t *cache;
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	pthread_mutex_lock(&lock);
	if (cache == NULL)
		cache = rocksdb_cache_create_lru(BLOCK_CACHE_BYTES);
	pthread_mutex_unlock(&lock);
	return cache;
}

static void set_defaults(rocksdb_options_t *o, bool is_data)
{
	rocksdb_options_set_create_if_missing(o, 1);
	rocksdb_options_set_keep_log_file_num(o, 10);
	rocksdb_options_set_stats_dump_period_sec(o, 0);
	rocksdb_options_set_stats_persist_period_sec(o, 0);
	rocksdb_options_set_write_buffer_size(o, is_data ? DATA_BUFFER_BYTES : META_BUFFER_BYTES);
	rocksdb_options_set_max_write_buffer_number(o, 3);
	rocksdb_block_based_table_options_t *t = rocksdb_block_based_options_create();
	rocksdb_block_based_options_set_block_cache(t, shared_cache());
	rocksdb_block_based_options_set_cache_index_and_filter_blocks(t, 1);
	rocksdb_block_based_options_set_filter_policy(t, rocksdb_filterpolicy_create_bloom_full(10));
	rocksdb_options_set_block_based_table_factory(o, t);
	rocksdb_block_based_options_destroy(t);
}

static void set_params(rocksdb_options_t *o, const struct spool_rocks_opts *p)
{
	if (p->increase_parallelism)
		rocksdb_options_increase_parallelism(o, (int)p->increase_parallelism);
	if (p->optimize_level_style_compaction)
		rocksdb_options_optimize_level_style_compaction(o, (uint64_t)p->optimize_level_style_compaction);
	if (p->optimize_universal_style_compaction)
		rocksdb_options_optimize_universal_style_compaction(o, (uint64_t)p->optimize_universal_style_compaction);
	if (p->compaction_readahead_size)
		rocksdb_options_compaction_readahead_size(o, (size_t)p->compaction_readahead_size);
	if (p->max_open_files)
		rocksdb_options_set_max_open_files(o, (int)p->max_open_files);
	if (p->write_buffer_size)
		rocksdb_options_set_write_buffer_size(o, (size_t)p->write_buffer_size);
	if (p->level0_stop_writes_trigger)
		rocksdb_options_set_level0_stop_writes_trigger(o, (int)p->level0_stop_writes_trigger);
	if (p->memtable_huge_page_size)
		rocksdb_options_set_memtable_huge_page_size(o, (size_t)p->memtable_huge_page_size);
	rocksdb_options_set_paranoid_checks(o, p->paranoid_checks);
	rocksdb_options_set_level_compaction_dynamic_level_bytes(o, p->level_compaction_dynamic_level_bytes);
	rocksdb_options_set_compression(o, p->compression_type);
	rocksdb_options_set_info_log_level(o, p->log_level);
	rocksdb_options_set_log_file_time_to_roll(o, (size_t)(p->log_file_time_to_roll / 1000000000));
	rocksdb_options_set_delete_obsolete_files_period_micros(o, (uint64_t)(p->obsolete_files_period / 1000));
}

static int open_db(struct rocks *r, const struct spool_opts *so)
{
	rocksdb_options_t *o = rocksdb_options_create();
	set_defaults(o, slice_eq(so->name, SLICE("data")));
	rocksdb_options_set_use_fsync(o, so->flush);
	set_params(o, &so->rocks_params);
	char *text = NULL;
	r->db = rocksdb_open(o, r->store.path, &text);
	rocksdb_options_destroy(o);
	if (text == NULL)
		return 0;
	bool no_fds = strstr(text, strerror(EMFILE)) != NULL, locked = strstr(text, "lock") != NULL || strstr(text, "LOCK") != NULL;
	int rc = take_error(r->store.path, text);
	if (no_fds)
		return err_set(E_LIMIT, "%s. Raise the limit on open files (LimitNOFILE, ulimit -n)", err_text());
	return locked ? err_set(E_EXIST, "%s. Is another process using this spool? Stop it first", err_text()) : rc;
}

static void rocks_close(struct store *s)
{
	struct rocks *r = (struct rocks *)s;
	if (r->db != NULL) {
		rocksdb_cancel_all_background_work(r->db, 1);
		rocksdb_close(r->db);
	}
	rocksdb_writeoptions_destroy(r->write);
	rocksdb_writeoptions_destroy(r->write_sync);
	rocksdb_readoptions_destroy(r->read);
	rocksdb_writebatch_destroy(r->batch);
	rocksdb_writebatch_destroy(r->nothing);
	for (int i = 0; i < G_COUNT; i++)
		metric_unref(&r->gauges[i]);
	store_fini(s);
	free(r);
}

void rocks_metrics_init(void)
{
	for (int i = 0; i < G_COUNT; i++)
		metric_register_kept(&GAUGES[i]);
}

static int rocks_open(const struct spool_opts *o, struct store **out)
{
	struct rocks *r = xzalloc(sizeof *r);
	store_init(&r->store, &STORE_ROCKSDB, o);
	r->write = rocksdb_writeoptions_create();
	rocksdb_writeoptions_set_no_slowdown(r->write, 1);
	r->write_sync = rocksdb_writeoptions_create();
	rocksdb_writeoptions_set_no_slowdown(r->write_sync, 1);
	rocksdb_writeoptions_set_sync(r->write_sync, 1);
	r->read = rocksdb_readoptions_create();
	r->batch = rocksdb_writebatch_create();
	r->nothing = rocksdb_writebatch_create();
	r->latch_ms = o->rocks_params.error_latch_duration / 1000000;
	r->unlatch_ms = o->rocks_params.error_unlatch_duration / 1000000;
	r->may_unlatch = o->rocks_params.allow_error_unlatch;
	int rc = store_mkdirs(r->store.path);
	if (rc == 0)
		rc = store_probe(r->store.path);
	if (rc == 0)
		rc = open_db(r, o);
	if (rc < 0) {
		rocks_close(&r->store);
		return rc;
	}
	for (int i = 0; i < G_COUNT; i++)
		r->gauges[i] = metric_get(&GAUGES[i], r->store.path);
	*out = &r->store;
	return 0;
}

static int rocks_write(struct store *s, struct store_write *w, size_t n, bool sync)
{
	struct rocks *r = (struct rocks *)s;
	rocksdb_writebatch_clear(r->batch);
	for (size_t i = 0; i < n; i++) {
		const char *key = (const char *)w[i].id.bytes;
		if (w[i].data.ptr != NULL)
			rocksdb_writebatch_put(r->batch, key, sizeof w[i].id.bytes, w[i].data.ptr, w[i].data.len);
		else
			rocksdb_writebatch_delete(r->batch, key, sizeof w[i].id.bytes);
	}
	char *text = NULL;
	rocksdb_write(r->db, sync ? r->write_sync : r->write, r->batch, &text);
	int rc = text ? foreground_error(r, take_error(s->path, text)) : 0;
	for (size_t i = 0; i < n; i++)
		w[i].rc = rc;
	return rc;
}

/* The C interface has no SyncWAL: a synced write of nothing makes everything in the log before it durable. */
static int rocks_sync(struct store *s)
{
	struct rocks *r = (struct rocks *)s;
	char *text = NULL;
	rocksdb_write(r->db, r->write_sync, r->nothing, &text);
	return text ? foreground_error(r, take_error(s->path, text)) : 0;
}

static int rocks_get(struct store *s, struct uuid id, char **data, size_t *len)
{
	struct rocks *r = (struct rocks *)s;
	char *text = NULL;
	*data = rocksdb_get(r->db, r->read, (const char *)id.bytes, sizeof id.bytes, len, &text);
	if (text != NULL)
		return foreground_error(r, take_error(s->path, text));
	if (*data == NULL) {
		struct buf b = { 0 };
		uuid_put_simple(&b, id);
		int rc = err_set(E_NOENT, "%s: no such key %s", s->path, buf_cstr(&b));
		buf_fini(&b);
		return rc;
	}
	return 0;
}

struct rocks_walk {
	struct rocks *r;
	rocksdb_readoptions_t *read;
	rocksdb_iterator_t *it;
	struct uuid after;
	bool has_after, begun;
};

static int rocks_walk_begin(struct store *s, bool values, const struct uuid *after, struct store_walk **out)
{
	struct rocks_walk *w = xzalloc(sizeof *w);
	w->r = (struct rocks *)s;
	w->has_after = after != NULL;
	if (after != NULL)
		w->after = *after;
	w->read = rocksdb_readoptions_create();
	rocksdb_readoptions_set_fill_cache(w->read, 0);	/* seen once: leave the cache to those who come back */
	w->it = rocksdb_create_iterator(w->r->db, w->read);
	*out = (struct store_walk *)w;
	return 0;
}

static bool rocks_walk_next(struct store_walk *sw, struct uuid *id, struct slice *value)
{
	struct rocks_walk *w = (struct rocks_walk *)sw;
	for (;;) {
		if (w->begun)
			rocksdb_iter_next(w->it);
		else if (w->has_after)
			rocksdb_iter_seek(w->it, (const char *)w->after.bytes, sizeof w->after.bytes);
		else
			rocksdb_iter_seek_to_first(w->it);
		w->begun = true;
		if (!rocksdb_iter_valid(w->it))
			return false;
		size_t len;
		const char *key = rocksdb_iter_key(w->it, &len);
		if (w->has_after && len == sizeof w->after.bytes && memcmp(key, w->after.bytes, len) == 0)
			continue;
		if (len == sizeof id->bytes) {	/* nothing else is a message */
			memcpy(id->bytes, key, len);
			value->ptr = rocksdb_iter_value(w->it, &value->len);
			return true;
		}
	}
}

static int rocks_walk_end(struct store_walk *sw)
{
	struct rocks_walk *w = (struct rocks_walk *)sw;
	char *text = NULL;
	rocksdb_iter_get_error(w->it, &text);
	int rc = text ? foreground_error(w->r, take_error(w->r->store.path, text)) : 0;
	rocksdb_iter_destroy(w->it);
	rocksdb_readoptions_destroy(w->read);
	free(w);
	return rc;
}

static int rocks_flush(struct rocks *r)
{
	rocksdb_flushoptions_t *f = rocksdb_flushoptions_create();
	rocksdb_flushoptions_set_wait(f, 1);
	char *text = NULL;
	rocksdb_flush(r->db, f, &text);
	rocksdb_flushoptions_destroy(f);
	return text ? foreground_error(r, take_error(r->store.path, text)) : 0;
}

static uint64_t property(struct rocks *r, int which)
{
	uint64_t v = 0;
	if (rocksdb_property_int(r->db, PROPERTIES[which], &v) != 0)
		return 0;
	return v;
}

static int rocks_compact(struct store *s)
{
	struct rocks *r = (struct rocks *)s;
	uint64_t errors = property(r, G_ERRORS);
	int rc = rocks_flush(r);
	if (rc < 0)
		return rc;
	rocksdb_compactoptions_t *c = rocksdb_compactoptions_create();
	rocksdb_compactoptions_set_exclusive_manual_compaction(c, 1);
	rocksdb_compactoptions_set_bottommost_level_compaction(c, 2);	/* kForce: rewrite everything */
	rocksdb_compact_range_opt(r->db, c, NULL, 0, NULL, 0);
	rocksdb_compactoptions_destroy(c);
	if (property(r, G_ERRORS) > errors)
		return foreground_error(r, err_set(E_IO, "%s: compaction failed, RocksDB's LOG file there says why", s->path));
	return 0;
}

static int64_t rocks_shrink(struct store *s)
{
	struct rocks *r = (struct rocks *)s;
	int64_t before = (int64_t)property(r, G_MEMTABLE);
	if (rocks_flush(r) < 0)
		diag_error("kumo.spool", "error flushing memory: %s", err_text());
	return before - (int64_t)property(r, G_MEMTABLE);
}

/* While mail is refused nobody writes: see by a write of our own (a deletion of nothing) whether it works again. */
static void probe_write(struct rocks *r)
{
	static const char NOBODY[16];
	char *text = NULL;
	rocksdb_writebatch_t *b = rocksdb_writebatch_create();
	rocksdb_writebatch_delete(b, NOBODY, sizeof NOBODY);
	rocksdb_write(r->db, r->write, b, &text);
	rocksdb_writebatch_destroy(b);
	if (text != NULL)
		foreground_error(r, take_error(r->store.path, text));
}

static void rocks_monitor(struct store *s, int64_t now)
{
	struct rocks *r = (struct rocks *)s;
	for (int i = 0; i < G_COUNT; i++)
		if (PROPERTIES[i] != NULL)
			metric_set(r->gauges[i], (int64_t)property(r, i));
	if (atomic_load(&r->shed))
		probe_write(r);
	uint64_t errors = atomic_load(&r->foreground_errors), background = property(r, G_ERRORS);
	bool bad = errors != r->errors_seen || background != r->background_seen;
	r->errors_seen = errors;
	r->background_seen = background;
	if (bad) {
		r->good_since_ms = 0;
		if (r->bad_since_ms == 0)
			r->bad_since_ms = now;
		if (now - r->bad_since_ms >= r->latch_ms && !atomic_exchange(&r->shed, true))
			diag_error("kumo.spool", "%s: errors go on, refusing mail until it works again", s->path);
	} else {
		r->bad_since_ms = 0;
		if (r->good_since_ms == 0)
			r->good_since_ms = now;
		if (r->may_unlatch && now - r->good_since_ms >= r->unlatch_ms && atomic_exchange(&r->shed, false))
			diag_error("kumo.spool", "%s: works again, accepting mail", s->path);
	}
	metric_set(r->gauges[G_SHED], atomic_load(&r->shed));
}

static bool rocks_is_unhealthy(const struct store *s)
{
	return atomic_load_explicit(&((const struct rocks *)s)->shed, memory_order_relaxed);
}

const struct store_kind STORE_ROCKSDB = {
	.open = rocks_open,
	.close = rocks_close,
	.write = rocks_write,
	.sync = rocks_sync,
	.get = rocks_get,
	.walk_begin = rocks_walk_begin,
	.walk_next = rocks_walk_next,
	.walk_end = rocks_walk_end,
	.walk_pins = true,
	.compact = rocks_compact,
	.shrink = rocks_shrink,
	.monitor = rocks_monitor,
	.is_unhealthy = rocks_is_unhealthy,
};
