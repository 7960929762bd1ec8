/* SPDX-License-Identifier: Apache-2.0 */
/* queue-summary and provider-summary: the state of the queues, out of the metrics. */
#include "base/map.h"
#include "kcli/commands.h"
#include "kcli/table.h"
#include <stdio.h>
#include <stdlib.h>

struct row {
	const char *name, *pool;
	int64_t delivered, transfail, fail, connections, queued;
};
struct rows {
	struct map by_name;
	struct row **items;
	size_t n;
};

static struct row *row_of(struct client *c, struct rows *rows, struct slice name)
{
	struct row *r = map_get(&rows->by_name, name);

	if (!r) {
		r = arena_alloc(c->arena, sizeof *r);
		r->name = arena_strdup(c->arena, name);
		map_put(&rows->by_name, name, r);
	}
	return r;
}

static void rows_finish(struct client *c, struct rows *rows, int (*cmp)(const void *x, const void *y))
{
	struct map_iter it = { 0 };

	rows->items = arena_alloc(c->arena, (map_len(&rows->by_name) + 1) * sizeof *rows->items);
	while (map_next(&rows->by_name, &it))
		rows->items[rows->n++] = it.value;
	map_fini(&rows->by_name);
	qsort(rows->items, rows->n, sizeof *rows->items, cmp);
}

/* Names with numbers in them in the order that people expect: a2 before a10. */
static int natural_cmp(const char *a, const char *b)
{
	while (*a && *b) {
		if (ascii_is_digit(*a) && ascii_is_digit(*b)) {
			char *a_end, *b_end;
			unsigned long long x = strtoull(a, &a_end, 10), y = strtoull(b, &b_end, 10);
			if (x != y)
				return x < y ? -1 : 1;
			a = a_end;
			b = b_end;
			continue;
		}
		char x = ascii_lower(*a), y = ascii_lower(*b);
		if (x != y) {
			bool x_word = ascii_is_alnum(x), y_word = ascii_is_alnum(y);
			return x_word != y_word ? (x_word ? 1 : -1) : x < y ? -1 : 1;
		}
		a++;
		b++;
	}
	return (*a != 0) - (*b != 0);
}

static int64_t messages(const struct row *r) { return r->delivered + r->transfail + r->fail + r->queued; }
static int64_t volume(const struct row *r) { return messages(r) + r->connections; }

static int cmp_name(const void *x, const void *y)
{
	const struct row *a = *(struct row *const *)x, *b = *(struct row *const *)y;
	int rc = natural_cmp(a->name, b->name);

	return rc || !a->pool || !b->pool ? rc : natural_cmp(a->pool, b->pool);
}

static int cmp_volume(const void *x, const void *y)
{
	const struct row *a = *(struct row *const *)x, *b = *(struct row *const *)y;

	return volume(a) != volume(b) ? (volume(a) > volume(b) ? -1 : 1) : cmp_name(x, y);
}

static int cmp_messages(const void *x, const void *y)
{
	const struct row *a = *(struct row *const *)x, *b = *(struct row *const *)y;

	return messages(a) != messages(b) ? (messages(a) > messages(b) ? -1 : 1) : cmp_name(x, y);
}

int64_t metric_number(const struct val *v)
{
	return v->type == VAL_INT ? v->i : v->type == VAL_FLOAT ? (int64_t)v->f : 0;
}

const struct val *metric_values(const struct val *metrics, const char *name, const char *label)
{
	const struct val *family = val_get(metrics, slice_from_cstr(name));
	const struct val *value = family ? val_get_lit(family, "value") : NULL;
	const struct val *by = value ? val_get(value, slice_from_cstr(label)) : NULL;

	return by && by->type == VAL_OBJ ? by : NULL;
}

/* --- queue-summary ----------------------------------------------------------------------------------------------------- */

