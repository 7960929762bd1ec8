/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>
#include <cmocka.h>
#include "base/timefmt.h"
#include "base/xalloc.h"
#include "logs/accounting.h"
#include "logs/classify.h"
#include "logs/internal.h"
#include "policy/nodeid.h"
#include "rt/fiber.h"
#include "rt/loop.h"
#include "spool/spool.h"

static char *dir;
static struct arena *arena;

static int setup(void **state)
{
	char templ[] = "/tmp/kumo-logs-XXXXXX";
	assert_non_null(mkdtemp(templ));
	dir = xstrdup(templ);
	arena = arena_create();
	accounting_set_path(arena_slicef(arena, "%s.db", dir));
	return 0;
}

static int teardown(void **state)
{
	assert_int_equal(system(arena_printf(arena, "chmod -R u+w %s; rm -rf %s %s.db", dir, dir, dir)), 0);
	free(dir);
	arena_destroy(&arena);
	return 0;
}

/* All that is in the complete segments of a folder, in the order of their names; *N counts them. */
static char *read_all(const char *sub, int *n)
{
	struct dirent **list;
	char *path = arena_printf(arena, "%s%s", dir, sub);
	struct buf out = { 0 };
	int count = scandir(path, &list, NULL, alphasort);
	*n = 0;
	for (int i = 0; i < count; i++) {
		char *file = arena_printf(arena, "%s/%s", path, list[i]->d_name);
		struct stat st;
		if (list[i]->d_name[0] != '.' && stat(file, &st) == 0 && S_ISREG(st.st_mode)) {
			assert_int_equal(st.st_mode & 0777, 0444);
			char *data = xmalloc((size_t)st.st_size), *text = xmalloc(1 << 20);
			FILE *f = fopen(file, "rb");
			assert_int_equal(fread(data, 1, (size_t)st.st_size, f), st.st_size);
			fclose(f);
			ZSTD_DCtx *z = ZSTD_createDCtx();
			ZSTD_inBuffer in = { data, (size_t)st.st_size, 0 };
			ZSTD_outBuffer o = { text, 1 << 20, 0 };
			assert_int_equal(ZSTD_decompressStream(z, &o, &in), 0);	/* the frame is complete */
			ZSTD_freeDCtx(z);
			buf_put(&out, text, o.pos);
			free(data);
			free(text);
			++*n;
		}
		free(list[i]);
	}
	free(list);
	struct slice s = arena_dup(arena, buf_view(&out));
	buf_fini(&out);
	return (char *)s.ptr;
}

static void parse(struct arena *a, const char *json, struct val *out)
{
	assert_int_equal(json_parse(slice_from_cstr(json), a, out), 0);
}

static void configure(const char *json)
{
	struct val v;
	struct log_file_opts o;
	parse(arena, json, &v);
	val_put_lit(arena, &v, "log_dir", val_cstr(arena, dir));
	assert_int_equal(opt_parse(&LOG_FILE_OPTS, &v, arena, &o), 0);
	assert_int_equal(logs_add_local(&o), 0);
}

static struct msg *message(void)
{
	struct slice r = SLICE("r@a.example");
	struct msg *m = msg_create(uuid_v1_at(1700000000123456, 1, (const uint8_t *)"abcdef"), msg_env_create(SLICE("s@from.example"), &r, 1),
	    msg_body_copy(SLICE("Subject: =?utf-8?q?h=C3=A9?=\r\nX-One: 1\r\nx-one: 2\r\nOther: x\r\n\r\nhi\r\n")));
	struct val v;
	parse(arena, "{\"x\":1}", &v);
	assert_int_equal(msg_meta_set(m, SLICE("who"), &v), 0);
	v = val_cstr(arena, "ESMTP");
	assert_int_equal(msg_meta_set(m, SLICE("reception_protocol"), &v), 0);
	v = val_null();
	assert_int_equal(msg_meta_set(m, SLICE("tenant"), &v), 0);
	return m;
}

