/* SPDX-License-Identifier: Apache-2.0 */
/* Rates and limits: the two option forms that throttles, egress paths and sources share. */
#include "codec/opt.h"

#define SEC 1000000000ULL

static const struct {
	const char *name;
	uint64_t ns;
} PERIODS[] = {
	{ "h", 3600 * SEC }, { "hr", 3600 * SEC }, { "hour", 3600 * SEC }, { "d", 86400 * SEC }, { "day", 86400 * SEC },
	{ "m", 60 * SEC }, { "min", 60 * SEC }, { "minute", 60 * SEC }, { "s", SEC }, { "sec", SEC }, { "second", SEC },
};

/* Digits, grouped as one likes with ',' or '_'. */
static int parse_limit(struct slice s, uint64_t *out)
{
	uint64_t n = 0;
	bool digits = false, overflow = false;
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] == ',' || s.ptr[i] == '_')
			continue;
		if (!ascii_is_digit(s.ptr[i]))
			return err_set(E_INVAL, "invalid limit '%.*s': invalid digit found in string", SLICE_ARG(s));
		digits = true;
		overflow = overflow || __builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, (uint64_t)(s.ptr[i] - '0'), &n);
	}
	if (!digits)
		return err_set(E_INVAL, "invalid limit '%.*s': cannot parse integer from empty string", SLICE_ARG(s));
	if (overflow)
		return err_set(E_INVAL, "invalid limit '%.*s': number too large to fit in target type", SLICE_ARG(s));
	*out = n;
	return 0;
}

/* "min", "30min" */
static int parse_period(struct slice s, uint64_t *ns)
{
	size_t digits = 0;
	uint64_t times = 1;
	while (digits < s.len && ascii_is_digit(s.ptr[digits]))
		digits++;
	struct slice unit = slice_sub(s, digits, SIZE_MAX);
	if (unit.len == 0 || (digits > 0 && slice_to_u64(slice_sub(s, 0, digits), &times) < 0))
		return err_set(E_INVAL, "invalid period quantity %.*s", SLICE_ARG(s));
	for (size_t i = 0; i < ARRAY_LEN(PERIODS); i++)
		if (slice_eq_cstr(unit, PERIODS[i].name)) {
			if (__builtin_mul_overflow(times, PERIODS[i].ns, ns) || *ns > INT64_MAX)
				return err_set(E_INVAL, "invalid period quantity %.*s", SLICE_ARG(s));
			return 0;
		}
	return err_set(E_INVAL, "unknown period quantity %.*s", SLICE_ARG(unit));
}

static bool cut_prefix(struct slice *s, struct slice prefix)
{
	if (!slice_starts(*s, prefix))
		return false;
	*s = slice_sub(*s, prefix.len, SIZE_MAX);
	return true;
}

int rate_spec_parse(struct slice s, struct rate_spec *out)
{
	struct slice whole = s;
	struct rate_spec r = { .local = cut_prefix(&s, SLICE("local:")) };
	ptrdiff_t slash = slice_chr(s, '/');
	if (slash < 0)
		return err_set(E_INVAL, "expected 'limit/period', got %.*s", SLICE_ARG(whole));
	struct slice period = slice_sub(s, (size_t)slash + 1, SIZE_MAX);
	ptrdiff_t burst = slice_find(period, SLICE(",max_burst="));
	int rc;
	if (burst >= 0) {
		r.burst_given = true;
		if ((rc = parse_limit(slice_sub(period, (size_t)burst + 11, SIZE_MAX), &r.max_burst)) < 0)
			return rc;
		period = slice_sub(period, 0, (size_t)burst);
	}
	if ((rc = parse_limit(slice_sub(s, 0, (size_t)slash), &r.limit)) < 0 || (rc = parse_period(period, &r.period_ns)) < 0)
		return rc;
	if (r.limit == 0)
		return err_set(E_INVAL, "invalid ThrottleSpec `%.*s`: limit must be greater than 0!", SLICE_ARG(whole));
	*out = r;
	return 0;
}

void rate_spec_put(struct buf *b, const struct rate_spec *r)
{
	uint64_t sec = r->period_ns / SEC;
	const char *unit = sec == 86400 ? "d" : sec == 3600 ? "h" : sec == 60 ? "m" : "s";
	buf_cstr_put(b, r->local ? "local:" : "");
	buf_u64(b, r->limit);
	buf_putc(b, '/');
	if (*unit == 's' && sec != 1)
		buf_u64(b, sec);
	buf_cstr_put(b, unit);
	if (r->burst_given)
		buf_printf(b, ",max_burst=%llu", (unsigned long long)r->max_burst);
}

int opt_read_rate(struct opt_ctx *c, const struct val *in, void *out)
{
	if (in->type != VAL_STR)
		return opt_fail_type(c, in, "a string such as \"100/s\"");
	if (rate_spec_parse(in->s, out) < 0)
		return opt_error(c, "%s, in a rate such as \"100/s\" or \"local:1,000/hour,max_burst=5\"", err_text());
	return 0;
}

void opt_print_rate(struct arena *a, const void *in, struct val *out)
{
	const struct rate_spec *r = in;
	struct buf b = { 0 };
	if (r->limit == 0)
		return;
	rate_spec_put(&b, r);
	*out = val_str(a, buf_view(&b));
	buf_fini(&b);
}

/* {limit = 10, force_local = true}, as a configuration shows it. */
static bool read_printed_limit(const struct val *in, struct limit_spec *l)
{
	const struct val *n = val_get_lit(in, "limit"), *local = val_get_lit(in, "force_local");

	if (in->type != VAL_OBJ || in->n != 2 || !n || n->type != VAL_INT || n->i < 0 || !local || local->type != VAL_BOOL)
		return false;
	*l = (struct limit_spec){ .limit = (uint64_t)n->i, .local = local->b };
	return true;
}

int opt_read_limit(struct opt_ctx *c, const struct val *in, void *out)
{
	struct limit_spec l = { 0 };
	if (in->type == VAL_STR) {
		struct slice s = in->s;
		l.local = cut_prefix(&s, SLICE("local:"));
		if (parse_limit(s, &l.limit) < 0)
			return opt_error(c, "%s", err_text());
	} else if (in->type == VAL_INT) {
		l.limit = in->i > 0 ? (uint64_t)in->i : 0;
	} else if (in->type == VAL_UINT) {
		l.limit = in->u;
	} else if (!read_printed_limit(in, &l)) {
		return opt_fail_type(c, in, "string or numeric limit spec such as 10 or \"local:10\"");
	}
	if (l.limit == 0)
		return opt_error(c, "limit must be 1 or larger");
	*(struct limit_spec *)out = l;
	return 0;
}

void opt_print_limit(struct arena *a, const void *in, struct val *out)
{
	const struct limit_spec *l = in;
	if (l->limit == 0)
		return;
	*out = val_obj();
	val_put_lit(a, out, "force_local", val_bool(l->local));
	val_put_lit(a, out, "limit", val_uint(l->limit));
}
