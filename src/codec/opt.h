/* SPDX-License-Identifier: Apache-2.0 */
/*
 * opt - option tables: an option is described once, and parsed, checked, defaulted, printed and documented from that.
 *
 *	static const struct opt_field LISTENER_FIELDS[] = {
 *		OPT_STR(struct listener_opts, listen, "127.0.0.1:2025", "address and port"),
 *		OPT_DURATION(struct listener_opts, client_timeout, "60s", "…"),
 *		…
 *		OPT_END
 *	};
 *	static const struct opt_desc LISTENER = { "start_esmtp_listener", LISTENER_FIELDS, sizeof(struct listener_opts) };
 *
 * Errors name the option's path and say what was expected, and for a misspelt name the nearest valid one:
 *	"start_esmtp_listener: unknown field `lisen`, did you mean `listen`? expected one of `batch_handling`, …"
 *
 * Thread:  any; tables are constant.   Memory: strings, lists and nested structs go into the arena given.   Yields: never.
 */
#pragma once
#include "codec/val.h"

enum opt_type {
	OPT_T_BOOL,		/* bool */
	OPT_T_INT,		/* int64_t, within min..max */
	OPT_T_SIZE,		/* int64_t bytes; accepts integers only, as upstream */
	OPT_T_FLOAT,		/* double */
	OPT_T_STR,		/* struct slice; SLICE_NONE: not given */
	OPT_T_DURATION,		/* int64_t nanoseconds; text ("5m") or a number of seconds (integer or float) */
	OPT_T_ENUM,		/* int; choices */
	OPT_T_LIST,		/* struct opt_list of the element described by .sub (OPT_T_STR when .sub is NULL) */
	OPT_T_MAP,		/* struct opt_map from names to the element described by .sub */
	OPT_T_STRUCT,		/* an embedded struct described by .sub */
	OPT_T_VAL,		/* const struct val *: anything; NULL: not given */
	OPT_T_CUSTOM,		/* .custom parses and prints */
};

struct opt_list {
	size_t n;
	void *items;		/* n elements of the element's size: slices, structs, … */
};
struct opt_map {
	size_t n;
	struct slice *keys;
	void *items;
};

struct opt_choice {
	const char *name;	/* NULL ends */
	int value;
};

struct opt_field;
struct opt_ctx;			/* carries the path for messages and the arena */

struct opt_field {
	const char *name;	/* NULL ends the table */
	enum opt_type type;
	size_t offset;
	bool required;
	const char *dflt;	/* as JSON or bare text for strings and durations; NULL: zero value / not given */
	size_t present_offset;	/* of a bool that says whether it was given; SIZE_MAX: none */
	int64_t min, max;	/* OPT_T_INT, OPT_T_SIZE; both 0: any that fits int64 and is not negative */
	const struct opt_choice *choices;
	const struct opt_desc *sub;
	int (*custom)(struct opt_ctx *c, const struct val *in, void *out);
	void (*custom_print)(struct arena *a, const void *in, struct val *out);
	const char *alias;	/* an older name, still accepted */
	const char *help;
};

struct opt_desc {
	const char *name;	/* what messages begin with */
	const struct opt_field *fields;
	size_t size;
	enum opt_type scalar;	/* for elements of lists and maps that are no structs (fields NULL): OPT_T_STR, OPT_T_INT, … */
	int (*custom)(struct opt_ctx *c, const struct val *in, void *out);	/* reads a whole element that has other forms too; may fall back to opt_parse_struct */
	void (*custom_print)(struct arena *a, const void *in, struct val *out);
	bool open;		/* unknown fields are ignored instead of refused */
};

