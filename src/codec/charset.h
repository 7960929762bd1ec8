/* SPDX-License-Identifier: Apache-2.0 */
/*
 * charset - text of other character sets as UTF-8, by iconv; and guessing which one it is, by uchardet.
 *
 * Thread:  any.   Memory: appends to the caller's buffer.   Yields: never.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"

bool charset_known(struct slice name);
/* Strict: -E_INVAL (and OUT as before) for an unknown charset or bytes that are none of its text. */
int charset_to_utf8(struct slice charset, struct slice in, struct buf *out) WARN_UNUSED;
/* UTF-8 as text of another charset; what has no place there is an error (STRICT) or becomes "&#8364;". */
int charset_from_utf8(struct slice charset, struct slice in, bool strict, struct buf *out) WARN_UNUSED;
/* The most likely charset of IN into NAME; false: no idea. */
bool charset_guess(struct slice in, char name[32]);
