/* SPDX-License-Identifier: Apache-2.0 */
/* mod_logs - configuration of logs, hooks, bounce classes and accounting. */
#include "logs/accounting.h"
#include "logs/classify.h"
#include "logs/logs.h"
#include "policy/arg.h"

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
