/* SPDX-License-Identifier: Apache-2.0 */
/* client - the connection: lines, replies, greeting, STARTTLS, AUTH, goodbye. */
#include <stdlib.h>
#include "base/encode.h"
#include "base/xalloc.h"
#include "rt/fiber.h"
#include "smtp/client/client_int.h"

#define LINE_PAUSE_MAX_MS 60000	/* between two lines of one reply */

/* -- life -- */

struct smtp_client *smtp_client_create(struct rt_io *io, const struct smtp_client_conf *conf)
{
	struct smtp_client *c = xzalloc(sizeof *c);

	OBJ_INIT(c, SMTP_CLIENT_MAGIC);
	c->io = io;
	c->conf = *conf;
	return c;
}

void smtp_client_destroy(struct smtp_client **cp)
{
	struct smtp_client *c = *cp;

	*cp = NULL;
	if (c == NULL)
		return;
	OBJ_CHECK(c, SMTP_CLIENT_MAGIC);
	client_close(c);
	buf_fini(&c->extensions);
	smtp_reply_fini(&c->reply);
	OBJ_FINI(c, SMTP_CLIENT_MAGIC);
	free(c);
}

bool smtp_client_connected(const struct smtp_client *c)
{
	OBJ_CHECK(c, SMTP_CLIENT_MAGIC);
	return c->io != NULL;
}

void smtp_client_set_ignore_8bit(struct smtp_client *c, bool on)
{
	c->conf.ignore_8bit = on;
}

void client_trace(struct smtp_client *c, enum smtp_trace_kind kind, struct slice data)
{
	if (c->conf.trace)
		c->conf.trace(c->conf.trace_arg, kind, data);
}

static void client_trace_error(struct smtp_client *c)
{
	client_trace(c, SMTP_TRACE_ERROR, slice_from_cstr(err_text()));
}

void client_close(struct smtp_client *c)
{
	if (c->io == NULL)
		return;
	rt_io_close(&c->io);
	client_trace(c, SMTP_TRACE_CLOSED, SLICE_NONE);
}

/* -- lines -- */

static struct slice without_crlf(struct slice command)
{
	return command.len ? slice_trim_end(command) : SLICE("NONE");
}

/* Tells whose time was over: ours (OWN), or the caller's. */
static int interrupted(struct smtp_client *c, int rc, bool own)
{
	if (rc == -E_TIMEOUT && !own)
		rc = -E_SHUTDOWN;
	if (rc != -E_CANCELED && rc != -E_SHUTDOWN) {
		client_trace_error(c);
		client_close(c);
	}
	return rc;
}

static int closed_before(void)
{
	return err_set(E_CLOSED, "the socket was closed in response to an earlier issue");
}

static int read_line(struct smtp_client *c, struct slice *line, int64_t pause_ms)
{
	rt_io_set_timeout(c->io, pause_ms, INT64_MAX);
	int rc = rt_io_read_line(c->io, SMTP_LINE_MAX, line, NULL);
	if (rc == -E_LIMIT) {
		rc = err_set(E_PROTO, "Response line is too long");
		client_trace_error(c);
		client_close(c); /* where the next reply begins is anybody's guess */
	} else if (rc == 0 && c->conf.trace) {
		char *copy = xasprintf("%.*s\r\n", SLICE_ARG(*line));
		client_trace(c, SMTP_TRACE_READ, slice_from_cstr(copy));
		free(copy);
	}
	return rc;
}

static int read_lines(struct smtp_client *c)
{
	struct slice line;
	bool first = true;
	int rc;

	smtp_reply_reset(&c->reply);
	for (;;) {
		if ((rc = read_line(c, &line, first ? INT64_MAX : LINE_PAUSE_MAX_MS)) < 0)
			return rc;
		if ((rc = smtp_reply_line(&c->reply, line)) < 0)
			return err_set(E_PROTO, "Malformed Response: %.*s", (int)MIN(line.len, (size_t)256), line.ptr);
		if (rc == 1)
			return 0;
		first = false;
	}
}

