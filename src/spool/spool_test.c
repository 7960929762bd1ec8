/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both kinds of spool through the public interface. SPOOL_SAMPLES=FOLDER also takes over spools that upstream left behind: FOLDER/KIND/{meta,data}
 * with what they hold in FOLDER/KIND.json (copies: the test writes to them).
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/xalloc.h"
#include "rt/fiber.h"
#include "rt/loop.h"
#include "spool/internal.h"

static char *dir;

static struct spool_opts options(const char *name, int kind, bool flush, struct arena *a)
{
	struct spool_opts o;
	opt_defaults(&SPOOL_OPTS, a, &o);
	o.name = arena_dup(a, slice_from_cstr(name));
	o.path = arena_slicef(a, "%s/%s", dir, name);
	o.kind = kind;
	o.flush = flush;
	return o;
}

static int open_both(int kind, bool flush)
{
	struct arena *a = arena_create();
	struct spool_opts meta = options("meta", kind, flush, a), data = options("data", kind, flush, a);
	if (spool_define(&data) < 0 || spool_define(&meta) < 0) {
		/* spool_start says so */
	}
	int rc = spool_start();
	arena_destroy(&a);
	msg_set_storage(&SPOOL_STORAGE);
	return rc;
}

static int new_dir(void **state)
{
	char templ[] = "/tmp/kumo-spool-XXXXXX";
	assert_non_null(mkdtemp(templ));
	dir = xstrdup(templ);
	return 0;
}

static int end_dir(void **state)
{
	char *cmd = xasprintf("rm -rf %s", dir);
	assert_int_equal(system(cmd), 0);
	free(cmd);
	free(dir);
	assert_int_equal(msg_count_in_memory(), 0);
	assert_int_equal(msg_bytes_in_memory(), 0);
	return 0;
}

static struct msg *make(int n)
{
	char rcpt[64], body[64];
	snprintf(rcpt, sizeof rcpt, "r%d@a.example", n);
	snprintf(body, sizeof body, "Subject: %d\r\n\r\ntext\r\n", n);
	struct slice r = slice_from_cstr(rcpt);
	return msg_create(uuid_v1(), msg_env_create(SLICE("s@x"), &r, 1), msg_body_copy(slice_from_cstr(body)));
}

struct seen {
	size_t n;
	struct msg *msgs[256];
};

static int take(void *arg, struct msg *m)
{
	struct seen *s = arg;
	assert_true(s->n < ARRAY_LEN(s->msgs));
	s->msgs[s->n++] = m;
	return 0;
}

static void drop_seen(struct seen *s)
{
	for (size_t i = 0; i < s->n; i++)
		msg_unref(&s->msgs[i]);
	s->n = 0;
}

static void check_round(int kind, bool flush)
{
	struct msg *m[100];
	assert_int_equal(open_both(kind, flush), 0);
	for (int i = 0; i < 100; i++) {
		m[i] = make(i);
		assert_int_equal(msg_shrink(m[i]), 0);
	}
	for (int i = 0; i < 100; i++) {
		struct msg_body *b;
		assert_int_equal(msg_body(m[i], &b), 0);
		char want[64];
		snprintf(want, sizeof want, "Subject: %d\r\n\r\ntext\r\n", i);
		assert_true(slice_eq_cstr(msg_body_view(b), want));
		msg_body_unref(&b);
		if (i % 2)
			msg_remove(m[i]);
		msg_unref(&m[i]);
	}
	/* what came after the start is not enumerated */
	struct seen s = { 0 };
	struct spool_walk w;
	assert_int_equal(spool_enumerate(take, &s, &w), 0);
	assert_int_equal(s.n, 0);
	spool_fini();

	assert_int_equal(open_both(kind, flush), 0);
	assert_int_equal(spool_enumerate(take, &s, &w), 0);
	assert_int_equal(w.found, 50);
	assert_int_equal(w.damaged, 0);
	for (size_t i = 0; i < s.n; i++) {
		struct msg_env *e = msg_env_if_loaded(s.msgs[i]);
		int n = atoi(e->recipients[0].ptr + 1);
		assert_int_equal(n % 2, 0);
		msg_env_unref(&e);
		struct msg_body *b;
		assert_int_equal(msg_body(s.msgs[i], &b), 0);
		assert_int_equal(atoi(b->data + 9), n);
		msg_body_unref(&b);
		msg_remove(s.msgs[i]);
	}
	drop_seen(&s);
	spool_fini();

	assert_int_equal(open_both(kind, flush), 0);
	assert_int_equal(spool_enumerate(take, &s, &w), 0);
	assert_int_equal(w.found, 0);
	uint64_t removed;
	assert_int_equal(spool_sweep(&removed), 0);
	assert_int_equal(removed, 0);
	spool_fini();
}

