/* SPDX-License-Identifier: Apache-2.0 */
#include "base/timename.h"

#include "base/err.h"

/* What is left of the text. Errors are few and general, as operators' scripts may know them. */
struct scan {
	struct slice s;
};

static int fail_short(void)
{
	return err_set(E_INVAL, "premature end of input");
}

static int fail_invalid(void)
{
	return err_set(E_INVAL, "input contains invalid characters");
}

static int fail_range(void)
{
	return err_set(E_INVAL, "input is out of range");
}

static void advance(struct scan *c, size_t n)
{
	c->s = slice_sub(c->s, n, SIZE_MAX);
}

/* MIN to MAX digits. */
static int scan_number(struct scan *c, size_t min, size_t max, int64_t *out)
{
	int64_t n = 0;
	size_t i = 0;
	for (; i < max && i < c->s.len && ascii_is_digit(c->s.ptr[i]); i++)
		n = n * 10 + (c->s.ptr[i] - '0');
	if (i < min)
		return c->s.len == i ? fail_short() : fail_invalid();
	advance(c, i);
	*out = n;
	return 0;
}

static int scan_range(struct scan *c, size_t min_digits, int64_t low, int64_t high, int *out)
{
	int64_t n;
	int rc = scan_number(c, min_digits, 2, &n);
	if (rc < 0)
		return rc;
	if (n < low || n > high)
		return fail_range();
	*out = (int)n;
	return 0;
}

static int scan_char(struct scan *c, const char *choices)
{
	if (c->s.len == 0)
		return fail_short();
	if (c->s.ptr[0] == '\0' || strchr(choices, c->s.ptr[0]) == NULL)
		return fail_invalid();
	advance(c, 1);
	return 0;
}

/* ":MM" or "MM" behind "+HH", the sign read already. */
static int scan_offset(struct scan *c, bool negative, bool colon, int *offset_s)
{
	int hours, minutes, rc;
	if ((rc = scan_range(c, 2, 0, 99, &hours)) < 0 || (colon && (rc = scan_char(c, ":")) < 0) || (rc = scan_range(c, 2, 0, 99, &minutes)) < 0)
		return rc;
	if (hours > 23 || minutes > 59)
		return fail_range();
	*offset_s = (hours * 60 + minutes) * (negative ? -60 : 60);
	return 0;
}

static int join(const struct time_parts *p, int32_t nsec, struct time_ns *out)
{
	if (p->day < 1 || p->day > time_days_in_month(p->year, p->month))
		return fail_range();
	struct time_parts whole = *p;
	bool leap = p->second == 60;
	whole.second -= leap;
	whole.usec = 0;
	out->sec = time_join(&whole) / USEC_PER_SEC;
	out->nsec = nsec + (leap ? (int32_t)NSEC_PER_SEC : 0);
	return 0;
}

static int scan_fraction(struct scan *c, int32_t *nsec)
{
	int digits = 0;
	*nsec = 0;
	if (c->s.len == 0 || c->s.ptr[0] != '.')
		return 0;
	advance(c, 1);
	for (; c->s.len > 0 && ascii_is_digit(c->s.ptr[0]); advance(c, 1), digits++)
		if (digits < 9)
			*nsec = *nsec * 10 + (c->s.ptr[0] - '0');
	if (digits == 0)
		return c->s.len == 0 ? fail_short() : fail_invalid();
	for (; digits < 9; digits++)
		*nsec *= 10;
	return 0;
}

static int scan_date(struct scan *c, struct time_parts *p)
{
	int64_t year;
	int rc;
	if ((rc = scan_number(c, 4, 4, &year)) < 0 || (rc = scan_char(c, "-")) < 0 || (rc = scan_range(c, 2, 1, 12, &p->month)) < 0 ||
	    (rc = scan_char(c, "-")) < 0 || (rc = scan_range(c, 2, 1, 31, &p->day)) < 0)
		return rc;
	p->year = (int)year;
	return 0;
}

