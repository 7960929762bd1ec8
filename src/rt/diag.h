/* SPDX-License-Identifier: Apache-2.0 */
/*
 * diag - the diagnostic log on stderr (or hourly files with --diag-log-dir), filtered as KUMOD_LOG says.
 *
 * The filter is tracing-style: "info", "kumod=debug,smtp=trace", "off"; a name alone means everything of that target; what nothing
 * matches is not written. The target of a line is a word from the program's map ("kumod", "kumo.smtp", "lua"): a filter's name
 * matches by prefix, the longest wins.
 *
 * Thread:  any; a line is written with one write(2).   Memory: filters, a few bytes each.   Yields: never.
 */
#pragma once
#include "base/slice.h"
#include "base/obj.h"

enum diag_level { DIAG_ERROR, DIAG_WARN, DIAG_INFO, DIAG_DEBUG, DIAG_TRACE };
enum diag_format { DIAG_FULL, DIAG_COMPACT, DIAG_PRETTY, DIAG_JSON };

int diag_init(const char *filter, enum diag_format format, const char *log_dir) WARN_UNUSED;
int diag_set_filter(const char *filter) WARN_UNUSED;	/* -E_INVAL: "parsing log filter 'X': …" */
bool diag_enabled(enum diag_level level, const char *target);
void diag_write(enum diag_level level, const char *target, const char *fmt, ...) PRINTF(3, 4);

#define diag_error(target, ...) diag_write(DIAG_ERROR, target, __VA_ARGS__)
#define diag_warn(target, ...) diag_write(DIAG_WARN, target, __VA_ARGS__)
#define diag_info(target, ...) diag_write(DIAG_INFO, target, __VA_ARGS__)
#define diag_debug(target, ...) (diag_enabled(DIAG_DEBUG, target) ? diag_write(DIAG_DEBUG, target, __VA_ARGS__) : (void)0)
#define diag_trace(target, ...) (diag_enabled(DIAG_TRACE, target) ? diag_write(DIAG_TRACE, target, __VA_ARGS__) : (void)0)
