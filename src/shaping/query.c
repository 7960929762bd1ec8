/* SPDX-License-Identifier: Apache-2.0 */
/* query - what applies to one path or one response. */
#include "shaping/internal.h"

/* The MX of the domain that is asked about, resolved when the first provider wants to know. */
struct lazy_mx {
	struct slice domain;
	bool known;
	struct shaping_mx mx;
};

static int provider_fits(const struct shaping *s, const struct shaping_block *p, struct lazy_mx *l, struct arena *a, bool *fits)
{
	bool need_mx = false;

	*fits = provider_matches(p, l->domain, l->known ? &l->mx : NULL, &need_mx);
	if (!need_mx)
		return 0;
	int rc = s->ops->resolve(&l->domain, 1, a, &l->mx);
	if (rc < 0)
		return rc;
	l->known = true;
	*fits = provider_matches(p, l->domain, &l->mx, &need_mx);
	return 0;
}

/* The providers that the domain belongs to: LIST has room for all. */
static int matching_providers(const struct shaping *s, struct slice domain, struct arena *a, const struct shaping_block **list, size_t *n)
{
	struct lazy_mx l = { .domain = domain };

	*n = 0;
	if (!shaping_is_domain_name(domain))
		return 0;
	for (size_t i = 0; i < s->providers.n; i++) {
		bool fits;
		int rc = provider_fits(s, s->providers.items[i], &l, a, &fits);

		if (rc < 0)
			return rc;
		if (fits)
			list[(*n)++] = s->providers.items[i];
	}
	return 0;
}

static void merge_source(struct arena *a, struct val *params, const struct shaping_block *b, struct slice source)
{
	const struct val *more = b ? val_get(&b->sources, source) : NULL;

	if (more)
		shaping_params_merge(a, params, more);
}

int shaping_path_params(const struct shaping *s, struct slice domain, struct slice source, struct slice site_name, struct arena *a, struct val *out)
{
	const struct shaping_block **providers = arena_alloc(a, s->providers.n * sizeof(*providers) + 1);
	const struct shaping_block *dflt = block_table_get(&s->domains, SLICE("default"));
	const struct shaping_block *site = block_table_get(&s->sites, site_name), *dom = block_table_get(&s->domains, domain);
	struct val params = val_obj();
	size_t n;
	int rc;

	if ((rc = matching_providers(s, domain, a, providers, &n)) < 0)
		return rc;
	if (dflt)
		shaping_params_merge(a, &params, &dflt->params);
	for (size_t i = 0; i < n; i++) {
		shaping_params_merge(a, &params, &providers[i]->params);
		provider_apply(a, providers[i], source, &params);
	}
	for (size_t i = 0; i < n; i++) {
		if (!val_get(&providers[i]->sources, source))
			continue;
		merge_source(a, &params, providers[i], source);
		provider_apply(a, providers[i], source, &params);
	}
	if (site)
		shaping_params_merge(a, &params, &site->params);
	if (dom)
		shaping_params_merge(a, &params, &dom->params);
	merge_source(a, &params, site, source);
	merge_source(a, &params, dom, source);
	*out = params;
	return 0;
}

size_t shaping_errors(const struct shaping *s, const char *const **list)
{
	*list = s->errors.items;
	return s->errors.n;
}

size_t shaping_warnings(const struct shaping *s, const char *const **list)
{
	*list = s->warnings.items;
	return s->warnings.n;
}

static void add_references(const struct block_table *t, const char *kind, struct arena *a, struct val *out)
{
	for (size_t i = 0; i < t->n; i++)
		for (uint32_t j = 0; j < t->items[i]->sources.n; j++) {
			struct slice source = t->items[i]->sources.members[j].key;
			const struct val *old = val_get(out, source);
			struct val list = old ? val_copy(a, old) : val_list();

			val_push(a, &list, val_str(a, arena_slicef(a, "%s:%.*s", kind, SLICE_ARG(t->items[i]->key))));
			val_put(a, out, source, list);
		}
}

void shaping_referenced_sources(const struct shaping *s, struct arena *a, struct val *out)
{
	*out = val_obj();
	add_references(&s->sites, "site", a, out);
	add_references(&s->domains, "domain", a, out);
	add_references(&s->providers, "provider", a, out);
}