int time_parse_rfc3339_ns(struct slice s, struct time_ns *out)
{
	struct scan c = { s };
	struct time_parts p = { 0 };
	int32_t nsec;
	int rc;
	if (s.len < sizeof "2026-01-02T03:04:05" - 1)
		return fail_short();
	if ((rc = scan_date(&c, &p)) < 0 || (rc = scan_char(&c, "Tt ")) < 0 || (rc = scan_range(&c, 2, 0, 23, &p.hour)) < 0 ||
	    (rc = scan_char(&c, ":")) < 0 || (rc = scan_range(&c, 2, 0, 59, &p.minute)) < 0 || (rc = scan_char(&c, ":")) < 0 ||
	    (rc = scan_range(&c, 2, 0, 60, &p.second)) < 0 || (rc = scan_fraction(&c, &nsec)) < 0)
		return rc;
	char sign = c.s.len > 0 ? c.s.ptr[0] : '\0';
	if ((rc = scan_char(&c, "Zz+-")) < 0)
		return rc;
	if ((sign == '+' || sign == '-') && (rc = scan_offset(&c, sign == '-', true, &p.offset_s)) < 0)
		return rc;
	if (c.s.len > 0)
		return err_set(E_INVAL, "trailing input");
	return join(&p, nsec, out);
}

int time_parse_rfc3339(struct slice s, int64_t *us)
{
	struct time_ns t;
	int rc = time_parse_rfc3339_ns(s, &t);
	if (rc == 0)
		*us = time_ns_to_us(t);
	return rc;
}

static void skip_space(struct scan *c)
{
	while (c->s.len > 0 && ascii_is_space(c->s.ptr[0]))
		advance(c, 1);
}

static int need_space(struct scan *c)
{
	if (c->s.len == 0)
		return fail_short();
	if (!ascii_is_space(c->s.ptr[0]))
		return fail_invalid();
	skip_space(c);
	return 0;
}

/* The index of the name whose first three letters come next, or -1. */
static int scan_name(struct scan *c, const char *const *names, int n)
{
	for (int i = 0; i < n && c->s.len >= 3; i++)
		if (slice_eq_nocase(slice_sub(c->s, 0, 3), slice_new(names[i], 3))) {
			advance(c, 3);
			return i;
		}
	return -1;
}

/* Zones with one meaning; others count as UTC, as RFC 5322 4.3 says of unknown ones. Minutes east. */
static const struct {
	const char *name;
	int minutes;
} ZONES[] = {
	{ "EST", -300 }, { "EDT", -240 }, { "CST", -360 }, { "CDT", -300 }, { "MST", -420 }, { "MDT", -360 }, { "PST", -480 }, { "PDT", -420 },
	{ "AKST", -540 }, { "AKDT", -480 }, { "HST", -600 }, { "NST", -210 }, { "NDT", -150 }, { "BRT", -180 }, { "ART", -180 },
	{ "WET", 0 }, { "WEST", 60 }, { "BST", 60 }, { "CET", 60 }, { "CEST", 120 }, { "MET", 60 }, { "MEST", 120 }, { "EET", 120 },
	{ "EEST", 180 }, { "MSK", 180 }, { "SAST", 120 }, { "EAT", 180 }, { "WAT", 60 }, { "CAT", 120 }, { "PKT", 300 }, { "HKT", 480 },
	{ "SGT", 480 }, { "JST", 540 }, { "KST", 540 }, { "AWST", 480 }, { "ACST", 570 }, { "ACDT", 630 }, { "AEST", 600 }, { "AEDT", 660 },
	{ "NZST", 720 }, { "NZDT", 780 },
};

static int zone_by_name(struct slice name)
{
	for (size_t i = 0; i < ARRAY_LEN(ZONES); i++)
		if (slice_eq_nocase(name, slice_from_cstr(ZONES[i].name)))
			return ZONES[i].minutes * 60;
	return 0;
}