static void save(void *m) { assert_int_equal(msg_shrink(m), 0); }

/* Many in one batch, each made durable: every message keeps its own text. */
static void check_together(int kind)
{
	enum { N = 50 };
	struct rt_fiber *f[N];
	struct msg *m[N];
	assert_int_equal(open_both(kind, true), 0);
	for (int i = 0; i < N; i++)
		f[i] = rt_fiber_start("save", save, m[i] = make(i));
	for (int i = 0; i < N; i++) {
		struct msg_body *b;
		struct msg_env *e;
		char want[64];
		rt_fiber_join(f[i]);
		rt_fiber_unref(&f[i]);
		assert_int_equal(msg_body(m[i], &b), 0);
		assert_int_equal(msg_env(m[i], &e), 0);
		snprintf(want, sizeof want, "Subject: %d\r\n\r\ntext\r\n", i);
		assert_true(slice_eq_cstr(msg_body_view(b), want));
		assert_int_equal(atoi(e->recipients[0].ptr + 1), i);
		msg_body_unref(&b);
		msg_env_unref(&e);
		msg_remove(m[i]);
		msg_unref(&m[i]);
	}
	spool_fini();
}
static void test_rocks_together(void **state) { check_together(SPOOL_ROCKSDB); }
static void test_local_together(void **state) { check_together(SPOOL_LOCAL_DISK); }

static void test_rocks(void **state) { check_round(SPOOL_ROCKSDB, false); }
static void test_rocks_flush(void **state) { check_round(SPOOL_ROCKSDB, true); }
static void test_local(void **state) { check_round(SPOOL_LOCAL_DISK, false); }
static void test_local_flush(void **state) { check_round(SPOOL_LOCAL_DISK, true); }

/* A body without envelope goes; an envelope that cannot be read stays, with its body. */
static void check_leftovers(int kind)
{
	struct msg *good = make(1), *orphan = make(2), *bad = make(3);
	assert_int_equal(open_both(kind, false), 0);
	assert_int_equal(msg_save(good), 0);
	assert_int_equal(msg_save(bad), 0);
	struct msg_body *b = msg_body_if_loaded(orphan);
	assert_int_equal(SPOOL_STORAGE.store(msg_id(orphan), NULL, b, false), 0);
	msg_body_unref(&b);
	struct msg_env *e = msg_env_create(SLICE("s"), NULL, 0);	/* nobody can read an envelope without recipient */
	assert_int_equal(SPOOL_STORAGE.store(msg_id(bad), e, NULL, true), 0);
	msg_env_unref(&e);
	spool_fini();

	struct seen s = { 0 };
	struct spool_walk w;
	uint64_t removed;
	spool_state.recheck_ms = 30;
	assert_int_equal(open_both(kind, false), 0);
	assert_int_equal(spool_enumerate(take, &s, &w), 0);
	assert_int_equal(w.found, 1);
	assert_int_equal(w.damaged, 1);
	assert_true(uuid_eq(msg_id(s.msgs[0]), msg_id(good)));
	drop_seen(&s);
	assert_int_equal(spool_sweep(&removed), 0);
	assert_int_equal(removed, 1);
	spool_fini();

	assert_int_equal(open_both(kind, false), 0);
	struct buf data = { 0 };
	assert_int_equal(spool_load(SPOOL_DATA, msg_id(orphan), &data), -E_NOENT);
	assert_int_equal(spool_load(SPOOL_DATA, msg_id(bad), &data), 0);
	assert_int_equal(spool_load(SPOOL_DATA, msg_id(good), &data), 0);
	buf_fini(&data);
	spool_fini();
	msg_unref(&good);
	msg_unref(&orphan);
	msg_unref(&bad);
}

static void test_leftovers(void **state)
{
	check_leftovers(SPOOL_LOCAL_DISK);
	check_leftovers(SPOOL_ROCKSDB);
}

