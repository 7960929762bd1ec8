/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/arena.h"
#include "base/encode.h"
#include "base/err.h"
#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "base/nearest.h"
#include "base/rand.h"
#include "base/utf8.h"
#include "base/uuid.h"

#define assert_slice(s, text) do { struct slice s_ = (s); assert_int_equal(s_.len, strlen(text)); assert_memory_equal(s_.ptr, text, s_.len); } while (0)

static void test_buf(void **state)
{
	struct buf b = { 0 };
	buf_printf(&b, "%0*d", 200, 7);
	assert_int_equal(b.len, 200);
	buf_clear(&b);
	buf_u64(&b, UINT64_MAX);
	buf_putc(&b, ' ');
	buf_i64(&b, INT64_MIN);
	assert_string_equal(buf_cstr(&b), "18446744073709551615 -9223372036854775808");
	buf_consume(&b, 21);
	buf_truncate(&b, 3);
	assert_slice(buf_view(&b), "-92");
	size_t len;
	char *p = buf_take(&b, &len);
	assert_string_equal(p, "-92");
	free(p);
	assert_null(b.ptr);
}

static void test_arena(void **state)
{
	struct arena *a = arena_create();
	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < 2000; i++) {
			char *p = arena_alloc(a, i % 300);
			assert_int_equal((uintptr_t)p % 16, 0);
			for (size_t k = 0; k < i % 300; k++)
				assert_int_equal(p[k], 0);
			memset(p, 0xff, i % 300);
		}
		char *large = arena_alloc(a, 1 << 20);
		memset(large, 0xff, 1 << 20);
		assert_true(arena_bytes(a) > 1 << 20);
		assert_string_equal(arena_printf(a, "%s-%d", "x", 5), "x-5");
		assert_slice(arena_dup(a, SLICE("abc")), "abc");
		arena_reset(a);
		assert_int_equal(arena_bytes(a), 0);
	}
	arena_destroy(&a);
	assert_null(a);
}

static void test_err(void **state)
{
	assert_int_equal(err_set(E_NOENT, "%s", "no file"), -E_NOENT);
	err_prefix("reading %s", "x");
	assert_string_equal(err_text(), "reading x: no file");
	err_set(E_INVAL, "again: %s", err_text());
	assert_string_equal(err_text(), "again: reading x: no file");
	struct err_text mine = { 0 };
	assert_null(err_swap(&mine));
	assert_string_equal(err_text(), "");
	err_set(E_IO, "%10000s", "x");
	assert_int_equal(mine.len, ERR_TEXT_MAX - 1);
	err_prefix("p");
	assert_ptr_equal(err_swap(NULL), &mine);
	assert_string_equal(err_text(), "again: reading x: no file");
	assert_string_equal(err_name(-E_TIMEOUT), "timed out");
	err_clear();
	assert_string_equal(err_text(), "");
}

static void test_slice(void **state)
{
	struct slice rest = SLICE("a,,b"), part;
	assert_true(slice_split_next(&rest, ',', &part));
	assert_slice(part, "a");
	assert_true(slice_split_next(&rest, ',', &part));
	assert_slice(part, "");
	assert_true(slice_split_next(&rest, ',', &part));
	assert_slice(part, "b");
	assert_false(slice_split_next(&rest, ',', &part));
	assert_slice(slice_trim(SLICE(" \r\n x y\t")), "x y");
	assert_true(slice_eq_nocase(SLICE("aBc[@"), SLICE("AbC[@")));
	assert_false(slice_eq_nocase(SLICE("["), SLICE("{")));
	assert_true(slice_ends_nocase(SLICE("a.ORG"), SLICE(".org")));
	assert_int_equal(slice_find(SLICE("hello"), SLICE("lo")), 3);
	assert_int_equal(slice_find_nocase(SLICE("heLLo"), SLICE("ll")), 2);
	assert_int_equal(slice_rchr(SLICE("a@b@c"), '@'), 3);
	assert_true(slice_cmp(SLICE("a"), SLICE("ab")) < 0);
}

static void test_numbers(void **state)
{
	uint64_t u;
	int64_t i;
	assert_int_equal(slice_to_u64(SLICE("18446744073709551615"), &u), 0);
	assert_true(u == UINT64_MAX);
	assert_int_equal(slice_to_u64(SLICE("18446744073709551616"), &u), -E_INVAL);
	assert_int_equal(slice_to_u64(SLICE(""), &u), -E_INVAL);
	assert_int_equal(slice_to_u64(SLICE("+1"), &u), -E_INVAL);
	assert_int_equal(slice_to_i64(SLICE("-9223372036854775808"), &i), 0);
	assert_true(i == INT64_MIN);
	assert_int_equal(slice_to_i64(SLICE("9223372036854775808"), &i), -E_INVAL);
	assert_int_equal(slice_to_i64(SLICE("-"), &i), -E_INVAL);
}

