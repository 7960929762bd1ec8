/* SPDX-License-Identifier: Apache-2.0 */
/* dateformat, timeformat and datetimeformat, with the format descriptions of Rust's time crate. */
#include <math.h>

#include "base/timefmt.h"
#include "base/timename.h"
#include "codec/template/tpl.h"

struct moment {
	struct time_ns t;
	int offset_s;
	bool date_only;
};

/* What a component's modifiers say. */
struct component {
	struct slice name;
	struct slice repr;
	char pad;		/* '0', ' ', '-' */
	bool twelve, lower, sign;
	int digits;		/* of a subsecond; 0: as many as needed */
};

static void put_padded(struct buf *b, int n, int width, char pad)
{
	if (pad == '-')
		buf_printf(b, "%d", n);
	else if (pad == ' ')
		buf_printf(b, "%*d", width, n);
	else
		buf_printf(b, "%0*d", width, n);
}

static void put_name(struct buf *b, const char *name, struct slice repr)
{
	if (slice_eq_cstr(repr, "short"))
		buf_put(b, name, 3);
	else
		buf_cstr_put(b, name);
}

static void put_subsecond(struct buf *b, const struct moment *m, int digits)
{
	struct buf text = { 0 };
	time_put_fraction(&text, m->t.nsec, 9);
	size_t n = digits > 0 ? (size_t)digits : 9;
	while (digits == 0 && n > 1 && text.ptr[n] == '0')
		n--;
	buf_put(b, text.ptr + 1, n);
	buf_fini(&text);
}

/* False: no such component. */
static bool put_component(struct buf *b, const struct component *c, const struct moment *m, const struct time_parts *p)
{
	int offset = m->offset_s < 0 ? -m->offset_s : m->offset_s;
	int ordinal = (int)(time_days_from_civil(p->year, p->month, p->day) - time_days_from_civil(p->year, 1, 1)) + 1;
	if (slice_eq_cstr(c->name, "year"))
		put_padded(b, slice_eq_cstr(c->repr, "last_two") ? p->year % 100 : p->year, slice_eq_cstr(c->repr, "last_two") ? 2 : 4, c->pad);
	else if (slice_eq_cstr(c->name, "month") && (c->repr.len == 0 || slice_eq_cstr(c->repr, "numerical")))
		put_padded(b, p->month, 2, c->pad);
	else if (slice_eq_cstr(c->name, "month"))
		put_name(b, TIME_MONTHS[p->month - 1], c->repr);
	else if (slice_eq_cstr(c->name, "day"))
		put_padded(b, p->day, 2, c->pad);
	else if (slice_eq_cstr(c->name, "weekday"))
		put_name(b, TIME_WEEKDAYS[p->weekday], c->repr);
	else if (slice_eq_cstr(c->name, "ordinal"))
		put_padded(b, ordinal, 3, c->pad);
	else if (slice_eq_cstr(c->name, "hour"))
		put_padded(b, c->twelve ? (p->hour + 11) % 12 + 1 : p->hour, 2, c->pad);
	else if (slice_eq_cstr(c->name, "minute"))
		put_padded(b, p->minute, 2, c->pad);
	else if (slice_eq_cstr(c->name, "second"))
		put_padded(b, p->second, 2, c->pad);
	else if (slice_eq_cstr(c->name, "subsecond"))
		put_subsecond(b, m, c->digits);
	else if (slice_eq_cstr(c->name, "period"))
		buf_cstr_put(b, c->lower ? (p->hour < 12 ? "am" : "pm") : (p->hour < 12 ? "AM" : "PM"));
	else if (slice_eq_cstr(c->name, "offset_hour"))
		buf_printf(b, "%s%02d", m->offset_s < 0 ? "-" : c->sign ? "+" : "", offset / 3600);
	else if (slice_eq_cstr(c->name, "offset_minute"))
		put_padded(b, offset / 60 % 60, 2, c->pad);
	else if (slice_eq_cstr(c->name, "offset_second"))
		put_padded(b, offset % 60, 2, c->pad);
	else if (slice_eq_cstr(c->name, "unix_timestamp"))
		buf_i64(b, m->t.sec);
	else
		return false;
	return true;
}

