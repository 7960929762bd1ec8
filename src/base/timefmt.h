/* SPDX-License-Identifier: Apache-2.0 */
/*
 * timefmt - times and durations as text, both ways.
 *
 * Times are microseconds since 1970 (UTC), which is what message ids and records carry; the _ns forms take seconds and nanoseconds
 * for the Lua time objects, where 1e9 to 2e9-1 nanoseconds stand for a leap second. Durations are nanoseconds; their text is what
 * operators write in policies: "1h 30m", "500ms", "2 days", "1.5s"; units: nanos nsec ns, usec us, millis msec ms, seconds second secs
 * sec s, minutes minute mins min m, hours hour hrs hr h, days day d, weeks week wks wk w, months month M (30.44 days), years year yrs
 * yr y (365.25 days); "0" needs none.
 *
 * Thread:  any.   Memory: caller's buffers.   Yields: never.
 */
#pragma once
#include "base/buf.h"

#define USEC_PER_SEC 1000000LL
#define NSEC_PER_SEC 1000000000LL

struct time_parts {		/* proleptic Gregorian, in the offset given */
	int year, month, day;	/* 1-based month and day */
	int hour, minute, second, usec;
	int weekday;		/* 0 Sunday */
	int offset_s;		/* seconds east of UTC */
};
struct time_ns {
	int64_t sec;		/* since 1970 */
	int32_t nsec;		/* 0 .. 2e9-1 */
};
#define TIME_SEC_MIN (-8334601228800LL)	/* year -262143, the first and last that can be told */
#define TIME_SEC_MAX 8210266876799LL	/* end of year 262142 */

void time_split(int64_t us, int offset_s, struct time_parts *out);
int64_t time_join(const struct time_parts *p);
static inline struct time_ns time_ns_from_us(int64_t us)
{
	int64_t sec = us / USEC_PER_SEC - (us % USEC_PER_SEC < 0);
	return (struct time_ns){ sec, (int32_t)(us - sec * USEC_PER_SEC) * 1000 };
}
static inline int64_t time_ns_to_us(struct time_ns t) { return t.sec * USEC_PER_SEC + t.nsec / 1000; }
int64_t time_days_from_civil(int64_t year, int month, int day);	/* days since 1970 */
int time_days_in_month(int64_t year, int month);

void time_put_rfc3339(struct buf *b, int64_t us, int digits, bool zulu); /* 2026-01-02T03:04:05.123456Z; digits 0..9; zulu false: +00:00 */
void time_put_rfc2822(struct buf *b, int64_t us, int offset_s);		 /* Fri, 2 Jan 2026 03:04:05 +0000 */
int time_parse_rfc3339(struct slice s, int64_t *us) WARN_UNUSED;
int time_parse_rfc3339_ns(struct slice s, struct time_ns *out) WARN_UNUSED;
int time_parse_rfc2822(struct slice s, int64_t *us) WARN_UNUSED;	 /* optional weekday and seconds, obsolete zones, comments at the end */
int time_parse_rfc2822_ns(struct slice s, struct time_ns *out) WARN_UNUSED;
/*
 * strftime with chrono's letters, which log names and Lua use: also %f (nanoseconds), %.f (point and 3, 6 or 9 digits as needed), %.3f, %3f,
 * %:z and the paddings %-d %_d %0d. An unknown letter comes out as it went in. -E_INVAL: year out of range.
 */
int time_put_strftime(struct buf *b, const char *fmt, int64_t us, int offset_s) WARN_UNUSED;
int time_put_strftime_ns(struct buf *b, struct slice fmt, struct time_ns t, int offset_s) WARN_UNUSED;

int duration_parse(struct slice s, int64_t *ns) WARN_UNUSED;		 /* beyond 292 years: that */
int duration_parse_parts(struct slice s, uint64_t *sec, uint32_t *nsec) WARN_UNUSED;
void duration_put(struct buf *b, int64_t ns);				 /* "1h 30m", "20s", "1s 500ms", "0s", "7days"; a negative one as 0s */
void duration_put_parts(struct buf *b, uint64_t sec, uint32_t nsec);
