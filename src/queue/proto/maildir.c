/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/proto/maildir.h"
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/xalloc.h"
#include "codec/template.h"
#include "queue/record.h"
#include "rt/clock.h"
#include "rt/offload.h"

/* --- files: on an offload thread --------------------------------------------------------------------------------------------------- */

static int make_dir(const char *path, int mode)
{
	if (mkdir(path, 0777) == 0)
		return mode >= 0 && chmod(path, mode) < 0 ? err_errno(E_IO, "chmod %s", path) : 0;
	if (errno == EEXIST)
		return 0;
	return err_errno(E_IO, "failed to create folder %s", path);
}

/* The folder, what leads to it, and tmp, new, cur below it. */
static int make_dirs(const char *path, int mode)
{
	char *p = xasprintf("%s/", path);
	int rc = 0;
	for (char *s = p + 1; *s && rc == 0; s++) {
		if (*s != '/')
			continue;
		*s = 0;
		rc = make_dir(p, mode);
		*s = '/';
	}
	static const char *const SUB[] = { "cur", "new", "tmp" };
	for (size_t i = 0; i < ARRAY_LEN(SUB) && rc == 0; i++) {
		char *sub = xasprintf("%s/%s", path, SUB[i]);
		rc = make_dir(sub, mode);
		free(sub);
	}
	free(p);
	return rc;
}

static int write_file(const char *path, struct slice data, int mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666), rc = 0;
	if (fd < 0)
		return err_errno(E_IO, "failed to create %s", path);
	while (data.len > 0 && rc == 0) {
		ssize_t n = write(fd, data.ptr, data.len);
		if (n < 0 && errno != EINTR)
			rc = err_errno(E_IO, "failed to write %s", path);
		if (n > 0)
			data = slice_sub(data, n, SIZE_MAX);
	}
	if (rc == 0 && mode >= 0 && fchmod(fd, mode) < 0)
		rc = err_errno(E_IO, "chmod %s", path);
	if (rc == 0 && fsync(fd) < 0)
		rc = err_errno(E_IO, "failed to write %s", path);
	if (close(fd) < 0 && rc == 0)
		rc = err_errno(E_IO, "failed to write %s", path);
	if (rc < 0)
		unlink(path);
	return rc;
}

/* Stores DATA in the folder PATH (made when missing); *ID is its name. Modes below 0: what the umask gives. Blocks. */
static int maildir_store(const char *path, struct slice data, int dir_mode, int file_mode, struct buf *id)
{
	static _Atomic uint64_t counter;
	char host[256] = "localhost";
	int64_t now = rt_wall_us();
	int rc = make_dirs(path, dir_mode);
	if (rc < 0)
		return rc;
	gethostname(host, sizeof(host) - 1);
	buf_printf(id, "%lld.#%llxM%06lldP%d.%s,S=%zu", (long long)(now / 1000000), (unsigned long long)atomic_fetch_add(&counter, 1),
		   (long long)(now % 1000000), getpid(), host, data.len);
	char *tmp = xasprintf("%s/tmp/%s", path, buf_cstr(id)), *final = xasprintf("%s/new/%s", path, buf_cstr(id));
	rc = write_file(tmp, data, file_mode);
	if (rc == 0 && rename(tmp, final) < 0) {
		rc = err_errno(E_IO, "failed to move %s to new", tmp);
		unlink(tmp);
	}
	free(tmp);
	free(final);
	return rc;
}

struct job {
	const char *path;
	struct slice data;
	int dir_mode, file_mode, rc;
	struct buf id;
	char *error;
};

static void run_job(void *arg)
{
	struct job *j = arg;
	j->rc = maildir_store(j->path, j->data, j->dir_mode, j->file_mode, &j->id);
	if (j->rc < 0)
		j->error = xstrdup(err_text());
}

/* --- one message ----------------------------------------------------------------------------------------------------------------------- */

static struct val opt_str(struct arena *a, struct slice s) { return s.ptr ? val_str(a, s) : val_null(); }

static void put_address(struct arena *a, struct val *ctx, struct slice addr, const char *prefix)
{
	struct smtp_path p = { 0 };
	struct slice user = SLICE(""), domain = SLICE(""), email = addr;
	if (smtp_address_parse(addr, a, &p) == 0) {
		user = smtp_path_user(&p, a);
		domain = p.domain.ptr ? p.domain : SLICE("");
		email = p.text;
	}
	val_put(a, ctx, slice_from_cstr(arena_printf(a, "%slocal_part", prefix)), val_str(a, user));
	val_put(a, ctx, slice_from_cstr(arena_printf(a, "%sdomain_part", prefix)), val_str(a, domain));
	val_put(a, ctx, slice_from_cstr(arena_printf(a, "%semail", prefix)), val_str(a, email));
}

