/* SPDX-License-Identifier: Apache-2.0 */
#include "base/timefmt.h"

#include "base/err.h"
#include "base/utf8.h"

typedef unsigned __int128 u128;

#define MINUTE (60 * (uint64_t)NSEC_PER_SEC)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)
#define MONTH  (2630016 * (uint64_t)NSEC_PER_SEC)
#define YEAR   (31557600 * (uint64_t)NSEC_PER_SEC)

static const struct {
	const char *name;
	uint64_t ns;
} UNITS[] = {
	{ "nanos", 1 }, { "nsec", 1 }, { "ns", 1 },
	{ "usec", 1000 }, { "us", 1000 }, { "\xc2\xb5s", 1000 },
	{ "millis", 1000000 }, { "msec", 1000000 }, { "ms", 1000000 },
	{ "seconds", NSEC_PER_SEC }, { "second", NSEC_PER_SEC }, { "secs", NSEC_PER_SEC }, { "sec", NSEC_PER_SEC }, { "s", NSEC_PER_SEC },
	{ "minutes", MINUTE }, { "minute", MINUTE }, { "mins", MINUTE }, { "min", MINUTE }, { "m", MINUTE },
	{ "hours", HOUR }, { "hour", HOUR }, { "hrs", HOUR }, { "hr", HOUR }, { "h", HOUR },
	{ "days", DAY }, { "day", DAY }, { "d", DAY },
	{ "weeks", 7 * DAY }, { "week", 7 * DAY }, { "wks", 7 * DAY }, { "wk", 7 * DAY }, { "w", 7 * DAY },
	{ "months", MONTH }, { "month", MONTH }, { "M", MONTH },
	{ "years", YEAR }, { "year", YEAR }, { "yrs", YEAR }, { "yr", YEAR }, { "y", YEAR },
};

/* A number as written: value / 10^digits. */
struct number {
	u128 value;
	u128 scale;
};

static int fail_number(void)
{
	return err_set(E_INVAL,
		"number is too large or cannot be represented without a lack of precision (values below 1ns are not supported)");
}

/* Reads digits at *I into N; with FRACTION each makes the scale ten times larger. */
static int read_digits(struct slice s, size_t *i, struct number *n, bool fraction)
{
	for (; *i < s.len && ascii_is_digit(s.ptr[*i]); ++*i) {
		n->value = n->value * 10 + (unsigned)(s.ptr[*i] - '0');
		if (fraction)
			n->scale *= 10;
		if (n->value > UINT64_MAX || n->scale > (u128)NSEC_PER_SEC * NSEC_PER_SEC)
			return fail_number();
	}
	return 0;
}

static int read_number(struct slice s, size_t *i, struct number *n)
{
	*n = (struct number){ 0, 1 };
	if (!ascii_is_digit(s.ptr[*i]))
		return err_set(E_INVAL, "expected number at %zu", *i);
	if (read_digits(s, i, n, false) < 0)
		return -E_INVAL;
	if (*i < s.len && s.ptr[*i] == '.') {
		if (*i + 1 >= s.len || !ascii_is_digit(s.ptr[*i + 1]))
			return err_set(E_INVAL, "invalid character at %zu", *i);
		++*i;
		return read_digits(s, i, n, true);
	}
	return 0;
}

static bool is_letter(struct slice s, size_t i)
{
	return ascii_is_alpha(s.ptr[i]) || (s.ptr[i] & 0x80);
}