int client_read_reply(struct smtp_client *c, struct slice command, int64_t max_ms)
{
	struct rt_deadline d;
	struct slice cmd = without_crlf(command);

	if (c->io == NULL) {
		closed_before();
		err_prefix("Error reading response to cmd=%.*s", SLICE_ARG(cmd));
		return -E_CLOSED;
	}
	rt_deadline_push(&d, max_ms);
	int rc = read_lines(c);
	bool own = rt_deadline_pop(&d);
	if (rc == 0) {
		c->reply.r.command = command.len ? command : SLICE_NONE;
		return 0;
	}
	if (rc == -E_PROTO)
		return rc;
	if (rc == -E_TIMEOUT && (own || rt_check() == 0)) {
		err_set(E_TIMEOUT, "Timed Out waiting %gs for response to cmd=%.*s", (double)max_ms / 1000, SLICE_ARG(cmd));
		own = true;
	} else if (rc == -E_CLOSED) {
		err_set(E_CLOSED, "Error Connection closed by peer reading response to cmd=%.*s", SLICE_ARG(cmd));
	} else if (rc == -E_IO || rc == -E_TLS) {
		char *why = xstrdup(err_text());
		(void)!err_set(E_IO, "Error %s reading response to cmd=%.*s", why, SLICE_ARG(cmd));
		free(why);
	}
	return interrupted(c, rc, own);
}

int client_write(struct smtp_client *c, const struct slice *parts, int n, int64_t max_ms)
{
	struct rt_deadline d;

	if (c->io == NULL)
		return closed_before();
	rt_io_set_timeout(c->io, INT64_MAX, INT64_MAX);
	rt_deadline_push(&d, max_ms);
	int rc = rt_io_writev(c->io, parts, n);
	bool own = rt_deadline_pop(&d);
	return rc < 0 ? interrupted(c, rc, own) : 0;
}

int client_flush(struct smtp_client *c, struct slice commands, int64_t max_ms)
{
	int rc = client_write(c, NULL, 0, max_ms);

	if (rc == -E_TIMEOUT) {
		(void)!err_set(E_TIMEOUT, "Timed Out after %gs writing cmd=%.*s", (double)max_ms / 1000, SLICE_ARG(without_crlf(commands)));
	} else if (rc == -E_IO || rc == -E_CLOSED || rc == -E_TLS) {
		char *why = xstrdup(err_text());
		(void)!err_set(E_IO, "Error %s writing %.*s", why, SLICE_ARG(without_crlf(commands)));
		free(why);
	}
	return rc;
}

static int command(struct smtp_client *c, struct slice line, struct slice shown, int64_t max_ms)
{
	if (c->io == NULL)
		return closed_before();
	client_trace(c, SMTP_TRACE_WRITE, shown);
	rt_io_put(c->io, line);
	int rc = client_flush(c, shown, max_ms);
	return rc < 0 ? rc : client_read_reply(c, shown, max_ms);
}

static int rejected(struct smtp_client *c)
{
	struct buf b = { 0 };

	smtp_response_put_line(&b, &c->reply.r);
	int rc = err_set(E_REJECT, "Command rejected: %s", buf_cstr(&b));
	buf_fini(&b);
	return rc;
}

/* -- before transactions -- */

int smtp_client_banner(struct smtp_client *c)
{
	int rc;

	OBJ_CHECK(c, SMTP_CLIENT_MAGIC);
	rc = client_read_reply(c, SLICE_NONE, c->conf.banner_ms);
	if (rc < 0) {
		err_prefix("reading banner");
		return rc;
	}
	return c->reply.r.code == 220 ? 0 : rejected(c);
}

/* The first line of the reply greets, the others are an extension each, perhaps with parameters. */
static void learn_extensions(struct smtp_client *c)
{
	struct slice rest = c->reply.r.content, line;

	buf_clear(&c->extensions);
	slice_split_next(&rest, '\n', &line);
	while (slice_split_next(&rest, '\n', &line)) {
		ptrdiff_t blank = slice_chr(line, ' ');
		struct slice name = slice_trim(slice_sub(line, 0, blank >= 0 ? (size_t)blank : SIZE_MAX));
		for (size_t i = 0; i < name.len; i++)
			buf_putc(&c->extensions, ascii_upper(name.ptr[i]));
		buf_putc(&c->extensions, '\0');
	}
}

