/* SPDX-License-Identifier: Apache-2.0 */
/*
 * file - the tables of one shaping file as blocks.
 *
 * The top level maps domains to blocks; "default" and "provider" are special. In a block a few names are ours, everything else
 * is an option of an egress path, which is checked once all files are merged.
 */
#include "shaping/internal.h"

static int read_bool(const struct val *v, const char *name, bool *out)
{
	if (v->type != VAL_BOOL)
		return err_set(E_INVAL, "invalid `%s`, of type %s: expected a boolean", name, val_type_name(v->type));
	*out = v->b;
	return 0;
}

static int read_rules(struct shaping *s, const struct val *v, struct rule_list *out)
{
	if (v->type != VAL_LIST)
		return err_set(E_INVAL, "invalid `automation`, of type %s: expected a list of rules, as [[\"DOMAIN\".automation]] makes it", val_type_name(v->type));
	for (uint32_t i = 0; i < v->n; i++) {
		struct shaping_rule r;
		int rc = shaping_rule_read(s, &v->items[i], &r);

		if (rc < 0) {
			err_prefix("automation[%u]", i);
			return rc;
		}
		rule_list_add(s->arena, out, &r);
	}
	return 0;
}

static int read_sources(struct shaping *s, const struct val *v, struct val *out)
{
	if (v->type != VAL_OBJ)
		return err_set(E_INVAL, "invalid `sources`, of type %s: expected a table of sources", val_type_name(v->type));
	for (uint32_t i = 0; i < v->n; i++)
		if (v->members[i].val.type != VAL_OBJ)
			return err_set(E_INVAL, "invalid source `%.*s`, of type %s: expected a table of options", SLICE_ARG(v->members[i].key), val_type_name(v->members[i].val.type));
	*out = val_copy(s->arena, v);
	return 0;
}

static int read_match(struct shaping *s, const struct val *v, struct provider_match *out)
{
	static const char *const names[] = { "MXSuffix", "DomainSuffix", "HostName" };

	if (v->type == VAL_OBJ && v->n == 1 && v->members[0].val.type == VAL_STR)
		for (size_t i = 0; i < ARRAY_LEN(names); i++)
			if (slice_eq_cstr(v->members[0].key, names[i])) {
				out->kind = (enum provider_match_kind)i;
				out->text = arena_dup(s->arena, v->members[0].val.s);
				return 0;
			}
	return err_set(E_INVAL, "expected {MXSuffix=\"TEXT\"}, {DomainSuffix=\"TEXT\"} or {HostName=\"TEXT\"}");
}

static int read_matches(struct shaping *s, const struct val *v, struct shaping_block *b)
{
	if (v->type != VAL_LIST)
		return err_set(E_INVAL, "invalid `match`, of type %s: expected a list", val_type_name(v->type));
	b->n_matches = v->n;
	b->matches = arena_alloc(s->arena, v->n * sizeof(*b->matches) + 1);
	for (uint32_t i = 0; i < v->n; i++) {
		int rc = read_match(s, &v->items[i], &b->matches[i]);

		if (rc < 0) {
			err_prefix("match[%u]", i);
			return rc;
		}
	}
	return 0;
}

static int read_connection_limit(const struct val *v, struct shaping_block *b)
{
	struct slice text = v->type == VAL_STR ? v->s : SLICE_NONE;

	b->has_connection_limit = true;
	if (v->type == VAL_INT && v->i >= 0) {
		b->connection_limit.limit = (uint64_t)v->i;
		return 0;
	}
	if (slice_starts(text, SLICE("local:"))) {
		b->connection_limit.local = true;
		text = slice_sub(text, 6, SIZE_MAX);
	}
	if (text.ptr && slice_to_u64(text, &b->connection_limit.limit) == 0)
		return 0;
	return err_set(E_INVAL, "invalid `provider_connection_limit`: expected a number or text like \"10\" or \"local:10\"");
}

