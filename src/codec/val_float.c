/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/val_float.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

int float_digits(double f, char digits[20], int *point)
{
	char text[40];
	/* 15 digits always survive, but for subnormals, which have fewer. */
	for (int precision = f < 1e-300 ? 0 : 14; precision <= 16; precision++) {
		snprintf(text, sizeof text, "%.*e", precision, f);
		if (strtod(text, NULL) == f)
			break;
	}
	int n = 0;
	char *p = text;
	for (; *p != 'e'; p++)
		if (ascii_is_digit(*p))
			digits[n++] = *p;
	while (n > 1 && digits[n - 1] == '0')
		n--;
	*point = atoi(p + 1) + 1;
	return n;
}

static void put_zeros(struct buf *b, int n)
{
	for (int i = 0; i < n; i++)
		buf_putc(b, '0');
}

void float_put_plain(struct buf *b, double f)
{
	char digits[20];
	int point;
	if (isnan(f)) {
		buf_lit(b, "nan");
		return;
	}
	if (signbit(f))
		buf_putc(b, '-');
	if (isinf(f)) {
		buf_lit(b, "inf");
		return;
	}
	if (f == 0) {
		buf_lit(b, "0.0");
		return;
	}
	int n = float_digits(fabs(f), digits, &point);
	if (point <= 0) {
		buf_lit(b, "0.");
		put_zeros(b, -point);
		buf_put(b, digits, (size_t)n);
	} else if (n <= point) {
		buf_put(b, digits, (size_t)n);
		put_zeros(b, point - n);
		buf_lit(b, ".0");
	} else {
		buf_put(b, digits, (size_t)point);
		buf_putc(b, '.');
		buf_put(b, digits + point, (size_t)(n - point));
	}
}
