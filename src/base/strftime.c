/* SPDX-License-Identifier: Apache-2.0 */
#include "base/timename.h"

#include "base/err.h"

/* One time, with what the letters need. */
struct moment {
	struct time_parts p;
	struct time_ns t;
	int day_of_year;	/* 1 .. 366 */
};

enum numeric { N_YEAR_2, N_CENTURY, N_QUARTER, N_MONTH, N_DAY, N_WEEKDAY_SUN, N_WEEKDAY_MON, N_WEEK_SUN, N_WEEK_MON, N_ISO_YEAR_2,
	N_ISO_WEEK, N_DAY_OF_YEAR, N_HOUR, N_HOUR_12, N_MINUTE, N_SECOND };

/* Letters that are a number, and how many digits with which padding. */
static const struct {
	char letter;
	enum numeric what;
	int width;
	char pad;
} NUMBERS[] = {
	{ 'y', N_YEAR_2, 2, '0' }, { 'C', N_CENTURY, 2, '0' }, { 'q', N_QUARTER, 1, '0' }, { 'm', N_MONTH, 2, '0' }, { 'd', N_DAY, 2, '0' },
	{ 'e', N_DAY, 2, ' ' }, { 'w', N_WEEKDAY_SUN, 1, '0' }, { 'u', N_WEEKDAY_MON, 1, '0' }, { 'U', N_WEEK_SUN, 2, '0' },
	{ 'W', N_WEEK_MON, 2, '0' }, { 'g', N_ISO_YEAR_2, 2, '0' }, { 'V', N_ISO_WEEK, 2, '0' }, { 'j', N_DAY_OF_YEAR, 3, '0' },
	{ 'H', N_HOUR, 2, '0' }, { 'k', N_HOUR, 2, ' ' }, { 'I', N_HOUR_12, 2, '0' }, { 'l', N_HOUR_12, 2, ' ' }, { 'M', N_MINUTE, 2, '0' },
	{ 'S', N_SECOND, 2, '0' },
};

/* Letters that stand for others. */
static const struct {
	char letter;
	const char *fmt;
} COMPOSITES[] = {
	{ 'D', "%m/%d/%y" }, { 'x', "%m/%d/%y" }, { 'F', "%Y-%m-%d" }, { 'v', "%e-%b-%Y" }, { 'R', "%H:%M" }, { 'T', "%H:%M:%S" },
	{ 'X', "%H:%M:%S" }, { 'r', "%I:%M:%S %p" }, { 'c', "%a %b %e %T %Y" }, { '+', "%Y-%m-%dT%H:%M:%S%.f%:z" },
};

static int floor_mod(int a, int b)
{
	return (a % b + b) % b;
}

/* The ISO 8601 year, and its week: the one that holds this week's Thursday. */
static int iso_year(const struct moment *m, int *week)
{
	int monday_based = (m->p.weekday + 6) % 7;
	int thursday = m->day_of_year - monday_based + 3, year = m->p.year;
	int days = 337 + time_days_in_month(year, 2);
	if (thursday < 1) {
		year--;
		thursday += 337 + time_days_in_month(year, 2);
	} else if (thursday > days) {
		year++;
		thursday -= days;
	}
	*week = (thursday - 1) / 7 + 1;
	return year;
}

static int number_of(const struct moment *m, enum numeric what)
{
	int week, year;
	switch (what) {
	case N_YEAR_2:		return floor_mod(m->p.year, 100);
	case N_CENTURY:		return (m->p.year - floor_mod(m->p.year, 100)) / 100;
	case N_QUARTER:		return (m->p.month - 1) / 3 + 1;
	case N_MONTH:		return m->p.month;
	case N_DAY:		return m->p.day;
	case N_WEEKDAY_SUN:	return m->p.weekday;
	case N_WEEKDAY_MON:	return m->p.weekday == 0 ? 7 : m->p.weekday;
	case N_WEEK_SUN:	return (m->day_of_year + 6 - m->p.weekday) / 7;
	case N_WEEK_MON:	return (m->day_of_year + 6 - (m->p.weekday + 6) % 7) / 7;
	case N_ISO_YEAR_2:	year = iso_year(m, &week);
				return floor_mod(year, 100);
	case N_ISO_WEEK:	iso_year(m, &week);
				return week;
	case N_DAY_OF_YEAR:	return m->day_of_year;
	case N_HOUR:		return m->p.hour;
	case N_HOUR_12:		return m->p.hour % 12 == 0 ? 12 : m->p.hour % 12;
	case N_MINUTE:		return m->p.minute;
	case N_SECOND:		return m->p.second;
	}
	return 0;
}

static void put_number(struct buf *b, int n, int width, char pad)
{
	buf_printf(b, pad == '0' ? "%0*d" : "%*d", pad == '-' ? 0 : width, n);
}

static bool put_numeric(struct buf *b, const struct moment *m, char letter, char pad)
{
	for (size_t i = 0; i < ARRAY_LEN(NUMBERS); i++)
		if (NUMBERS[i].letter == letter) {
			put_number(b, number_of(m, NUMBERS[i].what), NUMBERS[i].width, pad == '\0' ? NUMBERS[i].pad : pad);
			return true;
		}
	return false;
}

static void put_format(struct buf *b, struct slice fmt, const struct moment *m);

