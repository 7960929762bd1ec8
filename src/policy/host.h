/* SPDX-License-Identifier: Apache-2.0 */
/*
 * host - runs the operator's Lua policy: states, generations, event calls.
 *
 * Each event call leases a Lua state for itself from its shard's pool and gives it back afterwards, so a handler that waits holds up
 * nobody else, and what a policy may observe (globals, open transactions) is as upstream's. A state is dropped after an error
 * or a cancellation, after 1,024 uses or 300 s, and when the configuration epoch has moved on. A nested event leases another.
 *
 * A call site reads:
 *
 *	struct policy_call c;
 *	if (!policy_event_wanted(&EV_SMTP_EHLO))	// no handler: nothing is leased, nothing costs
 *		return 0;
 *	if ((rc = policy_call_begin(&c, &EV_SMTP_EHLO)) < 0)
 *		return rc;
 *	lua_pushlstring(c.L, domain.ptr, domain.len);
 *	policy_obj_push(c.L, &CONN_META_OBJ, s->meta);
 *	rc = policy_call_run(&c, 2, 1);
 *	…read the result at -1 of c.L…
 *	policy_call_end(&c);
 *
 * The Lua code runs on the calling fiber; C functions called from it may wait. A count hook yields the fiber, checks deadlines and
 * cancellation, so a handler that never returns costs its own session only; long pattern matches do the same. A cancelled call's state is discarded.
 *
 * Thread:  shards (fibers); policy_set_* and registration before the first call.
 * Memory:  a policy_call lives on the caller's stack between begin and end.
 */
#pragma once
#include <lauxlib.h>
#include <lua.h>
#include "base/buf.h"
#include "base/err.h"
#include "codec/val.h"

/* How several handlers of one event combine. */
enum policy_event_kind {
	POLICY_SINGLE,		/* a second kumo.on is an error */
	POLICY_MULTI,		/* returning nothing goes on to the next handler, an explicit nil or a value stops */
	POLICY_MULTI_ALL,	/* every handler runs, results are ignored (init, validate_config, …) */
};
struct policy_event {
	const char *name;
	enum policy_event_kind kind;
};
/* Events are declared by the modules that fire them and registered before the policy is loaded; kumo.on accepts any name. */
void policy_event_register(const struct policy_event *ev);
bool policy_event_wanted(const struct policy_event *ev);	/* whether the current policy has a handler; no lease */
bool policy_event_wanted_name(struct slice name);

/* What happens to the session after the answer. kumo.reject is IF_421; kumo.disconnect's third argument chooses, DISCONNECT unless given. */
enum policy_reject_mode {
	POLICY_REJECT_IF_421,		/* "If421": closed when the code is 421 */
	POLICY_REJECT_FOLLOW_WITH_421,	/* "FollowWith421": the answer, then a 421 to the next command (or at once when the code is 421), then closed */
	POLICY_REJECT_DISCONNECT,	/* "ForceDisconnect": closed after the answer */
};
struct policy_state;
struct policy_call {
	lua_State *L;		/* push arguments here */
	const char *event;
	struct policy_state *state;
	int base;
	bool handled;		/* after run: some handler returned something (nil included) */
	int reject_code;	/* after run returned -E_REJECT: kumo.reject(code, text) or kumo.disconnect */
	enum policy_reject_mode reject_mode;
	char *reject_text;	/* freed by policy_call_end */
	void *saved_local;
};
int policy_call_begin(struct policy_call *c, const struct policy_event *ev) WARN_UNUSED;	/* may wait for a state. Yields. */
int policy_call_begin_name(struct policy_call *c, struct slice event) WARN_UNUSED;		/* for names made by the operator. Yields. */
/* Calls the handlers with the NARGS values on top; leaves NRESULTS values (nil where nothing came). 0, -E_REJECT, -E_POLICY (err_text
   holds message, file:line and traceback; logged by the caller), -E_CANCELED, -E_TIMEOUT. Yields. */
