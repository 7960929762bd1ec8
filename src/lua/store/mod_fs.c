/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mod_fs - kumo.fs: files, folders and globs, all on the offload pool, so that a slow disk holds up nobody but who asks.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/map.h"
#include "lua/text/mod_time.h"
#include "lua/util.h"
#include "policy/lruttl.h"
#include "rt/clock.h"
#include "rt/offload.h"
#include "rt/sync.h"

#define READ_MAX (256 * 1024 * 1024)

static int raise_errno(lua_State *L, int err)
{
	return policy_raisef(L, "%s (os error %d)", strerror(err), err);
}

/* A path as C string; one with a NUL in it is no path. */
static const char *check_path(lua_State *L, int idx)
{
	struct slice s = policy_check_text(L, idx);
	if (slice_chr(s, '\0') >= 0)
		policy_raisef(L, "file name contained an unexpected NUL byte");
	return arena_strdup(policy_arena(L), s);
}

/* --- metadata ------------------------------------------------------------------------------------------------------- */

struct meta {
	_Atomic uint32_t refs;
	struct stat st;
};

static void *ref_meta(void *p)
{
	((struct meta *)p)->refs++;
	return p;
}

static void unref_meta(void *p)
{
	if (atomic_fetch_sub(&((struct meta *)p)->refs, 1) == 1)
		free(p);
}

static const struct policy_obj_type META_OBJ = { .name = "Metadata", .ref = ref_meta, .unref = unref_meta };

static int meta_index(lua_State *L)
{
	const struct stat *st = &((struct meta *)policy_obj_check(L, 1, &META_OBJ))->st;
	const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
	const struct {
		const char *name;
		int64_t n;
	} numbers[] = { { "len", st->st_size }, { "size", st->st_size }, { "dev", (int64_t)st->st_dev }, { "ino", (int64_t)st->st_ino }, { "mode", st->st_mode },
			{ "nlink", (int64_t)st->st_nlink }, { "uid", st->st_uid }, { "gid", st->st_gid }, { "rdev", (int64_t)st->st_rdev },
			{ "blksize", st->st_blksize }, { "blocks", st->st_blocks } };
	const struct {
		const char *name;
		bool b;
	} flags[] = { { "is_file", S_ISREG(st->st_mode) }, { "is_dir", S_ISDIR(st->st_mode) }, { "is_symlink", S_ISLNK(st->st_mode) }, { "readonly", !(st->st_mode & 0222) } };
	const struct {
		const char *name;
		struct timespec t;
	} times[] = { { "mtime", st->st_mtim }, { "atime", st->st_atim }, { "ctime", st->st_ctim } };
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
		if (strcmp(key, numbers[i].name) == 0) {
			lua_pushinteger(L, numbers[i].n);
			return 1;
		}
	}
	for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
		if (strcmp(key, flags[i].name) == 0) {
			lua_pushboolean(L, flags[i].b);
			return 1;
		}
	}
	for (size_t i = 0; i < ARRAY_LEN(times); i++) {
		if (strcmp(key, times[i].name) == 0) {
			lua_push_time(L, (struct moment){ times[i].t.tv_sec, (uint32_t)times[i].t.tv_nsec });
			return 1;
		}
	}
	return policy_raisef(L, "attempt to get an unknown field '%s'", luaL_tolstring(L, 2, NULL));
}

static const luaL_Reg META_METHODS[] = { { "__index", meta_index }, { NULL, NULL } };

struct stat_job {
	const char *path;
	bool follow;
	struct stat st;
	int err;
};

static void stat_job(void *arg)
{
	struct stat_job *j = arg;
	if ((j->follow ? stat(j->path, &j->st) : lstat(j->path, &j->st)) < 0)
		j->err = errno;
}

static int metadata(lua_State *L, bool follow)
{
	struct stat_job j = { .path = check_path(L, 1), .follow = follow };
	rt_offload(stat_job, &j);
	if (j.err)
		return raise_errno(L, j.err);
	struct meta *m = xzalloc(sizeof *m);
	m->st = j.st;
	policy_obj_push(L, &META_OBJ, m);
	return 1;
}

