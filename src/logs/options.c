/* SPDX-License-Identifier: Apache-2.0 */
/* Option tables of the functions that configure logs. */
#include "logs/classify.h"
#include "logs/logs.h"

#define DEFAULT_BACK_PRESSURE "128000"
#define DEFAULT_FILE_SIZE "1000000000"

#define T struct log_type_opts
static const struct opt_field TYPE_FIELDS[] = {
	OPT_STR(T, suffix, NULL, "appended to the segment's name"),
	OPT_STR(T, log_dir, NULL, "another folder for this type"),
	OPT_BOOL(T, enable, "true", "whether records of this type are written"),
	{ .name = "template", .type = OPT_T_STR, .offset = offsetof(T, tmpl), .present_offset = SIZE_MAX, .help = "written instead of JSON" },
	OPT_STR(T, segment_header, "", "written at the start of each segment"),
	OPT_END
};
static const struct opt_desc TYPE_OPTS = { "per_record", TYPE_FIELDS, sizeof(T) };

#define F struct log_file_opts
static const struct opt_field FILE_FIELDS[] = {
	OPT_STR(F, log_dir, NULL, "the folder", .required = true),
	OPT_SIZE(F, max_file_size, DEFAULT_FILE_SIZE, "uncompressed bytes in a segment"),
	OPT_INT(F, back_pressure, DEFAULT_BACK_PRESSURE, "records waiting to be written before sessions wait"),
	OPT_INT(F, compression_level, "0", "of zstd, 1 to 22; 0: its default", .min = -131072, .max = 22),
	OPT_DURATION(F, max_segment_duration, NULL, "how long a segment may grow"),
	OPT_LIST(F, meta, NULL, "metadata to include"),
	OPT_LIST(F, headers, NULL, "header fields to include"),
	OPT_MAP(F, per_record, &TYPE_OPTS, "per type of record"),
	OPT_STR(F, filter_event, NULL, "event that says which messages are logged here"),
	OPT_MIN_FREE(F, min_free_space, "free space below which no mail is accepted"),
	OPT_MIN_FREE(F, min_free_inodes, "free inodes below which no mail is accepted"),
	OPT_END
};
const struct opt_desc LOG_FILE_OPTS = { "configure_local_logs", FILE_FIELDS, sizeof(F) };

#define H struct log_hook_opts
static const struct opt_field HOOK_FIELDS[] = {
	OPT_STR(H, name, NULL, "what the event is told", .required = true),
	OPT_INT(H, back_pressure, DEFAULT_BACK_PRESSURE, "hook calls under way before sessions wait"),
	OPT_LIST(H, meta, NULL, "metadata to include"),
	OPT_LIST(H, headers, NULL, "header fields to include"),
	OPT_MAP(H, per_record, &TYPE_OPTS, "per type of record"),
	OPT_BOOL(H, deferred_spool, "false", "keep the message in memory only at first"),
	OPT_END
};
const struct opt_desc LOG_HOOK_OPTS = { "configure_log_hook", HOOK_FIELDS, sizeof(H) };

static const struct opt_field DISPOSITION_FIELDS[] = {
	OPT_STR(H, name, NULL, "the event is log_disposition_NAME", .required = true),
	OPT_MAP(H, per_record, &TYPE_OPTS, "per type of record"),
	OPT_END
};
const struct opt_desc LOG_DISPOSITION_HOOK_OPTS = { "configure_log_disposition_hook", DISPOSITION_FIELDS, sizeof(H) };

#define A struct acct_log_opts
static const struct opt_field ACCT_FIELDS[] = {
	OPT_STR(A, log_dir, NULL, "the folder", .required = true),
	OPT_SIZE(A, max_file_size, DEFAULT_FILE_SIZE, "uncompressed bytes in a segment"),
	OPT_INT(A, back_pressure, DEFAULT_BACK_PRESSURE, "records waiting to be written before requests wait"),
	OPT_INT(A, compression_level, "0", "of zstd, 1 to 22; 0: its default", .min = -131072, .max = 22),
	OPT_DURATION(A, max_segment_duration, NULL, "how long a segment may grow"),
	OPT_MIN_FREE(A, min_free_space, "free space below which no mail is accepted"),
	OPT_MIN_FREE(A, min_free_inodes, "free inodes below which no mail is accepted"),
	OPT_BOOL(A, log_authz_allow, "true", "log granted access"),
	OPT_BOOL(A, log_authz_deny, "true", "log denied access"),
	OPT_BOOL(A, log_authn_ok, "true", "log successful authentication"),
	OPT_BOOL(A, log_authn_fail, "true", "log failed authentication"),
	OPT_END
};
const struct opt_desc ACCT_LOG_OPTS = { "configure_acct_log", ACCT_FIELDS, sizeof(A) };

#define C struct classifier_opts
static const struct opt_field CLASSIFIER_FIELDS[] = {
	OPT_LIST(C, files, NULL, "files with rules, .toml or .json", .required = true),
	OPT_INT(C, back_pressure, "131072", "accepted; classification is not queued"),
	OPT_INT(C, pool_size, "0", "accepted; the offload threads classify"),
	OPT_INT(C, cache_size, "1024", "results kept"),
	OPT_INT(C, uncategorized_cache_size, "1024", "results without a class kept"),
	OPT_END
};
const struct opt_desc CLASSIFIER_OPTS = { "configure_bounce_classifier", CLASSIFIER_FIELDS, sizeof(C) };