static void log_one(enum log_type type, struct msg *m, int want)
{
	struct log_event ev = { .type = type, .msg = m, .site = SLICE(""), .peer_name = SLICE("source.example"), .peer_addr = SLICE("127.0.0.1"),
		.response = { .code = 250, .content = SLICE("") }, .session_id = SLICE("sess"), .event_us = 1700000001000000 };
	assert_int_equal(log_disposition(&ev), want);
}

static void test_records(void **state)
{
	int n;
	struct msg *m = message();
	configure("{\"headers\":[\"Subject\",\"X-*\"],\"meta\":[\"wh*\",\"tenant\",\"none\"]}");
	log_one(LOG_RECEPTION, m, 0);
	struct log_event ev = { .type = LOG_DELIVERY, .msg = m, .site = SLICE("src->mx@smtp_client"), .peer_name = SLICE("mx."), .peer_addr = SLICE("::1"),
		.response = { .code = 250, .has_enhanced = true, .enh_class = 2, .content = SLICE("que\nued"), .command = SLICE(".\r\n") },
		.egress_pool = SLICE("p"), .egress_source = SLICE("src"), .source_address = SLICE("127.0.0.1:9"), .delivery_protocol = SLICE("ESMTP"),
		.tls_cipher = SLICE("C"), .tls_protocol_version = SLICE("TLSv1.3"), .provider_name = SLICE("big"), .event_us = 1700000001500000 };
	assert_int_equal(log_disposition(&ev), 0);
	struct log_event rej = { .type = LOG_REJECTION, .site = SLICE(""), .response = { .code = 550, .content = SLICE("no") }, .queue = SLICE(""),
		.sender = SLICE("x@y"), .peer_addr = SLICE("127.0.0.1"), .peer_name = SLICE("h"), .event_us = 1700000002000000 };
	assert_int_equal(log_disposition(&rej), 0);
	logs_fini();
	char *text = read_all("", &n), want[4096], id[33] = "";
	struct buf b = { 0 };
	uuid_put_simple(&b, msg_id(m));
	memcpy(id, b.ptr, 32);
	buf_fini(&b);
#define TAIL "\"feedback_report\":null,\"meta\":{\"who\":{\"x\":1}},\"headers\":{\"Subject\":\"h\xc3\xa9\",\"X-One\":[\"1\",\"2\"]}"
	snprintf(want, sizeof want,
	    "{\"type\":\"Reception\",\"id\":\"%s\",\"sender\":\"s@from.example\",\"recipient\":\"r@a.example\",\"queue\":\"a.example\",\"site\":\"\",\"size\":66,"
	    "\"response\":{\"code\":250,\"enhanced_code\":null,\"content\":\"\",\"command\":null},\"peer_address\":{\"name\":\"source.example\",\"addr\":\"127.0.0.1\"},"
	    "\"timestamp\":1700000001,\"event_time\":\"2023-11-14T22:13:21.000000Z\",\"created\":1700000000,\"created_time\":\"2023-11-14T22:13:20.123456Z\","
	    "\"num_attempts\":0,\"bounce_classification\":\"Uncategorized\",\"egress_pool\":null,\"egress_source\":null,\"source_address\":null," TAIL ","
	    "\"delivery_protocol\":null,\"reception_protocol\":\"ESMTP\",\"nodeid\":\"%s\",\"session_id\":\"sess\"}\n"
	    "{\"type\":\"Delivery\",\"id\":\"%s\",\"sender\":\"s@from.example\",\"recipient\":\"r@a.example\",\"queue\":\"a.example\",\"site\":\"src->mx@smtp_client\",\"size\":66,"
	    "\"response\":{\"code\":250,\"enhanced_code\":{\"class\":2,\"subject\":0,\"detail\":0},\"content\":\"que ued\",\"command\":\".\\r\\n\"},"
	    "\"peer_address\":{\"name\":\"mx.\",\"addr\":\"::1\"},\"timestamp\":1700000001,\"event_time\":\"2023-11-14T22:13:21.500000Z\",\"created\":1700000000,"
	    "\"created_time\":\"2023-11-14T22:13:20.123456Z\",\"num_attempts\":0,\"bounce_classification\":\"Uncategorized\",\"egress_pool\":\"p\","
	    "\"egress_source\":\"src\",\"source_address\":{\"address\":\"127.0.0.1:9\"}," TAIL ",\"delivery_protocol\":\"ESMTP\",\"reception_protocol\":\"ESMTP\","
	    "\"nodeid\":\"%s\",\"tls_cipher\":\"C\",\"tls_protocol_version\":\"TLSv1.3\",\"tls_peer_subject_name\":[],\"provider_name\":\"big\"}\n"
	    "{\"type\":\"Rejection\",\"id\":\"\",\"sender\":\"x@y\",\"recipient\":\"\",\"queue\":\"\",\"site\":\"\",\"size\":0,\"response\":{\"code\":550,\"enhanced_code\":null,"
	    "\"content\":\"no\",\"command\":null},\"peer_address\":{\"name\":\"h\",\"addr\":\"127.0.0.1\"},\"timestamp\":1700000002,"
	    "\"event_time\":\"2023-11-14T22:13:22.000000Z\",\"created\":1700000002,\"created_time\":\"2023-11-14T22:13:22.000000Z\",\"num_attempts\":0,"
	    "\"bounce_classification\":\"Uncategorized\",\"egress_pool\":null,\"egress_source\":null,\"source_address\":null,\"feedback_report\":null,\"meta\":{},"
	    "\"headers\":{},\"delivery_protocol\":null,\"reception_protocol\":null,\"nodeid\":\"%s\"}\n", id, nodeid_text(), id, nodeid_text(), nodeid_text());
	assert_string_equal(text, want);
	assert_int_equal(n, 1);
	msg_unref(&m);
}

