/* SPDX-License-Identifier: Apache-2.0 */
/* load - reads shaping files, resolves the domains that stand for sites, merges, and checks what came out. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/timefmt.h"
#include "base/xalloc.h"
#include "rt/diag.h"
#include "shaping/internal.h"

#define MAX_FILE_BYTES (64u * 1024 * 1024)

static const struct opt_choice LEVELS[] = { { "Ignore", SHAPING_IGNORE }, { "Warn", SHAPING_WARN }, { "Error", SHAPING_ERROR }, { NULL, 0 } };

static const struct opt_field FIELDS[] = {
	OPT_ENUM(struct shaping_options, aliased_site, LEVELS, "Ignore", "several domain blocks stand for the same site"),
	OPT_ENUM(struct shaping_options, dns_fail, LEVELS, "Ignore", "the MX of a domain block can't be resolved"),
	OPT_ENUM(struct shaping_options, local_load, LEVELS, "Error", "a local file can't be read"),
	OPT_ENUM(struct shaping_options, null_mx, LEVELS, "Ignore", "a domain block is about a domain that takes no mail"),
	OPT_ENUM(struct shaping_options, provider_overlap, LEVELS, "Ignore", "a domain block's domain belongs to a provider too"),
	OPT_ENUM(struct shaping_options, remote_load, LEVELS, "Ignore", "a URL can't be fetched"),
	OPT_BOOL(struct shaping_options, skip_remote, "false", "leave URLs out"),
	OPT_DURATION(struct shaping_options, http_timeout, "5s", "how long fetching a URL may take"),
	OPT_END
};
const struct opt_desc SHAPING_OPTIONS = { .name = "kumo.shaping.load", .fields = FIELDS, .size = sizeof(struct shaping_options) };

static void collect(struct shaping *s, int level, const char *text)
{
	if (level != SHAPING_IGNORE)
		text_list_add(s->arena, level == SHAPING_WARN ? &s->warnings : &s->errors, "%s", text);
}

static bool is_url(struct slice path)
{
	return slice_starts(path, SLICE("http://")) || slice_starts(path, SLICE("https://"));
}

static int read_local(const char *path, struct buf *out)
{
	FILE *f = fopen(path, "re");
	char chunk[16384];
	size_t n;

	if (!f)
		return err_set(E_NOENT, "loading data from file %s: %s (os error %d)", path, strerror(errno), errno);
	while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0 && out->len + n <= MAX_FILE_BYTES)
		buf_put(out, chunk, n);
	int failed = ferror(f) ? errno : 0;
	fclose(f);
	if (failed)
		return err_set(E_IO, "loading data from file %s: %s (os error %d)", path, strerror(failed), failed);
	if (n > 0)
		return err_set(E_LIMIT, "loading data from file %s: it is larger than %u bytes", path, MAX_FILE_BYTES);
	return 0;
}

/* The bytes of a file or URL. 1: there are none, and the options say to go on without. */
static int read_source(struct shaping *s, struct slice path, const struct shaping_options *o, struct buf *out)
{
	char *name = arena_strdup(s->arena, path);
	bool remote = is_url(path);
	int rc;

	if (remote && o->skip_remote) {
		text_list_add(s->arena, &s->warnings, "Ignoring %s because skip_remote is set to true", name);
		return 1;
	}
	rc = remote ? s->ops->fetch(path, o->http_timeout, out) : read_local(name, out);
	if (rc == -E_CANCELED)
		return rc;
	if (rc < 0) {
		if (remote) /* whatever the level: the options may say to ignore it, but shaping without it is not what was asked for */
			diag_error("shaping", "%s. Ignoring this shaping source for now", err_text());
		collect(s, remote ? o->remote_load : o->local_load, arena_printf(s->arena, "%s shaping source %s error: %s", remote ? "remote" : "local", name, err_text()));
		return 1;
	}
	return 0;
}

static int parse_json(struct shaping *s, struct slice text, const char *name, struct shaping_file *out)
{
	struct val root;
	int rc = json_parse(text, s->arena, &root);

	if (rc == 0)
		rc = shaping_file_read(s, &root, out);
	if (rc < 0)
		err_prefix("parsing json from file %s", name);
	return rc;
}

static int parse_toml(struct shaping *s, struct slice text, const char *name, struct shaping_file *out)
{
	struct val root;
	int rc = toml_parse(text, name, s->arena, &root);

	if (rc < 0) { /* the text begins with the file and the line */
		err_prefix("parsing toml");
		return rc;
	}
	if ((rc = shaping_file_read(s, &root, out)) < 0)
		err_prefix("parsing toml from file %s", name);
	return rc;
}