static void test_map(void **state)
{
	enum { N = 5000 };
	struct map m = { 0 };
	static int values[N];
	char key[32];
	assert_null(map_get(&m, SLICE("x")));
	assert_null(map_del(&m, SLICE("x")));
	for (int i = 0; i < N; i++) {
		snprintf(key, sizeof key, "key %d", i);
		assert_null(map_put(&m, slice_from_cstr(key), &values[i]));
	}
	assert_ptr_equal(map_put(&m, SLICE("key 7"), &values[7]), &values[7]);
	for (int i = 0; i < N; i += 2) {
		snprintf(key, sizeof key, "key %d", i);
		assert_ptr_equal(map_del(&m, slice_from_cstr(key)), &values[i]);
	}
	assert_int_equal(map_len(&m), N / 2);
	for (int i = 0; i < N; i++) {
		snprintf(key, sizeof key, "key %d", i);
		assert_ptr_equal(map_get(&m, slice_from_cstr(key)), i % 2 ? &values[i] : NULL);
	}
	struct map_iter it = { 0 };
	int seen = 0;
	while (map_next(&m, &it))
		seen++;
	assert_int_equal(seen, N / 2);
	assert_null(map_put(&m, SLICE(""), values));
	assert_ptr_equal(map_get(&m, SLICE_NONE), values);
	map_fini(&m);
}

static void test_heap(void **state)
{
	enum { N = 1000 };
	static struct heap_node nodes[N];
	struct heap h = { 0 };
	for (int i = 0; i < N; i++)
		heap_push(&h, &nodes[i], (int64_t)rand_below(500));
	for (int i = 0; i < N; i += 3)
		heap_remove(&h, &nodes[i]);
	for (int i = 1; i < N; i += 3)
		heap_update(&h, &nodes[i], (int64_t)rand_below(500));
	heap_remove(&h, &nodes[0]);
	int64_t last = -1;
	int n = 0;
	for (struct heap_node *min; (min = heap_min(&h)) != NULL; n++) {
		assert_true(min->key >= last);
		last = min->key;
		heap_remove(&h, min);
		assert_false(heap_has(min));
	}
	assert_int_equal(n, N - (N + 2) / 3);
	heap_fini(&h);
}

static void test_list(void **state)
{
	struct list a, b, n[4];
	list_init(&a);
	list_init(&b);
	for (int i = 0; i < 4; i++)
		list_push(i < 2 ? &a : &b, &n[i]);
	list_splice(&a, &b);
	assert_true(list_empty(&b));
	for (int i = 0; i < 4; i++)
		assert_ptr_equal(list_pop(&a), &n[i]);
	assert_null(list_pop(&a));
}

static void test_encode(void **state)
{
	static const char *const std[] = { "", "+w==", "++8=", "++++", "++++/w==" };
	static const char *const url[] = { "", "-w", "--8", "----", "----_w" };
	const struct slice in = SLICE("\xfb\xef\xbe\xff");
	struct buf b = { 0 };
	assert_int_equal(0, base64_decode(&b, SLICE("++++/w=="), BASE64_STD));
	assert_true(slice_eq(buf_view(&b), in));
	buf_clear(&b);
	static const char *const bytes[] = { "", "\xfb", "\xfb\xef", "\xfb\xef\xbe", "\xfb\xef\xbe\xff" };
	for (int i = 0; i < 5; i++) {
		buf_clear(&b);
		base64_put(&b, slice_from_cstr(bytes[i]), BASE64_STD);
		assert_string_equal(buf_cstr(&b), std[i]);
		buf_clear(&b);
		base64_put(&b, slice_from_cstr(bytes[i]), BASE64_URL_NOPAD);
		assert_string_equal(buf_cstr(&b), url[i]);
		buf_clear(&b);
		assert_int_equal(base64_decode(&b, slice_from_cstr(url[i]), BASE64_URL_NOPAD), 0);
		assert_string_equal(buf_cstr(&b), bytes[i]);
	}
	static const char *const bad[] = { "A", "AA", "AAA", "AA=A", "AB==", "A===", "====", "AAAA=", "AA==AAAA", "AA A", "A\xff==" };
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(base64_decode(&b, slice_from_cstr(bad[i]), BASE64_STD), -E_INVAL);
	buf_clear(&b);
	base64_decode_lenient(&b, SLICE("aGVs\r\n bG8*"));
	assert_string_equal(buf_cstr(&b), "hello");
	buf_clear(&b);
	percent_put(&b, SLICE("a b/\xc3\xa9~"), "~");
	assert_string_equal(buf_cstr(&b), "a%20b%2F%C3%A9~");
	buf_clear(&b);
	assert_int_equal(percent_decode(&b, SLICE("a%20b+%c3%A9")), 0);
	assert_string_equal(buf_cstr(&b), "a b+\xc3\xa9");
	assert_int_equal(percent_decode(&b, SLICE("%2")), -E_INVAL);
	assert_int_equal(percent_decode(&b, SLICE("%zz")), -E_INVAL);
	assert_int_equal(hex_decode(&b, SLICE("abc")), -E_INVAL);
	assert_int_equal(hex_decode(&b, SLICE("0g")), -E_INVAL);
	buf_fini(&b);
}

