/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <iconv.h>
#include <uchardet/uchardet.h>
#include "base/utf8.h"
#include "codec/charset.h"

/* Names that mail uses and iconv does not know, or means something narrower by. */
static const struct { const char *mail, *iconv; } ALIASES[] = {
	{ "utf8", "UTF-8" }, { "utf-8", "UTF-8" }, { "us-ascii", "UTF-8" }, { "ascii", "UTF-8" },
	{ "x-sjis", "CP932" }, { "shift_jis", "CP932" }, { "shift-jis", "CP932" }, { "sjis", "CP932" }, { "windows-31j", "CP932" },
	{ "iso-8859-1", "CP1252" }, { "latin1", "CP1252" }, { "iso-8859-9", "CP1254" }, { "iso-8859-8-i", "ISO-8859-8" },
	{ "ks_c_5601-1987", "CP949" }, { "ks_c_5601", "CP949" }, { "euc-kr", "CP949" },
	{ "gb2312", "GB18030" }, { "gbk", "GB18030" }, { "gb_2312-80", "GB18030" }, { "x-gbk", "GB18030" },
	{ "cp-850", "CP850" }, { "x-mac-cyrillic", "MAC-CYRILLIC" }, { "x-mac-roman", "MACINTOSH" }, { "iso-2022-jp", "ISO-2022-JP-2" },
};

/* What iconv calls it; NULL for what is no name. TEXT is room for it. */
static const char *iconv_name(struct slice name, char text[64])
{
	if (name.len == 0 || name.len >= 64)
		return NULL;
	for (size_t i = 0; i < name.len; i++) {
		if (name.ptr[i] <= ' ' || name.ptr[i] > '~' || name.ptr[i] == '/')	/* "//TRANSLIT" is not the sender's to choose */
			return NULL;
		text[i] = name.ptr[i];
	}
	text[name.len] = '\0';
	/* UTF-7 hides what a text says from whoever scans it */
	if (slice_find_nocase(name, SLICE("utf-7")) >= 0 || slice_eq_nocase(name, SLICE("utf7")))
		return NULL;
	for (size_t i = 0; i < ARRAY_LEN(ALIASES); i++)
		if (slice_eq_nocase(name, slice_from_cstr(ALIASES[i].mail)))
			return ALIASES[i].iconv;
	return text;
}

static bool open_charset(struct slice name, iconv_t *cd, bool *utf8)
{
	char text[64];
	const char *known = iconv_name(name, text);
	if (!known)
		return false;
	*utf8 = strcmp(known, "UTF-8") == 0;
	if (*utf8)
		return true;
	*cd = iconv_open("UTF-8", known);
	return *cd != (iconv_t)-1;
}

bool charset_known(struct slice name)
{
	iconv_t cd = NULL;
	bool utf8;
	if (!open_charset(name, &cd, &utf8))
		return false;
	if (!utf8)
		iconv_close(cd);
	return true;
}

/* Converts; at a byte that is no text of the charset, puts U+FFFD and goes on, or (STRICT) stops and says false. */
static bool convert(iconv_t cd, struct slice in, struct buf *out, bool strict)
{
	char *from = (char *)in.ptr;
	size_t left = in.len;
	while (left > 0) {
		buf_reserve(out, left * 4 + 16);
		char *to = out->ptr + out->len;
		size_t room = out->cap - out->len, before = room;
		size_t rc = iconv(cd, &from, &left, &to, &room);
		int error = errno;
		out->len += before - room;
		if (rc != (size_t)-1 || error == E2BIG)
			continue;
		if (strict)
			return false;
		utf8_put(out, 0xfffd);
		if (error == EINVAL)	/* cut off at the end */
			break;
		from++;
		left--;
	}
	return true;
}

/*
 * Windows writes its own characters (NEC's row 13: a numero sign, circled digits) into ISO-2022-JP, where iconv refuses them, and reads a
 * few others as browsers do; in EUC-JP-MS it does as Windows. Both code the same rows and cells: only the shifts differ.
 */
enum jis_set { JIS_ROMAN, JIS_KANA, JIS_KANJI };

static bool jis_shift(struct slice *rest, enum jis_set *set)
{
	static const struct {
		struct slice escape;
		enum jis_set set;
	} SHIFTS[] = {
		{ SLICE_INIT("\033(B"), JIS_ROMAN }, { SLICE_INIT("\033(J"), JIS_ROMAN }, { SLICE_INIT("\033(I"), JIS_KANA },
		{ SLICE_INIT("\033$B"), JIS_KANJI }, { SLICE_INIT("\033$@"), JIS_KANJI },
	};

	for (size_t i = 0; i < ARRAY_LEN(SHIFTS); i++) {
		if (slice_starts(*rest, SHIFTS[i].escape)) {
			*rest = slice_sub(*rest, SHIFTS[i].escape.len, SIZE_MAX);
			*set = SHIFTS[i].set;
			return true;
		}
	}
	return false;
}

