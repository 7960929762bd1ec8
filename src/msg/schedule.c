/* SPDX-License-Identifier: Apache-2.0 */
/* When a message may be delivered: the table form, the JSON of the meta spool, and moving a time into the window. */
#include "msg/msg.h"
#include "base/timefmt.h"
#include "msg/tz.h"

#define DAY_US (86400 * USEC_PER_SEC)

static const char *const DAYS[] = { "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday" };

static int parse_days(struct slice s, uint8_t *out)
{
	struct slice part;
	uint8_t days = 0;
	while (slice_split_next(&s, ',', &part)) {
		int found = -1;
		for (int i = 0; i < 7; i++) {
			struct slice full = slice_from_cstr(DAYS[i]);
			if (slice_eq_nocase(part, full) || slice_eq_nocase(part, slice_sub(full, 0, 3)))
				found = i;
		}
		if (found < 0)
			return err_set(E_INVAL, "dow: invalid day '%.*s'", SLICE_ARG(part));
		days |= 1 << found;
	}
	*out = days;
	return 0;
}

static int parse_clock(const char *field, struct slice s, int32_t *out)	/* HH:MM[:SS[.fraction]] */
{
	uint64_t part[3] = { 0 };
	static const uint64_t MAX_PART[3] = { 23, 59, 59 };
	struct slice rest = s, p;
	int n = 0;
	while (slice_split_next(&rest, ':', &p)) {
		ptrdiff_t dot = n == 2 ? slice_chr(p, '.') : -1;
		if (dot >= 0)
			p = slice_sub(p, 0, (size_t)dot);
		if (n == 3 || p.len == 0 || p.len > 2 || slice_to_u64(p, &part[n]) < 0 || part[n] > MAX_PART[n])
			return err_set(E_INVAL, "%s: '%.*s' is no time of day like 09:00:00", field, SLICE_ARG(s));
		n++;
	}
	if (n < 2)
		return err_set(E_INVAL, "%s: '%.*s' is no time of day like 09:00:00", field, SLICE_ARG(s));
	*out = (int32_t)(part[0] * 3600 + part[1] * 60 + part[2]);
	return 0;
}

static int parse_instant(const char *field, struct slice s, int64_t *us, int32_t *off)
{
	if (time_parse_rfc3339(s, us) < 0) {
		err_prefix("%s", field);
		return -E_INVAL;
	}
	*off = 0;
	if (s.len > 6 && (s.ptr[s.len - 6] == '+' || s.ptr[s.len - 6] == '-') && s.ptr[s.len - 3] == ':') {
		const char *p = s.ptr + s.len - 5;
		int32_t v = ((p[0] - '0') * 10 + p[1] - '0') * 3600 + ((p[3] - '0') * 10 + p[4] - '0') * 60;
		*off = p[-1] == '-' ? -v : v;
	}
	return 0;
}

enum { F_DOW, F_TZ, F_START, F_END, F_FIRST, F_EXPIRES, F_COUNT };
static const char *const FIELDS[F_COUNT] = { "dow", "tz", "start", "end", "first_attempt", "expires" };

static int parse_field(int f, struct slice s, struct msg_schedule *out)
{
	switch (f) {
	case F_DOW:
		return parse_days(s, &out->days);
	case F_TZ:
		if (tz_find(s) == NULL)
			return err_set(E_INVAL, "tz: '%.*s' is no time zone of the IANA database", SLICE_ARG(s));
		memcpy(out->tz, s.ptr, s.len);	/* tz_find bounds the length */
		return 0;
	case F_START:
		return parse_clock("start", s, &out->start_s);
	case F_END:
		return parse_clock("end", s, &out->end_s);
	case F_FIRST:
		return parse_instant("first_attempt", s, &out->first_attempt_us, &out->first_attempt_off_s);
	default:
		return parse_instant("expires", s, &out->expires_us, &out->expires_off_s);
	}
}

/* The window needs all of its four fields, or none. */
static int check_window(unsigned seen, struct msg_schedule *s)
{
	char missing[64] = "";
	int n = 0;
	for (int f = F_DOW; f <= F_END; f++)
		if (!(seen & 1u << f)) {
			strcat(strcat(missing, n++ ? ", " : ""), FIELDS[f]);	/* four short literals */
		}
	if (n > 0 && n < 4)
		return err_set(E_INVAL, "scheduling restrictions requires all restriction fields to be present. %s %s missing", missing,
		    n == 1 ? "is" : "are");
	s->has_restriction = n == 0;
	if (n == 0 && s->start_s > s->end_s)
		return err_set(E_INVAL, "'start' must be before 'end' and define a time window within a given day. "
		    "start=%02d:%02d:%02d, end=%02d:%02d:%02d", s->start_s / 3600, s->start_s / 60 % 60, s->start_s % 60,
		    s->end_s / 3600, s->end_s / 60 % 60, s->end_s % 60);
	return 0;
}

