/* SPDX-License-Identifier: Apache-2.0 */
/*
 * time_text - points in time and spans as kumo.time shows and reads them: nanoseconds, leap seconds, years far away.
 *
 * The formats and the words of the errors are those of the library that policies were written against (chrono's strftime, RFC 3339, RFC
 * 2822; humantime's spans); base/timefmt serves the rest of the program, which needs neither.
 *
 * Thread:  any.   Memory: by value.   Yields: never.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"

#define MOMENT_MIN (-8334601228800LL)	/* 1 January of year -262143 */
#define MOMENT_MAX 8210266876799LL	/* the last second of year 262142 */

struct moment {			/* UTC */
	int64_t sec;		/* since 1970 */
	uint32_t nsec;		/* from 1,000,000,000 on: within a leap second */
};
typedef __int128 span_ns;	/* signed nanoseconds */

struct moment_parts {
	int64_t year;
	int month, day, hour, minute, second;	/* second 60: a leap second */
	int weekday, yday;			/* 0 Sunday; 1-based */
};
void moment_split(struct moment m, struct moment_parts *out);
int moment_join(int64_t year, int month, int day, int hour, int minute, int second, struct moment *out) WARN_UNUSED;
void moment_put(struct buf *b, struct moment m);		/* 1970-01-01 00:00:00.500 UTC */
void moment_put_rfc3339(struct buf *b, struct moment m);
void moment_put_rfc2822(struct buf *b, struct moment m);
void moment_put_format(struct buf *b, struct moment m, struct slice fmt);
int moment_parse_rfc3339(struct slice s, struct moment *out) WARN_UNUSED;
int moment_parse_rfc2822(struct slice s, struct moment *out) WARN_UNUSED;

#define SPAN_MAX_MS INT64_MAX
void span_put(struct buf *b, span_ns ns);			/* not negative: "1h 1m 1s 1ms" */
int span_parse(struct slice s, span_ns *out) WARN_UNUSED;	/* "1h 30m", "1.5h", "0" */
