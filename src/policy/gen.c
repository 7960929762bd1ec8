/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gen - generations of the policy: what was read and compiled for one configuration epoch.
 *
 * A bump of the epoch reads everything again in the background and puts the new generation in place once its top level has run. A policy that
 * does not load any more is reported and the one before stays in force: a slip in an editor must not stop a server that delivers mail.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/utf8.h"
#include "base/xalloc.h"
#include "policy/internal.h"
#include "policy/watch.h"
#include "rt/diag.h"
#include "rt/fiber.h"
#include "rt/loop.h"
#include "rt/offload.h"

#define FILE_MAX_BYTES (64 * 1024 * 1024)
#define ON_EPOCH_MAX 32

static struct rt_lock lock = RT_LOCK_INIT(RANK_CONFIG);
/* under lock */
static struct policy_gen *live;
static bool reloading, reload_again;
/* immutable once the policy is loaded */
static char *policy_path;
static void (*on_epoch[ON_EPOCH_MAX])(void);
static size_t n_on_epoch;
/* shared by atomics */
static _Atomic uint64_t epoch = 1;
static atomic_bool validating, validation_failed;

static struct policy_gen *gen_create(uint64_t at)
{
	struct policy_gen *g = xzalloc(sizeof *g);
	OBJ_INIT(g, POLICY_GEN_MAGIC);
	g->refs = 1;
	g->epoch = at;
	rt_lock_init(&g->lock, RANK_LEAF);
	return g;
}

void policy_gen_unref(struct policy_gen **gp)
{
	struct policy_gen *g = *gp;
	*gp = NULL;
	if (!g)
		return;
	OBJ_CHECK(g, POLICY_GEN_MAGIC);
	if (atomic_fetch_sub(&g->refs, 1) > 1)
		return;
	for (struct map_iter it = { 0 }; map_next(&g->chunks, &it);)
		free(it.value);
	map_fini(&g->chunks);
	map_fini(&g->events);
	rt_lock_fini(&g->lock);
	OBJ_FINI(g, POLICY_GEN_MAGIC);
	free(g);
}

struct policy_gen *policy_gen_current(void)
{
	rt_lock(&lock);
	struct policy_gen *g = live;
	if (g)
		g->refs++;
	rt_unlock(&lock);
	return g;
}

const char *policy_gen_path(void)
{
	return policy_path;
}

/* --- files ---------------------------------------------------------------------------------------------------------- */

struct read_job {
	const char *file;
	struct buf text;
	int err;		/* errno, or -1: too large */
};

static void read_file(void *arg)
{
	struct read_job *j = arg;
	int fd = open(j->file, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		j->err = errno;
		return;
	}
	for (;;) {
		buf_reserve(&j->text, 65536);
		ssize_t n = read(fd, j->text.ptr + j->text.len, 65536);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			j->err = errno;
		if (n <= 0)
			break;
		j->text.len += (size_t)n;
		if (j->text.len > FILE_MAX_BYTES) {
			j->err = EFBIG;
			break;
		}
	}
	close(fd);
}

static int chunk_writer(lua_State *L, const void *p, size_t len, void *arg)
{
	buf_put(arg, p, len);
	return 0;
}

/* A first line that begins with # is for the shell. */
static struct slice skip_shebang(struct slice s)
{
	if (s.len && s.ptr[0] == '#') {
		ptrdiff_t nl = slice_chr(s, '\n');
		return nl < 0 ? slice_sub(s, s.len, 0) : slice_sub(s, (size_t)nl, SIZE_MAX);
	}
	return s;
}

static int compile(struct slice text, const char *chunk_name, struct chunk **out)
{
	lua_State *L = luaL_newstate();
	assert(L != NULL);
	if (luaL_loadbufferx(L, text.ptr, text.len, chunk_name, "t") != LUA_OK) {
		err_set(E_POLICY, "syntax error: %s", lua_tostring(L, -1));
		lua_close(L);
		return -E_POLICY;
	}
	struct buf b = { 0 };
	lua_dump(L, chunk_writer, &b, 0);
	lua_close(L);
	struct chunk *c = xmalloc(sizeof *c + b.len);
	c->len = b.len;
	memcpy(c->bytes, b.ptr, b.len);
	buf_fini(&b);
	*out = c;
	return 0;
}

int policy_gen_chunk(struct policy_gen *g, const char *file, const char *chunk_name, const struct chunk **out)
{
	OBJ_CHECK(g, POLICY_GEN_MAGIC);
	struct slice key = slice_from_cstr(file);
	rt_lock(&g->lock);
	struct chunk *c = map_get(&g->chunks, key);
	rt_unlock(&g->lock);
	if (c) {
		*out = c;
		return 0;
	}
	struct read_job j = { .file = file };
	rt_offload(read_file, &j);
	int rc = 0;
	if (j.err)
		rc = err_set(j.err == ENOENT ? E_NOENT : E_IO, "reading policy file \"%s\": %s (os error %d)", file, strerror(j.err), j.err);
	else if (!utf8_valid(buf_view(&j.text)))
		rc = err_set(E_INVAL, "reading policy file \"%s\": not valid UTF-8", file);
	else
		rc = compile(skip_shebang(buf_view(&j.text)), chunk_name, &c);
	buf_fini(&j.text);
	if (rc < 0)
		return rc;
	rt_lock(&g->lock);
	struct chunk *first = map_get(&g->chunks, key);
	if (first) {	/* another fiber was faster */
		free(c);
		c = first;
	} else {
		map_put(&g->chunks, key, c);
	}
	rt_unlock(&g->lock);
	*out = c;
	return 0;
}

