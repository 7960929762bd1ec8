/* SPDX-License-Identifier: Apache-2.0 */
/* trace-smtp-client and trace-smtp-server: each event of a session becomes lines, with the time since the session was first seen. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/timefmt.h"
#include "base/xalloc.h"
#include "kcli/commands.h"
#include "kcli/ws_client.h"

enum colour { PLAIN, OURS, THEIRS, NOTE };

struct seen {			/* a session */
	struct seen *next;
	char *label;
	int64_t since;		/* ns */
	struct arena *arena;	/* of meta, made anew as it changes */
	struct val meta;
};
struct watch {
	const struct args *args;
	const char *first;	/* the event that begins a session */
	/* marks before what the peer says and what we say */
	const char *theirs, *ours;
	bool of_client, only_new, only_one, colours, one_done;
	struct seen *sessions;
	bool any;
};

/* ---- sessions ---- */

static struct seen *session_find(struct watch *w, const char *label)
{
	for (struct seen *s = w->sessions; s; s = s->next) {
		if (strcmp(s->label, label) == 0)
			return s;
	}
	return NULL;
}

static struct seen *session_add(struct watch *w, const char *label, int64_t now)
{
	struct seen *s = xzalloc(sizeof *s);

	s->label = xstrdup(label);
	s->since = now;
	s->arena = arena_create();
	s->meta = val_obj();
	s->next = w->sessions;
	w->sessions = s;
	w->any = true;
	return s;
}

static void session_remove(struct watch *w, struct seen *s)
{
	struct seen **at = &w->sessions;

	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	arena_destroy(&s->arena);
	free(s->label);
	free(s);
}

static void label_put(struct buf *b, const struct watch *w, const struct val *meta)
{
	if (w->of_client)
		buf_slice(b, val_get_str(meta, SLICE("id")));
	else
		buf_printf(b, "%.*s->%.*s", SLICE_ARG(val_get_str(meta, SLICE("received_from"))), SLICE_ARG(val_get_str(meta, SLICE("received_via"))));
}

/* ---- lines ---- */

/* In one unit, rounded down: 17µs, 182ms, 3s; nothing for the first. */
static void elapsed_put(struct buf *b, int64_t ns)
{
	static const struct { const char *unit; int64_t ns; size_t width; } UNITS[] = {
		{ "m", 60000000000, 1 }, { "s", 1000000000, 1 }, { "ms", 1000000, 2 }, { "µs", 1000, 2 }, { "ns", 1, 2 },
	};
	char number[24];

	for (size_t i = 0; i < ARRAY_LEN(UNITS); i++) {
		if (ns >= UNITS[i].ns) {
			int n = snprintf(number, sizeof number, "%lld", (long long)(ns / UNITS[i].ns));
			buf_printf(b, "%*s%s%s", (int)(5 - UNITS[i].width) > n ? 5 - (int)UNITS[i].width - n : 0, "", number, UNITS[i].unit);
			return;
		}
	}
	buf_lit(b, "     ");
}

/* Bytes of the peer are not for the terminal to obey. */
static void text_put(struct buf *b, struct slice text)
{
	for (size_t i = 0; i < text.len; i++) {
		uint8_t c = (uint8_t)text.ptr[i];
		if (c < ' ' && c != '\t')
			buf_printf(b, "\\x%02x", c);
		else
			buf_putc(b, (char)c);
	}
}

static void line(const struct watch *w, const struct seen *s, int64_t now, enum colour colour, const char *mark, struct slice text)
{
	static const char *const START[] = { "", "\x1b[32m", "\x1b[36m", "\x1b[2m" };
	struct buf b = { 0 };

	buf_printf(&b, "[%s] ", s->label);
	elapsed_put(&b, now - s->since);
	buf_printf(&b, " %s%s ", w->colours ? START[colour] : "", mark);
	text_put(&b, text);
	buf_printf(&b, "%s\n", w->colours ? "\x1b[0m" : "");
	fwrite(b.ptr, 1, b.len, stdout);
	buf_fini(&b);
}

