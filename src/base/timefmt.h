/* SPDX-License-Identifier: Apache-2.0 */
/*
 * timefmt - times and durations as text, both ways.
 *
 * Times are microseconds since 1970 (UTC). Durations are nanoseconds in text form as operators write them in policies: "1h 30m",
 * "500ms", "2 days", "1.5s" is refused as upstream does; units: nsec ns, usec us, msec ms, seconds second sec s, minutes minute min m,
 * hours hour hr h, days day d, weeks week w, months month M, years year y (month 30.44 days, year 365.25 days).
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

void time_split(int64_t us, int offset_s, struct time_parts *out);
int64_t time_join(const struct time_parts *p);

void time_put_rfc3339(struct buf *b, int64_t us, int digits, bool zulu); /* 2026-01-02T03:04:05.123456Z; digits 0..9; zulu false: +00:00 */
void time_put_rfc2822(struct buf *b, int64_t us, int offset_s);		 /* Fri, 02 Jan 2026 03:04:05 +0000 */
int time_parse_rfc3339(struct slice s, int64_t *us) WARN_UNUSED;
int time_parse_rfc2822(struct slice s, int64_t *us) WARN_UNUSED;	 /* optional weekday and seconds, obsolete zones, comments at the end */
/* strftime subset used by log names and Lua: %Y %m %d %H %M %S %f (ns) %.f (. and up to 9 digits as chrono) %j %a %b %A %B %e %y %Z %z %s %T %F %D %R %p %I %% */
int time_put_strftime(struct buf *b, const char *fmt, int64_t us, int offset_s) WARN_UNUSED;

int duration_parse(struct slice s, int64_t *ns) WARN_UNUSED;
void duration_put(struct buf *b, int64_t ns);				 /* "1h 30m", "20s", "1s 500ms", "0s" */
