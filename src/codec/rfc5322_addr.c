/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses, message ids and dates (RFC 5322 3.3, 3.4, 3.6.4, 4.4). */
#include "base/timefmt.h"
#include "codec/rfc5322_int.h"

/* words, encoded words and dots, divided by one blank each */
static bool lex_phrase(struct scan *s, struct buf *out)
{
	size_t len;
	if (!lex_encoded_word(s, out) && !lex_word(s, out))
		return false;
	for (;;) {
		if (lex_cfws(s))
			continue;
		len = out->len;
		buf_putc(out, ' ');
		if (lex_encoded_word(s, out) || lex_word(s, out))
			continue;
		if (s->p < s->end && *s->p == '.') {
			s->p++;
			buf_putc(out, '.');
			continue;
		}
		buf_truncate(out, len);
		return true;
	}
}

static bool addr_spec(struct scan *s, struct val *out)
{
	const char *start = s->p;
	struct buf local = { 0 }, domain = { 0 };
	bool ok = lex_local_part(s, &local) && lex_char(s, '@') && lex_domain(s, &domain);
	if (ok) {
		*out = val_obj();
		val_put_lit(s->a, out, "local_part", val_str(s->a, buf_view(&local)));
		val_put_lit(s->a, out, "domain", val_str(s->a, buf_view(&domain)));
	} else {
		s->p = start;
	}
	buf_fini(&local);
	buf_fini(&domain);
	return ok;
}

/* The obsolete source route in front of an address in brackets. */
static bool obs_route(struct scan *s)
{
	const char *start = s->p;
	while (lex_cfws(s) || lex_char(s, ','))
		;
	if (lex_char(s, '@') && lex_domain(s, NULL)) {
		while (lex_char(s, ',')) {
			lex_cfws(s);
			if (lex_char(s, '@') && !lex_domain(s, NULL))
				break;
		}
		if (lex_char(s, ':'))
			return true;
	}
	s->p = start;
	return false;
}

static bool angle_addr(struct scan *s, struct val *out)
{
	const char *start = s->p;
	lex_cfws(s);
	if (lex_char(s, '<')) {
		if (!addr_spec(s, out) && obs_route(s) && !addr_spec(s, out))
			*out = val_null();
		if (out->type == VAL_OBJ && lex_char(s, '>')) {
			lex_cfws(s);
			return true;
		}
	}
	s->p = start;
	return false;
}

static struct val make_mailbox(struct scan *s, bool has_name, struct buf *name, struct val address)
{
	struct val v = val_obj();
	if (has_name)
		val_put_lit(s->a, &v, "name", val_str(s->a, buf_view(name)));
	val_put_lit(s->a, &v, "address", address);
	return v;
}

static bool mailbox(struct scan *s, struct val *out)
{
	const char *start = s->p;
	struct buf name = { 0 };
	struct val addr = val_null();
	bool has_name = lex_phrase(s, &name);
	bool ok = angle_addr(s, &addr);
	if (!ok) {
		s->p = start;
		has_name = false;
		ok = addr_spec(s, &addr);
	}
	if (ok)
		*out = make_mailbox(s, has_name, &name, addr);
	buf_fini(&name);
	return ok;
}

static bool any_list(struct scan *s, bool (*item)(struct scan *, struct val *), struct val *out);

static bool group(struct scan *s, struct val *out)
{
	const char *start = s->p;
	struct buf name = { 0 };
	struct val entries = val_list();
	bool ok = lex_phrase(s, &name) && lex_char(s, ':');
	if (ok) {
		if (!any_list(s, mailbox, &entries))
			while (lex_cfws(s) || lex_char(s, ','))
				;
		ok = lex_char(s, ';');
	}
	if (ok) {
		lex_cfws(s);
		*out = val_obj();
		val_put_lit(s->a, out, "name", val_str(s->a, buf_view(&name)));
		val_put_lit(s->a, out, "entries", entries);
	} else {
		s->p = start;
	}
	buf_fini(&name);
	return ok;
}

static bool address(struct scan *s, struct val *out)
{
	return mailbox(s, out) || group(s, out);
}

static void skip_commas(struct scan *s)
{
	for (;;) {
		const char *start = s->p;
		lex_cfws(s);
		if (!lex_char(s, ',')) {
			s->p = start;
			return;
		}
	}
}

/* ITEM *("," ITEM). Only where the first is no item: the obsolete list with empty places. */
static bool any_list(struct scan *s, bool (*item)(struct scan *, struct val *), struct val *out)
{
	const char *start = s->p, *comma;
	struct val v;
	bool obs = false;

	if (!item(s, &v)) {
		obs = true;
		skip_commas(s);
		if (!item(s, &v)) {
			s->p = start;
			return false;
		}
	}
	val_push(s->a, out, v);
	for (;;) {
		comma = s->p;
		if (lex_char(s, ',')) {
			if (item(s, &v)) {
				val_push(s->a, out, v);
				continue;
			}
			if (obs && lex_cfws(s))
				continue;
		} else if (obs) {
			skip_commas(s);
			if (item(s, &v)) {
				val_push(s->a, out, v);
				continue;
			}
		}
		s->p = comma;
		return true;
	}
}

