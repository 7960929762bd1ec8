/* SPDX-License-Identifier: Apache-2.0 */
/* bounce, suspend, rebind, xfer, and what lists and cancels them. */
#include "kcli/commands.h"
#include "kcli/table.h"
#include <stdio.h>
#include <stdlib.h>

void print_json(const struct val *v)
{
	struct buf b = { 0 };

	json_put(&b, v, JSON_PRETTY);
	buf_putc(&b, '\n');
	fwrite(b.ptr, 1, b.len, stdout);
	buf_fini(&b);
}

void print_text(struct slice s)
{
	fwrite(s.ptr, 1, s.len, stdout);
	if (s.len && s.ptr[s.len - 1] != '\n')
		putchar('\n');
}

/* "--routing-domain" becomes the member "routing_domain", when it was given. */
static void put_option(struct client *c, const struct args *a, struct val *body, const char *option)
{
	char key[64];
	size_t n = 0;

	if (!args_get(a, option))
		return;
	for (const char *p = option + 2; *p && n < sizeof key - 1; p++)
		key[n++] = *p == '-' ? '_' : *p;
	val_put(c->arena, body, slice_new(key, n), val_cstr(c->arena, args_get(a, option)));
}

static void put_queues(struct client *c, const struct args *a, struct val *body)
{
	struct val list = val_list();

	for (size_t i = 0; i < args_count(a, "--queue"); i++)
		val_push(c->arena, &list, val_cstr(c->arena, args_at(a, "--queue", i)));
	if (list.n)
		val_put_lit(c->arena, body, "queue_names", list);
}

/* Requests whose answer is printed as it is. */
static int simple(const struct args *a, const char *method, const char *path, const struct val *body, bool json)
{
	struct client c;
	struct val v;
	struct slice text;
	int rc = client_open(&c, a);

	if (rc < 0)
		return 1;
	if (json) {
		if ((rc = client_request_json(&c, method, path, body, &v)) == 0)
			print_json(&v);
	} else if ((rc = client_request(&c, method, path, body, &text)) == 0) {
		print_text(text);
	}
	client_close(&c);
	return rc < 0;
}

/* Opens C, calls MAKE to fill the body, sends it; JSON answers are printed. */
static int send_body(const struct args *a, const char *method, const char *path, int (*make)(struct client *c, const struct args *a, struct val *body),
		     struct client *c, struct val *answer)
{
	struct val body = val_obj();

	if (client_open(c, a) < 0)
		return -1;
	int rc = make(c, a, &body);
	if (rc == 0)
		rc = client_request_json(c, method, path, &body, answer);
	if (rc < 0)
		client_close(c);
	return rc;
}

static int send_and_print(const struct args *a, const char *path, int (*make)(struct client *c, const struct args *a, struct val *body), bool print)
{
	struct client c;
	struct val answer;

	if (send_body(a, "POST", path, make, &c, &answer) < 0)
		return 1;
	if (print)
		print_json(&answer);
	client_close(&c);
	return 0;
}

static int cancel(const struct args *a, const char *path)
{
	struct client c;
	struct slice text;
	struct val body = val_obj();

	if (client_open(&c, a) < 0)
		return 1;
	val_put_lit(c.arena, &body, "id", val_cstr(c.arena, args_get(a, "--id")));
	int rc = client_request(&c, "DELETE", path, &body, &text);
	if (rc == 0)
		print_text(text);
	client_close(&c);
	return rc < 0;
}

/* --- bounce ------------------------------------------------------------------------------------------------------------ */

static int make_bounce(struct client *c, const struct args *a, struct val *body)
{
	static const char *const OPTIONS[] = { "--campaign", "--tenant", "--domain", "--routing-domain", "--reason", "--duration" };

	for (size_t i = 0; i < ARRAY_LEN(OPTIONS); i++)
		put_option(c, a, body, OPTIONS[i]);
	val_put_lit(c->arena, body, "suppress_logging", val_bool(args_has(a, "--suppress-logging")));
	put_queues(c, a, body);
	return 0;
}

int kcli_bounce(const struct args *a)
{
	struct client c;
	struct val answer;

	if (send_body(a, "POST", "/api/admin/bounce/v1", make_bounce, &c, &answer) < 0)
		return 1;
	print_text(val_get_str(&answer, SLICE("id")));
	fprintf(stderr, "NOTE: the bounce is running async. Use the bounce-list command to review ongoing status!\n");
	client_close(&c);
	return 0;
}