static void collect_ready(struct client *c, const struct val *metrics, struct rows *rows)
{
	static const struct { const char *metric; size_t field; } FROM[] = {
		{ "connection_count", offsetof(struct row, connections) },
		{ "total_messages_delivered", offsetof(struct row, delivered) },
		{ "total_messages_transfail", offsetof(struct row, transfail) },
		{ "ready_count", offsetof(struct row, queued) },
	};

	for (size_t i = 0; i < ARRAY_LEN(FROM); i++) {
		const struct val *values = metric_values(metrics, FROM[i].metric, "service");
		for (uint32_t k = 0; values && k < values->n; k++) {
			struct slice service = values->members[k].key;
			ptrdiff_t colon = slice_chr(service, ':');
			if (colon < 0)
				continue;
			struct row *r = row_of(c, rows, slice_sub(service, colon + 1, SIZE_MAX));
			*(int64_t *)((char *)r + FROM[i].field) += metric_number(&values->members[k].val);
		}
	}
}

static void collect_scheduled(struct client *c, const struct val *metrics, struct rows *rows)
{
	const struct val *values = metric_values(metrics, "scheduled_count", "queue");

	for (uint32_t k = 0; values && k < values->n; k++)
		row_of(c, rows, values->members[k].key)->queued += metric_number(&values->members[k].val);
}

struct ready_name {
	struct slice source, site, protocol;
};

static struct ready_name split_ready(const char *name)
{
	static const struct slice PROTOCOLS[] = { SLICE_INIT("@smtp_client"), SLICE_INIT("@lua:"), SLICE_INIT("@maildir:") };
	struct ready_name n = { .site = slice_from_cstr(name) };
	ptrdiff_t at = slice_find(n.site, SLICE("->"));

	if (at >= 0) {
		n.source = slice_sub(n.site, 0, at);
		n.site = slice_sub(n.site, at + 2, SIZE_MAX);
	}
	for (size_t i = 0; i < ARRAY_LEN(PROTOCOLS) && !n.protocol.ptr; i++) {
		if ((at = slice_find(n.site, PROTOCOLS[i])) >= 0) {
			n.protocol = slice_sub(n.site, at + 1, SIZE_MAX);
			n.site = slice_sub(n.site, 0, at);
		}
	}
	return n;
}

/* campaign:tenant@domain!routing */
struct queue_parts {
	struct slice campaign, tenant, domain, routing;
};

static struct queue_parts split_queue(const char *name)
{
	struct queue_parts q = { .domain = slice_from_cstr(name) };
	ptrdiff_t at;

	if ((at = slice_chr(q.domain, '@')) >= 0) {
		q.tenant = slice_sub(q.domain, 0, at);
		q.domain = slice_sub(q.domain, at + 1, SIZE_MAX);
		if ((at = slice_chr(q.tenant, ':')) >= 0) {
			q.campaign = slice_sub(q.tenant, 0, at);
			q.tenant = slice_sub(q.tenant, at + 1, SIZE_MAX);
			if (!q.tenant.len)
				q.tenant = SLICE_NONE;
		}
	}
	if ((at = slice_chr(q.domain, '!')) >= 0) {
		q.routing = slice_sub(q.domain, at + 1, SIZE_MAX);
		q.domain = slice_sub(q.domain, 0, at);
	}
	return q;
}

static bool criterion_fits(const struct val *entry, const char *name, struct slice have)
{
	struct slice want = val_get_str(entry, slice_from_cstr(name));

	return !want.ptr || (have.ptr && slice_eq(want, have));
}

static const struct val *entry_for(const struct val *list, const char *queue)
{
	struct queue_parts q = split_queue(queue);

	for (uint32_t i = 0; list->type == VAL_LIST && i < list->n; i++) {
		const struct val *e = &list->items[i];
		if (criterion_fits(e, "campaign", q.campaign) && criterion_fits(e, "tenant", q.tenant) && criterion_fits(e, "domain", q.domain) &&
		    criterion_fits(e, "routing_domain", q.routing))
			return e;
	}
	return NULL;
}

int queue_state_fetch(struct client *c, struct queue_state *s)
{
	int rc = client_request_json(c, "GET", "/api/admin/suspend/v1", NULL, &s->suspended);

	if (rc == 0)
		rc = client_request_json(c, "GET", "/api/admin/bounce/v1", NULL, &s->bounced);
	if (rc == 0)
		rc = client_request_json(c, "GET", "/api/admin/suspend-ready-q/v1", NULL, &s->suspended_sites);
	if (rc == 0)
		rc = client_request_json(c, "GET", "/api/admin/ready-q-states/v1", NULL, &s->ready_states);
	if (rc == 0)
		rc = client_request_json(c, "GET", "/metrics.json", NULL, &s->metrics);
	return rc;
}

