/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include "msg/msg.h"

static void round_trip(const char *json, const char *want)
{
	struct msg_env *e;
	assert_int_equal(msg_env_parse_json(slice_from_cstr(json), &e), 0);
	struct buf b = { 0 };
	msg_env_put_json(&b, e);
	assert_string_equal(buf_cstr(&b), want ? want : json);
	buf_fini(&b);
	msg_env_unref(&e);
}

static void test_json(void **state)
{
	round_trip("{\"sender\":\"s@x\",\"recipient\":\"r@y\",\"meta\":{\"a\":[1,\"two\",false],\"b\":0.5},\"schedule\":null}", NULL);
	round_trip("{\"sender\":\"\",\"recipient\":[\"a@y\",\"b@y\"],\"meta\":{},\"schedule\":{\"dow\":\"Mon,Tue\",\"tz\":\"Europe/Amsterdam\","
		   "\"start\":\"09:00:00\",\"end\":\"17:00:00\",\"first_attempt\":\"1996-12-19T16:39:57-08:00\",\"expires\":\"2036-01-01T00:00:00Z\"}}", NULL);
	/* a list of one is written as a string; meta comes out sorted; schedule may be missing; what is unknown is ignored */
	round_trip("{\"meta\":{\"b\":1,\"a\":2},\"recipient\":[\"m\xc3\xbcnze@y\"],\"sender\":\"s\",\"x\":1}",
	    "{\"sender\":\"s\",\"recipient\":\"m\xc3\xbcnze@y\",\"meta\":{\"a\":2,\"b\":1},\"schedule\":null}");
}

static void test_damaged(void **state)
{
	static const char *const BAD[] = { "", "{", "[]", "{}", "{\"sender\":\"s\",\"recipient\":[],\"meta\":{}}",
		"{\"sender\":1,\"recipient\":\"r\",\"meta\":{}}", "{\"sender\":\"s\",\"recipient\":[1],\"meta\":{}}",
		"{\"sender\":\"s\",\"recipient\":\"r\",\"meta\":[]}", "{\"sender\":\"s\",\"recipient\":\"r\",\"meta\":{},\"schedule\":{\"dow\":\"Mon\"}}" };
	for (size_t i = 0; i < ARRAY_LEN(BAD); i++) {
		struct msg_env *e = NULL;
		assert_true(msg_env_parse_json(slice_from_cstr(BAD[i]), &e) < 0);
		assert_null(e);
	}
}

static void test_counts(void **state)
{
	int64_t before = msg_bytes_in_memory();
	struct msg_body *b = msg_body_copy(SLICE("12345"));
	struct msg_body *again = msg_body_ref(b);
	assert_int_equal(msg_bytes_in_memory(), before + 5);
	msg_body_unref(&b);
	assert_int_equal(msg_bytes_in_memory(), before + 5);
	msg_body_unref(&again);
	assert_int_equal(msg_bytes_in_memory(), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_json), cmocka_unit_test(test_damaged), cmocka_unit_test(test_counts) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
