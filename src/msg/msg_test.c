/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include "msg/msg.h"

static struct slice RCPT = SLICE_INIT("User@A.Example");

static struct msg *make(void)
{
	return msg_create(uuid_v1(), msg_env_create(SLICE("s@x"), &RCPT, 1), msg_body_copy(SLICE("Subject: x\r\n\r\nhi\r\n")));
}

/* A spool of one message. */
static struct {
	struct buf env, body;
	int stores, loads, removes, fail;
	struct msg *remove_during_store;
} disk;

static int disk_load_env(struct uuid id, struct msg_env **out)
{
	disk.loads++;
	return msg_env_parse_json(buf_view(&disk.env), out);
}

static int disk_load_body(struct uuid id, struct msg_body **out)
{
	disk.loads++;
	*out = msg_body_copy(buf_view(&disk.body));
	return 0;
}

static int disk_store(struct uuid id, const struct msg_env *env, const struct msg_body *body, bool sync)
{
	disk.stores++;
	if (disk.fail)
		return err_set(E_IO, "disk is on fire");
	if (body) {
		buf_clear(&disk.body);
		buf_slice(&disk.body, msg_body_view(body));
	}
	if (env) {
		buf_clear(&disk.env);
		msg_env_put_json(&disk.env, env);
	}
	if (disk.remove_during_store)
		msg_remove(disk.remove_during_store);
	return 0;
}

static int disk_remove(struct uuid id)
{
	disk.removes++;
	return 0;
}

static int setup(void **state)
{
	buf_fini(&disk.env);
	buf_fini(&disk.body);
	memset(&disk, 0, sizeof disk);
	msg_set_storage(&(struct msg_storage){ disk_load_env, disk_load_body, disk_store, disk_remove });
	return 0;
}

static int teardown(void **state)
{
	buf_fini(&disk.env);
	buf_fini(&disk.body);
	assert_int_equal(msg_bytes_in_memory(), 0);
	assert_int_equal(msg_count_in_memory(), 0);
	return 0;
}

static void set(struct msg *m, const char *key, const char *value)
{
	struct val v = value ? (struct val){ .type = VAL_STR, .s = slice_from_cstr(value) } : val_null();
	assert_int_equal(msg_meta_set(m, slice_from_cstr(key), &v), 0);
}

static void check_name(struct msg *m, const char *want)
{
	struct buf b = { 0 };
	assert_int_equal(msg_queue_name(m, &b), 0);
	assert_string_equal(buf_cstr(&b), want);
	buf_fini(&b);
}

static void test_queue_names(void **state)
{
	struct msg *m = make();
	check_name(m, "a.example");
	set(m, "routing_domain", "b.example");
	check_name(m, "a.example!b.example");
	set(m, "tenant", "t1");
	check_name(m, "t1@a.example!b.example");
	set(m, "campaign", "c1");
	check_name(m, "c1:t1@a.example!b.example");
	set(m, "routing_domain", NULL);
	check_name(m, "c1:t1@a.example");
	set(m, "tenant", NULL);
	check_name(m, "c1:@a.example");
	set(m, "campaign", NULL);
	set(m, "tenant", "");
	check_name(m, "@a.example");
	set(m, "queue", "x:y@b.example");
	check_name(m, "x:y@b.example");
	struct val n = val_int(1);
	assert_int_equal(msg_meta_set(m, SLICE("queue"), &n), 0);
	struct buf b = { 0 };
	assert_int_equal(msg_queue_name(m, &b), -E_INVAL);
	assert_string_equal(err_text(), "expected 'queue' to be a string value, got integer");
	msg_unref(&m);
}

static void test_save_shrink_load(void **state)
{
	struct msg *m = make();
	set(m, "k", "v");
	assert_int_equal(msg_shrink(m), 0);
	assert_null(msg_env_if_loaded(m));
	assert_null(msg_body_if_loaded(m));
	assert_int_equal(disk.stores, 1);
	assert_int_equal(msg_flags(m), MSG_SPOOLED);
	check_name(m, "a.example");
	struct msg_body *b;
	assert_int_equal(msg_body(m, &b), 0);
	assert_int_equal(b->len, 18);
	msg_body_unref(&b);
	assert_int_equal(disk.loads, 2);
	assert_int_equal(msg_save(m), 0);	/* nothing is dirty */
	assert_int_equal(disk.stores, 1);
	msg_remove(m);
	msg_remove(m);
	assert_int_equal(disk.removes, 1);
	set(m, "k", "after the end");
	assert_int_equal(msg_save(m), 0);
	assert_int_equal(disk.stores, 1);
	msg_unref(&m);
}

static void test_failed_store_keeps_all(void **state)
{
	struct msg *m = make();
	disk.fail = 1;
	assert_int_equal(msg_shrink(m), -E_IO);
	assert_int_equal(msg_flags(m), MSG_META_DIRTY | MSG_DATA_DIRTY | MSG_SPOOLED);
	struct msg_body *b = msg_body_if_loaded(m);
	assert_non_null(b);
	msg_body_unref(&b);
	msg_remove(m);		/* half of it may be there */
	assert_int_equal(disk.removes, 1);
	msg_unref(&m);
}

static void test_removed_while_storing(void **state)
{
	struct msg *m = make();
	disk.remove_during_store = m;
	assert_int_equal(msg_save(m), 0);
	assert_int_equal(disk.removes, 2);	/* the second one is behind the store */
	msg_unref(&m);
}

static void test_readers_are_undisturbed(void **state)
{
	struct msg *m = make();
	struct msg_env *before;
	assert_int_equal(msg_env(m, &before), 0);
	set(m, "k", "v");
	assert_null(val_get_lit(&before->meta, "k"));
	msg_env_unref(&before);
	assert_int_equal(msg_env(m, &before), 0);
	assert_non_null(val_get_lit(&before->meta, "k"));
	msg_env_unref(&before);
	for (int i = 0; i < 20000; i++)		/* replaced values don't pile up */
		set(m, "k", "some value that takes a little room");
	assert_int_equal(msg_env(m, &before), 0);
	assert_true(arena_bytes(before->arena) < 200000);
	msg_env_unref(&before);
	msg_unref(&m);
}

static void test_schedule(void **state)
{
	struct msg *m = make();
	struct msg_schedule s = { .present = true, .has_first_attempt = true, .first_attempt_us = 5000000 };
	msg_set_due_us(m, 1000000);
	assert_int_equal(msg_set_schedule(m, &s), 0);
	assert_int_equal(msg_due_us(m), 5000000);
	assert_int_equal(msg_shrink(m), 0);
	assert_int_equal(msg_set_due_scheduled(m, 2000000), 0);	/* reads the envelope again */
	assert_int_equal(msg_due_us(m), 5000000);
	assert_int_equal(msg_set_due_scheduled(m, 7000000), 0);
	assert_int_equal(msg_due_us(m), 7000000);
	assert_int_equal(msg_set_schedule(m, NULL), 0);
	assert_int_equal(msg_set_due_scheduled(m, 0), 0);
	assert_int_equal(msg_due_us(m), 0);
	msg_unref(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_queue_names, setup, teardown),
		cmocka_unit_test_setup_teardown(test_save_shrink_load, setup, teardown),
		cmocka_unit_test_setup_teardown(test_failed_store_keeps_all, setup, teardown),
		cmocka_unit_test_setup_teardown(test_removed_while_storing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_readers_are_undisturbed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_schedule, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
