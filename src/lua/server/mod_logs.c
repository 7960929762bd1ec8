/* SPDX-License-Identifier: Apache-2.0 */
/* mod_logs - configuration of logs, hooks, bounce classes and accounting. */
#include "api/aaa.h"
#include "base/timefmt.h"
#include "logs/accounting.h"
#include "logs/classify.h"
#include "logs/logs.h"
#include "policy/arg.h"
#include "rt/clock.h"
#include "rt/diag.h"

static int finish(lua_State *L, int rc)
{
	return rc < 0 ? policy_raise(L, rc) : 0;
}

static int configure_local_logs(lua_State *L)
{
	struct log_file_opts o;
	policy_check_opts(L, 1, &LOG_FILE_OPTS, policy_arena(L), &o);
	return finish(L, logs_add_local(&o));
}

static int configure_log_hook(lua_State *L)
{
	struct log_hook_opts o;
	policy_check_opts(L, 1, &LOG_HOOK_OPTS, policy_arena(L), &o);
	return finish(L, logs_add_hook(&o));
}

static int configure_log_disposition_hook(lua_State *L)
{
	struct log_hook_opts o;
	policy_check_opts(L, 1, &LOG_DISPOSITION_HOOK_OPTS, policy_arena(L), &o);
	return finish(L, logs_add_disposition_hook(&o));
}

static int configure_bounce_classifier(lua_State *L)
{
	struct classifier_opts o;
	policy_check_opts(L, 1, &CLASSIFIER_OPTS, policy_arena(L), &o);
	return finish(L, classifier_configure(&o));
}

static int configure_accounting_db_path(lua_State *L)
{
	accounting_set_path(policy_check_text(L, 1));
	return 0;
}

static const struct luaL_Reg FUNCTIONS[] = {
	{ "configure_local_logs", configure_local_logs },
	{ "configure_log_hook", configure_log_hook },
	{ "configure_log_disposition_hook", configure_log_disposition_hook },
	{ "configure_bounce_classifier", configure_bounce_classifier },
	{ "configure_accounting_db_path", configure_accounting_db_path },
	{ NULL, NULL },
};
extern const struct policy_module mod_logs;
const struct policy_module mod_logs = { .name = "kumo", .functions = FUNCTIONS };

/* --- kumo.aaa.configure_acct_log: who was authenticated, what was authorized */

static enum acct_event acct_kind(const struct val *record)
{
	if (slice_eq(val_get_str(record, SLICE("type")), SLICE("Authorization")))
		return slice_eq(val_get_str(record, SLICE("access")), SLICE("Allow")) ? ACCT_AUTHZ_ALLOW : ACCT_AUTHZ_DENY;
	const struct val *ok = val_get_lit(record, "success");
	return ok != NULL && ok->type == VAL_BOOL && ok->b ? ACCT_AUTHN_OK : ACCT_AUTHN_FAIL;
}

static void write_audit(const struct val *record)
{
	enum acct_event kind = acct_kind(record);
	if (!acct_log_wanted(kind))
		return;
	struct buf b = { 0 };
	buf_lit(&b, "{\"timestamp\":\"");
	time_put_rfc3339(&b, rt_wall_us(), 6, true);
	buf_putc(&b, '"');
	for (uint32_t i = 0; i < record->n; i++) {
		bool first = false;
		json_put_key(&b, &first, record->members[i].key);
		json_put(&b, &record->members[i].val, JSON_COMPACT);
	}
	buf_putc(&b, '}');
	if (acct_log_write(kind, buf_view(&b)) < 0)
		diag_error("kumo.logs", "accounting log: %s", err_text());
	buf_fini(&b);
}

static int configure_acct_log(lua_State *L)
{
	struct acct_log_opts o;
	policy_check_opts(L, 1, &ACCT_LOG_OPTS, policy_arena(L), &o);
	int rc = acct_log_configure(&o);
	if (rc == 0 && !policy_is_validating())
		aaa_set_audit(write_audit);
	return finish(L, rc);
}

static const struct luaL_Reg ACCT_FUNCTIONS[] = { { "configure_acct_log", configure_acct_log }, { NULL, NULL } };
extern const struct policy_module mod_acct_log;
const struct policy_module mod_acct_log = { .name = "kumo.aaa", .functions = ACCT_FUNCTIONS };