/* Removed and stored again under the same id, in one breath. */
static void test_stored_again(void **state)
{
	for (int kind = SPOOL_LOCAL_DISK; kind <= SPOOL_ROCKSDB; kind++) {
		assert_int_equal(open_both(kind, false), 0);
		struct msg *m = make(1);
		assert_int_equal(msg_save(m), 0);
		struct msg_env *e = msg_env_if_loaded(m);
		struct msg_body *b = msg_body_if_loaded(m);
		assert_int_equal(spool_remove(msg_id(m)), 0);
		assert_int_equal(SPOOL_STORAGE.store(msg_id(m), e, b, false), 0);
		spool_fini();
		assert_int_equal(open_both(kind, false), 0);
		struct buf data = { 0 };
		assert_int_equal(spool_load(SPOOL_DATA, msg_id(m), &data), 0);
		assert_int_equal(spool_load(SPOOL_META, msg_id(m), &data), 0);
		buf_fini(&data);
		spool_fini();
		msg_env_unref(&e);
		msg_body_unref(&b);
		msg_unref(&m);
	}
}

/* A file where the first folder of some ids would be. */
static void put_file_for_folder(void)
{
	char path[256];
	for (int i = 0, fd = -1; i < 256 && fd < 0; i++) {
		snprintf(path, sizeof path, "%s/meta/data/%02x", dir, i);
		if ((fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600)) >= 0)
			close(fd);
	}
}

/* What is no file, or is too large for a message, stands where an envelope should. */
static void test_not_a_file(void **state)
{
	struct msg *m[4];
	assert_int_equal(open_both(SPOOL_LOCAL_DISK, false), 0);
	for (int i = 0; i < 4; i++) {
		m[i] = make(i);
		assert_int_equal(msg_save(m[i]), 0);
	}
	spool_fini();
	for (int i = 0; i < 3; i++) {
		struct buf id = { 0 };
		char path[256];
		uuid_put_simple(&id, msg_id(m[i]));
		const char *h = buf_cstr(&id);
		snprintf(path, sizeof path, "%s/meta/data/%.2s/%.2s/%.2s/%.2s/%s", dir, h, h + 2, h + 4, h + 6, h + 8);
		assert_int_equal(i < 2 ? unlink(path) : truncate(path, INT64_C(1) << 40), 0);
		if (i < 2)
			assert_int_equal(i ? mkfifo(path, 0600) : mkdir(path, 0700), 0);
		buf_fini(&id);
	}
	put_file_for_folder();
	struct seen s = { 0 };
	struct spool_walk w;
	assert_int_equal(open_both(SPOOL_LOCAL_DISK, false), 0);
	assert_int_equal(spool_enumerate(take, &s, &w), 0);
	assert_int_equal(w.found, 1);
	assert_int_equal(w.damaged, 3);
	drop_seen(&s);
	spool_fini();
	for (int i = 0; i < 4; i++)
		msg_unref(&m[i]);
}

static void test_refusals(void **state)
{
	assert_int_equal(spool_start(), -E_NOENT);
	assert_string_equal(err_text(), "start_spool: No spools have been defined");
	struct arena *a = arena_create();
	struct spool_opts o = options("meta", SPOOL_LOCAL_DISK, false, a);
	assert_int_equal(spool_define(&o), 0);
	assert_int_equal(spool_start(), -E_INVAL);
	assert_string_equal(err_text(), "start_spool: no spool named 'data' has been defined");
	char path[256];
	snprintf(path, sizeof path, "%s/file", dir);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	o.path = arena_slicef(a, "%s/data", path);
	assert_true(spool_define(&o) < 0);
	o.name = SLICE("data");
	o.path = slice_from_cstr(path);
	assert_true(spool_define(&o) < 0);
	assert_true(spool_start() < 0);
	struct slice want = arena_slicef(a, "Error in spool: Opening spool meta: while creating directory structure: %s/data: Not a directory; "
	    "Error in spool: Opening spool data: while creating directory structure: %s: File exists", path, path);
	assert_string_equal(err_text(), want.ptr);
	spool_fini();
	arena_destroy(&a);
}