/* "month repr:short padding:none" */
static struct component parse_component(struct slice s)
{
	struct component c = { .pad = '0' };
	struct slice word;
	while (slice_split_next(&s, ' ', &word)) {
		ptrdiff_t colon = slice_chr(word, ':');
		struct slice value = colon < 0 ? SLICE("") : slice_sub(word, (size_t)colon + 1, SIZE_MAX), key = slice_sub(word, 0, (size_t)colon);
		if (word.len == 0)
			continue;
		if (colon < 0)
			c.name = word;
		else if (slice_eq_cstr(key, "repr"))
			c.repr = value;
		else if (slice_eq_cstr(key, "padding"))
			c.pad = slice_eq_cstr(value, "none") ? '-' : slice_eq_cstr(value, "space") ? ' ' : '0';
		else if (slice_eq_cstr(key, "case"))
			c.lower = slice_eq_cstr(value, "lower");
		else if (slice_eq_cstr(key, "sign"))
			c.sign = slice_eq_cstr(value, "mandatory");
		else if (slice_eq_cstr(key, "digits") && value.len == 1 && ascii_is_digit(value.ptr[0]))
			c.digits = value.ptr[0] - '0';
	}
	c.twelve = slice_eq_cstr(c.name, "hour") && slice_eq_cstr(c.repr, "12");
	return c;
}

static int put_described(struct render *r, struct buf *b, struct slice fmt, const struct moment *m)
{
	struct time_parts p;
	time_split_ns(m->t, m->offset_s, &p);
	for (size_t i = 0; i < fmt.len; i++) {
		if (fmt.ptr[i] != '[') {
			buf_putc(b, fmt.ptr[i]);
			continue;
		}
		if (i + 1 < fmt.len && fmt.ptr[i + 1] == '[') {
			buf_putc(b, '[');
			i++;
			continue;
		}
		ptrdiff_t end = slice_chr(slice_sub(fmt, i, SIZE_MAX), ']');
		if (end < 0)
			return tpl_fail(r, "invalid operation", "invalid format string");
		struct component c = parse_component(slice_sub(fmt, i + 1, (size_t)end - 1));
		if (!put_component(b, &c, m, &p)) {
			tpl_fail(r, "invalid operation", "invalid format string");
			err_put("%s: invalid component name `%.*s` at byte index %zu", err_text(), SLICE_ARG(c.name), i + 1);
			return -E_INVAL;
		}
		i += (size_t)end;
	}
	return 0;
}

static int parse_text(struct render *r, struct slice s, struct moment *m)
{
	struct buf whole = { 0 };
	bool zoned = true;
	buf_slice(&whole, s);
	m->date_only = s.len == 10;
	if (s.len == 10)
		buf_lit(&whole, "T00:00:00Z");
	int rc = time_parse_rfc3339_ns(buf_view(&whole), &m->t);
	if (rc < 0 && s.len >= 19) {	/* without a zone: as UTC */
		buf_lit(&whole, "Z");
		zoned = false;
		rc = time_parse_rfc3339_ns(buf_view(&whole), &m->t);
	}
	if (rc < 0)
		rc = time_parse_rfc2822_ns(s, &m->t);
	buf_fini(&whole);
	if (rc < 0)
		return tpl_fail(r, "invalid operation", "not a valid date or timestamp");
	/* the offset as written is kept where no other zone is asked for */
	if (zoned && s.len > 6 && (s.ptr[s.len - 6] == '+' || s.ptr[s.len - 6] == '-') && s.ptr[s.len - 3] == ':') {
		uint64_t hours = 0, minutes = 0;
		if (slice_to_u64(slice_sub(s, s.len - 5, 2), &hours) == 0 && slice_to_u64(slice_sub(s, s.len - 2, 2), &minutes) == 0)
			m->offset_s = (int)(hours * 60 + minutes) * (s.ptr[s.len - 6] == '-' ? -60 : 60);
	}
	return 0;
}

static int parse_moment(struct render *r, const struct tv *v, struct moment *m)
{
	*m = (struct moment){ 0 };
	if (v->kind == TV_STR)
		return parse_text(r, v->s, m);
	if (!tv_is_number(v))
		return tpl_fail(r, "invalid operation", "not a valid date or timestamp");
	double sec = tv_number(v), whole = floor(sec);
	if (!(sec >= (double)TIME_SEC_MIN && sec <= (double)TIME_SEC_MAX))
		return tpl_fail(r, "invalid operation", "not a valid date or timestamp");
	m->t.sec = (int64_t)whole;
	m->t.nsec = v->kind == TV_FLOAT ? (int32_t)((sec - whole) * 1e9) : 0;
	return 0;
}