static int fn_metadata_for_path(lua_State *L) { return metadata(L, true); }
static int fn_symlink_metadata_for_path(lua_State *L) { return metadata(L, false); }

/* --- folders and globs ---------------------------------------------------------------------------------------------- */

struct dir_job {
	const char *path;
	struct glob_list out;
	int err;
};

static void dir_job(void *arg)
{
	struct dir_job *j = arg;
	DIR *d = opendir(j->path);
	if (!d) {
		j->err = errno;
		return;
	}
	struct buf b = { 0 };
	for (struct dirent *e; (e = readdir(d)) != NULL;) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		buf_clear(&b);
		buf_printf(&b, "%s%s%s", j->path, j->path[0] && j->path[strlen(j->path) - 1] == '/' ? "" : "/", e->d_name);
		glob_list_put(&j->out, b.ptr, b.len);
	}
	buf_fini(&b);
	closedir(d);
}

static int fn_read_dir(lua_State *L)
{
	struct dir_job j = { .path = check_path(L, 1) };
	rt_offload(dir_job, &j);
	if (j.err)
		return raise_errno(L, j.err);
	int rc = 0;
	for (size_t i = 0; i < j.out.n && rc == 0; i++)
		if (!utf8_valid(slice_from_cstr(j.out.paths[i])))
			rc = err_set(E_INVAL, "path entry %s is not representable as utf8", j.out.paths[i]);
	return lua_push_paths(L, rc, &j.out);
}

static int fn_uncached_glob(lua_State *L)
{
	struct slice pattern = policy_check_text(L, 1), root = policy_opt_text(L, 2);
	struct glob_list l = { 0 };
	int rc = glob_eval(pattern, root.ptr ? root : SLICE("."), &l);
	return lua_push_paths(L, rc, &l);
}

struct glob_entry {
	int64_t expires_ms;
	struct glob_list paths;
};
static struct rt_lock globs_lock = RT_LOCK_INIT(RANK_CACHE);
static struct map globs;	/* "root\0pattern" -> struct glob_entry; under globs_lock */

static void entry_free(struct glob_entry *e)
{
	if (e)
		glob_list_fini(&e->paths);
	free(e);
}

/* A copy of what is cached, into OUT. */
static bool cached_glob(struct slice key, struct glob_list *out)
{
	rt_lock(&globs_lock);
	struct glob_entry *e = map_get(&globs, key);
	bool fresh = e && rt_now_ms() < e->expires_ms;
	for (size_t i = 0; fresh && i < e->paths.n; i++)
		glob_list_put(out, e->paths.paths[i], strlen(e->paths.paths[i]));
	rt_unlock(&globs_lock);
	return fresh;
}

static void cache_glob(struct slice key, const struct glob_list *l, int64_t ttl_ms)
{
	struct glob_entry *e = xzalloc(sizeof *e);
	e->expires_ms = rt_now_ms() + ttl_ms;
	for (size_t i = 0; i < l->n; i++)
		glob_list_put(&e->paths, l->paths[i], strlen(l->paths[i]));
	rt_lock(&globs_lock);
	if ((int64_t)map_len(&globs) >= lruttl_capacity("mod_filesystem_glob_cache")) {	/* few and short-lived: start afresh */
		for (struct map_iter it = { 0 }; map_next(&globs, &it);)
			entry_free(it.value);
		map_fini(&globs);
		globs = (struct map){ 0 };
	}
	e = map_put(&globs, key, e);
	rt_unlock(&globs_lock);
	entry_free(e);
}

static int fn_glob(lua_State *L)
{
	struct slice pattern = policy_check_text(L, 1), root = policy_opt_text(L, 2);
	double ttl = lua_isnoneornil(L, 3) ? 60 : policy_check_number(L, 3);
	struct glob_list l = { 0 };
	if (!root.ptr)
		root = SLICE(".");
	struct slice key = arena_slicef(policy_arena(L), "%.*s\n%.*s", SLICE_ARG(root), SLICE_ARG(pattern));
	int rc = 0;
	if (!cached_glob(key, &l)) {
		rc = glob_eval(pattern, root, &l);
		if (rc == 0)
			cache_glob(key, &l, ttl > 0 && ttl < 1e9 ? (int64_t)(ttl * 1000) : 0);
	}
	return lua_push_paths(L, rc, &l);
}