static void test_per_record(void **state)
{
	int n;
	struct msg *m = message();
	configure(arena_printf(arena, "{\"per_record\":{\"Reception\":{\"suffix\":\"_recv\",\"segment_header\":\"# first\\n\"},"
	    "\"Delivery\":{\"log_dir\":\"%s/sub/deep\"},\"AdminBounce\":{\"suffix\":\"_t\",\"template\":\"{{ type }} {{ response.code }} {{ nosuch }}{{ log_record.queue }}\"},\"Any\":{\"enable\":false}}}", dir));
	log_one(LOG_RECEPTION, m, 0);
	log_one(LOG_BOUNCE, m, 0);
	log_one(LOG_DELIVERY, m, 0);
	log_one(LOG_ADMIN_BOUNCE, m, 0);
	logs_fini();
	char *text = read_all("", &n);
	assert_int_equal(n, 2);
	assert_non_null(strstr(text, "AdminBounce 250 a.example\n"));
	assert_int_equal(strncmp(text, "# first\n{\"type\":\"Reception\"", 27), 0);
	assert_null(strstr(text, "Bounce\""));
	text = read_all("/sub/deep", &n);
	assert_int_equal(n, 1);
	assert_int_equal(strncmp(text, "{\"type\":\"Delivery\"", 18), 0);
	msg_unref(&m);
}

static void test_refused_options(void **state)
{
	struct val v;
	struct log_file_opts o;
	parse(arena, "{\"log_dir\":\"/tmp\",\"per_record\":{\"Nonsense\":{}}}", &v);
	assert_int_equal(opt_parse(&LOG_FILE_OPTS, &v, arena, &o), 0);
	assert_int_equal(logs_add_local(&o), -E_INVAL);
	assert_non_null(strstr(err_text(), "unknown variant `Nonsense`, expected one of `Reception`,"));
	parse(arena, "{\"log_dir\":\"/tmp\",\"per_record\":{\"Delivery\":{\"enabl\":false}}}", &v);
	assert_int_equal(opt_parse(&LOG_FILE_OPTS, &v, arena, &o), -E_INVAL);
	assert_non_null(strstr(err_text(), "enabl"));
}

static void test_rolls(void **state)
{
	int n;
	struct msg *m = message();
	configure("{\"max_file_size\":1000}");
	for (int i = 0; i < 10; i++)
		log_one(LOG_RECEPTION, m, 0);
	logs_fini();
	read_all("", &n);
	assert_true(n >= 5 && n <= 10);
	msg_unref(&m);
}