int msg_schedule_parse(const struct val *v, struct msg_schedule *out)
{
	struct msg_schedule s = { .present = true };
	unsigned seen = 0;
	if (v->type != VAL_OBJ && !(v->type == VAL_LIST && v->n == 0))
		return err_set(E_INVAL, "expected a table of scheduling parameters, got %s", val_type_name(v->type));
	for (uint32_t i = 0; v->type == VAL_OBJ && i < v->n; i++) {
		const struct val_member *m = &v->members[i];
		int f = 0;
		while (f < F_COUNT && !slice_eq_cstr(m->key, FIELDS[f]))
			f++;
		if (f == F_COUNT)
			return err_set(E_INVAL, "invalid field name %.*s", SLICE_ARG(m->key));
		if (m->val.type != VAL_STR)
			return err_set(E_INVAL, "%s: expected a string, got %s", FIELDS[f], val_type_name(m->val.type));
		int rc = parse_field(f, m->val.s, &s);
		if (rc < 0)
			return rc;
		seen |= 1u << f;
	}
	int rc = check_window(seen, &s);
	if (rc < 0)
		return rc;
	s.has_first_attempt = seen & 1u << F_FIRST;
	s.has_expires = seen & 1u << F_EXPIRES;
	*out = s;
	return 0;
}

static void put_instant(struct buf *b, int64_t us, int32_t off)
{
	int64_t frac = ((us % USEC_PER_SEC) + USEC_PER_SEC) % USEC_PER_SEC;
	if (off == 0) {
		time_put_rfc3339(b, us, frac == 0 ? 0 : frac % 1000 == 0 ? 3 : 6, true);
		return;
	}
	time_put_rfc3339(b, us + off * USEC_PER_SEC, frac == 0 ? 0 : frac % 1000 == 0 ? 3 : 6, true);
	buf_truncate(b, b->len - 1);
	int32_t abs = off < 0 ? -off : off;
	buf_printf(b, "%c%02d:%02d", off < 0 ? '-' : '+', abs / 3600, abs / 60 % 60);
}

static void put_text(struct buf *b, int f, const struct msg_schedule *s)
{
	int n = 0;
	switch (f) {
	case F_DOW:
		for (int i = 0; i < 7; i++)
			if (s->days & 1 << i)
				buf_printf(b, "%s%.3s", n++ ? "," : "", DAYS[i]);
		return;
	case F_TZ:
		buf_cstr_put(b, s->tz);
		return;
	case F_START:
	case F_END: {
		int32_t t = f == F_START ? s->start_s : s->end_s;
		buf_printf(b, "%02d:%02d:%02d", t / 3600, t / 60 % 60, t % 60);
		return;
	}
	case F_FIRST:
		put_instant(b, s->first_attempt_us, s->first_attempt_off_s);
		return;
	default:
		put_instant(b, s->expires_us, s->expires_off_s);
	}
}

void msg_schedule_print(const struct msg_schedule *s, struct arena *a, struct val *out)
{
	*out = val_obj();
	struct buf b = { 0 };
	for (int f = 0; f < F_COUNT; f++) {
		if (!(f <= F_END ? s->has_restriction : f == F_FIRST ? s->has_first_attempt : s->has_expires))
			continue;
		buf_clear(&b);
		put_text(&b, f, s);
		val_put(a, out, slice_from_cstr(FIELDS[f]), val_str(a, buf_view(&b)));
	}
	buf_fini(&b);
}

void msg_schedule_put_json(struct buf *b, const struct msg_schedule *s)
{
	struct arena *a = arena_create();
	struct val v;
	msg_schedule_print(s, a, &v);
	json_put(b, &v, JSON_COMPACT);
	arena_destroy(&a);
}

/* The window of the local day that UTC_S falls on; false where the clocks make it unclear. */
static bool window_of_day(const struct msg_schedule *s, const struct tz *z, int64_t utc_s, int *weekday, int64_t *start, int64_t *end)
{
	int64_t local = utc_s + tz_offset_at(z, utc_s);
	int64_t day = local >= 0 ? local / 86400 : (local - 86399) / 86400;
	*weekday = (int)(((day + 3) % 7 + 7) % 7);	/* 1970-01-01 was a Thursday; Monday is 0 */
	return tz_local_to_utc(z, day * 86400 + s->start_s, start) == 0 && tz_local_to_utc(z, day * 86400 + s->end_s, end) == 0;
}

int64_t msg_schedule_adjust(const struct msg_schedule *s, int64_t us)
{
	if (s->has_first_attempt && us < s->first_attempt_us)
		us = s->first_attempt_us;
	const struct tz *z = s->has_restriction ? tz_find(slice_from_cstr(s->tz)) : NULL;
	if (z == NULL)
		return us;
	/* At worst the window is a week away; a day with a clock change may be skipped. */
	for (int i = 0; i < 8; i++) {
		int weekday;
		int64_t start, end;
		if (!window_of_day(s, z, us / USEC_PER_SEC, &weekday, &start, &end)) {
			us += DAY_US;
			continue;
		}
		start *= USEC_PER_SEC;
		if (s->days & 1 << weekday) {
			if (us < start)
				return start;
			if (us < end * USEC_PER_SEC)
				return us;
		}
		us = start + DAY_US;
	}
	return us;
}
