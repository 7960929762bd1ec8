/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state_bench - what a Lua state costs: time to make one and to run the policy's top level in it, time of an event call in one that is
 * ready, and memory while it is kept.
 *
 * Usage: state_bench POLICY [STATES]     prints a line of JSON
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include "base/xalloc.h"
#include "kumod/kumod.h"
#include "policy/internal.h"
#include "policy/nodeid.h"
#include "rt/loop.h"

#define CALLS 100000

static const char *path;
static int n = 200, status = 1;

static double now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static double rss_kb(void)
{
	long pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");
	if (f == NULL || fscanf(f, "%*d %ld", &pages) != 1)
		abort();
	fclose(f);
	return (double)pages * (double)sysconf(_SC_PAGESIZE) / 1024;
}

static int measure(void)
{
	static const struct policy_event NOBODY = { "state_bench_event", POLICY_SINGLE };
	const struct policy_conf conf = { path, "init" };
	int rc = policy_load(&conf);
	if (rc < 0)
		return rc;
	struct policy_gen *gen = policy_gen_current();
	struct policy_state **st = xcalloc((size_t)n, sizeof(struct policy_state *));
	double create = 0, load = 0, before = rss_kb();
	for (int i = 0; i < n; i++) {
		double t0 = now_us();
		st[i] = policy_state_create(gen);
		double t1 = now_us();
		rc = policy_state_load(st[i]);
		if (rc < 0)
			return rc;
		create += t1 - t0;
		load += now_us() - t1;
	}
	double kb = (rss_kb() - before) / n, lua_kb = lua_gc(st[n - 1]->L, LUA_GCCOUNT);
	for (int i = 0; i < n; i++)
		policy_state_destroy(&st[i]);
	free(st);
	policy_gen_unref(&gen);
	double t = now_us();
	for (int i = 0; rc == 0 && i < CALLS; i++) {
		struct policy_call c;
		if ((rc = policy_call_begin(&c, &NOBODY)) == 0) {
			rc = policy_call_run(&c, 0, 0);
			policy_call_end(&c);
		}
	}
	printf("{\"create_us\": %.1f, \"top_level_us\": %.1f, \"kb_each\": %.1f, \"lua_kb\": %.0f, \"call_us\": %.2f}\n", create / n, load / n, kb, lua_kb, (now_us() - t) / CALLS);
	return rc;
}

static void run(void *arg)
{
	(void)arg;
	if (measure() < 0)
		fprintf(stderr, "state_bench: %s\n", err_text());
	else
		status = 0;
}

int main(int argc, char **argv)
{
	const struct rt_conf conf = { 0 };
	if (argc < 2) {
		fprintf(stderr, "usage: state_bench POLICY [STATES]\n");
		return 2;
	}
	path = argv[1];
	if (argc > 2)
		n = MAX(atoi(argv[2]), 1);
	if (diag_init("error", 0, NULL) < 0 || nodeid_init() < 0 || rt_init(&conf) < 0)
		return 1;
	kumod_modules_register();
	rt_run(run, NULL);
	rt_fini();
	return status;
}
