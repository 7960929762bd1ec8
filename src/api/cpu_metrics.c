/* SPDX-License-Identifier: Apache-2.0 */
/* How busy the machine and this process are, in percent, since metrics were last asked for. */
#include "api/api.h"
#include "rt/clock.h"
#include "rt/metrics.h"
#include "rt/sync.h"
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#define AT_LEAST_MS 500		/* between two measurements */

enum cpu { SYSTEM_SUM, SYSTEM_NORMALIZED, PROCESS_SUM, PROCESS_NORMALIZED, CPUS };
static int collect(struct metric_family *f);
#define FAMILY(n, h) { .name = n, .help = h, .kind = METRIC_GAUGE_K, .is_float = true, .collect = collect }
static struct metric_family FAMILIES[CPUS] = {
	[SYSTEM_SUM] = FAMILY("system_cpu_usage_sum", "percent of a CPU that the whole system uses; more than 100 with several CPUs"),
	[SYSTEM_NORMALIZED] = FAMILY("system_cpu_usage_normalized", "percent of all CPUs that the whole system uses"),
	[PROCESS_SUM] = FAMILY("process_cpu_usage_sum", "percent of a CPU that this process uses; more than 100 with several CPUs"),
	[PROCESS_NORMALIZED] = FAMILY("process_cpu_usage_normalized", "percent of all CPUs that this process uses"),
};

struct sample {
	int64_t at_us, process_us;
	uint64_t busy, total;	/* ticks of all CPUs */
};
static struct {
	struct rt_lock lock;
	struct sample last;	/* under lock */
	struct metric *gauges[CPUS];
} cpu = { .lock = RT_LOCK_INIT(RANK_LEAF) };

/* proc(5): user, nice, system, idle, iowait, irq, softirq, steal. */
static bool read_system(struct sample *s)
{
	unsigned long long t[8] = { 0 };
	FILE *f = fopen("/proc/stat", "re");

	if (!f)
		return false;
	int n = fscanf(f, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &t[0], &t[1], &t[2], &t[3], &t[4], &t[5], &t[6], &t[7]);
	fclose(f);
	for (int i = 0; i < 8; i++)
		s->total += t[i];
	s->busy = s->total - t[3] - t[4];
	return n >= 4;
}

static bool measure(struct sample *s)
{
	struct rusage u;

	*s = (struct sample){ .at_us = rt_now_us_exact() };
	if (getrusage(RUSAGE_SELF, &u) < 0 || !read_system(s))
		return false;
	s->process_us = (int64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000 + u.ru_utime.tv_usec + u.ru_stime.tv_usec;
	return true;
}

static int collect(struct metric_family *f)
{
	struct sample now;
	double n = (double)MAX(sysconf(_SC_NPROCESSORS_ONLN), 1L);

	rt_lock(&cpu.lock);
	bool due = rt_now_us_exact() - cpu.last.at_us >= AT_LEAST_MS * 1000 && measure(&now);
	if (due && now.total > cpu.last.total) {
		double system = 100.0 * (double)(now.busy - cpu.last.busy) / (double)(now.total - cpu.last.total);
		double process = 100.0 * (double)(now.process_us - cpu.last.process_us) / (double)(now.at_us - cpu.last.at_us);
		metric_set_float(cpu.gauges[SYSTEM_SUM], system * n);
		metric_set_float(cpu.gauges[SYSTEM_NORMALIZED], system);
		metric_set_float(cpu.gauges[PROCESS_SUM], process);
		metric_set_float(cpu.gauges[PROCESS_NORMALIZED], process / n);
		cpu.last = now;
	}
	rt_unlock(&cpu.lock);
	return 0;
}

void api_cpu_metrics_register(void)
{
	for (int i = 0; i < CPUS; i++) {
		metric_register(&FAMILIES[i]);
		cpu.gauges[i] = metric_get(&FAMILIES[i]);
	}
	if (!measure(&cpu.last))
		cpu.last = (struct sample){ 0 };
}
