/* SPDX-License-Identifier: Apache-2.0 */
#include "base/encode.h"

#include "base/err.h"

static const char STD[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char URL[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static bool is_url(enum base64_kind kind)
{
	return kind == BASE64_URL || kind == BASE64_URL_NOPAD;
}

static bool is_padded(enum base64_kind kind)
{
	return kind == BASE64_STD || kind == BASE64_URL;
}

void base64_put(struct buf *b, struct slice in, enum base64_kind kind)
{
	const char *alphabet = is_url(kind) ? URL : STD;
	const unsigned char *p = (const unsigned char *)in.ptr;
	size_t left = in.len;
	buf_reserve(b, (in.len + 2) / 3 * 4);
	char *out = b->ptr + b->len;
	for (; left >= 3; left -= 3, p += 3) {
		*out++ = alphabet[p[0] >> 2];
		*out++ = alphabet[(p[0] & 3) << 4 | p[1] >> 4];
		*out++ = alphabet[(p[1] & 15) << 2 | p[2] >> 6];
		*out++ = alphabet[p[2] & 63];
	}
	if (left > 0) {
		unsigned second = left == 2 ? p[1] : 0;
		*out++ = alphabet[p[0] >> 2];
		*out++ = alphabet[(p[0] & 3) << 4 | second >> 4];
		if (left == 2)
			*out++ = alphabet[(second & 15) << 2];
		for (size_t i = left; i < 3 && is_padded(kind); i++)
			*out++ = '=';
	}
	b->len = (size_t)(out - b->ptr);
}

/* -1: not in the alphabet */
static int digit64(char c, bool url)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == (url ? '-' : '+'))
		return 62;
	if (c == (url ? '_' : '/'))
		return 63;
	return -1;
}

int base64_decode(struct buf *b, struct slice in, enum base64_kind kind)
{
	size_t start = b->len, n = in.len;
	while (is_padded(kind) && in.len - n < 2 && n > 0 && in.ptr[n - 1] == '=')
		n--;
	if (n % 4 == 1 || (is_padded(kind) && in.len % 4 != 0))
		return err_set(E_INVAL, "invalid base64: length %zu is not possible", in.len);
	uint32_t bits = 0;
	buf_reserve(b, n / 4 * 3 + 3);
	for (size_t i = 0; i < n; i++) {
		int d = digit64(in.ptr[i], is_url(kind));
		if (d < 0) {
			b->len = start;
			return err_set(E_INVAL, "invalid base64: byte 0x%02x at offset %zu", (unsigned char)in.ptr[i], i);
		}
		bits = bits << 6 | (uint32_t)d;
		if (i % 4 != 0)
			b->ptr[b->len++] = (char)(bits >> (6 - i % 4 * 2));
	}
	unsigned loose = n % 4 == 2 ? 15 : n % 4 == 3 ? 3 : 0;
	if ((bits & loose) != 0) {	/* two texts for one value: refuse */
		b->len = start;
		return err_set(E_INVAL, "invalid base64: bits left over at the end");
	}
	return 0;
}

void base64_decode_lenient(struct buf *b, struct slice in)
{
	uint32_t bits = 0;
	size_t n = 0;
	buf_reserve(b, in.len / 4 * 3 + 3);
	for (size_t i = 0; i < in.len; i++) {
		int d = digit64(in.ptr[i], false);
		if (d < 0)
			continue;
		bits = bits << 6 | (uint32_t)d;
		if (n % 4 != 0)
			b->ptr[b->len++] = (char)(bits >> (6 - n % 4 * 2));
		n++;
	}
}

static const char HEX_LOWER[] = "0123456789abcdef", HEX_UPPER[] = "0123456789ABCDEF";

void hex_put(struct buf *b, struct slice in, bool upper)
{
	const char *digits = upper ? HEX_UPPER : HEX_LOWER;
	buf_reserve(b, in.len * 2);
	for (size_t i = 0; i < in.len; i++) {
		b->ptr[b->len++] = digits[(unsigned char)in.ptr[i] >> 4];
		b->ptr[b->len++] = digits[in.ptr[i] & 15];
	}
}

static int digit16(char c)
{
	if (ascii_is_digit(c))
		return c - '0';
	c = ascii_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte of two digits, or -1. */
static int hex_byte(const char *p)
{
	int high = digit16(p[0]), low = digit16(p[1]);
	return high < 0 || low < 0 ? -1 : high << 4 | low;
}

int hex_decode(struct buf *b, struct slice in)
{
	size_t start = b->len;
	if (in.len % 2 != 0)
		return err_set(E_INVAL, "invalid hex: odd number of digits");
	buf_reserve(b, in.len / 2);
	for (size_t i = 0; i < in.len; i += 2) {
		int byte = hex_byte(in.ptr + i);
		if (byte < 0) {
			b->len = start;
			return err_set(E_INVAL, "invalid hex at offset %zu", i);
		}
		b->ptr[b->len++] = (char)byte;
	}
	return 0;
}

void percent_put(struct buf *b, struct slice in, const char *keep)
{
	for (size_t i = 0; i < in.len; i++) {
		char c = in.ptr[i];
		if (ascii_is_alnum(c) || (c != '\0' && strchr(keep, c) != NULL)) {
			buf_putc(b, c);
		} else {
			buf_putc(b, '%');
			hex_put(b, slice_new(&c, 1), true);
		}
	}
}

int percent_decode(struct buf *b, struct slice in)
{
	size_t start = b->len;
	for (size_t i = 0; i < in.len; i++) {
		int byte = (unsigned char)in.ptr[i];
		if (byte == '%') {
			byte = i + 2 < in.len ? hex_byte(in.ptr + i + 1) : -1;
			if (byte < 0) {
				b->len = start;
				return err_set(E_INVAL, "invalid percent encoding at offset %zu", i);
			}
			i += 2;
		}
		buf_putc(b, (char)byte);
	}
	return 0;
}