/* The extension says what a file is; without one, whichever way it can be read. */
static int parse_source(struct shaping *s, struct slice path, struct slice text, const struct shaping_options *o, struct shaping_file *out)
{
	char *name = arena_strdup(s->arena, path);

	if (slice_ends(path, SLICE(".toml")))
		return parse_toml(s, text, name, out);
	if (slice_ends(path, SLICE(".json")))
		return parse_json(s, text, name, out);
	if (parse_toml(s, text, name, out) == 0)
		return 0;
	const char *as_toml = arena_printf(s->arena, "%s", err_text());
	if (parse_json(s, text, name, out) == 0)
		return 0;
	collect(s, is_url(path) ? o->remote_load : o->local_load, arena_printf(s->arena, "%s; %s", as_toml, err_text()));
	*out = (struct shaping_file){ 0 };
	return 0;
}

static int load_source(struct shaping *s, struct slice path, const struct shaping_options *o, struct shaping_file *out)
{
	struct buf text = { 0 };
	int rc = read_source(s, path, o, &text);

	*out = (struct shaping_file){ 0 };
	if (rc == 0)
		rc = parse_source(s, path, buf_view(&text), o, out);
	buf_fini(&text);
	return rc < 0 ? rc : 0;
}

/* --- domains and sites ---------------------------------------------------------------------------------------------------- */

/* What is known of the domains of all files while they are merged. */
struct resolution {
	struct slice *domains;
	struct shaping_mx *mx;
	size_t n;
	struct map by_domain;	/* of struct shaping_mx */
};

static int resolve_all(struct shaping *s, const struct shaping_file *files, size_t n, struct resolution *r)
{
	size_t max = 0;

	for (size_t i = 0; i < n; i++)
		max += files[i].n;
	r->domains = arena_alloc(s->arena, max * sizeof(*r->domains) + 1);
	r->mx = arena_alloc(s->arena, max * sizeof(*r->mx) + 1);
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < files[i].n; j++) {
			const struct shaping_block *b = &files[i].blocks[j];

			if (!b->mx_rollup || map_get(&r->by_domain, b->name))
				continue;
			r->domains[r->n] = b->name;
			map_put(&r->by_domain, b->name, &r->mx[r->n]);
			r->n++;
		}
	return r->n ? s->ops->resolve(r->domains, r->n, s->arena, r->mx) : 0;
}

/* ["foo"] is most likely [foo.com] without its quotes. "*" is no label of its own. */
static bool is_single_label(struct slice domain)
{
	if (slice_starts(domain, SLICE("*.")))
		domain = slice_sub(domain, 2, SIZE_MAX);
	if (slice_ends(domain, SLICE(".")))
		domain = slice_sub(domain, 0, domain.len - 1);
	return domain.len > 0 && slice_chr(domain, '.') < 0;
}

/* Domains that are kept by their own name are looked up in lower case and without a final dot. */
static struct slice domain_key(struct shaping *s, struct slice domain)
{
	char *key = arena_strdup(s->arena, domain);
	size_t len = domain.len;

	if (len > 1 && key[len - 1] == '.')
		len--;
	for (size_t i = 0; i < len; i++)
		key[i] = ascii_lower(key[i]);
	return slice_new(key, len);
}

static void merge_domain(struct shaping *s, const struct shaping_block *b, const struct shaping_options *o, const struct resolution *r)
{
	const struct shaping_mx *mx;

	if (is_single_label(b->name))
		text_list_add(s->arena, &s->warnings,
			"Entry for domain '%.*s' consists of a single DNS label. Domain names in TOML sections need to be quoted like '[\"%.*s.com\"]` "
			"otherwise the '.' will create a nested table rather than being added to the domain name.",
			SLICE_ARG(b->name), SLICE_ARG(b->name));
	if (!b->mx_rollup) {
		block_table_merge(s->arena, &s->domains, domain_key(s, b->name), b);
		return;
	}
	mx = map_get(&r->by_domain, b->name);
	assert(mx);
	if (mx->error)
		collect(s, o->dns_fail, arena_printf(s->arena, "error resolving MX for %.*s: %s. Ignoring the shaping config for that domain.", SLICE_ARG(b->name), mx->error));
	else if (mx->site_name.len == 0)
		collect(s, o->null_mx,
			arena_printf(s->arena, "domain %.*s has a NULL MX and cannot be used with mx_rollup=true. Ignoring the shaping config for that domain.", SLICE_ARG(b->name)));
	else
		block_table_merge(s->arena, &s->sites, mx->site_name, b);
}

static void merge_file(struct shaping *s, const struct shaping_file *f, const struct shaping_options *o, const struct resolution *r)
{
	if (f->dflt)
		block_table_merge(s->arena, &s->domains, SLICE("default"), f->dflt);
	for (size_t i = 0; i < f->n; i++)
		merge_domain(s, &f->blocks[i], o, r);
	for (size_t i = 0; i < f->n_providers; i++)
		block_table_merge(s->arena, &s->providers, f->providers[i].name, &f->providers[i]);
}

/* --- checks of the whole -------------------------------------------------------------------------------------------------- */

