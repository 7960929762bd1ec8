/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>
#include "queue/conf/config.h"

static struct arena *arena;

static struct val parse(const char *json)
{
	struct val v;
	assert_int_equal(json_parse(slice_from_cstr(json), arena, &v), 0);
	return v;
}

static struct conf *make(enum conf_kind_id kind, const char *json)
{
	struct val v = parse(json);
	struct conf *c = NULL;
	if (conf_make(kind, &v, &c) < 0)
		fail_msg("%s: %s", json, err_text());
	return c;
}

static void refuse(enum conf_kind_id kind, const char *json, const char *text)
{
	struct val v = parse(json);
	struct conf *c = NULL;
	assert_true(conf_make(kind, &v, &c) < 0);
	if (!strstr(err_text(), text))
		fail_msg("%s: \"%s\" does not say \"%s\"", json, err_text(), text);
}

static char *print(const struct conf *c, const char *field)
{
	struct val v;
	struct buf b = { 0 };
	conf_print(c, false, arena, &v);
	const struct val *m = val_get(&v, slice_from_cstr(field));
	if (m)
		json_put(&b, m, JSON_SORTED);
	char *s = arena_strdup(arena, buf_view(&b));
	buf_fini(&b);
	return s;
}

static int setup(void **state)
{
	arena = arena_create();
	return 0;
}
static int teardown(void **state)
{
	arena_destroy(&arena);
	return 0;
}

static void defaults(void **state)
{
	struct conf *c = make(CONF_PATH, "{}");
	const struct path_opts *o = path_opts_of(c);
	assert_int_equal(o->connection_limit.limit, 32);
	assert_int_equal(o->max_ready, 1024);
	assert_int_equal(o->idle_timeout, 5000000000);
	assert_int_equal(o->data_dot_timeout, 300000000000);
	assert_string_equal(print(c, "prohibited_hosts"), "[\"0.0.0.0\",\"127.0.0.0/8\",\"::/127\"]");
	assert_string_equal(print(c, "connection_limit"), "{\"force_local\":false,\"limit\":32}");
	assert_string_equal(print(c, "max_message_rate"), "null");
	assert_string_equal(print(c, "system_shutdown_timeout"), "null");
	conf_unref(&c);
	c = make(CONF_QUEUE, "{}");
	assert_string_equal(print(c, "protocol"), "{\"smtp\":{\"mx_list\":[],\"treat_mx_list_as_secure\":false}}");
	assert_string_equal(print(c, "retry_interval"), "\"20m\"");
	assert_string_equal(print(c, "max_retry_interval"), "null");
	assert_string_equal(print(c, "strategy"), "\"SingletonTimerWheel\"");
	conf_unref(&c);
}

static void interned(void **state)
{
	struct conf *a = make(CONF_QUEUE, "{\"egress_pool\":\"p\",\"max_age\":\"1h\"}"), *b = make(CONF_QUEUE, "{\"max_age\":\"1h\",\"egress_pool\":\"p\"}");
	assert_ptr_equal(a, b);
	struct conf *c = make(CONF_QUEUE, "{\"egress_pool\":\"q\",\"max_age\":\"1h\"}");
	assert_ptr_not_equal(a, c);
	conf_unref(&a);
	assert_string_equal(print(b, "egress_pool"), "\"p\"");
	conf_unref(&b);
	conf_unref(&c);
}

static void protocols(void **state)
{
	struct conf *c = make(CONF_QUEUE, "{\"protocol\":{\"smtp\":{\"mx_list\":[\"a\",\"b:2025\",{\"name\":\"x\",\"addr\":\"10.0.0.1\"}]}}}");
	const struct queue_protocol_opts *p = &queue_opts_of(c)->protocol;
	assert_true(slice_eq_cstr(p->mx_list_site, "mx_list:a,b:2025,10.0.0.1"));
	assert_int_equal(p->n_mx_list, 3);
	assert_true(slice_eq_cstr(p->ready_name, "smtp_client"));
	conf_unref(&c);
	c = make(CONF_QUEUE, "{\"protocol\":{\"custom_lua\":{\"constructor\":\"x\"}}}");
	assert_string_equal(print(c, "protocol"), "{\"custom_lua\":{\"batch_size\":1,\"constructor\":\"x\",\"max_batch_latency\":\"0s\",\"min_batch_size\":1}}");
	assert_true(slice_eq_cstr(queue_opts_of(c)->protocol.ready_name, "lua:x"));
	conf_unref(&c);
	c = make(CONF_QUEUE, "{\"protocol\":{\"maildir_path\":\"/m\",\"dir_mode\":509}}");
	assert_int_equal(queue_opts_of(c)->protocol.dir_mode, 0775);
	assert_int_equal(queue_opts_of(c)->protocol.file_mode, -1);
	conf_unref(&c);
	refuse(CONF_QUEUE, "{\"protocol\":{\"maildir\":{\"maildir_path\":\"/m\"}}}", "protocol");
	refuse(CONF_QUEUE, "{\"protocol\":{\"custom_lua\":{}}}", "constructor");
	refuse(CONF_QUEUE, "{\"overall_max_message_rate\":\"5/s\"}", "overall_max_message_rate");
	refuse(CONF_QUEUE, "{\"shrink_policy\":[\"ShrinkDataAndMeta\"]}", "shrink_policy");
}