int policy_call_run(struct policy_call *c, int nargs, int nresults) WARN_UNUSED;
/* For calls that stay open, as a custom_lua connection does: calls the function below the NARGS values on top of the stack, in the same state.
   As policy_call_run; after a failure other than -E_REJECT the state is not used again by others. Yields. */
int policy_call_function(struct policy_call *c, int nargs, int nresults) WARN_UNUSED;
void policy_call_end(struct policy_call *c);

/* The policy file of a daemon or script; compiled once for each epoch. */
struct policy_conf {
	const char *path;
	const char *main_event;		/* "init", "proxy_init", "tsa_init": for messages */
};
int policy_load(const struct policy_conf *conf) WARN_UNUSED;	/* compiles and runs the top level once, to see its errors. Yields. */
uint64_t policy_epoch(void);			/* grows with every bump */
void policy_bump_epoch(void);			/* kumo.bump_config_epoch, the HTTP endpoint, watched files */
void policy_on_epoch(void (*fn)(void));		/* called after each bump, must not wait */
/* --validate: problems were found (kumo.validation_failed) */
void policy_mark_validation_failed(void);
bool policy_validation_failed(void);
bool policy_is_validating(void);
void policy_set_validating(bool on);

/* Calls a function value that is on top of another state's stack? Never: states do not share values. Functions cross as event names. */

/* --- for Lua functions written in C ------------------------------------------------------------------------------------ */

/* Raises a Lua error "WHERE: text of err", or unwinds the call for -E_CANCELED/-E_TIMEOUT of a deadline outside of it (not caught by pcall). Does not return. */
int policy_raise(lua_State *L, int rc) __attribute__((noreturn));
int policy_raisef(lua_State *L, const char *fmt, ...) PRINTF(2, 3) __attribute__((noreturn));

/* Lua to val and back. Tables with keys 1..n are lists, an empty table is an object ({}), other keys must be strings (numbers are
   refused where mixed). Functions and foreign userdata are refused with their path. Depth limit 128. Objects with a to_val become values. */
int policy_to_val(lua_State *L, int idx, struct arena *a, struct val *out) WARN_UNUSED;
void policy_push_val(lua_State *L, const struct val *v);
/* The same for settings: an option that isn't set is there too, as a light userdata that is NULL (which reads back as a null). */
void policy_push_val_nulls(lua_State *L, const struct val *v);
/* Reads the table at IDX through an option table: raises a Lua error that names function, file:line and field. */
struct opt_desc;
void policy_check_opts(lua_State *L, int idx, const struct opt_desc *d, struct arena *a, void *out);
struct slice policy_check_slice(lua_State *L, int idx);		/* raises unless a string (numbers are converted) */
void policy_push_slice(lua_State *L, struct slice s);		/* SLICE_NONE is nil */
struct arena *policy_arena(lua_State *L);			/* lives until the running event call ends */

/* Reference-counted C objects as userdata. */
struct policy_obj_type {
	const char *name;				/* "Message", "EgressPath": tostring and error messages */
	void *(*ref)(void *obj);
	void (*unref)(void *obj);
	int (*to_val)(void *obj, struct arena *a, struct val *out);	/* may be NULL: refused as a value */
	bool to_val_index;				/* obj.field reads that value's member when there is no such method; pairs() and # work too */
};
void policy_obj_methods(const struct policy_obj_type *t, const luaL_Reg *methods);	/* before the first state; ends with {NULL} */
void policy_obj_push(lua_State *L, const struct policy_obj_type *t, void *obj);	/* takes a reference of its own */
void *policy_obj_check(lua_State *L, int idx, const struct policy_obj_type *t);	/* raises unless it is one; borrowed */
void *policy_obj_get(lua_State *L, int idx, const struct policy_obj_type *t);	/* NULL unless it is one; borrowed */

/* Modules: "kumo", "kumo.dns", "sqlite": functions in a table that require and (for kumo.*) the kumo table hold. The global string
   table is extended by "string". */
struct policy_module {
	const char *name;
	const luaL_Reg *functions;
	void (*open)(lua_State *L);	/* may be NULL; called with the module's table on top, for more than functions */
};
void policy_module_register(const struct policy_module *m);	/* before policy_load */