static void lines(const struct watch *w, const struct seen *s, int64_t now, bool ours, struct slice text)
{
	while (text.len) {
		ptrdiff_t lf = slice_chr(text, '\n');
		size_t n = lf < 0 ? text.len : (size_t)lf, end = n;
		if (end && text.ptr[end - 1] == '\r')
			end--;
		line(w, s, now, ours ? OURS : THEIRS, ours ? w->ours : w->theirs, slice_sub(text, 0, end));
		text = slice_sub(text, n + 1, SIZE_MAX);
	}
}

static void note(const struct watch *w, const struct seen *s, int64_t now, const char *before, struct slice name, const struct val *v)
{
	struct buf b = { 0 };

	buf_printf(&b, "%s%.*s=", before, SLICE_ARG(name));
	json_put(&b, v, JSON_SORTED);
	line(w, s, now, NOTE, "===", buf_view(&b));
	buf_fini(&b);
}

static void notef(const struct watch *w, const struct seen *s, int64_t now, const char *fmt, ...) PRINTF(4, 5);
static void notef(const struct watch *w, const struct seen *s, int64_t now, const char *fmt, ...)
{
	struct buf b = { 0 };
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(&b, fmt, ap);
	va_end(ap);
	line(w, s, now, NOTE, "===", buf_view(&b));
	buf_fini(&b);
}

static int by_key(const void *a, const void *b)
{
	const struct val_member *x = a, *y = b;

	return slice_cmp(x->key, y->key);
}

/* What META has that was not so before. */
static void changes(const struct watch *w, struct seen *s, int64_t now, const struct val *meta)
{
	struct arena *a = arena_create();
	struct val now_is = val_copy(a, meta);

	if (now_is.n)
		qsort(now_is.members, now_is.n, sizeof now_is.members[0], by_key);
	for (uint32_t i = 0; i < now_is.n; i++) {
		const struct val *was = val_get(&s->meta, now_is.members[i].key);
		if (!was || !val_eq(was, &now_is.members[i].val))
			note(w, s, now, "conn_meta ", now_is.members[i].key, &now_is.members[i].val);
	}
	arena_destroy(&s->arena);
	s->arena = a;
	s->meta = now_is;
}

/* ---- events ---- */

static bool says_nothing(const struct val *v)
{
	if (v->type != VAL_LIST && v->type != VAL_OBJ)
		return v->type == VAL_NULL;
	for (uint32_t i = 0; i < v->n; i++) {
		if ((v->type == VAL_LIST ? v->items[i] : v->members[i].val).type != VAL_NULL)
			return false;
	}
	return true;
}

static void show_callback(const struct watch *w, const struct seen *s, int64_t now, const struct val *v)
{
	struct slice name = val_get_str(v, SLICE("name")), error = val_get_str(v, SLICE("error"));
	const struct val *result = val_get_lit(v, "result");
	struct buf b = { 0 };

	if (result && !says_nothing(result)) {
		buf_lit(&b, ": ");
		json_put(&b, result, JSON_SORTED);
	}
	if (error.ptr)
		notef(w, s, now, "%.*s: Error: %.*s", SLICE_ARG(name), SLICE_ARG(error));
	else
		notef(w, s, now, "%.*s: Ok%.*s", SLICE_ARG(name), (int)b.len, b.ptr ? b.ptr : "");
	buf_fini(&b);
}

static void recipients_put(struct buf *b, const struct val *v)
{
	if (v && v->type == VAL_STR)
		buf_printf(b, "<%.*s>", SLICE_ARG(v->s));
	for (uint32_t i = 0; v && v->type == VAL_LIST && i < v->n; i++)
		buf_printf(b, "%s<%.*s>", i ? ", " : "", SLICE_ARG(v->items[i].s));
}

static void flags_put(struct buf *b, const struct val *v)
{
	static const char *const NAMES[] = { "relay", "log_arf", "log_oob", "was_arf_or_oob", "will_enqueue" };

	for (size_t i = 0; i < ARRAY_LEN(NAMES); i++) {
		const struct val *f = val_get(v, slice_from_cstr(NAMES[i]));
		buf_printf(b, " %s=", NAMES[i]);
		json_put(b, f ? f : &(struct val){ 0 }, JSON_COMPACT);
	}
}

