/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mod_jsonl - kumo.jsonl: writing and following segments of JSON lines.
 *
 * A tailer reads each line once and hands the record to every consumer whose filter wants it. Filters are Lua functions: they stay in a table
 * of the state, keyed by the tailer, and run on the fiber that asks for batches; files are read on the pool.
 *
 * Thread:  a tailer, writer or batch belongs to the state that made it.   Yields: all but the accessors.
 */
#include <stdatomic.h>
#include <stdlib.h>
#include "codec/opt.h"
#include "logs/segment.h"
#include "logs/tail.h"
#include "lua/util.h"
#include "msg/tz.h"
#include "rt/clock.h"
#include "rt/diag.h"
#include "rt/fiber.h"
#include "rt/offload.h"

#define POLL_MS 100
#define READ_LINES 256
#define DRAIN_BYTES 65536

/* --- options */

struct tailer_opts {
	struct slice directory, pattern;
	int64_t max_batch_size, max_batch_latency, poll_watcher;
	struct slice checkpoint_name;
	bool tail;
};
#define T struct tailer_opts
static const struct opt_field TAILER_FIELDS[] = {
	OPT_STR(T, directory, NULL, "the folder with the segments", .required = true),
	OPT_STR(T, pattern, "*", "which names to read"),
	OPT_INT(T, max_batch_size, "100", "records in a batch", .min = 1, .max = INT32_MAX),
	OPT_DURATION(T, max_batch_latency, "1s", "how long a batch waits to be filled"),
	OPT_STR(T, checkpoint_name, NULL, "name of the hidden file with the position"),
	OPT_DURATION(T, poll_watcher, NULL, "how often the folder is looked at"),
	OPT_BOOL(T, tail, "false", "begin with the newest segment"),
	OPT_END
};
static const struct opt_desc TAILER = { "new_tailer", TAILER_FIELDS, sizeof(T), .open = true };

struct consumer_opts {
	struct slice name, checkpoint_name;
	int64_t max_batch_size, max_batch_latency;
};
#define C struct consumer_opts
static const struct opt_field CONSUMER_FIELDS[] = {
	OPT_STR(C, name, NULL, "the consumer", .required = true),
	OPT_INT(C, max_batch_size, "100", "records in a batch", .min = 1, .max = INT32_MAX),
	OPT_DURATION(C, max_batch_latency, "1s", "how long a batch waits to be filled"),
	OPT_STR(C, checkpoint_name, NULL, "name of the hidden file with the position"),
	OPT_END
};
static const struct opt_desc CONSUMER = { "consumers", CONSUMER_FIELDS, sizeof(C), .open = true };

struct writer_opts {
	struct slice log_dir, suffix, tz;
	int64_t max_file_size, compression_level, max_segment_duration;
};
#define W struct writer_opts
static const struct opt_field WRITER_FIELDS[] = {
	OPT_STR(W, log_dir, NULL, "the folder", .required = true),
	OPT_SIZE(W, max_file_size, "134217728", "uncompressed bytes in a segment"),
	OPT_INT(W, compression_level, "3", "of zstd", .min = -131072, .max = 22),
	OPT_DURATION(W, max_segment_duration, NULL, "how long a segment may grow"),
	OPT_STR(W, suffix, NULL, "appended to the segment's name"),
	OPT_STR(W, tz, NULL, "time zone of the names"),
	OPT_END
};
static const struct opt_desc WRITER = { "new_writer", WRITER_FIELDS, sizeof(W), .open = true };

/* --- blocking work, with its error text brought back */

struct job {
	int (*fn)(void *arg);
	void *arg;
	int rc;
	char *text;
};

static void run_job(void *arg)
{
	struct job *j = arg;
	j->rc = j->fn(j->arg);
	if (j->rc < 0)
		j->text = xstrdup(err_text());
}

static int offload(int (*fn)(void *arg), void *arg)
{
	struct job j = { .fn = fn, .arg = arg };
	rt_offload(run_job, &j);
	if (j.rc < 0)
		err_set((enum err_code)-j.rc, "%s", j.text);
	free(j.text);
	return j.rc;
}

/* --- batches */

struct batch {
	_Atomic uint32_t refs;
	struct arena *arena;
	struct val records;
	char *consumer, *dir, *checkpoint;	/* checkpoint NULL: none */
	struct tail_pos end;
	bool committed;
	int64_t begun_ms;
};