static void test_utf8(void **state)
{
	static const char *const good[] = { "", "plain ascii text", "\xc2\x80", "\xef\xbf\xbf", "\xf4\x8f\xbf\xbf", "\xed\x9f\xbf", "12345678\xc3\xa9" };
	static const char *const bad[] = { "\x80", "\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80",
		"\xf5\x80\x80\x80", "\xff", "\xe2\x82", "12345678\xc3" };
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		assert_true(utf8_valid(slice_from_cstr(good[i])));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(utf8_valid(slice_from_cstr(bad[i])));
	struct buf b = { 0 };
	/* example of Unicode 3.9, table 3-11 */
	utf8_put_lossy(&b, SLICE("\xe1\x80\xe2\xf0\x91\x92\xf1\xbf\x41"));
	assert_string_equal(buf_cstr(&b), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\x41");
	buf_clear(&b);
	for (uint32_t cp = 0, got; cp <= 0x10ffff; cp += cp == 0xd7ff ? 0x801 : 1) {
		buf_clear(&b);
		utf8_put(&b, cp);
		assert_int_equal(utf8_decode(buf_view(&b), &got), b.len);
		assert_int_equal(got, cp);
	}
	assert_int_equal(utf8_count(SLICE("a\xc3\xa9\xf0\x9f\x98\x80")), 3);
	buf_fini(&b);
}

static void test_uuid(void **state)
{
	struct uuid last = uuid_v1(), u;
	struct buf b = { 0 };
	for (int i = 0; i < 10000; i++) {
		u = uuid_v1();
		assert_false(uuid_eq(u, last));
		assert_true(uuid_v1_us(u) >= uuid_v1_us(last));
		last = u;
	}
	static const uint8_t node[6] = { 1, 2, 3, 4, 5, 6 };
	u = uuid_v1_at(1700000000123456, 0x1234, node);
	assert_true(uuid_v1_us(u) == 1700000000123456);
	uuid_put(&b, u);
	assert_string_equal(buf_cstr(&b), "04c29680-833b-11ee-9234-010203040506");
	assert_int_equal(uuid_parse(buf_view(&b), &last), 0);
	assert_true(uuid_eq(u, last));
	assert_int_equal(uuid_parse(SLICE("urn:uuid:04C29680-833B-11EE-9234-010203040506"), &last), 0);
	assert_int_equal(uuid_parse(SLICE("{04c29680-833b-11ee-9234-010203040506}"), &last), 0);
	assert_int_equal(uuid_parse(SLICE("04c29680833b11ee9234010203040506"), &last), 0);
	assert_true(uuid_eq(u, last));
	assert_int_equal(uuid_parse(SLICE("04c29680833b11ee923401020304050"), &last), -E_INVAL);
	assert_int_equal(uuid_parse(SLICE("04c29680-833b-11ee-9234x010203040506"), &last), -E_INVAL);
	assert_int_equal(uuid_parse(SLICE("04c2968083-3b-11ee-9234-010203040506"), &last), -E_INVAL);
	last = uuid_v1_twin(u);
	assert_memory_equal(&last, &u, 8);	/* the time, to the tick */
	assert_false(uuid_eq(last, u) || uuid_eq(last, uuid_v1_twin(u)));
	assert_true(uuid_v1_us(uuid_v1_twin(uuid_v4())) > 0);
	assert_int_equal(uuid_v4().bytes[6] >> 4, 4);
	assert_int_equal(uuid_v7().bytes[6] >> 4, 7);
	int64_t early = uuid_v1_us(uuid_v1());
	assert_true(uuid_v1_us(uuid_v6()) >= early);
	assert_int_equal(uuid_v1_us(uuid_v4()), -1);
	buf_fini(&b);
}

static void test_nearest(void **state)
{
	static const char *const names[] = { "listen", "hostname", "client_timeout", NULL };
	assert_string_equal(nearest_name(SLICE("lisen"), names), "listen");
	assert_string_equal(nearest_name(SLICE("HostName"), names), "hostname");
	assert_string_equal(nearest_name(SLICE("client_timeuot"), names), "client_timeout");
	assert_null(nearest_name(SLICE("zzzzzz"), names));
	assert_null(nearest_name(SLICE(""), names));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_buf), cmocka_unit_test(test_arena), cmocka_unit_test(test_err), cmocka_unit_test(test_slice),
		cmocka_unit_test(test_numbers), cmocka_unit_test(test_map), cmocka_unit_test(test_heap), cmocka_unit_test(test_list),
		cmocka_unit_test(test_encode), cmocka_unit_test(test_utf8), cmocka_unit_test(test_uuid),
		cmocka_unit_test(test_nearest),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
