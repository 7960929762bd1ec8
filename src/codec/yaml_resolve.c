/* SPDX-License-Identifier: Apache-2.0 */
/* YAML 1.2's core schema, with the liberties that upstream takes. */
#include <math.h>
#include <stdlib.h>

#include "codec/yaml_int.h"

static bool is_one_of(struct slice s, const char *const *words)
{
	for (; *words != NULL; words++)
		if (slice_eq_cstr(s, *words))
			return true;
	return false;
}

static bool parse_base(struct slice s, unsigned base, uint64_t *out)
{
	uint64_t n = 0;
	if (s.len == 0)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		char c = ascii_lower(s.ptr[i]);
		unsigned d = ascii_is_digit(c) ? (unsigned)(c - '0') : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10 : 99;
		if (d >= base || __builtin_mul_overflow(n, (uint64_t)base, &n) || __builtin_add_overflow(n, (uint64_t)d, &n))
			return false;
	}
	*out = n;
	return true;
}

static bool parse_unsigned(struct slice s, uint64_t *out)
{
	if (slice_starts(s, SLICE("0x")))
		return parse_base(slice_sub(s, 2, SIZE_MAX), 16, out);
	if (slice_starts(s, SLICE("0o")))
		return parse_base(slice_sub(s, 2, SIZE_MAX), 8, out);
	if (slice_starts(s, SLICE("0b")))
		return parse_base(slice_sub(s, 2, SIZE_MAX), 2, out);
	return parse_base(s, 10, out);
}

/* "017" was octal once: it is left alone. */
static bool is_zero_padded(struct slice s)
{
	if (s.len < 2 || s.ptr[0] != '0')
		return false;
	for (size_t i = 1; i < s.len; i++)
		if (!ascii_is_digit(s.ptr[i]))
			return false;
	return true;
}

/* [digits] [. [digits]] [e [sign] digits] with a digit before the e */
static bool is_float(struct slice s)
{
	size_t i = 0, digits = 0, exponent = 0;
	for (; i < s.len && ascii_is_digit(s.ptr[i]); i++)
		digits++;
	if (i < s.len && s.ptr[i] == '.')
		for (i++; i < s.len && ascii_is_digit(s.ptr[i]); i++)
			digits++;
	if (digits == 0)
		return false;
	if (i == s.len)
		return true;
	if (s.ptr[i] != 'e' && s.ptr[i] != 'E')
		return false;
	i++;
	i += i < s.len && (s.ptr[i] == '+' || s.ptr[i] == '-');
	for (; i < s.len && ascii_is_digit(s.ptr[i]); i++)
		exponent++;
	return exponent > 0 && i == s.len;
}

static bool resolve_number(struct slice s, struct val *out)
{
	bool negative = s.ptr[0] == '-';
	struct slice digits = negative || s.ptr[0] == '+' ? slice_sub(s, 1, SIZE_MAX) : s;
	uint64_t n;
	char text[64];
	if (is_zero_padded(digits))
		return false;
	if (parse_unsigned(digits, &n) && (!negative || n <= (uint64_t)INT64_MAX + 1)) {
		*out = negative ? val_int((int64_t)(0 - n)) : val_uint(n);
		return true;
	}
	if (!is_float(digits) || digits.len >= sizeof text)
		return false;
	memcpy(text, digits.ptr, digits.len);
	text[digits.len] = '\0';
	double f = strtod(text, NULL);
	if (isinf(f))
		return false;
	*out = val_float(negative ? -f : f);
	return true;
}

struct val yaml_resolve(struct slice s)
{
	static const char *const nulls[] = { "", "~", "null", "Null", "NULL", ".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF", "-.inf", "-.Inf",
		"-.INF", ".nan", ".NaN", ".NAN", NULL };
	static const char *const trues[] = { "true", "True", "TRUE", NULL }, *const falses[] = { "false", "False", "FALSE", NULL };
	struct val v;
	if (is_one_of(s, nulls))
		return val_null();
	if (is_one_of(s, trues) || is_one_of(s, falses))
		return val_bool(ascii_lower(s.ptr[0]) == 't');
	if (resolve_number(s, &v))
		return v;
	return (struct val){ .type = VAL_STR, .s = s };
}