static void *batch_ref(void *p)
{
	atomic_fetch_add(&((struct batch *)p)->refs, 1);
	return p;
}

static void batch_unref(void *p)
{
	struct batch *b = p;
	if (b == NULL || atomic_fetch_sub(&b->refs, 1) != 1)
		return;
	arena_destroy(&b->arena);
	tail_pos_fini(&b->end);
	free(b->consumer);
	free(b->dir);
	free(b->checkpoint);
	free(b);
}

static const struct policy_obj_type BATCH_OBJ = { .name = "LogBatch", .ref = batch_ref, .unref = batch_unref };

static int batch_records(lua_State *L)
{
	struct batch *b = policy_obj_check(L, 1, &BATCH_OBJ);
	lua_createtable(L, b->committed ? 0 : (int)b->records.n, 0);
	for (uint32_t i = 0; !b->committed && i < b->records.n; i++) {
		policy_push_val(L, &b->records.items[i]);
		lua_rawseti(L, -2, i + 1);
	}
	return 1;
}

/* upvalues: the batch, how many were given */
static int next_record(lua_State *L)
{
	struct batch *b = policy_obj_check(L, lua_upvalueindex(1), &BATCH_OBJ);
	lua_Integer i = lua_tointeger(L, lua_upvalueindex(2));
	if (i < 0 || i >= b->records.n) {
		lua_pushnil(L);
		return 1;
	}
	lua_pushinteger(L, i + 1);
	lua_replace(L, lua_upvalueindex(2));
	policy_push_val(L, &b->records.items[i]);
	return 1;
}

static int batch_iter_records(lua_State *L)
{
	struct batch *b = policy_obj_check(L, 1, &BATCH_OBJ);
	lua_pushvalue(L, 1);
	lua_pushinteger(L, b->committed ? -1 : 0);
	lua_pushcclosure(L, next_record, 2);
	return 1;
}

static int batch_consumer_name(lua_State *L)
{
	struct batch *b = policy_obj_check(L, 1, &BATCH_OBJ);
	lua_pushstring(L, b->committed ? "" : b->consumer);
	return 1;
}

static int save_checkpoint(void *arg)
{
	struct batch *b = arg;
	return checkpoint_save(b->dir, b->checkpoint, &b->end);
}

static int batch_commit(lua_State *L)
{
	struct batch *b = policy_obj_check(L, 1, &BATCH_OBJ);
	if (b->committed)
		return 0;
	b->committed = true;
	int rc = b->checkpoint ? offload(save_checkpoint, b) : 0;
	return rc < 0 ? policy_raise(L, rc) : 0;
}

/* --- tailers */

struct consumer {
	char *name, *checkpoint;
	size_t max_records;
	int64_t latency_ms;
	struct tail_pos from;	/* lines up to there were dealt with in an earlier run */
	struct batch *batch;	/* that is being filled; NULL: empty */
};
struct tailer {
	_Atomic uint32_t refs;
	char *dir, *pattern;
	bool newest, single;
	_Atomic bool closed;
	bool busy;		/* a fiber is in next_batches */
	int64_t poll_ms;
	struct tail *tail;
	struct consumer *consumers;
	size_t n;
	/* lines read ahead: texts in BUF, with the position behind each */
	struct buf buf;
	struct line {
		size_t at, len;
		struct tail_pos end;
	} lines[READ_LINES];
	size_t n_lines, pos;
};

static void *tailer_ref(void *p)
{
	atomic_fetch_add(&((struct tailer *)p)->refs, 1);
	return p;
}

static void tailer_unref(void *p)
{
	struct tailer *t = p;
	if (atomic_fetch_sub(&t->refs, 1) != 1)
		return;
	for (size_t i = 0; i < t->n; i++) {
		struct consumer *c = &t->consumers[i];
		batch_unref(c->batch);
		tail_pos_fini(&c->from);
		free(c->name);
		free(c->checkpoint);
	}
	for (size_t i = 0; i < READ_LINES; i++)
		tail_pos_fini(&t->lines[i].end);
	tail_close(&t->tail);
	buf_fini(&t->buf);
	free(t->consumers);
	free(t->dir);
	free(t->pattern);
	free(t);
}

