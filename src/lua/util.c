/* SPDX-License-Identifier: Apache-2.0 */
#include "lua/util.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
#include "policy/keysource.h"
#include "rt/clock.h"
#include "rt/fiber.h"
#include "rt/offload.h"

#define FILE_MAX_BYTES (256 * 1024 * 1024)

int lua_fn_sleep(lua_State *L)
{
	double s = policy_check_number(L, 1);
	if (!(s >= 0) || s > 1e12)
		return policy_raisef(L, "a number of seconds to sleep must be finite and not negative");
	int64_t until_us = rt_now_us_exact() + (int64_t)(s * 1e6), left_us;
	int rc = s == 0 ? rt_yield() : 0;
	/* The loop's clock stands still while Lua code runs: a timer may fire early by that much. */
	while (rc == 0 && (left_us = until_us - rt_now_us_exact()) > 0)
		rc = rt_sleep_ms((left_us + 999) / 1000);
	return rc < 0 ? policy_raise(L, rc) : 0;
}

int lua_push_paths(lua_State *L, int rc, struct glob_list *l)
{
	if (rc < 0) {
		glob_list_fini(l);
		return policy_raise(L, rc);
	}
	lua_createtable(L, (int)l->n, 0);
	for (size_t i = 0; i < l->n; i++) {
		lua_pushstring(L, l->paths[i]);
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	glob_list_fini(l);
	return 1;
}

struct read_job {
	const char *path;
	struct buf *out;
	int err;
};

static void read_job(void *arg)
{
	struct read_job *j = arg;
	int fd = open(j->path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		j->err = errno;
		return;
	}
	ssize_t n = 1;
	while (n > 0 && !j->err) {
		buf_reserve(j->out, 65536);
		n = read(fd, j->out->ptr + j->out->len, 65536);
		if (n > 0)
			j->out->len += (size_t)n;
		if (j->out->len > FILE_MAX_BYTES)
			j->err = EFBIG;
		else if (n < 0 && errno == EINTR)
			n = 1;
		else if (n < 0)
			j->err = errno;
	}
	close(fd);
}

int lua_read_file(struct slice path, const char *what, struct buf *out)
{
	struct read_job j = { xmemdup0(path.ptr, path.len), out, 0 };
	if (memchr(path.ptr, 0, path.len))
		j.err = EINVAL;
	else
		rt_offload(read_job, &j);
	free((char *)j.path);
	if (!j.err)
		return 0;
	buf_fini(out);
	return err_set(j.err == ENOENT ? E_NOENT : E_IO, "%s %.*s: %s (os error %d)", what, SLICE_ARG(path), strerror(j.err), j.err);
}

#define KEY_SOURCE_ERROR "deserialize error: data did not match any variant of untagged enum KeySource"

const struct val *lua_check_key_source(lua_State *L, int idx)
{
	struct arena *a = policy_arena(L);
	struct val *v = arena_alloc(a, sizeof *v);
	if (policy_to_val_mode(L, idx, POLICY_VAL_RAW, a, v) < 0 || !policy_key_source_valid(v))
		policy_raisef(L, KEY_SOURCE_ERROR);
	return v;
}

struct slice lua_load_key(lua_State *L, const struct val *source)
{
	struct buf b = { 0 };
	int rc = policy_key_load(source, &b);
	if (rc < 0) {
		buf_fini(&b);
		policy_raise(L, rc);
	}
	struct slice s = arena_dup(policy_arena(L), buf_view(&b));
	buf_fini(&b);
	return s;
}
