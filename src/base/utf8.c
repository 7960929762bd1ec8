/* SPDX-License-Identifier: Apache-2.0 */
#include "base/utf8.h"

bool utf8_is_ascii(struct slice s)
{
	size_t i = 0;
	for (uint64_t word; i + 8 <= s.len; i += 8) {
		memcpy(&word, s.ptr + i, 8);
		if (word & 0x8080808080808080)
			return false;
	}
	for (; i < s.len; i++)
		if (s.ptr[i] & 0x80)
			return false;
	return true;
}

/*
 * The length of the sequence at the start of S, or of its longest beginning that could have become valid (at least 1), with *OK
 * saying which (Unicode 3.9, "maximal subpart").
 */
static size_t sequence(struct slice s, uint32_t *cp, bool *ok)
{
	const unsigned char *p = (const unsigned char *)s.ptr;
	unsigned char low = 0x80, high = 0xbf;
	size_t need;
	*ok = false;
	if (p[0] < 0x80) {
		*cp = p[0];
		*ok = true;
		return 1;
	} else if (p[0] >= 0xc2 && p[0] <= 0xdf) {
		need = 1;
		*cp = p[0] & 0x1f;
	} else if (p[0] >= 0xe0 && p[0] <= 0xef) {
		need = 2;
		*cp = p[0] & 0x0f;
		low = p[0] == 0xe0 ? 0xa0 : low;	/* overlong */
		high = p[0] == 0xed ? 0x9f : high;	/* surrogates */
	} else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
		need = 3;
		*cp = p[0] & 0x07;
		low = p[0] == 0xf0 ? 0x90 : low;
		high = p[0] == 0xf4 ? 0x8f : high;	/* beyond U+10FFFF */
	} else {
		return 1;
	}
	for (size_t i = 1; i <= need; i++) {
		if (i >= s.len || p[i] < low || p[i] > high)
			return i;
		*cp = *cp << 6 | (p[i] & 0x3f);
		low = 0x80;
		high = 0xbf;
	}
	*ok = true;
	return need + 1;
}

size_t utf8_decode(struct slice s, uint32_t *cp)
{
	bool ok;
	uint32_t c;
	if (s.len == 0)
		return 0;
	size_t n = sequence(s, &c, &ok);
	if (!ok)
		return 0;
	*cp = c;
	return n;
}

/* Offset of the first byte that begins no valid sequence; s.len when there is none. */
static size_t valid_prefix(struct slice s)
{
	uint32_t cp;
	for (size_t i = 0, n; i < s.len; i += n) {
		if (i + 8 <= s.len && utf8_is_ascii(slice_new(s.ptr + i, 8)))
			n = 8;
		else if ((n = utf8_decode(slice_sub(s, i, SIZE_MAX), &cp)) == 0)
			return i;
	}
	return s.len;
}

bool utf8_valid(struct slice s)
{
	return valid_prefix(s) == s.len;
}

void utf8_put(struct buf *b, uint32_t cp)
{
	if (cp < 0x80) {
		buf_putc(b, (char)cp);
	} else if (cp < 0x800) {
		buf_putc(b, (char)(0xc0 | cp >> 6));
		buf_putc(b, (char)(0x80 | (cp & 0x3f)));
	} else if (cp < 0x10000) {
		buf_putc(b, (char)(0xe0 | cp >> 12));
		buf_putc(b, (char)(0x80 | (cp >> 6 & 0x3f)));
		buf_putc(b, (char)(0x80 | (cp & 0x3f)));
	} else {
		buf_putc(b, (char)(0xf0 | cp >> 18));
		buf_putc(b, (char)(0x80 | (cp >> 12 & 0x3f)));
		buf_putc(b, (char)(0x80 | (cp >> 6 & 0x3f)));
		buf_putc(b, (char)(0x80 | (cp & 0x3f)));
	}
}

void utf8_put_lossy(struct buf *b, struct slice s)
{
	for (;;) {
		size_t good = valid_prefix(s);
		buf_put(b, s.ptr, good);
		s = slice_sub(s, good, SIZE_MAX);
		if (s.len == 0)
			return;
		uint32_t cp;
		bool ok;
		buf_lit(b, "\xef\xbf\xbd");
		s = slice_sub(s, sequence(s, &cp, &ok), SIZE_MAX);
	}
}

size_t utf8_count(struct slice s)
{
	size_t n = 0;
	for (size_t i = 0; i < s.len; i++)
		n += (s.ptr[i] & 0xc0) != 0x80;
	return n;
}
