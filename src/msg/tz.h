/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tz - time zones by their IANA name, from the system's compiled database (TZif, RFC 8536).
 *
 * libc knows one zone a process and changes it by environment variable; schedules of different messages name different zones.
 * A zone is read once and kept: there are some 600 names, a zone takes 2 KiB.
 *
 * Thread:  any.   Memory: zones are never freed.   Yields: never (a first look-up reads one small file).
 */
#pragma once
#include "base/err.h"
#include "base/slice.h"

struct tz;

const struct tz *tz_find(struct slice name);			/* NULL: there is no such zone */
int32_t tz_offset_at(const struct tz *z, int64_t utc_s);	/* seconds east of UTC */
/* A local time to UTC; -E_INVAL when the clocks skip it or show it twice. */
int tz_local_to_utc(const struct tz *z, int64_t local_s, int64_t *utc_s) WARN_UNUSED;

/* For tests and fuzzing: a zone from the bytes of a TZif file; free() it. */
struct tz *tz_parse(struct slice data);
