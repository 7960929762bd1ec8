/* SPDX-License-Identifier: Apache-2.0 */
#include "msg/tz.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/map.h"
#include "base/xalloc.h"
#include "rt/sync.h"

#define TZ_DIR "/usr/share/zoneinfo"
#define TZ_FILE_MAX 65536
#define DAY 86400

enum rule_kind { RULE_NONE, RULE_MONTH /* Mm.w.d */, RULE_JULIAN /* Jn, no leap day */, RULE_DAY /* n, 0-based */ };
struct rule {
	enum rule_kind kind;
	int month, week, day;
	int32_t time_s;
};
struct posix_tz {		/* the footer: rules for what comes after the last transition */
	bool present, has_dst;
	int32_t std_off, dst_off;
	struct rule start, end;
};
struct tz {
	uint32_t n;		/* transitions */
	int32_t first_off;	/* before the first one */
	struct posix_tz rules;
	struct transition {
		int64_t at;
		int32_t off;
	} t[];
};

/* --- the POSIX TZ string of the footer: "CET-1CEST,M3.5.0,M10.5.0/3" */

static bool skip_name(struct slice *s)
{
	size_t n = 0;
	if (s->len > 0 && s->ptr[0] == '<') {
		ptrdiff_t end = slice_chr(*s, '>');
		if (end < 0)
			return false;
		n = (size_t)end + 1;
	} else {
		while (n < s->len && ascii_is_alpha(s->ptr[n]))
			n++;
	}
	*s = slice_sub(*s, n, SIZE_MAX);
	return n > 0;
}

static bool read_number(struct slice *s, int max, int *out)
{
	int v = 0;
	size_t n = 0;
	while (n < s->len && n < 4 && ascii_is_digit(s->ptr[n]))
		v = v * 10 + (s->ptr[n++] - '0');
	*s = slice_sub(*s, n, SIZE_MAX);
	*out = v;
	return n > 0 && v <= max;
}

static bool skip_char(struct slice *s, char c)
{
	if (s->len == 0 || s->ptr[0] != c)
		return false;
	*s = slice_sub(*s, 1, SIZE_MAX);
	return true;
}

static bool read_time(struct slice *s, int32_t *out)	/* [+-]hh[:mm[:ss]] */
{
	int h, m = 0, sec = 0;
	bool neg = skip_char(s, '-');
	if (!neg)
		skip_char(s, '+');
	if (!read_number(s, 167, &h))
		return false;
	if (skip_char(s, ':') && !read_number(s, 59, &m))
		return false;
	if (skip_char(s, ':') && !read_number(s, 59, &sec))
		return false;
	*out = (neg ? -1 : 1) * (h * 3600 + m * 60 + sec);
	return true;
}

static bool read_rule(struct slice *s, struct rule *r)
{
	r->time_s = 2 * 3600;
	if (skip_char(s, 'M')) {
		r->kind = RULE_MONTH;
		if (!read_number(s, 12, &r->month) || r->month < 1 || !skip_char(s, '.') || !read_number(s, 5, &r->week) ||
		    r->week < 1 || !skip_char(s, '.') || !read_number(s, 6, &r->day))
			return false;
	} else {
		r->kind = skip_char(s, 'J') ? RULE_JULIAN : RULE_DAY;
		if (!read_number(s, 366, &r->day))
			return false;
	}
	return !skip_char(s, '/') || read_time(s, &r->time_s);
}

static bool read_posix(struct slice s, struct posix_tz *p)
{
	if (!skip_name(&s) || !read_time(&s, &p->std_off))
		return false;
	p->std_off = -p->std_off;	/* POSIX counts westwards */
	p->present = true;
	if (s.len == 0)
		return true;
	if (!skip_name(&s))
		return false;
	p->dst_off = p->std_off + 3600;
	if (s.len > 0 && s.ptr[0] != ',') {
		if (!read_time(&s, &p->dst_off))
			return false;
		p->dst_off = -p->dst_off;
	}
	p->has_dst = true;
	return skip_char(&s, ',') && read_rule(&s, &p->start) && skip_char(&s, ',') && read_rule(&s, &p->end);
}

