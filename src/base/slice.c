/* SPDX-License-Identifier: Apache-2.0 */
#include "base/slice.h"

#include <pthread.h>

#include "base/err.h"
#include "base/rand.h"

static bool fold_eq(const char *a, const char *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (ascii_lower(a[i]) != ascii_lower(b[i]))
			return false;
	return true;
}

bool slice_eq_nocase(struct slice a, struct slice b)
{
	return a.len == b.len && fold_eq(a.ptr, b.ptr, a.len);
}

int slice_cmp(struct slice a, struct slice b)
{
	size_t n = MIN(a.len, b.len);
	int rc = n > 0 ? memcmp(a.ptr, b.ptr, n) : 0;
	return rc != 0 ? rc : (a.len > b.len) - (a.len < b.len);
}

bool slice_starts(struct slice s, struct slice prefix)
{
	return s.len >= prefix.len && slice_eq(slice_new(s.ptr, prefix.len), prefix);
}

bool slice_ends(struct slice s, struct slice suffix)
{
	return s.len >= suffix.len && slice_eq(slice_new(s.ptr + (s.len - suffix.len), suffix.len), suffix);
}

bool slice_starts_nocase(struct slice s, struct slice prefix)
{
	return s.len >= prefix.len && fold_eq(s.ptr, prefix.ptr, prefix.len);
}

bool slice_ends_nocase(struct slice s, struct slice suffix)
{
	return s.len >= suffix.len && fold_eq(s.ptr + (s.len - suffix.len), suffix.ptr, suffix.len);
}

ptrdiff_t slice_chr(struct slice s, char c)
{
	const char *p = s.len > 0 ? memchr(s.ptr, c, s.len) : NULL;
	return p != NULL ? p - s.ptr : -1;
}

ptrdiff_t slice_rchr(struct slice s, char c)
{
	const char *p = s.len > 0 ? memrchr(s.ptr, c, s.len) : NULL;
	return p != NULL ? p - s.ptr : -1;
}

ptrdiff_t slice_find(struct slice s, struct slice needle)
{
	if (needle.len == 0)
		return 0;
	const char *p = s.len >= needle.len ? memmem(s.ptr, s.len, needle.ptr, needle.len) : NULL;
	return p != NULL ? p - s.ptr : -1;
}

ptrdiff_t slice_find_nocase(struct slice s, struct slice needle)
{
	if (needle.len == 0)
		return 0;
	for (size_t i = 0; i + needle.len <= s.len; i++)
		if (fold_eq(s.ptr + i, needle.ptr, needle.len))
			return (ptrdiff_t)i;
	return -1;
}

struct slice slice_sub(struct slice s, size_t from, size_t len)
{
	from = MIN(from, s.len);
	return slice_new(from > 0 ? s.ptr + from : s.ptr, MIN(len, s.len - from));
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct slice slice_trim_start(struct slice s)
{
	while (s.len > 0 && is_blank(*s.ptr)) {
		s.ptr++;
		s.len--;
	}
	return s;
}

struct slice slice_trim_end(struct slice s)
{
	while (s.len > 0 && is_blank(s.ptr[s.len - 1]))
		s.len--;
	return s;
}

struct slice slice_trim(struct slice s)
{
	return slice_trim_end(slice_trim_start(s));
}

bool slice_split_next(struct slice *rest, char sep, struct slice *part)
{
	if (rest->ptr == NULL)
		return false;
	ptrdiff_t at = slice_chr(*rest, sep);
	if (at < 0) {
		*part = *rest;
		*rest = SLICE_NONE;
	} else {
		*part = slice_new(rest->ptr, (size_t)at);
		*rest = slice_sub(*rest, (size_t)at + 1, SIZE_MAX);
	}
	return true;
}

static uint64_t hash_key[2];
static pthread_once_t hash_once = PTHREAD_ONCE_INIT;

static void hash_seed(void)
{
	rand_bytes(hash_key, sizeof hash_key);
}

static inline uint64_t rotl(uint64_t x, int by)
{
	return x << by | x >> (64 - by);
}

static inline void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = rotl(v[1], 13) ^ v[0];
	v[0] = rotl(v[0], 32);
	v[2] += v[3];
	v[3] = rotl(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotl(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotl(v[1], 17) ^ v[2];
	v[2] = rotl(v[2], 32);
}

static inline void sip_word(uint64_t v[4], uint64_t word)
{
	v[3] ^= word;
	sip_round(v);
	v[0] ^= word;
}

/* SipHash (Aumasson, Bernstein 2012) with one round a word and three at the end. */
uint64_t slice_hash(struct slice s)
{
	pthread_once(&hash_once, hash_seed);
	uint64_t v[4] = { hash_key[0] ^ 0x736f6d6570736575, hash_key[1] ^ 0x646f72616e646f6d,
		hash_key[0] ^ 0x6c7967656e657261, hash_key[1] ^ 0x7465646279746573 };
	uint64_t word;
	size_t i = 0;
	for (; i + 8 <= s.len; i += 8) {
		memcpy(&word, s.ptr + i, 8);
		sip_word(v, word);
	}
	word = 0;
	if (i < s.len)
		memcpy(&word, s.ptr + i, s.len - i);
	sip_word(v, word | (uint64_t)s.len << 56);
	v[2] ^= 0xff;
	for (int n = 0; n < 3; n++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

int slice_to_u64(struct slice s, uint64_t *out)
{
	uint64_t n = 0;
	if (s.len == 0)
		return -E_INVAL;
	for (size_t i = 0; i < s.len; i++) {
		if (!ascii_is_digit(s.ptr[i]))
			return -E_INVAL;
		if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, (uint64_t)(s.ptr[i] - '0'), &n))
			return -E_INVAL;
	}
	*out = n;
	return 0;
}

int slice_to_i64(struct slice s, int64_t *out)
{
	bool negative = s.len > 0 && s.ptr[0] == '-';
	uint64_t n;
	if (slice_to_u64(negative ? slice_sub(s, 1, SIZE_MAX) : s, &n) < 0)
		return -E_INVAL;
	if (n > (uint64_t)INT64_MAX + negative)
		return -E_INVAL;
	*out = negative ? (int64_t)(0 - n) : (int64_t)n;
	return 0;
}