/* Old segments get completed; a segment that is open for too long too, without further records. */
static void test_segment_times(void **state)
{
	int n;
	char *old = arena_printf(arena, "%s/20200101-000000.1", dir);
	FILE *f = fopen(old, "w");
	fclose(f);
	struct msg *m = message();
	configure("{\"max_segment_duration\":\"200ms\"}");
	struct stat st;
	assert_int_equal(stat(old, &st), 0);
	assert_int_equal(st.st_mode & 0222, 0);
	unlink(old);
	log_one(LOG_RECEPTION, m, 0);
	assert_int_equal(rt_sleep_ms(600), 0);
	read_all("", &n);
	assert_int_equal(n, 1);
	logs_fini();
	msg_unref(&m);
}

/* A folder that takes no files: receptions are refused, the rest is kept until it works again. */
static void test_failing(void **state)
{
	if (geteuid() == 0) {	/* permissions don't stop root: a file in the folder's place does */
		assert_int_equal(rmdir(dir), 0);
	}
	int n;
	struct msg *m = message();
	configure("{\"back_pressure\":100}");
	assert_int_equal(rmdir(dir), 0);
	FILE *f = fopen(dir, "w");
	fclose(f);
	log_one(LOG_RECEPTION, m, 0);
	for (int i = 0; i < 100 && logs_unhealthy_reason() == NULL; i++)
		assert_int_equal(rt_sleep_ms(20), 0);
	assert_string_equal(logs_unhealthy_reason(), "the logs cannot be written");
	log_one(LOG_RECEPTION, m, -E_FULL);
	log_one(LOG_DELIVERY, m, 0);
	unlink(dir);
	for (int i = 0; i < 200 && logs_unhealthy_reason() != NULL; i++)
		assert_int_equal(rt_sleep_ms(20), 0);
	log_one(LOG_RECEPTION, m, 0);
	logs_fini();
	char *text = read_all("", &n);
	int lines = 0;
	for (; *text; text++)
		lines += *text == '\n';
	assert_int_equal(lines, 3);
	msg_unref(&m);
}

static void log_delivery(void *m) { log_one(LOG_DELIVERY, m, 0); }

/* What has happened is recorded, even by one who may not wait for room. */
static void test_canceled_writer(void **state)
{
	int n, lines = 0;
	struct msg *m = message();
	configure("{\"back_pressure\":1}");
	assert_int_equal(rmdir(dir), 0);
	fclose(fopen(dir, "w"));
	log_one(LOG_RECEPTION, m, 0);
	struct rt_fiber *f = rt_fiber_start("waits for room", log_delivery, m);
	assert_int_equal(rt_sleep_ms(50), 0);
	rt_fiber_cancel(f);
	rt_fiber_join(f);
	rt_fiber_unref(&f);
	unlink(dir);
	logs_fini();
	for (char *text = read_all("", &n); *text; text++)
		lines += *text == '\n';
	assert_int_equal(lines, 2);
	msg_unref(&m);
}

static void test_back_pressure(void **state)
{
	int n, lines = 0;
	struct msg *m = message();
	configure("{\"back_pressure\":3}");
	for (int i = 0; i < 500; i++)
		log_one(LOG_RECEPTION, m, 0);
	logs_fini();
	for (char *text = read_all("", &n); *text; text++)
		lines += *text == '\n';
	assert_int_equal(lines, 500);
	msg_unref(&m);
}

static void put_file(const char *name, const char *text)
{
	FILE *f = fopen(arena_printf(arena, "%s/%s", dir, name), "w");
	fputs(text, f);
	fclose(f);
}

static int classifier(const char *names)
{
	struct val v;
	struct classifier_opts o;
	parse(arena, arena_printf(arena, "{\"files\":[%s],\"cache_size\":2,\"uncategorized_cache_size\":2}", names), &v);
	assert_int_equal(opt_parse(&CLASSIFIER_OPTS, &v, arena, &o), 0);
	return classifier_configure(&o);
}

static void check_class(const char *line, const char *want)
{
	struct buf b = { 0 };
	classify_text(slice_from_cstr(line), &b);
	assert_string_equal(buf_cstr(&b), want);
	buf_fini(&b);
}

