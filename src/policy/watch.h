/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watch - the configuration monitor: bumps the epoch when a watched file was changed.
 *
 * Watched are the files that match the globs (kumo.set_config_monitor_globs), the policy file and the modules that it requires. They are
 * looked at every ten seconds: inotify neither follows globs nor works on network file systems, where fleets keep their configuration.
 *
 * Thread:  any.   Memory: none kept but the globs and one hash.
 */
#pragma once
#include "base/slice.h"
#include "policy/glob.h"

void policy_watch_set_globs(const struct slice *globs, size_t n);
int policy_watch_eval(struct glob_list *out) WARN_UNUSED;	/* the files that match now. Yields. */
void policy_watch_run(void *unused);				/* a fiber's main function. Yields. */
void policy_loaded_files(void (*fn)(void *arg, struct slice file), void *arg);