static char *criteria_text(struct client *c, const struct val *e)
{
	static const char *const NAMES[] = { "campaign", "tenant", "domain", "routing_domain" };
	struct buf b = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(NAMES); i++) {
		struct slice v = val_get_str(e, slice_from_cstr(NAMES[i]));
		if (v.ptr)
			buf_printf(&b, "%s%s=%.*s", b.len ? ", " : "", NAMES[i], SLICE_ARG(v));
	}
	if (!b.len)
		buf_lit(&b, "everything");
	char *out = arena_strdup(c->arena, buf_view(&b));
	buf_fini(&b);
	return out;
}

static void print_bounces(struct client *c, const struct val *list)
{
	static const struct table_column COLUMNS[] = { { "ID", false }, { "REASON", false }, { "REMAIN", false }, { "BOUNCED", true }, { "CRITERIA", false } };
	uint32_t n = list->type == VAL_LIST ? list->n : 0;
	const char **cells = arena_alloc(c->arena, (n + 1) * 5 * sizeof *cells);

	for (uint32_t i = 0; i < n; i++) {
		const struct val *e = &list->items[i], *total = val_get_lit(e, "total_bounced");
		char *number = arena_alloc(c->arena, 32);
		table_number(number, total && total->type == VAL_INT ? total->i : 0);
		cells[i * 5] = arena_strdup(c->arena, val_get_str(e, SLICE("id")));
		cells[i * 5 + 1] = arena_strdup(c->arena, val_get_str(e, SLICE("reason")));
		cells[i * 5 + 2] = arena_strdup(c->arena, val_get_str(e, SLICE("duration")));
		cells[i * 5 + 3] = number;
		cells[i * 5 + 4] = criteria_text(c, e);
	}
	table_print(COLUMNS, 5, cells, n);
}

int kcli_bounce_list(const struct args *a)
{
	struct client c;
	struct val list;

	if (client_open(&c, a) < 0)
		return 1;
	int rc = client_request_json(&c, "GET", "/api/admin/bounce/v1", NULL, &list);
	if (rc == 0 && args_has(a, "--json"))
		print_json(&list);
	else if (rc == 0)
		print_bounces(&c, &list);
	client_close(&c);
	return rc < 0;
}

int kcli_bounce_cancel(const struct args *a) { return cancel(a, "/api/admin/bounce/v1"); }

/* --- suspend ----------------------------------------------------------------------------------------------------------- */

static int make_suspend(struct client *c, const struct args *a, struct val *body)
{
	static const char *const OPTIONS[] = { "--campaign", "--tenant", "--domain", "--reason", "--duration" };

	for (size_t i = 0; i < ARRAY_LEN(OPTIONS); i++)
		put_option(c, a, body, OPTIONS[i]);
	put_queues(c, a, body);
	return 0;
}

int kcli_suspend(const struct args *a) { return send_and_print(a, "/api/admin/suspend/v1", make_suspend, true); }
int kcli_suspend_list(const struct args *a) { return simple(a, "GET", "/api/admin/suspend/v1", NULL, true); }
int kcli_suspend_cancel(const struct args *a) { return cancel(a, "/api/admin/suspend/v1"); }

static int make_suspend_ready_q(struct client *c, const struct args *a, struct val *body)
{
	put_option(c, a, body, "--name");
	put_option(c, a, body, "--reason");
	put_option(c, a, body, "--duration");
	return 0;
}

int kcli_suspend_ready_q(const struct args *a) { return send_and_print(a, "/api/admin/suspend-ready-q/v1", make_suspend_ready_q, true); }
int kcli_suspend_ready_q_list(const struct args *a) { return simple(a, "GET", "/api/admin/suspend-ready-q/v1", NULL, true); }
int kcli_suspend_ready_q_cancel(const struct args *a) { return cancel(a, "/api/admin/suspend-ready-q/v1"); }

/* --- rebind ------------------------------------------------------------------------------------------------------------ */

