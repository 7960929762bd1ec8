/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memlimit - how much memory the kernel lets this process have, and how much of it is in use.
 *
 * A bound of the cgroup or of one around it (v2, else v1) and the resource limits: the tighter holds. Without any of them it is the machine's memory.
 * memory.high of a v2 cgroup and the soft RLIMIT_RSS are soft limits of their own; otherwise the soft limit is 75 % of the hard one.
 *
 * Where a cgroup sets the bound its working set counts: what is in it without the page cache that the kernel would drop first, and never less than its
 * anonymous memory. Else the resident set of the process.
 *
 * Source:  docs/reference/memory.md
 * Thread:  any.   Memory: the caller's.   Yields: never; reads a few small files of the kernel.
 */
#pragma once
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

struct memlimit {
	int64_t hard, soft;			/* bytes */
	bool v1;
	char current[PATH_MAX], stat[PATH_MAX];	/* files of the cgroup that has the bound; empty: none has */
};
/* Files are looked for below ROOT: "" but in tests. */
void memlimit_find(struct memlimit *m, const char *root);
int64_t memlimit_usage(const struct memlimit *m);	/* bytes */