static int read_unit(struct slice s, size_t *i, uint64_t *ns)
{
	size_t start = *i;
	while (*i < s.len && is_letter(s, *i))
		++*i;
	struct slice unit = slice_sub(s, start, *i - start);
	if (unit.len == 0)
		return *i < s.len ? err_set(E_INVAL, "invalid character at %zu", *i) :
			err_set(E_INVAL, "time unit needed, for example %.*ssec or %.*sms", SLICE_ARG(slice_trim(s)), SLICE_ARG(slice_trim(s)));
	if (*i < s.len && !ascii_is_digit(s.ptr[*i]) && !ascii_is_space(s.ptr[*i]))
		return err_set(E_INVAL, "invalid character at %zu", *i);
	for (size_t k = 0; k < ARRAY_LEN(UNITS); k++)
		if (slice_eq_cstr(unit, UNITS[k].name)) {
			*ns = UNITS[k].ns;
			return 0;
		}
	return err_set(E_INVAL, "unknown time unit \"%.*s\", supported units: ns, us/\xc2\xb5s, ms, sec, min, hours, days, weeks, months, years (and few variations)",
		SLICE_ARG(unit));
}

static void skip_space(struct slice s, size_t *i)
{
	while (*i < s.len && ascii_is_space(s.ptr[*i]))
		++*i;
}

int duration_parse_parts(struct slice s, uint64_t *sec, uint32_t *nsec)
{
	u128 total = 0;
	size_t i = 0;
	if (s.len == 1 && s.ptr[0] == '0') {
		*sec = 0;
		*nsec = 0;
		return 0;
	}
	for (skip_space(s, &i); i < s.len; skip_space(s, &i)) {
		struct number n;
		uint64_t unit;
		if (read_number(s, &i, &n) < 0)
			return -E_INVAL;
		skip_space(s, &i);
		if (read_unit(s, &i, &unit) < 0)
			return -E_INVAL;
		u128 ns = n.value * unit;	/* 64 + 55 bits */
		if (ns % n.scale != 0)
			return fail_number();
		total += ns / n.scale;
		if (total / NSEC_PER_SEC > UINT64_MAX)
			return fail_number();
	}
	if (i == 0 || slice_trim(s).len == 0)
		return err_set(E_INVAL, "value was empty");
	*sec = (uint64_t)(total / NSEC_PER_SEC);
	*nsec = (uint32_t)(total % NSEC_PER_SEC);
	return 0;
}

int duration_parse(struct slice s, int64_t *ns)
{
	uint64_t sec;
	uint32_t nsec;
	int rc = duration_parse_parts(s, &sec, &nsec);
	if (rc < 0)
		return rc;
	if (__builtin_mul_overflow(sec, NSEC_PER_SEC, ns) || __builtin_add_overflow(*ns, nsec, ns))
		*ns = INT64_MAX;
	return 0;
}

/* Writes "N NAME" and a separator before all but the first; PLURAL adds an s. */
static void put_part(struct buf *b, bool *first, uint64_t n, const char *name, bool plural)
{
	if (n == 0)
		return;
	if (!*first)
		buf_putc(b, ' ');
	*first = false;
	buf_u64(b, n);
	buf_cstr_put(b, name);
	if (plural && n > 1)
		buf_putc(b, 's');
}

void duration_put_parts(struct buf *b, uint64_t sec, uint32_t nsec)
{
	uint64_t year_rest = sec % 31557600, month_rest = year_rest % 2630016, day_rest = month_rest % 86400;
	bool first = true;
	put_part(b, &first, sec / 31557600, "year", true);
	put_part(b, &first, year_rest / 2630016, "month", true);
	put_part(b, &first, month_rest / 86400, "day", true);
	put_part(b, &first, day_rest / 3600, "h", false);
	put_part(b, &first, day_rest % 3600 / 60, "m", false);
	put_part(b, &first, day_rest % 60, "s", false);
	put_part(b, &first, nsec / 1000000, "ms", false);
	put_part(b, &first, nsec / 1000 % 1000, "us", false);
	put_part(b, &first, nsec % 1000, "ns", false);
	if (first)
		buf_lit(b, "0s");
}

void duration_put(struct buf *b, int64_t ns)
{
	ns = MAX(ns, (int64_t)0);
	duration_put_parts(b, (uint64_t)(ns / NSEC_PER_SEC), (uint32_t)(ns % NSEC_PER_SEC));
}
