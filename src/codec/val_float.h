/* SPDX-License-Identifier: Apache-2.0 */
/* val_float - the decimal digits of a double, for the printers of numbers. */
#pragma once
#include "codec/val.h"

/*
 * The digits of the shortest text that reads back as F (positive, finite), without trailing zeros, and where the decimal point is:
 * F = 0.DIGITS * 10^point. Returns how many.
 */
int float_digits(double f, char digits[20], int *point);
void float_put_plain(struct buf *b, double f);	/* without exponent, always with a point: "100.0", "0.00001"; "inf", "-inf", "nan" */
