/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>
#include "shaping/shaping.h"

#define PROV "(mx1|mx2).prov.example"

/* --- a small world: DNS, options, one URL --------------------------------------------------------------------------------- */

static const struct {
	const char *domain, *site, *hosts[3];
} WORLD[] = {
	{ "alpha.example", PROV, { "mx1.prov.example.", "mx2.prov.example." } },
	{ "beta.example", PROV, { "mx1.prov.example.", "mx2.prov.example." } },
	{ "gamma.example", "in.other.example", { "in.other.example." } },
	{ "mixed.example", "x", { "mx1.prov.example.", "in.other.example." } },
	{ "nullmx.example", "", { NULL } },
};
static int resolve_calls;

static int test_resolve(const struct slice *domains, size_t n, struct arena *a, struct shaping_mx *out)
{
	resolve_calls++;
	for (size_t i = 0; i < n; i++) {
		out[i] = (struct shaping_mx){ .error = "NXDOMAIN" };
		for (size_t w = 0; w < ARRAY_LEN(WORLD); w++) {
			if (!slice_eq_nocase(domains[i], slice_from_cstr(WORLD[w].domain)))
				continue;
			out[i] = (struct shaping_mx){ .site_name = slice_from_cstr(WORLD[w].site), .hosts = arena_alloc(a, 3 * sizeof(struct slice)) };
			for (size_t h = 0; h < 3 && WORLD[w].hosts[h]; h++)
				out[i].hosts[out[i].n_hosts++] = slice_from_cstr(WORLD[w].hosts[h]);
		}
	}
	return 0;
}

static int test_check_params(const struct val *params)
{
	static const char *const known[] = { "connection_limit", "max_ready", "idle_timeout", "enable_tls", "max_message_rate", "provider_name",
		"additional_connection_limits", "additional_message_rate_throttles", "additional_source_selection_rates", "max_deliveries_per_connection",
		"max_connection_rate", "consecutive_connection_failures_before_delay", "system_shutdown_timeout" };

	for (uint32_t i = 0; i < params->n; i++) {
		bool ok = false;

		for (size_t k = 0; k < ARRAY_LEN(known); k++)
			ok = ok || slice_eq_cstr(params->members[i].key, known[k]);
		if (!ok)
			return err_set(E_INVAL, "unknown field `%.*s`", SLICE_ARG(params->members[i].key));
	}
	return 0;
}

static int test_fetch(struct slice url, int64_t timeout_ns, struct buf *out)
{
	assert_int_equal(timeout_ns, 5000000000LL);
	if (!slice_eq(url, SLICE("http://tsa/shaping.toml")))
		return err_set(E_CLOSED, "connection refused");
	buf_lit(out, "[\"alpha.example\".sources.s]\nmax_ready = 77\n");
	return 0;
}

static const struct shaping_ops OPS = { test_resolve, test_check_params, test_fetch };

/* --- loading texts -------------------------------------------------------------------------------------------------------- */

static struct arena *A;

static int load_paths(const char *const *paths, size_t n, const char *options, struct shaping **out)
{
	struct shaping_options o;
	struct slice list[4];
	struct val v = val_obj();

	if (options)
		assert_int_equal(json_parse(slice_from_cstr(options), A, &v), 0);
	assert_int_equal(opt_parse(&SHAPING_OPTIONS, &v, A, &o), 0);
	for (size_t i = 0; i < n; i++)
		list[i] = slice_from_cstr(paths[i]);
	return shaping_load(list, n, &o, &OPS, out);
}