static void refusals(void **state)
{
	static const char *const addresses[] = { "192.0.2.1:25", "x", "", "192.0.2.0/24" };
	for (size_t i = 0; i < ARRAY_LEN(addresses); i++)
		refuse(CONF_SOURCE, arena_printf(arena, "{\"name\":\"s\",\"source_address\":\"%s\"}", addresses[i]), "source_address");
	refuse(CONF_SOURCE, "{\"name\":\"s\",\"remote_port\":70000}", "remote_port");
	refuse(CONF_SOURCE, "{\"name\":\"s\",\"ha_proxy_server\":\"192.0.2.1\"}", "ha_proxy_server");
	refuse(CONF_SOURCE, "{\"name\":\"s\",\"sorce_address\":\"192.0.2.1\"}", "source_address");
	refuse(CONF_SOURCE, "{}", "name");
	refuse(CONF_SOURCE, "{\"name\":\"s\",\"suspend_when_unplumbed\":true}", "suspend_when_unplumbed");
	refuse(CONF_POOL, "{\"name\":\"p\",\"entries\":[{\"name\":\"a\",\"weight\":-1}]}", "weight");
	refuse(CONF_POOL, "{\"name\":\"p\",\"entries\":[{\"name\":\"a\",\"weight\":1.5}]}", "weight");
	refuse(CONF_POOL, "{\"name\":\"p\",\"entries\":[\"a\"]}", "entries");
	refuse(CONF_PATH, "{\"prohibited_hosts\":[\"x\"]}", "prohibited_hosts");
	refuse(CONF_PATH, "{\"openssl_options\":\"NO_TLSV1|NOPE\"}", "NOPE");
	refuse(CONF_PATH, "{\"connect_timeout\":-1}", "connect_timeout");
	refuse(CONF_PATH, "{\"max_message_rate\":\"0/s\"}", "max_message_rate");
	struct conf *c = make(CONF_SOURCE, "{\"name\":\"s\",\"suspend_when_unplumbed\":{\"trigger\":{\"Threshold\":\"3/5m\"},\"duration\":\"10m\"}}");
	assert_true(source_opts_of(c)->suspend_when_unplumbed.threshold);
	assert_int_equal(source_opts_of(c)->suspend_when_unplumbed.rate.limit, 3);
	conf_unref(&c);
}

static void schedule(void **state)
{
	struct conf *c = make(CONF_QUEUE, "{\"retry_interval\":\"1m\",\"max_retry_interval\":\"10m\",\"max_age\":\"1h\"}");
	const struct queue_opts *q = queue_opts_of(c);
	static const int64_t want[] = { 60, 120, 240, 480, 600, 600 };
	for (unsigned i = 0; i < ARRAY_LEN(want); i++)
		assert_int_equal(queue_opts_delay_s(q, i), want[i]);
	assert_int_equal(queue_opts_delay_s(q, 60000), 600);
	assert_int_equal(queue_opts_infer_attempts(q, 0), 0);
	assert_int_equal(queue_opts_infer_attempts(q, 59), 0);
	assert_int_equal(queue_opts_infer_attempts(q, 60), 1);
	assert_int_equal(queue_opts_infer_attempts(q, 180), 2);
	assert_int_equal(queue_opts_delay_by_age_s(q, 3, 180), 180);	/* 120 + 240 since creation */
	assert_int_equal(queue_opts_delay_by_age_s(q, 3, 3600), -1);
	conf_unref(&c);
	c = make(CONF_QUEUE, "{\"retry_interval\":0}");
	assert_int_equal(queue_opts_infer_attempts(queue_opts_of(c), 100000), 0);
	conf_unref(&c);
}

static void ceilings(void **state)
{
	struct conf *c = make(CONF_PATH, "{\"max_connection_rate\":\"10/s\",\"max_deliveries_per_connection\":10,\"max_message_rate\":\"1000/s\","
					 "\"additional_connection_limits\":{\"all\":5}}");
	struct val v;
	struct buf b = { 0 };
	path_constraints(path_opts_of(c), NULL, arena, &v);
	json_put(&b, &v, JSON_SORTED);
	assert_string_equal(buf_cstr(&b),
			    "{\"max_concurrent_dispatchers\":{\"display\":\"5\",\"source\":{\"kind\":\"additional\",\"name\":\"all\"},\"value\":5.0},"
			    "\"max_connection_rate\":{\"display\":\"10/s\",\"source\":{\"kind\":\"primary\"},\"value\":10.0},"
			    "\"max_message_rate\":{\"display\":\"10 × 10/s = 100/s\",\"source\":{\"kind\":\"reconnect_cycling\"},\"value\":100.0},"
			    "\"max_message_rate_declared\":\"1000/s\",\"max_source_selection_rate\":null}");
	buf_fini(&b);
	conf_unref(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults), cmocka_unit_test(interned), cmocka_unit_test(protocols),
		cmocka_unit_test(refusals), cmocka_unit_test(schedule), cmocka_unit_test(ceilings),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