static void put_states(struct buf *b, const struct queue_state *s, const char *name)
{
	const struct val *all = val_get_lit(&s->ready_states, "states_by_ready_queue");
	const struct val *mine = all ? val_get(all, slice_from_cstr(name)) : NULL;

	for (uint32_t i = 0; mine && mine->type == VAL_OBJ && i < mine->n; i++) {
		const struct val_member *m = &mine->members[i];
		buf_printf(b, "%s%.*s: %.*s @ %.*s", b->len ? ", " : "", SLICE_ARG(m->key), SLICE_ARG(val_get_str(&m->val, SLICE("context"))),
			   SLICE_ARG(val_get_str(&m->val, SLICE("since"))));
	}
}

static const char *ready_status(struct client *c, const struct queue_state *s, const char *name)
{
	struct buf b = { 0 };

	for (uint32_t i = 0; s->suspended_sites.type == VAL_LIST && i < s->suspended_sites.n; i++) {
		const struct val *e = &s->suspended_sites.items[i];
		if (slice_eq_cstr(val_get_str(e, SLICE("name")), name)) {
			buf_printf(&b, "\360\237\233\221suspend: %.*s", SLICE_ARG(val_get_str(e, SLICE("reason"))));
			break;
		}
	}
	put_states(&b, s, name);
	const char *out = arena_strdup(c->arena, buf_view(&b));
	buf_fini(&b);
	return out;
}

static const char *number_text(struct client *c, int64_t n)
{
	char *text = arena_alloc(c->arena, 32);

	table_number(text, n);
	return text;
}

static void print_ready(struct client *c, const struct queue_state *s, const struct rows *rows, size_t n)
{
	static const struct table_column COLUMNS[] = { { "SITE", false }, { "SOURCE", false }, { "PROTO", false }, { "D", true },
						       { "T", true },	  { "C", true },       { "Q", true },	   { "", false } };
	const char **cells = arena_alloc(c->arena, (n + 1) * 8 * sizeof *cells);

	for (size_t i = 0; i < n; i++) {
		const struct row *r = rows->items[i];
		struct ready_name name = split_ready(r->name);
		const char **cell = cells + i * 8;
		cell[0] = arena_strdup(c->arena, name.site);
		cell[1] = arena_strdup(c->arena, name.source);
		cell[2] = arena_strdup(c->arena, name.protocol);
		cell[3] = number_text(c, r->delivered);
		cell[4] = number_text(c, r->transfail);
		cell[5] = number_text(c, r->connections);
		cell[6] = number_text(c, r->queued);
		cell[7] = ready_status(c, s, r->name);
	}
	table_print(COLUMNS, 8, cells, n);
}

static const char *scheduled_status(struct client *c, const struct queue_state *s, const char *name)
{
	const struct val *e = entry_for(&s->bounced, name);

	if (e)
		return arena_printf(c->arena, "\360\237\227\221\357\270\217 bounce: %.*s", SLICE_ARG(val_get_str(e, SLICE("reason"))));
	e = entry_for(&s->suspended, name);
	return e ? arena_printf(c->arena, "\360\237\233\221suspend: %.*s", SLICE_ARG(val_get_str(e, SLICE("reason")))) : "";
}

static void print_scheduled(struct client *c, const struct queue_state *s, const struct rows *rows, size_t n)
{
	static const struct table_column COLUMNS[] = { { "SCHEDULED QUEUE", false }, { "COUNT", true }, { "", false } };
	const char **cells = arena_alloc(c->arena, (n + 1) * 3 * sizeof *cells);

	for (size_t i = 0; i < n; i++) {
		cells[i * 3] = rows->items[i]->name;
		cells[i * 3 + 1] = number_text(c, rows->items[i]->queued);
		cells[i * 3 + 2] = scheduled_status(c, s, rows->items[i]->name);
	}
	table_print(COLUMNS, 3, cells, n);
}

/* The site of a domain, as the daemon resolves it; none when it cannot. */
static struct slice site_of(struct client *c, const char *domain)
{
	const char *path = client_path(c, "/api/admin/resolve-egress-path/v1", (const char *const[]){ "domain", domain, NULL });
	struct val v;

