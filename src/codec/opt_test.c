/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "codec/opt.h"

struct trace {
	bool received_header;
	struct opt_list names;
};
static const struct opt_field TRACE_FIELDS[] = {
	OPT_BOOL(struct trace, received_header, "true", "says so"),
	OPT_LIST(struct trace, names, NULL, "names", .dflt = "[\"a\"]"),
	OPT_END
};
static const struct opt_desc TRACE = { "trace", TRACE_FIELDS, sizeof(struct trace) };
static const struct opt_desc COUNT = { .name = "count", .scalar = OPT_T_INT };

static const struct opt_choice MODES[] = { { "Deny", 1 }, { "Allow", 2 }, { "Fix", 3 }, { NULL } };

struct all {
	struct slice listen, hostname;
	int64_t port, size, timeout, ttl;
	bool has_ttl;
	double ratio;
	int mode;
	struct trace trace;
	struct opt_map peers, counts;
	const struct val *meta;
	struct rate_spec rate;
	struct limit_spec limit;
};
static const struct opt_field ALL_FIELDS[] = {
	OPT_STR(struct all, listen, "127.0.0.1:2025", "where", .alias = "bind"),
	OPT_STR(struct all, hostname, NULL, "who", .required = true),
	OPT_INT(struct all, port, "25", "port", .min = 0, .max = 65535),
	OPT_SIZE(struct all, size, "1024", "bytes"),
	OPT_DURATION(struct all, timeout, "60s", "how long"),
	OPT_DURATION(struct all, ttl, NULL, "how long", OPT_PRESENT(struct all, has_ttl)),
	OPT_FLOAT(struct all, ratio, "0.5", "part"),
	OPT_ENUM(struct all, mode, MODES, "Deny", "what"),
	OPT_SUB(struct all, trace, &TRACE, "nested"),
	OPT_MAP(struct all, peers, &TRACE, "by address"),
	OPT_MAP(struct all, counts, &COUNT, "by name"),
	OPT_VAL(struct all, meta, "anything"),
	OPT_CUSTOM(struct all, rate, opt_read_rate, NULL, "rate", .custom_print = opt_print_rate),
	OPT_CUSTOM(struct all, limit, opt_read_limit, "32", "limit", .custom_print = opt_print_limit),
	OPT_END
};
static const struct opt_desc ALL = { "make_all", ALL_FIELDS, sizeof(struct all) };

static void check_error(const char *json, const char *want)
{
	struct arena *a = arena_create();
	struct val v;
	struct all out;
	assert_int_equal(json_parse(slice_from_cstr(json), a, &v), 0);
	assert_int_equal(opt_parse(&ALL, &v, a, &out), -E_INVAL);
	assert_string_equal(err_text(), want);
	arena_destroy(&a);
}