/* --- files ---------------------------------------------------------------------------------------------------------- */

struct file {
	int fd;			/* -1: closed */
};

static void unref_file(void *p)
{
	struct file *f = p;
	if (f->fd >= 0)
		close(f->fd);
	free(f);
}

static const struct policy_obj_type FILE_OBJ = { .name = "AsyncFile", .unref = unref_file };

static struct file *check_file(lua_State *L)
{
	struct file *f = policy_obj_check(L, 1, &FILE_OBJ);
	if (f->fd < 0)
		policy_raisef(L, "the file has been closed");
	return f;
}

struct io_job {
	int fd;
	enum { JOB_READ, JOB_WRITE, JOB_SEEK, JOB_CLOSE } what;
	struct slice data;	/* to write */
	struct buf out;
	size_t max;
	int64_t offset;		/* in: for SEEK; out: the new position */
	int whence;
	int err;
};

static void read_some(struct io_job *j)
{
	while (j->out.len < j->max && !j->err) {
		size_t room = MIN(j->max - j->out.len, (size_t)65536);
		buf_reserve(&j->out, room);
		ssize_t n = read(j->fd, j->out.ptr + j->out.len, room);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			j->err = errno;
		if (n <= 0)
			return;
		j->out.len += (size_t)n;
		if (j->out.len > READ_MAX)
			j->err = EFBIG;
	}
}

static void io_job(void *arg)
{
	struct io_job *j = arg;
	off_t at;
	switch (j->what) {
	case JOB_READ:
		read_some(j);
		break;
	case JOB_WRITE:
		while (j->data.len && !j->err) {
			ssize_t n = write(j->fd, j->data.ptr, j->data.len);
			if (n >= 0)
				j->data = slice_sub(j->data, (size_t)n, SIZE_MAX);
			else if (errno != EINTR)
				j->err = errno;
		}
		break;
	case JOB_SEEK:
		at = lseek(j->fd, (off_t)j->offset, j->whence);
		if (at < 0)
			j->err = errno;
		j->offset = at;
		break;
	case JOB_CLOSE:
		if (close(j->fd) < 0)
			j->err = errno;
		break;
	}
}

static void run(lua_State *L, struct io_job *j)
{
	rt_offload(io_job, j);
	if (j->err) {
		buf_fini(&j->out);
		raise_errno(L, j->err);
	}
}

static int file_read(lua_State *L)
{
	struct file *f = check_file(L);
	struct io_job j = { .fd = f->fd, .what = JOB_READ, .max = SIZE_MAX };
	if (!lua_isnoneornil(L, 2))
		j.max = (size_t)policy_check_int(L, 2, "usize", 0, INT64_MAX);
	run(L, &j);
	lua_pushlstring(L, j.out.ptr ? j.out.ptr : "", j.out.len);
	buf_fini(&j.out);
	return 1;
}

static int file_write(lua_State *L)
{
	struct file *f = check_file(L);
	struct io_job j = { .fd = f->fd, .what = JOB_WRITE, .data = policy_check_slice(L, 2) };
	run(L, &j);
	return 0;
}

static int file_seek(lua_State *L)
{
	struct file *f = check_file(L);
	struct io_job j = { .fd = f->fd, .what = JOB_SEEK, .whence = SEEK_CUR };
	bool has_whence = false, has_offset = false;
	for (int i = 2; i <= lua_gettop(L) && !lua_isnil(L, i); i++) {
		if (lua_isinteger(L, i)) {
			if (has_offset)
				return policy_raisef(L, "offset already set");
			has_offset = true;
			j.offset = lua_tointeger(L, i);
			continue;
		}
		const char *w = lua_type(L, i) == LUA_TSTRING ? lua_tostring(L, i) : "";
		int whence = strcmp(w, "set") == 0 ? SEEK_SET : strcmp(w, "cur") == 0 ? SEEK_CUR : strcmp(w, "end") == 0 ? SEEK_END : -1;
		if (whence < 0)
			return policy_raisef(L, "invalid whence/offset parameters to seek");
		if (has_whence)
			return policy_raisef(L, "whence already set");
		has_whence = true;
		j.whence = whence;
	}
	if (j.whence == SEEK_SET && j.offset < 0)
		return policy_raisef(L, "start-relative offset %lld is out of range", (long long)j.offset);
	run(L, &j);
	lua_pushinteger(L, j.offset);
	return 1;
}