static int read_message_rate(const struct val *v, struct shaping_block *b)
{
	int rc;

	b->has_message_rate = true;
	if (v->type != VAL_STR)
		return err_set(E_INVAL, "invalid `provider_max_message_rate`, of type %s: expected text like \"100/s\"", val_type_name(v->type));
	if ((rc = rate_spec_parse(v->s, &b->message_rate)) < 0)
		err_prefix("invalid `provider_max_message_rate`");
	return rc;
}

/* The members of a block that are ours; 1: it is none of them. */
static int read_own_member(struct shaping *s, struct slice key, const struct val *v, bool is_provider, struct shaping_block *b)
{
	if (slice_eq(key, SLICE("replace_base")))
		return read_bool(v, "replace_base", &b->replace_base);
	if (slice_eq(key, SLICE("automation")))
		return read_rules(s, v, &b->rules);
	if (slice_eq(key, SLICE("sources")))
		return read_sources(s, v, &b->sources);
	if (!is_provider)
		return slice_eq(key, SLICE("mx_rollup")) ? read_bool(v, "mx_rollup", &b->mx_rollup) : 1;
	if (slice_eq(key, SLICE("match")))
		return read_matches(s, v, b);
	if (slice_eq(key, SLICE("provider_connection_limit")))
		return read_connection_limit(v, b);
	if (slice_eq(key, SLICE("provider_max_message_rate")))
		return read_message_rate(v, b);
	return 1;
}

static int read_block(struct shaping *s, struct slice name, const struct val *v, bool is_provider, struct shaping_block *b)
{
	*b = (struct shaping_block){ .name = arena_dup(s->arena, name), .params = val_obj(), .sources = val_obj(), .mx_rollup = true };
	if (v->type != VAL_OBJ)
		return err_set(E_INVAL, "`%.*s` is of type %s: expected a table; options for every domain belong below [\"default\"]", SLICE_ARG(name), val_type_name(v->type));
	for (uint32_t i = 0; i < v->n; i++) {
		const struct val_member *m = &v->members[i];
		int rc = read_own_member(s, m->key, &m->val, is_provider, b);

		if (rc < 0) {
			err_prefix("%s '%.*s'", is_provider ? "provider" : "domain", SLICE_ARG(name));
			return rc;
		}
		if (rc > 0 && m->val.type != VAL_NULL)
			val_put(s->arena, &b->params, m->key, val_copy(s->arena, &m->val));
	}
	return 0;
}

static int read_providers(struct shaping *s, const struct val *v, struct shaping_file *out)
{
	if (v->type != VAL_OBJ)
		return err_set(E_INVAL, "`provider` is of type %s: expected blocks like [provider.\"NAME\"]", val_type_name(v->type));
	out->providers = arena_alloc(s->arena, v->n * sizeof(*out->providers) + 1);
	for (uint32_t i = 0; i < v->n; i++) {
		int rc = read_block(s, v->members[i].key, &v->members[i].val, true, &out->providers[i]);

		if (rc < 0)
			return rc;
	}
	out->n_providers = v->n;
	return 0;
}

int shaping_file_read(struct shaping *s, const struct val *root, struct shaping_file *out)
{
	*out = (struct shaping_file){ 0 };
	if (root->type != VAL_OBJ)
		return err_set(E_INVAL, "the file is of type %s: expected a table of domains", val_type_name(root->type));
	out->blocks = arena_alloc(s->arena, root->n * sizeof(*out->blocks) + 1);
	for (uint32_t i = 0; i < root->n; i++) {
		const struct val_member *m = &root->members[i];
		int rc;

		if (slice_eq(m->key, SLICE("provider"))) {
			rc = read_providers(s, &m->val, out);
		} else if (slice_eq(m->key, SLICE("default"))) {
			out->dflt = arena_alloc(s->arena, sizeof(*out->dflt));
			rc = read_block(s, m->key, &m->val, false, out->dflt);
		} else {
			rc = read_block(s, m->key, &m->val, false, &out->blocks[out->n++]);
		}
		if (rc < 0)
			return rc;
	}
	return 0;
}
