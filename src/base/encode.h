/* SPDX-License-Identifier: Apache-2.0 */
/*
 * encode - base64, hex and percent encodings, both ways.
 * Decoders refuse what is not in the alphabet: 0 or -E_INVAL.
 * Thread: any.   Memory: appends to the caller's buffer (unchanged on failure).   Yields: never.
 */
#pragma once
#include "base/buf.h"

enum base64_kind { BASE64_STD, BASE64_STD_NOPAD, BASE64_URL, BASE64_URL_NOPAD };

void base64_put(struct buf *b, struct slice in, enum base64_kind kind);
int base64_decode(struct buf *b, struct slice in, enum base64_kind kind) WARN_UNUSED;
/* MIME: white space and foreign characters are skipped, missing padding is forgiven (RFC 2045 6.8). */
void base64_decode_lenient(struct buf *b, struct slice in);

void hex_put(struct buf *b, struct slice in, bool upper);
int hex_decode(struct buf *b, struct slice in) WARN_UNUSED;
void percent_put(struct buf *b, struct slice in, const char *keep);	/* keeps A-Z a-z 0-9 and the characters of KEEP */
int percent_decode(struct buf *b, struct slice in) WARN_UNUSED;		/* "%zz" is refused; "+" stays */
