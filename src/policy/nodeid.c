/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/nodeid.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "rt/diag.h"

#define DEFAULT_PATH "/opt/kumomta/etc/.nodeid"

static struct uuid id;
static char text[40];

/* An id that stays the same while the network card does: a version 1 at time zero. */
static struct uuid from_machine(void)
{
	struct uuid u = uuid_v1();	/* its node part is the card's address */
	uint8_t node[6];
	memcpy(node, u.bytes + 10, sizeof node);
	return uuid_v1_at(0, 0, node);
}

static void make_file(const char *path)
{
	struct buf b = { 0 };
	id = uuid_v4();
	uuid_put(&b, id);
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, b.ptr, b.len) != (ssize_t)b.len) {
		diag_debug("kumod", "the node id could not be written to %s: %s", path, strerror(errno));
		id = from_machine();
	}
	if (fd >= 0)
		close(fd);
	buf_fini(&b);
}

static int from_file(const char *path)
{
	char line[256];
	FILE *f = fopen(path, "re");
	if (!f) {
		make_file(path);
		return 0;
	}
	size_t n = fread(line, 1, sizeof line - 1, f);
	fclose(f);
	struct slice s = slice_trim(slice_new(line, n));
	if (uuid_parse(s, &id) < 0)
		return err_set(E_INVAL, "File \"%s\" content `%.*s` is not a valid UUID", path, SLICE_ARG(s));
	return 0;
}

int nodeid_init(void)
{
	const char *env = getenv("KUMO_NODE_ID"), *path = getenv("KUMO_NODE_ID_PATH");
	int rc = 0;
	if (env && uuid_parse(slice_from_cstr(env), &id) < 0)
		rc = err_set(E_INVAL, "Env var KUMO_NODE_ID (`%s`) is not a valid UUID", env);
	else if (!env)
		rc = from_file(path ? path : DEFAULT_PATH);
	struct buf b = { 0 };
	uuid_put(&b, id);
	snprintf(text, sizeof text, "%s", buf_cstr(&b));
	buf_fini(&b);
	return rc;
}

struct uuid nodeid(void)
{
	return id;
}

const char *nodeid_text(void)
{
	return text;
}