	if (client_request_json(c, "GET", path, NULL, &v) < 0)
		return SLICE_NONE;
	const struct val *mx = val_get_lit(&v, "mx");
	return mx ? val_get_str(mx, SLICE("site_name")) : SLICE_NONE;
}

/* Ready queues of the domain's site; scheduled queues of the domain and of those that share its site. */
static void keep_domain(struct client *c, const char *domain, struct rows *ready, struct rows *scheduled)
{
	struct slice site = site_of(c, domain);
	size_t n = 0;

	for (size_t i = 0; i < ready->n; i++) {
		if (site.ptr && slice_eq(split_ready(ready->items[i]->name).site, site))
			ready->items[n++] = ready->items[i];
	}
	ready->n = n;
	n = 0;
	for (size_t i = 0; i < scheduled->n; i++) {
		struct queue_parts q = split_queue(scheduled->items[i]->name);
		struct slice to = q.routing.len ? q.routing : q.domain;
		if (slice_eq_cstr(q.domain, domain) || (site.ptr && slice_eq(site_of(c, arena_strdup(c->arena, to)), site)))
			scheduled->items[n++] = scheduled->items[i];
	}
	scheduled->n = n;
}

void queue_state_print(struct client *c, const struct queue_state *s, const char *domain, bool by_volume, int64_t limit)
{
	struct rows ready = { 0 }, scheduled = { 0 };

	collect_ready(c, &s->metrics, &ready);
	collect_scheduled(c, &s->metrics, &scheduled);
	rows_finish(c, &ready, by_volume ? cmp_volume : cmp_name);
	rows_finish(c, &scheduled, by_volume ? cmp_volume : cmp_name);
	if (domain)
		keep_domain(c, domain, &ready, &scheduled);
	print_ready(c, s, &ready, limit < 0 ? ready.n : MIN(ready.n, (size_t)limit));
	putchar('\n');
	print_scheduled(c, s, &scheduled, limit < 0 ? scheduled.n : MIN(scheduled.n, (size_t)limit));
}

static int64_t limit_of(const struct args *a)
{
	return args_get(a, "--limit") ? strtoll(args_get(a, "--limit"), NULL, 10) : -1;
}

int kcli_queue_summary(const struct args *a)
{
	struct queue_state s;
	struct client c;

	if (client_open(&c, a) < 0)
		return 1;
	int rc = queue_state_fetch(&c, &s);
	if (rc == 0)
		queue_state_print(&c, &s, args_get(a, "--domain"), args_has(a, "--by-volume"), limit_of(a));
	client_close(&c);
	return rc < 0;
}

/* --- provider-summary -------------------------------------------------------------------------------------------------- */

static void add_provider(struct client *c, struct rows *rows, size_t field, struct slice provider, struct slice pool, int64_t n)
{
	char *key = arena_printf(c->arena, "%.*s\t%.*s", SLICE_ARG(provider), SLICE_ARG(pool));
	struct row *r = row_of(c, rows, slice_from_cstr(key));

	r->name = arena_strdup(c->arena, provider);
	r->pool = pool.ptr ? arena_strdup(c->arena, pool) : NULL;
	*(int64_t *)((char *)r + field) += n;
}

/* Metrics with several labels are lists of {label: value, …, "@": number} in the JSON form. */
static void collect_pools(struct client *c, const struct val *metrics, const char *metric, size_t field, struct rows *rows)
{
	const struct val *family = val_get(metrics, slice_from_cstr(metric)), *value = family ? val_get_lit(family, "value") : NULL;

	for (uint32_t i = 0; value && value->type == VAL_LIST && i < value->n; i++) {
		const struct val *e = &value->items[i], *n = val_get_lit(e, "@");
		if (n)
			add_provider(c, rows, field, val_get_str(e, SLICE("provider")), val_get_str(e, SLICE("pool")), metric_number(n));
	}
}

