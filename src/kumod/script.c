/* SPDX-License-Identifier: Apache-2.0 */
/*
 * script - kumod --script: runs the policy's event "main" with the arguments of the command line; kumod --validate: loads the policy and
 * fires init and validate_config, with nothing started.
 */
#include <stdio.h>
#include "kumod/kumod.h"
#include "policy/host.h"

static const struct policy_event EV_MAIN = { "main", POLICY_SINGLE };
static const struct policy_event EV_VALIDATE_CONFIG = { "validate_config", POLICY_MULTI_ALL };
static const struct policy_event EV_PRE_INIT = { "pre_init", POLICY_MULTI };
static const struct policy_event EV_INIT = { "init", POLICY_SINGLE };

static const struct policy_event EV_SHUTDOWN_LOGGING = { "shutdown_logging", POLICY_SINGLE };

static const struct policy_event *const EVENTS[] = { &EV_MAIN, &EV_VALIDATE_CONFIG, &EV_PRE_INIT, &EV_INIT, &EV_SHUTDOWN_LOGGING };

void kumod_script_register(void)
{
	for (size_t i = 0; i < ARRAY_LEN(EVENTS); i++)
		policy_event_register(EVENTS[i]);
}

int kumod_script(const struct kumod_args *a)
{
	struct policy_call c;
	int rc = policy_call_begin(&c, &EV_MAIN);
	if (rc < 0)
		return rc;
	luaL_checkstack(c.L, (int)a->n_script_args + 10, "too many arguments");
	for (size_t i = 0; i < a->n_script_args; i++)
		lua_pushstring(c.L, a->script_args[i]);
	rc = policy_call_run(&c, (int)a->n_script_args, 0);
	if (rc < 0)
		err_prefix("Shutdown due to error");
	policy_call_end(&c);
	fflush(stdout);
	return rc;
}

static int fire(const struct policy_event *ev)
{
	struct policy_call c;
	if (!policy_event_wanted(ev))
		return 0;
	int rc = policy_call_begin(&c, ev);
	if (rc < 0)
		return rc;
	rc = policy_call_run(&c, 0, 0);
	policy_call_end(&c);
	if (rc < 0)
		err_prefix("call %s callback", ev->name);
	return rc;
}

int kumod_fire_init(void)
{
	int rc = fire(&EV_PRE_INIT);
	return rc < 0 ? rc : fire(&EV_INIT);
}

int kumod_fire_shutdown_logging(void)
{
	return fire(&EV_SHUTDOWN_LOGGING);
}

int kumod_validate(const struct kumod_args *a)
{
	int rc = kumod_fire_init();
	if (rc == 0)
		rc = fire(&EV_VALIDATE_CONFIG);
	fflush(stdout);
	if (rc < 0) {
		err_prefix("Initialization raised an error");
		return rc;
	}
	if (policy_validation_failed())
		return err_set(E_INVAL, "Initialization raised an error: Validation failed");
	return 0;
}
