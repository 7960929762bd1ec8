/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cpu - how busy the machine and this process are, as gauges: system_cpu_usage_sum, process_cpu_usage_sum, and both divided by the number of CPUs.
 *
 * Source:  docs/reference/metrics/kumod/system_cpu_usage_sum, from /proc/stat and the process' own clock
 * Thread:  cpu_metrics_register before threads start; cpu_metrics_start on a shard.   Memory: static.   Yields: never.
 */
#pragma once

void cpu_metrics_register(void);
void cpu_metrics_start(void);	/* samples now and every 5 s */
