/* SPDX-License-Identifier: Apache-2.0 */
/*
 * accounting - how many messages came in and went out, by month, in an SQLite database.
 *
 * Table accounting(event_time, received, delivered), a row a month. Counts are added up in memory and stored every five minutes and at
 * the end; when storing fails they are kept and added next time.
 *
 * Thread:  any.   Memory: two counters.   Yields: _flush and _fini.
 */
#pragma once
#include "base/slice.h"

void accounting_set_path(struct slice path);		/* default /var/spool/kumomta/accounting.db */
void accounting_received(uint64_t n);
void accounting_delivered(uint64_t n);
int accounting_flush(void);				/* Yields. */
void accounting_fini(void);				/* the last flush. Yields. */