static int scan_zone(struct scan *c, int *offset_s)
{
	size_t n = 0;
	if (c->s.len == 0)
		return fail_short();
	if (c->s.ptr[0] == '+' || c->s.ptr[0] == '-') {
		bool negative = c->s.ptr[0] == '-';
		advance(c, 1);
		return scan_offset(c, negative, false, offset_s);
	}
	while (n < c->s.len && ascii_is_alpha(c->s.ptr[n]))
		n++;
	if (n == 0)
		return fail_invalid();
	*offset_s = zone_by_name(slice_sub(c->s, 0, n));
	advance(c, n);
	return 0;
}

/* White space and (nested (comments)) up to the end. */
static int skip_comments(struct scan *c)
{
	int depth = 0;
	for (; c->s.len > 0; advance(c, 1)) {
		char ch = c->s.ptr[0];
		if (ch == '\\' && depth > 0 && c->s.len > 1)
			advance(c, 1);
		else if (ch == '(')
			depth++;
		else if (ch == ')' && depth > 0)
			depth--;
		else if (depth == 0 && !ascii_is_space(ch))
			return err_set(E_INVAL, "trailing input");
	}
	return depth > 0 ? fail_short() : 0;
}

static int scan_rfc2822_year(struct scan *c, int *out)
{
	size_t before = c->s.len;
	int64_t year;
	int rc = scan_number(c, 2, 6, &year);
	if (rc < 0)
		return rc;
	switch (before - c->s.len) {	/* RFC 5322 4.3 */
	case 2:
		year += year < 50 ? 2000 : 1900;
		break;
	case 3:
		year += 1900;
		break;
	}
	*out = (int)year;
	return year > 262142 ? fail_range() : 0;
}

static int scan_rfc2822_date(struct scan *c, struct time_parts *p)
{
	int rc;
	if ((rc = scan_range(c, 1, 1, 31, &p->day)) < 0 || (rc = need_space(c)) < 0)
		return rc;
	if (c->s.len < 3)
		return fail_short();
	if ((p->month = scan_name(c, TIME_MONTHS, 12) + 1) == 0)
		return fail_invalid();
	if ((rc = need_space(c)) < 0)
		return rc;
	return scan_rfc2822_year(c, &p->year);
}

static int scan_rfc2822_time(struct scan *c, struct time_parts *p)
{
	int rc;
	if ((rc = scan_range(c, 2, 0, 23, &p->hour)) < 0)
		return rc;
	skip_space(c);
	if ((rc = scan_char(c, ":")) < 0)
		return rc;
	skip_space(c);
	if ((rc = scan_range(c, 2, 0, 59, &p->minute)) < 0)
		return rc;
	struct scan rest = *c;
	skip_space(&rest);
	if (rest.s.len > 0 && rest.s.ptr[0] == ':') {
		*c = rest;
		advance(c, 1);
		return scan_range(c, 2, 0, 60, &p->second);
	}
	return 0;
}

int time_parse_rfc2822_ns(struct slice s, struct time_ns *out)
{
	struct scan c = { s };
	struct time_parts p = { 0 }, got;
	int rc;
	skip_space(&c);
	int weekday = scan_name(&c, TIME_WEEKDAYS, 7);
	if (weekday >= 0 && (rc = scan_char(&c, ",")) < 0)
		return rc;
	skip_space(&c);
	if ((rc = scan_rfc2822_date(&c, &p)) < 0 || (rc = need_space(&c)) < 0 || (rc = scan_rfc2822_time(&c, &p)) < 0 ||
	    (rc = need_space(&c)) < 0 || (rc = scan_zone(&c, &p.offset_s)) < 0 || (rc = skip_comments(&c)) < 0 || (rc = join(&p, 0, out)) < 0)
		return rc;
	time_split_ns(*out, p.offset_s, &got);
	if (weekday >= 0 && weekday != got.weekday)
		return err_set(E_INVAL, "no possible date and time matching input");
	return 0;
}

int time_parse_rfc2822(struct slice s, int64_t *us)
{
	struct time_ns t;
	int rc = time_parse_rfc2822_ns(s, &t);
	if (rc == 0)
		*us = time_ns_to_us(t);
	return rc;
}