/* --- events --------------------------------------------------------------------------------------------------------- */

void policy_gen_note_events(struct policy_gen *g, lua_State *L)
{
	rt_lock(&g->lock);
	lua_getfield(L, LUA_REGISTRYINDEX, REG_EVENTS);
	for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
		size_t len;
		const char *name = lua_tolstring(L, -2, &len);
		if (!map_get(&g->events, slice_new(name, len)))
			map_put(&g->events, slice_new(name, len), g);
	}
	lua_pop(L, 1);
	g->loaded = true;
	rt_unlock(&g->lock);
}

bool policy_event_wanted_name(struct slice name)
{
	struct policy_gen *g = policy_gen_current();
	if (!g)
		return false;
	rt_lock(&g->lock);
	bool wanted = map_get(&g->events, name) != NULL;
	rt_unlock(&g->lock);
	policy_gen_unref(&g);
	return wanted;
}

bool policy_event_wanted(const struct policy_event *ev)
{
	return policy_event_wanted_name(slice_from_cstr(ev->name));
}

/* --- loading and epochs --------------------------------------------------------------------------------------------- */

/* A generation whose top level has run, with the state it ran in. */
static int gen_load(struct policy_gen **gen, struct policy_state **state)
{
	struct policy_gen *g = gen_create(atomic_load(&epoch));
	struct policy_state *st = policy_state_create(g);
	int rc = policy_state_load(st);
	if (rc < 0) {
		err_prefix("Error evaluating policy file \"%s\"", policy_path);
		policy_state_destroy(&st);
		policy_gen_unref(&g);
		return rc;
	}
	*gen = g;
	*state = st;
	return 0;
}

static void gen_install(struct policy_gen *g)
{
	rt_lock(&lock);
	struct policy_gen *old = live;
	live = g;
	rt_unlock(&lock);
	policy_gen_unref(&old);
}

int policy_load(const struct policy_conf *conf)
{
	free(policy_path);
	policy_path = conf->path ? xstrdup(conf->path) : NULL;
	struct policy_gen *g;
	struct policy_state *st;
	int rc = gen_load(&g, &st);
	if (rc < 0)
		return rc;
	gen_install(g);
	policy_state_return(st);
	return 0;
}

static void reload(void *arg)
{
	for (;;) {
		struct policy_gen *g;
		struct policy_state *st;
		if (gen_load(&g, &st) == 0) {
			gen_install(g);
			policy_state_return(st);
		} else if (rt_check() == 0) {
			diag_error("policy", "the changed policy cannot be loaded, the one before stays in force: %s", err_text());
		}
		rt_lock(&lock);
		bool again = reload_again;
		reload_again = false;
		reloading = again;
		rt_unlock(&lock);
		if (!again || rt_check() < 0)
			return;
	}
}

static void start_reload(void *arg)
{
	rt_fiber_spawn("policy reload", reload, NULL);
}

uint64_t policy_epoch(void)
{
	return atomic_load(&epoch);
}

void policy_on_epoch(void (*fn)(void))
{
	assert(n_on_epoch < ON_EPOCH_MAX);
	on_epoch[n_on_epoch++] = fn;
}

void policy_bump_epoch(void)
{
	atomic_fetch_add(&epoch, 1);
	for (size_t i = 0; i < n_on_epoch; i++)
		on_epoch[i]();
	rt_lock(&lock);
	bool start = live && !reloading && rt_shard_count() > 0;
	if (reloading)
		reload_again = true;
	reloading |= start;
	rt_unlock(&lock);
	if (start)
		rt_post(rt_shard_at(0), start_reload, NULL);
}

void policy_loaded_files(void (*fn)(void *arg, struct slice file), void *arg)
{
	struct policy_gen *g = policy_gen_current();
	if (!g)
		return;
	rt_lock(&g->lock);
	for (struct map_iter it = { 0 }; map_next(&g->chunks, &it);)
		fn(arg, it.key);
	rt_unlock(&g->lock);
	policy_gen_unref(&g);
}

/* --- validation ----------------------------------------------------------------------------------------------------- */

void policy_mark_validation_failed(void)
{
	atomic_store(&validation_failed, true);
}

bool policy_validation_failed(void)
{
	return atomic_load(&validation_failed);
}

bool policy_is_validating(void)
{
	return atomic_load(&validating);
}

void policy_set_validating(bool on)
{
	atomic_store(&validating, on);
}
