/* SPDX-License-Identifier: Apache-2.0 */
#include "api/aaa.h"
#include "net/ttl_cache.h"
#include "rt/clock.h"
#include "rt/sync.h"

static const struct policy_event EV_ACL = { "get_acl_definition", POLICY_MULTI };
static bool fall_back = true;
static int64_t acl_ttl_ms = 300000;
static struct ttl_cache *acl_cache;
static void (*audit)(const struct val *record);

/* --- authentication information ---------------------------------------------------------------------------------------- */

struct val aaa_auth_info(struct arena *a, const struct ipaddr *peer)
{
	struct val v = val_obj();

	if (peer && peer->family) {
		struct buf b = { 0 };
		ipaddr_put(&b, peer);
		val_put_lit(a, &v, "peer_address", val_str(a, buf_view(&b)));
		buf_fini(&b);
	}
	val_put_lit(a, &v, "identities", val_list());
	val_put_lit(a, &v, "groups", val_list());
	return v;
}

static struct val *list_of(struct arena *a, struct val *auth, struct slice name)
{
	struct val *list = (struct val *)val_get(auth, name);

	return list && list->type == VAL_LIST ? list : val_put(a, auth, name, val_list());
}

void aaa_add_identity(struct arena *a, struct val *auth, struct slice identity, const char *context)
{
	struct val id = val_obj();

	val_put_lit(a, &id, "identity", val_str(a, identity));
	val_put_lit(a, &id, "context", val_cstr(a, context));
	val_push(a, list_of(a, auth, SLICE("identities")), id);
}

void aaa_add_group(struct arena *a, struct val *auth, struct slice group)
{
	val_push(a, list_of(a, auth, SLICE("groups")), val_str(a, group));
}

void aaa_merge(struct arena *a, struct val *auth, const struct val *other)
{
	static const struct slice NAMES[] = { SLICE_INIT("identities"), SLICE_INIT("groups") };

	for (size_t i = 0; i < ARRAY_LEN(NAMES); i++) {
		const struct val *from = val_get(other, NAMES[i]);
		for (uint32_t k = 0; from && from->type == VAL_LIST && k < from->n; k++)
			val_push(a, list_of(a, auth, NAMES[i]), val_copy(a, &from->items[k]));
	}
}

bool aaa_is_authenticated(const struct val *auth)
{
	const struct val *ids = val_get_lit(auth, "identities");

	return ids && ids->type == VAL_LIST && ids->n > 0;
}

void aaa_put(struct buf *b, const struct val *auth)
{
	const struct val *ids = val_get_lit(auth, "identities");
	struct slice peer = val_get_str(auth, SLICE("peer_address"));

	if (!aaa_is_authenticated(auth)) {
		buf_lit(b, "<Unauthenticated>");
	} else {
		buf_lit(b, "id=[");
		for (uint32_t i = 0; i < ids->n; i++)
			buf_printf(b, "%s%.*s", i ? ", " : "", SLICE_ARG(val_get_str(&ids->items[i], SLICE("identity"))));
		buf_putc(b, ']');
	}
	buf_putc(b, '@');
	if (peer.ptr)
		buf_printf(b, " ip=%.*s", SLICE_ARG(peer));
}

/* --- rules ------------------------------------------------------------------------------------------------------------- */

#define DEPTH_MAX 32

static int check_criteria(const struct val *c, int depth);