static void test_errors(void **state)
{
	static const char *const cases[][2] = {
		{ "{}", "make_all: missing field `hostname`" },
		{ "5", "make_all: invalid type: integer `5`, expected a table" },
		{ "[1]", "make_all: invalid type: integer `1`, expected a field name" },
		{ "{\"lisen\":1}", "make_all: unknown field `lisen`, did you mean `listen`? expected one of `listen`, `hostname`, `port`, `size`, `timeout`, "
			"`ttl`, `ratio`, `mode`, `trace`, `peers`, `counts`, `meta`, `rate`, `limit`" },
		{ "{\"listen\":25}", "make_all.listen: invalid type: integer `25`, expected a string" },
		{ "{\"listen\":\"x\",\"listen\":\"x\"}", "make_all: duplicate field `listen`" },
		{ "{\"listen\":\"x\",\"bind\":\"y\"}", "make_all: duplicate field `listen`, which `bind` is another name for" },
		{ "{\"port\":70000}", "make_all.port: invalid value: integer `70000`, expected an integer from 0 to 65535" },
		{ "{\"port\":\"25\"}", "make_all.port: invalid type: string \"25\", expected an integer from 0 to 65535" },
		{ "{\"size\":-1}", "make_all.size: invalid value: integer `-1`, expected an integer of at least 0" },
		{ "{\"size\":1.5}", "make_all.size: invalid type: floating point `1.5`, expected an integer" },
		{ "{\"timeout\":\"60\"}", "make_all.timeout: invalid value: string \"60\", expected a duration such as \"5m\" or \"1h 30m\" (time unit "
			"needed, for example 60sec or 60ms)" },
		{ "{\"timeout\":-1}", "make_all.timeout: duration must either be a string or a positive integer specifying the number of seconds. "
				    "(error: out of range integral type conversion attempted)" },
		{ "{\"timeout\":true}", "make_all.timeout: invalid type: boolean `true`, expected a duration such as \"5m\", or a number of seconds" },
		{ "{\"mode\":\"fix\"}", "make_all.mode: unknown variant `fix`, did you mean `Fix`? expected one of `Deny`, `Allow`, `Fix`" },
		{ "{\"trace\":{\"received_heade\":1}}", "make_all.trace: unknown field `received_heade`, did you mean `received_header`? expected "
			"`received_header` or `names`" },
		{ "{\"trace\":{\"names\":\"x\"}}", "make_all.trace.names: invalid type: string \"x\", expected a sequence" },
		{ "{\"trace\":{\"names\":[\"x\",5]}}", "make_all.trace.names[2]: invalid type: integer `5`, expected a string" },
		{ "{\"peers\":{\"::1\":{\"received_header\":1}}}", "make_all.peers[\"::1\"].received_header: invalid type: integer `1`, expected a boolean" },
		{ "{\"counts\":{\"a\":-1}}", "make_all.counts[\"a\"]: invalid value: integer `-1`, expected an integer of at least 0" },
		{ "{\"rate\":\"5/parsec\"}", "make_all.rate: unknown period quantity parsec, in a rate such as \"100/s\" or \"local:1,000/hour,max_burst=5\"" },
		{ "{\"limit\":0}", "make_all.limit: limit must be 1 or larger" },
		{ "{\"limit\":\"ten\"}", "make_all.limit: invalid limit 'ten': invalid digit found in string" },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		check_error(cases[i][0], cases[i][1]);
}

static void check_print(const struct all *all, bool sparse, struct arena *a, const char *want)
{
	struct buf b = { 0 };
	struct val v;
	opt_print(&ALL, all, sparse, a, &v);
	json_put(&b, &v, JSON_COMPACT);
	assert_string_equal(buf_cstr(&b), want);
	buf_fini(&b);
}

static void test_values(void **state)
{
	struct arena *a = arena_create();
	struct val v;
	struct all out;
	assert_int_equal(json_parse(SLICE("{\"bind\":\"[::]:25\",\"hostname\":\"h\",\"port\":null,\"timeout\":1.5,\"ttl\":\"1 day\",\"mode\":\"Fix\",\"trace\":{\"names\":[]},"
		"\"peers\":{\"::1\":{\"received_header\":false}},\"counts\":{\"a\":3},\"meta\":[1],\"rate\":\"1,000/hr\",\"limit\":\"local:5\"}"), a, &v), 0);
	assert_int_equal(opt_parse(&ALL, &v, a, &out), 0);
	assert_true(slice_eq_cstr(out.listen, "[::]:25"));
	assert_int_equal(out.port, 25);
	assert_int_equal(out.timeout, 1500000000);
	assert_true(out.has_ttl);
	assert_int_equal(out.mode, 3);
	assert_true(out.trace.received_header);
	assert_int_equal(out.trace.names.n, 0);
	assert_int_equal(out.peers.n, 1);
	const struct trace *peer = out.peers.items;
	assert_false(peer->received_header);
	assert_int_equal(peer->names.n, 1);
	assert_int_equal(((int64_t *)out.counts.items)[0], 3);
	assert_true(out.limit.local);
	check_print(&out, true, a, "{\"listen\":\"[::]:25\",\"hostname\":\"h\",\"timeout\":\"1s 500ms\",\"ttl\":\"1day\",\"mode\":\"Fix\",\"trace\":{\"names\":[]},"
		"\"peers\":{\"::1\":{\"received_header\":false}},\"counts\":{\"a\":3},\"meta\":[1],\"rate\":\"1000/h\",\"limit\":{\"force_local\":true,\"limit\":5}}");
	opt_defaults(&ALL, a, &out);
	check_print(&out, false, a, "{\"listen\":\"127.0.0.1:2025\",\"port\":25,\"size\":1024,\"timeout\":\"1m\",\"ratio\":0.5,\"mode\":\"Deny\",\"trace\":{\"received_header\":"
		"true,\"names\":[\"a\"]},\"peers\":{},\"counts\":{},\"limit\":{\"force_local\":false,\"limit\":32}}");
	check_print(&out, true, a, "{}");
	arena_destroy(&a);
}

static void test_rates(void **state)
{
	static const char *const cases[][2] = {
		{ "1/day", "1/d" }, { "1/3d", "1/259200s" }, { "1/90sec", "1/90s" }, { "1/0s", "1/0s" }, { "1,0,0/s", "100/s" }, { "_1/s", "1/s" },
		{ "1/s,max_burst=0", "1/s,max_burst=0" }, { "local:10/30min,max_burst=1,000", "local:10/1800s,max_burst=1000" },
		{ "1/15 min", "!unknown period quantity  min" }, { "1/s,", "!unknown period quantity s," },
		{ "1/s,max_burst=", "!invalid limit '': cannot parse integer from empty string" },
		{ "1/s,max_burst=-1", "!invalid limit '-1': invalid digit found in string" },
		{ "99999999999999999999/s", "!invalid limit '99999999999999999999': number too large to fit in target type" },
		{ "0/s", "!invalid ThrottleSpec `0/s`: limit must be greater than 0!" }, { "1/", "!invalid period quantity " },
		{ "", "!expected 'limit/period', got " }, { "1/99999999999999999999d", "!invalid period quantity 99999999999999999999d" },
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct rate_spec r;
		struct buf b = { 0 };
		if (rate_spec_parse(slice_from_cstr(cases[i][0]), &r) < 0)
			buf_printf(&b, "!%s", err_text());
		else
			rate_spec_put(&b, &r);
		assert_string_equal(buf_cstr(&b), cases[i][1]);
		buf_fini(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_errors), cmocka_unit_test(test_values), cmocka_unit_test(test_rates) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