static const struct policy_obj_type TAILER_OBJ = { .name = "LogTailer", .ref = tailer_ref, .unref = tailer_unref };

/* Checkpoints are read; the earliest decides where reading begins. */
static int open_tailer(void *arg)
{
	struct tailer *t = arg;
	struct tail_pos first = { 0 };
	struct slice pattern = slice_from_cstr(t->pattern);
	int rc = t->newest ? tail_newest(t->dir, pattern, &first) : 0;
	for (size_t i = 0; rc == 0 && !t->newest && i < t->n; i++) {
		struct consumer *c = &t->consumers[i];
		if (c->checkpoint != NULL)
			rc = checkpoint_load(t->dir, c->checkpoint, &c->from);
		if (rc == 0 && (i == 0 || tail_pos_cmp(&c->from, &first) < 0))
			tail_pos_set(&first, c->from.file, c->from.line);
	}
	if (rc == 0)
		rc = tail_open(t->dir, pattern, &first, &t->tail);
	tail_pos_fini(&first);
	return rc;
}

static int read_lines(void *arg)
{
	struct tailer *t = arg;
	struct slice line;
	int rc = 0;
	buf_clear(&t->buf);
	t->n_lines = t->pos = 0;
	while (t->n_lines < READ_LINES && (rc = tail_next(t->tail, &line)) > 0) {
		struct line *l = &t->lines[t->n_lines++];
		l->at = t->buf.len;
		l->len = line.len;
		buf_slice(&t->buf, line);
		tail_pos_set(&l->end, tail_at(t->tail)->file, tail_at(t->tail)->line);
	}
	return rc < 0 ? rc : 0;
}

static struct batch *batch_begin(const struct tailer *t, const struct consumer *c)
{
	struct batch *b = xzalloc(sizeof *b);
	atomic_init(&b->refs, 1);
	b->arena = arena_create();
	b->records = val_list();
	b->consumer = xstrdup(c->name);
	b->dir = xstrdup(t->dir);
	b->checkpoint = c->checkpoint ? xstrdup(c->checkpoint) : NULL;
	b->begun_ms = rt_now_ms();
	return b;
}

/* The state's table of filters: {[tailer] = {[consumer] = function}}, which does not keep tailers alive. */
static const char filters_key;

static void push_filters(lua_State *L)
{
	if (lua_rawgetp(L, LUA_REGISTRYINDEX, &filters_key) == LUA_TTABLE)
		return;
	lua_pop(L, 1);
	lua_newtable(L);
	lua_newtable(L);
	lua_pushliteral(L, "k");
	lua_setfield(L, -2, "__mode");
	lua_setmetatable(L, -2);
	lua_pushvalue(L, -1);
	lua_rawsetp(L, LUA_REGISTRYINDEX, &filters_key);
}

/* Whether consumer I wants RECORD: 1, 0, or what its filter failed with. FILTERS: index of the tailer's table, or of nil. */
static int wanted(lua_State *L, int filters, size_t i, const struct val *record)
{
	if (!lua_istable(L, filters) || lua_rawgeti(L, filters, (lua_Integer)i + 1) != LUA_TFUNCTION) {
		lua_settop(L, filters);
		return 1;
	}
	policy_push_val(L, record);
	int rc = policy_pcall(L, 1, 1);
	if (rc == 0)
		rc = lua_toboolean(L, -1);
	lua_settop(L, filters);
	return rc;
}

/* Offers a line to all consumers. 1: some batch is full; what a filter failed with. */
static int offer(lua_State *L, int filters, struct tailer *t, const struct line *l)
{
	struct val v;
	int full = 0, rc = 0;
	struct arena *a = arena_create();
	if (json_parse(slice_new(t->buf.ptr + l->at, l->len), a, &v) < 0) {
		diag_warn("lua", "%s: line %llu is no JSON: %s", l->end.file, (unsigned long long)l->end.line, err_text());
		arena_destroy(&a);
		return 0;
	}
	for (size_t i = 0; rc >= 0 && i < t->n; i++) {
		struct consumer *c = &t->consumers[i];
		if ((c->from.file != NULL && tail_pos_cmp(&l->end, &c->from) <= 0) || (rc = wanted(L, filters, i, &v)) <= 0)
			continue;
		if (c->batch == NULL)
			c->batch = batch_begin(t, c);
		val_push(c->batch->arena, &c->batch->records, val_copy(c->batch->arena, &v));
		full |= c->batch->records.n >= c->max_records;
	}
	arena_destroy(&a);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < t->n; i++)
		if (t->consumers[i].batch != NULL)
			tail_pos_set(&t->consumers[i].batch->end, l->end.file, l->end.line);
	return full;
}