static int check_identity(const struct val *v)
{
	static const char FORMS[] = "Individual, Group, Machine, Authenticated, Unauthenticated or Any";
	struct slice kind;

	if (v->type == VAL_STR)
		kind = v->s;
	else if (v->type == VAL_OBJ && v->n == 1)
		kind = v->members[0].key;
	else
		return err_set(E_INVAL, "Identity: expected one of %s", FORMS);
	bool named = slice_eq_cstr(kind, "Individual") || slice_eq_cstr(kind, "Group") || slice_eq_cstr(kind, "Machine");
	if (named && (v->type != VAL_OBJ || v->members[0].val.type != VAL_STR))
		return err_set(E_INVAL, "Identity.%.*s: expected a string", SLICE_ARG(kind));
	if (!named && !slice_eq_cstr(kind, "Authenticated") && !slice_eq_cstr(kind, "Unauthenticated") && !slice_eq_cstr(kind, "Any"))
		return err_set(E_INVAL, "unknown variant `%.*s`, expected one of %s", SLICE_ARG(kind), FORMS);
	return 0;
}

static int check_all(const struct val *list, int depth)
{
	if (list->type != VAL_LIST)
		return err_set(E_INVAL, "criteria: expected a list of criteria, not a %s", val_type_name(list->type));
	for (uint32_t i = 0; i < list->n; i++) {
		int rc = check_criteria(&list->items[i], depth + 1);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int check_criteria(const struct val *c, int depth)
{
	if (c->type != VAL_OBJ || c->n != 1 || depth > DEPTH_MAX)
		return err_set(E_INVAL, "criteria: expected one of Identity, AllOf, AnyOf, Not");
	struct slice kind = c->members[0].key;
	const struct val *v = &c->members[0].val;
	if (slice_eq_cstr(kind, "Identity"))
		return check_identity(v);
	if (slice_eq_cstr(kind, "Machine"))
		return v->type == VAL_STR ? 0 : err_set(E_INVAL, "Machine: expected an address");
	if (slice_eq_cstr(kind, "AllOf") || slice_eq_cstr(kind, "AnyOf"))
		return check_all(v, depth);
	if (slice_eq_cstr(kind, "Not"))
		return check_criteria(v, depth + 1);
	return err_set(E_INVAL, "unknown variant `%.*s`, expected one of `AllOf`, `AnyOf`, `Not`, `Identity`", SLICE_ARG(kind));
}

static int check_rule(const struct val *r)
{
	const struct val *criteria = val_get_lit(r, "criteria");
	struct slice access = val_get_str(r, SLICE("access"));

	if (r->type != VAL_OBJ)
		return err_set(E_INVAL, "expected a rule {criteria, privilege, access}, not a %s", val_type_name(r->type));
	if (!criteria)
		return err_set(E_INVAL, "missing field `criteria`");
	if (!val_get_str(r, SLICE("privilege")).ptr)
		return err_set(E_INVAL, "missing field `privilege`");
	if (!slice_eq_cstr(access, "Allow") && !slice_eq_cstr(access, "Deny"))
		return err_set(E_INVAL, "access: expected `Allow` or `Deny`");
	for (uint32_t i = 0; i < r->n; i++) {
		struct slice k = r->members[i].key;
		if (!slice_eq_cstr(k, "criteria") && !slice_eq_cstr(k, "privilege") && !slice_eq_cstr(k, "access"))
			return err_set(E_INVAL, "unknown field `%.*s`, expected one of `criteria`, `privilege`, `access`", SLICE_ARG(k));
	}
	return check_criteria(criteria, 0);
}

int aaa_acl_from_val(const struct val *rules, struct vdoc **out)
{
	if (rules->type != VAL_LIST && !(rules->type == VAL_OBJ && rules->n == 0))
		return err_set(E_INVAL, "expected a list of rules, not a %s", val_type_name(rules->type));
	for (uint32_t i = 0; rules->type == VAL_LIST && i < rules->n; i++) {
		int rc = check_rule(&rules->items[i]);
		if (rc < 0) {
			err_prefix("rule %u", i + 1);
			return rc;
		}
	}
	*out = vdoc_copy_of(rules);
	return 0;
}

/* {allow, privileges, identity | criteria} becomes a rule for each privilege. */
static int expand_rule(struct arena *a, const struct val *in, struct val *list)
{
	const struct val *allow = val_get_lit(in, "allow"), *privileges = val_get_lit(in, "privileges");
	const struct val *identity = val_get_lit(in, "identity"), *criteria = val_get_lit(in, "criteria");
	struct val c = val_obj();

	if (!allow || allow->type != VAL_BOOL)
		return err_set(E_INVAL, "missing field `allow` (a boolean)");
	if (!privileges || privileges->type != VAL_LIST)
		return err_set(E_INVAL, "missing field `privileges` (a list)");
	if (!identity == !criteria)
		return err_set(E_INVAL, "exactly one of `identity` and `criteria` must be there");
	if (identity)
		val_put_lit(a, &c, "Identity", *identity);
	else
		c = *criteria;
	for (uint32_t i = 0; i < privileges->n; i++) {
		struct val rule = val_obj();
		val_put_lit(a, &rule, "criteria", c);
		val_put_lit(a, &rule, "privilege", privileges->items[i]);
		val_put_lit(a, &rule, "access", val_cstr(a, allow->b ? "Allow" : "Deny"));
		int rc = check_rule(&rule);
		if (rc < 0)
			return rc;
		val_push(a, list, rule);
	}
	return 0;
}

int aaa_acl_map_from_val(const struct val *map, struct vdoc **out)
{
	const struct val *acl = val_get_lit(map, "acl");
	struct vdoc *d = vdoc_create();
	int rc = acl && acl->type == VAL_OBJ ? 0 : err_set(E_INVAL, "missing field `acl`");

	d->root = val_obj();
	for (uint32_t i = 0; rc == 0 && i < acl->n; i++) {
		const struct val *rules = &acl->members[i].val;
		struct val list = val_list();
		if (rules->type != VAL_LIST)
			rc = err_set(E_INVAL, "expected a list of rules");
		for (uint32_t k = 0; rc == 0 && k < rules->n; k++)
			rc = expand_rule(d->arena, &rules->items[k], &list);
		if (rc < 0)
			err_prefix("acl.\"%.*s\"", SLICE_ARG(acl->members[i].key));
		else
			val_put(d->arena, &d->root, acl->members[i].key, val_copy(d->arena, &list));
	}
	if (rc < 0)
		vdoc_unref(&d);
	else
		*out = d;
	return rc;
}

/* --- matching ---------------------------------------------------------------------------------------------------------- */

static bool listed(const struct val *list, struct slice field, struct slice wanted)
{
	for (uint32_t i = 0; list && list->type == VAL_LIST && i < list->n; i++) {
		const struct val *v = &list->items[i];
		struct slice s = field.len ? val_get_str(v, field) : v->type == VAL_STR ? v->s : SLICE_NONE;
		if (s.ptr && slice_eq(s, wanted))
			return true;
	}
	return false;
}

static bool machine_matches(const struct val *auth, struct slice pattern)
{
	struct cidr net;
	struct ipaddr peer;

	return cidr_parse(pattern, &net) == 0 && ipaddr_parse(val_get_str(auth, SLICE("peer_address")), &peer) == 0 && cidr_has(&net, &peer);
}

static bool identity_matches(const struct val *v, const struct val *auth)
{
	struct slice kind = v->type == VAL_STR ? v->s : v->members[0].key;
	struct slice name = v->type == VAL_OBJ && v->members[0].val.type == VAL_STR ? v->members[0].val.s : SLICE_NONE;

	if (slice_eq_cstr(kind, "Any"))
		return true;
	if (slice_eq_cstr(kind, "Authenticated"))
		return aaa_is_authenticated(auth);
	if (slice_eq_cstr(kind, "Unauthenticated"))
		return !aaa_is_authenticated(auth);
	if (slice_eq_cstr(kind, "Individual"))
		return listed(val_get_lit(auth, "identities"), SLICE("identity"), name);
	if (slice_eq_cstr(kind, "Group"))
		return listed(val_get_lit(auth, "groups"), SLICE_NONE, name);
	return machine_matches(auth, name);
}

static bool criteria_match(const struct val *c, const struct val *auth)
{
	struct slice kind = c->members[0].key;
	const struct val *v = &c->members[0].val;

	if (slice_eq_cstr(kind, "Identity"))
		return identity_matches(v, auth);
	if (slice_eq_cstr(kind, "Machine"))
		return machine_matches(auth, v->s);
	if (slice_eq_cstr(kind, "Not"))
		return !criteria_match(v, auth);
	bool all = slice_eq_cstr(kind, "AllOf");
	for (uint32_t i = 0; i < v->n; i++) {
		if (criteria_match(&v->items[i], auth) != all)
			return !all;
	}
	return all;
}

/* --- the built-in map -------------------------------------------------------------------------------------------------- */

enum who { ANY, TRUSTED, AUTHENTICATED };
static const struct { const char *resource; const char *privileges; enum who who; } BUILT_IN[] = {
	{ "http_listener/*/api/check-liveness", "GET", ANY },
	{ "http_listener/*/rapidoc", "GET", ANY },
	{ "http_listener/*/api-docs/openapi.json", "GET", ANY },
	{ "http_listener/*/tsa/status", "GET", ANY },
	{ "http_listener/*/api/inject", "POST", TRUSTED },
	{ "http_listener/*/api/inject", "POST", AUTHENTICATED },
	{ "http_listener/*/api/admin", "GET DELETE POST", TRUSTED },
	{ "http_listener/*/api/machine-info", "GET", TRUSTED },
	{ "http_listener/*/metrics", "GET", TRUSTED },
	{ "http_listener/*/metrics.json", "GET", TRUSTED },
	{ "http_listener/*/api/xfer", "POST", TRUSTED },
	{ "http_listener/*/publish_log_v1", "POST", TRUSTED },
	{ "http_listener/*/get_config_v1", "GET", TRUSTED },
	{ "http_listener/*/get_suspension_v1", "GET", TRUSTED },
	{ "http_listener/*/subscribe_suspension_v1", "GET", TRUSTED },
	{ "http_listener/*/get_bounce_v1", "GET", TRUSTED },
	{ "http_listener/*/subscribe_event_v1", "GET", TRUSTED },
};

static bool has_word(const char *words, struct slice word)
{
	struct slice rest = slice_from_cstr(words), w;

	while (slice_split_next(&rest, ' ', &w)) {
		if (slice_eq(w, word))
			return true;
	}
	return false;
}

static void built_in_rule(struct arena *a, enum who who, struct slice privilege, struct val *rule)
{
	struct val criteria = val_obj(), group = val_obj();

	val_put_lit(a, &group, "Group", val_cstr(a, AAA_TRUSTED_GROUP));
	val_put_lit(a, &criteria, "Identity", who == ANY ? val_cstr(a, "Any") : who == AUTHENTICATED ? val_cstr(a, "Authenticated") : group);
	*rule = val_obj();
	val_put_lit(a, rule, "criteria", criteria);
	val_put_lit(a, rule, "privilege", val_str(a, privilege));
	val_put_lit(a, rule, "access", val_cstr(a, "Allow"));
}

/* RULE becomes what the rule would look like in a list. */
static bool built_in_allows(struct slice resource, const struct val *auth, struct slice privilege, struct arena *a, struct val *rule)
{
	for (size_t i = 0; i < ARRAY_LEN(BUILT_IN); i++) {
		if (!slice_eq_cstr(resource, BUILT_IN[i].resource) || !has_word(BUILT_IN[i].privileges, privilege))
			continue;
		if (BUILT_IN[i].who == ANY || (BUILT_IN[i].who == AUTHENTICATED && aaa_is_authenticated(auth)) ||
		    (BUILT_IN[i].who == TRUSTED && listed(val_get_lit(auth, "groups"), SLICE_NONE, SLICE(AAA_TRUSTED_GROUP)))) {
			if (a)
				built_in_rule(a, BUILT_IN[i].who, privilege, rule);
			return true;
		}
	}
	return false;
}

/* --- the check --------------------------------------------------------------------------------------------------------- */

static int ask_policy(void *arg, void **value, int64_t *expires_ms)
{
	const struct slice *resource = arg;
	struct policy_call c;
	struct vdoc *acl;
	int rc = policy_call_begin(&c, &EV_ACL);

	if (rc < 0)
		return rc;
	policy_push_slice(c.L, *resource);
	rc = policy_call_run(&c, 1, 1);
	if (rc == 0) {
		acl = policy_obj_get(c.L, -1, &ACL_OBJ);
		if (acl)
			*value = vdoc_ref(acl);
		else if (lua_isnil(c.L, -1))
			*value = vdoc_create();	/* null: the policy has none */
		else
			rc = err_set(E_POLICY, "it must return an access control list or nil, not a %s", luaL_typename(c.L, -1));
		*expires_ms = rt_now_ms() + acl_ttl_ms;
	}
	if (rc < 0)
		err_prefix("%s", EV_ACL.name);
	policy_call_end(&c);
	return rc;
}

/* 1 and *OUT: decided. */
static int check_one(struct slice resource, const struct val *auth, struct slice privilege, bool ask, struct arena *a, struct val *matched, enum aaa_access *out)
{
	void *value = NULL;
	bool defined = false;
	int rc = ask ? ttl_cache_load(acl_cache, resource, ask_policy, &resource, &value) : 0;

	if (rc < 0)
		return rc;
	struct vdoc *acl = value;
	defined = acl && acl->root.type != VAL_NULL;
	for (uint32_t i = 0; defined && rc == 0 && acl->root.type == VAL_LIST && i < acl->root.n; i++) {
		const struct val *rule = &acl->root.items[i];
		if (!slice_eq(val_get_str(rule, SLICE("privilege")), privilege) || !criteria_match(val_get_lit(rule, "criteria"), auth))
			continue;
		*out = slice_eq_cstr(val_get_str(rule, SLICE("access")), "Allow") ? AAA_ALLOW : AAA_DENY;
		if (a)
			*matched = val_copy(a, rule);
		rc = 1;
	}
	if (!defined && fall_back && built_in_allows(resource, auth, privilege, a, matched)) {
		*out = AAA_ALLOW;
		rc = 1;
	}
	if (acl)
		vdoc_unref(&acl);
	return rc;
}

static void audit_access(struct arena *a, const struct val *resources, const struct val *auth, struct slice privilege, enum aaa_access access, int at,
			 const struct val *rule)
{
	struct val r = val_obj(), considered = val_list();

	for (uint32_t i = 0; i < resources->n && (at < 0 || i < (uint32_t)at); i++)
		val_push(a, &considered, resources->items[i]);
	val_put_lit(a, &r, "type", val_cstr(a, "Authorization"));
	val_put_lit(a, &r, "target_resource", resources->n ? resources->items[0] : val_null());
	val_put_lit(a, &r, "considered_resources", considered);
	val_put_lit(a, &r, "matching_resource", at < 0 ? val_null() : resources->items[at]);
	val_put_lit(a, &r, "privilege", val_str(a, privilege));
	val_put_lit(a, &r, "access", val_cstr(a, access == AAA_ALLOW ? "Allow" : "Deny"));
	val_put_lit(a, &r, "rule", *rule);
	val_put_lit(a, &r, "auth_info", *auth);
	audit(&r);
}

/* A may be NULL: then there is no rule to see, and nobody who audits. */
static int decide(const struct val *resources, const struct val *auth, struct slice privilege, struct arena *a, struct aaa_verdict *out)
{
	bool ask = policy_event_wanted(&EV_ACL);
	int rc = 0, at = -1;

	*out = (struct aaa_verdict){ AAA_NOT_PERMITTED, val_null(), val_null() };
	for (uint32_t i = 0; rc == 0 && i < resources->n; i++) {
		rc = check_one(resources->items[i].s, auth, privilege, ask, a, &out->rule, &out->access);
		if (rc == 1)
			at = (int)i;
	}
	if (at >= 0)
		out->resource = resources->items[at];
	if (audit && rc >= 0)
		audit_access(a, resources, auth, privilege, out->access, at, &out->rule);
	return rc < 0 ? rc : 0;
}

int aaa_query(const struct val *resources, const struct val *auth, struct slice privilege, struct arena *a, struct aaa_verdict *out)
{
	return decide(resources, auth, privilege, a, out);
}

int aaa_check(const struct val *resources, const struct val *auth, struct slice privilege, enum aaa_access *out)
{
	struct arena *a = audit ? arena_create() : NULL;
	struct aaa_verdict v;
	int rc = decide(resources, auth, privilege, a, &v);

	*out = v.access;
	arena_destroy(&a);
	return rc;
}

void aaa_audit_authentication(const struct val *auth, struct slice identity, const char *context, bool success)
{
	if (!audit)
		return;
	struct arena *a = arena_create();
	struct val r = val_obj(), attempted = val_obj();
	val_put_lit(a, &attempted, "identity", val_str(a, identity));
	val_put_lit(a, &attempted, "context", val_cstr(a, context));
	val_put_lit(a, &r, "type", val_cstr(a, "Authentication"));
	val_put_lit(a, &r, "attempted_identity", attempted);
	val_put_lit(a, &r, "auth_info", *auth);
	val_put_lit(a, &r, "success", val_bool(success));
	audit(&r);
	arena_destroy(&a);
}

static void push_levels(struct arena *a, struct slice prefix, struct slice path, struct val *list)
{
	while (path.len && path.ptr[path.len - 1] == '/')
		path.len--;
	while (path.len) {
		struct slice full = arena_slicef(a, "%.*s%.*s", SLICE_ARG(prefix), SLICE_ARG(path));
		val_push(a, list, (struct val){ .type = VAL_STR, .s = full });
		path.len = slice_rchr(path, '/') > 0 ? (size_t)slice_rchr(path, '/') : 0;
	}
}

void aaa_http_resources(struct arena *a, struct slice local, struct slice path, struct val *list)
{
	struct slice mine = arena_slicef(a, "http_listener/%.*s", SLICE_ARG(local));

	push_levels(a, mine, path, list);
	val_push(a, list, (struct val){ .type = VAL_STR, .s = mine });
	push_levels(a, SLICE("http_listener/*"), path, list);
	val_push(a, list, val_cstr(a, "http_listener"));
}

void aaa_set_fall_back(bool on) { fall_back = on; }
void aaa_set_acl_ttl_ms(int64_t ms) { acl_ttl_ms = ms; }
void aaa_set_audit(void (*fn)(const struct val *record)) { audit = fn; }

/* --- objects ----------------------------------------------------------------------------------------------------------- */

static void *doc_ref(void *d)
{
	return vdoc_ref(d);
}

static void doc_unref(void *d)
{
	struct vdoc *doc = d;

	vdoc_unref(&doc);
}

const struct policy_obj_type ACL_OBJ = { .name = "AccessControlList", .ref = doc_ref, .unref = doc_unref };
const struct policy_obj_type ACL_MAP_OBJ = { .name = "AclMap", .ref = doc_ref, .unref = doc_unref };

static void forget(void)
{
	ttl_cache_clear(acl_cache);
}

void aaa_register(void)
{
	static const struct ttl_cache_conf CACHE = { "acl_definition", 1024, doc_ref, doc_unref };

	acl_cache = ttl_cache_create(&CACHE);
	policy_event_register(&EV_ACL);
	policy_on_epoch(forget);
}
