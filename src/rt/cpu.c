/* SPDX-License-Identifier: Apache-2.0 */
#include "rt/cpu.h"
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>
#include "base/slice.h"
#include "rt/clock.h"
#include "rt/loop.h"
#include "rt/metrics.h"

#define SAMPLE_MS 5000

enum { SYSTEM_SUM, SYSTEM_NORMALIZED, PROCESS_SUM, PROCESS_NORMALIZED, GAUGES };
static struct metric_family FAMILIES[GAUGES] = {
	METRIC_GAUGE("system_cpu_usage_sum", "the sum of the system-wide CPU usage of each CPU, in percent; can add up to more than 100"),
	METRIC_GAUGE("system_cpu_usage_normalized", "system-wide CPU usage from 0 (idle) to 100 (saturated)"),
	METRIC_GAUGE("process_cpu_usage_sum", "the sum of this process' usage of each CPU, in percent; can add up to more than 100"),
	METRIC_GAUGE("process_cpu_usage_normalized", "this process' CPU usage from 0 to 100 (all CPUs)"),
};
static struct {
	struct metric *m[GAUGES];
	struct rt_timer timer;
	long cpus;
	uint64_t busy, total;		/* ticks of /proc/stat */
	int64_t process_ns, at_us;
} cpu;

void cpu_metrics_register(void)
{
	for (int i = 0; i < GAUGES; i++)
		metric_register(&FAMILIES[i]);
}

static void show(int which, double percent_of_all)
{
	double percent[2] = { percent_of_all * (double)cpu.cpus, percent_of_all };
	for (int i = 0; i < 2; i++) {
		if (!cpu.m[which + i])
			cpu.m[which + i] = metric_get_n(&FAMILIES[which + i], NULL);
		metric_set(cpu.m[which + i], (int64_t)(percent[i] + 0.5));
	}
}

/* The first line: user nice system idle iowait irq softirq steal … */
static bool read_stat(uint64_t *busy, uint64_t *total)
{
	char buf[512];
	int fd = open("/proc/stat", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof(buf) - 1);
	unsigned long long v[8] = { 0 };
	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return false;
	buf[n] = 0;
	if (sscanf(buf, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &v[6], &v[7]) < 4)
		return false;
	*total = *busy = 0;
	for (int i = 0; i < 8; i++) {
		*total += v[i];
		*busy += i == 3 || i == 4 ? 0 : v[i];
	}
	return true;
}

static void sample(struct rt_timer *t)
{
	uint64_t busy, total;
	struct timespec ts;
	if (read_stat(&busy, &total) && total > cpu.total) {
		show(SYSTEM_SUM, 100.0 * (double)(busy - cpu.busy) / (double)(total - cpu.total));
		cpu.busy = busy;
		cpu.total = total;
	}
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	int64_t ns = ts.tv_sec * 1000000000LL + ts.tv_nsec, now = rt_now_us_exact();
	if (cpu.at_us && now > cpu.at_us)
		show(PROCESS_SUM, 100.0 * (double)(ns - cpu.process_ns) / ((double)(now - cpu.at_us) * 1000 * (double)cpu.cpus));
	cpu.process_ns = ns;
	cpu.at_us = now;
	rt_timer_start(t, SAMPLE_MS);
}

void cpu_metrics_start(void)
{
	cpu.cpus = sysconf(_SC_NPROCESSORS_ONLN);
	if (cpu.cpus < 1)
		cpu.cpus = 1;
	rt_timer_init(&cpu.timer, sample);
	sample(&cpu.timer);
}