static void put_table(const struct block_table *t, const char *kind, struct arena *a, struct buf *b)
{
	for (size_t i = 0; i < t->n; i++) {
		const struct shaping_block *block = t->items[i];

		buf_printf(b, "%s %.*s %d %llu %d ", kind, SLICE_ARG(block->key), block->connection_limit.local, (unsigned long long)block->connection_limit.limit,
			block->has_connection_limit);
		if (block->has_message_rate)
			rate_spec_put(b, &block->message_rate);
		for (size_t j = 0; j < block->n_matches; j++)
			buf_printf(b, " %d %.*s", block->matches[j].kind, SLICE_ARG(block->matches[j].text));
		json_put(b, &block->params, JSON_SORTED);
		json_put(b, &block->sources, JSON_SORTED);
		for (size_t j = 0; j < block->rules.n; j++) {
			struct val v;

			shaping_rule_to_val(&block->rules.items[j], a, &v);
			json_put(b, &v, JSON_SORTED);
		}
		buf_putc(b, '\n');
	}
}

void shaping_put_text(const struct shaping *s, struct buf *b)
{
	struct arena *a = arena_create();

	put_table(&s->sites, "site", a, b);
	put_table(&s->domains, "domain", a, b);
	put_table(&s->providers, "provider", a, b);
	for (size_t i = 0; i < s->warnings.n; i++)
		buf_printf(b, "warning %s\n", s->warnings.items[i]);
	for (size_t i = 0; i < s->errors.n; i++)
		buf_printf(b, "error %s\n", s->errors.items[i]);
	arena_destroy(&a);
}

/* --- automation rules ------------------------------------------------------------------------------------------------------ */

struct matcher {
	struct arena *a;
	struct slice line;
	bool is_internal;
	struct shaping_match *items;
	size_t n, cap;
};

static void match_block(struct matcher *m, const struct shaping_block *b, bool rollup)
{
	for (size_t i = 0; b && i < b->rules.n; i++) {
		if (!shaping_rule_matches(&b->rules.items[i], m->is_internal, m->line))
			continue;
		if (m->n == m->cap) {
			size_t cap = m->cap ? m->cap * 2 : 4;
			struct shaping_match *items = arena_alloc(m->a, cap * sizeof(*items));

			if (m->n)
				memcpy(items, m->items, m->n * sizeof(*items));
			m->items = items;
			m->cap = cap;
		}
		m->items[m->n++] = (struct shaping_match){ &b->rules.items[i], rollup };
	}
}

/* "src->mx.example.com@smtp_client" is about the site mx.example.com */
static struct slice site_of_path(struct slice site, struct slice source, struct arena *a)
{
	struct slice prefix = arena_slicef(a, "%.*s->", SLICE_ARG(source));

	if (slice_starts(site, prefix))
		site = slice_sub(site, prefix.len, SIZE_MAX);
	if (slice_ends(site, SLICE("@smtp_client")))
		site = slice_sub(site, 0, site.len - strlen("@smtp_client"));
	return site;
}

int shaping_match_rules(const struct shaping *s, struct slice recipient, struct slice source, struct slice site, const struct smtp_response *response,
	struct arena *a, struct shaping_match **out, size_t *n)
{
	const struct shaping_block **providers = arena_alloc(a, s->providers.n * sizeof(*providers) + 1);
	struct matcher m = { .a = a, .is_internal = slice_starts(response->content, SLICE("KumoMTA internal: ")) };
	struct smtp_path path;
	struct buf line = { 0 };
	size_t n_providers;
	int rc;

	*out = NULL;
	*n = 0;
	if ((rc = smtp_forward_path_parse(recipient, a, &path)) < 0) {
		err_prefix("parsing record.recipient");
		return rc;
	}
	if (path.domain.len == 0)
		return 0;
	if ((rc = matching_providers(s, path.domain, a, providers, &n_providers)) < 0)
		return rc;
	smtp_response_put_line(&line, response);
	m.line = buf_view(&line);
	match_block(&m, block_table_get(&s->domains, SLICE("default")), true);
	for (size_t i = 0; i < n_providers; i++)
		match_block(&m, providers[i], false);
	match_block(&m, block_table_get(&s->sites, site_of_path(site, source.ptr ? source : SLICE("unspecified"), a)), true);
	match_block(&m, block_table_get(&s->domains, path.domain), false);
	buf_fini(&line);
	*out = m.items;
	*n = m.n;
	return 0;
}
