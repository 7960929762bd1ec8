/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/watch.h"
#include <stdlib.h>
#include <sys/stat.h>
#include "policy/host.h"
#include "rt/diag.h"
#include "rt/fiber.h"
#include "rt/offload.h"
#include "rt/sync.h"

#define INTERVAL_MS 10000
#define DEFAULT_GLOB "/opt/kumomta/etc/**/*.{lua,json,toml,yaml}"

static struct rt_lock lock = RT_LOCK_INIT(RANK_CONFIG);
static struct glob_list globs;		/* under lock */
static bool globs_set;			/* under lock */

void policy_watch_set_globs(const struct slice *list, size_t n)
{
	rt_lock(&lock);
	glob_list_fini(&globs);
	for (size_t i = 0; i < n; i++)
		glob_list_put(&globs, list[i].ptr, list[i].len);
	globs_set = true;
	rt_unlock(&lock);
}

int policy_watch_eval(struct glob_list *out)
{
	struct glob_list now = { 0 };
	rt_lock(&lock);
	for (size_t i = 0; i < globs.n; i++)
		glob_list_put(&now, globs.paths[i], strlen(globs.paths[i]));
	if (!globs_set)
		glob_list_put(&now, DEFAULT_GLOB, sizeof DEFAULT_GLOB - 1);
	rt_unlock(&lock);
	int rc = 0;
	for (size_t i = 0; i < now.n && rc == 0; i++)
		rc = glob_eval(slice_from_cstr(now.paths[i]), SLICE("/"), out);
	glob_list_fini(&now);
	return rc;
}

static void add_file(void *arg, struct slice file)
{
	glob_list_put(arg, file.ptr, file.len);
}

struct hash_job {
	struct glob_list files;
	uint64_t hash;
};

/* Name, time, size and inode of each file: a change that keeps all four is none that an editor or a package makes. */
static void hash_files(void *arg)
{
	struct hash_job *j = arg;
	j->hash = 0;
	for (size_t i = 0; i < j->files.n; i++) {
		struct stat st;
		struct {
			uint64_t name, sec, nsec, size, inode;
		} k = { .name = slice_hash(slice_from_cstr(j->files.paths[i])) };
		if (stat(j->files.paths[i], &st) == 0) {
			k.sec = (uint64_t)st.st_mtim.tv_sec;
			k.nsec = (uint64_t)st.st_mtim.tv_nsec;
			k.size = (uint64_t)st.st_size;
			k.inode = st.st_ino;
		}
		j->hash ^= slice_hash(slice_new(&k, sizeof k));
	}
}

static int current_hash(uint64_t *hash)
{
	struct hash_job j = { 0 };
	int rc = policy_watch_eval(&j.files);
	policy_loaded_files(add_file, &j.files);
	glob_list_sort(&j.files);
	rt_offload(hash_files, &j);
	glob_list_fini(&j.files);
	*hash = j.hash;
	return rc;
}

void policy_watch_run(void *unused)
{
	uint64_t last, now;
	bool known = current_hash(&last) == 0;
	while (rt_sleep_ms(INTERVAL_MS) == 0) {
		if (current_hash(&now) < 0) {
			diag_error("policy", "watching the configuration files: %s", err_text());
			continue;
		}
		if (known && now != last) {
			diag_info("policy", "configuration files were changed: the configuration epoch is bumped");
			policy_bump_epoch();
		}
		last = now;
		known = true;
	}
}
