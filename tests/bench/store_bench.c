/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_bench - CPU time of storing and removing a message, and of writing a log record.
 *
 * Usage: store_bench KIND FOLDER [MESSAGES [SESSIONS [BYTES [flush]]]]     KIND: RocksDB, LocalDisk, records, enumerate
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include "base/xalloc.h"
#include "logs/logs.h"
#include "rt/fiber.h"
#include "rt/loop.h"
#include "rt/sync.h"
#include "spool/spool.h"

static const char *kind = "RocksDB", *folder = "/tmp/store-bench";
static int messages = 10000, sessions = 20, bytes = 10240;
static bool flush;
static struct rt_sem done;

static double cpu_s(void)
{
	struct rusage u;
	getrusage(RUSAGE_SELF, &u);
	return u.ru_utime.tv_sec + u.ru_stime.tv_sec + (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static double wall_s(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static long peak_kb(void)
{
	struct rusage u;
	getrusage(RUSAGE_SELF, &u);
	return u.ru_maxrss;
}

static struct msg *make(int n)
{
	char *body = xmalloc((size_t)bytes);
	for (int i = 0; i < bytes; i++)
		body[i] = (char)('a' + (i * 7 + n) % 26);
	struct slice r = SLICE("recipient@a.example");
	struct msg *m = msg_create(uuid_v1(), msg_env_create(SLICE("sender@from.example"), &r, 1), msg_body_take(body, (size_t)bytes));
	struct arena *a = arena_create();
	struct val v = val_cstr(a, "ESMTP");
	if (msg_meta_set(m, SLICE("reception_protocol"), &v) < 0)
		abort();
	arena_destroy(&a);
	return m;
}

static void store_session(void *arg)
{
	for (int i = 0; i < messages / sessions; i++) {
		struct msg *m = make(i);
		if (msg_save(m) < 0) {
			fprintf(stderr, "%s\n", err_text());
			exit(1);
		}
		rt_yield();
		if (strcmp(kind, "enumerate") != 0)
			msg_remove(m);
		msg_unref(&m);
	}
	rt_sem_post(&done);
}

static void record_session(void *arg)
{
	struct msg *m = make(0);
	for (int i = 0; i < messages / sessions; i++) {
		struct log_event ev = { .type = LOG_DELIVERY, .msg = m, .site = SLICE("unspecified->mx.a.example@smtp_client"), .peer_name = SLICE("mx.a.example."),
			.peer_addr = SLICE("127.0.0.1"), .response = { .code = 250, .has_enhanced = true, .enh_class = 2, .content = SLICE("queued"),
			.command = SLICE(".\r\n") }, .egress_pool = SLICE("unspecified"), .egress_source = SLICE("unspecified"),
			.source_address = SLICE("127.0.0.1:12345"), .delivery_protocol = SLICE("ESMTP"), .session_id = SLICE("9bcd689e-23d9-41b7-a015-63a1382f8b57") };
		if (log_disposition(&ev) < 0)
			exit(1);
		if (i % 16 == 0)
			rt_yield();
	}
	msg_unref(&m);
	rt_sem_post(&done);
}

static void open_spool(void)
{
	struct arena *a = arena_create();
	const char *names[] = { "meta", "data" };
	for (int i = 0; i < 2; i++) {
		struct spool_opts o;
		opt_defaults(&SPOOL_OPTS, a, &o);
		o.name = slice_from_cstr(names[i]);
		o.path = arena_slicef(a, "%s/%s", folder, names[i]);
		o.kind = strcmp(kind, "LocalDisk") == 0 ? SPOOL_LOCAL_DISK : SPOOL_ROCKSDB;
		o.flush = flush;
		if (spool_define(&o) < 0)
			break;
	}
	if (spool_start() < 0) {
		fprintf(stderr, "%s\n", err_text());
		exit(1);
	}
	msg_set_storage(&SPOOL_STORAGE);
	arena_destroy(&a);
}

static int count(void *arg, struct msg *m)
{
	msg_unref(&m);
	return 0;
}

static void run(void *arg)
{
	bool records = strcmp(kind, "records") == 0;
	if (records) {
		struct arena *a = arena_create();
		struct log_file_opts o;
		opt_defaults(&LOG_FILE_OPTS, a, &o);
		o.log_dir = slice_from_cstr(folder);
		if (logs_add_local(&o) < 0)
			exit(1);
		arena_destroy(&a);
	} else {
		open_spool();
	}
	rt_sem_init(&done, 0);
	double cpu = cpu_s(), wall = wall_s();
	for (int i = 0; i < sessions; i++)
		rt_fiber_spawn_on(rt_shard_next(), "session", records ? record_session : store_session, NULL);
	for (int i = 0; i < sessions; i++)
		if (rt_sem_wait(&done) < 0)
			exit(1);
	if (records)
		logs_fini();
	else
		spool_fini();
	cpu = cpu_s() - cpu;
	wall = wall_s() - wall;
	printf("%s: %d with %d sessions: %.2f s, CPU %.1f us each (%.2f s per 10,000), peak %ld KiB\n", kind, messages, sessions, wall, cpu / messages * 1e6,
	    cpu / messages * 1e4, peak_kb());
	if (strcmp(kind, "enumerate") == 0) {
		struct spool_walk w;
		wall = wall_s();
		open_spool();
		double opened = wall_s();
		if (spool_enumerate(count, NULL, &w) < 0)
			exit(1);
		printf("open %.2f s, %llu messages in %.2f s\n", opened - wall, (unsigned long long)w.found, wall_s() - opened);
		spool_fini();
	}
}

int main(int argc, char **argv)
{
	if (argc > 1)
		kind = argv[1];
	if (argc > 2)
		folder = argv[2];
	if (argc > 3)
		messages = atoi(argv[3]);
	if (argc > 4)
		sessions = atoi(argv[4]);
	if (argc > 5)
		bytes = atoi(argv[5]);
	flush = argc > 6;
	if (rt_init(&(struct rt_conf){ .shards = 2 }) < 0)
		return 1;
	spool_metrics_init();
	logs_init();
	rt_run(run, NULL);
	rt_fini();
	return 0;
}
