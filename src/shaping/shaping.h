/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shaping - what shaping files say: the options of an egress path, and the automation rules that a response fires.
 *
 * Files are TOML or JSON; later ones merge over earlier ones (docs/userguide/trafficshaping). Blocks are kept by site (the usual
 * case: the domain stands for everything with the same MX hosts), by domain (mx_rollup = false, and "default") and by provider (a
 * pattern of MX hosts). A query merges, in this order: default, providers, their source blocks, site, domain, the site's source
 * block, the domain's source block.
 *
 * DNS, HTTP and the checks of path options come from above in a struct shaping_ops, so that this folder is plain logic.
 *
 * Thread:  a loaded struct shaping is immutable and may be used by any thread.
 * Memory:  reference-counted; results go into the arena given.
 * Yields:  where an op does: shaping_load, shaping_path_params, shaping_match_rules.
 */
#pragma once
#include "codec/opt.h"
#include "codec/rfc5321.h"
#include "codec/val.h"

/* The MX hosts of a domain. */
struct shaping_mx {
	const char *error;		/* NULL: resolved */
	struct slice site_name;		/* "": null MX */
	struct slice *hosts;		/* with or without a final dot */
	size_t n_hosts;
};

struct shaping_ops {
	/* Resolves N domains, at the same time if it can, into OUT[0..n); failures stand in OUT. Negative: canceled. */
	int (*resolve)(const struct slice *domains, size_t n, struct arena *a, struct shaping_mx *out);
	/* Are these options of an egress path? The error text names the option. */
	int (*check_params)(const struct val *params);
	/* GET of a URL that begins with http: or https:. */
	int (*fetch)(struct slice url, int64_t timeout_ns, struct buf *out);
};

enum shaping_level { SHAPING_IGNORE, SHAPING_WARN, SHAPING_ERROR };
struct shaping_options {
	int aliased_site, dns_fail, local_load, null_mx, provider_overlap, remote_load;	/* enum shaping_level */
	bool skip_remote;
	int64_t http_timeout;	/* ns */
};
extern const struct opt_desc SHAPING_OPTIONS;

struct shaping;
/* -E_INVAL: a file can't be parsed, or holds what is no option or no rule. */
int shaping_load(const struct slice *paths, size_t n, const struct shaping_options *o, const struct shaping_ops *ops, struct shaping **out) WARN_UNUSED;
struct shaping *shaping_ref(struct shaping *s);
void shaping_unref(struct shaping **s);

/* The options for kumo.make_egress_path, as an object. */
int shaping_path_params(const struct shaping *s, struct slice domain, struct slice source, struct slice site_name, struct arena *a, struct val *out) WARN_UNUSED;

/* Messages of the load, by the levels asked for. */
size_t shaping_errors(const struct shaping *s, const char *const **list);
size_t shaping_warnings(const struct shaping *s, const char *const **list);

/* {source: ["site:…", "domain:…"]}: the sources that blocks name. */
void shaping_referenced_sources(const struct shaping *s, struct arena *a, struct val *out);
/* Everything that was loaded as one text: equal for equal data. For hashing. */
void shaping_put_text(const struct shaping *s, struct buf *b);

/* --- automation rules ----------------------------------------------------------------------------------------------------- */

#define SHAPING_ACTIONS(X)                                                                                            \
	X(ACTION_SUSPEND, "Suspend") X(ACTION_SET_CONFIG, "SetConfig") X(ACTION_SUSPEND_TENANT, "SuspendTenant")      \
	X(ACTION_SUSPEND_CAMPAIGN, "SuspendCampaign") X(ACTION_SET_DOMAIN_CONFIG, "SetDomainConfig")                  \
	X(ACTION_BOUNCE, "Bounce") X(ACTION_BOUNCE_TENANT, "BounceTenant") X(ACTION_BOUNCE_CAMPAIGN, "BounceCampaign")
enum shaping_action_kind {
#define X(n, t) n,
	SHAPING_ACTIONS(X)
#undef X
	ACTION_COUNT
};
struct shaping_action {
	enum shaping_action_kind kind;
	struct slice name;		/* SetConfig, SetDomainConfig */
	const struct val *value;
};

struct shaping_regex;
struct shaping_rule {
	struct shaping_regex *regexes;
	size_t n_regexes;
	struct shaping_action *actions;
	size_t n_actions;
	bool has_threshold;		/* false: Immediate */
	struct rate_spec threshold;
	int64_t duration_ns;
	bool match_internal;
};
/* As Lua and hashes see a rule: {regex = […], action = […], trigger = …, duration = "2h", match_internal = false}. */
void shaping_rule_to_val(const struct shaping_rule *r, struct arena *a, struct val *out);

struct shaping_match {
	const struct shaping_rule *rule;	/* belongs to the struct shaping */
	bool was_rollup;			/* stood in a block for a site, or in "default" */
};
/*
 * The rules that a response fires, in the order default, providers, site, domain. RECIPIENT: an address; a Postmaster without a
 * domain fires nothing. SITE: the `site` of a log record, "source->site@smtp_client", or a site name alone.
 */
int shaping_match_rules(const struct shaping *s, struct slice recipient, struct slice source, struct slice site, const struct smtp_response *response,
	struct arena *a, struct shaping_match **out, size_t *n) WARN_UNUSED;
