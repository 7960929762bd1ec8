/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "codec/val.h"

static void key_of(char out[16], int i)
{
	snprintf(out, 16, "k%d", i);
}

static void test_large_objects(void **state)
{
	enum { N = 3000 };
	struct arena *a = arena_create();
	struct val o = val_obj();
	char key[16];
	for (int i = 0; i < N; i++) {
		key_of(key, i);
		val_put(a, &o, slice_from_cstr(key), val_int(i));
	}
	val_put(a, &o, SLICE("k5"), val_int(-5));
	assert_int_equal(o.n, N);
	for (int i = 0; i < N; i += 2) {
		key_of(key, i);
		if (i % 100 == 0)
			assert_true(val_remove(&o, slice_from_cstr(key)));
	}
	assert_false(val_remove(&o, SLICE("none")));
	struct val copy = val_copy(a, &o);
	val_sort(&o);
	assert_true(val_eq(&o, &copy));
	for (int i = 0; i < N; i++) {
		key_of(key, i);
		const struct val *v = val_get(&o, slice_from_cstr(key)), *w = val_get(&copy, slice_from_cstr(key));
		if (i % 100 == 0) {
			assert_null(v);
			assert_null(w);
			continue;
		}
		assert_non_null(v);
		assert_int_equal(v->i, i == 5 ? -5 : i);
		assert_int_equal(w->i, v->i);
	}
	for (uint32_t i = 1; i < o.n; i++)
		assert_true(slice_cmp(o.members[i - 1].key, o.members[i].key) < 0);
	val_put(a, &copy, SLICE("one more"), val_null());
	assert_false(val_eq(&o, &copy));
	arena_destroy(&a);
}

static void test_small(void **state)
{
	struct arena *a = arena_create();
	struct val o = val_obj();
	val_put_lit(a, &o, "s", val_str(a, SLICE("x\0y")));
	struct val *l = val_put_lit(a, &o, "l", val_list());
	for (int i = 0; i < 10; i++)
		val_push(a, l, val_int(i));
	assert_int_equal(val_get_str(&o, SLICE("s")).len, 3);
	assert_null(val_get_str(&o, SLICE("l")).ptr);
	assert_null(val_get(&o, SLICE("nope")));
	assert_null(val_get(l, SLICE("nope")));
	assert_null(val_get(NULL, SLICE("nope")));
	assert_int_equal(val_get_lit(&o, "l")->items[9].i, 9);
	assert_int_equal(val_uint(UINT64_MAX).type, VAL_UINT);
	assert_int_equal(val_uint(1).type, VAL_INT);
	struct vdoc *d = vdoc_copy_of(&o), *e = vdoc_ref(d);
	vdoc_unref(&d);
	assert_null(d);
	assert_true(val_eq(&e->root, &o));
	vdoc_unref(&e);
	vdoc_unref(&e);
	arena_destroy(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_large_objects), cmocka_unit_test(test_small) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
