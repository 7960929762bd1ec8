/* SPDX-License-Identifier: Apache-2.0 */
/* rule - automation rules: reading, matching, printing. */
#include "base/timefmt.h"
#include "shaping/internal.h"

static const char *const ACTION_NAMES[ACTION_COUNT] = {
#define X(n, t) t,
	SHAPING_ACTIONS(X)
#undef X
};
static const char *const RULE_FIELDS[] = { "regex", "action", "trigger", "duration", "match_internal", NULL };

#define ACTION_EXPECTED                                                                                                 \
	"expected \"Suspend\", \"SuspendTenant\", \"SuspendCampaign\", \"Bounce\", \"BounceTenant\", \"BounceCampaign\", " \
	"{SetConfig={name=\"NAME\", value=VALUE}} or {SetDomainConfig={name=\"NAME\", value=VALUE}}"

static int action_by_name(struct slice name)
{
	for (int i = 0; i < ACTION_COUNT; i++)
		if (slice_eq_cstr(name, ACTION_NAMES[i]))
			return i;
	return -1;
}

static bool has_setting(enum shaping_action_kind k)
{
	return k == ACTION_SET_CONFIG || k == ACTION_SET_DOMAIN_CONFIG;
}

/* {name = "max_message_rate", value = "1/s"}, which must be an option of an egress path */
static int read_setting(struct shaping *s, const struct val *v, struct shaping_action *out)
{
	const struct val *value = val_get_lit(v, "value");
	struct val params = val_obj();
	int rc;

	out->name = val_get_str(v, SLICE("name"));
	if (!out->name.ptr || !value)
		return err_set(E_INVAL, "%s needs the fields `name` and `value`", ACTION_NAMES[out->kind]);
	struct val *kept = arena_alloc(s->arena, sizeof(*kept));
	*kept = val_copy(s->arena, value);
	out->name = arena_dup(s->arena, out->name);
	out->value = kept;
	val_put(s->arena, &params, out->name, *kept);
	if ((rc = s->ops->check_params(&params)) < 0)
		err_prefix("%s", ACTION_NAMES[out->kind]);
	return rc;
}

static int read_action(struct shaping *s, const struct val *v, struct shaping_action *out)
{
	if (v->type == VAL_STR) {
		int kind = action_by_name(v->s);

		if (kind >= 0 && !has_setting(kind)) {
			out->kind = kind;
			return 0;
		}
		return err_set(E_INVAL, "invalid action `%.*s`: " ACTION_EXPECTED, SLICE_ARG(v->s));
	}
	if (v->type == VAL_OBJ && v->n == 1) {
		int kind = action_by_name(v->members[0].key);

		if (kind >= 0 && has_setting(kind)) {
			out->kind = kind;
			return read_setting(s, &v->members[0].val, out);
		}
		return err_set(E_INVAL, "invalid action `%.*s`: " ACTION_EXPECTED, SLICE_ARG(v->members[0].key));
	}
	return err_set(E_INVAL, "invalid action, of type %s: " ACTION_EXPECTED, val_type_name(v->type));
}

/* One value or a list of them: *ITEMS and *N. */
static void one_or_many(const struct val *v, const struct val **items, size_t *n)
{
	*items = v->type == VAL_LIST ? v->items : v;
	*n = v->type == VAL_LIST ? v->n : 1;
}

static int read_actions(struct shaping *s, const struct val *v, struct shaping_rule *out)
{
	const struct val *items;
	int rc;

	if (!v)
		return err_set(E_INVAL, "missing field `action`: " ACTION_EXPECTED);
	one_or_many(v, &items, &out->n_actions);
	out->actions = arena_alloc(s->arena, out->n_actions * sizeof(*out->actions) + 1);
	for (size_t i = 0; i < out->n_actions; i++)
		if ((rc = read_action(s, &items[i], &out->actions[i])) < 0)
			return rc;
	return 0;
}

/* Kept by S until it goes. */
static int compile(struct shaping *s, struct slice text, struct shaping_regex *out)
{
	int rc = regex_create(text, REGEX_FULL, &out->re);

	if (rc < 0) {
		err_prefix("invalid regex `%.*s`", SLICE_ARG(text));
		return rc;
	}
	out->text = arena_dup(s->arena, text);
	out->next = s->regexes;
	s->regexes = out;
	return 0;
}

void shaping_regexes_free(struct shaping *s)
{
	for (struct shaping_regex *r = s->regexes; r; r = r->next)
		regex_destroy(&r->re);
	s->regexes = NULL;
}

static int read_regexes(struct shaping *s, const struct val *v, struct shaping_rule *out)
{
	const struct val *items;
	int rc;

	if (!v)
		return err_set(E_INVAL, "missing field `regex`: expected a string or a list of strings");
	one_or_many(v, &items, &out->n_regexes);
	out->regexes = arena_alloc(s->arena, out->n_regexes * sizeof(*out->regexes) + 1);
	for (size_t i = 0; i < out->n_regexes; i++) {
		if (items[i].type != VAL_STR)
			return err_set(E_INVAL, "invalid `regex`, of type %s: expected a string or a list of strings", val_type_name(items[i].type));
		if ((rc = compile(s, items[i].s, &out->regexes[i])) < 0)
			return rc;
	}
	return 0;
}