static void show_disposition(const struct watch *w, const struct seen *s, int64_t now, const struct val *v)
{
	const struct val *meta = val_get_lit(v, "meta");
	struct buf to = { 0 }, flags = { 0 };

	recipients_put(&to, val_get_lit(v, "recipient"));
	flags_put(&flags, v);
	notef(w, s, now, "Message from=<%.*s> to=%s id=%.*s", SLICE_ARG(val_get_str(v, SLICE("sender"))), buf_cstr(&to), SLICE_ARG(val_get_str(v, SLICE("id"))));
	notef(w, s, now, "Message queue=%.*s%s", SLICE_ARG(val_get_str(v, SLICE("queue"))), buf_cstr(&flags));
	struct arena *a = arena_create();
	struct val sorted = meta && meta->type == VAL_OBJ ? val_copy(a, meta) : val_obj();
	if (sorted.n)
		qsort(sorted.members, sorted.n, sizeof sorted.members[0], by_key);
	for (uint32_t i = 0; i < sorted.n; i++)
		note(w, s, now, "Message meta: ", sorted.members[i].key, &sorted.members[i].val);
	arena_destroy(&a);
	buf_fini(&to);
	buf_fini(&flags);
}

static void show_short(const struct watch *w, const struct seen *s, int64_t now, bool ours, const struct val *v)
{
	const struct val *len = val_get_lit(v, "len");

	lines(w, s, now, ours, val_get_str(v, SLICE("snippet")));
	notef(w, s, now, "bytes %s=%lld", ours ? "written" : "read", len && len->type == VAL_INT ? (long long)len->i : 0);
}

static void show(const struct watch *w, const struct seen *s, int64_t now, const struct val *payload)
{
	if (payload->type == VAL_STR)
		notef(w, s, now, "%.*s", SLICE_ARG(payload->s));
	if (payload->type != VAL_OBJ || payload->n != 1)
		return;
	struct slice kind = payload->members[0].key;
	const struct val *v = &payload->members[0].val;
	if (slice_eq(kind, SLICE("Read")))
		lines(w, s, now, false, v->type == VAL_STR ? v->s : SLICE(""));
	else if (slice_eq(kind, SLICE("Write")))
		lines(w, s, now, true, v->type == VAL_STR ? v->s : SLICE(""));
	else if (slice_eq(kind, SLICE("AbbreviatedRead")))
		show_short(w, s, now, false, v);
	else if (slice_eq(kind, SLICE("AbbreviatedWrite")))
		show_short(w, s, now, true, v);
	else if (slice_eq(kind, SLICE("Diagnostic")))
		notef(w, s, now, "%.*s: %.*s", SLICE_ARG(val_get_str(v, SLICE("level"))), SLICE_ARG(val_get_str(v, SLICE("message"))));
	else if (slice_eq(kind, SLICE("Callback")))
		show_callback(w, s, now, v);
	else if (slice_eq(kind, SLICE("MessageDisposition")))
		show_disposition(w, s, now, v);
}

static void show_event(struct watch *w, const struct val *ev)
{
	const struct val *meta = val_get_lit(ev, "conn_meta"), *payload = val_get_lit(ev, "payload");
	struct slice when = val_get_str(ev, SLICE("when"));
	struct buf label = { 0 };
	struct time_ns at;

	if (!meta || meta->type != VAL_OBJ || !payload || time_parse_rfc3339_ns(when, &at) < 0)
		return;
	int64_t now = at.sec * 1000000000 + at.nsec;
	bool begins = payload->type == VAL_STR && slice_eq_cstr(payload->s, w->first);
	label_put(&label, w, meta);
	struct seen *s = session_find(w, buf_cstr(&label));
	if (!s && (begins || !w->only_new) && !(w->only_one && w->any)) {
		s = session_add(w, buf_cstr(&label), now);
		if (!begins)
			notef(w, s, now, "in progress at %.*s", SLICE_ARG(when));
	}
	buf_fini(&label);
	if (!s)
		return;
	if (begins)
		notef(w, s, now, "%s %.*s", w->first, SLICE_ARG(when));
	else
		show(w, s, now, payload);
	changes(w, s, now, meta);
	fflush(stdout);
	if (payload->type != VAL_STR || !slice_eq(payload->s, SLICE("Closed")))
		return;
	session_remove(w, s);
	w->one_done = w->only_one;
}