int smtp_client_hello(struct smtp_client *c, struct slice name, bool lmtp)
{
	OBJ_CHECK(c, SMTP_CLIENT_MAGIC);
	c->lmtp = lmtp;
	char *line = xasprintf("%s %.*s\r\n", lmtp ? "LHLO" : "EHLO", SLICE_ARG(name));
	int rc = command(c, slice_from_cstr(line), slice_from_cstr(line), c->conf.hello_ms);
	free(line);
	if (rc < 0)
		return rc;
	if (c->reply.r.code != 250)
		return rejected(c);
	learn_extensions(c);
	c->pipelining = c->conf.pipelining && smtp_client_offers(c, "PIPELINING");
	return 0;
}

bool smtp_client_offers(const struct smtp_client *c, const char *extension)
{
	size_t n = strlen(extension) + 1;

	for (size_t at = 0; at < c->extensions.len; at += strlen(c->extensions.ptr + at) + 1)
		if (c->extensions.len - at >= n && memcmp(c->extensions.ptr + at, extension, n) == 0)
			return true;
	return false;
}

int smtp_client_starttls(struct smtp_client *c, struct tls_ctx *ctx, const struct tls_peer *peer, struct tls_info *info)
{
	OBJ_CHECK(c, SMTP_CLIENT_MAGIC);
	int rc = command(c, SLICE("STARTTLS\r\n"), SLICE("STARTTLS\r\n"), c->conf.starttls_ms);
	if (rc < 0)
		return rc;
	if (c->reply.r.code != 220)
		return rejected(c);
	/* what came in the clear behind the reply must not pass for something said under TLS (CVE-2011-0411) */
	if (rt_io_buffered(c->io).len) {
		rc = err_set(E_PROTO, "the peer sent more than its reply to STARTTLS");
		client_trace_error(c);
		client_close(c);
		return rc;
	}
	rc = tls_connect(ctx, &c->io, peer, info);
	if (rc == -E_TLS || rc == -E_CLOSED || rc == -E_IO) {
		char *why = xasprintf("STARTTLS handshake failed: %s", err_text());
		client_trace(c, SMTP_TRACE_INFO, slice_from_cstr(why));
		free(why);
		return 1;
	}
	if (rc < 0)
		return interrupted(c, rc, rt_check() == 0);
	buf_clear(&c->extensions); /* to be learned anew (RFC 3207 4.2) */
	c->pipelining = false;
	if (c->conf.trace) {
		char *what = xasprintf("STARTTLS handshake -> %s %s", info ? info->protocol : "", info ? info->cipher : "");
		client_trace(c, SMTP_TRACE_INFO, slice_from_cstr(what));
		free(what);
	}
	return 0;
}

int smtp_client_auth_plain(struct smtp_client *c, struct slice user, struct slice password)
{
	struct buf plain = { 0 }, line = { 0 };

	OBJ_CHECK(c, SMTP_CLIENT_MAGIC);
	buf_putc(&plain, '\0');
	buf_slice(&plain, user);
	buf_putc(&plain, '\0');
	buf_slice(&plain, password);
	buf_lit(&line, "AUTH PLAIN ");
	base64_put(&line, buf_view(&plain), BASE64_STD);
	buf_lit(&line, "\r\n");
	int rc = command(c, buf_view(&line), SLICE("AUTH PLAIN *\r\n"), c->conf.auth_ms);
	explicit_bzero(plain.ptr, plain.len);
	explicit_bzero(line.ptr, line.len);
	buf_fini(&plain);
	buf_fini(&line);
	if (rc < 0)
		return rc;
	return c->reply.r.code == 235 ? 0 : rejected(c);
}

/* -- afterwards -- */

int smtp_client_check(struct smtp_client *c)
{
	OBJ_CHECK(c, SMTP_CLIENT_MAGIC);
	if (c->io == NULL)
		return closed_before();
	int rc = rt_io_wait_readable(c->io, 0);
	if (rc == -E_TIMEOUT && rt_check() == 0) {
		err_clear();
		return 0;
	}
	if (rc == 0) {
		rc = client_read_reply(c, SLICE_NONE, 1000);
		if (rc == 0 || rc == -E_PROTO)
			return 1;
	}
	return rc;
}

void smtp_client_quit(struct smtp_client *c, int64_t max_ms)
{
	OBJ_CHECK(c, SMTP_CLIENT_MAGIC);
	if (c->io && command(c, SLICE("QUIT\r\n"), SLICE("QUIT\r\n"), max_ms) == 0)
		(void)!rt_io_shutdown(c->io);
	client_close(c);
	err_clear();
}