static int read_trigger(const struct val *v, struct shaping_rule *out)
{
	if (!v || (v->type == VAL_STR && slice_eq(v->s, SLICE("Immediate"))))
		return 0;
	struct slice rate = val_get_str(v, SLICE("Threshold"));
	if (!rate.ptr || v->n != 1)
		return err_set(E_INVAL, "invalid `trigger`: expected \"Immediate\" or {Threshold=\"10/hr\"}");
	int rc = rate_spec_parse(rate, &out->threshold);
	if (rc < 0)
		err_prefix("invalid `trigger` Threshold");
	out->has_threshold = rc == 0;
	return rc;
}

static int read_duration(const struct val *v, struct shaping_rule *out)
{
	int rc;

	if (!v)
		return err_set(E_INVAL, "missing field `duration`: expected text like \"2 hours\"");
	if (v->type == VAL_INT && v->i >= 0 && v->i < INT64_MAX / NSEC_PER_SEC) {
		out->duration_ns = v->i * NSEC_PER_SEC;
		return 0;
	}
	if (v->type != VAL_STR)
		return err_set(E_INVAL, "invalid `duration`, of type %s: expected text like \"2 hours\"", val_type_name(v->type));
	if ((rc = duration_parse(v->s, &out->duration_ns)) < 0)
		err_prefix("invalid `duration`");
	return rc;
}

/* Other fields are ignored, but a misspelt `trigger` would change what happens: say so. */
static void warn_unknown_fields(struct shaping *s, const struct val *v)
{
	for (uint32_t i = 0; i < v->n; i++) {
		bool known = false;

		for (const char *const *f = RULE_FIELDS; *f; f++)
			known = known || slice_eq_cstr(v->members[i].key, *f);
		if (!known)
			text_list_add(s->arena, &s->warnings, "unknown field `%.*s` in an automation rule is ignored, expected one of `regex`, `action`, `trigger`, `duration`, `match_internal`",
				SLICE_ARG(v->members[i].key));
	}
}

int shaping_rule_read(struct shaping *s, const struct val *v, struct shaping_rule *out)
{
	int rc;

	*out = (struct shaping_rule){ 0 };
	if (v->type != VAL_OBJ)
		return err_set(E_INVAL, "a rule must be a table, this is of type %s", val_type_name(v->type));
	const struct val *internal = val_get_lit(v, "match_internal");
	if (internal && internal->type != VAL_BOOL)
		return err_set(E_INVAL, "invalid `match_internal`, of type %s: expected a boolean", val_type_name(internal->type));
	out->match_internal = internal && internal->b;
	if ((rc = read_regexes(s, val_get_lit(v, "regex"), out)) < 0 || (rc = read_actions(s, val_get_lit(v, "action"), out)) < 0 ||
		(rc = read_trigger(val_get_lit(v, "trigger"), out)) < 0 || (rc = read_duration(val_get_lit(v, "duration"), out)) < 0)
		return rc;
	warn_unknown_fields(s, v);
	return 0;
}

bool shaping_rule_matches(const struct shaping_rule *r, bool is_internal, struct slice line)
{
	if (is_internal && !r->match_internal)
		return false;
	for (size_t i = 0; i < r->n_regexes; i++)
		if (regex_is_match(r->regexes[i].re, line))
			return true;
	return false;
}

static struct val action_to_val(const struct shaping_action *act, struct arena *a)
{
	if (!has_setting(act->kind))
		return val_cstr(a, ACTION_NAMES[act->kind]);
	struct val setting = val_obj(), v = val_obj();
	val_put_lit(a, &setting, "name", val_str(a, act->name));
	val_put_lit(a, &setting, "value", val_copy(a, act->value));
	val_put(a, &v, slice_from_cstr(ACTION_NAMES[act->kind]), setting);
	return v;
}

static struct val trigger_to_val(const struct shaping_rule *r, struct arena *a)
{
	if (!r->has_threshold)
		return val_cstr(a, "Immediate");
	struct buf b = { 0 };
	struct val v = val_obj();
	rate_spec_put(&b, &r->threshold);
	val_put_lit(a, &v, "Threshold", val_str(a, buf_view(&b)));
	buf_fini(&b);
	return v;
}

void shaping_rule_to_val(const struct shaping_rule *r, struct arena *a, struct val *out)
{
	struct val regexes = val_list(), actions = val_list();
	struct buf b = { 0 };

	for (size_t i = 0; i < r->n_regexes; i++)
		val_push(a, &regexes, val_str(a, r->regexes[i].text));
	for (size_t i = 0; i < r->n_actions; i++)
		val_push(a, &actions, action_to_val(&r->actions[i], a));
	duration_put(&b, r->duration_ns);
	*out = val_obj();
	val_put_lit(a, out, "regex", regexes);
	val_put_lit(a, out, "action", actions);
	val_put_lit(a, out, "trigger", trigger_to_val(r, a));
	val_put_lit(a, out, "duration", val_str(a, buf_view(&b)));
	val_put_lit(a, out, "match_internal", val_bool(r->match_internal));
	buf_fini(&b);
}
