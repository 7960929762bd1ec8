/* SPDX-License-Identifier: Apache-2.0 */
/*
 * internal - what the files of the policy host share; nobody else includes it.
 *
 * A generation is one reading of the policy file: its bytecode, that of the modules it requires, and which events it handles. A state
 * is one Lua state made from a generation; it belongs to a shard's pool, or to the one call that leases it.
 *
 * Thread:  a generation is shared (its tables under its lock), a state belongs to one shard.
 * Memory:  generations are reference-counted; states own their lua_State.
 */
#pragma once
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include "base/arena.h"
#include "base/list.h"
#include "base/map.h"
#include "policy/arg.h"
#include "policy/host.h"
#include "policy/lua_pattern.h"
#include "rt/sync.h"

#define POLICY_STATE_MAGIC OBJ_MAGIC('L', 'u', 'a', 'S')
#define POLICY_GEN_MAGIC OBJ_MAGIC('P', 'G', 'e', 'n')

/* Keys in each state's registry. */
#define REG_EVENTS "kumo.events"		/* name -> list of handlers */
#define REG_REGISTRARS "kumo.registrars"	/* name -> list of "file:line" */
#define REG_OBJ_TYPES "kumo.objects"		/* light userdata of the type -> metatable */
#define REG_LIST_META "kumo.list"		/* the metatable of lists that came from data */

struct chunk {
	size_t len;
	char bytes[];
};
struct policy_gen {
	uint32_t magic;
	_Atomic uint32_t refs;
	uint64_t epoch;
	struct rt_lock lock;	/* guards what follows */
	struct map chunks;	/* file name -> struct chunk */
	struct map events;	/* event name -> itself: what the top level registered */
	bool loaded;		/* the top level has run once */
};

struct policy_state {
	uint32_t magic;
	struct list node;	/* in the pool's idle list */
	lua_State *L;
	struct policy_gen *gen;
	struct arena *arena;
	int64_t born_ms;
	uint32_t uses;
	bool broken;		/* an error or a cancellation went through it: not to be used again */
	bool loading;		/* the top level is running: kumo.on is allowed */
	const char *event;	/* the running event; NULL: none */
	bool in_finalizer, hurry;	/* hurry: the hook comes with the next instruction */
	unsigned finalizer_hooks;	/* since the outermost finalizer began */
	struct pattern_steps pattern_steps;
	unsigned running;		/* policy code, protected: it may fail for memory */
	size_t bytes, hook_bytes;	/* held; allocated since the last hook */
	size_t foreign_bytes;	/* of messages that its collector does not see, since it was leased */
};

static inline struct policy_state *policy_state_of(lua_State *L)
{
	struct policy_state *st = *(struct policy_state **)lua_getextraspace(L);
	OBJ_CHECK(st, POLICY_STATE_MAGIC);
	return st;
}

/* error.c */
void policy_error_open(lua_State *L);
int policy_error_traceback(lua_State *L);	/* message handler: keeps error objects, makes one of anything else */
/* Takes the error on top of the stack: fills err_text (and C when given), pops it, returns -E_REJECT, -E_POLICY, -E_CANCELED or -E_TIMEOUT. */
int policy_error_take(lua_State *L, struct policy_call *c);
int policy_check_unwind(lua_State *L);		/* raises when the fiber is canceled or a deadline around it passed */

/* guard.c: pcall, xpcall, coroutine.resume that do not swallow a cancellation; the count hook; the allocator */
void policy_guard_open(lua_State *L);
void policy_guard_stack(lua_State *L);		/* raises when a call from C back to Lua might not have stack enough */
bool policy_guard_finalizer_late(lua_State *L);	/* the one that runs has had its time */
void *policy_guard_alloc(void *state, void *p, size_t old, size_t size);
int policy_guard_run(lua_State *L, int nargs, int nresults, int handler) WARN_UNUSED;	/* lua_pcall of policy's code, within the limits */

/* lua_os.c: os.execute that waits as fibers do */
void policy_os_open(lua_State *L);

/* state.c */
struct policy_state *policy_state_create(struct policy_gen *gen);	/* libraries and modules; the policy has not run */
void policy_state_destroy(struct policy_state **st);
int policy_state_load(struct policy_state *st) WARN_UNUSED;		/* runs the policy's top level. Yields. */

/* gen.c */
struct policy_gen *policy_gen_current(void);				/* a reference, or NULL before policy_load */
void policy_gen_unref(struct policy_gen **g);
/* The bytecode of FILE, compiled when it is seen first. Yields. */
int policy_gen_chunk(struct policy_gen *g, const char *file, const char *chunk_name, const struct chunk **out) WARN_UNUSED;
const char *policy_gen_path(void);					/* the policy file; NULL: none was given */
void policy_gen_note_events(struct policy_gen *g, lua_State *L);

/* pool.c */
int policy_state_lease(struct policy_state **out) WARN_UNUSED;		/* Yields. */
void policy_state_return(struct policy_state *st);
int64_t policy_pool_idle(void);						/* states of all shards that wait for use */

/* stats.c: what the metrics lua_* show */
struct policy_event_stats;						/* owned by the shard, for good; NULL is ignored */
void policy_stats_states(int delta);
struct policy_event_stats *policy_stats_load(void);			/* a policy is loaded into a new state */
struct policy_event_stats *policy_stats_of(const char *event);
int64_t policy_stats_begin(struct policy_event_stats *s);
void policy_stats_end(struct policy_event_stats *s, int64_t begun_us);

/* module.c, obj.c */
void policy_modules_open(lua_State *L);
void policy_obj_open(lua_State *L);