/* TEXTS as files; those that begin with '{' are JSON. */
static int load(const char *options, struct shaping **out, size_t n, const char *const *texts)
{
	const char *paths[4];
	int rc;

	for (size_t i = 0; i < n; i++) {
		char *path = arena_printf(A, "%s/shaping-test-%d-%zu.%s", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp", (int)getpid(), i, texts[i][0] == '{' ? "json" : "toml");
		FILE *f = fopen(path, "we");

		assert_non_null(f);
		fputs(texts[i], f);
		fclose(f);
		paths[i] = path;
	}
	rc = load_paths(paths, n, options, out);
	for (size_t i = 0; i < n; i++)
		unlink(paths[i]);
	return rc;
}
#define LOAD(s, ...)                                                                                             \
	do {                                                                                                     \
		const char *texts_[] = { __VA_ARGS__ };                                                          \
		int rc_ = load(NULL, (s), ARRAY_LEN(texts_), texts_);                                            \
		if (rc_ < 0)                                                                                     \
			print_error("%s\n", err_text());                                                         \
		assert_int_equal(rc_, 0);                                                                        \
	} while (0)

static const char *query(struct shaping *s, const char *domain, const char *source, const char *site)
{
	struct buf b = { 0 };
	struct val v;

	assert_int_equal(shaping_path_params(s, slice_from_cstr(domain), slice_from_cstr(source), slice_from_cstr(site), A, &v), 0);
	json_put(&b, &v, JSON_SORTED);
	const char *text = arena_strdup(A, buf_view(&b));
	buf_fini(&b);
	return text;
}

static int setup(void **state)
{
	A = arena_create();
	return 0;
}

static int teardown(void **state)
{
	arena_destroy(&A);
	return 0;
}

static void domain_over_default(void **state)
{
	struct shaping *s;

	LOAD(&s, "[\"default\"]\nconnection_limit = 10\nenable_tls = \"Opportunistic\"\n[\"alpha.example\"]\nconnection_limit = 100\n");
	assert_string_equal(query(s, "beta.example", "s", PROV), "{\"connection_limit\":100,\"enable_tls\":\"Opportunistic\"}");
	assert_string_equal(query(s, "gamma.example", "s", "in.other.example"), "{\"connection_limit\":10,\"enable_tls\":\"Opportunistic\"}");
	assert_string_equal(query(s, "", "", ""), "{\"connection_limit\":10,\"enable_tls\":\"Opportunistic\"}");
	shaping_unref(&s);
	LOAD(&s, "[\"Alpha.example.\"]\nmx_rollup = false\nconnection_limit = 3\n");
	assert_string_equal(query(s, "alpha.example", "s", PROV), "{\"connection_limit\":3}");
	assert_string_equal(query(s, "beta.example", "s", PROV), "{}");
	shaping_unref(&s);
}

static void files_merge(void **state)
{
	struct shaping *s;

	LOAD(&s, "[\"default\"]\nconnection_limit = 10\nmax_ready = 5\n[\"alpha.example\"]\nenable_tls = \"Required\"\nidle_timeout = \"5s\"\n",
		"[\"default\"]\nconnection_limit = 11\n[\"alpha.example\"]\nidle_timeout = \"9s\"\n");
	assert_string_equal(query(s, "alpha.example", "s", PROV), "{\"connection_limit\":11,\"enable_tls\":\"Required\",\"idle_timeout\":\"9s\",\"max_ready\":5}");
	shaping_unref(&s);
	LOAD(&s, "[\"alpha.example\"]\nenable_tls = \"Required\"\n", "[\"alpha.example\"]\nreplace_base = true\nmax_ready = 9\n");
	assert_string_equal(query(s, "alpha.example", "s", PROV), "{\"max_ready\":9}");
	shaping_unref(&s);
	LOAD(&s, "[\"default\"]\nadditional_connection_limits = {\"a\"=10, \"b\"=5}\n", "{\"alpha.example\": {\"additional_connection_limits\": {\"b\": 6, \"c\": 7}}}");
	assert_string_equal(query(s, "alpha.example", "s", PROV), "{\"additional_connection_limits\":{\"a\":10,\"b\":6,\"c\":7}}");
	assert_string_equal(query(s, "zz.test", "s", "zz.test"), "{\"additional_connection_limits\":{\"a\":10,\"b\":5}}");
	shaping_unref(&s);
}

static void sources(void **state)
{
	struct shaping *s;
	struct val v;
	struct buf b = { 0 };

	LOAD(&s, "[\"default\"]\nconnection_limit = 10\n[\"alpha.example\"]\nmax_ready = 1\n[\"alpha.example\".sources.\"s1\"]\nconnection_limit = 5\n"
		 "[\"b.example\"]\nmx_rollup = false\n[\"b.example\".sources.\"s1\"]\nmax_ready = 2\n");
	assert_string_equal(query(s, "alpha.example", "s1", PROV), "{\"connection_limit\":5,\"max_ready\":1}");
	assert_string_equal(query(s, "alpha.example", "s2", PROV), "{\"connection_limit\":10,\"max_ready\":1}");
	shaping_referenced_sources(s, A, &v);
	json_put(&b, &v, JSON_SORTED);
	assert_string_equal(buf_cstr(&b), "{\"s1\":[\"site:" PROV "\",\"domain:b.example\"]}");
	buf_fini(&b);
	shaping_unref(&s);
}

static void providers(void **state)
{
	struct shaping *s;

	LOAD(&s, "[provider.\"p\"]\nmatch = [{MXSuffix=\".prov.example\"}, {HostName=\"in.other.example\"}]\nconnection_limit = 5\n");
	assert_string_equal(query(s, "mixed.example", "s", "x"), "{\"connection_limit\":5,\"provider_name\":\"p\"}");
	assert_string_equal(query(s, "nullmx.example", "s", ""), "{}");
	shaping_unref(&s);
	LOAD(&s, "[provider.\"p\"]\nmatch = [{MXSuffix=\".prov.example\"}]\nconnection_limit = 5\n");
	assert_string_equal(query(s, "mixed.example", "s", "x"), "{}");
	assert_string_equal(query(s, "nosuch.example", "s", "x"), "{}");
	resolve_calls = 0;
	assert_string_equal(query(s, "http://10.0.0.1:8008.tsa.kumomta", "s", "x"), "{}");
	assert_int_equal(resolve_calls, 0);
	shaping_unref(&s);
	LOAD(&s, "[provider.\"p\"]\nmatch = [{DomainSuffix=\".example\"}]\nconnection_limit = 7\n[provider.q]\nmatch = [{DomainSuffix=\"alpha.example\"}]\nmax_ready = 8\n");
	assert_string_equal(query(s, "nosuch.example", "s", "x"), "{\"connection_limit\":7,\"provider_name\":\"p\"}");
	assert_string_equal(query(s, "alpha.example", "s", PROV), "{\"connection_limit\":7,\"max_ready\":8,\"provider_name\":\"q\"}");
	shaping_unref(&s);
	LOAD(&s, "[\"default\"]\nmax_ready = 1\nidle_timeout = \"1s\"\nconnection_limit = 1\n"
		 "[provider.\"p\"]\nmatch = [{MXSuffix=\".prov.example\"}]\nidle_timeout = \"2s\"\nconnection_limit = 2\nprovider_connection_limit = 9\nprovider_max_message_rate = \"5/s\"\n"
		 "[\"alpha.example\"]\nconnection_limit = 3\n[provider.\"p\".sources.\"s\"]\nconnection_limit = 4\n");
	assert_string_equal(query(s, "beta.example", "t", PROV),
		"{\"additional_connection_limits\":{\"shaping-provider-p-t-limit\":\"9\"},\"additional_message_rate_throttles\":{\"shaping-provider-p-t-rate\":\"5/s\"},"
		"\"connection_limit\":3,\"idle_timeout\":\"2s\",\"max_ready\":1,\"provider_name\":\"p\"}");
	shaping_unref(&s);
}

static void check_warning(const char *options, const char *text, const char *expected)
{
	struct shaping *s;
	const char *const *list;

	assert_int_equal(load(options, &s, 1, &text), 0);
	assert_int_equal(shaping_warnings(s, &list), expected ? 1 : 0);
	if (expected)
		assert_non_null(strstr(list[0], expected));
	assert_int_equal(shaping_errors(s, &list), 0);
	shaping_unref(&s);
}

static void warnings(void **state)
{
	check_warning(NULL, "[\"nullmx.example\"]\nconnection_limit = 1\n", NULL);
	check_warning("{\"null_mx\": \"Warn\"}", "[\"nullmx.example\"]\nconnection_limit = 1\n", "domain nullmx.example has a NULL MX and cannot be used with mx_rollup=true.");
	check_warning("{\"dns_fail\": \"Warn\"}", "[\"nosuch.test\"]\nconnection_limit = 1\n", "error resolving MX for nosuch.test: NXDOMAIN. Ignoring");
	check_warning(NULL, "[\"*.example\"]\nconnection_limit = 1\n", "Entry for domain '*.example' consists of a single DNS label.");
	check_warning("{\"provider_overlap\": \"Warn\"}", "[provider.\"p\"]\nmatch = [{MXSuffix=\".prov.example\"}]\n[\"alpha.example\"]\nmax_ready = 3\n",
		"domain alpha.example is also matched by provider(s): p");
	check_warning("{\"aliased_site\": \"Warn\"}", "[\"alpha.example\"]\nmax_ready = 3\n[\"beta.example\"]\nmax_ready = 3\n",
		"multiple domain blocks alias to the same site: " PROV ": alpha.example, beta.example");
	check_warning(NULL, "[[\"alpha.example\".automation]]\nregex = \"x\"\naction = \"Suspend\"\nduration = \"1h\"\ntriger = \"Immediate\"\n", "unknown field `triger`");
}

static void missing_files_and_urls(void **state)
{
	const char *missing = "/nonexistent/shaping.toml", *urls[] = { "http://tsa/shaping.toml", "http://gone/shaping.toml" };
	const char *const *list;
	struct shaping *s;

	assert_int_equal(load_paths(&missing, 1, NULL, &s), 0);
	assert_int_equal(shaping_errors(s, &list), 1);
	assert_string_equal(list[0], "local shaping source /nonexistent/shaping.toml error: loading data from file /nonexistent/shaping.toml: No such file or directory (os error 2)");
	shaping_unref(&s);
	assert_int_equal(load_paths(urls, 2, "{\"remote_load\": \"Warn\"}", &s), 0);
	assert_int_equal(shaping_warnings(s, &list), 1);
	assert_string_equal(list[0], "remote shaping source http://gone/shaping.toml error: connection refused");
	assert_string_equal(query(s, "alpha.example", "s", PROV), "{\"max_ready\":77}");
	shaping_unref(&s);
	assert_int_equal(load_paths(urls, 1, "{\"skip_remote\": true}", &s), 0);
	assert_int_equal(shaping_warnings(s, &list), 1);
	assert_string_equal(query(s, "alpha.example", "s", PROV), "{}");
	shaping_unref(&s);
}

static void refused(void **state)
{
	static const struct {
		const char *text, *expected;
	} cases[] = {
		{ "[\"alpha.example\"]\nconnection_limt = 1\n", "site: " PROV ": interpreting domain 'alpha.example': unknown field `connection_limt`" },
		{ "[\"alpha.example\".sources.\"s\"]\nnope = 1\n", "interpreting domain 'alpha.example' source 's': unknown field `nope`" },
		{ "[\"default\"]\nnope = 1\n", "domain: default: interpreting domain 'default': unknown field `nope`" },
		{ "[provider.p]\nnope = 1\n", "provider: p: interpreting provider 'p': unknown field `nope`" },
		{ "nope = 1\n", "`nope` is of type integer" },
		{ "[\"alpha.example\"\nx = 1\n", "parsing toml: /" },
		{ "[\"alpha.example\"]\nmx_rollup = \"yes\"\n", "domain 'alpha.example': invalid `mx_rollup`, of type string: expected a boolean" },
		{ "{bad json", "parsing json from file" },
		{ "{\"alpha.example\": 5}", "`alpha.example` is of type integer" },
		{ "[provider.p]\nmatch = [{Nope=\"x\"}]\n", "provider 'p': match[0]: expected {MXSuffix" },
		{ "[provider.p]\nprovider_connection_limit = \"x\"\n", "invalid `provider_connection_limit`" },
		{ "[provider.p]\nprovider_max_message_rate = 5\n", "invalid `provider_max_message_rate`" },
		{ "[[\"a.example\".automation]]\nregex = \"(\"\naction = \"Suspend\"\nduration = \"1h\"\n", "domain 'a.example': automation[0]: invalid regex `(`" },
		{ "[[\"a.example\".automation]]\nregex = \"x\"\naction = \"Suspnd\"\nduration = \"1h\"\n", "invalid action `Suspnd`" },
		{ "[[\"a.example\".automation]]\nregex = \"x\"\naction = {SetConfig={name=\"nope\", value=1}}\nduration = \"1h\"\n", "SetConfig: unknown field `nope`" },
		{ "[[\"a.example\".automation]]\nregex = \"x\"\naction = \"Suspend\"\n", "missing field `duration`" },
		{ "[[\"a.example\".automation]]\naction = \"Suspend\"\nduration = \"1h\"\n", "missing field `regex`" },
		{ "[[\"a.example\".automation]]\nregex = \"x\"\naction = \"Suspend\"\nduration = \"1h\"\ntrigger = \"Later\"\n", "invalid `trigger`" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct shaping *s;

		assert_int_equal(load(NULL, &s, 1, &cases[i].text), -E_INVAL);
		if (!strstr(err_text(), cases[i].expected))
			fail_msg("%s: %s", cases[i].text, err_text());
	}
}

static const char RULES[] =
	"[[\"default\".automation]]\nregex = \"everywhere\"\naction = \"Suspend\"\nduration = \"1h\"\n"
	"[[\"alpha.example\".automation]]\nregex = \"\\\\[TS04\\\\]\"\naction = \"Suspend\"\nduration = \"2 hours\"\n"
	"[[\"alpha.example\".automation]]\nregex = [\"^421 \", \"slow down\"]\naction = [{SetConfig={name=\"max_message_rate\", value=\"1/s\"}}, \"SuspendTenant\"]\n"
	"trigger = {Threshold=\"2/hr\"}\nduration = \"5m\"\n"
	"[[\"alpha.example\".automation]]\nregex = \"internal\"\nmatch_internal = true\naction = {SetDomainConfig={name=\"connection_limit\", value=1}}\nduration = \"5m\"\n";

static const char *match(struct shaping *s, const char *domain, const char *site, unsigned code, const char *content)
{
	struct smtp_response r = { .code = (uint16_t)code, .content = slice_from_cstr(content) };
	struct shaping_match *m;
	struct buf b = { 0 };
	size_t n;

	assert_int_equal(shaping_match_rules(s, arena_slicef(A, "r@%s", domain), SLICE("src"), arena_slicef(A, "src->%s@smtp_client", site), &r, A, &m, &n), 0);
	for (size_t i = 0; i < n; i++) {
		struct val v;

		shaping_rule_to_val(m[i].rule, A, &v);
		json_put(&b, &v, JSON_SORTED);
		buf_cstr_put(&b, m[i].was_rollup ? " rollup " : " domain ");
	}
	const char *text = arena_strdup(A, buf_view(&b));
	buf_fini(&b);
	return text;
}

static void rules(void **state)
{
	struct shaping *s;

	LOAD(&s, RULES);
	assert_string_equal(match(s, "alpha.example", PROV, 450, "x [TS04] y"),
		"{\"action\":[\"Suspend\"],\"duration\":\"2h\",\"match_internal\":false,\"regex\":[\"\\\\[TS04\\\\]\"],\"trigger\":\"Immediate\"} rollup ");
	assert_string_equal(match(s, "alpha.example", PROV, 421, "go\naway"),
		"{\"action\":[{\"SetConfig\":{\"name\":\"max_message_rate\",\"value\":\"1/s\"}},\"SuspendTenant\"],\"duration\":\"5m\",\"match_internal\":false,"
		"\"regex\":[\"^421 \",\"slow down\"],\"trigger\":{\"Threshold\":\"2/h\"}} rollup ");
	assert_non_null(strstr(match(s, "alpha.example", PROV, 451, "KumoMTA internal: internal"), "SetDomainConfig"));
	assert_string_equal(match(s, "alpha.example", PROV, 451, "KumoMTA internal: [TS04]"), match(s, "alpha.example", PROV, 451, "KumoMTA internal: internal"));
	assert_non_null(strstr(match(s, "gamma.example", "in.other.example", 450, "everywhere"), "rollup"));
	assert_string_equal(match(s, "gamma.example", "in.other.example", 450, "[TS04]"), "");
	assert_non_null(strstr(match(s, "beta.example", PROV, 450, "[TS04]"), "Suspend"));
	shaping_unref(&s);
}

static void text_is_stable(void **state)
{
	static const char *const texts[] = { "[\"default\"]\nmax_ready = 1\n", "[\"default\"]\nmax_ready = 1\n", "[\"default\"]\nmax_ready = 2\n" };
	struct buf b[3] = { 0 };

	for (size_t i = 0; i < 3; i++) {
		struct shaping *s;

		LOAD(&s, texts[i]);
		shaping_put_text(s, &b[i]);
		shaping_unref(&s);
	}
	assert_true(slice_eq(buf_view(&b[0]), buf_view(&b[1])));
	assert_false(slice_eq(buf_view(&b[0]), buf_view(&b[2])));
	for (size_t i = 0; i < 3; i++)
		buf_fini(&b[i]);
}

/* The files that are installed must load without a word. */
static void shipped_files(void **state)
{
	const char *paths[] = { "share/policy-extras/shaping.toml", "share/community/shaping.toml" };
	const char *const *list;
	struct shaping *s;

	if (load_paths(paths, 2, NULL, &s) < 0)
		fail_msg("%s", err_text());
	assert_int_equal(shaping_warnings(s, &list), 0);
	assert_int_equal(shaping_errors(s, &list), 0);
	shaping_unref(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(domain_over_default, setup, teardown),
		cmocka_unit_test_setup_teardown(files_merge, setup, teardown),
		cmocka_unit_test_setup_teardown(sources, setup, teardown),
		cmocka_unit_test_setup_teardown(providers, setup, teardown),
		cmocka_unit_test_setup_teardown(warnings, setup, teardown),
		cmocka_unit_test_setup_teardown(missing_files_and_urls, setup, teardown),
		cmocka_unit_test_setup_teardown(refused, setup, teardown),
		cmocka_unit_test_setup_teardown(rules, setup, teardown),
		cmocka_unit_test_setup_teardown(text_is_stable, setup, teardown),
		cmocka_unit_test_setup_teardown(shipped_files, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
