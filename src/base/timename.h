/* SPDX-License-Identifier: Apache-2.0 */
/* timename - what the files behind timefmt.h share: names of months and days, parts of times. */
#pragma once
#include "base/timefmt.h"

extern const char *const TIME_MONTHS[12], *const TIME_WEEKDAYS[7];

void time_split_ns(struct time_ns t, int offset_s, struct time_parts *out);	/* usec cut; the leap second as second 60 */
void time_put_year(struct buf *b, int year);
void time_put_fraction(struct buf *b, int32_t nsec, int digits);		/* with the point */
int time_fraction_digits(int32_t nsec);						/* 0, 3, 6 or 9 tell all of it */
void time_put_offset(struct buf *b, int offset_s, const char *colon);		/* +02:00 with ":" */