static int listen_to(struct watch *w, struct ws_client *ws)
{
	struct buf text = { 0 };
	int rc = 0;

	while (rc == 0 && !w->one_done && (rc = ws_client_next(ws, &text)) == 0) {
		struct arena *a = arena_create();
		struct val ev;
		if (json_parse(buf_view(&text), a, &ev) == 0)
			show_event(w, &ev);
		arena_destroy(&a);
	}
	if (rc == -E_CLOSED)
		fprintf(stderr, "Error: the daemon closed the connection\n");
	buf_fini(&text);
	while (w->sessions)
		session_remove(w, w->sessions);
	return rc < 0 ? 1 : 0;
}

/* ---- the commands ---- */

static int check_networks(const struct args *a, const char *option)
{
	struct cidr net;

	for (size_t i = 0; i < args_count(a, option); i++) {
		if (cidr_parse(slice_from_cstr(args_at(a, option, i)), &net) < 0) {
			fprintf(stderr, "Error: %s %s: %s\n", option, args_at(a, option, i), err_text());
			return 1;
		}
	}
	return 0;
}

static void put_list(struct arena *arena, struct val *request, const char *name, const struct args *a, const char *option)
{
	struct val list = val_list();

	for (size_t i = 0; i < args_count(a, option); i++)
		val_push(arena, &list, val_cstr(arena, args_at(a, option, i)));
	if (list.n)
		val_put(arena, request, slice_from_cstr(name), list);
}

static int run(struct watch *w, const char *path, const struct val *request)
{
	struct client c;
	struct ws_client *ws;
	struct buf text = { 0 };

	if (client_open(&c, w->args) < 0)
		return 1;
	int rc = ws_client_open(&c, path, &ws);
	if (rc == 0) {
		json_put(&text, request, JSON_COMPACT);
		rc = ws_client_send(ws, buf_view(&text));
		rc = rc < 0 ? 1 : listen_to(w, ws);
		ws_client_close(&ws);
	}
	buf_fini(&text);
	client_close(&c);
	return rc == 0 ? 0 : 1;
}

static int trace(const struct args *a, struct watch *w, const char *path, struct arena *arena, struct val *request)
{
	const char *colour = args_get(a, "--color"), *no_color = getenv("NO_COLOR");

	w->args = a;
	w->only_new = args_has(a, "--only-new");
	w->only_one = args_has(a, "--only-one");
	w->colours = strcmp(colour, "yes") == 0 || (strcmp(colour, "tty") == 0 && isatty(STDOUT_FILENO) && !(no_color && *no_color));
	val_put_lit(arena, request, "terse", val_bool(args_has(a, "--terse")));
	put_list(arena, request, "source_addr", a, "--source");
	return run(w, path, request);
}

int kcli_trace_smtp_server(const struct args *a)
{
	struct watch w = { .first = "Connected", .theirs = " ->", .ours = "<- " };
	struct val request = val_obj();

	if (check_networks(a, "--source"))
		return 1;
	struct arena *arena = arena_create();
	int rc = trace(a, &w, "/api/admin/trace-smtp-server/v1", arena, &request);
	arena_destroy(&arena);
	return rc;
}

int kcli_trace_smtp_client(const struct args *a)
{
	static const char *const LISTS[][2] = {
		{ "mx_addr", "--mx-addr" }, { "mx_host", "--mx-host" }, { "domain", "--domain" }, { "routing_domain", "--routing-domain" },
		{ "campaign", "--campaign" }, { "tenant", "--tenant" }, { "egress_pool", "--egress-pool" }, { "egress_source", "--egress-source" },
		{ "mail_from", "--mail-from" }, { "rcpt_to", "--rcpt-to" }, { "ready_queue", "--ready-queue" },
	};
	struct watch w = { .first = "BeginSession", .theirs = " <-", .ours = "-> ", .of_client = true };
	struct val request = val_obj();

	if (check_networks(a, "--source") || check_networks(a, "--mx-addr"))
		return 1;
	struct arena *arena = arena_create();
	for (size_t i = 0; i < ARRAY_LEN(LISTS); i++)
		put_list(arena, &request, LISTS[i][0], a, LISTS[i][1]);
	int rc = trace(a, &w, "/api/admin/trace-smtp-client/v1", arena, &request);
	arena_destroy(&arena);
	return rc;
}
