/* SPDX-License-Identifier: Apache-2.0 */
/* mod_report - kumo.generate_rfc3464_message(PARAMS, MESSAGE or nil, LOG_RECORD): a delivery status notification as a message, or nil. */
#include "codec/opt.h"
#include "codec/report.h"
#include "lua/message/message.h"

struct mta {
	struct slice mta_type, name;
};
struct report_opts {
	int include_original_message;
	bool enable_expiration, enable_bounce, stable_content;
	struct mta reporting_mta;
};
static const struct opt_choice ORIGINALS[] = {
	{ "No", REPORT_ORIGINAL_NONE }, { "HeadersOnly", REPORT_ORIGINAL_HEADERS }, { "FullContent", REPORT_ORIGINAL_FULL }, { NULL, 0 },
};
static const struct opt_field MTA_FIELDS[] = {
	OPT_STR(struct mta, mta_type, NULL, "what kind of name it is: dns", .required = true),
	OPT_STR(struct mta, name, NULL, "the name of this host", .required = true),
	OPT_END
};
static const struct opt_desc MTA = { .name = "reporting_mta", .fields = MTA_FIELDS, .size = sizeof(struct mta) };
static const struct opt_field FIELDS[] = {
	OPT_ENUM(struct report_opts, include_original_message, ORIGINALS, NULL, "how much of the message comes with the report", .required = true),
	OPT_BOOL(struct report_opts, enable_expiration, "false", "report messages that were too long in the queue"),
	OPT_BOOL(struct report_opts, enable_bounce, "false", "report messages that were refused for good"),
	OPT_SUB(struct report_opts, reporting_mta, &MTA, "who reports", .required = true),
	OPT_BOOL(struct report_opts, stable_content, "false", "no random parts, for tests"),
	OPT_END
};
static const struct opt_desc OPTS = { .name = "kumo.generate_rfc3464_message", .fields = FIELDS, .size = sizeof(struct report_opts) };

/* They stand in header fields and addresses of the report. */
static void check_name(lua_State *L, const char *field, struct slice s)
{
	bool ok = s.len > 0;
	for (size_t i = 0; i < s.len; i++)
		ok &= (unsigned char)s.ptr[i] > ' ' && s.ptr[i] != 127 && !strchr("<>@,;:()\"\\", s.ptr[i]);
	if (!ok)
		policy_raisef(L, "kumo.generate_rfc3464_message: reporting_mta.%s: `%.*s` is not a name", field, SLICE_ARG(s));
}

static struct report_dsn_conf check_conf(lua_State *L)
{
	struct report_opts o;

	policy_check_opts(L, 1, &OPTS, policy_arena(L), &o);
	check_name(L, "mta_type", o.reporting_mta.mta_type);
	check_name(L, "name", o.reporting_mta.name);
	return (struct report_dsn_conf){ .original = o.include_original_message, .expirations = o.enable_expiration, .bounces = o.enable_bounce,
		.stable = o.stable_content, .mta_type = o.reporting_mta.mta_type, .mta_name = o.reporting_mta.name };
}

static int generate_rfc3464_message(lua_State *L)
{
	struct report_dsn_conf c = check_conf(L);
	struct msg *original = lua_isnoneornil(L, 2) ? NULL : policy_obj_check(L, 2, &MSG_OBJ);
	struct msg_body *body = NULL;
	struct buf report = { 0 };
	struct val record;

	policy_check_table(L, 3, "table");
	int rc = policy_to_val_mode(L, 3, POLICY_VAL_RAW, policy_arena(L), &record);
	if (rc < 0)
		return policy_raise(L, rc);
	if (original && c.original != REPORT_ORIGINAL_NONE)
		body = lua_msg_body(L, original);
	rc = report_put_dsn(&report, &c, &record, body ? msg_body_view(body) : SLICE_NONE);
	if (body)
		msg_body_unref(&body);
	if (rc == 1) {
		struct slice to = val_get_str(&record, SLICE("sender"));
		struct msg *m = msg_create(uuid_v1(), msg_env_create(SLICE(""), &to, 1), msg_body_copy(buf_view(&report)));
		policy_push_msg(L, m);
		msg_unref(&m);
	} else if (rc == 0) {
		lua_pushnil(L);
	}
	buf_fini(&report);
	return rc < 0 ? policy_raise(L, rc) : 1;
}

static const luaL_Reg FUNCTIONS[] = { { "generate_rfc3464_message", generate_rfc3464_message }, { NULL, NULL } };
extern const struct policy_module mod_report;
const struct policy_module mod_report = { "kumo", FUNCTIONS, NULL };
