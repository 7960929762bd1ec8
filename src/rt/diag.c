/* SPDX-License-Identifier: Apache-2.0 */
#include "rt/diag.h"
#include <stdarg.h>
#include <stdio.h>
void diag_write(enum diag_level level, const char *target, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
}