static int expand_path(struct sched_queue *q, struct slice tmpl, const struct msg_env *env, struct slice rcpt, struct buf *out)
{
	if (slice_find(tmpl, SLICE("{{")) < 0 && slice_find(tmpl, SLICE("{%")) < 0) {
		buf_slice(out, tmpl);
		return 0;
	}
	struct template *t;
	int rc = template_compile(TEMPLATE_JINJA, SLICE("maildir_path"), tmpl, &t);
	if (rc < 0)
		return rc;
	struct arena *a = arena_create();
	struct val ctx = val_obj();
	val_put_lit(a, &ctx, "meta", val_copy(a, &env->meta));
	val_put_lit(a, &ctx, "queue", val_str(a, q->name));
	val_put_lit(a, &ctx, "campaign", opt_str(a, q->parts.campaign));
	val_put_lit(a, &ctx, "tenant", opt_str(a, q->parts.tenant));
	val_put_lit(a, &ctx, "domain", val_str(a, q->parts.domain));
	val_put_lit(a, &ctx, "routing_domain", opt_str(a, q->parts.routing_domain));
	put_address(a, &ctx, rcpt, "");
	put_address(a, &ctx, env->sender, "sender_");
	rc = template_render(t, &ctx, out);
	template_unref(&t);
	arena_destroy(&a);
	return rc;
}

static int deliver_one(struct sched_queue *q, const struct queue_protocol_opts *p, const struct msg_env *env, struct slice rcpt, struct slice data, struct buf *status)
{
	struct buf path = { 0 };
	struct job j = { .data = data, .dir_mode = p->dir_mode, .file_mode = p->file_mode };
	int rc = expand_path(q, p->maildir_path, env, rcpt, &path);
	if (rc == 0) {
		j.path = buf_cstr(&path);
		rt_offload(run_job, &j);
		rc = j.rc;
		if (rc < 0)
			err_set(-rc, "failed to store message to maildir %s for queue %.*s: %s", j.path, SLICE_ARG(q->name), j.error);
	}
	if (status->len)
		buf_lit(status, ", ");
	if (rc == 0)
		buf_printf(status, "%.*s: wrote to maildir with id=%s", SLICE_ARG(rcpt), buf_cstr(&j.id));
	else
		buf_printf(status, "%.*s: failed to write to maildir: %s", SLICE_ARG(rcpt), err_text());
	free(j.error);
	buf_fini(&j.id);
	buf_fini(&path);
	return rc;
}

static void log_outcome(struct msg *m, enum log_type type, uint16_t code, struct slice text, const struct slice *rcpts, uint32_t n, struct slice session)
{
	struct log_event ev = record_of(type, m, SLICE(""), response_of(code, 0, text));
	ev.delivery_protocol = SLICE("Maildir");
	ev.session_id = session;
	ev.recipients = rcpts;
	ev.n_recipients = n;
	record_write(&ev);
}

/* All recipients; those that failed stay the message's. */
static void deliver_all(struct sched_queue *q, struct conf *conf, struct msg *m, struct msg_env *env, struct slice data, struct queue_context why)
{
	struct slice *ok = xcalloc(env->n_recipients + 1, sizeof(*ok)), *bad = xcalloc(env->n_recipients + 1, sizeof(*bad));
	uint32_t n_ok = 0, n_bad = 0;
	struct buf good = { 0 }, failed = { 0 }, session = { 0 }, text = { 0 };

	uuid_put(&session, uuid_v4());
	for (uint32_t i = 0; i < env->n_recipients; i++) {
		struct buf one = { 0 };
		struct slice rcpt = env->recipients[i];
		bool done = deliver_one(q, &queue_opts_of(conf)->protocol, env, rcpt, data, &one) == 0;
		struct buf *to = done ? &good : &failed;
		if (to->len)
			buf_lit(to, ", ");
		buf_slice(to, buf_view(&one));
		buf_fini(&one);
		if (done)
			ok[n_ok++] = rcpt;
		else
			bad[n_bad++] = rcpt;
	}
	if (n_ok)
		log_outcome(m, LOG_DELIVERY, 200, buf_view(&good), ok, n_ok, buf_view(&session));
	if (!n_bad) {
		msg_remove(m);
		msg_unref(&m);
	} else {
		log_outcome(m, LOG_TRANSIENT_FAILURE, 400, buf_view(&failed), bad, n_bad, buf_view(&session));
		if (n_ok)
			msg_set_env(m, msg_env_with_recipients(env, bad, n_bad));
		buf_printf(&text, "KumoMTA internal: %.*s error while inserting into ready queue: failed maildir store: ", SLICE_ARG(q->name));
		buf_slice(&text, buf_view(&failed));
		struct smtp_response r = response_of(451, 404, buf_view(&text));
		sched_requeue(m, true, -1, &r, context_with(context_with(why, WHY_LOGGED), WHY_READY_FAILED));
	}
	free(ok);
	free(bad);
	buf_fini(&good);
	buf_fini(&failed);
	buf_fini(&session);
	buf_fini(&text);
}

void maildir_deliver(struct sched_queue *q, struct conf *conf, struct msg *m, struct queue_context why)
{
	struct msg_env *env = NULL;
	struct msg_body *body = NULL;
	if (msg_env(m, &env) < 0 || msg_body(m, &body) < 0) {
		struct smtp_response r = response_of(451, 404, slice_from_cstr(err_text()));
		sched_requeue(m, true, -1, &r, context_with(why, WHY_READY_FAILED));
	} else {
		deliver_all(q, conf, m, env, msg_body_view(body), why);
	}
	msg_env_unref(&env);
	msg_body_unref(&body);
}