/* Nothing is buffered on this side. */
static int file_flush(lua_State *L)
{
	check_file(L);
	return 0;
}

static int file_close(lua_State *L)
{
	struct file *f = policy_obj_check(L, 1, &FILE_OBJ);
	if (f->fd < 0)
		return 0;
	struct io_job j = { .fd = f->fd, .what = JOB_CLOSE };
	f->fd = -1;
	run(L, &j);
	return 0;
}

static const luaL_Reg FILE_METHODS[] = {
	{ "read", file_read }, { "write", file_write }, { "seek", file_seek }, { "flush", file_flush }, { "close", file_close }, { "__close", file_close }, { NULL, NULL },
};

struct open_job {
	const char *path;
	int flags, fd, err;
};

static void open_job(void *arg)
{
	struct open_job *j = arg;
	j->fd = open(j->path, j->flags | O_CLOEXEC, 0666);
	j->err = j->fd < 0 ? errno : 0;
}

static int fn_open(lua_State *L)
{
	static const struct {
		const char *mode;
		int flags;
	} modes[] = {
		{ "r", O_RDONLY }, { "rb", O_RDONLY }, { "w", O_WRONLY | O_CREAT | O_TRUNC }, { "wb", O_WRONLY | O_CREAT | O_TRUNC },
		{ "a", O_WRONLY | O_CREAT | O_APPEND }, { "ab", O_WRONLY | O_CREAT | O_APPEND }, { "r+", O_RDWR | O_CREAT }, { "r+b", O_RDWR | O_CREAT },
		{ "w+", O_RDWR | O_CREAT | O_TRUNC }, { "w+b", O_RDWR | O_CREAT | O_TRUNC }, { "a+", O_RDWR | O_CREAT | O_APPEND }, { "a+b", O_RDWR | O_CREAT | O_APPEND },
	};
	struct open_job j = { .path = check_path(L, 1), .flags = -1 };
	struct slice mode = policy_opt_text(L, 2);
	if (!mode.ptr)
		mode = SLICE("r");
	for (size_t i = 0; i < ARRAY_LEN(modes); i++)
		if (slice_eq_cstr(mode, modes[i].mode))
			j.flags = modes[i].flags;
	if (j.flags < 0)
		return policy_raisef(L, "unsupported file mode `%.*s`", SLICE_ARG(mode));
	rt_offload(open_job, &j);
	if (j.err)
		return policy_raisef(L, "failed to open %s with mode %.*s: %s (os error %d)", j.path, SLICE_ARG(mode), strerror(j.err), j.err);
	struct file *f = xzalloc(sizeof *f);
	f->fd = j.fd;
	policy_obj_push(L, &FILE_OBJ, f);
	return 1;
}

static const luaL_Reg FUNCTIONS[] = {
	{ "open", fn_open }, { "read_dir", fn_read_dir }, { "glob", fn_glob }, { "uncached_glob", fn_uncached_glob },
	{ "metadata_for_path", fn_metadata_for_path }, { "symlink_metadata_for_path", fn_symlink_metadata_for_path }, { NULL, NULL },
};
const struct policy_module mod_fs = { "kumo.fs", FUNCTIONS, NULL };

/* The older names, in the module kumo itself. */
static int old_glob(lua_State *L) { return fn_glob(L); }
static int old_uncached_glob(lua_State *L) { return fn_uncached_glob(L); }
static int old_read_dir(lua_State *L) { return fn_read_dir(L); }

static const luaL_Reg ALIASES[] = { { "glob", old_glob }, { "uncached_glob", old_uncached_glob }, { "read_dir", old_read_dir }, { NULL, NULL } };
const struct policy_module mod_fs_aliases = { "kumo", ALIASES, NULL };

void mod_fs_register(void)
{
	policy_obj_methods(&META_OBJ, META_METHODS);
	policy_obj_methods(&FILE_OBJ, FILE_METHODS);
}
