/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/arena.h"
#include "logs/segment.h"
#include "logs/tail.h"
#include "rt/diag.h"

static char dir[64];
static struct arena *arena;

static int setup(void **state)
{
	strcpy(dir, "/tmp/kumo-tail-XXXXXX");
	assert_non_null(mkdtemp(dir));
	arena = arena_create();
	return 0;
}

static int teardown(void **state)
{
	assert_int_equal(system(arena_printf(arena, "rm -rf %s", dir)), 0);
	arena_destroy(&arena);
	return 0;
}

static struct segment *begin(void)
{
	struct segment *s;
	assert_int_equal(segment_open(dir, "", "", 1, 0, &s), 0);
	return s;
}

static void add(struct segment *s, const char *text)
{
	segment_put(s, slice_from_cstr(text));
	assert_int_equal(segment_flush(s), 0);
}

static struct tail *start(const char *pattern, const struct tail_pos *from)
{
	struct tail *t;
	assert_int_equal(tail_open(dir, slice_from_cstr(pattern), from, &t), 0);
	return t;
}

static void expect(struct tail *t, const char *want)
{
	struct slice line;
	assert_int_equal(tail_next(t, &line), want != NULL);
	if (want != NULL)
		assert_true(slice_eq_cstr(line, want));
}

static void test_grows(void **state)
{
	struct tail *t = start("*", NULL);
	expect(t, NULL);
	struct segment *one = begin();
	add(one, "a\nb\nhal");
	expect(t, "a");
	expect(t, "b");
	expect(t, NULL);	/* a line without its end may go on */
	add(one, "f\n");
	expect(t, "half");
	struct segment *two = begin();
	add(two, "c\n");
	expect(t, NULL);	/* the first may go on */
	add(one, "last");
	assert_int_equal(segment_finish(&one), 0);
	expect(t, "last");	/* complete: so is its last line */
	expect(t, "c");
	expect(t, NULL);
	assert_int_equal(segment_finish(&two), 0);
	expect(t, NULL);
	tail_close(&t);
}

static void test_checkpoint(void **state)
{
	struct segment *s = begin();
	add(s, "1\n2\n3\n");
	assert_int_equal(segment_finish(&s), 0);
	s = begin();
	add(s, "4\n");
	assert_int_equal(segment_finish(&s), 0);
	struct tail_pos p = { 0 };
	assert_int_equal(checkpoint_load(dir, "cp", &p), 0);
	assert_null(p.file);
	static const char *const LINES[] = { "1", "2", "3", "4", NULL };
	for (int i = 0; i < 5; i++) {	/* a reader that ends after each line */
		struct tail *t = start("*", &p);
		expect(t, LINES[i]);
		if (LINES[i] != NULL)
			assert_int_equal(checkpoint_save(dir, "cp", tail_at(t)), 0);
		assert_int_equal(checkpoint_load(dir, "cp", &p), 0);
		tail_close(&t);
	}
	assert_int_equal(p.line, 1);
	assert_int_equal(tail_newest(dir, SLICE("*"), &p), 0);
	struct tail *t = start("*", &p);
	expect(t, "4");
	tail_close(&t);
	FILE *f = fopen(arena_printf(arena, "%s/.cp", dir), "w");
	fputs("nonsense", f);
	fclose(f);
	assert_int_equal(checkpoint_load(dir, "cp", &p), -E_INVAL);
	tail_pos_fini(&p);
}

static void test_foreign_files(void **state)
{
	FILE *f = fopen(arena_printf(arena, "%s/0-notes.txt", dir), "w");
	fputs("no zstd at all", f);
	fclose(f);
	struct segment *s = begin();
	add(s, "1\n2\n");
	const char *path = arena_printf(arena, "%s", segment_path(s));
	assert_int_equal(segment_finish(&s), 0);
	struct tail *t = start("*", NULL);
	expect(t, "1");
	expect(t, "2");
	expect(t, NULL);
	tail_close(&t);
	/* cut off in the middle, and complete: what can be read is given */
	chmod(path, 0644);
	assert_int_equal(truncate(path, 6), 0);
	chmod(path, 0444);
	s = begin();
	add(s, "3\n");
	t = start("2*", NULL);
	expect(t, "3");
	expect(t, NULL);
	segment_abandon(&s);
	tail_close(&t);
	struct tail *none;
	assert_int_equal(tail_open("/nowhere", SLICE("*"), NULL, &none), -E_NOENT);
}

int main(void)
{
	if (diag_init("off", DIAG_FULL, NULL) < 0)
		return 1;
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = { T(test_grows), T(test_checkpoint), T(test_foreign_files) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