static bool is_due(const struct consumer *c, int64_t now, int64_t *left)
{
	if (c->batch == NULL)
		return false;
	int64_t wait = c->batch->records.n >= c->max_records ? 0 : c->batch->begun_ms + c->latency_ms - now;
	*left = MIN(*left, wait);
	return wait <= 0;
}

/* Pushes what is due: the batch, or a list of batches. False: nothing; *LEFT says when something will be. */
static bool push_due(lua_State *L, struct tailer *t, int64_t *left)
{
	int64_t now = rt_now_ms();
	int n = 0;
	*left = INT64_MAX;
	for (size_t i = 0; i < t->n; i++) {
		struct consumer *c = &t->consumers[i];
		if (!is_due(c, now, left))
			continue;
		if (!t->single && n == 0)
			lua_newtable(L);
		struct batch *b = c->batch;
		c->batch = NULL;
		policy_obj_push(L, &BATCH_OBJ, b);
		batch_unref(b);
		if (!t->single)
			lua_rawseti(L, -2, n + 1);
		n++;
	}
	return n > 0;
}

/* upvalue: the tailer */
static int next_batches(lua_State *L)
{
	struct tailer *t = policy_obj_check(L, lua_upvalueindex(1), &TAILER_OBJ);
	lua_settop(L, 0);
	push_filters(L);
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_rawget(L, 1);	/* index 2: this tailer's filters */
	int64_t left;
	if (t->busy)
		return luaL_error(L, "the tailer is in use");
	while (!atomic_load(&t->closed)) {
		int full = 0;
		while (t->pos < t->n_lines && full == 0)
			full = offer(L, 2, t, &t->lines[t->pos++]);
		if (full < 0)
			return policy_raise(L, full);
		if (push_due(L, t, &left))
			return 1;
		t->busy = true;
		int rc = t->pos < t->n_lines ? 0 : offload(read_lines, t);
		if (rc == 0 && t->pos == t->n_lines)
			rc = rt_sleep_ms(MIN(left, t->poll_ms));
		t->busy = false;
		if (rc < 0)
			return policy_raise(L, rc);
	}
	lua_pushnil(L);
	return 1;
}

static int tailer_batches(lua_State *L)
{
	policy_obj_check(L, 1, &TAILER_OBJ);
	lua_settop(L, 1);
	lua_pushcclosure(L, next_batches, 1);
	return 1;
}

static int tailer_close(lua_State *L)
{
	struct tailer *t = policy_obj_check(L, 1, &TAILER_OBJ);
	atomic_store(&t->closed, true);
	return 0;
}

static struct tailer *tailer_create(const struct tailer_opts *o, size_t n_consumers)
{
	struct tailer *t = xzalloc(sizeof *t);
	atomic_init(&t->refs, 1);
	t->dir = xmemdup0(o->directory.ptr, o->directory.len);
	t->pattern = xmemdup0(o->pattern.ptr, o->pattern.len);
	t->newest = o->tail;
	t->poll_ms = o->poll_watcher ? MAX(1, o->poll_watcher / 1000000) : POLL_MS;
	t->consumers = xcalloc(n_consumers + 1, sizeof *t->consumers);
	return t;
}

static void add_consumer(struct tailer *t, struct slice name, struct slice checkpoint, int64_t max, int64_t latency)
{
	struct consumer *c = &t->consumers[t->n++];
	c->name = xmemdup0(name.ptr, name.len);
	c->checkpoint = checkpoint.ptr ? xmemdup0(checkpoint.ptr, checkpoint.len) : NULL;
	c->max_records = (size_t)max;
	c->latency_ms = latency / 1000000;
}