/* A setting: the named argument, else the template's variable; SLICE_NONE when there is neither. */
static struct slice setting(struct render *r, struct call *c, const char *name, const char *variable)
{
	const struct tv *given = kwarg(c, name);
	struct tv v = given != NULL ? *given : lookup(r, slice_from_cstr(variable));
	return v.kind == TV_UNDEF || v.kind == TV_NONE ? SLICE_NONE : to_text(r, &v);
}

struct named_format {
	const char *name, *fmt;
};

static int format_moment(struct render *r, struct call *c, const char *variable, const struct named_format *formats, bool needs_time, struct tv *out)
{
	struct moment m;
	struct slice fmt = setting(r, c, "format", variable), tz = setting(r, c, "tz", "TIMEZONE");
	struct buf b = { 0 };
	if (parse_moment(r, &c->args[0], &m) < 0)
		return -E_INVAL;
	if (m.date_only && needs_time)
		return tpl_fail(r, "invalid operation", "filter requires time, but only received a date");
	if (tz.ptr != NULL && !slice_eq_cstr(tz, "original") && !m.date_only && tz_offset(tz, m.t.sec, &m.offset_s) < 0)
		return tpl_fail(r, "invalid operation", "unknown timezone '%.*s'", SLICE_ARG(tz));
	if (fmt.ptr == NULL)
		fmt = SLICE("medium");
	for (; formats->name != NULL; formats++)
		if (slice_eq_cstr(fmt, formats->name)) {
			fmt = slice_from_cstr(formats->fmt);
			break;
		}
	int rc = put_described(r, &b, fmt, &m);
	if (rc == 0)
		*out = tv_str(tpl_keep(r, &b));
	else
		buf_fini(&b);
	return rc;
}

#define ISO "[year]-[month]-[day]T[hour]:[minute]:[second][offset_hour sign:mandatory]:[offset_minute]"

static int filter_dateformat(struct render *r, struct call *c, struct tv *out)
{
	static const struct named_format formats[] = {
		{ "short", "[year]-[month]-[day]" }, { "medium", "[month repr:short] [day padding:none] [year]" },
		{ "long", "[month repr:long] [day padding:none] [year]" }, { "full", "[weekday], [month repr:long] [day padding:none] [year]" }, { NULL },
	};
	return format_moment(r, c, "DATE_FORMAT", formats, false, out);
}

static int filter_timeformat(struct render *r, struct call *c, struct tv *out)
{
	static const struct named_format formats[] = {
		{ "short", "[hour]:[minute]" }, { "medium", "[hour]:[minute]" }, { "long", "[hour]:[minute]:[second]" },
		{ "full", "[hour]:[minute]:[second].[subsecond]" }, { "unix", "[unix_timestamp]" }, { "iso", ISO }, { NULL },
	};
	return format_moment(r, c, "TIME_FORMAT", formats, true, out);
}

static int filter_datetimeformat(struct render *r, struct call *c, struct tv *out)
{
	static const struct named_format formats[] = {
		{ "short", "[year]-[month]-[day] [hour]:[minute]" }, { "medium", "[month repr:short] [day padding:none] [year] [hour]:[minute]" },
		{ "long", "[month repr:long] [day padding:none] [year] [hour]:[minute]:[second]" },
		{ "full", "[weekday], [month repr:long] [day padding:none] [year] [hour]:[minute]:[second].[subsecond]" }, { "unix", "[unix_timestamp]" },
		{ "iso", ISO }, { NULL },
	};
	return format_moment(r, c, "DATETIME_FORMAT", formats, true, out);
}

const struct tpl_builtin TPL_TIME_FILTERS[] = {
	{ "dateformat", filter_dateformat, 1, 1, .kwargs = true }, { "timeformat", filter_timeformat, 1, 1, .kwargs = true },
	{ "datetimeformat", filter_datetimeformat, 1, 1, .kwargs = true }, { NULL },
};
