/* SPDX-License-Identifier: Apache-2.0 */
/* inspect-message, inspect-sched-q, inspect-ready-q, resolve-egress-path. */
#include "kcli/commands.h"
#include <stdio.h>

static int get(const struct args *a, const char *path, const char *const *pairs, int (*show)(struct client *c, const struct args *a, const struct val *v))
{
	struct client c;
	struct val v;

	if (client_open(&c, a) < 0)
		return 1;
	int rc = client_request_json(&c, "GET", client_path(&c, path, pairs), NULL, &v);
	if (rc == 0)
		rc = show(&c, a, &v);
	client_close(&c);
	return rc < 0;
}

static int show_json(struct client *c, const struct args *a, const struct val *v)
{
	print_json(v);
	return 0;
}

int kcli_inspect_message(const struct args *a)
{
	return get(a, "/api/admin/inspect-message/v1",
		   (const char *const[]){ "id", args_get(a, "<ID>"), "want_body", args_has(a, "--want-body") ? "true" : "false", NULL }, show_json);
}

int kcli_inspect_sched_q(const struct args *a)
{
	return get(a, "/api/admin/inspect-sched-q/v1",
		   (const char *const[]){ "queue_name", args_get(a, "<QUEUE_NAME>"), "want_body", args_has(a, "--want-body") ? "true" : "false", "limit",
					  args_has(a, "--no-limit") ? NULL : args_get(a, "--limit"), NULL },
		   show_json);
}

/* --- readable forms ---------------------------------------------------------------------------------------------------- */

static void put_scalar(struct buf *b, const struct val *v)
{
	if (v->type == VAL_STR)
		buf_slice(b, v->s);
	else
		json_put(b, v, JSON_COMPACT);
}

/* "name: value" lines, what is inside indented. */
static void put_tree(struct buf *b, const struct val *v, int depth)
{
	for (uint32_t i = 0; i < v->n; i++) {
		const struct val *item = v->type == VAL_OBJ ? &v->members[i].val : &v->items[i];
		bool inside = (item->type == VAL_OBJ || item->type == VAL_LIST) && item->n;
		buf_printf(b, "%*s", depth * 2, "");
		if (v->type == VAL_OBJ)
			buf_printf(b, "%.*s:", SLICE_ARG(v->members[i].key));
		else
			buf_putc(b, '-');
		if (inside && depth < 16) {
			buf_putc(b, '\n');
			put_tree(b, item, depth + 1);
			continue;
		}
		buf_putc(b, ' ');
		put_scalar(b, item);
		buf_putc(b, '\n');
	}
}

static void print_tree(const struct val *v)
{
	struct buf b = { 0 };

	put_tree(&b, v, 0);
	print_text(buf_view(&b));
	buf_fini(&b);
}

/* V without nulls, which TOML has not. */
static struct val without_nulls(struct arena *a, const struct val *v)
{
	struct val out = val_obj();

	for (uint32_t i = 0; v->type == VAL_OBJ && i < v->n; i++) {
		const struct val *item = &v->members[i].val;
		if (item->type == VAL_OBJ)
			val_put(a, &out, v->members[i].key, without_nulls(a, item));
		else if (item->type != VAL_NULL)
			val_put(a, &out, v->members[i].key, *item);
	}
	return out;
}

static int print_toml(struct client *c, const struct val *v)
{
	struct val conf = without_nulls(c->arena, v);
	struct buf b = { 0 };
	int rc = toml_put(&b, &conf, true);

	if (rc < 0)
		fprintf(stderr, "Error: %s\n", err_text());
	else
		print_text(buf_view(&b));
	buf_fini(&b);
	return rc;
}

static int show_ready_q(struct client *c, const struct args *a, const struct val *v)
{
	struct val shown = val_obj();

	if (args_has(a, "--json"))
		return show_json(c, a, v);
	for (uint32_t i = 0; v->type == VAL_OBJ && i < v->n; i++) {
		struct slice key = v->members[i].key;
		if ((slice_eq_cstr(key, "dispatchers") && !args_has(a, "--connections")) || slice_eq_cstr(key, "path_config") ||
		    (slice_eq_cstr(key, "scheduled_queue_names") && !args_has(a, "--sched-q")))
			continue;
		val_put(c->arena, &shown, key, v->members[i].val);
	}
	print_tree(&shown);
	const struct val *conf = val_get_lit(v, "path_config");
	if (args_has(a, "--config") && conf) {
		printf("\n# path_config\n");
		return print_toml(c, conf);
	}
	return 0;
}

int kcli_inspect_ready_q(const struct args *a)
{
	bool sched = args_has(a, "--sched-q") || args_has(a, "--json");

	return get(a, "/api/admin/inspect-ready-q/v1",
		   (const char *const[]){ "queue_name", args_get(a, "<QUEUE_NAME>"), "include_scheduled_queues", sched ? "true" : NULL, NULL }, show_ready_q);
}

static void print_constraints(const struct val *v)
{
	const struct val *c = val_get_lit(v, "constraints");

	for (uint32_t i = 0; c && c->type == VAL_OBJ && i < c->n; i++) {
		const struct val *one = &c->members[i].val;
		struct slice display = val_get_str(one, SLICE("display"));
		if (one->type == VAL_NULL)
			printf("%.*s: unlimited\n", SLICE_ARG(c->members[i].key));
		else
			printf("%.*s: %.*s\n", SLICE_ARG(c->members[i].key), SLICE_ARG(display));
	}
}

static int show_path(struct client *c, const struct args *a, const struct val *v)
{
	const struct val *conf = val_get_lit(v, "path_config");

	if (args_has(a, "--json"))
		return show_json(c, a, v);
	if (!args_has(a, "--constraints") && conf) {
		if (!args_has(a, "--config"))
			printf("# %.*s\n", SLICE_ARG(val_get_str(v, SLICE("queue_name"))));
		int rc = print_toml(c, conf);
		if (rc < 0 || args_has(a, "--config"))
			return rc;
		putchar('\n');
	}
	print_constraints(v);
	return 0;
}

int kcli_resolve_egress_path(const struct args *a)
{
	return get(a, "/api/admin/resolve-egress-path/v1", (const char *const[]){ "domain", args_get(a, "<DOMAIN>"), "source", args_get(a, "[SOURCE]"), NULL },
		   show_path);
}
