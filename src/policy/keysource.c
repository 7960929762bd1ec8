/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/keysource.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/encode.h"
#include "base/xalloc.h"
#include "net/http_client.h"
#include "policy/internal.h"
#include "rt/offload.h"

#define VAULT_TIMEOUT_MS 30000
#define KEY_MAX (1 << 20)	/* nothing that is a key or a chain of certificates is larger */

bool policy_key_source_valid(const struct val *in)
{
	const struct val *data = val_get_lit(in, "key_data"), *args = val_get_lit(in, "event_args");
	if (in->type == VAL_STR || (data && data->type == VAL_STR))
		return true;
	if (val_get_str(in, SLICE("event_name")).ptr && args && (args->type == VAL_LIST || (args->type == VAL_OBJ && args->n == 0)))
		return true;
	return val_get_str(in, SLICE("vault_mount")).ptr && val_get_str(in, SLICE("vault_path")).ptr;
}

int policy_read_key_source(struct opt_ctx *c, const struct val *in, void *out)
{
	if (!policy_key_source_valid(in))
		return opt_error(c, "data did not match any variant of untagged enum KeySource");	/* upstream's words; docs: keysource */
	struct val *kept = arena_alloc(opt_arena(c), sizeof *kept); /* options outlive the table that they were read from */
	*kept = val_copy(opt_arena(c), in);
	*(const struct val **)out = kept;
	return 0;
}

struct read_job {
	const char *path;
	struct buf *out;
	int rc;
	int error;
};

static void read_file(void *arg)
{
	struct read_job *j = arg;
	int fd = open(j->path, O_RDONLY | O_CLOEXEC);
	ssize_t n = 0;
	if (fd < 0) {
		j->error = errno;
		return;
	}
	do {
		buf_reserve(j->out, 8192);
		n = read(fd, j->out->ptr + j->out->len, 8192);
		if (n > 0)
			j->out->len += n;
	} while (n > 0 && j->out->len <= KEY_MAX);
	if (n < 0)
		j->error = errno;
	else if (j->out->len > KEY_MAX)
		j->error = EFBIG;
	close(fd);
}

static int load_file(struct slice path, struct buf *out)
{
	char *text = xmemdup0(path.ptr, path.len);
	struct read_job j = { text, out, 0, 0 };
	int rc = 0;
	rt_offload(read_file, &j);
	if (j.error != 0)
		rc = err_set(j.error == ENOENT ? E_NOENT : E_IO, "KeySource failed to load data from file `%s`: %s (os error %d)", text, strerror(j.error), j.error);
	free(text);
	return rc;
}

static int push_args(lua_State *L, const struct val *args)
{
	int n = 0;
	for (uint32_t i = 0; args != NULL && args->type == VAL_LIST && i < args->n; i++, n++) {
		luaL_checkstack(L, 2, "event_args");
		policy_push_val(L, &args->items[i]);
	}
	return n;
}

static int load_event(const struct val *source, struct buf *out)
{
	struct slice name = val_get_str(source, SLICE("event_name"));
	struct policy_call c;
	int rc;

	if (!policy_event_wanted_name(name))
		return err_set(E_POLICY, "Event %.*s has not been registered", SLICE_ARG(name));
	if ((rc = policy_call_begin_name(&c, name)) < 0)
		return rc;
	rc = policy_call_run(&c, push_args(c.L, val_get_lit(source, "event_args")), 1);
	if (rc == 0) {
		size_t len;
		const char *data = lua_type(c.L, -1) == LUA_TSTRING ? lua_tolstring(c.L, -1, &len) : NULL;
		if (data != NULL)
			buf_put(out, data, len);
		else
			rc = err_set(E_POLICY, "the handler of %.*s must return a string, it returned %s", SLICE_ARG(name), luaL_typename(c.L, -1));
	}
	policy_call_end(&c);
	return rc;
}

/* --- HashiCorp Vault, key/value store version 2 --- */

static struct slice vault_setting(const struct val *source, struct slice field, const char *env)
{
	struct slice s = val_get_str(source, field);
	return s.ptr ? s : slice_from_cstr(getenv(env));
}

/* The answer {"data":{"data":{KEY: TEXT}}}. */
static int vault_answer(struct slice body, struct slice path, struct slice key, struct buf *out)
{
	struct arena *a = arena_create();
	struct val v;
	int rc = json_parse(body, a, &v);
	if (rc == 0) {
		struct slice text = val_get_str(val_get_lit(val_get_lit(&v, "data"), "data"), key);
		if (text.ptr)
			buf_slice(out, text);
		else
			rc = err_set(E_NOENT, "vault secret at %.*s does not contain key '%.*s'", SLICE_ARG(path), SLICE_ARG(key));
	}
	arena_destroy(&a);
	return rc;
}

static int load_vault(const struct val *source, struct buf *out)
{
	struct slice mount = val_get_str(source, SLICE("vault_mount")), path = val_get_str(source, SLICE("vault_path")), key = val_get_str(source, SLICE("vault_key"));
	struct slice address = vault_setting(source, SLICE("vault_address"), "VAULT_ADDR"), token = vault_setting(source, SLICE("vault_token"), "VAULT_TOKEN");
	struct buf url = { 0 };
	struct http_reply reply = { 0 };
	if (!address.ptr)
		return err_set(E_INVAL, "key source: vault_address was not specified and $VAULT_ADDR is not set");
	if (!token.ptr)
		return err_set(E_INVAL, "key source: vault_token was not specified and $VAULT_TOKEN is not set");
	while (address.len && address.ptr[address.len - 1] == '/')
		address.len--;
	buf_slice(&url, address);
	buf_lit(&url, "/v1/");
	percent_put(&url, mount, "/-_.~");
	buf_lit(&url, "/data/");
	percent_put(&url, path, "/-_.~");
	const struct http1_header headers[] = { { .name = SLICE("X-Vault-Token"), .value = token } };
	const struct http_fetch f = { .method = "GET", .url = buf_cstr(&url), .headers = headers, .n_headers = 1, .timeout_ms = VAULT_TIMEOUT_MS, .max_bytes = KEY_MAX };
	int rc = http_fetch(&f, &reply);
	if (rc == 0 && reply.status != 200)
		rc = err_set(reply.status == 404 ? E_NOENT : E_ACCESS, "the server answered %d", reply.status);
	if (rc == 0)
		rc = vault_answer(buf_view(&reply.body), path, key.ptr ? key : SLICE("key"), out);
	if (rc < 0)
		err_prefix("key source: vault_mount=%.*s, vault_path=%.*s", SLICE_ARG(mount), SLICE_ARG(path));
	http_reply_fini(&reply);
	buf_fini(&url);
	return rc;
}

int policy_key_load(const struct val *source, struct buf *out)
{
	if (source->type == VAL_STR)
		return load_file(source->s, out);
	const struct val *data = val_get_lit(source, "key_data");
	if (data != NULL && data->type == VAL_STR) {
		buf_slice(out, data->s);
		return 0;
	}
	if (val_get_lit(source, "event_name") != NULL)
		return load_event(source, out);
	if (val_get_lit(source, "vault_path") != NULL)
		return load_vault(source, out);
	return err_set(E_INVAL, "key source: expected the path of a file, {key_data=TEXT}, {event_name=, event_args=} or {vault_mount=, vault_path=}");
}