static int put_data(struct client *c, const struct args *a, struct val *body)
{
	struct val data = val_obj();

	if (args_has(a, "--data")) {
		int rc = json_parse(slice_from_cstr(args_get(a, "--data")), c->arena, &data);
		if (rc == 0 && data.type != VAL_OBJ)
			rc = err_set(E_INVAL, "expected an object of strings");
		if (rc < 0) {
			fprintf(stderr, "Error: --data: %s\n", err_text());
			return rc;
		}
	}
	for (size_t i = 0; i < args_count(a, "--set"); i++) {
		struct slice pair = slice_from_cstr(args_at(a, "--set", i));
		ptrdiff_t eq = slice_chr(pair, '=');
		val_put(c->arena, &data, slice_sub(pair, 0, eq), val_str(c->arena, slice_sub(pair, eq + 1, SIZE_MAX)));
	}
	val_put_lit(c->arena, body, "data", data);
	return 0;
}

static int make_rebind(struct client *c, const struct args *a, struct val *body)
{
	static const char *const OPTIONS[] = { "--campaign", "--tenant", "--domain", "--routing-domain", "--reason" };

	for (size_t i = 0; i < ARRAY_LEN(OPTIONS); i++)
		put_option(c, a, body, OPTIONS[i]);
	if (body->n < 2 && !args_has(a, "--everything")) {
		fprintf(stderr, "Error: no filters were specified. Use --domain, --routing-domain, --campaign or --tenant, or --everything if you mean all queues\n");
		return -E_INVAL;
	}
	val_put_lit(c->arena, body, "suppress_logging", val_bool(args_has(a, "--suppress-logging")));
	val_put_lit(c->arena, body, "trigger_rebind_event", val_bool(args_has(a, "--trigger-rebind-event")));
	val_put_lit(c->arena, body, "always_flush", val_bool(args_has(a, "--always-flush")));
	return put_data(c, a, body);
}

int kcli_rebind(const struct args *a)
{
	int rc = send_and_print(a, "/api/admin/rebind/v1", make_rebind, false);
	if (rc == 0)
		fprintf(stderr, "NOTE: Rebind always runs asynchronously\n");
	return rc;
}

/* --- xfer -------------------------------------------------------------------------------------------------------------- */

static int make_xfer(struct client *c, const struct args *a, struct val *body)
{
	static const char *const OPTIONS[] = { "--campaign", "--tenant", "--domain", "--routing-domain", "--reason", "--target" };

	for (size_t i = 0; i < ARRAY_LEN(OPTIONS); i++)
		put_option(c, a, body, OPTIONS[i]);
	put_queues(c, a, body);
	return 0;
}

int kcli_xfer(const struct args *a)
{
	int rc = send_and_print(a, "/api/admin/xfer/v1", make_xfer, false);
	if (rc == 0)
		fprintf(stderr, "NOTE: Xfer always runs asynchronously\n");
	return rc;
}

static int make_xfer_cancel(struct client *c, const struct args *a, struct val *body)
{
	val_put_lit(c->arena, body, "queue_name", val_cstr(c->arena, args_get(a, "<QUEUE_NAME>")));
	put_option(c, a, body, "--reason");
	return 0;
}

int kcli_xfer_cancel(const struct args *a) { return send_and_print(a, "/api/admin/xfer/cancel/v1", make_xfer_cancel, true); }

/* --- others ------------------------------------------------------------------------------------------------------------ */

static int post_text(const struct args *a, const char *path, const char *const *pairs)
{
	struct arena *arena = arena_create();
	struct val body = val_obj();

	for (; *pairs; pairs += 2)
		val_put(arena, &body, slice_from_cstr(pairs[0]), val_cstr(arena, pairs[1]));
	int status = simple(a, "POST", path, &body, false);
	arena_destroy(&arena);
	return status;
}

int kcli_set_log_filter(const struct args *a)
{
	int rc = post_text(a, "/api/admin/set_diagnostic_log_filter/v1", (const char *const[]){ "filter", args_get(a, "<FILTER>"), NULL });
	if (rc == 0)
		puts("OK");
	return rc;
}

int kcli_spool_compact(const struct args *a)
{
	return post_text(a, "/api/admin/spool-compact/v1", (const char *const[]){ "name", args_get(a, "--name"), NULL });
}

int kcli_abort_ready_q_conn(const struct args *a)
{
	return post_text(a, "/api/admin/abort-ready-q-conn/v1",
			 (const char *const[]){ "queue_name", args_get(a, "<QUEUE_NAME>"), "session_id", args_get(a, "<SESSION_ID>"), NULL });
}