static void check_classes(void)
{
	check_class("woot", "foo");
	check_class("xaaa", "foo");
	check_class("bbb", "bar");
	check_class("550 Mailbox OVER Quota", "My Own Label");
	check_class("550 mailbox over", "Uncategorized");
	check_class("ccc", "Uncategorized");
	check_class("q\xff", "Uncategorized");
	check_class("", "Uncategorized");
	for (int i = 0; i < 5; i++) {	/* through the caches */
		check_class("woot", "foo");
		check_class("nothing", "Uncategorized");
	}
}

static void test_classes(void **state)
{
	check_class("550 5.1.1 x", "Uncategorized");
	assert_true(classifier(arena_printf(arena, "\"%s/none.toml\"", dir)) < 0);
	assert_non_null(strstr(err_text(), "reading file: ") );
	assert_non_null(strstr(err_text(), "none.toml: No such file or directory"));
	put_file("bad.toml", "[rules]\nX = ['a', '(']\n");
	assert_true(classifier(arena_printf(arena, "\"%s/bad.toml\"", dir)) < 0);
	assert_non_null(strstr(err_text(), "bad.toml: rules.X[1]"));
	put_file("a.toml", "[rules]\nfoo = ['woot', 'aaa$']\nbar = ['woot', 'aaa', 'bbb']\n");
	put_file("b.json", "{\"rules\":{\"My Own Label\":[\"(?i)^5\\\\d{2} .* over quota\"]}}");
	char *files = arena_printf(arena, "\"%s/a.toml\",\"%s/b.json\"", dir, dir);
	assert_int_equal(classifier(files), 0);
	assert_int_equal(classifier(files), -E_EXIST);
	check_classes();
	classifier_fini();
	/* a rule that the automaton cannot hold is tried by itself, in its place */
	put_file("c.toml", "[rules]\nback = ['^(x+)y\\1$']\nany = ['y']\n");
	assert_int_equal(classifier(arena_printf(arena, "%s,\"%s/c.toml\"", files, dir)), 0);
	check_class("xxyxx", "back");
	check_class("xxyx", "any");
	check_classes();
	classifier_fini();
}

static int count_row(void *arg, int n, char **values, char **names)
{
	buf_printf(arg, "%s %s %s;", values[0] + 7, values[1], values[2]);
	return 0;
}

static void test_accounting(void **state)
{
	struct msg *m = message();
	char *path = arena_printf(arena, "%s/acct.db", dir);
	accounting_set_path(slice_from_cstr(path));
	log_one(LOG_RECEPTION, m, 0);
	assert_int_equal(accounting_flush(), 0);
	log_one(LOG_RECEPTION, m, 0);
	log_one(LOG_BOUNCE, m, 0);
	struct val v = val_cstr(arena, "LogRecord");	/* messages of hooks don't count */
	assert_int_equal(msg_meta_set(m, SLICE("reception_protocol"), &v), 0);
	log_one(LOG_RECEPTION, m, 0);
	accounting_delivered(5);
	accounting_fini();
	sqlite3 *db;
	struct buf b = { 0 };
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "SELECT * FROM accounting", count_row, &b, NULL), SQLITE_OK);
	assert_string_equal(buf_cstr(&b), "-01 00:00:00 2 5;");
	sqlite3_close(db);
	buf_fini(&b);
	msg_unref(&m);
}

static int failed;
static void run(void *arg)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = { T(test_records), T(test_per_record), T(test_refused_options), T(test_rolls), T(test_segment_times),
		T(test_failing), T(test_canceled_writer), T(test_back_pressure), T(test_classes), T(test_accounting) };
	failed = cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void)
{
	setenv("KUMO_NODE_ID", "557f3ad4-2c8c-11ee-976e-782d7e12e173", 1);
	if (nodeid_init() < 0 || rt_init(&(struct rt_conf){ .shards = 1 }) < 0)
		return 1;
	spool_metrics_init();
	logs_init();
	rt_run(run, NULL);
	rt_fini();
	return failed;
}