/* A second process on the same spool. */
static void test_locked(void **state)
{
	assert_int_equal(open_both(SPOOL_LOCAL_DISK, false), 0);
	struct arena *a = arena_create();
	struct spool_opts o = options("data", SPOOL_LOCAL_DISK, false, a);
	char *path = arena_printf(a, "%s/data/lock", dir);
	assert_int_not_equal(system(arena_printf(a, "flock -n %s true", path)), 0);
	spool_fini();
	int fd = open(path, O_RDONLY | O_CLOEXEC);	/* a lock belongs to the open file: as good as another process */
	assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
	assert_int_equal(spool_define(&o), -E_EXIST);
	struct slice want = arena_slicef(a, "unable to lock pid file %s: Resource temporarily unavailable. Owned by pid %d.", path, (int)getpid());
	assert_string_equal(err_text(), want.ptr);
	close(fd);
	spool_fini();
	arena_destroy(&a);
}

static char *slurp(const char *path, size_t *len)
{
	FILE *f = fopen(path, "rb");
	if (f == NULL)
		return NULL;
	char *data = xmalloc(1 << 20);
	*len = fread(data, 1, 1 << 20, f);
	fclose(f);
	return data;
}

static void check_sample(struct msg *m, const struct val *list)
{
	struct buf id = { 0 }, queue = { 0 };
	uuid_put_simple(&id, msg_id(m));
	const struct val *want = NULL;
	for (uint32_t i = 0; i < list->n; i++)
		if (slice_eq(val_get_str(&list->items[i], SLICE("id")), buf_view(&id)))
			want = &list->items[i];
	assert_non_null(want);
	const struct val *inner = val_get_lit(want, "message");
	struct msg_env *e = msg_env_if_loaded(m);
	struct msg_body *b;
	assert_int_equal(msg_body(m, &b), 0);
	assert_true(slice_eq(e->sender, val_get_str(inner, SLICE("sender"))));
	assert_true(slice_eq(e->recipients[0], val_get_str(inner, SLICE("recipient"))));
	assert_true(val_eq(&e->meta, val_get_lit(inner, "meta")));
	assert_true(slice_eq(msg_body_view(b), val_get_str(inner, SLICE("data"))));
	assert_int_equal(msg_queue_name(m, &queue), 0);
	assert_true(slice_eq(buf_view(&queue), val_get_str(want, SLICE("queue"))));
	const struct val *sched = val_get_lit(inner, "scheduling");
	assert_int_equal(e->schedule.present, sched != NULL && sched->type == VAL_OBJ);
	if (e->schedule.present) {
		struct val printed;
		msg_schedule_print(&e->schedule, e->arena, &printed);
		assert_true(val_eq(&printed, sched));
	}
	msg_env_unref(&e);
	msg_body_unref(&b);
	buf_fini(&id);
	buf_fini(&queue);
}

static void test_samples(void **state)
{
	static const char *const KINDS[] = { "LocalDisk", "RocksDB" };
	const char *samples = getenv("SPOOL_SAMPLES");
	if (samples == NULL)
		skip();
	for (int kind = 0; kind < 2; kind++) {
		struct arena *a = arena_create();
		size_t len = 0;
		char *json = slurp(arena_printf(a, "%s/%s.json", samples, KINDS[kind]), &len);
		struct val root;
		assert_non_null(json);
		assert_int_equal(json_parse(slice_new(json, len), a, &root), 0);
		const struct val *list = val_get_lit(&root, "messages");
		free(dir);
		dir = xasprintf("%s/%s", samples, KINDS[kind]);
		assert_int_equal(open_both(kind, false), 0);
		struct seen s = { 0 };
		struct spool_walk w;
		assert_int_equal(spool_enumerate(take, &s, &w), 0);
		assert_int_equal(w.damaged, 0);
		assert_int_equal(w.found, list->n);
		for (size_t i = 0; i < s.n; i++)
			check_sample(s.msgs[i], list);
		drop_seen(&s);
		spool_fini();
		free(json);
		arena_destroy(&a);
	}
	free(dir);
	new_dir(NULL);
}

static int failed;
static void run(void *arg)
{
#define T(f) cmocka_unit_test_setup_teardown(f, new_dir, end_dir)
	const struct CMUnitTest tests[] = { T(test_rocks), T(test_rocks_flush), T(test_local), T(test_local_flush), T(test_rocks_together), T(test_local_together), T(test_leftovers), T(test_stored_again),
		T(test_not_a_file), T(test_refusals), T(test_locked), T(test_samples) };
	failed = cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void)
{
	if (rt_init(&(struct rt_conf){ .shards = 1 }) < 0)
		return 1;
	spool_metrics_init();
	rt_run(run, NULL);
	rt_fini();
	return failed;
}
