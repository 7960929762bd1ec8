/* SPDX-License-Identifier: Apache-2.0 */
#include "smtp/server/watch.h"
#include "base/utf8.h"
#include "codec/opt.h"
#include "msg/msg.h"
#include "policy/host.h"

#define SHORT_MAX 64	/* what a terse watcher sees of long input */

static bool on(void) { return trace_on(TRACE_SMTP_SERVER); }

static void emit(struct smtp_session *s, const struct val *payload, const struct val *terse)
{
	trace_emit(TRACE_SMTP_SERVER, conn_meta_all(s->meta), payload, terse);
}

void watch_plain(struct smtp_session *s, const char *what)
{
	if (!on())
		return;
	struct arena *a = arena_create();
	struct val v = val_cstr(a, what);
	emit(s, &v, NULL);
	arena_destroy(&a);
}

static struct val text_val(struct arena *a, struct slice text)
{
	struct buf b = { 0 };

	utf8_put_lossy(&b, text);
	struct val v = val_str(a, buf_view(&b));
	buf_fini(&b);
	return v;
}

static struct val tagged(struct arena *a, const char *tag, struct val v)
{
	struct val o = val_obj();

	val_put(a, &o, slice_from_cstr(tag), v);
	return o;
}

void watch_read(struct smtp_session *s, struct slice line)
{
	if (!on())
		return;
	struct arena *a = arena_create();
	struct val v = tagged(a, "Read", text_val(a, arena_slicef(a, "%.*s\r\n", SLICE_ARG(line))));
	emit(s, &v, NULL);
	arena_destroy(&a);
}

/* As it came: with the dots doubled, and the last one. */
static void put_stuffed(struct buf *b, struct slice text)
{
	bool start = true;

	for (size_t i = 0; i < text.len; i++) {
		if (start && text.ptr[i] == '.')
			buf_putc(b, '.');
		buf_putc(b, text.ptr[i]);
		start = text.ptr[i] == '\n';
	}
	buf_lit(b, ".\r\n");
}

void watch_data(struct smtp_session *s, struct slice text)
{
	if (!on())
		return;
	struct arena *a = arena_create();
	struct buf b = { 0 };
	struct val brief = val_obj();
	ptrdiff_t end = slice_find(text, SLICE("\r\n"));
	put_stuffed(&b, text);
	struct val v = tagged(a, "Read", text_val(a, buf_view(&b)));
	val_put_lit(a, &brief, "snippet", text_val(a, slice_sub(text, 0, end < 0 ? SHORT_MAX : (size_t)end)));
	val_put_lit(a, &brief, "len", val_int((int64_t)b.len));
	brief = tagged(a, "AbbreviatedRead", brief);
	emit(s, &v, &brief);
	buf_fini(&b);
	arena_destroy(&a);
}

void watch_write(struct smtp_session *s, struct slice replies)
{
	if (!on())
		return;
	struct arena *a = arena_create();
	while (replies.len) {
		ptrdiff_t lf = slice_chr(replies, '\n');
		size_t n = lf < 0 ? replies.len : (size_t)lf + 1;
		struct val v = tagged(a, "Write", text_val(a, slice_sub(replies, 0, n)));
		emit(s, &v, NULL);
		replies = slice_sub(replies, n, SIZE_MAX);
	}
	arena_destroy(&a);
}

void watch_callback(struct smtp_session *s, const char *event, int rc, const char *error, const struct val *result)
{
	if (!on())
		return;
	struct arena *a = arena_create();
	struct val v = val_obj();
	val_put_lit(a, &v, "name", val_cstr(a, event));
	val_put_lit(a, &v, "result", rc < 0 || !result ? val_null() : *result);
	val_put_lit(a, &v, "error", rc < 0 ? val_cstr(a, error) : val_null());
	v = tagged(a, "Callback", v);
	emit(s, &v, NULL);
	arena_destroy(&a);
}

void watch_call(struct smtp_session *s, const struct policy_call *c, int rc, const struct val *result)
{
	char text[512];

	if (!on())
		return;
	if (rc == -E_REJECT)
		snprintf(text, sizeof text, "%d %s", c->reject_code, c->reject_text);
	else
		snprintf(text, sizeof text, "%s", err_text());
	watch_callback(s, c->event, rc, text, result);
}

void watch_dynamic(struct smtp_session *s, const struct val *given)
{
	if (!on())
		return;
	struct arena *a = arena_create();
	struct val all = val_obj();
	for (const struct opt_field *f = SMTP_LISTENER_OPTS.fields; f->name; f++) {
		struct slice name = slice_from_cstr(f->name);
		const struct val *v = given && given->type == VAL_OBJ ? val_get(given, name) : NULL;
		if (!slice_eq(name, SLICE("listen")) && !slice_eq(name, SLICE("max_connections")))
			val_put(a, &all, name, v ? *v : val_null());
	}
	watch_callback(s, EV_SMTP_DYNAMIC.name, 0, NULL, &all);
	arena_destroy(&a);
}

void watch_rewrite(struct smtp_session *s, int rc, const struct policy_call *c, const unsigned *code, const struct slice *text)
{
	if (!on())
		return;
	struct arena *a = arena_create();
	struct val both = val_list();
	val_push(a, &both, c ? val_int(*code) : val_null());
	val_push(a, &both, c ? val_str(a, *text) : val_null());
	if (c)
		watch_call(s, c, rc, &both);
	else
		watch_callback(s, "smtp_server_rewrite_response", 0, NULL, &both);
	arena_destroy(&a);
}

static struct val recipients_val(struct arena *a, const struct msg_env *env)
{
	struct val list = val_list();

	if (env->n_recipients == 1)
		return val_str(a, env->recipients[0]);
	for (uint32_t i = 0; i < env->n_recipients; i++)
		val_push(a, &list, val_str(a, env->recipients[i]));
	return list;
}

static struct val handling_val(struct arena *a, enum report_handling h)
{
	static const char *const NAMES[] = { "Ignore", "LogThenRelay", "LogThenDrop" };

	return val_cstr(a, NAMES[h]);
}

void watch_disposition(struct smtp_session *s, const struct watch_disposition *d)
{
	struct msg_env *env = on() ? msg_env_if_loaded(d->msg) : NULL;
	struct buf id = { 0 };

	if (!env)
		return;
	struct arena *a = arena_create();
	struct val v = val_obj();
	uuid_put_simple(&id, msg_id(d->msg));
	val_put_lit(a, &v, "relay", val_bool(d->verdict->relay));
	val_put_lit(a, &v, "log_arf", handling_val(a, d->verdict->log_arf));
	val_put_lit(a, &v, "log_oob", handling_val(a, d->verdict->log_oob));
	val_put_lit(a, &v, "queue", val_str(a, d->queue));
	val_put_lit(a, &v, "meta", env->meta);
	val_put_lit(a, &v, "sender", val_str(a, env->sender));
	val_put_lit(a, &v, "recipient", recipients_val(a, env));
	val_put_lit(a, &v, "id", val_str(a, buf_view(&id)));
	val_put_lit(a, &v, "was_arf_or_oob", val_bool(d->was_report));
	val_put_lit(a, &v, "will_enqueue", val_bool(d->will_enqueue));
	v = tagged(a, "MessageDisposition", v);
	emit(s, &v, NULL);
	msg_env_unref(&env);
	buf_fini(&id);
	arena_destroy(&a);
}
