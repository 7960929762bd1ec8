/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arg - checks of what Lua code passes to a function written in C.
 *
 * Each raises an error that says which argument of which function was expected to be what, in the words that policies have seen since the
 * beginning: "bad argument #2 to `Time.format`: error converting Lua nil to String (expected string or number)".
 *
 * Thread:  the state's shard.   Memory: texts belong to the Lua state while they are on its stack.   Yields: never.
 */
#pragma once
#include "policy/host.h"

struct slice policy_check_text(lua_State *L, int idx);			/* a string or number that is UTF-8 */
struct slice policy_opt_text(lua_State *L, int idx);			/* the same; SLICE_NONE for nil and nothing */
/* An integer, or a number or text that can be cut to one, within MIN..MAX. TYPE is named in the message: "usize", "u16", "i64". */
int64_t policy_check_int(lua_State *L, int idx, const char *type, int64_t min, int64_t max);
double policy_check_number(lua_State *L, int idx);			/* a number or a text that is one */
void policy_check_function(lua_State *L, int idx);
void policy_check_table(lua_State *L, int idx, const char *type);
bool policy_check_bool(lua_State *L, int idx);				/* truth value, as Lua sees it */
/* A span: text ("5m") or a number of seconds, not negative; nanoseconds. */
int64_t policy_check_duration(lua_State *L, int idx);
/* "error converting Lua X to TYPE (WHY)" for argument IDX; WHY may be NULL. */
int policy_arg_error(lua_State *L, int idx, const char *type, const char *why) __attribute__((noreturn));
/* The same with a text of one's own behind "bad argument #N: ". */
int policy_arg_errorf(lua_State *L, int idx, const char *fmt, ...) PRINTF(3, 4) __attribute__((noreturn));
int policy_self_error(lua_State *L, const char *type) __attribute__((noreturn));	/* argument 1 is no object of this type */
const char *policy_type_name(lua_State *L, int idx);			/* "nil", "integer", "number", "string", … */
/* Where bytes stop being UTF-8: "invalid utf-8 sequence of 1 bytes from index 3"; false when they are UTF-8. */
bool policy_utf8_fault(struct slice s, char *out, size_t out_len);
struct opt_desc;
/* Like policy_check_opts, for VAL instead of a table on the stack. */
/* For functions whose options are read elsewhere: raises unless a table is at IDX; raises the err_text of opt_parse, whose table is called
   NAME, in the words of policy_check_opts (any other err_text as it is). */
void policy_check_opts_table(lua_State *L, int idx, const char *name);
int policy_raise_opts(lua_State *L, const char *name) __attribute__((noreturn));
int policy_raise_opts_values(lua_State *L, const char *name) __attribute__((noreturn));	/* the same; a value of a wrong type is shown in any case */
/* policy_check_opts for functions whose errors begin with "bad argument #IDX: ". */
void policy_check_opts_arg(lua_State *L, int idx, const struct opt_desc *d, struct arena *a, void *out);
void policy_check_opts_val(lua_State *L, const struct val *v, const struct opt_desc *d, struct arena *a, void *out);

/* How Lua values become vals. */
enum policy_val_mode {
	POLICY_VAL_DATA,	/* text must be UTF-8 */
	POLICY_VAL_RAW,		/* options: text may be any bytes */
	POLICY_VAL_ENCODE,	/* json_encode and its siblings: bytes that are no UTF-8 become a list of numbers */
	POLICY_VAL_META,	/* the same, and a nil inside of a list is null rather than the list's end */
};
int policy_to_val_mode(lua_State *L, int idx, enum policy_val_mode mode, struct arena *a, struct val *out) WARN_UNUSED;

/* The object at IDX, whatever its type, or NULL. */
void *policy_obj_any(lua_State *L, int idx, const struct policy_obj_type **type);
const char *policy_obj_method_name(const struct policy_obj_type *t, lua_CFunction f);	/* NULL: none of its methods */

/* kumo.reject and kumo.disconnect: ends the event with an SMTP reply, unless the policy catches it. */
int policy_raise_reject(lua_State *L, int code, struct slice text, enum policy_reject_mode mode) __attribute__((noreturn));
/* Calls the function below the NARGS values on top, as lua_call does, but gives failures back: 0 or what policy_call_run returns, with
   err_text set; the stack then is as before the call, without function and arguments. For functions that must clean up. Yields. */
int policy_pcall(lua_State *L, int nargs, int nresults) WARN_UNUSED;

/* kumo.on(NAME, FUNCTION) and kumo.get_event_registrars(NAME), for the kumo module. */
int policy_lua_on(lua_State *L);
int policy_lua_get_event_registrars(lua_State *L);
/* Limits of the pool: kumo.set_max_lua_context_use_count, …_age (milliseconds), kumo.set_max_spare_lua_contexts. */
void policy_set_max_uses(int64_t n);
void policy_set_max_age_ms(int64_t ms);
void policy_set_max_spare(int64_t n);
void policy_set_max_bytes(int64_t n);			/* that one Lua state may hold while policy runs */