/* Days since 1970 of a civil date (Howard Hinnant's era arithmetic, public domain). */
static int64_t days_of(int64_t y, int m, int d)
{
	y -= m <= 2;
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	int64_t yoe = y - era * 400;
	int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
	return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static bool is_leap(int64_t y) { return (y % 4 == 0 && y % 100 != 0) || y % 400 == 0; }

static int64_t year_of(int64_t days)
{
	int64_t y = 1970 + days / 365;
	while (days_of(y, 1, 1) > days)
		y--;
	while (days_of(y + 1, 1, 1) <= days)
		y++;
	return y;
}

/* When the rule strikes in year Y, as local wall seconds. */
static int64_t rule_at(const struct rule *r, int64_t y)
{
	static const int LEN[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	int64_t day;
	if (r->kind == RULE_MONTH) {
		int64_t first = days_of(y, r->month, 1);
		int wday = (int)(((first + 4) % 7 + 7) % 7);
		int len = LEN[r->month - 1] + (r->month == 2 && is_leap(y));
		int mday = (r->day - wday + 7) % 7 + (r->week - 1) * 7;
		if (mday >= len)
			mday -= 7;
		day = first + mday;
	} else if (r->kind == RULE_JULIAN) {
		day = days_of(y, 1, 1) + r->day - 1 + (is_leap(y) && r->day > 59);
	} else {
		day = days_of(y, 1, 1) + r->day;
	}
	return day * DAY + r->time_s;
}

static int32_t posix_offset(const struct posix_tz *p, int64_t utc)
{
	if (!p->has_dst)
		return p->std_off;
	int64_t local = utc + p->std_off;
	int64_t y = year_of(local >= 0 ? local / DAY : (local - DAY + 1) / DAY);
	int64_t start = rule_at(&p->start, y) - p->std_off, end = rule_at(&p->end, y) - p->dst_off;
	bool dst = start < end ? utc >= start && utc < end : utc >= start || utc < end;
	return dst ? p->dst_off : p->std_off;
}

/* --- the binary part */

static int64_t be(const char *p, int n)
{
	uint64_t v = 0;
	for (int i = 0; i < n; i++)
		v = v << 8 | (unsigned char)p[i];
	return n == 8 ? (int64_t)v : (int64_t)(int32_t)v;
}

struct tz_header {
	size_t isut, isstd, leap, time, type, chars;
};

static bool read_header(struct slice s, struct tz_header *h)
{
	if (s.len < 44 || memcmp(s.ptr, "TZif", 4) != 0)
		return false;
	size_t *f[] = { &h->isut, &h->isstd, &h->leap, &h->time, &h->type, &h->chars };
	for (size_t i = 0; i < ARRAY_LEN(f); i++)
		if ((*f[i] = (uint32_t)be(s.ptr + 20 + 4 * i, 4)) > TZ_FILE_MAX)
			return false;
	return h->type > 0;
}

static size_t block_len(const struct tz_header *h, size_t time_len)
{
	return h->time * (time_len + 1) + h->type * 6 + h->chars + h->leap * (time_len + 4) + h->isstd + h->isut;
}

struct tz *tz_parse(struct slice s)
{
	struct tz_header h;
	if (!read_header(s, &h) || s.ptr[4] < '2' || s.len < 44 + block_len(&h, 4))
		return NULL;
	s = slice_sub(s, 44 + block_len(&h, 4), SIZE_MAX);	/* the 32-bit block is a relic */
	if (!read_header(s, &h) || s.len < 44 + block_len(&h, 8))
		return NULL;
	const char *times = s.ptr + 44, *index = times + h.time * 8, *types = index + h.time;
	struct tz *z = xzalloc(sizeof *z + h.time * sizeof z->t[0]);
	z->n = (uint32_t)h.time;
	z->first_off = (int32_t)be(types, 4);
	for (size_t i = 0; i < h.time; i++) {
		uint8_t type = (uint8_t)index[i];
		if (type >= h.type || (i > 0 && be(times + 8 * i, 8) <= z->t[i - 1].at)) {
			free(z);
			return NULL;
		}
		z->t[i].at = be(times + 8 * i, 8);
		z->t[i].off = (int32_t)be(types + 6 * type, 4);
	}
	struct slice foot = slice_sub(s, 44 + block_len(&h, 8), SIZE_MAX);
	if (foot.len > 2 && foot.ptr[0] == '\n' && foot.ptr[foot.len - 1] == '\n' &&
	    !read_posix(slice_sub(foot, 1, foot.len - 2), &z->rules))
		z->rules = (struct posix_tz){ 0 };
	return z;
}

int32_t tz_offset_at(const struct tz *z, int64_t utc)
{
	if (z->n == 0 || utc < z->t[0].at)
		return z->n == 0 && z->rules.present ? posix_offset(&z->rules, utc) : z->first_off;
	if (utc >= z->t[z->n - 1].at)
		return z->rules.present ? posix_offset(&z->rules, utc) : z->t[z->n - 1].off;
	uint32_t lo = 0, hi = z->n - 1;		/* t[lo].at <= utc < t[hi].at */
	while (hi - lo > 1) {
		uint32_t mid = lo + (hi - lo) / 2;
		if (z->t[mid].at <= utc)
			lo = mid;
		else
			hi = mid;
	}
	return z->t[lo].off;
}

int tz_local_to_utc(const struct tz *z, int64_t local, int64_t *utc)
{
	int32_t offs[2] = { tz_offset_at(z, local - DAY), tz_offset_at(z, local + DAY) };
	int n = 0;
	int64_t found = 0;
	for (int i = 0; i < (offs[0] == offs[1] ? 1 : 2); i++)
		if (tz_offset_at(z, local - offs[i]) == offs[i]) {
			found = local - offs[i];
			n++;
		}
	if (n != 1)
		return err_set(E_INVAL, "local time does not exist or is ambiguous");
	*utc = found;
	return 0;
}

/* --- names */

static struct rt_lock zones_lock = RT_LOCK_INIT(RANK_LEAF);
static struct map zones;

static bool name_is_sane(struct slice name)
{
	if (name.len == 0 || name.len > 63 || !ascii_is_alpha(name.ptr[0]) || slice_starts(name, SLICE("posix")) || slice_starts(name, SLICE("right/")))
		return false;
	for (size_t i = 0; i < name.len; i++)
		if (!ascii_is_alnum(name.ptr[i]) && memchr("_+-/", name.ptr[i], 4) == NULL)
			return false;
	return true;
}

static struct tz *load(struct slice name)
{
	char path[sizeof TZ_DIR + 65];
	snprintf(path, sizeof path, TZ_DIR "/%.*s", SLICE_ARG(name));
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	char *data = xmalloc(TZ_FILE_MAX);
	ssize_t n = read(fd, data, TZ_FILE_MAX);
	close(fd);
	struct tz *z = n > 0 ? tz_parse(slice_new(data, (size_t)n)) : NULL;
	free(data);
	return z;
}

const struct tz *tz_find(struct slice name)
{
	if (!name_is_sane(name))
		return NULL;
	rt_lock(&zones_lock);
	struct tz *z = map_get(&zones, name);
	rt_unlock(&zones_lock);
	if (z != NULL)
		return z;
	struct tz *fresh = load(name);
	if (fresh == NULL)
		return NULL;
	rt_lock(&zones_lock);
	if ((z = map_get(&zones, name)) == NULL)
		map_put(&zones, name, z = fresh);
	rt_unlock(&zones_lock);
	if (z != fresh)
		free(fresh);
	return z;
}
