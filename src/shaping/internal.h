/* SPDX-License-Identifier: Apache-2.0 */
/*
 * internal - blocks of shaping files while they are merged and asked.
 *
 * Thread:  built by one owner, then immutable.   Memory: everything in the arena of the struct shaping.   Yields: never.
 */
#pragma once
#include "base/map.h"
#include "codec/regex.h"
#include "shaping/shaping.h"

#define SHAPING_MAGIC OBJ_MAGIC('S', 'H', 'A', 'P')

struct rule_list {
	struct shaping_rule *items;
	size_t n, cap;
};

enum provider_match_kind { MATCH_MX_SUFFIX, MATCH_DOMAIN_SUFFIX, MATCH_HOST_NAME };
struct provider_match {
	enum provider_match_kind kind;
	struct slice text;
};

/* One block: of a domain, a site, a provider, or "default". */
struct shaping_block {
	struct slice name;		/* the domain as written, or the provider */
	struct slice key;		/* what it is kept by: site name, domain, provider */
	struct val params;		/* options of an egress path */
	struct val sources;		/* {source: options} */
	struct rule_list rules;
	bool replace_base;
	bool mx_rollup;			/* domains only */
	/* providers only */
	struct provider_match *matches;
	size_t n_matches;
	bool has_connection_limit, has_message_rate;
	struct limit_spec connection_limit;
	struct rate_spec message_rate;
};

struct block_table {
	struct shaping_block **items;	/* in the order of their first appearance */
	size_t n, cap;
	struct map by_key;
};

struct text_list {
	const char **items;
	size_t n, cap;
};

struct shaping_regex {
	struct slice text;
	struct regex *re;
	struct shaping_regex *next;
};

struct shaping {
	uint32_t magic;
	_Atomic uint32_t refs;
	struct arena *arena;
	const struct shaping_ops *ops;
	struct block_table sites, domains, providers;
	struct text_list errors, warnings;
	struct shaping_regex *regexes;	/* all that were compiled, by .next */
};

/* The blocks of one file in the order in which they stand. */
struct shaping_file {
	struct shaping_block *blocks;
	size_t n;
	struct shaping_block *dflt;	/* NULL: none */
	struct shaping_block *providers;
	size_t n_providers;
};

/* file.c: reads a parsed file. What is odd but harmless becomes a warning of S. */
int shaping_file_read(struct shaping *s, const struct val *root, struct shaping_file *out) WARN_UNUSED;

/* merge.c */
void shaping_params_merge(struct arena *a, struct val *into, const struct val *from);
struct shaping_block *block_table_get(const struct block_table *t, struct slice key);
void block_table_merge(struct arena *a, struct block_table *t, struct slice key, const struct shaping_block *b);
void block_table_fini(struct block_table *t);
void text_list_add(struct arena *a, struct text_list *l, const char *fmt, ...) PRINTF(3, 4);

/* provider.c: does the domain belong to the provider? MX: its hosts; NULL while unknown, then *NEED_MX is set where they would decide. */
bool provider_matches(const struct shaping_block *p, struct slice domain, const struct shaping_mx *mx, bool *need_mx);
void provider_apply(struct arena *a, const struct shaping_block *p, struct slice source, struct val *params);
bool shaping_is_domain_name(struct slice domain);

/* rule.c */
int shaping_rule_read(struct shaping *s, const struct val *v, struct shaping_rule *out) WARN_UNUSED;
bool shaping_rule_matches(const struct shaping_rule *r, bool is_internal, struct slice line);
void rule_list_add(struct arena *a, struct rule_list *l, const struct shaping_rule *r);
void shaping_regexes_free(struct shaping *s);