static bool jis_to_euc(struct slice rest, struct buf *out)
{
	enum jis_set set = JIS_ROMAN;

	while (rest.len > 0) {
		if (jis_shift(&rest, &set))
			continue;
		size_t n = set == JIS_KANJI && rest.ptr[0] > ' ' ? 2 : 1;
		if (rest.len < n || rest.ptr[0] & 0x80 || rest.ptr[0] == '\033')
			return false;
		if (set == JIS_KANA && rest.ptr[0] > ' ')
			buf_putc(out, '\216');
		for (size_t i = 0; i < n; i++)
			buf_putc(out, set == JIS_ROMAN || rest.ptr[0] <= ' ' ? rest.ptr[i] : (char)(rest.ptr[i] | 0x80));
		rest = slice_sub(rest, n, SIZE_MAX);
	}
	return true;
}

static bool convert_jis(struct slice in, struct buf *out)
{
	struct buf euc = { 0 };
	iconv_t cd = iconv_open("UTF-8", "EUC-JP-MS");
	bool ok = cd != (iconv_t)-1 && jis_to_euc(in, &euc) && convert(cd, buf_view(&euc), out, true);
	if (cd != (iconv_t)-1)
		iconv_close(cd);
	buf_fini(&euc);
	return ok;
}

int charset_to_utf8(struct slice charset, struct slice in, struct buf *out)
{
	iconv_t cd = NULL;
	size_t start = out->len;
	bool utf8, ok;
	if (!open_charset(charset, &cd, &utf8))
		return err_set(E_INVAL, "unsupported charset '%.*s'", (int)MIN(charset.len, 64), charset.ptr);
	if (utf8) {
		ok = utf8_valid(in);
		if (ok)
			buf_slice(out, in);
	} else {
		ok = slice_eq_nocase(charset, SLICE("iso-2022-jp")) && convert_jis(in, out);
		if (!ok) {
			buf_truncate(out, start);
			ok = convert(cd, in, out, true);
		}
		iconv_close(cd);
	}
	if (ok)
		return 0;
	buf_truncate(out, start);
	return err_set(E_INVAL, "the text is not in charset '%.*s'", (int)MIN(charset.len, 64), charset.ptr);
}

int charset_from_utf8(struct slice charset, struct slice in, bool strict, struct buf *out)
{
	char text[64];
	size_t start = out->len;
	iconv_t cd = NULL;
	bool utf8;
	if (!open_charset(charset, &cd, &utf8))
		return err_set(E_INVAL, "unsupported charset '%.*s'", (int)MIN(charset.len, 64), charset.ptr);
	if (utf8) {
		buf_slice(out, in);
		return 0;
	}
	iconv_close(cd);
	cd = iconv_open(iconv_name(charset, text), "UTF-8");
	if (cd == (iconv_t)-1)
		return err_set(E_INVAL, "unsupported charset '%.*s'", (int)MIN(charset.len, 64), charset.ptr);
	char *from = (char *)in.ptr;
	size_t left = in.len;
	bool ok = true;
	while (ok && left > 0) {
		buf_reserve(out, left * 4 + 16);
		char *to = out->ptr + out->len;
		size_t room = out->cap - out->len, before = room, rc = iconv(cd, &from, &left, &to, &room);
		int error = errno;
		uint32_t cp = 0xfffd;
		out->len += before - room;
		if (rc != (size_t)-1 || error == E2BIG)
			continue;
		size_t n = MAX(utf8_decode(slice_new(from, left), &cp), (size_t)1);
		ok = !strict;
		if (ok)
			buf_printf(out, "&#%u;", cp);
		from += n;
		left -= n;
	}
	char shift[16], *to = shift;	/* back to the initial shift state */
	size_t room = sizeof shift;
	if (ok && iconv(cd, NULL, NULL, &to, &room) != (size_t)-1)
		buf_put(out, shift, sizeof shift - room);
	iconv_close(cd);
	if (ok)
		return 0;
	buf_truncate(out, start);
	return err_set(E_INVAL, "the text has characters that are not in charset '%.*s'", (int)MIN(charset.len, 64), charset.ptr);
}

bool charset_guess(struct slice in, char name[32])
{
	uchardet_t ud = uchardet_new();
	bool ok = false;
	if (uchardet_handle_data(ud, in.ptr, in.len) == 0) {
		uchardet_data_end(ud);
		const char *found = uchardet_get_charset(ud);
		size_t n = strlen(found);
		if (n > 0 && n < 32) {
			memcpy(name, found, n + 1);
			ok = true;
		}
	}
	uchardet_delete(ud);
	return ok;
}