static int check_block(struct shaping *s, const char *kind, const struct shaping_block *b, bool is_provider)
{
	const char *what = is_provider ? "provider" : "domain";
	struct val params = val_copy(s->arena, &b->params);
	int rc;

	if (is_provider)
		val_remove(&params, SLICE("provider_source_selection_rate"));
	if ((rc = s->ops->check_params(&params)) < 0) {
		err_prefix("%s: %.*s: interpreting %s '%.*s'", kind, SLICE_ARG(b->key), what, SLICE_ARG(b->name));
		return rc;
	}
	for (uint32_t i = 0; i < b->sources.n; i++) {
		params = val_copy(s->arena, &b->sources.members[i].val);
		if (is_provider)
			val_remove(&params, SLICE("provider_source_selection_rate"));
		if ((rc = s->ops->check_params(&params)) < 0) {
			err_prefix("%s: %.*s: interpreting %s '%.*s' source '%.*s'", kind, SLICE_ARG(b->key), what, SLICE_ARG(b->name), SLICE_ARG(b->sources.members[i].key));
			return rc;
		}
	}
	return 0;
}

static int check_table(struct shaping *s, const char *kind, const struct block_table *t)
{
	for (size_t i = 0; i < t->n; i++) {
		int rc = check_block(s, kind, t->items[i], t == &s->providers);

		if (rc < 0)
			return rc;
	}
	return 0;
}

static void check_aliases(struct shaping *s, int level, const struct resolution *r)
{
	for (size_t i = 0; i < s->sites.n && level != SHAPING_IGNORE; i++) {
		struct slice site = s->sites.items[i]->key;
		struct buf names = { 0 };
		size_t n = 0;

		for (size_t j = 0; j < r->n; j++) {
			if (r->mx[j].error || !slice_eq(r->mx[j].site_name, site))
				continue;
			buf_printf(&names, "%s%.*s", n++ ? ", " : "", SLICE_ARG(r->domains[j]));
		}
		if (n > 1)
			collect(s, level, arena_printf(s->arena, "multiple domain blocks alias to the same site: %.*s: %s", SLICE_ARG(site), buf_cstr(&names)));
		buf_fini(&names);
	}
}

static void check_overlaps(struct shaping *s, int level, const struct resolution *r)
{
	for (size_t i = 0; i < r->n && level != SHAPING_IGNORE; i++) {
		struct buf names = { 0 };
		bool need_mx = false;

		for (size_t j = 0; j < s->providers.n; j++)
			if (provider_matches(s->providers.items[j], r->domains[i], &r->mx[i], &need_mx))
				buf_printf(&names, "%s%.*s", names.len ? ", " : "", SLICE_ARG(s->providers.items[j]->name));
		if (names.len)
			collect(s, level, arena_printf(s->arena, "domain %.*s is also matched by provider(s): %s", SLICE_ARG(r->domains[i]), buf_cstr(&names)));
		buf_fini(&names);
	}
}

static int merge_all(struct shaping *s, const struct shaping_file *files, size_t n, const struct shaping_options *o)
{
	struct resolution r = { 0 };
	int rc = resolve_all(s, files, n, &r);

	if (rc == 0) {
		for (size_t i = 0; i < n; i++)
			merge_file(s, &files[i], o, &r);
		if ((rc = check_table(s, "site", &s->sites)) == 0 && (rc = check_table(s, "domain", &s->domains)) == 0)
			rc = check_table(s, "provider", &s->providers);
	}
	if (rc == 0) {
		check_aliases(s, o->aliased_site, &r);
		check_overlaps(s, o->provider_overlap, &r);
	}
	map_fini(&r.by_domain);
	return rc;
}

int shaping_load(const struct slice *paths, size_t n, const struct shaping_options *o, const struct shaping_ops *ops, struct shaping **out)
{
	struct shaping *s = xzalloc(sizeof(*s));
	int rc = 0;

	OBJ_INIT(s, SHAPING_MAGIC);
	s->refs = 1;
	s->arena = arena_create();
	s->ops = ops;
	struct shaping_file *files = arena_alloc(s->arena, n * sizeof(*files) + 1);
	for (size_t i = 0; i < n && rc == 0; i++)
		rc = load_source(s, paths[i], o, &files[i]);
	if (rc == 0)
		rc = merge_all(s, files, n, o);
	if (rc < 0) {
		shaping_unref(&s);
		return rc;
	}
	*out = s;
	return 0;
}

struct shaping *shaping_ref(struct shaping *s)
{
	OBJ_CHECK(s, SHAPING_MAGIC);
	s->refs++;
	return s;
}

void shaping_unref(struct shaping **sp)
{
	struct shaping *s = *sp;

	*sp = NULL;
	if (!s)
		return;
	OBJ_CHECK(s, SHAPING_MAGIC);
	if (--s->refs > 0)
		return;
	OBJ_FINI(s, SHAPING_MAGIC);
	shaping_regexes_free(s);
	block_table_fini(&s->sites);
	block_table_fini(&s->domains);
	block_table_fini(&s->providers);
	arena_destroy(&s->arena);
	free(s);
}