int mail_parse_mailbox(struct slice value, struct arena *a, struct val *out)
{
	struct scan s = scan_new(value, a);
	return scan_finish(&s, mailbox(&s, out));
}

int mail_parse_mailbox_list(struct slice value, struct arena *a, struct val *out)
{
	struct scan s = scan_new(value, a);
	*out = val_list();
	return scan_finish(&s, any_list(&s, mailbox, out));
}

int mail_parse_address_list(struct slice value, struct arena *a, struct val *out)
{
	struct scan s = scan_new(value, a);
	*out = val_list();
	return scan_finish(&s, any_list(&s, address, out));
}

static bool id_right(struct scan *s, struct buf *out)
{
	const char *start = s->p;
	if (lex_dot_atom_text(s, out))
		return true;
	s->p = start;
	return lex_domain(s, out);
}

static bool strict_id(struct scan *s, struct buf *out)
{
	const char *start = s->p;
	if (lex_dot_atom_text(s, out) && s->p < s->end && *s->p == '@') {
		s->p++;
		buf_putc(out, '@');
		if (id_right(s, out) && lex_char(s, '>'))
			return true;
	}
	s->p = start;
	buf_clear(out);
	if (lex_local_part(s, out) && lex_char(s, '@')) {
		buf_putc(out, '@');
		if (id_right(s, out) && lex_char(s, '>'))
			return true;
	}
	s->p = start;
	buf_clear(out);
	return false;
}

static bool message_id(struct scan *s, struct val *out)
{
	const char *start = s->p;
	struct buf id = { 0 };
	bool ok;
	lex_cfws(s);
	ok = lex_char(s, '<');
	if (ok && !strict_id(s, &id)) {
		/* whatever stands between the brackets */
		const char *q = s->p;
		while (q < s->end && *q != '<' && *q != '>')
			q++;
		buf_put(&id, s->p, q - s->p);
		s->p = q;
		ok = lex_char(s, '>');
	}
	if (ok) {
		lex_cfws(s);
		*out = val_str(s->a, buf_view(&id));
	} else {
		s->p = start;
	}
	buf_fini(&id);
	return ok;
}

int mail_parse_message_id(struct slice value, struct arena *a, struct val *out)
{
	struct scan s = scan_new(value, a);
	return scan_finish(&s, message_id(&s, out));
}

int mail_parse_message_id_list(struct slice value, struct arena *a, struct val *out)
{
	struct scan s = scan_new(value, a);
	struct val v;
	bool any = false;
	*out = val_list();
	while (message_id(&s, &v)) {
		val_push(a, out, v);
		any = true;
	}
	return scan_finish(&s, any);
}

/* The words of a date, without comments, one blank between them. */
static void plain_date(struct slice value, struct buf *plain)
{
	struct scan s = scan_new(value, NULL);
	while (s.p < s.end) {
		if (lex_cfws(&s)) {
			if (plain->len > 0)
				buf_putc(plain, ' ');
			continue;
		}
		buf_putc(plain, *s.p++);
	}
}

int32_t mail_date_zone(struct slice value)
{
	static const struct { const char *name; int hours; } NAMED[] = {
		{ "EST", -5 }, { "EDT", -4 }, { "CST", -6 }, { "CDT", -5 }, { "MST", -7 }, { "MDT", -6 }, { "PST", -8 }, { "PDT", -7 },
	};
	struct buf plain = { 0 };
	int32_t zone = 0;
	uint64_t n;
	plain_date(value, &plain);
	struct slice s = slice_trim(buf_view(&plain));
	struct slice word = slice_sub(s, slice_rchr(s, ' ') + 1, SIZE_MAX);
	if (word.len == 5 && (word.ptr[0] == '+' || word.ptr[0] == '-') && slice_to_u64(slice_sub(word, 1, 4), &n) == 0)
		zone = (int32_t)(n / 100 * 3600 + n % 100 * 60) * (word.ptr[0] == '-' ? -1 : 1);
	for (size_t i = 0; i < ARRAY_LEN(NAMED); i++)
		if (slice_eq_nocase(word, slice_from_cstr(NAMED[i].name)))
			zone = NAMED[i].hours * 3600;
	buf_fini(&plain);
	return zone;
}

int mail_parse_date(struct slice value, int64_t *us)
{
	struct buf plain = { 0 };
	plain_date(value, &plain);
	int rc = time_parse_rfc2822(slice_trim(buf_view(&plain)), us);
	buf_fini(&plain);
	return rc;
}
