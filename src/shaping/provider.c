/* SPDX-License-Identifier: Apache-2.0 */
/* provider - which destinations a provider block fits, and the limits that it brings. */
#include "shaping/internal.h"

static struct slice without_final_dot(struct slice s)
{
	return slice_ends(s, SLICE(".")) ? slice_sub(s, 0, s.len - 1) : s;
}

static bool host_matches(const struct shaping_block *p, struct slice host)
{
	host = without_final_dot(host);
	for (size_t i = 0; i < p->n_matches; i++) {
		const struct provider_match *m = &p->matches[i];

		if (m->kind == MATCH_MX_SUFFIX && slice_ends_nocase(host, m->text))
			return true;
		if (m->kind == MATCH_HOST_NAME && slice_eq_nocase(host, m->text))
			return true;
	}
	return false;
}

bool provider_matches(const struct shaping_block *p, struct slice domain, const struct shaping_mx *mx, bool *need_mx)
{
	bool by_host = false;

	for (size_t i = 0; i < p->n_matches; i++) {
		if (p->matches[i].kind != MATCH_DOMAIN_SUFFIX)
			by_host = true;
		else if (slice_ends_nocase(without_final_dot(domain), p->matches[i].text))
			return true;
	}
	if (!by_host)
		return false;
	if (!mx) {
		*need_mx = true;
		return false;
	}
	/* A domain that mixes providers belongs to none of them. */
	if (mx->error || mx->n_hosts == 0)
		return false;
	for (size_t i = 0; i < mx->n_hosts; i++)
		if (!host_matches(p, mx->hosts[i]))
			return false;
	return true;
}

static void put_limit(struct arena *a, struct val *params, struct slice option, struct slice key, struct val limit)
{
	struct val limits = val_obj(), implied = val_obj();

	val_put(a, &limits, key, limit);
	val_put(a, &implied, option, limits);
	shaping_params_merge(a, params, &implied);
}

void provider_apply(struct arena *a, const struct shaping_block *p, struct slice source, struct val *params)
{
	struct buf b = { 0 };
	const struct val *selection;

	val_put_lit(a, params, "provider_name", val_str(a, p->name));
	if (p->has_connection_limit) {
		buf_printf(&b, "%s%llu", p->connection_limit.local ? "local:" : "", (unsigned long long)p->connection_limit.limit);
		put_limit(a, params, SLICE("additional_connection_limits"), arena_slicef(a, "shaping-provider-%.*s-%.*s-limit", SLICE_ARG(p->name), SLICE_ARG(source)),
			val_str(a, buf_view(&b)));
	}
	if (p->has_message_rate) {
		buf_clear(&b);
		rate_spec_put(&b, &p->message_rate);
		put_limit(a, params, SLICE("additional_message_rate_throttles"),
			arena_slicef(a, "shaping-provider-%.*s-%.*s-rate", SLICE_ARG(p->name), SLICE_ARG(source)), val_str(a, buf_view(&b)));
	}
	selection = val_get_lit(params, "provider_source_selection_rate");
	if (selection) {
		struct val rate = val_copy(a, selection);

		val_remove(params, SLICE("provider_source_selection_rate"));
		put_limit(a, params, SLICE("additional_source_selection_rates"),
			arena_slicef(a, "shaping-provider-%.*s-%.*s-selection-rate", SLICE_ARG(p->name), SLICE_ARG(source)), rate);
	}
	buf_fini(&b);
}

/* Queues of log hooks have names like "http://10.0.0.1:8008.tsa.kumomta", which are no business of the DNS. */
bool shaping_is_domain_name(struct slice domain)
{
	for (size_t i = 0; i < domain.len; i++) {
		char c = domain.ptr[i];

		if (!ascii_is_alnum(c) && slice_chr(SLICE("-._[]:"), c) < 0 && (unsigned char)c < 0x80)
			return false;
	}
	return domain.len > 0;
}
