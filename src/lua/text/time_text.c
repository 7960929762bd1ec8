/* SPDX-License-Identifier: Apache-2.0 */
#include "lua/text/time_text.h"
#include "base/utf8.h"

#define DAY 86400
static const char DAYS[7][10] = { "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday" };
static const char MONTHS[12][10] = { "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December" };

/* --- the calendar --------------------------------------------------------------------------------------------------- */

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

static bool is_leap(int64_t y)
{
	return y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
}

static int days_in(int64_t year, int month)
{
	static const int n[12] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	return month == 2 && is_leap(year) ? 29 : n[month - 1];
}

/* Days since 1970-01-01 of a date; years begin in March here, so that the leap day comes last. */
static int64_t days_from_date(int64_t y, int m, int d)
{
	y -= m <= 2;
	int64_t era = floor_div(y, 400), yoe = y - era * 400;
	int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
	return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

void moment_split(struct moment m, struct moment_parts *p)
{
	int64_t days = floor_div(m.sec, DAY), left = m.sec - days * DAY;
	int64_t z = days + 719468, era = floor_div(z, 146097), doe = z - era * 146097;
	int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365, doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
	p->day = (int)(doy - (153 * mp + 2) / 5 + 1);
	p->month = (int)(mp < 10 ? mp + 3 : mp - 9);
	p->year = yoe + era * 400 + (p->month <= 2);
	p->hour = (int)(left / 3600);
	p->minute = (int)(left / 60 % 60);
	p->second = (int)(left % 60) + (m.nsec >= 1000000000);
	p->weekday = (int)(((days + 4) % 7 + 7) % 7);
	p->yday = (int)(days - days_from_date(p->year, 1, 1)) + 1;
}

int moment_join(int64_t year, int month, int day, int hour, int minute, int second, struct moment *out)
{
	if (year < -262143 || year > 262142 || month < 1 || month > 12 || day < 1 || day > days_in(year, month) || hour < 0 || hour > 23 || minute < 0 || minute > 59 ||
	    second < 0 || second > 60)
		return err_set(E_INVAL, "input is out of range");
	out->sec = days_from_date(year, month, day) * DAY + hour * 3600 + minute * 60 + MIN(second, 59);
	out->nsec = second == 60 ? 1000000000 : 0;
	return 0;
}

/* --- writing -------------------------------------------------------------------------------------------------------- */

static void put_year(struct buf *b, int64_t y)
{
	buf_printf(b, y >= 0 && y <= 9999 ? "%04lld" : "%+05lld", (long long)y);
}

/* ".5" as ".500": three, six or nine digits, none for whole seconds. */
static void put_fraction(struct buf *b, struct moment m)
{
	uint32_t n = m.nsec % 1000000000;
	if (n == 0)
		return;
	if (n % 1000000 == 0)
		buf_printf(b, ".%03u", n / 1000000);
	else if (n % 1000 == 0)
		buf_printf(b, ".%06u", n / 1000);
	else
		buf_printf(b, ".%09u", n);
}

static void put_iso(struct buf *b, struct moment m, char between)
{
	struct moment_parts p;
	moment_split(m, &p);
	put_year(b, p.year);
	buf_printf(b, "-%02d-%02d%c%02d:%02d:%02d", p.month, p.day, between, p.hour, p.minute, p.second);
	put_fraction(b, m);
}

void moment_put(struct buf *b, struct moment m)
{
	put_iso(b, m, ' ');
	buf_lit(b, " UTC");
}

void moment_put_rfc3339(struct buf *b, struct moment m)
{
	put_iso(b, m, 'T');
	buf_lit(b, "+00:00");
}

void moment_put_rfc2822(struct buf *b, struct moment m)
{
	struct moment_parts p;
	moment_split(m, &p);
	buf_printf(b, "%.3s, %d %.3s %04lld %02d:%02d:%02d +0000", DAYS[p.weekday], p.day, MONTHS[p.month - 1], (long long)p.year, p.hour, p.minute, p.second);
}

/* The ISO 8601 week and the year that it belongs to. */
static int iso_week(const struct moment_parts *p, int64_t *year)
{
	int wd = (p->weekday + 6) % 7, week = (p->yday - 1 - wd + 10) / 7;	/* Monday 0 */
	*year = p->year;
	int64_t y = p->year;
	if (week < 1) {
		y = --*year;
		int last_wd = (int)(((days_from_date(y, 12, 31) + 3) % 7 + 7) % 7), yday = is_leap(y) ? 366 : 365;
		return (yday - 1 - last_wd + 10) / 7;
	}
	if (week == 53) {
		int first_wd = (int)(((days_from_date(y + 1, 1, 1) + 3) % 7 + 7) % 7);
		if (first_wd <= 3) {
			++*year;
			return 1;
		}
	}
	return week;
}

struct number {
	int64_t n;
	int width;
	char pad;		/* '0' or ' ' */
};

/* The number behind a letter; false when the letter is no number. */
static bool format_number(char c, const struct moment_parts *p, struct moment m, struct number *out)
{
	int64_t iso_year;
	int week = iso_week(p, &iso_year), h12 = p->hour % 12 ? p->hour % 12 : 12;
	int64_t century = floor_div(p->year, 100);
	switch (c) {
	case 'C': *out = (struct number){ century, 2, '0' }; return true;
	case 'y': *out = (struct number){ p->year - century * 100, 2, '0' }; return true;
	case 'g': *out = (struct number){ iso_year - floor_div(iso_year, 100) * 100, 2, '0' }; return true;
	case 'q': *out = (struct number){ (p->month + 2) / 3, 1, '0' }; return true;
	case 'm': *out = (struct number){ p->month, 2, '0' }; return true;
	case 'd': *out = (struct number){ p->day, 2, '0' }; return true;
	case 'e': *out = (struct number){ p->day, 2, ' ' }; return true;
	case 'w': *out = (struct number){ p->weekday, 1, '0' }; return true;
	case 'u': *out = (struct number){ p->weekday ? p->weekday : 7, 1, '0' }; return true;
	case 'U': *out = (struct number){ (p->yday + 6 - p->weekday) / 7, 2, '0' }; return true;
	case 'W': *out = (struct number){ (p->yday + 6 - (p->weekday + 6) % 7) / 7, 2, '0' }; return true;
	case 'V': *out = (struct number){ week, 2, '0' }; return true;
	case 'j': *out = (struct number){ p->yday, 3, '0' }; return true;
	case 'H': *out = (struct number){ p->hour, 2, '0' }; return true;
	case 'k': *out = (struct number){ p->hour, 2, ' ' }; return true;
	case 'I': *out = (struct number){ h12, 2, '0' }; return true;
	case 'l': *out = (struct number){ h12, 2, ' ' }; return true;
	case 'M': *out = (struct number){ p->minute, 2, '0' }; return true;
	case 'S': *out = (struct number){ p->second, 2, '0' }; return true;
	case 's': *out = (struct number){ m.sec, 1, '0' }; return true;
	}
	return false;
}

/* Letters that stand for text or for other formats; false: unknown. */
static bool format_text(struct buf *b, char c, const struct moment_parts *p, struct moment m)
{
	static const struct {
		char letter;
		const char *fmt;
	} compound[] = { { 'D', "%m/%d/%y" }, { 'x', "%m/%d/%y" }, { 'F', "%Y-%m-%d" }, { 'v', "%e-%b-%Y" }, { 'R', "%H:%M" }, { 'T', "%H:%M:%S" }, { 'X', "%H:%M:%S" },
		       { 'r', "%I:%M:%S %p" }, { 'c', "%a %b %e %H:%M:%S %Y" }, { 't', "\t" }, { 'n', "\n" }, { 'Z', "UTC" }, { 'z', "+0000" } };
	int64_t iso_year;
	switch (c) {
	case 'Y': put_year(b, p->year); return true;
	case 'G': iso_week(p, &iso_year); put_year(b, iso_year); return true;
	case 'b': case 'h': buf_put(b, MONTHS[p->month - 1], 3); return true;
	case 'B': buf_cstr_put(b, MONTHS[p->month - 1]); return true;
	case 'a': buf_put(b, DAYS[p->weekday], 3); return true;
	case 'A': buf_cstr_put(b, DAYS[p->weekday]); return true;
	case 'p': buf_cstr_put(b, p->hour < 12 ? "AM" : "PM"); return true;
	case 'P': buf_cstr_put(b, p->hour < 12 ? "am" : "pm"); return true;
	case 'f': buf_printf(b, "%09u", m.nsec % 1000000000); return true;
	case '+': moment_put_rfc3339(b, m); return true;
	case '%': buf_putc(b, '%'); return true;
	}
	for (size_t i = 0; i < ARRAY_LEN(compound); i++) {
		if (compound[i].letter == c) {
			moment_put_format(b, m, slice_from_cstr(compound[i].fmt));
			return true;
		}
	}
	return false;
}

/* One specifier behind "%"; how many bytes of S it took, 0 when it is none. */
static size_t put_specifier(struct buf *b, struct slice s, const struct moment_parts *p, struct moment m)
{
	static const struct {
		const char *text, *out;		/* out NULL: digits of the fraction */
		int digits;
	} special[] = { { ":::z", "+00", 0 }, { "::z", "+00:00:00", 0 }, { ":z", "+00:00", 0 }, { "#z", "+00", 0 }, { ".3f", NULL, 3 }, { ".6f", NULL, 6 }, { ".9f", NULL, 9 },
		       { "3f", NULL, 3 }, { "6f", NULL, 6 }, { "9f", NULL, 9 } };
	if (slice_starts(s, SLICE(".f"))) {
		put_fraction(b, m);
		return 2;
	}
	for (size_t i = 0; i < ARRAY_LEN(special); i++) {
		if (!slice_starts(s, slice_from_cstr(special[i].text)))
			continue;
		if (special[i].out) {
			buf_cstr_put(b, special[i].out);
		} else {
			uint32_t n = m.nsec % 1000000000;
			for (int d = special[i].digits; d < 9; d++)
				n /= 10;
			buf_printf(b, "%s%0*u", s.ptr[0] == '.' ? "." : "", special[i].digits, n);
		}
		return strlen(special[i].text);
	}
	char mod = s.len > 1 && strchr("-_0", s.ptr[0]) ? s.ptr[0] : 0;
	char c = s.len > (mod != 0) ? s.ptr[mod != 0] : 0;
	struct number num;
	if (c && format_number(c, p, m, &num)) {
		char pad = mod == '_' ? ' ' : mod == '0' ? '0' : num.pad;
		if (mod == '-')
			buf_printf(b, "%lld", (long long)num.n);
		else if (pad == '0')
			buf_printf(b, "%0*lld", num.width, (long long)num.n);
		else
			buf_printf(b, "%*lld", num.width, (long long)num.n);
		return 1 + (mod != 0);
	}
	return c && format_text(b, c, p, m) ? 1 + (mod != 0) : 0;
}

void moment_put_format(struct buf *b, struct moment m, struct slice fmt)
{
	struct moment_parts p;
	moment_split(m, &p);
	for (size_t i = 0; i < fmt.len; i++) {
		size_t n = fmt.ptr[i] == '%' ? put_specifier(b, slice_sub(fmt, i + 1, SIZE_MAX), &p, m) : 0;
		if (n)
			i += n;
		else
			buf_putc(b, fmt.ptr[i]);
	}
}

/* --- reading -------------------------------------------------------------------------------------------------------- */

static int too_short(void) { return err_set(E_INVAL, "premature end of input"); }
static int invalid(void) { return err_set(E_INVAL, "input contains invalid characters"); }
static int out_of_range(void) { return err_set(E_INVAL, "input is out of range"); }

/* MIN to MAX digits at the front of *S. */
static int take_number(struct slice *s, size_t min, size_t max, int64_t *out)
{
	if (s->len < min)
		return too_short();
	size_t i = 0;
	int64_t n = 0;
	for (; i < max && i < s->len && ascii_is_digit(s->ptr[i]); i++) {
		if (n > INT32_MAX)
			return out_of_range();
		n = n * 10 + (s->ptr[i] - '0');
	}
	if (i < min)
		return invalid();
	*s = slice_sub(*s, i, SIZE_MAX);
	*out = n;
	return 0;
}

static int take_char(struct slice *s, char c)
{
	if (s->len == 0)
		return too_short();
	if (s->ptr[0] != c)
		return invalid();
	*s = slice_sub(*s, 1, SIZE_MAX);
	return 0;
}

static int take_space(struct slice *s)
{
	struct slice t = slice_trim_start(*s);
	if (t.len == s->len)
		return s->len ? invalid() : too_short();
	*s = t;
	return 0;
}

#define TRY(expr) do { int rc_ = (expr); if (rc_ < 0) return rc_; } while (0)

/* [+-]HH:MM, the colon required or refused; seconds. */
static int take_offset(struct slice *s, bool colon, int64_t *out)
{
	int64_t h, m;
	if (s->len == 0)
		return too_short();
	bool minus = s->ptr[0] == '-';
	if (!minus && s->ptr[0] != '+')
		return invalid();
	*s = slice_sub(*s, 1, SIZE_MAX);
	TRY(take_number(s, 2, 2, &h));
	if (colon)
		TRY(take_char(s, ':'));
	TRY(take_number(s, 2, 2, &m));
	if (h > 23 || m > 59)
		return out_of_range();
	*out = (h * 3600 + m * 60) * (minus ? -1 : 1);
	return 0;
}

int moment_parse_rfc3339(struct slice s, struct moment *out)
{
	int64_t y, mo, d, h, mi, sec, offset = 0;
	uint32_t nsec = 0;
	if (s.len < 20)
		return too_short();
	TRY(take_number(&s, 4, 4, &y));
	TRY(take_char(&s, '-'));
	TRY(take_number(&s, 2, 2, &mo));
	TRY(take_char(&s, '-'));
	TRY(take_number(&s, 2, 2, &d));
	if (s.len && strchr("Tt ", s.ptr[0]) == NULL)
		return invalid();
	s = slice_sub(s, 1, SIZE_MAX);
	TRY(take_number(&s, 2, 2, &h));
	TRY(take_char(&s, ':'));
	TRY(take_number(&s, 2, 2, &mi));
	TRY(take_char(&s, ':'));
	TRY(take_number(&s, 2, 2, &sec));
	if (s.len && s.ptr[0] == '.') {
		size_t i = 1;
		uint32_t unit = 100000000;
		for (; i < s.len && ascii_is_digit(s.ptr[i]); i++, unit /= 10)
			nsec += (uint32_t)(s.ptr[i] - '0') * unit;
		if (i == 1)
			return s.len > 1 ? invalid() : too_short();
		s = slice_sub(s, i, SIZE_MAX);
	}
	if (s.len && (s.ptr[0] | 0x20) == 'z')
		s = slice_sub(s, 1, SIZE_MAX);
	else
		TRY(take_offset(&s, true, &offset));
	if (s.len)
		return err_set(E_INVAL, "trailing input");
	TRY(moment_join(y, (int)mo, (int)d, (int)h, (int)mi, (int)sec, out));
	out->sec -= offset;
	out->nsec += nsec;
	return 0;
}

static int find_name(struct slice s, const char (*names)[10], int n)
{
	for (int i = 0; i < n; i++)
		if (slice_eq_nocase(slice_sub(s, 0, 3), slice_new(names[i], 3)))
			return i;
	return -1;
}

/* Named zones; an unknown one counts as UTC (RFC 5322 4.3). */
static int take_zone(struct slice *s, int64_t *offset)
{
	static const struct {
		const char *name;
		int hours;
	} zones[] = { { "EDT", -4 }, { "EST", -5 }, { "CDT", -5 }, { "CST", -6 }, { "MDT", -6 }, { "MST", -7 }, { "PDT", -7 }, { "PST", -8 },
		      { "CET", 1 }, { "CEST", 2 }, { "BST", 1 }, { "WEST", 1 }, { "EET", 2 }, { "EEST", 3 }, { "MSK", 3 }, { "JST", 9 } };
	size_t n = 0;
	if (s->len == 0)
		return too_short();
	while (n < s->len && ascii_is_alpha(s->ptr[n]))
		n++;
	if (n == 0)
		return take_offset(s, false, offset);
	*offset = 0;
	for (size_t i = 0; i < ARRAY_LEN(zones); i++)
		if (slice_eq_nocase(slice_sub(*s, 0, n), slice_from_cstr(zones[i].name)))
			*offset = zones[i].hours * 3600;
	*s = slice_sub(*s, n, SIZE_MAX);
	return 0;
}

/* White space and comments, which nest. */
static struct slice skip_comments(struct slice s)
{
	for (;;) {
		s = slice_trim_start(s);
		if (!s.len || s.ptr[0] != '(')
			return s;
		size_t i = 0;
		int depth = 0;
		for (; i < s.len; i++) {
			if (s.ptr[i] == '\\')
				i++;
			else if (s.ptr[i] == '(')
				depth++;
			else if (s.ptr[i] == ')' && --depth == 0)
				break;
		}
		if (i >= s.len)
			return s;
		s = slice_sub(s, i + 1, SIZE_MAX);
	}
}

int moment_parse_rfc2822(struct slice s, struct moment *out)
{
	int64_t d, y, h, mi, sec = 0, offset;
	s = slice_trim_start(s);
	int weekday = s.len >= 3 ? find_name(s, DAYS, 7) : -1;
	if (weekday >= 0) {
		s = slice_sub(s, 3, SIZE_MAX);
		if (!s.len || s.ptr[0] != ',')
			return invalid();
		s = slice_trim_start(slice_sub(s, 1, SIZE_MAX));
	}
	TRY(take_number(&s, 1, 2, &d));
	if (d < 1 || d > 31)
		return out_of_range();
	TRY(take_space(&s));
	if (s.len < 3)
		return too_short();
	int month = find_name(s, MONTHS, 12);
	if (month < 0)
		return invalid();
	s = slice_sub(s, 3, SIZE_MAX);
	TRY(take_space(&s));
	size_t before = s.len;
	TRY(take_number(&s, 2, SIZE_MAX, &y));
	size_t digits = before - s.len;
	if (digits == 2)
		y += y < 50 ? 2000 : 1900;
	else if (digits == 3)
		y += 1900;
	TRY(take_space(&s));
	TRY(take_number(&s, 2, 2, &h));
	TRY(take_char(&s, ':'));
	TRY(take_number(&s, 2, 2, &mi));
	if (s.len && s.ptr[0] == ':') {
		s = slice_sub(s, 1, SIZE_MAX);
		TRY(take_number(&s, 2, 2, &sec));
	}
	if (h > 23 || mi > 59 || sec > 60)
		return out_of_range();
	TRY(take_space(&s));
	TRY(take_zone(&s, &offset));
	if (skip_comments(s).len)
		return err_set(E_INVAL, "trailing input");
	TRY(moment_join(y, month + 1, (int)d, (int)h, (int)mi, (int)sec, out));
	struct moment_parts p;
	moment_split(*out, &p);
	if (weekday >= 0 && weekday != p.weekday)
		return err_set(E_INVAL, "no possible date and time matching input");
	out->sec -= offset;
	return 0;
}

/* --- spans ---------------------------------------------------------------------------------------------------------- */

#define NS ((span_ns)1)
static const struct {
	const char *name;
	span_ns ns;
} UNITS[] = {
	{ "nanos", NS }, { "nsec", NS }, { "ns", NS },
	{ "usec", NS * 1000 }, { "us", NS * 1000 }, { "\xc2\xb5s", NS * 1000 },
	{ "millis", NS * 1000000 }, { "msec", NS * 1000000 }, { "ms", NS * 1000000 },
	{ "seconds", NS * 1000000000 }, { "second", NS * 1000000000 }, { "secs", NS * 1000000000 }, { "sec", NS * 1000000000 }, { "s", NS * 1000000000 },
	{ "minutes", NS * 60000000000 }, { "minute", NS * 60000000000 }, { "mins", NS * 60000000000 }, { "min", NS * 60000000000 }, { "m", NS * 60000000000 },
	{ "hours", NS * 3600000000000 }, { "hour", NS * 3600000000000 }, { "hrs", NS * 3600000000000 }, { "hr", NS * 3600000000000 }, { "h", NS * 3600000000000 },
	{ "days", NS * 86400000000000 }, { "day", NS * 86400000000000 }, { "d", NS * 86400000000000 },
	{ "weeks", NS * 604800000000000 }, { "week", NS * 604800000000000 }, { "wks", NS * 604800000000000 }, { "wk", NS * 604800000000000 }, { "w", NS * 604800000000000 },
	{ "months", NS * 2630016000000000 }, { "month", NS * 2630016000000000 }, { "M", NS * 2630016000000000 },
	{ "years", NS * 31557600000000000 }, { "year", NS * 31557600000000000 }, { "yrs", NS * 31557600000000000 }, { "yr", NS * 31557600000000000 }, { "y", NS * 31557600000000000 },
};

void span_put(struct buf *b, span_ns ns)
{
	static const struct {
		span_ns ns;
		const char *one, *many;
	} parts[] = { { NS * 31557600000000000, "year", "years" }, { NS * 2630016000000000, "month", "months" }, { NS * 86400000000000, "day", "days" },
		      { NS * 3600000000000, "h", "h" }, { NS * 60000000000, "m", "m" }, { NS * 1000000000, "s", "s" }, { NS * 1000000, "ms", "ms" },
		      { NS * 1000, "us", "us" }, { NS, "ns", "ns" } };
	bool first = true;
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		int64_t n = (int64_t)(ns / parts[i].ns);
		ns %= parts[i].ns;
		if (n == 0)
			continue;
		buf_printf(b, "%s%lld%s", first ? "" : " ", (long long)n, n == 1 ? parts[i].one : parts[i].many);
		first = false;
	}
	if (first)
		buf_lit(b, "0s");
}

