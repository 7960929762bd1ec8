/* SPDX-License-Identifier: Apache-2.0 */
/* table - rows of text in columns as wide as their widest cell. Thread: main. Memory: cells are borrowed. Yields: never. */
#pragma once
#include "base/buf.h"

struct table_column {
	const char *name;
	bool right;	/* alignment */
};
/* CELLS row by row. Every cell but a row's last, left-aligned one of an unnamed column is padded. */
void table_print(const struct table_column *columns, size_t n, const char *const *cells, size_t rows);
size_t table_width(const char *text);		/* in columns of a terminal */
void table_number(char out[32], int64_t n);	/* 1,234,567 */
