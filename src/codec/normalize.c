/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/normalize.h"
#include <ctype.h>
#include "base/addr.h"
#include "base/timefmt.h"
#include "base/uuid.h"

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f';
}

static size_t digits_at(struct slice s, size_t i)
{
	size_t n = 0;
	while (i + n < s.len && ascii_is_digit(s.ptr[i + n]))
		n++;
	return n;
}

/* --- durations ------------------------------------------------------------------------------------------------------ */

/* "11s" at I: its length; 0 when there is none. */
static size_t amount_at(struct slice s, size_t i)
{
	static const char *const units[] = { "ns", "us", "ms", "month", "s", "m", "h", "day", "year" };
	size_t n = digits_at(s, i);
	if (n == 0)
		return 0;
	for (size_t u = 0; u < ARRAY_LEN(units); u++) {
		size_t len = strlen(units[u]);
		if (!slice_starts(slice_sub(s, i + n, SIZE_MAX), slice_from_cstr(units[u])))
			continue;
		size_t end = i + n + len;
		if (end == s.len || !(ascii_is_alnum(s.ptr[end]) || s.ptr[end] == '_' || (unsigned char)s.ptr[end] >= 0x80))
			return n + len;
	}
	return 0;
}

/* "11s 999ms" at I, where a word begins. */
static size_t duration_at(struct slice s, size_t i)
{
	size_t n = amount_at(s, i);
	for (size_t end = i + n; n; n = end - i) {
		size_t next = end;
		while (next < s.len && is_space(s.ptr[next]))
			next++;
		size_t more = next > end ? amount_at(s, next) : 0;
		if (!more)
			return n;
		end = next + more;
	}
	return 0;
}

/* P1Y2M3DT4H5M6S */
static bool is_iso_duration(struct slice s)
{
	const char *units = "YMWD";
	bool time = false;
	if (s.len == 0 || s.ptr[0] != 'P')
		return false;
	for (size_t i = 1; i < s.len;) {
		if (s.ptr[i] == 'T' && !time) {
			time = true;
			units = "HMS";
			i++;
			continue;
		}
		size_t n = digits_at(s, i);
		if (n == 0)
			return false;
		i += n;
		if (i < s.len && s.ptr[i] == '.') {
			n = digits_at(s, i + 1);
			if (n == 0)
				return false;
			i += n + 1;
		}
		const char *u = i < s.len && s.ptr[i] ? strchr(units, s.ptr[i]) : NULL;
		if (!u)
			return false;
		units = u + 1;
		i++;
	}
	return true;
}

/* --- words ---------------------------------------------------------------------------------------------------------- */

/* Letters only: all small, all capital, or capital first. */
static bool is_ordinary(struct slice s)
{
	size_t upper = 0;
	for (size_t i = 0; i < s.len; i++) {
		if (!ascii_is_alpha(s.ptr[i]))
			return false;
		upper += s.ptr[i] <= 'Z';
	}
	return upper == 0 || upper == s.len || (upper == 1 && s.ptr[0] <= 'Z');
}

static bool is_uuid(struct slice s)
{
	struct uuid u;
	return (s.len == 32 || s.len == 36 || s.len == 38 || s.len == 45) && uuid_parse(s, &u) == 0;
}

static bool is_hash(struct slice s)
{
	size_t letters = 0, digits = 0;
	for (size_t i = 0; i < s.len; i++) {
		if (ascii_is_alpha(s.ptr[i]))
			letters++;
		else if (ascii_is_digit(s.ptr[i]))
			digits++;
		else if (s.ptr[i] != '-' && s.ptr[i] != '.' && s.ptr[i] != '_')
			return false;
	}
	return s.len >= 8 && letters > 2 && digits > 2;
}

static bool is_ipv4(struct slice s)
{
	for (int part = 0; part < 4; part++) {
		size_t n = digits_at(s, 0);
		if (n < 1 || n > 3 || (part < 3 && (n >= s.len || s.ptr[n] != '.')))
			return false;
		s = slice_sub(s, n + (part < 3), SIZE_MAX);
	}
	return s.len == 0;
}

static bool is_ip(struct slice s)
{
	struct ipaddr ip;
	ptrdiff_t colon = slice_rchr(s, ':');
	if (is_ipv4(s))
		return true;
	if (colon < 0)
		return false;
	if (s.ptr[0] != '[' && ipaddr_parse(s, &ip) == 0)
		return true;
	size_t port = digits_at(s, (size_t)colon + 1);
	if (port < 1 || port > 5 || (size_t)colon + 1 + port != s.len)
		return false;
	struct slice host = slice_sub(s, 0, (size_t)colon);
	return is_ipv4(host) || (host.len && host.ptr[0] != '[' && ipaddr_parse(host, &ip) == 0);
}