static int find_unit(struct slice name, span_ns *out)
{
	for (size_t i = 0; i < ARRAY_LEN(UNITS); i++) {
		if (slice_eq_cstr(name, UNITS[i].name)) {
			*out = UNITS[i].ns;
			return 0;
		}
	}
	if (name.len == 0)
		return err_set(E_INVAL, "time unit needed, for example 5sec or 5ms");
	return err_set(E_INVAL, "unknown time unit \"%.*s\", supported units: ns, us/\xc2\xb5s, ms, sec, min, hours, days, weeks, months, years (and few variations)", SLICE_ARG(name));
}

static int lost_precision(void)
{
	return err_set(E_INVAL, "number is too large or cannot be represented without a lack of precision (values below 1ns are not supported)");
}

/* "12" or "1.5" at *I; the fraction as FRAC / SCALE. */
static int span_number(struct slice s, size_t *i, uint64_t *whole, uint64_t *frac, uint64_t *scale)
{
	*whole = *frac = 0;
	*scale = 1;
	if (!ascii_is_digit(s.ptr[*i]))
		return err_set(E_INVAL, "expected number at %zu", *i);
	for (; *i < s.len && ascii_is_digit(s.ptr[*i]); ++*i)
		if (__builtin_mul_overflow(*whole, 10, whole) || __builtin_add_overflow(*whole, (uint64_t)(s.ptr[*i] - '0'), whole))
			return lost_precision();
	if (*i < s.len && s.ptr[*i] == '.') {
		if (*i + 1 >= s.len || !ascii_is_digit(s.ptr[*i + 1]))
			return err_set(E_INVAL, "invalid character at %zu", *i);
		for (++*i; *i < s.len && ascii_is_digit(s.ptr[*i]); ++*i) {
			if (*scale > UINT64_MAX / 100)
				return lost_precision();
			*frac = *frac * 10 + (uint64_t)(s.ptr[*i] - '0');
			*scale *= 10;
		}
	}
	return 0;
}

int span_parse(struct slice s, span_ns *out)
{
	span_ns total = 0;
	size_t i = 0;
	if (slice_eq(s, SLICE("0"))) {
		*out = 0;
		return 0;
	}
	bool any = false;
	for (;;) {
		uint64_t whole, frac, scale;
		span_ns unit;
		while (i < s.len && ascii_is_space(s.ptr[i]))
			i++;
		if (i == s.len)
			break;
		any = true;
		TRY(span_number(s, &i, &whole, &frac, &scale));
		while (i < s.len && ascii_is_space(s.ptr[i]))
			i++;
		size_t from = i;
		while (i < s.len && (ascii_is_alpha(s.ptr[i]) || (unsigned char)s.ptr[i] >= 0x80))
			i++;
		if (i == from && i < s.len)
			return err_set(E_INVAL, "invalid character at %zu", i);
		TRY(find_unit(slice_sub(s, from, i - from), &unit));
		if (unit * frac % scale != 0)
			return lost_precision();
		total += unit * whole + unit * frac / scale;
		if (total / 1000000000 > (span_ns)UINT64_MAX)
			return lost_precision();
	}
	if (!any)
		return err_set(E_INVAL, "value was empty");
	*out = total;
	return 0;
}