/* Opens T and pushes it; the table of filters is on top of the stack. */
static int finish_tailer(lua_State *L, struct tailer *t)
{
	int rc = offload(open_tailer, t);
	if (rc < 0) {
		tailer_unref(t);
		return policy_raise(L, rc);
	}
	int filters = lua_gettop(L);
	policy_obj_push(L, &TAILER_OBJ, t);
	tailer_unref(t);
	push_filters(L);
	lua_pushvalue(L, -2);
	lua_pushvalue(L, filters);
	lua_rawset(L, -3);
	lua_pop(L, 1);
	return 1;
}

static int new_tailer(lua_State *L)
{
	struct tailer_opts o;
	lua_settop(L, 2);
	policy_check_opts_arg(L, 1, &TAILER, policy_arena(L), &o);
	if (!lua_isnil(L, 2))
		policy_check_function(L, 2);
	struct tailer *t = tailer_create(&o, 1);
	t->single = true;
	add_consumer(t, SLICE("default"), o.checkpoint_name, o.max_batch_size, o.max_batch_latency);
	lua_newtable(L);
	lua_pushvalue(L, 2);
	lua_rawseti(L, -2, 1);
	return finish_tailer(L, t);
}

/* Takes FIELD out of the table at IDX, because option tables know no functions; leaves it on the stack. */
static int take_field(lua_State *L, int idx, const char *field)
{
	int type = lua_getfield(L, idx, field);
	lua_pushnil(L);
	lua_setfield(L, idx, field);
	return type;
}

static int new_multi_tailer(lua_State *L)
{
	struct tailer_opts o;
	lua_settop(L, 1);
	policy_check_table(L, 1, "table");
	take_field(L, 1, "consumers");
	if (!lua_istable(L, 2))
		return policy_raisef(L, "consumers: expected a list of tables, got %s", policy_type_name(L, 2));
	policy_check_opts(L, 1, &TAILER, policy_arena(L), &o);
	size_t n = lua_rawlen(L, 2);
	struct consumer_opts *c = arena_alloc(policy_arena(L), (n + 1) * sizeof *c);
	lua_newtable(L);	/* index 3: filters */
	for (size_t i = 0; i < n; i++) {
		if (lua_rawgeti(L, 2, (lua_Integer)i + 1) != LUA_TTABLE)
			return policy_raisef(L, "consumers[%zu]: expected a table, got %s", i + 1, policy_type_name(L, -1));
		take_field(L, 4, "filter");
		lua_rawseti(L, 3, (lua_Integer)i + 1);
		policy_check_opts(L, 4, &CONSUMER, policy_arena(L), &c[i]);
		lua_pop(L, 1);
	}
	struct tailer *t = tailer_create(&o, n);
	for (size_t i = 0; i < n; i++)
		add_consumer(t, c[i].name, c[i].checkpoint_name, c[i].max_batch_size, c[i].max_batch_latency);
	return finish_tailer(L, t);
}

/* --- writers */

struct writer {
	_Atomic uint32_t refs;
	char *dir, *suffix;
	int level;
	uint64_t max_bytes;
	int64_t max_ms, opened_ms;
	const struct tz *tz;
	bool closed;
	struct segment *seg;
};

static void *writer_ref(void *p)
{
	atomic_fetch_add(&((struct writer *)p)->refs, 1);
	return p;
}

static int finish_segment(void *arg)
{
	struct writer *w = arg;
	return w->seg ? segment_finish(&w->seg) : 0;
}

static void writer_unref(void *p)
{
	struct writer *w = p;
	if (atomic_fetch_sub(&w->refs, 1) != 1)
		return;
	if (finish_segment(w) < 0) {
		diag_error("lua", "%s", err_text());
		segment_abandon(&w->seg);
	}
	free(w->dir);
	free(w->suffix);
	free(w);
}

static const struct policy_obj_type WRITER_OBJ = { .name = "LogWriter", .ref = writer_ref, .unref = writer_unref };

static int open_segment(void *arg)
{
	struct writer *w = arg;
	int32_t offset = w->tz ? tz_offset_at(w->tz, rt_wall_us() / 1000000) : 0;
	w->opened_ms = rt_now_ms();
	return segment_open(w->dir, "", w->suffix, w->level, offset, &w->seg);
}

static int drain_segment(void *arg)
{
	return segment_drain(((struct writer *)arg)->seg);
}

