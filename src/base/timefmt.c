/* SPDX-License-Identifier: Apache-2.0 */
#include "base/timefmt.h"

#include "base/timename.h"

const char *const TIME_MONTHS[12] = { "January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
	"November", "December" };
const char *const TIME_WEEKDAYS[7] = { "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday" };

/* Years that begin in March make the leap day the last one: then a day's place in its 400 years is plain division. */
int64_t time_days_from_civil(int64_t year, int month, int day)
{
	year -= month <= 2;
	int64_t era = (year >= 0 ? year : year - 399) / 400;
	int64_t year_of_era = year - era * 400;
	int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
	return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

static void civil_from_days(int64_t days, struct time_parts *p)
{
	days += 719468;
	int64_t era = (days >= 0 ? days : days - 146096) / 146097;
	int64_t day_of_era = days - era * 146097;
	int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
	int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	int64_t shifted = (5 * day_of_year + 2) / 153;
	p->day = (int)(day_of_year - (153 * shifted + 2) / 5 + 1);
	p->month = (int)(shifted < 10 ? shifted + 3 : shifted - 9);
	p->year = (int)(year_of_era + era * 400 + (p->month <= 2));
}

int time_days_in_month(int64_t year, int month)
{
	static const uint8_t days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
	return days[month - 1] + (month == 2 && leap);
}

void time_split_ns(struct time_ns t, int offset_s, struct time_parts *out)
{
	int64_t sec = t.sec + offset_s;
	int64_t days = sec / 86400 - (sec % 86400 < 0);
	int rest = (int)(sec - days * 86400);
	civil_from_days(days, out);
	out->hour = rest / 3600;
	out->minute = rest / 60 % 60;
	out->second = rest % 60 + t.nsec / (int)NSEC_PER_SEC;
	out->usec = t.nsec % (int)NSEC_PER_SEC / 1000;
	out->weekday = (int)(((days + 4) % 7 + 7) % 7);
	out->offset_s = offset_s;
}

void time_split(int64_t us, int offset_s, struct time_parts *out)
{
	time_split_ns(time_ns_from_us(us), offset_s, out);
}

int64_t time_join(const struct time_parts *p)
{
	int64_t days = time_days_from_civil(p->year, p->month, p->day);
	int64_t sec = days * 86400 + p->hour * 3600 + p->minute * 60 + p->second - p->offset_s;
	return sec * USEC_PER_SEC + p->usec;
}

/* Years beyond four digits carry a sign (ISO 8601). */
void time_put_year(struct buf *b, int year)
{
	if (year < 0 || year > 9999)
		buf_printf(b, "%+05d", year);
	else
		buf_printf(b, "%04d", year);
}

static void put_two(struct buf *b, int n)
{
	buf_putc(b, (char)('0' + n / 10 % 10));
	buf_putc(b, (char)('0' + n % 10));
}

static void put_date_time(struct buf *b, const struct time_parts *p, char between)
{
	time_put_year(b, p->year);
	buf_putc(b, '-');
	put_two(b, p->month);
	buf_putc(b, '-');
	put_two(b, p->day);
	buf_putc(b, between);
	put_two(b, p->hour);
	buf_putc(b, ':');
	put_two(b, p->minute);
	buf_putc(b, ':');
	put_two(b, p->second);
}

void time_put_fraction(struct buf *b, int32_t nsec, int digits)
{
	char text[10] = ".";
	nsec %= (int32_t)NSEC_PER_SEC;
	for (int i = 9; i > 0; i--, nsec /= 10)
		text[i] = (char)('0' + nsec % 10);
	buf_put(b, text, (size_t)digits + 1);
}

int time_fraction_digits(int32_t nsec)
{
	nsec %= (int32_t)NSEC_PER_SEC;
	return nsec == 0 ? 0 : nsec % 1000000 == 0 ? 3 : nsec % 1000 == 0 ? 6 : 9;
}

static void put_ns(struct buf *b, struct time_ns t, char between, int digits)
{
	struct time_parts p;
	time_split_ns(t, 0, &p);
	put_date_time(b, &p, between);
	if (digits > 0)
		time_put_fraction(b, t.nsec, digits);
}

void time_put_rfc3339(struct buf *b, int64_t us, int digits, bool zulu)
{
	assert(digits >= 0 && digits <= 9);
	put_ns(b, time_ns_from_us(us), 'T', digits);
	buf_cstr_put(b, zulu ? "Z" : "+00:00");
}

void time_put_offset(struct buf *b, int offset_s, const char *colon)
{
	int minutes = (offset_s < 0 ? -offset_s : offset_s) / 60;
	buf_putc(b, offset_s < 0 ? '-' : '+');
	put_two(b, minutes / 60);
	buf_cstr_put(b, colon);
	put_two(b, minutes % 60);
}

void time_put_rfc2822(struct buf *b, int64_t us, int offset_s)
{
	struct time_parts p;
	time_split(us, offset_s, &p);
	buf_printf(b, "%.3s, %d %.3s %04d %02d:%02d:%02d ", TIME_WEEKDAYS[p.weekday], p.day, TIME_MONTHS[p.month - 1], p.year, p.hour,
		p.minute, p.second);
	time_put_offset(b, offset_s, "");
}
