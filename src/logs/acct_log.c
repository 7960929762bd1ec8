/* SPDX-License-Identifier: Apache-2.0 */
/* The log of authentication and authorization (kumo.aaa.configure_acct_log). */
#include <stdatomic.h>
#include <stdlib.h>
#include "base/xalloc.h"
#include "logs/internal.h"
#include "logs/segment.h"
#include "rt/diag.h"
#include "rt/offload.h"

static _Atomic(struct sink *) sink;
static bool wanted[ACCT_AUTHN_FAIL + 1];

static void prepare(void *arg)
{
	char **text = arg;
	if (segment_make_dir(*text) < 0 || segment_complete_old(*text) < 0)
		diag_error("kumo.logs", "%s", err_text());
}

int acct_log_configure(const struct acct_log_opts *o)
{
	if (atomic_load(&sink) != NULL)
		return err_set(E_EXIST, "configure_acct_log must not be called more than once");
	if (policy_is_validating())
		return 0;
	char *dir = xmemdup0(o->log_dir.ptr, o->log_dir.len), *label = xasprintf("log dir %s", dir);
	rt_offload(prepare, &dir);
	wanted[ACCT_AUTHZ_ALLOW] = o->log_authz_allow;
	wanted[ACCT_AUTHZ_DENY] = o->log_authz_deny;
	wanted[ACCT_AUTHN_OK] = o->log_authn_ok;
	wanted[ACCT_AUTHN_FAIL] = o->log_authn_fail;
	struct sink *s = sink_create(&(struct sink_opts){ .prefix = "acct-", .level = (int)o->compression_level, .max_bytes = (uint64_t)o->max_file_size,
	    .max_ms = o->max_segment_duration / 1000000, .back_pressure = (uint64_t)MAX(o->back_pressure, 1) });
	sink_class(s, dir, "", SLICE(""));
	diskfree_watch(label, dir, o->min_free_space, o->min_free_inodes);
	sink_start(s);
	atomic_store(&sink, s);
	free(dir);
	free(label);
	return 0;
}

bool acct_log_wanted(enum acct_event ev)
{
	return atomic_load_explicit(&sink, memory_order_relaxed) != NULL && wanted[ev];
}

int acct_log_write(enum acct_event ev, struct slice json)
{
	return acct_log_wanted(ev) ? sink_write(atomic_load(&sink), 0, json, false, NULL) : 0;
}

void acct_log_fini(void)
{
	struct sink *s = atomic_exchange(&sink, NULL);
	if (s != NULL)
		sink_destroy(&s);
}