static bool is_base64(struct slice s)
{
	size_t pad = 0;
	while (pad < 2 && pad < s.len && s.ptr[s.len - 1 - pad] == '=')
		pad++;
	if (s.len < 4 || s.len % 4 || (pad && s.len < 8))
		return false;
	for (size_t i = 0; i < s.len - pad; i++)
		if (!ascii_is_alnum(s.ptr[i]) && !(s.ptr[i] && strchr("+/_-", s.ptr[i])))
			return false;
	return true;
}

/* A small-lettered address with a dotted domain. */
static bool is_email(struct slice s)
{
	ptrdiff_t at = slice_rchr(s, '@');
	if (at < 1)
		return false;
	struct slice local = slice_sub(s, 0, (size_t)at), domain = slice_sub(s, (size_t)at + 1, SIZE_MAX), label;
	bool quoted = local.len >= 2 && local.ptr[0] == '"' && local.ptr[local.len - 1] == '"';
	for (size_t i = 0; i < local.len && !quoted; i++) {
		char c = local.ptr[i];
		bool dot = c == '.' && i > 0 && i + 1 < local.len && local.ptr[i - 1] != '.';
		if (!dot && !(c >= 'a' && c <= 'z') && !ascii_is_digit(c) && !(c && strchr("!#$%&'*+/=?^_`{|}~-", c)))
			return false;
	}
	int labels = 0;
	for (; slice_split_next(&domain, '.', &label); labels++) {
		if (label.len == 0 || label.ptr[0] == '-' || label.ptr[label.len - 1] == '-')
			return false;
		for (size_t i = 0; i < label.len; i++)
			if (!(label.ptr[i] >= 'a' && label.ptr[i] <= 'z') && !ascii_is_digit(label.ptr[i]) && label.ptr[i] != '-')
				return false;
	}
	return labels >= 2;
}

static void put_word(struct buf *b, struct slice w, int depth)
{
	int64_t us;
	ptrdiff_t eq = slice_chr(w, '=');
	if (is_ordinary(w))
		buf_slice(b, w);
	else if (is_iso_duration(w))
		buf_lit(b, "{duration}");
	else if (w.len >= 20 && time_parse_rfc3339(w, &us) == 0)
		buf_lit(b, "{timestamp}");
	else if (is_uuid(w))
		buf_lit(b, "{uuid}");
	else if (is_hash(w))
		buf_lit(b, "{hash}");
	else if (is_ip(w))
		buf_lit(b, "{ipaddr}");
	else if (is_base64(w))
		buf_lit(b, "{base64}");
	else if (is_email(w))
		buf_lit(b, "{email}");
	else if (eq >= 0 && depth < 8) {
		buf_put(b, w.ptr, (size_t)eq + 1);
		put_word(b, slice_sub(w, (size_t)eq + 1, SIZE_MAX), depth + 1);
	} else {
		buf_slice(b, w);
	}
}

/* Brackets around words become blanks: "[10.0.0.1]" is then a word of its own. */
static void open_brackets(struct buf *out, struct slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i], next = i + 1 < s.len ? s.ptr[i + 1] : 0;
		if ((is_space(c) || out->len == 0) && next && strchr("[({", next)) {
			i++;
			buf_putc(out, ' ');
		} else if (c && strchr("])}", c) && (!next || is_space(next) || ispunct((unsigned char)next))) {
			i++;
			buf_putc(out, ' ');
		} else {
			buf_putc(out, c);
		}
	}
}

void normalize_smtp_response(struct buf *b, struct slice text)
{
	struct buf open = { 0 };
	bool brackets = slice_chr(text, '[') >= 0 || slice_chr(text, '(') >= 0 || slice_chr(text, '{') >= 0;
	if (brackets) {
		open_brackets(&open, text);
		text = buf_view(&open);
	}
	bool first = true;
	for (size_t i = 0; i < text.len;) {
		if (is_space(text.ptr[i])) {
			i++;
			continue;
		}
		size_t end = i, span = duration_at(text, i);
		while (end < text.len && !is_space(text.ptr[end]))
			end++;
		if (!first)
			buf_putc(b, ' ');
		first = false;
		if (span) {
			buf_lit(b, "{duration}");
			i += span;
			if (i < text.len && !is_space(text.ptr[i]))	/* "5s," keeps its comma */
				for (; i < end; i++)
					buf_putc(b, text.ptr[i]);
		} else {
			put_word(b, slice_sub(text, i, end - i), 0);
			i = end;
		}
	}
	buf_fini(&open);
}