static bool put_text(struct buf *b, const struct moment *m, char letter)
{
	int week;
	switch (letter) {
	case 'Y':	time_put_year(b, m->p.year); return true;
	case 'G':	time_put_year(b, iso_year(m, &week)); return true;
	case 'b':
	case 'h':	buf_put(b, TIME_MONTHS[m->p.month - 1], 3); return true;
	case 'B':	buf_cstr_put(b, TIME_MONTHS[m->p.month - 1]); return true;
	case 'a':	buf_put(b, TIME_WEEKDAYS[m->p.weekday], 3); return true;
	case 'A':	buf_cstr_put(b, TIME_WEEKDAYS[m->p.weekday]); return true;
	case 'p':	buf_cstr_put(b, m->p.hour < 12 ? "AM" : "PM"); return true;
	case 'P':	buf_cstr_put(b, m->p.hour < 12 ? "am" : "pm"); return true;
	case 'f':	buf_printf(b, "%09d", m->t.nsec % (int)NSEC_PER_SEC); return true;
	case 's':	buf_i64(b, m->t.sec); return true;
	case 'z':	time_put_offset(b, m->p.offset_s, ""); return true;
	case 'n':	buf_putc(b, '\n'); return true;
	case 't':	buf_putc(b, '\t'); return true;
	case '%':	buf_putc(b, '%'); return true;
	case 'Z':
		if (m->p.offset_s == 0)
			buf_lit(b, "UTC");
		else
			time_put_offset(b, m->p.offset_s, ":");
		return true;
	}
	for (size_t i = 0; i < ARRAY_LEN(COMPOSITES); i++)
		if (COMPOSITES[i].letter == letter) {
			put_format(b, slice_from_cstr(COMPOSITES[i].fmt), m);
			return true;
		}
	return false;
}

/* What is longer than a letter; the length of what was understood, 0 when nothing was. */
static size_t put_long(struct buf *b, struct slice rest, const struct moment *m)
{
	static const struct {
		struct slice text;
		int digits;
		bool point;
	} fractions[] = {
		{ SLICE_INIT(".3f"), 3, true }, { SLICE_INIT(".6f"), 6, true }, { SLICE_INIT(".9f"), 9, true },
		{ SLICE_INIT("3f"), 3, false }, { SLICE_INIT("6f"), 6, false }, { SLICE_INIT("9f"), 9, false },
	};
	for (size_t i = 0; i < ARRAY_LEN(fractions); i++) {
		if (!slice_starts(rest, fractions[i].text))
			continue;
		size_t before = b->len;
		time_put_fraction(b, m->t.nsec, fractions[i].digits);
		if (!fractions[i].point) {
			memmove(b->ptr + before, b->ptr + before + 1, b->len - before - 1);
			b->len--;
		}
		return fractions[i].text.len;
	}
	if (slice_starts(rest, SLICE(".f"))) {
		int digits = time_fraction_digits(m->t.nsec);
		if (digits > 0)
			time_put_fraction(b, m->t.nsec, digits);
		return 2;
	}
	if (slice_starts(rest, SLICE(":::z"))) {
		size_t before = b->len;
		time_put_offset(b, m->p.offset_s, "");
		if (slice_ends(slice_new(b->ptr, b->len), SLICE("00")))
			b->len = before + 3;
		return 4;
	}
	if (slice_starts(rest, SLICE("::z"))) {
		time_put_offset(b, m->p.offset_s, ":");
		buf_lit(b, ":00");
		return 3;
	}
	if (slice_starts(rest, SLICE(":z"))) {
		time_put_offset(b, m->p.offset_s, ":");
		return 2;
	}
	return 0;
}

/* REST begins behind the '%'. The length understood, or 0. */
static size_t put_spec(struct buf *b, struct slice rest, const struct moment *m)
{
	if (rest.len == 0)
		return 0;
	size_t n = put_long(b, rest, m);
	if (n > 0)
		return n;
	if (put_numeric(b, m, rest.ptr[0], '\0') || put_text(b, m, rest.ptr[0]))
		return 1;
	char pad = rest.ptr[0] == '_' ? ' ' : rest.ptr[0];
	if (rest.len >= 2 && (pad == '-' || pad == ' ' || pad == '0') && rest.ptr[0] != ' ' && put_numeric(b, m, rest.ptr[1], pad))
		return 2;
	return 0;
}

static void put_format(struct buf *b, struct slice fmt, const struct moment *m)
{
	for (size_t i = 0; i < fmt.len; i++) {
		size_t n = fmt.ptr[i] == '%' ? put_spec(b, slice_sub(fmt, i + 1, SIZE_MAX), m) : 0;
		if (n == 0)
			buf_putc(b, fmt.ptr[i]);
		i += n;
	}
}

int time_put_strftime_ns(struct buf *b, struct slice fmt, struct time_ns t, int offset_s)
{
	struct moment m = { .t = t };
	if (t.sec < TIME_SEC_MIN || t.sec > TIME_SEC_MAX)
		return err_set(E_INVAL, "time out of range");
	time_split_ns(t, offset_s, &m.p);
	m.day_of_year = (int)(time_days_from_civil(m.p.year, m.p.month, m.p.day) - time_days_from_civil(m.p.year, 1, 1)) + 1;
	put_format(b, fmt, &m);
	return 0;
}

int time_put_strftime(struct buf *b, const char *fmt, int64_t us, int offset_s)
{
	return time_put_strftime_ns(b, slice_from_cstr(fmt), time_ns_from_us(us), offset_s);
}