static void collect_providers(struct client *c, const struct val *metrics, bool by_pool, struct rows *rows)
{
	static const struct { const char *plain, *pooled; size_t field; } FROM[] = {
		{ "total_messages_delivered_by_provider", "total_messages_delivered_by_provider_and_source", offsetof(struct row, delivered) },
		{ "total_messages_transfail_by_provider", "total_messages_transfail_by_provider_and_source", offsetof(struct row, transfail) },
		{ "total_messages_fail_by_provider", "total_messages_fail_by_provider_and_source", offsetof(struct row, fail) },
		{ "connection_count_by_provider", "connection_count_by_provider_and_pool", offsetof(struct row, connections) },
		{ "queued_count_by_provider", "queued_count_by_provider_and_pool", offsetof(struct row, queued) },
	};

	for (size_t i = 0; i < ARRAY_LEN(FROM); i++) {
		if (by_pool) {
			collect_pools(c, metrics, FROM[i].pooled, FROM[i].field, rows);
			continue;
		}
		const struct val *values = metric_values(metrics, FROM[i].plain, "provider");
		for (uint32_t k = 0; values && k < values->n; k++)
			add_provider(c, rows, FROM[i].field, values->members[k].key, SLICE_NONE, metric_number(&values->members[k].val));
	}
}

/* Which domains with waiting mail have the site NAME: "a.example, b.example". */
static const char *domains_of(struct client *c, const struct rows *scheduled, const char *name)
{
	struct buf b = { 0 };

	for (size_t i = 0; i < scheduled->n; i++) {
		if (slice_eq_cstr(slice_from_cstr(scheduled->items[i]->pool), name))
			buf_printf(&b, "%s%s", b.len ? ", " : "", scheduled->items[i]->name);
	}
	const char *out = arena_strdup(c->arena, buf_view(&b));
	buf_fini(&b);
	return out;
}

/* The domains of all scheduled queues; a row's pool holds the site. */
static void collect_sites(struct client *c, const struct val *metrics, struct rows *rows)
{
	const struct val *values = metric_values(metrics, "scheduled_count", "queue");

	for (uint32_t k = 0; values && k < values->n; k++) {
		struct queue_parts q = split_queue(arena_strdup(c->arena, values->members[k].key));
		row_of(c, rows, q.routing.len ? q.routing : q.domain);
	}
	rows_finish(c, rows, cmp_name);
	for (size_t i = 0; i < rows->n; i++) {
		struct slice site = site_of(c, rows->items[i]->name);
		rows->items[i]->pool = arena_strdup(c->arena, site);
	}
}

static void print_providers(struct client *c, const struct rows *rows, size_t n, bool by_pool, const struct rows *sites)
{
	struct table_column columns[8] = { { "PROVIDER", false } };
	size_t width = 1, at = 0;

	if (by_pool)
		columns[width++] = (struct table_column){ "POOL", false };
	for (const char *const *name = (const char *const[]){ "D", "T", "F", "C", "Q", NULL }; *name; name++)
		columns[width++] = (struct table_column){ *name, true };
	if (sites)
		columns[width++] = (struct table_column){ "DOMAINS", false };
	const char **cells = arena_alloc(c->arena, (n + 1) * width * sizeof *cells);
	for (size_t i = 0; i < n; i++) {
		const struct row *r = rows->items[i];
		cells[at++] = r->name;
		if (by_pool)
			cells[at++] = r->pool ? r->pool : "";
		cells[at++] = number_text(c, r->delivered);
		cells[at++] = number_text(c, r->transfail);
		cells[at++] = number_text(c, r->fail);
		cells[at++] = number_text(c, r->connections);
		cells[at++] = number_text(c, r->queued);
		if (sites)
			cells[at++] = domains_of(c, sites, r->name);
	}
	table_print(columns, width, cells, n);
}

int kcli_provider_summary(const struct args *a)
{
	struct rows rows = { 0 }, sites = { 0 };
	struct client c;
	struct val metrics;
	int64_t limit = limit_of(a);
	bool by_pool = args_has(a, "--by-pool");

	if (client_open(&c, a) < 0)
		return 1;
	int rc = client_request_json(&c, "GET", "/metrics.json", NULL, &metrics);
	if (rc == 0) {
		collect_providers(&c, &metrics, by_pool, &rows);
		rows_finish(&c, &rows, cmp_messages);
		if (args_has(a, "--show-domains"))
			collect_sites(&c, &metrics, &sites);
		print_providers(&c, &rows, limit < 0 ? rows.n : MIN(rows.n, (size_t)limit), by_pool, sites.n ? &sites : NULL);
	}
	client_close(&c);
	return rc < 0;
}