/* Reads V (an object) into *OUT (desc->size bytes, zeroed first, then defaults). -E_INVAL with a text that says which field. */
int opt_parse(const struct opt_desc *d, const struct val *v, struct arena *a, void *out) WARN_UNUSED;
int opt_parse_struct(struct opt_ctx *c, const struct opt_desc *d, const struct val *v, void *out) WARN_UNUSED; /* nested, without d->custom */
void opt_defaults(const struct opt_desc *d, struct arena *a, void *out);
/* The struct as an object: every field, or (SPARSE) only those that differ from their default. */
void opt_print(const struct opt_desc *d, const void *in, bool sparse, struct arena *a, struct val *out);
/* For custom readers: fails with the path, what was expected and what was given. */
int opt_fail(struct opt_ctx *c, const struct val *given, const char *expected_fmt, ...) PRINTF(3, 4);	/* "invalid value: …, expected …" */
int opt_fail_type(struct opt_ctx *c, const struct val *given, const char *expected_fmt, ...) PRINTF(3, 4); /* "invalid type: …, expected …" */
int opt_error(struct opt_ctx *c, const char *fmt, ...) PRINTF(2, 3);					/* the path and a text of one's own */
struct arena *opt_arena(struct opt_ctx *c);

#define OPT_F_(st, f, ty, d, h, ...) { .name = #f, .type = ty, .offset = offsetof(st, f), .dflt = d, .present_offset = SIZE_MAX, .help = h, ##__VA_ARGS__ }
#define OPT_BOOL(st, f, d, h, ...) OPT_F_(st, f, OPT_T_BOOL, d, h, ##__VA_ARGS__)
#define OPT_INT(st, f, d, h, ...) OPT_F_(st, f, OPT_T_INT, d, h, ##__VA_ARGS__)
#define OPT_SIZE(st, f, d, h, ...) OPT_F_(st, f, OPT_T_SIZE, d, h, ##__VA_ARGS__)
#define OPT_FLOAT(st, f, d, h, ...) OPT_F_(st, f, OPT_T_FLOAT, d, h, ##__VA_ARGS__)
#define OPT_STR(st, f, d, h, ...) OPT_F_(st, f, OPT_T_STR, d, h, ##__VA_ARGS__)
#define OPT_DURATION(st, f, d, h, ...) OPT_F_(st, f, OPT_T_DURATION, d, h, ##__VA_ARGS__)
#define OPT_ENUM(st, f, ch, d, h, ...) OPT_F_(st, f, OPT_T_ENUM, d, h, .choices = ch, ##__VA_ARGS__)
#define OPT_LIST(st, f, el, h, ...) OPT_F_(st, f, OPT_T_LIST, NULL, h, .sub = el, ##__VA_ARGS__)
#define OPT_MAP(st, f, el, h, ...) OPT_F_(st, f, OPT_T_MAP, NULL, h, .sub = el, ##__VA_ARGS__)
#define OPT_SUB(st, f, d, h, ...) OPT_F_(st, f, OPT_T_STRUCT, NULL, h, .sub = d, ##__VA_ARGS__)
#define OPT_VAL(st, f, h, ...) OPT_F_(st, f, OPT_T_VAL, NULL, h, ##__VA_ARGS__)
#define OPT_CUSTOM(st, f, fn, d, h, ...) OPT_F_(st, f, OPT_T_CUSTOM, d, h, .custom = fn, ##__VA_ARGS__)
#define OPT_END { .name = NULL }
#define OPT_PRESENT(st, f) .present_offset = offsetof(st, f)

/* Shared custom readers. */
struct rate_spec {		/* "100/s", "5/30s", "local:100/min,max_burst=5" */
	uint64_t limit;
	uint64_t period_ns;	/* may be 0 ("5/0s"); upstream: h hr hour d day m min minute s sec second */
	uint64_t max_burst;	/* 0: not given, or given as 0 */
	bool local;		/* prefix "local:" : never shared through Redis */
	bool burst_given;
};
struct limit_spec {		/* 10, "10", "local:10", {limit = 10, force_local = true} */
	uint64_t limit;
	bool local;
};
int rate_spec_parse(struct slice s, struct rate_spec *out) WARN_UNUSED;
void rate_spec_put(struct buf *b, const struct rate_spec *r);
int opt_read_rate(struct opt_ctx *c, const struct val *in, void *out);	/* struct rate_spec; limit 0 and period 0: not given */
int opt_read_limit(struct opt_ctx *c, const struct val *in, void *out);	/* struct limit_spec */
/* Their .custom_print: "100/s" (nothing when not given), {force_local, limit}. */
void opt_print_rate(struct arena *a, const void *in, struct val *out);
void opt_print_limit(struct arena *a, const void *in, struct val *out);