static int write_text(lua_State *L, struct writer *w, struct slice text)
{
	int rc = 0;
	if (w->closed)
		return policy_raisef(L, "writer has been closed");
	if (w->seg == NULL)
		rc = offload(open_segment, w);
	if (rc < 0)
		return policy_raise(L, rc);
	segment_put(w->seg, text);
	if (text.len == 0 || text.ptr[text.len - 1] != '\n')
		segment_put(w->seg, SLICE("\n"));
	if (segment_bytes(w->seg) >= w->max_bytes || (w->max_ms && rt_now_ms() - w->opened_ms >= w->max_ms))
		rc = offload(finish_segment, w);
	else if (segment_undrained(w->seg) >= DRAIN_BYTES)
		rc = offload(drain_segment, w);
	return rc < 0 ? policy_raise(L, rc) : 0;
}

static int write_line(lua_State *L)
{
	struct writer *w = policy_obj_check(L, 1, &WRITER_OBJ);
	return write_text(L, w, policy_check_text(L, 2));
}

static int write_record(lua_State *L)
{
	struct writer *w = policy_obj_check(L, 1, &WRITER_OBJ);
	struct val v;
	struct buf b = { 0 };
	lua_settop(L, 2);
	struct arena *a = arena_create();
	int rc = policy_to_val(L, 2, a, &v);
	if (rc == 0)
		json_put(&b, &v, JSON_COMPACT | JSON_SORTED);
	arena_destroy(&a);
	if (rc < 0)
		return policy_raise(L, rc);
	lua_pushlstring(L, b.ptr, b.len);	/* the text is Lua's: nothing leaks when writing raises */
	buf_fini(&b);
	return write_text(L, w, policy_check_slice(L, 3));
}

static int writer_close(lua_State *L)
{
	struct writer *w = policy_obj_check(L, 1, &WRITER_OBJ);
	w->closed = true;
	int rc = offload(finish_segment, w);
	return rc < 0 ? policy_raise(L, rc) : 0;
}

static int new_writer(lua_State *L)
{
	struct writer_opts o;
	policy_check_opts(L, 1, &WRITER, policy_arena(L), &o);
	const struct tz *tz = o.tz.ptr ? tz_find(o.tz) : NULL;
	if (o.tz.ptr && tz == NULL)
		return policy_raisef(L, "tz: '%.*s' is no time zone of the IANA database", SLICE_ARG(o.tz));
	struct writer *w = xzalloc(sizeof *w);
	atomic_init(&w->refs, 1);
	w->dir = xmemdup0(o.log_dir.ptr, o.log_dir.len);
	w->suffix = o.suffix.ptr ? xmemdup0(o.suffix.ptr, o.suffix.len) : xstrdup("");
	w->level = (int)o.compression_level;
	w->max_bytes = (uint64_t)o.max_file_size;
	w->max_ms = o.max_segment_duration / 1000000;
	w->tz = tz;
	policy_obj_push(L, &WRITER_OBJ, w);
	writer_unref(w);
	return 1;
}

static const struct luaL_Reg BATCH_METHODS[] = {
	{ "records", batch_records },
	{ "iter_records", batch_iter_records },
	{ "consumer_name", batch_consumer_name },
	{ "commit", batch_commit },
	{ NULL, NULL },
};
static const struct luaL_Reg TAILER_METHODS[] = {
	{ "batches", tailer_batches },
	{ "close", tailer_close },
	{ "__close", tailer_close },
	{ NULL, NULL },
};
static const struct luaL_Reg WRITER_METHODS[] = {
	{ "write_line", write_line },
	{ "write_record", write_record },
	{ "close", writer_close },
	{ "__close", writer_close },
	{ NULL, NULL },
};
static const struct luaL_Reg FUNCTIONS[] = {
	{ "new_tailer", new_tailer },
	{ "new_multi_tailer", new_multi_tailer },
	{ "new_writer", new_writer },
	{ NULL, NULL },
};
extern const struct policy_module mod_jsonl;
const struct policy_module mod_jsonl = { .name = "kumo.jsonl", .functions = FUNCTIONS };

void mod_jsonl_register(void)
{
	policy_obj_methods(&BATCH_OBJ, BATCH_METHODS);
	policy_obj_methods(&TAILER_OBJ, TAILER_METHODS);
	policy_obj_methods(&WRITER_OBJ, WRITER_METHODS);
}
